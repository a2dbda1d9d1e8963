"""PHATE's potential distances: how differently random walks from two cells spread over all cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from ..compute import backend
from ..graph import DenseAffinity, KnnGraph
from ._all_pairs import ROWS, all_pairs, check_positive, n_of_all_pairs
from ._bandwidth import bandwidths

SMALLEST_KERNEL = 1e-4  # below, no edge of the walk
SMALLEST_PROBABILITY = 1e-7  # added, so that its logarithm is finite
COLUMNS = 128


@dataclass(frozen=True, slots=True)
class PHATEAffinity:
    """PHATE's potential distances with a minus sign, −‖log Pᵗ_i − log Pᵗ_j‖ (Moon et al. 2019); a `DenseAffinity`, for
    `AffinityMatcher` alone.

    A_ij = exp(−(d / σ_i)^`alpha`) with σ_i the distance of cell i to its `k`-th neighbor, A_ii = 1; P is (A + Aᵀ) / 2,
    each row divided by its sum; `t` steps of that walk make Pᵗ. As in the authors' code, values of A below 1e-4 are
    left out and the logarithm is of Pᵗ + 1e-7. `NegativeDistanceAffinity` is the output affinity to match it with, by
    "square_loss": a metric scaling of the potential distances.

    Not normalised: entries are 0 and below, 0 on the diagonal and between cells whose walks are the same. Distances
    enter as they are. Equal cells are next to each other in the walk; a cell with `k` of them has as σ the distance to
    its nearest one that differs. TorchDR 0.5 counts the cell itself among its `k`, keeps all values of A and cuts Pᵗ
    off at 1e-12. Defaults are TorchDR's; the authors' code has `alpha` 40 and chooses `t`. Needs all pairs, up to
    `MAX_CELLS` cells; time grows with the third power of their number.
    """

    k: int = 5
    alpha: float = 10.0
    t: int = 5

    def __post_init__(self) -> None:
        for name in ("k", "t"):
            value = {"k": self.k, "t": self.t}[name]
            if isinstance(value, bool) or int(value) != value or value < 1:
                raise ValueError(f"`{name}` must be an integer of at least 1; got {value!r}.")
        check_positive("alpha", self.alpha, "It is the power of distances in the kernel.")

    def n_neighbors(self, n_obs: int) -> int:
        return n_of_all_pairs(n_obs, "PHATEAffinity")

    def __call__(self, graph: KnnGraph, features: Tensor | None = None, *, symmetric: bool = True) -> DenseAffinity:
        sigma = bandwidths(graph, self.k, "PHATEAffinity")
        walk = _walk(all_pairs(graph, "PHATEAffinity"), np.where(sigma > 0, sigma, 1.0), self.alpha)
        potential = np.empty((graph.n_obs, graph.n_obs))
        backend.parallel(_potential, backend.chunk_bounds(graph.n_obs, COLUMNS), walk, int(self.t), potential)
        return DenseAffinity(_negative_distances(potential))


def _walk(distances: np.ndarray, sigma: np.ndarray, alpha: float) -> sp.csr_matrix:
    """The random walk's matrix, float32; rows sum to 1. Powers of it are sums of positive numbers: they keep digits."""
    n, blocks = len(distances), []
    for begin, end in backend.chunk_bounds(n, ROWS):
        kernel = np.exp(-((distances[begin:end] / sigma[begin:end, None]) ** alpha))
        kernel[np.arange(end - begin), np.arange(begin, end)] = 1
        blocks.append(sp.csr_matrix(np.where(kernel >= SMALLEST_KERNEL, kernel, 0)))
    one_way = sp.vstack(blocks, format="csr")
    mean = ((one_way + one_way.T) / 2).tocsr()
    return sp.diags(1 / mean.sum(1).A1).dot(mean).tocsr().astype(np.float32)


def _potential(chunk: int, begin: int, end: int, walk: sp.csr_matrix, t: int, potential: np.ndarray) -> None:
    """−log Pᵗ of some columns, less their means, which changes no distance and saves digits."""
    columns = walk[:, begin:end].toarray()
    for _ in range(t - 1):
        columns = walk @ columns
    columns = -np.log(columns.astype(np.float64) + SMALLEST_PROBABILITY)
    potential[:, begin:end] = columns - columns.mean(0)


def _negative_distances(potential: np.ndarray) -> Tensor:
    """−‖u_i − u_j‖ of the rows, (n, n) float32, symmetric; in float64, whose digits the differences need."""
    points = torch.from_numpy(potential)
    sq_norm = points.square().sum(1)
    values = torch.zeros(len(points), len(points))

    def fill(chunk: int, begin: int, end: int) -> None:
        inner = points[begin:end] @ points[begin:].T
        sq_dist = sq_norm[begin:end, None] + sq_norm[begin:] - 2 * inner
        values[begin:end, begin:] = -sq_dist.clamp_min(0).sqrt().float()

    backend.parallel(fill, backend.chunk_bounds(len(points), ROWS))
    values = values.triu(1)
    return values + values.T
