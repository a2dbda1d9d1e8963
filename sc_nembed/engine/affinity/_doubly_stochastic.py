"""Doubly stochastic input affinities of all pairs: entropic (Sinkhorn) and quadratic optimal transport of cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..compute import backend
from ..compute.notes import note
from ..graph import AffinityMatrix, KnnGraph
from ._all_pairs import ROWS, all_pairs, check_positive, from_rows, n_of_all_pairs
from ._scaling import EXPONENTIAL, POSITIVE_PART, Link, Scaling

KERNELS = ("gaussian", "student")
MAX_RATIO = 1e12  # of costs and ε
TOLERATED = 1e-5  # of row sums; above, a warning says what was reached


@dataclass(frozen=True, slots=True)
class SinkhornAffinity:
    """The symmetric matrix exp(f_i + f_j − C_ij / `eps`) / n whose rows and columns sum to 1/n: entropic optimal
    transport from the cells to themselves (Sinkhorn & Knopp 1967; Cuturi 2013).

    `base_kernel` "gaussian": C = d², "student": C = log(1 + d²). It has the least Σ P C + `eps` Σ P log P of all such
    matrices. `eps` has the unit of C; far below the C of near cells P comes close to a matching, each cell with one or
    two others, so a multiple of the mean d² to a few nearest cells is a good choice.

    Sums to 1; the diagonal is empty, which leaves a solution for every set of three cells or more: a far cell takes its
    1/n from all others, cells of a clump share theirs within it; equal cells are cells like any others; distances
    enter squared. Solved in logarithms, so that nothing underflows, until row sums are right to 1e-6; where that is not
    reached to 1e-5, a warning says what was. TorchDR 0.5 stops at 1000 Sinkhorn iterations, too few at a small `eps`,
    and its diagonal is that of a squared distance of 10¹², which with the Student kernel is not empty where `eps` is
    large. Needs all pairs, up to `MAX_CELLS` cells; entries below 1e-38 are dropped.
    """

    eps: float = 1.0
    base_kernel: str = "gaussian"

    def __post_init__(self) -> None:
        _check(self.eps, self.base_kernel)

    def n_neighbors(self, n_obs: int) -> int:
        return n_of_all_pairs(n_obs, "SinkhornAffinity")

    def __call__(self, graph: KnnGraph, features: Tensor | None = None, *, symmetric: bool = True) -> AffinityMatrix:
        costs = _costs(all_pairs(graph, "SinkhornAffinity"), self.base_kernel)
        duals = _solved(costs, self.eps, EXPONENTIAL, "Sinkhorn")
        n = graph.n_obs
        return from_rows(
            lambda begin, end: np.exp(_arguments(costs, duals, self.eps, begin, end)) / n,
            np.full(n, 1 / n), normalized=True,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class DoublyStochasticQuadraticAffinity:
    """The symmetric matrix max(f_i + f_j − C_ij / `eps`, 0) / n whose rows and columns sum to 1/n: quadratic optimal
    transport from the cells to themselves (Zhang et al. 2023), sparse without a number of neighbors being chosen.

    n P has the least Σ P C + (`eps` / 2) Σ P² of all matrices with row sums 1. `base_kernel` as in `SinkhornAffinity`.
    `eps` has the unit of C; the larger, the more neighbors: a cell with k of them reaches about 2 `eps` / k beyond the
    C of its nearest.

    Only positive entries are stored. Sums to 1; the diagonal is empty; equal cells are cells like any others; distances
    enter squared. Row sums are right to 1e-6; where 1e-5 is not reached, a warning says what was. TorchDR 0.5 computes
    (f_i + f_j − C_ij)₊ / `eps`, the same matrix by duals that are `eps` times as large (the penalty its documentation
    names is twice the one its code has), by 1000 steps of Adam, which often end far from row sums of 1/n. Needs all
    pairs, up to `MAX_CELLS` cells.
    """

    eps: float = 1.0
    base_kernel: str = "gaussian"

    def __post_init__(self) -> None:
        _check(self.eps, self.base_kernel)

    def n_neighbors(self, n_obs: int) -> int:
        return n_of_all_pairs(n_obs, "DoublyStochasticQuadraticAffinity")

    def __call__(self, graph: KnnGraph, features: Tensor | None = None, *, symmetric: bool = True) -> AffinityMatrix:
        costs = _costs(all_pairs(graph, "DoublyStochasticQuadraticAffinity"), self.base_kernel)
        duals = _solved(costs, self.eps, POSITIVE_PART, "quadratic doubly stochastic")
        n = graph.n_obs
        return from_rows(
            lambda begin, end: np.maximum(_arguments(costs, duals, self.eps, begin, end), 0) / n,
            np.full(n, 1 / n), normalized=True,
        )  # fmt: skip


def _costs(distances: np.ndarray, base_kernel: str) -> np.ndarray:
    """Squared distances, or log(1 + d²), in their place."""

    def fill(chunk: int, begin: int, end: int) -> None:
        sq_dist = np.square(distances[begin:end], dtype=np.float64)
        distances[begin:end] = sq_dist if base_kernel == "gaussian" else np.log1p(sq_dist)

    backend.parallel(fill, backend.chunk_bounds(len(distances), ROWS))
    return distances


def _solved(costs: np.ndarray, eps: float, link: Link, name: str) -> np.ndarray:
    blocks = (costs[begin:end] for begin, end in backend.chunk_bounds(len(costs), ROWS))
    largest = max(float(block.max(where=np.isfinite(block), initial=0)) for block in blocks)
    if largest > MAX_RATIO * eps:
        raise ValueError(
            f"`eps={eps:g}` is too small for costs of up to {largest:.3g}, of which it is less than {1 / MAX_RATIO:g}: "
            "float64 has no digits left for differences of that size. Raise `eps`."
        )
    duals, error = Scaling(costs, float(eps), link).solve()
    if not error <= TOLERATED:
        note(
            f"The {name} affinity with eps={eps:g} did not converge: row sums are off by up to {error:.1e} of what "
            "they should be. Raise `eps`."
        )
    return duals


def _arguments(costs: np.ndarray, duals: np.ndarray, eps: float, begin: int, end: int) -> np.ndarray:
    """f_i + f_j − C_ij / ε; what is computed for (i, j) and (j, i) has the same bits."""
    return (duals[begin:end, None] + duals) - np.multiply(costs[begin:end], 1 / eps, dtype=np.float64)


def _check(eps: float, base_kernel: str) -> None:
    check_positive("eps", eps, "It is in the unit of squared distances, or of log(1 + d²).")
    if base_kernel not in KERNELS:
        raise ValueError(f"`base_kernel` must be one of {list(KERNELS)}; got {base_kernel!r}.")
