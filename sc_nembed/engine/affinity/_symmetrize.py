"""From one-way weights of a graph to a symmetric `AffinityMatrix`, in time linear in the number of edges."""

from __future__ import annotations

import numpy as np
import torch

from ..compute import backend
from ..fused import affinity as fused_affinity
from ..graph import AffinityMatrix, KnnGraph

MAX_RANGES = 8
MIN_ROWS = 2048


def edges_of(graph: KnnGraph, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """CSR arrays (indptr, indices, weights) of a graph's rows without their padding."""
    indices = graph.indices.cpu().numpy().astype(np.int32, copy=False)
    valid = indices >= 0
    counts = valid.sum(1)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    if counts.size and counts.min() == graph.n_neighbors:
        return indptr, indices.reshape(-1), weights.reshape(-1)
    return indptr, indices[valid], weights[valid]


def directed(
    indptr: np.ndarray, indices: np.ndarray, weights: np.ndarray, *, n_fixed: int | None = None, normalize: bool = True
) -> AffinityMatrix:
    """One-way weights as they are, scaled to sum 1 where `normalize`.

    Of cells among themselves, or, with `n_fixed`, of new cells, the rows, and as many fixed ones, the columns.
    """
    n_rows = len(indptr) - 1
    running = np.concatenate([[0.0], np.cumsum(weights, dtype=np.float64)])
    row_mass, mass = np.diff(running[indptr]), running[-1]
    scale = 1 / mass if normalize and mass > 0 else 1.0
    return AffinityMatrix(
        torch.from_numpy(indptr), torch.from_numpy(indices), torch.from_numpy(weights * np.float32(scale)),
        n_rows=n_rows, n_cols=n_rows if n_fixed is None else n_fixed, first_row=0 if n_fixed is None else None,
        row_mass=torch.from_numpy((row_mass * scale).astype(np.float32)), total=float(mass * scale),
    )  # fmt: skip


def symmetrize(
    indptr: np.ndarray, indices: np.ndarray, weights: np.ndarray, *, fuzzy_union: bool = False, normalize: bool = True
) -> AffinityMatrix:
    """(A + Aᵀ) / 2 or the fuzzy union A + Aᵀ − A ∘ Aᵀ of one-way weights; scaled to sum 1 where `normalize`.

    A has no diagonal and lists no neighbor twice: indptr (n + 1,) int64, indices int32, weights float32.
    """
    n = len(indptr) - 1
    bounds = backend.chunk_bounds(n, max(MIN_ROWS, -(-n // MAX_RANGES)))
    counts = np.zeros((len(bounds), n), np.int64)
    backend.parallel(fused_affinity.count_columns, bounds, indptr, indices, counts)
    t_indptr = np.concatenate([[0], np.cumsum(counts.sum(0))])
    place = t_indptr[:-1].copy()
    for counted in counts:  # from numbers to places: where the entries of a range begin in each column
        n_before = counted.copy()
        counted[:] = place
        place += n_before
    rows, values, row_mass = np.empty_like(indices), np.empty_like(weights), np.empty(n)
    backend.parallel(fused_affinity.fill_transpose, bounds, indptr, indices, weights, counts, rows, values, row_mass)
    sizes = np.empty(n, np.int64)
    backend.parallel(fused_affinity.count_union, bounds, indptr, indices, t_indptr, rows, sizes)
    out_indptr = np.concatenate([[0], np.cumsum(sizes)])
    out_indices, out_weights = np.empty(out_indptr[-1], np.int32), np.empty(out_indptr[-1], np.float32)
    mass = row_mass.sum() if normalize else 1.0
    scale = 1 / mass if mass > 0 else 0.0
    backend.parallel(
        fused_affinity.fill_union, bounds, indptr, indices, weights, t_indptr, rows, values, fuzzy_union,
        np.float32(scale), out_indptr, out_indices, out_weights,
    )  # fmt: skip
    return AffinityMatrix(
        torch.from_numpy(out_indptr), torch.from_numpy(out_indices), torch.from_numpy(out_weights),
        n_rows=n, n_cols=n, first_row=0,
        row_mass=torch.from_numpy((row_mass * scale).astype(np.float32)),
        total=1.0 if normalize else float(out_weights.sum(dtype=np.float64)),
    )  # fmt: skip
