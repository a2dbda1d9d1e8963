"""Attraction along the edges of the input affinity: −Σᵢⱼ Pᵢⱼ log q(‖zᵢ − zⱼ‖²), P symmetric."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..compute.twins import compiled_twin, twin
from ..graph import AffinityMatrix
from ..kernel import Kernel
from ..view import View
from .term import Force, Term

BLOCK_EDGES = 1 << 22  # edges held at once by the plain version


@dataclass(frozen=True)
class Attraction(Term):
    """Attraction to the neighbors in P, which has the view's rows; the curvature is 4 Σⱼ pᵢⱼ (−d log q / du)."""

    matrix: AffinityMatrix
    kernel: Kernel

    def fused_step(self, name: str, positions: Tensor) -> Callable[..., Any] | None:
        step = compiled_twin("attraction and step", positions, self.kernel) if name == "nesterov" else None
        return None if step is None else partial(step, self.matrix, self.kernel)

    def with_value(self, view: View) -> Force:
        """Force and value, in one pass if there is one; the last bits of the force may differ from those of a call."""
        in_one_pass = compiled_twin("attraction in one pass", view.mine, self.kernel)
        return Force(*in_one_pass(self.matrix, self.kernel, view)) if in_one_pass else self(view, value=True)

    def shard(self, begin: int, end: int) -> Attraction:
        return replace(self, matrix=self.matrix.shard(begin, end))

    def __call__(self, view: View, *, value: bool) -> Force:
        return Force(*twin("attraction", view.mine, self.kernel)(self.matrix, self.kernel, view, value))


def plain(matrix: AffinityMatrix, kernel: Kernel, view: View, value: bool) -> tuple[Tensor, Tensor | None, Tensor]:
    """Gradient (m, d), value where asked for, and curvature (m,)."""
    gradient, curvature = torch.zeros_like(view.mine), view.mine.new_zeros(len(view.mine))
    total = gradient.new_zeros(())
    parts = (part.split(BLOCK_EDGES) for part in (matrix.rows(), matrix.indices, matrix.weights))
    for row, column, weight in zip(*parts, strict=True):
        difference = view.mine[row] - view.everyone[column.long()]
        sq_dist = (difference * difference).sum(1)
        weight = weight.to(difference.dtype)
        strength = -4 * weight * kernel.log_slope(sq_dist)
        gradient.index_add_(0, row, strength[:, None] * difference)
        curvature.index_add_(0, row, strength)
        if value:
            total = total - (weight * kernel.log_value(sq_dist)).sum()
    return gradient, total if value else None, curvature


def plain_in_one_pass(matrix: AffinityMatrix, kernel: Kernel, view: View) -> tuple[Tensor, Tensor, Tensor]:
    """The same with the value."""
    return plain(matrix, kernel, view, True)


def plain_step(
    matrix: AffinityMatrix, kernel: Kernel, positions: Tensor, velocity: Tensor, weight: float, other_weight: float,
    other_gradient: Tensor, other_curvature: Tensor, rate: float, momentum: float, max_step: float,
) -> tuple[Tensor, Tensor, np.ndarray]:  # fmt: skip
    """New positions and velocity (n, d), and the box of the positions, (1, 2, d); see `PreconditionedNesterov`."""
    gradient, _, curvature = plain(matrix, kernel, View.whole(positions), False)
    gradient = weight * gradient + other_weight * other_gradient
    move = gradient * (rate / (weight * curvature + other_weight * other_curvature))[:, None]
    velocity = momentum * velocity - move
    length = velocity.norm(dim=1, keepdim=True)
    velocity = torch.where(length > max_step, velocity * (max_step / length), velocity)
    moved = positions + momentum * velocity - move
    return moved, velocity, torch.stack([moved.amin(0), moved.amax(0)])[None].cpu().numpy()
