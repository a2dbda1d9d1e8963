"""Attraction along the edges and the step it leads to, range by range; the other forces are at hand.

Gradient and curvature of a range stay in the cache between the two.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..compute import backend
from ..graph import AffinityMatrix
from ..kernel import Kernel
from . import kernel
from .attraction import attraction_2d, free
from .kernels import GAUSSIAN, KINDS, RATIONAL, STUDENT, gaussian_pull, rational_pull, shape_of, student_pull
from .packing import packed, ranges, unsigned
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


def attraction_and_step(
    matrix: AffinityMatrix, kernel: Kernel, positions: Tensor, velocity: Tensor, weight: float, other_weight: float,
    other_gradient: Tensor, other_curvature: Tensor, rate: float, momentum: float, max_step: float,
) -> tuple[Tensor, Tensor, np.ndarray]:  # fmt: skip
    """As `terms.attraction.plain_step`, in 2-D."""
    bounds = ranges(positions.shape[0])
    moved, moving = torch.empty(positions.shape), torch.empty(positions.shape)
    sides = np.empty((len(bounds), 2, 2), np.float32)
    backend.parallel(
        STEPS[KINDS[type(kernel)]], bounds, *unsigned(matrix), packed(positions), shape_of(kernel),
        backend.flat(positions), backend.flat(velocity), np.float32(weight), np.float32(other_weight),
        backend.flat(other_gradient), backend.as_array(other_curvature), np.float32(rate), np.float32(momentum),
        np.float32(max_step), backend.flat(moved), backend.flat(moving), sides,
    )  # fmt: skip
    return moved, moving, sides
