"""Attraction along the edges of P for the Student kernel, 4 Σⱼ pᵢⱼ (−d log q/du) (zᵢ − zⱼ), curvature and value."""

from __future__ import annotations

import numpy as np
from numba import njit

from . import FAST, kernel
from .elementary import log_above_one


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def _coordinates(pair):
    """The two float32 in the 64 bits of a row of positions: one gather an edge where two loads would be two."""
    return np.uint32(pair).view(np.float32), np.uint32(pair >> np.uint64(32)).view(np.float32)


@kernel
def student_2d(chunk, begin, end, indptr, indices, weights, positions, dof, gradient, curvature):
    """`positions` is (n,) uint64, a pair of float32 each; see `terms.attraction`."""
    scale = np.float32(2 * (dof + 1))
    shift = np.float32(dof)
    for i in range(begin, end):
        x, y = _coordinates(positions[i])
        sum_x = sum_y = total = np.float32(0)
        for edge in range(indptr[i], indptr[i + 1]):
            there_x, there_y = _coordinates(positions[indices[edge]])
            dx, dy = x - there_x, y - there_y
            strength = weights[edge] / (shift + (dx * dx + dy * dy))
            sum_x += strength * dx
            sum_y += strength * dy
            total += strength
        gradient[i, 0], gradient[i, 1] = scale * sum_x, scale * sum_y
        curvature[i] = scale * total


@kernel
def student_any_d(chunk, begin, end, indptr, indices, weights, positions, dof, gradient, curvature):
    scale = np.float32(2 * (dof + 1))
    shift = np.float32(dof)
    n_components = positions.shape[1]
    for i in range(begin, end):
        total = np.float32(0)
        for d in range(n_components):
            gradient[i, d] = 0
        for edge in range(indptr[i], indptr[i + 1]):
            j = indices[edge]
            sq_dist = np.float32(0)
            for d in range(n_components):
                difference = positions[i, d] - positions[j, d]
                sq_dist += difference * difference
            strength = weights[edge] / (shift + sq_dist)
            for d in range(n_components):
                gradient[i, d] += strength * (positions[i, d] - positions[j, d])
            total += strength
        for d in range(n_components):
            gradient[i, d] *= scale
        curvature[i] = scale * total


@kernel
def value_2d(chunk, begin, end, indptr, indices, weights, positions, dof, partial):
    """Σ over rows of −Σⱼ pᵢⱼ log qᵢⱼ, one partial sum per range; positions as pairs."""
    one, inverse = np.float32(1), np.float32(1 / dof)
    total = 0.0
    for i in range(begin, end):
        x, y = _coordinates(positions[i])
        row = np.float32(0)
        for edge in range(indptr[i], indptr[i + 1]):
            there_x, there_y = _coordinates(positions[indices[edge]])
            dx, dy = x - there_x, y - there_y
            row += weights[edge] * log_above_one(one + inverse * (dx * dx + dy * dy))
        total += row
    partial[chunk] = total * 0.5 * (dof + 1)


@kernel
def value_any_d(chunk, begin, end, indptr, indices, weights, positions, dof, partial):
    """The same for positions (n, d)."""
    one, inverse = np.float32(1), np.float32(1 / dof)
    n_components = positions.shape[1]
    total = 0.0
    for i in range(begin, end):
        row = np.float32(0)
        for edge in range(indptr[i], indptr[i + 1]):
            j = indices[edge]
            sq_dist = np.float32(0)
            for d in range(n_components):
                difference = positions[i, d] - positions[j, d]
                sq_dist += difference * difference
            row += weights[edge] * log_above_one(one + inverse * sq_dist)
        total += row
    partial[chunk] = total * 0.5 * (dof + 1)
