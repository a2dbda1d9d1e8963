"""The step of `engine.optimize.adam`."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ..compute import backend
from . import kernel

NUMBERS = 8192  # of a range


@kernel
def adam(
    chunk, begin, end, positions, gradient, mean, square, of_gradient, of_square, eps, rate, moved, new_mean, new_square
):  # fmt: skip
    """Flat arrays; `of_gradient` and `of_square` are what a step's gradient adds to the moments, 1 − β₁ and 1 − β₂."""
    for k in range(begin, end):
        first = mean[k] + of_gradient * (gradient[k] - mean[k])
        second = square[k] + of_square * (gradient[k] * gradient[k] - square[k])
        new_mean[k], new_square[k] = first, second
        moved[k] = positions[k] - rate * first / (math.sqrt(second) + eps)


def step(
    positions: Tensor,
    gradient: Tensor,
    mean: Tensor,
    square: Tensor,
    betas: tuple[float, float],
    eps: float,
    rate: float,
) -> tuple[Tensor, ...]:  # fmt: skip
    """As `optimize.adam.plain_step`."""
    made = tuple(torch.empty(positions.shape) for _ in range(3))
    backend.parallel(
        adam, backend.chunk_bounds(positions.numel(), NUMBERS),
        *(backend.flat(part) for part in (positions, gradient, mean, square)), np.float32(1 - betas[0]),
        np.float32(1 - betas[1]), np.float32(eps), np.float32(rate), *(backend.flat(part) for part in made),
    )  # fmt: skip
    return made
