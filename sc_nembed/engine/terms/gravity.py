"""A pull of constant strength towards the origin, which holds together what no edge does."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..compute import reductions
from ..view import View
from .term import Force, Term


@dataclass(frozen=True)
class Gravity(Term):
    """Σ gᵢ √(‖zᵢ‖² + softening²). The curvature is the largest eigenvalue of the second derivative, across the pull."""

    strength: Tensor  # the gᵢ of all rows
    softening: float  # a distance from the origin

    def __call__(self, view: View, *, value: bool) -> Force:
        positions = view.mine
        strength = view.own(self.strength).to(positions)
        distance = (sum(column.square() for column in positions.unbind(1)) + self.softening**2).sqrt()
        curvature = strength / distance
        loss = reductions.total(strength * distance) if value else None
        return Force(positions * curvature[:, None], loss, curvature)
