"""Repulsion of normalised output affinities: the logarithm of the sum that q is divided by, and that sum itself.

A cell that stands for w equal ones counts w times (`counts`), and with its w − 1 twins at distance 0.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..compute import reductions
from .term import Force, Term


@dataclass(frozen=True)
class Partition(Term):
    """t-SNE's: (Σᵢⱼ Pᵢⱼ) · log S, S = Σ q over all pairs i ≠ j. Gradient 4 · total · push / S."""

    plan: object  # of radial_sum
    total: float
    counts: Tensor | None = None  # (n,)

    def __call__(self, positions: Tensor, *, value: bool) -> Force:
        mass, push = self.plan(positions, positions, 0, self.counts)
        mass, push = counted(mass, push, self.counts)
        partition = reductions.total(mass)
        gradient = reductions.scale(push, (4 * self.total / partition).to(push.dtype))
        curvature = flat_curvature(positions, self.total, self.counts)
        return Force(gradient, self.total * partition.log() if value else None, curvature)


@dataclass(frozen=True)
class Mass(Term):
    """Of a q that is not normalised: Σ q over all pairs i ≠ j. Gradient 4 · push."""

    plan: object
    total: float
    counts: Tensor | None = None

    def __call__(self, positions: Tensor, *, value: bool) -> Force:
        mass, push = self.plan(positions, positions, 0, self.counts)
        mass, push = counted(mass, push, self.counts)
        curvature = 4 * mass.clamp_min(0) + flat_curvature(positions, self.total, self.counts)
        return Force(reductions.scale(push, 4), reductions.total(mass) if value else None, curvature)


@dataclass(frozen=True)
class WeightedMass(Term):
    """Of cells of different weights: Σ wᵢ wⱼ q over all pairs i ≠ j. Gradient 4 wᵢ push.

    The curvature is the flat one, shared out by the weights.
    """

    plan: object
    weights: Tensor  # (n,)
    total: float

    def __call__(self, positions: Tensor, *, value: bool) -> Force:
        weights = self.weights.to(positions)
        mass, push = self.plan(positions, positions, 0, weights)
        gradient = reductions.scale(push.mul_(weights[:, None]), 4)
        loss = reductions.total(weights * mass) if value else None
        return Force(gradient, loss, flat_curvature(positions, self.total, weights))


def counted(mass: Tensor, push: Tensor, counts: Tensor | None) -> tuple[Tensor, Tensor]:
    """Sums over cells where each row stands for several: its twins, at distance 0 where q is 1, are others too."""
    if counts is None:
        return mass, push
    return counts * (mass + (counts - 1)), push.mul_(counts[:, None])


def flat_curvature(positions: Tensor, total: float, counts: Tensor | None) -> Tensor:
    """0.8 · total / n: what the optimizer divides by where a cell has next to no attraction; (1,) or (n,)."""
    if counts is None:
        return positions.new_full((1,), 0.8 * total / positions.shape[0])
    return (counts * (0.8 * total / counts.sum())).to(positions.dtype)
