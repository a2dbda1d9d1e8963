"""PaCMAP's neighbor pairs: nearest by distances in units of both cells' neighborhoods."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..graph import AffinityMatrix, KnnGraph
from ._symmetrize import directed, symmetrize

MORE = 50  # candidates than neighbors
FIRST, LAST = 3, 6  # nearest neighbors whose mean distance is the scale: the fourth to the sixth
SMALLEST_SCALE = 1e-10
ROWS = 8192


@dataclass(frozen=True, slots=True)
class PACMAPAffinity:
    """PaCMAP's neighbor pairs, all of one weight: to each cell the `k` of smallest d² / (σ_i σ_j) (Wang et al. 2021).

    σ_i is the mean distance of cell i to its 4th to 6th nearest neighbors, the cell itself not counted. The `k` are
    chosen among the nearest `k` + 50; of a finished graph among as many as it holds, at least `k` and 6. With
    `symmetric=False` P has an entry 1 / (number of pairs) for each pair (i, j), row by row and nearest first: a list of
    the pairs; else P is (A + Aᵀ) / 2, in which a mutual pair counts twice.

    Sums to 1; the diagonal is empty; distances enter squared, σ as a distance. Equal cells are the nearest there are; a
    cell with six of them has σ = 1e-10, as in the authors' code. The same as in TorchDR 0.5, which returns the indices
    of the neighbors alone.
    """

    k: int = 10

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"`k` must be at least 1; got {self.k!r}.")

    def n_neighbors(self, n_obs: int) -> int:
        return min(n_obs - 1, self.k + MORE)

    def __call__(self, graph: KnnGraph, features: Tensor | None = None, *, symmetric: bool = True) -> AffinityMatrix:
        needed = min(graph.n_obs - 1, max(self.k, LAST))
        if graph.n_neighbors < needed:
            raise ValueError(
                f"PACMAPAffinity({self.k}) chooses among at least {needed} neighbors per cell, better {self.k + MORE}; "
                f"the graph holds {graph.n_neighbors}. Lower `k`, or make the graph with more neighbors."
            )
        indptr, columns = _pairs(graph, min(self.k, graph.n_neighbors))
        return (symmetrize if symmetric else directed)(indptr, columns, np.ones(len(columns), np.float32))


def _pairs(graph: KnnGraph, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The neighbors of every cell as CSR arrays without weights."""
    indices, distances = graph.indices.cpu().numpy(), graph.distances.cpu().numpy()
    scale = np.concatenate([_scales(distances[begin : begin + ROWS]) for begin in range(0, len(distances), ROWS)])
    counts, columns = [np.zeros(1, np.int64)], []
    for begin in range(0, graph.n_obs, ROWS):
        rows = slice(begin, begin + ROWS)
        nearest = np.argsort(distances[rows], axis=1, kind="stable")[:, : k + MORE]
        near, sq_dist = (np.take_along_axis(part[rows], nearest, 1) for part in (indices, distances))
        scaled = np.square(sq_dist, dtype=np.float64) / scale[rows, None] / scale[near]
        scaled[near < 0] = np.inf
        chosen = np.take_along_axis(near, np.argsort(scaled, axis=1, kind="stable")[:, :k], 1)
        counts.append((chosen >= 0).sum(1))
        columns.append(chosen[chosen >= 0].astype(np.int32))
    return np.cumsum(np.concatenate(counts)), np.concatenate(columns)


def _scales(distances: np.ndarray) -> np.ndarray:
    """Mean distance to the fourth to sixth neighbor, (n,) float64; a shorter row's to those of them, or its last."""
    ordered = np.sort(distances, axis=1)[:, :LAST].astype(np.float64)
    count = np.isfinite(ordered).sum(1)
    first = np.clip(count - 1, 0, FIRST)
    place = np.arange(ordered.shape[1])
    used = (place >= first[:, None]) & (place < count[:, None])
    total = np.where(used, ordered, 0).sum(1)
    return np.maximum(total / np.maximum(used.sum(1), 1), SMALLEST_SCALE)
