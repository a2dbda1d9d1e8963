"""The edges of P in a denominator: Σᵢⱼ pᵢⱼ log(qᵢⱼ + dᵢ), see `engine.terms.denominators`."""

from __future__ import annotations

import numpy as np
from numba import njit

from . import FAST, kernel
from .elementary import log_of
from .kernels import cauchy

ONE, TWO, ZERO = np.float32(1), np.float32(2), np.float32(0)


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def _sq_dist(positions, i, j):
    total = ZERO
    for d in range(positions.shape[1]):
        difference = positions[i, d] - positions[j, d]
        total += difference * difference
    return total


@kernel
def gradient(chunk, begin, end, indptr, indices, weights, positions, shape, denominator, gradient, share):
    """The gradient (n, d) at fixed d, and the share Σⱼ pᵢⱼ / (qᵢⱼ + dᵢ), which is the derivative with respect to dᵢ."""
    for i in range(begin, end):
        own, total = denominator[i], ZERO
        for d in range(positions.shape[1]):
            gradient[i, d] = ZERO
        for edge in range(indptr[i], indptr[i + 1]):
            j = indices[edge]
            value, slope = cauchy(_sq_dist(positions, i, j), shape)
            part = weights[edge] / (value + own)
            total += part
            strength = TWO * slope * (part + weights[edge] / (value + denominator[j]))
            for d in range(positions.shape[1]):
                gradient[i, d] += strength * (positions[i, d] - positions[j, d])
        share[i] = total


@kernel
def value(chunk, begin, end, indptr, indices, weights, positions, shape, denominator, partial):
    total = 0.0
    for i in range(begin, end):
        row = ZERO
        for edge in range(indptr[i], indptr[i + 1]):
            q, _ = cauchy(_sq_dist(positions, i, indices[edge]), shape)
            row += weights[edge] * log_of(q + denominator[i])
        total += row
    partial[chunk] = total
