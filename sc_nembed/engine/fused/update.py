"""The preconditioned Nesterov step."""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit
from torch import Tensor

from ..compute import backend
from ..optimize.measure import side_of
from ..optimize.protocol import WeightedForces, as_two
from ..world import SERIAL, World
from . import FAST, kernel
from .noalias import read, write, write_other

ONE, UNIT = np.uint64(1), np.float32(1)
ROWS = 8192  # of a range


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def nesterov_2d(
    chunk, begin, end, positions, velocity, weight, first, gradient, curvature, other_weight, other_gradient,
    other_curvature, rate, momentum, max_step, moved, moving, sides
):  # fmt: skip
    """As `nesterov` in 2-D, but `gradient` and `curvature` begin with row `first`; the loop takes sixteen at once."""
    is_flat, flat = other_curvature.shape[0] == 1, other_weight * other_curvature[0]
    for i in range(np.uint64(begin), np.uint64(end)):
        x, own = i + i, i - np.uint64(first)
        other = flat if is_flat else other_weight * read(other_curvature, i)
        step = rate / (weight * read(curvature, own) + other)
        pull_x = step * (weight * read(gradient, own + own) + other_weight * read(other_gradient, x))
        pull_y = step * (weight * read(gradient, own + own + ONE) + other_weight * read(other_gradient, x + ONE))
        move_x, move_y = momentum * read(velocity, x) - pull_x, momentum * read(velocity, x + ONE) - pull_y
        sq_norm = move_x * move_x + move_y * move_y
        shrink = max_step / math.sqrt(sq_norm) if sq_norm > max_step * max_step else UNIT
        move_x, move_y = move_x * shrink, move_y * shrink
        write_other(moving, x, move_x)
        write_other(moving, x + ONE, move_y)
        write(moved, x, read(positions, x) + momentum * move_x - pull_x)
        write(moved, x + ONE, read(positions, x + ONE) + momentum * move_y - pull_y)
    far = np.float32(np.inf)
    low_x, low_y, high_x, high_y = far, far, -far, -far
    for i in range(np.uint64(begin), np.uint64(end)):
        x, y = moved[i + i], moved[i + i + ONE]
        low_x, high_x = x if x < low_x else low_x, x if x > high_x else high_x
        low_y, high_y = y if y < low_y else low_y, y if y > high_y else high_y
    sides[chunk, 0, 0], sides[chunk, 0, 1], sides[chunk, 1, 0], sides[chunk, 1, 1] = low_x, low_y, high_x, high_y


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
    if n_components == 2:
        nesterov_2d(
            chunk, begin, end, positions, velocity, weight, 0, gradient, curvature, other_weight, other_gradient,
            other_curvature, rate, momentum, max_step, moved, moving, sides
        )  # fmt: skip
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
        shrink = max_step / math.sqrt(sq_norm) if sq_norm > max_step * max_step else UNIT
        for d in range(n_components):
            k = n_components * i + d
            moving[k] *= shrink
            moved[k] += momentum * moving[k]
            sides[chunk, 0, d], sides[chunk, 1, d] = (
                min(sides[chunk, 0, d], moved[k]),
                max(sides[chunk, 1, d], moved[k]),
            )


def step(
    positions: Tensor, velocity: Tensor, forces: WeightedForces, rate: float, momentum: float, max_step: Tensor,
    world: World = SERIAL,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """As `optimize.optimizer.plain_nesterov`."""
    (weight, force), (other_weight, other) = as_two(forces)
    bounds = backend.chunk_bounds(positions.shape[0], ROWS)
    moved, moving = torch.empty(positions.shape), torch.empty(positions.shape)
    sides = np.empty((len(bounds), 2, positions.shape[1]), np.float32)
    backend.parallel(
        nesterov, bounds, backend.flat(positions), backend.flat(velocity), np.float32(weight),
        backend.flat(force.gradient), backend.as_array(force.curvature), np.float32(other_weight),
        backend.flat(other.gradient), backend.as_array(other.curvature), np.float32(rate), np.float32(momentum),
        np.float32(float(max_step)), backend.flat(moved), backend.flat(moving), sides,
    )  # fmt: skip
    return moved, moving, side_of(sides, world)
