"""The symmetric entropic affinity: a doubly stochastic P with an entropy per row, by ascent of its concave dual.

The unknowns are μ and ε of P_ij = exp((μ_i + μ_j − 2 d²_ij) / (ε_i + ε_j)). Sweeps solve one cell after the other for
its row sum and entropy, which works from any start; near the solution Newton steps by conjugate gradients take over.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..compute import backend
from ..compute.notes import note
from ..fused import kernel
from ..graph import AffinityMatrix, KnnGraph
from ._all_pairs import ROWS, all_pairs, from_rows, n_of_all_pairs
from ._scaling import conjugate_gradients

LEVELS = (1e-3, 0.1, 0.03, 0.01, 0.003, 1e-3)  # floors of ε, in units of a row's own width: at once, else step by step
ROUNDS = 10  # of sweeps and Newton steps at a floor
SWEEPS = 5  # of a round; of the first one twice as many
NEAR = 1.0  # the largest error from which Newton steps are tried
MAX_PRODUCTS = 200  # of the curvature and a direction in a Newton step
TOLERANCE = 1e-8  # of the logarithms of row sums, and of entropies
ENOUGH = 1e-2  # the same before the floor is lowered
TOLERATED = 1e-5  # above, a warning says what was reached
NEAREST = 5  # neighbors from which the floor is measured
NOTHING = np.empty((0, 0), np.float32)


@dataclass(frozen=True, slots=True)
class SymmetricEntropicAffinity:
    """The symmetric matrix with row sums 1, row entropies of at least log `perplexity` and the least Σ P d², over n.

    It is exp((μ_i + μ_j − 2 d²_ij) / (ε_i + ε_j)) / n with ε ≥ 0 (Van Assel et al. 2023, SNEkhorn). Entropies are
    log `perplexity` where ε_i > 0. Where ε_i would be 0 the row sums alone make the entropy larger: in rows of a few
    hubs, which many cells need as a neighbor, and of cells with more equal cells than `perplexity`. Their ε_i is held
    at a thousandth of the spread of their smallest d², which moves less than 2e-4 of P from a perplexity of 10 on.

    Sums to 1; the diagonal is empty, and row sums and entropies are over the other cells; equal cells are cells like
    any others; distances enter squared. Needs all pairs, up to `MAX_CELLS` cells; entries below 1e-38 are dropped. Row
    sums and entropies are met to 1e-6 by the float32 entries; below a perplexity of 4 they can be missed, which a
    warning says.
    """

    perplexity: float = 30.0

    def __post_init__(self) -> None:
        if not (np.isscalar(self.perplexity) and np.isfinite(self.perplexity) and self.perplexity > 1):
            raise ValueError(
                f"`perplexity` must be one number greater than 1; got {self.perplexity!r}. It is a smooth number of "
                "neighbors; 30 is usual."
            )

    def n_neighbors(self, n_obs: int) -> int:
        return n_of_all_pairs(n_obs, "SymmetricEntropicAffinity")

    def __call__(self, graph: KnnGraph, features: Tensor | None = None, *, symmetric: bool = True) -> AffinityMatrix:
        distances = all_pairs(graph, "SymmetricEntropicAffinity")
        if self.perplexity >= graph.n_obs - 1:
            raise ValueError(
                f"A perplexity of {self.perplexity:g} needs more than {self.perplexity:g} other cells; there are "
                f"{graph.n_obs - 1}. Lower the perplexity."
            )
        problem = _Problem.of(distances, self.perplexity)
        problem.solve()
        return from_rows(problem.rows, np.exp(problem.errors()[0]) / graph.n_obs, normalized=True)


@dataclass(frozen=True, slots=True)
class _Problem:
    """Distances, what the rows have to be, and the dual variables (changed in place)."""

    distances: np.ndarray  # (n, n) float32
    target: float  # entropy of a row
    width: np.ndarray  # (n,) in the unit of ε
    floor: np.ndarray  # (n,) of ε
    duals: np.ndarray  # (2, n): μ, ε

    @classmethod
    def of(cls, distances: np.ndarray, perplexity: float) -> _Problem:
        n = len(distances)
        duals = np.stack([np.zeros(n), _widths(distances, perplexity)])
        backend.parallel(_fit_alone, backend.chunk_bounds(n, ROWS), distances, duals)
        width = _widths(distances, min(perplexity, NEAREST))
        return cls(distances, float(np.log(perplexity)), width, np.empty(n), duals)

    def solve(self) -> None:
        """Reach the tolerance at the lowest floor, over higher ones where it is not reached directly."""
        for level in LEVELS:
            lowest = level == LEVELS[-1]
            self.floor[:] = level * self.width
            np.maximum(self.duals[1], self.floor, out=self.duals[1])
            if self._reach(TOLERANCE if lowest else ENOUGH) and lowest:
                return
        row_error, entropy_error = np.abs(self.errors()).max(1)
        if max(row_error, entropy_error) > TOLERATED:
            note(
                f"The symmetric entropic affinity of perplexity {np.exp(self.target):g} did not converge: the logs of "
                f"row sums are off by up to {row_error:.1e}, entropies by {entropy_error:.1e}. Raise the perplexity."
            )

    def _reach(self, tolerance: float) -> bool:
        """Sweep, and take Newton steps as soon as they lead on, until all errors are below the tolerance."""
        for turn in range(ROUNDS):
            for _ in range(SWEEPS if turn else 2 * SWEEPS):
                _sweep(self.distances, self.duals, self.target, self.floor)
            error = self.largest_error()
            while tolerance < error < NEAR and self._newton():
                error = self.largest_error()
            if error <= tolerance:
                return True
        return False

    def rows(self, begin: int, end: int) -> np.ndarray:
        """Rows of P; what is computed for (i, j) and (j, i) has the same bits."""
        mu, eps = self.duals
        sq_dist = np.square(self.distances[begin:end], dtype=np.float64)
        logarithm = (mu[begin:end, None] + mu - 2 * sq_dist) / (eps[begin:end, None] + eps)
        return np.exp(logarithm) / len(mu)

    def largest_error(self) -> float:
        return float(np.abs(self.errors()).max())

    def errors(self) -> np.ndarray:
        """Log of the row sums, and how far entropies are from what is asked for, (2, n)."""
        return self._errors(self._moments())

    def _moments(self, curvature: np.ndarray = NOTHING, logarithm: np.ndarray = NOTHING) -> np.ndarray:
        """The sums of `_sums` for every row, (5, n); fills P_ij / (ε_i + ε_j) and log P_ij where they are given."""
        moments = np.empty((5, len(self.distances)))
        bounds = backend.chunk_bounds(len(self.distances), ROWS)
        backend.parallel(_all_sums, bounds, self.distances, self.duals, curvature, logarithm, moments)
        return moments

    def _errors(self, moments: np.ndarray) -> np.ndarray:
        log_sum, mean_log = moments[:2]
        missing = self.target - (log_sum - mean_log)
        return np.stack([log_sum, np.where((self.duals[1] <= self.floor) & (missing < 0), 0, missing)])

    def _newton(self) -> bool:
        """A Newton step of all errors, shortened until they fall; taken back, and False, where that leads nowhere."""
        n = len(self.distances)
        curvature, logarithm = np.empty((2, n, n), np.float32)
        moments = self._moments(curvature, logarithm)
        errors, (mu, eps) = self._errors(moments), self.duals.copy()
        step = self._solved(moments, errors, curvature, logarithm)
        for share in (1, 0.5, 0.25, 0.125):
            self.duals[0] = mu + share * step[0]
            self.duals[1] = np.maximum(eps + np.clip(share * step[1], -0.7 * eps, 2 * eps), self.floor)
            if np.square(self.errors()).sum() < (1 - share / 2) ** 2 * np.square(errors).sum():
                return True
        self.duals[:] = mu, eps
        return False

    def _solved(
        self, moments: np.ndarray, errors: np.ndarray, curvature: np.ndarray, logarithm: np.ndarray
    ) -> np.ndarray:
        """The Newton step, (2, n), by conjugate gradients preconditioned with the 2 × 2 blocks of single cells.

        The matrix is Σ_ij (P_ij / s_ij) v vᵀ, with s_ij = ε_i + ε_j and v = (1, 1, −log P_ij, −log P_ij) at μ_i, μ_j,
        ε_i and ε_j. The right side takes errors of logarithms instead of values, which converge from much farther.
        """
        sums, (_, mean_log, zeroth, first, second) = np.exp(moments[0]), moments
        held = (self.duals[1] <= self.floor) & (errors[1] == 0)
        residual = sums * np.stack([-errors[0], np.where(held, 0, mean_log * errors[0] + errors[1])])
        blocks = sums * np.stack([zeroth, -first, second])
        determinant = np.maximum(blocks[0] * blocks[2] - blocks[1] ** 2, 1e-10 * blocks[0] * blocks[2])

        def product(x: np.ndarray) -> np.ndarray:
            y = np.empty_like(x)
            backend.parallel(_product, backend.chunk_bounds(len(held), ROWS), curvature, logarithm, x, y)
            y += np.stack([blocks[0] * x[0] + blocks[1] * x[1], blocks[1] * x[0] + blocks[2] * x[1]])
            y[1, held] = 0
            return y

        def precondition(x: np.ndarray) -> np.ndarray:
            y = np.stack([blocks[2] * x[0] - blocks[1] * x[1], blocks[0] * x[1] - blocks[1] * x[0]]) / determinant
            y[0, held], y[1, held] = x[0, held] / blocks[0, held], 0
            return y

        enough = min(0.1, float(np.sqrt(np.abs(errors).max())))
        return conjugate_gradients(product, precondition, residual, enough, MAX_PRODUCTS)


def _widths(distances: np.ndarray, n_nearest: float) -> np.ndarray:
    """A squared distance per cell: half of what lies between its nearest and its `n_nearest`-th neighbor.

    Where that is 0, half of the smallest positive one of the row; 1 where all cells are equal.
    """
    n, width = len(distances), np.empty(len(distances))
    place = min(int(np.ceil(n_nearest)), n - 1) - 1
    for begin, end in backend.chunk_bounds(n, ROWS):
        sq_dist = np.square(distances[begin:end], dtype=np.float64)
        ordered = np.partition(sq_dist, (0, place), axis=1)
        beyond = ordered[:, place] - ordered[:, 0]
        positive = np.where(sq_dist > 0, sq_dist, np.inf).min(1)
        width[begin:end] = np.where(beyond > 0, beyond, np.where(np.isfinite(positive), positive, 2)) / 2
    return width


@kernel
def _sums(distances, mu, eps, own_mu, own_eps, logs):
    """Of the terms exp(l_j), l_j = (own_mu + μ_j − 2 d²_j) / s_j, of a row: the log of their sum and, as means weighted
    by them, l, 1 / s, l / s and l² / s. Infinite distances are left out.
    """
    largest = -np.inf
    for j in range(distances.shape[0]):
        distance = np.float64(distances[j])
        logs[j] = (own_mu + mu[j] - 2 * distance * distance) / (own_eps + eps[j])
        largest = max(largest, logs[j])
    total = mean_log = zeroth = first = second = 0.0
    for j in range(distances.shape[0]):
        if logs[j] > largest - 50:
            value = np.exp(logs[j] - largest)
            curvature = value / (own_eps + eps[j])
            total += value
            mean_log += value * logs[j]
            zeroth += curvature
            first += curvature * logs[j]
            second += curvature * logs[j] * logs[j]
    return largest + np.log(total), mean_log / total, zeroth / total, first / total, second / total


@kernel
def _fit_alone(chunk, begin, end, distances, duals):
    """μ of the rows by themselves: Σ_j exp((μ_i − d²_ij) / ε_i) = 1."""
    for i in range(begin, end):
        eps, nearest, total = duals[1, i], np.float64(distances[i].min()), 0.0
        for j in range(distances.shape[1]):
            distance = np.float64(distances[i, j])
            total += np.exp((nearest - distance) * (nearest + distance) / eps)
        duals[0, i] = nearest * nearest - eps * np.log(total)


@kernel
def _sweep(distances, duals, target, floor):
    """Every cell in turn: two Newton steps for its μ and ε from the log of its row sum and its entropy."""
    mu, eps, logs = duals[0], duals[1], np.empty(distances.shape[0])
    for i in range(distances.shape[0]):
        for _ in range(2):
            log_sum, mean_log, zeroth, first, second = _sums(distances[i], mu, eps, mu[i], eps[i], logs)
            missing = target - (log_sum - mean_log)
            determinant = first * first - zeroth * second
            step = 0.0
            if abs(log_sum) < 3:  # else the row sum alone
                step = -eps[i] if missing < 0 else 2 * eps[i]  # where all terms are equal
                if determinant < -1e-12 * zeroth * second:
                    step = (first * log_sum - zeroth * (mean_log * log_sum + missing)) / determinant
                step = max(min(max(step, -0.7 * eps[i]), 2 * eps[i]), floor[i] - eps[i])
            mu[i] += (first * step - log_sum) / zeroth
            eps[i] += step


@kernel
def _all_sums(chunk, begin, end, distances, duals, curvature, logarithm, moments):
    mu, eps, logs = duals[0], duals[1], np.empty(distances.shape[0])
    for i in range(begin, end):
        moments[:, i] = _sums(distances[i], mu, eps, mu[i], eps[i], logs)
        logs[i] = 0
        for j in range(logarithm.shape[0]):
            logarithm[i, j] = logs[j]
            curvature[i, j] = np.exp(min(logs[j], 80.0)) / (eps[i] + eps[j]) if j != i else 0.0


@kernel
def _product(chunk, begin, end, curvature, logarithm, x, y):
    for i in range(begin, end):
        row_sum = entropy = 0.0
        for j in range(x.shape[1]):
            log = np.float64(logarithm[i, j])
            change = curvature[i, j] * (x[0, j] - log * x[1, j])
            row_sum += change
            entropy -= log * change
        y[0, i], y[1, i] = row_sum, entropy
