"""Attraction along the edges of P, 4 Σⱼ pᵢⱼ (−d log q/du) (zᵢ − zⱼ), its curvature and its value, for every kernel."""

from __future__ import annotations

import numpy as np
from numba import njit

from . import FAST, kernel
from .kernels import GAUSSIAN, RATIONAL, STUDENT, cost_of, pull_of

FOUR, ZERO = np.float32(4), np.float32(0)


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def coordinates(pair):
    """The two float32 in the 64 bits of a row of positions: one gather an edge where two loads would be two."""
    return np.uint32(pair).view(np.float32), np.uint32(pair >> np.uint64(32)).view(np.float32)


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def _force_2d(kind, begin, end, indptr, indices, weights, positions, shape, gradient, curvature):
    """`positions` is (n,) uint64, a pair of float32 each; see `terms.attraction`."""
    s0, s1, s2 = shape[0], shape[1], shape[2]
    for i in range(begin, end):
        x, y = coordinates(positions[i])
        sum_x = sum_y = total = ZERO
        for edge in range(indptr[i], indptr[i + 1]):
            there_x, there_y = coordinates(positions[indices[edge]])
            dx, dy = x - there_x, y - there_y
            strength = weights[edge] * pull_of(kind, dx * dx + dy * dy, s0, s1, s2)
            sum_x += strength * dx
            sum_y += strength * dy
            total += strength
        gradient[i, 0], gradient[i, 1] = FOUR * sum_x, FOUR * sum_y
        curvature[i] = FOUR * total


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def _value_2d(kind, chunk, begin, end, indptr, indices, weights, positions, shape, partial):
    s0, s1 = shape[0], shape[1]
    total = 0.0
    for i in range(begin, end):
        x, y = coordinates(positions[i])
        row = ZERO
        for edge in range(indptr[i], indptr[i + 1]):
            there_x, there_y = coordinates(positions[indices[edge]])
            dx, dy = x - there_x, y - there_y
            row += weights[edge] * cost_of(kind, dx * dx + dy * dy, s0, s1)
        total += row
    partial[chunk] = total


@kernel
def student_2d(chunk, begin, end, indptr, indices, weights, positions, shape, gradient, curvature):
    _force_2d(STUDENT, begin, end, indptr, indices, weights, positions, shape, gradient, curvature)


@kernel
def gaussian_2d(chunk, begin, end, indptr, indices, weights, positions, shape, gradient, curvature):
    _force_2d(GAUSSIAN, begin, end, indptr, indices, weights, positions, shape, gradient, curvature)


@kernel
def rational_2d(chunk, begin, end, indptr, indices, weights, positions, shape, gradient, curvature):
    _force_2d(RATIONAL, begin, end, indptr, indices, weights, positions, shape, gradient, curvature)


@kernel
def student_value_2d(chunk, begin, end, indptr, indices, weights, positions, shape, partial):
    _value_2d(STUDENT, chunk, begin, end, indptr, indices, weights, positions, shape, partial)


@kernel
def gaussian_value_2d(chunk, begin, end, indptr, indices, weights, positions, shape, partial):
    _value_2d(GAUSSIAN, chunk, begin, end, indptr, indices, weights, positions, shape, partial)


@kernel
def rational_value_2d(chunk, begin, end, indptr, indices, weights, positions, shape, partial):
    _value_2d(RATIONAL, chunk, begin, end, indptr, indices, weights, positions, shape, partial)


@kernel
def force_any_d(chunk, begin, end, indptr, indices, weights, positions, kind, shape, gradient, curvature):
    """For positions (n, d)."""
    s0, s1, s2 = shape[0], shape[1], shape[2]
    n_components = positions.shape[1]
    for i in range(begin, end):
        total = ZERO
        for d in range(n_components):
            gradient[i, d] = 0
        for edge in range(indptr[i], indptr[i + 1]):
            j = indices[edge]
            sq_dist = ZERO
            for d in range(n_components):
                difference = positions[i, d] - positions[j, d]
                sq_dist += difference * difference
            strength = FOUR * weights[edge] * pull_of(kind, sq_dist, s0, s1, s2)
            for d in range(n_components):
                gradient[i, d] += strength * (positions[i, d] - positions[j, d])
            total += strength
        curvature[i] = total


@kernel
def value_any_d(chunk, begin, end, indptr, indices, weights, positions, kind, shape, partial):
    """Σ over rows of −Σⱼ pᵢⱼ log qᵢⱼ, one partial sum per range; for positions (n, d)."""
    s0, s1 = shape[0], shape[1]
    n_components = positions.shape[1]
    total = 0.0
    for i in range(begin, end):
        row = ZERO
        for edge in range(indptr[i], indptr[i + 1]):
            j = indices[edge]
            sq_dist = ZERO
            for d in range(n_components):
                difference = positions[i, d] - positions[j, d]
                sq_dist += difference * difference
            row += weights[edge] * cost_of(kind, sq_dist, s0, s1)
        total += row
    partial[chunk] = total


TWO_D = {
    STUDENT: (student_2d, student_value_2d),
    GAUSSIAN: (gaussian_2d, gaussian_value_2d),
    RATIONAL: (rational_2d, rational_value_2d),
}
