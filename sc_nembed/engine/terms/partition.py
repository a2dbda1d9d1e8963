"""The partition function of t-SNE: (Σᵢⱼ Pᵢⱼ) · log S, S = Σ q over all pairs i ≠ j."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .. import reductions
from .force import Force


@dataclass(frozen=True)
class Partition:
    """Repulsion between all pairs; the gradient is 4 · total · push / S and the curvature 0.8 · total / n."""

    plan: object  # of radial_sum
    total: float

    def __call__(self, positions: Tensor, *, value: bool) -> Force:
        mass, push = self.plan(positions, positions, 0)
        partition = reductions.total(mass)
        gradient = push.mul_((4 * self.total / partition).to(push.dtype))
        curvature = push.new_full((1,), 0.8 * self.total / positions.shape[0])
        return Force(gradient, self.total * partition.log() if value else None, curvature)
