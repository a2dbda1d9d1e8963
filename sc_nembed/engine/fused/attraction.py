"""Attraction along the edges of P, 4 Σⱼ pᵢⱼ (−d log q/du) (zᵢ − zⱼ), its curvature and its value, for every kernel."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

from ..compute import backend
from ..graph import AffinityMatrix
from ..kernel import Gaussian, Kernel, Rational, StudentT
from ..view import View
from . import FAST, kernel
from .kernels import (
    GAUSSIAN,
    KINDS,
    RATIONAL,
    STUDENT,
    cost_of,
    gaussian_cost,
    gaussian_pull,
    pull_of,
    rational_cost,
    rational_pull,
    scalar,
    shape_of,
    student_cost,
    student_pull,
)
from .packing import both, both_packed, ranges, unsigned

KERNELS = (StudentT, Gaussian, Rational)
FOUR, ZERO = np.float32(4), np.float32(0)


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def coordinates(pair):
    """The two float32 in the 64 bits of a row of positions: one gather an edge where two loads would be two."""
    return np.uint32(pair).view(np.float32), np.uint32(pair >> np.uint64(32)).view(np.float32)


@scalar
def free(sq_dist, shape):
    """A cost that nobody asked for; the loop loses it when it is compiled."""
    return ZERO


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def attraction_2d(pull, cost, begin, end, indptr, indices, weights, mine, everyone, shape, first, gradient, curvature):
    """Σ over the rows of −Σⱼ pᵢⱼ log qᵢⱼ; `mine` (m,) and `everyone` (n,) are uint64, a pair of float32 each.

    `gradient`, flat, and `curvature` begin with row `first`.
    """
    value = 0.0
    for i in range(begin, end):
        x, y = coordinates(mine[i])
        sum_x = sum_y = total = row = ZERO
        for edge in range(indptr[i], indptr[i + 1]):
            there_x, there_y = coordinates(everyone[indices[edge]])
            dx, dy = x - there_x, y - there_y
            sq_dist = dx * dx + dy * dy
            strength = weights[edge] * pull(sq_dist, shape)
            sum_x += strength * dx
            sum_y += strength * dy
            total += strength
            row += weights[edge] * cost(sq_dist, shape)
        place = np.uint64(i - first)
        gradient[place + place], gradient[place + place + np.uint64(1)] = FOUR * sum_x, FOUR * sum_y
        curvature[place] = FOUR * total
        value += row
    return value


@kernel
def student_2d(chunk, begin, end, indptr, indices, weights, mine, everyone, shape, gradient, curvature):
    attraction_2d(
        student_pull, free, begin, end, indptr, indices, weights, mine, everyone, shape, 0, gradient, curvature
    )


@kernel
def gaussian_2d(chunk, begin, end, indptr, indices, weights, mine, everyone, shape, gradient, curvature):
    attraction_2d(
        gaussian_pull, free, begin, end, indptr, indices, weights, mine, everyone, shape, 0, gradient, curvature
    )


@kernel
def rational_2d(chunk, begin, end, indptr, indices, weights, mine, everyone, shape, gradient, curvature):
    attraction_2d(
        rational_pull, free, begin, end, indptr, indices, weights, mine, everyone, shape, 0, gradient, curvature
    )


@kernel
def student_valued_2d(chunk, begin, end, indptr, indices, weights, mine, everyone, shape, gradient, curvature, partial):
    partial[chunk] = attraction_2d(
        student_pull, student_cost, begin, end, indptr, indices, weights, mine, everyone, shape, 0, gradient, curvature
    )


@kernel
def gaussian_valued_2d(
    chunk, begin, end, indptr, indices, weights, mine, everyone, shape, gradient, curvature, partial
):
    partial[chunk] = attraction_2d(
        gaussian_pull,
        gaussian_cost,
        begin,
        end,
        indptr,
        indices,
        weights,
        mine,
        everyone,
        shape,
        0,
        gradient,
        curvature,
    )


@kernel
def rational_valued_2d(
    chunk, begin, end, indptr, indices, weights, mine, everyone, shape, gradient, curvature, partial
):
    partial[chunk] = attraction_2d(
        rational_pull,
        rational_cost,
        begin,
        end,
        indptr,
        indices,
        weights,
        mine,
        everyone,
        shape,
        0,
        gradient,
        curvature,
    )


@kernel
def force_any_d(chunk, begin, end, indptr, indices, weights, mine, everyone, kind, shape, gradient, curvature):
    """For positions (m, d) and (n, d); the gradient is flat."""
    n_components = mine.shape[1]
    for i in range(begin, end):
        total, place = ZERO, i * n_components
        for d in range(n_components):
            gradient[place + d] = 0
        for edge in range(indptr[i], indptr[i + 1]):
            j = indices[edge]
            sq_dist = ZERO
            for d in range(n_components):
                difference = mine[i, d] - everyone[j, d]
                sq_dist += difference * difference
            strength = FOUR * weights[edge] * pull_of(kind, sq_dist, shape)
            for d in range(n_components):
                gradient[place + d] += strength * (mine[i, d] - everyone[j, d])
            total += strength
        curvature[i] = total


@kernel
def value_any_d(chunk, begin, end, indptr, indices, weights, mine, everyone, kind, shape, partial):
    """Σ over rows of −Σⱼ pᵢⱼ log qᵢⱼ, one partial sum per range; for positions (m, d) and (n, d)."""
    n_components = mine.shape[1]
    total = 0.0
    for i in range(begin, end):
        row = ZERO
        for edge in range(indptr[i], indptr[i + 1]):
            j = indices[edge]
            sq_dist = ZERO
            for d in range(n_components):
                difference = mine[i, d] - everyone[j, d]
                sq_dist += difference * difference
            row += weights[edge] * cost_of(kind, sq_dist, shape)
        total += row
    partial[chunk] = total


TWO_D = {
    STUDENT: (student_2d, student_valued_2d),
    GAUSSIAN: (gaussian_2d, gaussian_valued_2d),
    RATIONAL: (rational_2d, rational_valued_2d),
}


def attraction(matrix: AffinityMatrix, kernel: Kernel, view: View, value: bool) -> tuple:
    """As `terms.attraction.plain`."""
    n_rows, n_components = view.mine.shape
    if n_components == 2:
        force_of, _ = TWO_D[KINDS[type(kernel)]]
        common = (*unsigned(matrix), *both_packed(view), shape_of(kernel))
    else:
        force_of, common = force_any_d, (*unsigned(matrix), *both(view), KINDS[type(kernel)], shape_of(kernel))
    gradient, curvature, bounds = torch.empty(view.mine.shape), torch.empty(n_rows), ranges(n_rows)
    backend.parallel(force_of, bounds, *common, backend.flat(gradient), curvature.numpy())
    if not value:
        return gradient, None, curvature
    if n_components == 2:  # a pass of its own, so that the force has the same bits whether it is looked at or not
        return gradient, in_one_pass(matrix, kernel, view)[1], curvature
    partial = np.empty(len(bounds))
    backend.parallel(value_any_d, bounds, *common, partial)
    return gradient, torch.tensor(partial.sum()), curvature


def in_one_pass(matrix: AffinityMatrix, kernel: Kernel, view: View) -> tuple[Tensor, Tensor, Tensor]:
    """Force and value in 2-D; the last bits of the force may differ from those of `attraction`."""
    n_rows = len(view.mine)
    gradient, curvature, bounds = torch.empty(view.mine.shape), torch.empty(n_rows), ranges(n_rows)
    partial = np.empty(len(bounds))
    backend.parallel(
        TWO_D[KINDS[type(kernel)]][1], bounds, *unsigned(matrix), *both_packed(view), shape_of(kernel),
        backend.flat(gradient), curvature.numpy(), partial,
    )  # fmt: skip
    return gradient, torch.tensor(partial.sum()), curvature
