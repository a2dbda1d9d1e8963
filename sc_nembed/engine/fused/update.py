"""Weighted sums of forces and the preconditioned Nesterov step."""

from __future__ import annotations

import numpy as np
from numba import njit

from . import FAST, kernel


@kernel
def add_force(chunk, begin, end, weight, gradient, curvature, sum_gradient, sum_curvature):
    """Add a weighted force; `curvature` has one entry where it is the same for all cells."""
    stride = 1 if curvature.shape[0] > 1 else 0
    for i in range(begin, end):
        sum_curvature[i] += weight * curvature[i * stride]
        for d in range(gradient.shape[1]):
            sum_gradient[i, d] += weight * gradient[i, d]


@kernel
def dot(chunk, begin, end, left, right, partial):
    total = 0.0
    for i in range(begin, end):
        for d in range(left.shape[1]):
            total += np.float64(left[i, d]) * np.float64(right[i, d])
    partial[chunk] = total


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def moved_2d(x, y, velocity_x, velocity_y, pull_x, pull_y, momentum, max_step):
    """A new place and velocity from pulls that are divided by the curvature; see `nesterov`."""
    move_x, move_y = momentum * velocity_x - pull_x, momentum * velocity_y - pull_y
    sq_norm = move_x * move_x + move_y * move_y
    shrink = max_step / np.sqrt(sq_norm) if sq_norm > max_step * max_step else np.float32(1)
    move_x, move_y = move_x * shrink, move_y * shrink
    return x + momentum * move_x - pull_x, y + momentum * move_y - pull_y, move_x, move_y


@kernel
def nesterov(
    chunk, begin, end, positions, velocity, weight, gradient, curvature, other_weight, other_gradient, other_curvature,
    rate, momentum, max_step, sides
):  # fmt: skip
    """u ← m·u − s·g with |uᵢ| ≤ max_step, then z ← z + m·u − s·g, where s = rate / curvature; both in place.

    g and the curvature are weighted sums of two forces. `sides[chunk]` gets the box of the range's new positions.
    """
    n_components = positions.shape[1]
    stride = 1 if other_curvature.shape[0] > 1 else 0
    far = np.float32(np.inf)
    low_x, low_y, high_x, high_y = far, far, -far, -far
    if n_components == 2:  # coordinates stay in registers
        for i in range(begin, end):
            step = rate / (weight * curvature[i] + other_weight * other_curvature[i * stride])
            pull_x = step * (weight * gradient[i, 0] + other_weight * other_gradient[i, 0])
            pull_y = step * (weight * gradient[i, 1] + other_weight * other_gradient[i, 1])
            x, y, move_x, move_y = moved_2d(
                positions[i, 0], positions[i, 1], velocity[i, 0], velocity[i, 1], pull_x, pull_y, momentum, max_step
            )
            velocity[i, 0], velocity[i, 1] = move_x, move_y
            positions[i, 0], positions[i, 1] = x, y
            low_x, high_x, low_y, high_y = min(low_x, x), max(high_x, x), min(low_y, y), max(high_y, y)
        sides[chunk, 0, 0], sides[chunk, 0, 1], sides[chunk, 1, 0], sides[chunk, 1, 1] = low_x, low_y, high_x, high_y
        return
    for d in range(n_components):
        sides[chunk, 0, d], sides[chunk, 1, d] = far, -far
    for i in range(begin, end):
        step = rate / (weight * curvature[i] + other_weight * other_curvature[i * stride])
        sq_norm = np.float32(0)
        for d in range(n_components):
            pull = step * (weight * gradient[i, d] + other_weight * other_gradient[i, d])
            moved = momentum * velocity[i, d] - pull
            velocity[i, d] = moved
            positions[i, d] -= pull
            sq_norm += moved * moved
        shrink = np.float32(1)
        if sq_norm > max_step * max_step:
            shrink = max_step / np.sqrt(sq_norm)
        for d in range(n_components):
            velocity[i, d] *= shrink
            place = positions[i, d] + momentum * velocity[i, d]
            positions[i, d] = place
            sides[chunk, 0, d] = min(sides[chunk, 0, d], place)
            sides[chunk, 1, d] = max(sides[chunk, 1, d], place)
