"""Weighted sums of forces and the preconditioned Nesterov step."""

from __future__ import annotations

import numpy as np
from numba import njit

from . import FAST, kernel
from .apart import read, write, write_other


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
def nesterov_2d(
    positions, velocity, weight, gradient, curvature, other_weight, other_gradient, other_curvature, rate, momentum,
    max_step, moved, moving
):  # fmt: skip
    """As `nesterov` for some rows in 2-D, all arrays flat; the loop takes sixteen points at once."""
    one = np.uint64(1)
    is_flat, flat = other_curvature.shape[0] == 1, other_weight * other_curvature[0]
    for i in range(np.uint64(curvature.shape[0])):
        other = flat if is_flat else other_weight * read(other_curvature, i)
        step = rate / (weight * read(curvature, i) + other)
        pull_x = step * (weight * read(gradient, i + i) + other_weight * read(other_gradient, i + i))
        pull_y = step * (weight * read(gradient, i + i + one) + other_weight * read(other_gradient, i + i + one))
        move_x, move_y = momentum * read(velocity, i + i) - pull_x, momentum * read(velocity, i + i + one) - pull_y
        sq_norm = move_x * move_x + move_y * move_y
        shrink = max_step / np.sqrt(sq_norm) if sq_norm > max_step * max_step else np.float32(1)
        move_x, move_y = move_x * shrink, move_y * shrink
        write_other(moving, i + i, move_x)
        write_other(moving, i + i + one, move_y)
        write(moved, i + i, read(positions, i + i) + momentum * move_x - pull_x)
        write(moved, i + i + one, read(positions, i + i + one) + momentum * move_y - pull_y)


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def box_2d(points, sides):
    """Smallest and largest coordinates of some points, flat, into `sides` (2, 2)."""
    far = np.float32(np.inf)
    low_x, low_y, high_x, high_y = far, far, -far, -far
    for i in range(np.uint64(points.shape[0] // 2)):
        x, y = points[i + i], points[i + i + np.uint64(1)]
        low_x, high_x, low_y, high_y = min(low_x, x), max(high_x, x), min(low_y, y), max(high_y, y)
    sides[0, 0], sides[0, 1], sides[1, 0], sides[1, 1] = low_x, low_y, high_x, high_y


@kernel
def nesterov(
    chunk, begin, end, positions, velocity, weight, gradient, curvature, other_weight, other_gradient, other_curvature,
    rate, momentum, max_step, moved, moving, sides
):  # fmt: skip
    """`moving` = m·u − s·g, at most `max_step` long, and `moved` = z + m · moving − s·g, where s = rate / curvature.

    g and the curvature are weighted sums of two forces, z the positions and u the velocity; arrays are flat.
    `sides[chunk]` gets the box of the range's new positions.
    """
    n_components = sides.shape[2]
    first, last = begin * n_components, end * n_components
    own = other_curvature if other_curvature.shape[0] == 1 else other_curvature[begin:end]
    if n_components == 2:
        nesterov_2d(
            positions[first:last], velocity[first:last], weight, gradient[first:last], curvature[begin:end],
            other_weight, other_gradient[first:last], own, rate, momentum, max_step, moved[first:last],
            moving[first:last],
        )  # fmt: skip
        box_2d(moved[first:last], sides[chunk])
        return
    stride = 1 if other_curvature.shape[0] > 1 else 0
    for d in range(n_components):
        sides[chunk, 0, d], sides[chunk, 1, d] = np.float32(np.inf), -np.float32(np.inf)
    for i in range(begin, end):
        step = rate / (weight * curvature[i] + other_weight * other_curvature[i * stride])
        sq_norm = np.float32(0)
        for k in range(n_components * i, n_components * (i + 1)):
            pull = step * (weight * gradient[k] + other_weight * other_gradient[k])
            moving[k] = momentum * velocity[k] - pull
            moved[k] = positions[k] - pull
            sq_norm += moving[k] * moving[k]
        shrink = max_step / np.sqrt(sq_norm) if sq_norm > max_step * max_step else np.float32(1)
        for d in range(n_components):
            k = n_components * i + d
            moving[k] *= shrink
            moved[k] += momentum * moving[k]
            sides[chunk, 0, d], sides[chunk, 1, d] = (
                min(sides[chunk, 0, d], moved[k]),
                max(sides[chunk, 1, d], moved[k]),
            )
