"""Sums over a Cauchy kernel of hyperbolic distances, in up to three dimensions; see `terms.hyperbolic`."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from . import FAST, kernel
from .elementary import log_of

ZERO, ONE, FOUR = np.float32(0), np.float32(1), np.float32(4)
NEAR = np.float32(0.05)
_C1, _C2, _C3, _C4 = (np.float32(c) for c in (-1 / 6, 3 / 40, -15 / 336, 105 / 3456))


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def sq_distance(t):
    """u = 4 arsinh² √t and du/dt; near 0 by the series of arsinh √t / √t."""
    root, wide = math.sqrt(t), math.sqrt(ONE + t)
    series = (((_C4 * t + _C3) * t + _C2) * t + _C1) * t + ONE
    ratio = series if t < NEAR else log_of(root + wide) / max(root, NEAR)
    return FOUR * t * ratio * ratio, FOUR * ratio / wide


@kernel
def partition(chunk, begin, end, points, inverse, weights, precision, mass, push):
    """Σⱼ wⱼ qᵢⱼ, (n,), and half the sum over j of wⱼ ∂qᵢⱼ / ∂zᵢ, (n, 3), j ≠ i; `points` is (3, n)."""
    xs, ys, zs = points[0], points[1], points[2]
    for i in range(begin, end):
        x, y, z = xs[i], ys[i], zs[i]
        total = push_x = push_y = push_z = inward = ZERO
        for j in range(xs.shape[0]):
            dx, dy, dz = x - xs[j], y - ys[j], z - zs[j]
            t = (dx * dx + dy * dy + dz * dz) * inverse[i] * inverse[j]
            sq_dist, slope = sq_distance(t)
            value = ONE / (ONE + precision * sq_dist)
            slope *= -precision * value * value * weights[j]
            total += weights[j] * value
            inward += slope * t
            slope *= inverse[j]
            push_x += slope * dx
            push_y += slope * dy
            push_z += slope * dz
        mass[i] = total - weights[i]
        push[i, 0] = inverse[i] * (push_x + inward * x)
        push[i, 1] = inverse[i] * (push_y + inward * y)
        push[i, 2] = inverse[i] * (push_z + inward * z)


@kernel
def attraction(chunk, begin, end, indptr, indices, edge_weights, points, inverse, precision, cost, pull):
    """Σⱼ −pᵢⱼ log qᵢⱼ of each range, and half the sum over j of its derivative, (n, 3); `points` is (n, 3)."""
    value = 0.0
    for i in range(begin, end):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        row = pull_x = pull_y = pull_z = inward = ZERO
        for edge in range(indptr[i], indptr[i + 1]):
            j = indices[edge]
            dx, dy, dz = x - points[j, 0], y - points[j, 1], z - points[j, 2]
            t = (dx * dx + dy * dy + dz * dz) * inverse[i] * inverse[j]
            sq_dist, slope = sq_distance(t)
            base = ONE + precision * sq_dist
            slope *= edge_weights[edge] * precision / base
            row += edge_weights[edge] * log_of(base)
            inward += slope * t
            slope *= inverse[j]
            pull_x += slope * dx
            pull_y += slope * dy
            pull_z += slope * dz
        value += row
        pull[i, 0] = inverse[i] * (pull_x + inward * x)
        pull[i, 1] = inverse[i] * (pull_y + inward * y)
        pull[i, 2] = inverse[i] * (pull_z + inward * z)
    cost[chunk] = value
