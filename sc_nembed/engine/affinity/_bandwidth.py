"""Input affinities whose width is a cell's distance to its k-th neighbor: self-tuning, MAGIC.

They are defined by all pairs; of many cells the nearest `n_nearest` of each are read instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..graph import AffinityMatrix, KnnGraph
from ._all_pairs import SMALLEST, all_pairs, check_normalization, check_positive, n_of_all_pairs, normalized
from ._symmetrize import directed, edges_of, symmetrize

NEAREST = 3  # times k neighbors are read where nothing else is asked for
ROWS = 8192


@dataclass(frozen=True, slots=True)
class SelfTuningAffinity:
    """Gaussians exp(−d² / (σ_i σ_j)), σ_i the distance of cell i to its `k`-th neighbor (Zelnik-Manor & Perona 2004).

    `n_nearest` is the number of nearest cells read for each, 3 `k` where None; P is then the kernel where one of two
    cells lists the other, 0 elsewhere. In many dimensions the kernel is not small there: more cells make a wider P.
    "all" reads all pairs, as in the paper, up to `MAX_CELLS` cells. A finished graph is taken with as many neighbors as
    it holds, at least `k`.

    `normalization` "all": P sums to 1; "row": every row sums to 1/n, and P is (A + Aᵀ) / 2 unless `symmetric=False`;
    None: the values as they are, between 0 and 1. Normalised in logarithms; entries below 1e-38 are dropped. The
    diagonal is empty; distances enter squared. Equal cells have 1, the largest value there is; a cell with `k` of them
    has as σ the distance to its nearest one that differs. TorchDR 0.5 takes for σ the `k`-th smallest squared distance,
    so that its affinities depend on the unit of the data; with `metric="euclidean"` it has exp(−d / (σ_i σ_j)).
    """

    k: int = 7
    normalization: str | None = "all"
    n_nearest: int | str | None = None

    def __post_init__(self) -> None:
        _check_neighbors(self.k, self.n_nearest)
        check_normalization(self.normalization)

    def n_neighbors(self, n_obs: int) -> int:
        return _n_nearest(n_obs, self.k, self.n_nearest, "SelfTuningAffinity")

    def __call__(self, graph: KnnGraph, features: Tensor | None = None, *, symmetric: bool = True) -> AffinityMatrix:
        sigma = bandwidths(graph, self.k, "SelfTuningAffinity")
        if self.n_nearest == "all":
            distances = all_pairs(graph, "SelfTuningAffinity")

            def log_kernel(begin: int, end: int) -> np.ndarray:
                sq_dist = np.square(distances[begin:end], dtype=np.float64)
                return -sq_dist / _widths(sigma[begin:end, None], sigma)

            return normalized(log_kernel, graph.n_obs, self.normalization, symmetric, "k")
        indptr, columns, logs = edges_of(graph, _log_kernel(graph, sigma))
        listed = symmetrize(indptr, columns, np.ones_like(logs), normalize=False).weights.numpy()  # ½ or 1
        either = symmetrize(indptr, columns, logs, normalize=False)
        return _normalized_edges(either, either.weights.numpy() / listed, self.normalization, symmetric)


@dataclass(frozen=True, slots=True)
class MAGICAffinity:
    """MAGIC's Markov matrix, over n: A_ij = exp(−(d / σ_i)^`decay`), (A + Aᵀ) / 2, then each row divided by its sum.

    σ_i is the distance of cell i to its `k`-th neighbor (van Dijk et al. 2018). `decay` 2 is the Gaussian of the paper
    and of TorchDR 0.5; the authors' code has 1. The nearest 3 `k` cells of each are read, as there; `n_nearest` is
    another number of them or "all", as in TorchDR, up to `MAX_CELLS` cells. A finished graph is taken with as many
    neighbors as it holds, at least `k`.

    Sums to 1. Rows sum to 1/n where `symmetric=False`; else P is the mean of that matrix and its transpose. The
    diagonal is empty (the authors' code has A_ii = 1). Distances enter squared at `decay` 2, as they are at 1; σ is a
    distance. Equal cells have A_ij = 1; a cell with `k` of them has as σ the distance to its nearest one that differs.
    """

    k: int = 7
    decay: float = 2.0
    n_nearest: int | str | None = None

    def __post_init__(self) -> None:
        _check_neighbors(self.k, self.n_nearest)
        check_positive("decay", self.decay, "It is the power of distances in the kernel, 2 in the paper.")

    def n_neighbors(self, n_obs: int) -> int:
        return _n_nearest(n_obs, self.k, self.n_nearest, "MAGICAffinity")

    def __call__(self, graph: KnnGraph, features: Tensor | None = None, *, symmetric: bool = True) -> AffinityMatrix:
        sigma = bandwidths(graph, self.k, "MAGICAffinity")
        sigma = np.where(sigma > 0, sigma, 1.0)  # of rows whose distances are all 0
        if self.n_nearest == "all":
            distances = all_pairs(graph, "MAGICAffinity")

            def log_kernel(begin: int, end: int) -> np.ndarray:
                block = distances[begin:end].astype(np.float64)
                mine, theirs = (-((block / width) ** self.decay) for width in (sigma[begin:end, None], sigma))
                return np.logaddexp(mine, theirs)

            return normalized(log_kernel, graph.n_obs, "row", symmetric, "k")
        ratio = graph.distances.cpu().double().numpy() / sigma[:, None]
        weights = np.exp(-(ratio**self.decay)).astype(np.float32)
        mean = symmetrize(*edges_of(graph, weights), normalize=False)
        with np.errstate(divide="ignore"):
            logs = np.log(mean.weights.numpy())
        return _normalized_edges(mean, logs, "row", symmetric)


def bandwidths(graph: KnnGraph, k: int, name: str) -> np.ndarray:
    """Distance of every cell to its k-th neighbor, or to the last of a shorter row, (n,) float64.

    Where that is 0, to its nearest neighbor that differs; 0 where none does.

    Raises
    ------
    ValueError
        Where the graph holds fewer than k neighbors per cell.
    """
    if graph.n_neighbors < k:
        raise ValueError(
            f"{name}({k}) needs at least {k} neighbors per cell, better {NEAREST * k}; the graph holds "
            f"{graph.n_neighbors}. Lower `k`, or make the graph with more neighbors."
        )
    sigma = np.empty(graph.n_obs)
    for begin in range(0, graph.n_obs, ROWS):
        ordered = np.sort(graph.distances[begin : begin + ROWS].cpu().double().numpy(), axis=1)
        place = np.clip(np.isfinite(ordered).sum(1), 1, k) - 1
        kth = ordered[np.arange(len(ordered)), place]
        different = np.where(ordered > 0, ordered, np.inf).min(1)
        sigma[begin : begin + ROWS] = np.where(kth > 0, kth, different)
    return np.where(np.isfinite(sigma), sigma, 0.0)


def _widths(mine: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """σ_i σ_j; where one of the two is 0, the other one's square, where both are, 1: their distance is 0."""
    width = np.where(mine > 0, mine, theirs) * np.where(theirs > 0, theirs, mine)
    return np.where(width > 0, width, 1.0)


def _log_kernel(graph: KnnGraph, sigma: np.ndarray) -> np.ndarray:
    """−d² / (σ_i σ_j) of a graph's edges, (n, k) float32; what stands where there is none is not read."""
    logs = np.empty(tuple(graph.indices.shape), np.float32)
    for begin in range(0, graph.n_obs, ROWS):
        rows = slice(begin, begin + ROWS)
        sq_dist = np.square(graph.distances[rows].cpu().double().numpy())
        logs[rows] = -sq_dist / _widths(sigma[rows, None], sigma[graph.indices[rows].cpu().numpy()])
    return logs


def _normalized_edges(
    pattern: AffinityMatrix, logs: np.ndarray, normalization: str | None, symmetric: bool
) -> AffinityMatrix:
    """The edges of a symmetric pattern with weights from their logarithms, normalised."""
    indptr, columns, n = pattern.indptr.numpy(), pattern.indices.numpy(), pattern.n_rows
    logs = logs.astype(np.float64)
    rows = np.repeat(np.arange(n), np.diff(indptr))
    if normalization is None:
        shift = np.zeros(n)
    elif normalization == "all":
        shift = np.full(n, logs.max(initial=-np.inf))
    else:
        shift = np.full(n, -np.inf)
        np.maximum.at(shift, rows, logs)
    weights = np.exp(logs - shift[rows])
    if normalization == "row":
        weights /= np.bincount(rows, weights, n)[rows]
    elif normalization == "all":
        weights /= weights.sum()
    weights = weights.astype(np.float32)
    kept = weights >= SMALLEST
    indptr = np.concatenate([[0], np.cumsum(kept)])[indptr]
    make = symmetrize if normalization == "row" and symmetric else directed
    return make(indptr, columns[kept], weights[kept], normalize=normalization is not None)


def _n_nearest(n_obs: int, k: int, n_nearest: int | str | None, name: str) -> int:
    if n_nearest == "all":
        return n_of_all_pairs(n_obs, name)
    return min(n_obs - 1, NEAREST * k if n_nearest is None else n_nearest)


def _check_neighbors(k: int, n_nearest: int | str | None) -> None:
    if k < 1:
        raise ValueError(f"`k` must be at least 1; got {k!r}. It is the neighbor whose distance is the width.")
    if n_nearest is not None and n_nearest != "all" and (isinstance(n_nearest, str) or n_nearest < k):
        raise ValueError(
            f"`n_nearest` must be at least `k`, {k}, or 'all'; got {n_nearest!r}. It is the number of other cells read "
            "for each."
        )
