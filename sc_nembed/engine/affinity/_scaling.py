"""Symmetric matrices of given row sums from all pairs: a convex dual in one variable per cell, by damped Newton steps.

P_ij = h(f_i + f_j − C_ij / ε), with h increasing: exp is entropic optimal transport (Sinkhorn & Knopp 1967; Cuturi
2013), max(·, 0) the quadratic one (Zhang et al. 2023). f minimises ½ Σ_ij H(f_i + f_j − C_ij / ε) − Σ f_i, H' = h,
whose gradient is how far the row sums are from 1. Its second derivatives are h' and, on the diagonal, the row sums of
h'; conjugate gradients solve for the Newton step. Small ε are reached over larger ones, from which ε f carries over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..compute import backend
from ..fused import kernel
from ..fused.elementary import exp_of
from ._all_pairs import ROWS

FACTOR = 4.0  # from one ε to the next
NEAREST = 10  # cells whose costs say what a large ε is
WIDE = 10.0  # of these costs, an ε for max(·, 0)
STEPS = 60  # of a level
SWEEPS = 40  # of a level, before the first Newton step
NEAR = 1.0  # the largest step of a single row from which Newton steps are taken
MAX_STEP = 3.0  # in the exponent
MAX_PRODUCTS = 500
TOLERANCE = 1e-6  # of row sums
ENOUGH = 1e-2  # the same at the larger ε
NEGLIGIBLE = np.float32(1e-9)  # below, an entry is left out of the second derivatives


@dataclass(frozen=True, slots=True)
class Link:
    """The function h, as kernels over rows."""

    sums: Callable  # of the rows, steps of single rows, and half the H
    count_slopes: Callable
    fill_slopes: Callable
    start: Callable  # the first f
    max_step: float
    widest: float  # the first ε, in units of the costs of near cells


@dataclass(frozen=True, slots=True)
class _Point:
    """Duals, and there: the row sums, a step of every row by itself towards its own, and what is minimised."""

    duals: np.ndarray  # (n,)
    sums: np.ndarray  # (n,)
    sweep: np.ndarray  # (n,)
    value: float

    @property
    def error(self) -> float:
        return float(np.abs(self.sums - 1).max())


@dataclass(frozen=True, slots=True)
class Scaling:
    """A problem: costs (n, n) float32, infinite on the diagonal, their unit ε, and h."""

    costs: np.ndarray
    eps: float
    link: Link

    def solve(self) -> tuple[np.ndarray, float]:
        """f, (n,), and the largest relative error of a row sum."""
        epsilons = self._epsilons()
        duals = np.zeros(len(self.costs))
        backend.parallel(self.link.start, self._bounds(), self.costs, epsilons[0], duals)
        point = None
        for before, eps in zip([epsilons[0], *epsilons], epsilons, strict=False):
            duals = duals * (before / eps)
            point = replace(self, eps=eps)._reach(duals, TOLERANCE if eps == self.eps else ENOUGH)
            duals = point.duals
        return duals, point.error

    def _epsilons(self) -> list[float]:
        """From one at which many cells are near, down to ours."""
        spread = np.empty(len(self.costs))
        place = min(NEAREST, len(self.costs) - 1) - 1
        for begin, end in self._bounds():
            ordered = np.partition(self.costs[begin:end], (0, place), axis=1)
            spread[begin:end] = ordered[:, place] - ordered[:, 0]
        widest = max(self.eps, self.link.widest * float(spread.mean()))
        n_levels = int(np.ceil(np.log(widest / self.eps) / np.log(FACTOR)))
        return [self.eps * FACTOR**level for level in range(n_levels, -1, -1)]

    def _bounds(self) -> list[tuple[int, int]]:
        return backend.chunk_bounds(len(self.costs), ROWS)

    def _at(self, duals: np.ndarray) -> _Point:
        sums, sweep, halves = np.empty((3, len(duals)))
        backend.parallel(self.link.sums, self._bounds(), self.costs, 1 / self.eps, duals, sums, sweep, halves)
        return _Point(duals, sums, sweep, float(halves.sum() - duals.sum()))

    def _swept(self, point: _Point) -> _Point:
        """Half a step of every row by itself: of all at once, whole ones would go too far (Feydy et al. 2019)."""
        return self._at(point.duals + 0.5 * point.sweep)

    def _reach(self, duals: np.ndarray, tolerance: float) -> _Point:
        point = self._at(duals)
        for _ in range(SWEEPS):
            if np.abs(point.sweep).max() < NEAR:
                break
            point = self._swept(point)
        best = point
        for _ in range(STEPS):
            if point.error <= tolerance:
                return point
            point = self._newton(point)
            best = point if point.error < best.error else best
        return best

    def _newton(self, point: _Point) -> _Point:
        """A Newton step, shortened until it leads on; where none does, a sweep."""
        residual = point.sums - 1
        step = self._solved(point)
        share = min(1.0, self.link.max_step / max(float(np.abs(step).max()), 1e-300))
        descent, square = float(residual @ step), float(residual @ residual)
        while share > 1e-5:
            moved = self._at(point.duals + share * step)
            falls = moved.value <= point.value + 1e-4 * share * descent
            if falls or np.square(moved.sums - 1).sum() < (1 - share / 2) * square:
                return moved
            share /= 2
        return self._swept(point)

    def _solved(self, point: _Point) -> np.ndarray:
        n, bounds = len(point.duals), self._bounds()
        counts = np.empty(n, np.int64)
        given = (self.costs, 1 / self.eps, point.duals)
        backend.parallel(self.link.count_slopes, bounds, *given, counts)
        indptr = np.concatenate([[0], np.cumsum(counts)])
        columns, slopes = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.float32)
        diagonal = np.empty(n)
        backend.parallel(self.link.fill_slopes, bounds, *given, indptr, columns, slopes, diagonal)
        # the addition is for pairs of which one could rise as the other falls
        diagonal = np.where(counts > 0, diagonal + 1e-3 * min(1.0, point.error), 1)
        missing = np.where(counts > 0, 1 - point.sums, point.sweep)

        def product(x: np.ndarray) -> np.ndarray:
            y = np.empty_like(x)
            backend.parallel(_product, bounds, indptr, columns, slopes, diagonal, x, y)
            return y

        enough = min(0.1, float(np.sqrt(point.error)))
        return conjugate_gradients(product, lambda x: x / diagonal, missing, enough, MAX_PRODUCTS)


def conjugate_gradients(
    product: Callable, precondition: Callable, residual: np.ndarray, enough: float, max_products: int
) -> np.ndarray:
    """The x of `product(x) = residual`, until the preconditioned residual fell to the share `enough`."""
    x, z = np.zeros_like(residual), precondition(residual)
    direction, size = z, (residual * z).sum()
    goal = enough**2 * size
    for _ in range(max_products):
        image = product(direction)
        steepness = (direction * image).sum()
        if not steepness > 0:
            break
        x = x + (size / steepness) * direction
        residual = residual - (size / steepness) * image
        z = precondition(residual)
        size, before = (residual * z).sum(), size
        if size <= goal:
            break
        direction = z + (size / before) * direction
    return x


@kernel
def _product(chunk, begin, end, indptr, columns, slopes, diagonal, x, y):
    for i in range(begin, end):
        total = diagonal[i] * x[i]
        for edge in range(indptr[i], indptr[i + 1]):
            total += slopes[edge] * x[columns[edge]]
        y[i] = total


@kernel
def _exp_sums(chunk, begin, end, costs, scale, duals, sums, sweep, halves):
    for i in range(begin, end):
        largest, total = -np.inf, 0.0
        for j in range(costs.shape[1]):
            exponent = duals[j] - costs[i, j] * scale
            largest = exponent if exponent > largest else largest
        for j in range(costs.shape[1]):
            total += exp_of(np.float32(duals[j] - costs[i, j] * scale - largest))
        sweep[i] = -(duals[i] + largest + np.log(total))
        sums[i] = np.exp(min(-sweep[i], 700.0))
        halves[i] = 0.5 * sums[i]


@kernel
def _exp_count(chunk, begin, end, costs, scale, duals, counts):
    lowest = np.log(NEGLIGIBLE)
    for i in range(begin, end):
        count = 0
        for j in range(costs.shape[1]):
            count += duals[i] + duals[j] - costs[i, j] * scale >= lowest
        counts[i] = count


@kernel
def _exp_fill(chunk, begin, end, costs, scale, duals, indptr, columns, slopes, diagonal):
    lowest = np.log(NEGLIGIBLE)
    for i in range(begin, end):
        place, total = indptr[i], 0.0
        for j in range(costs.shape[1]):
            exponent = duals[i] + duals[j] - costs[i, j] * scale
            if exponent >= lowest:
                columns[place], slopes[place] = j, np.exp(exponent)
                total += slopes[place]
                place += 1
        diagonal[i] = total


@kernel
def _from_zero(chunk, begin, end, costs, eps, duals):
    for i in range(begin, end):
        duals[i] = 0


@kernel
def _positive_sums(chunk, begin, end, costs, scale, duals, sums, sweep, halves):
    for i in range(begin, end):
        total, square, largest, count = 0.0, 0.0, -np.inf, 0
        for j in range(costs.shape[1]):
            argument = duals[i] + duals[j] - costs[i, j] * scale
            largest = argument if argument > largest else largest
            value = max(argument, 0.0)
            total += value
            square += value * value
            count += value > 0
        sums[i], halves[i] = total, 0.25 * square
        sweep[i] = (1 - total) / count if count > 0 else 1 - largest


@kernel
def _positive_count(chunk, begin, end, costs, scale, duals, counts):
    for i in range(begin, end):
        count = 0
        for j in range(costs.shape[1]):
            count += duals[i] + duals[j] - costs[i, j] * scale > 0
        counts[i] = count


@kernel
def _positive_fill(chunk, begin, end, costs, scale, duals, indptr, columns, slopes, diagonal):
    for i in range(begin, end):
        place = indptr[i]
        for j in range(costs.shape[1]):
            if duals[i] + duals[j] - costs[i, j] * scale > 0:
                columns[place], slopes[place] = j, 1
                place += 1
        diagonal[i] = place - indptr[i]


@kernel
def _row_alone(chunk, begin, end, costs, eps, duals):
    """Half of the t with Σ_j max(t − C_ij / ε, 0) = 1, by Newton's steps from above."""
    for i in range(begin, end):
        level = costs[i].min() / eps + 1
        count = 0
        while True:
            total, before, count = 1.0, count, 0
            for j in range(costs.shape[1]):
                cost = costs[i, j] / eps
                if cost < level:
                    total += cost
                    count += 1
            level = total / count
            if count == before:
                break
        duals[i] = 0.5 * level


EXPONENTIAL = Link(_exp_sums, _exp_count, _exp_fill, _from_zero, MAX_STEP, 1.0)
POSITIVE_PART = Link(_positive_sums, _positive_count, _positive_fill, _row_alone, np.inf, WIDE)
