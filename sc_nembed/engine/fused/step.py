"""Attraction along the edges and the step it leads to, range by range; the other forces are at hand.

Gradient and curvature of a range stay in the cache between the two.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from . import FAST, kernel
from .attraction import attraction_2d, free
from .kernels import GAUSSIAN, RATIONAL, STUDENT, gaussian_pull, rational_pull, student_pull
from .update import box_2d, nesterov_2d


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def _step_2d(
    pull, begin, end, indptr, indices, weights, points, shape, positions, velocity, weight, other_weight,
    other_gradient, other_curvature, rate, momentum, max_step, moved, moving, sides
):  # fmt: skip
    """As `attraction.attraction_2d` of `points` and then `update.nesterov` of `positions`, the same memory."""
    gradient, curvature = np.empty((end - begin, 2), np.float32), np.empty(end - begin, np.float32)
    attraction_2d(pull, free, begin, end, indptr, indices, weights, points, shape, gradient, curvature)
    first, last = 2 * begin, 2 * end
    own = other_curvature if other_curvature.shape[0] == 1 else other_curvature[begin:end]
    nesterov_2d(
        positions[first:last], velocity[first:last], weight, gradient.reshape(-1), curvature,
        other_weight, other_gradient[first:last], own, rate, momentum, max_step, moved[first:last], moving[first:last],
    )  # fmt: skip
    box_2d(moved[first:last], sides)


@kernel
def student(
    chunk, begin, end, indptr, indices, weights, points, shape, positions, velocity, weight, other_weight,
    other_gradient, other_curvature, rate, momentum, max_step, moved, moving, sides
):  # fmt: skip
    _step_2d(
        student_pull, begin, end, indptr, indices, weights, points, shape, positions, velocity, weight, other_weight,
        other_gradient, other_curvature, rate, momentum, max_step, moved, moving, sides[chunk]
    )  # fmt: skip


@kernel
def gaussian(
    chunk, begin, end, indptr, indices, weights, points, shape, positions, velocity, weight, other_weight,
    other_gradient, other_curvature, rate, momentum, max_step, moved, moving, sides
):  # fmt: skip
    _step_2d(
        gaussian_pull, begin, end, indptr, indices, weights, points, shape, positions, velocity, weight, other_weight,
        other_gradient, other_curvature, rate, momentum, max_step, moved, moving, sides[chunk]
    )  # fmt: skip


@kernel
def rational(
    chunk, begin, end, indptr, indices, weights, points, shape, positions, velocity, weight, other_weight,
    other_gradient, other_curvature, rate, momentum, max_step, moved, moving, sides
):  # fmt: skip
    _step_2d(
        rational_pull, begin, end, indptr, indices, weights, points, shape, positions, velocity, weight, other_weight,
        other_gradient, other_curvature, rate, momentum, max_step, moved, moving, sides[chunk]
    )  # fmt: skip


STEPS = {STUDENT: student, GAUSSIAN: gaussian, RATIONAL: rational}
