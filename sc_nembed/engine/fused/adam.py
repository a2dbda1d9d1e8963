"""The step of `engine.optimize.adam`."""

from __future__ import annotations

import math

from . import kernel


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
