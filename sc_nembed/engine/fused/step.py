"""Attraction along the edges and the step it leads to, range by range; the other forces are at hand.

Gradient and curvature of a range stay in the cache between the two.
"""

from __future__ import annotations

import numpy as np

from . import kernel
from .attraction import attraction_2d, free
from .kernels import GAUSSIAN, RATIONAL, STUDENT, gaussian_pull, rational_pull, student_pull
from .update import nesterov_2d


@kernel
def student(
    chunk, begin, end, indptr, indices, weights, points, shape, positions, velocity, weight, other_weight,
    other_gradient, other_curvature, rate, momentum, max_step, moved, moving, sides
):  # fmt: skip
    """As `attraction.attraction_2d` of `points` and then `update.nesterov` of `positions`, the same memory."""
    gradient, curvature = np.empty(2 * (end - begin), np.float32), np.empty(end - begin, np.float32)
    attraction_2d(
        student_pull, free, begin, end, indptr, indices, weights, points, points, shape, begin, gradient, curvature
    )
    nesterov_2d(
        chunk, begin, end, positions, velocity, weight, begin, gradient, curvature, other_weight, other_gradient,
        other_curvature, rate, momentum, max_step, moved, moving, sides
    )  # fmt: skip


@kernel
def gaussian(
    chunk, begin, end, indptr, indices, weights, points, shape, positions, velocity, weight, other_weight,
    other_gradient, other_curvature, rate, momentum, max_step, moved, moving, sides
):  # fmt: skip
    gradient, curvature = np.empty(2 * (end - begin), np.float32), np.empty(end - begin, np.float32)
    attraction_2d(
        gaussian_pull, free, begin, end, indptr, indices, weights, points, points, shape, begin, gradient, curvature
    )
    nesterov_2d(
        chunk, begin, end, positions, velocity, weight, begin, gradient, curvature, other_weight, other_gradient,
        other_curvature, rate, momentum, max_step, moved, moving, sides
    )  # fmt: skip


@kernel
def rational(
    chunk, begin, end, indptr, indices, weights, points, shape, positions, velocity, weight, other_weight,
    other_gradient, other_curvature, rate, momentum, max_step, moved, moving, sides
):  # fmt: skip
    gradient, curvature = np.empty(2 * (end - begin), np.float32), np.empty(end - begin, np.float32)
    attraction_2d(
        rational_pull, free, begin, end, indptr, indices, weights, points, points, shape, begin, gradient, curvature
    )
    nesterov_2d(
        chunk, begin, end, positions, velocity, weight, begin, gradient, curvature, other_weight, other_gradient,
        other_curvature, rate, momentum, max_step, moved, moving, sides
    )  # fmt: skip


STEPS = {STUDENT: student, GAUSSIAN: gaussian, RATIONAL: rational}
