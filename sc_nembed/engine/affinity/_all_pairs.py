"""Input affinities that read the distances of all pairs of cells: normalized Gaussian and Student kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..compute import backend
from ..graph import AffinityMatrix, KnnGraph

MAX_CELLS = 10_000  # of all pairs: some 3 GB
ROWS = 256
NORMALIZATIONS = ("all", "row", None)
SMALLEST = np.finfo(np.float32).tiny  # below, float32 has few digits or none

RowsOf = Callable[[int, int], np.ndarray]  # from begin and end to (end - begin, n)


@dataclass(frozen=True, slots=True)
class NormalizedGaussianAffinity:
    """Gaussians of one width, exp(−d² / `sigma`), as in SNE with a fixed bandwidth (Hinton & Roweis 2002).

    `normalization` "all": the sum over all pairs is 1; "row": every row sums to 1/n, and P is (A + Aᵀ) / 2 unless
    `symmetric=False`; None: the values as they are. Normalised in logarithms, so that a row whose values are all too
    small for a float counts as any other. The diagonal is empty; equal cells have exp(0), the largest value there is;
    distances enter squared. Needs all pairs, up to `MAX_CELLS` cells; entries below 1e-38 are dropped.
    """

    sigma: float = 1.0
    normalization: str | None = "all"

    def __post_init__(self) -> None:
        check_positive("sigma", self.sigma, "It is in the unit of squared distances.")
        check_normalization(self.normalization)

    def n_neighbors(self, n_obs: int) -> int:
        return n_of_all_pairs(n_obs, "NormalizedGaussianAffinity")

    def __call__(self, graph: KnnGraph, features: Tensor | None = None, *, symmetric: bool = True) -> AffinityMatrix:
        distances = all_pairs(graph, "NormalizedGaussianAffinity")

        def log_kernel(begin: int, end: int) -> np.ndarray:
            return np.square(distances[begin:end], dtype=np.float64) / -self.sigma

        return normalized(log_kernel, graph.n_obs, self.normalization, symmetric, "sigma")


@dataclass(frozen=True, slots=True)
class NormalizedStudentAffinity:
    """Student kernels (1 + d² / `dof`)^(−(dof + 1) / 2) in the data, t-SNE's kernel of the map (van der Maaten & Hinton
    2008).

    `normalization` as in `NormalizedGaussianAffinity`. The diagonal is empty (in TorchDR 0.5 it holds the kernel of a
    squared distance of 10¹², 10⁻¹² at `dof` 1); equal cells have 1, the largest value there is; distances enter
    squared. Needs all pairs, up to `MAX_CELLS` cells; entries below 1e-38 are dropped.
    """

    dof: float = 1.0
    normalization: str | None = "all"

    def __post_init__(self) -> None:
        check_positive("dof", self.dof, "It is the degrees of freedom; 1 is usual.")
        check_normalization(self.normalization)

    def n_neighbors(self, n_obs: int) -> int:
        return n_of_all_pairs(n_obs, "NormalizedStudentAffinity")

    def __call__(self, graph: KnnGraph, features: Tensor | None = None, *, symmetric: bool = True) -> AffinityMatrix:
        distances = all_pairs(graph, "NormalizedStudentAffinity")

        def log_kernel(begin: int, end: int) -> np.ndarray:
            sq_dist = np.square(distances[begin:end], dtype=np.float64)
            return (-0.5 * (self.dof + 1)) * np.log1p(sq_dist / self.dof)

        return normalized(log_kernel, graph.n_obs, self.normalization, symmetric, "dof")


def n_of_all_pairs(n_obs: int, name: str) -> int:
    """n_obs − 1, the neighbors of a cell where all pairs count; an error where they are too many to be held."""
    if n_obs > MAX_CELLS:
        raise ValueError(
            f"{name} holds all pairs of cells, which is possible up to {MAX_CELLS} cells; there are {n_obs}. Use "
            "EntropicAffinity, which reads nearest neighbors alone, or fewer cells."
        )
    return n_obs - 1


def all_pairs(graph: KnnGraph, name: str) -> np.ndarray:
    """Distances of all pairs, (n, n) float32, symmetric (the mean of both directions), infinite on the diagonal.

    Raises
    ------
    ValueError
        For too many cells, and where the graph does not list all other cells of every cell at a finite distance.
    """
    n, wanted = graph.n_obs, n_of_all_pairs(graph.n_obs, name)
    indices, distances = graph.indices.cpu().numpy(), graph.distances.cpu().float().numpy()
    full = np.full((n, n), np.inf, np.float32)
    if graph.n_neighbors == wanted and indices.min(initial=0) >= 0:
        for begin, end in backend.chunk_bounds(n, ROWS):
            np.put_along_axis(full[begin:end], indices[begin:end].astype(np.int64), distances[begin:end], axis=1)
    np.fill_diagonal(full, np.inf)
    if n < 2 or np.isfinite(full).sum() != n * wanted:
        raise ValueError(
            f"{name} reads the distances of all pairs, {wanted} other cells per cell; the graph holds "
            f"{graph.n_neighbors} neighbors per cell, or fewer in some rows. Give a representation to search, such as "
            "use_rep='X_pca', instead of a finished graph, or use EntropicAffinity."
        )
    return full if np.array_equal(full, full.T) else (full + full.T) / 2


def from_rows(rows: RowsOf, row_mass: np.ndarray, *, normalized: bool) -> AffinityMatrix:
    """The matrix whose rows a function gives, without its diagonal and what is below `SMALLEST`."""
    n, counts, columns, weights = len(row_mass), [np.zeros(1, np.int64)], [], []
    for begin, end in backend.chunk_bounds(n, ROWS):
        block = rows(begin, end).astype(np.float32)
        block[np.arange(end - begin), np.arange(begin, end)] = 0
        kept = block >= SMALLEST
        counts.append(kept.sum(1, dtype=np.int64))
        columns.append(np.nonzero(kept)[1].astype(np.int32))
        weights.append(block[kept])
    values = np.concatenate(weights)
    return AffinityMatrix(
        torch.from_numpy(np.cumsum(np.concatenate(counts))), torch.from_numpy(np.concatenate(columns)),
        torch.from_numpy(values), n_rows=n, n_cols=n, first_row=0,
        row_mass=torch.from_numpy(row_mass.astype(np.float32)),
        total=1.0 if normalized else float(values.sum(dtype=np.float64)),
    )  # fmt: skip


def normalized(
    log_kernel: RowsOf, n: int, normalization: str | None, symmetric: bool, parameter: str
) -> AffinityMatrix:
    bounds = backend.chunk_bounds(n, ROWS)
    log_mass = np.concatenate([_log_sum_exp(log_kernel(*rows)) for rows in bounds])
    if normalization == "row":
        return from_rows(_by_row(log_kernel, log_mass, symmetric), np.full(n, 1 / n), normalized=True)
    log_total = _log_sum_exp(log_mass[None])[0] if normalization == "all" else 0.0
    matrix = from_rows(
        lambda begin, end: np.exp(log_kernel(begin, end) - log_total),
        np.exp(log_mass - log_total),
        normalized=normalization == "all",
    )
    if matrix.n_edges == 0:
        raise ValueError(
            f"With normalization=None every affinity is below {SMALLEST:.0e}, the largest one "
            f"exp({log_mass.max():.3g}). Choose a larger `{parameter}`, or normalization='all' or 'row'."
        )
    return matrix


def _by_row(log_kernel: RowsOf, log_mass: np.ndarray, symmetric: bool) -> RowsOf:
    n = len(log_mass)

    def rows(begin: int, end: int) -> np.ndarray:
        logarithm = log_kernel(begin, end)
        mine = np.exp(logarithm - log_mass[begin:end, None])
        return (mine + np.exp(logarithm - log_mass)) / (2 * n) if symmetric else mine / n

    return rows


def _log_sum_exp(values: np.ndarray) -> np.ndarray:
    largest = values.max(1)
    return largest + np.log(np.exp(values - largest[:, None]).sum(1))


def check_positive(name: str, value: float, hint: str) -> None:
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"`{name}` must be a positive finite number; got {value!r}. {hint}")


def check_normalization(value: str | None) -> None:
    if value not in NORMALIZATIONS:
        raise ValueError(f"`normalization` must be one of {list(NORMALIZATIONS)}; got {value!r}.")
