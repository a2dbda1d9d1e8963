"""Attraction and the step it leads to in one pass over the edges; the other forces are at hand.

What would be written between the two, gradient and curvature of every cell, stays in registers.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from . import FAST, kernel
from .attraction import FOUR, ZERO, coordinates
from .kernels import GAUSSIAN, RATIONAL, STUDENT, gaussian_pull, rational_pull, student_pull
from .update import moved_2d


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def _step_2d(
    pull, chunk, begin, end, indptr, indices, weights, positions, shape, weight, other_weight, other_gradient,
    other_curvature, rate, momentum, max_step, velocity, moved, sides
):  # fmt: skip
    """As `attraction` and then `update.nesterov`, whose arguments these are; positions go from one array to another."""
    stride = 1 if other_curvature.shape[0] > 1 else 0
    far = np.float32(np.inf)
    low_x, low_y, high_x, high_y = far, far, -far, -far
    for i in range(begin, end):
        x, y = coordinates(positions[i])
        sum_x = sum_y = total = ZERO
        for edge in range(indptr[i], indptr[i + 1]):
            there_x, there_y = coordinates(positions[indices[edge]])
            dx, dy = x - there_x, y - there_y
            strength = weights[edge] * pull(dx * dx + dy * dy, shape)
            sum_x += strength * dx
            sum_y += strength * dy
            total += strength
        step = rate / (weight * FOUR * total + other_weight * other_curvature[i * stride])
        pull_x = step * (weight * FOUR * sum_x + other_weight * other_gradient[i, 0])
        pull_y = step * (weight * FOUR * sum_y + other_weight * other_gradient[i, 1])
        x, y, move_x, move_y = moved_2d(x, y, velocity[i, 0], velocity[i, 1], pull_x, pull_y, momentum, max_step)
        velocity[i, 0], velocity[i, 1] = move_x, move_y
        moved[i, 0], moved[i, 1] = x, y
        low_x, high_x, low_y, high_y = min(low_x, x), max(high_x, x), min(low_y, y), max(high_y, y)
    sides[chunk, 0, 0], sides[chunk, 0, 1], sides[chunk, 1, 0], sides[chunk, 1, 1] = low_x, low_y, high_x, high_y


@kernel
def student(
    chunk, begin, end, indptr, indices, weights, positions, shape, weight, other_weight, other_gradient,
    other_curvature, rate, momentum, max_step, velocity, moved, sides
):  # fmt: skip
    _step_2d(
        student_pull, chunk, begin, end, indptr, indices, weights, positions, shape, weight, other_weight,
        other_gradient, other_curvature, rate, momentum, max_step, velocity, moved, sides
    )  # fmt: skip


@kernel
def gaussian(
    chunk, begin, end, indptr, indices, weights, positions, shape, weight, other_weight, other_gradient,
    other_curvature, rate, momentum, max_step, velocity, moved, sides
):  # fmt: skip
    _step_2d(
        gaussian_pull, chunk, begin, end, indptr, indices, weights, positions, shape, weight, other_weight,
        other_gradient, other_curvature, rate, momentum, max_step, velocity, moved, sides
    )  # fmt: skip


@kernel
def rational(
    chunk, begin, end, indptr, indices, weights, positions, shape, weight, other_weight, other_gradient,
    other_curvature, rate, momentum, max_step, velocity, moved, sides
):  # fmt: skip
    _step_2d(
        rational_pull, chunk, begin, end, indptr, indices, weights, positions, shape, weight, other_weight,
        other_gradient, other_curvature, rate, momentum, max_step, velocity, moved, sides
    )  # fmt: skip


STEPS = {STUDENT: student, GAUSSIAN: gaussian, RATIONAL: rational}
