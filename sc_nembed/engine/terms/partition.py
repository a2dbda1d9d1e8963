"""Repulsion of normalised output affinities: the logarithm of the sum that q is divided by, and that sum itself.

A cell that stands for w equal ones counts w times (`counts`, of everyone), and with its w − 1 twins at distance 0; a
new cell stands for itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..compute import reductions
from ..view import View
from .term import Force, Term


@dataclass(frozen=True)
class Partition(Term):
    """t-SNE's: (Σᵢⱼ Pᵢⱼ) · log S, S = Σ q over all pairs i ≠ j. Gradient 4 · total · push / S."""

    plan: object  # of radial_sum
    total: float
    counts: Tensor | None = None  # (n,)
    of_all_rows: ClassVar[bool] = True

    def __call__(self, view: View, *, value: bool) -> Force:
        mass, push = self.plan(view.mine, view.everyone, view.first, self.counts)
        mass, push = counted(view, mass, push, self.counts)
        partition = view.total(mass)
        gradient = reductions.scale(push, (4 * self.total / partition).to(push.dtype))
        curvature = flat_curvature(view, self.total, self.counts)
        return Force(gradient, self.total * partition.log() if value else None, curvature)


@dataclass(frozen=True)
class Mass(Term):
    """Of a q that is not normalised: Σ q over all pairs i ≠ j. Gradient 4 · push."""

    plan: object
    total: float
    counts: Tensor | None = None

    def __call__(self, view: View, *, value: bool) -> Force:
        mass, push = self.plan(view.mine, view.everyone, view.first, self.counts)
        mass, push = counted(view, mass, push, self.counts)
        curvature = 4 * mass.clamp_min(0) + flat_curvature(view, self.total, self.counts)
        return Force(reductions.scale(push, 4), reductions.total(mass) if value else None, curvature)


@dataclass(frozen=True)
class WeightedMass(Term):
    """Of cells of different weights: Σ wᵢ wⱼ q over all pairs i ≠ j. Gradient 4 wᵢ push.

    `weights` are those of everyone, `new_weights` those of cells that are not among them. The curvature is the flat
    one, shared out by the weights.
    """

    plan: object
    weights: Tensor  # (n,)
    total: float
    new_weights: Tensor | None = None

    def __call__(self, view: View, *, value: bool) -> Force:
        weights = self.weights.to(view.mine)
        mass, push = self.plan(view.mine, view.everyone, view.first, weights)
        own, sum_of_all = self._own(view, weights)
        gradient = reductions.scale(push.mul_(own[:, None]), 4)
        loss = reductions.total(own * mass) if value else None
        return Force(gradient, loss, (own * (0.8 * self.total / sum_of_all)).to(own.dtype))

    def _own(self, view: View, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Weights of the view's rows, (m,), and the sum of those of all rows."""
        if not view.is_new:
            return view.own(weights), weights.sum()
        if self.new_weights is None:
            raise ValueError("The repulsion is by weights, and those of the new cells are unknown: pass `new_weights`.")
        weights = self.new_weights.to(view.mine)
        return view.own(weights), weights.sum()


def own_counts(view: View, counts: Tensor | None) -> Tensor | None:
    """How many cells the view's rows stand for, (m,), of the counts of everyone; None: for one each."""
    return None if counts is None or view.is_new else view.own(counts)


def n_cells(everyone: Tensor, counts: Tensor | None) -> int | Tensor:
    """The number of all cells, with `counts` a 0-d tensor that stays on its device."""
    return len(everyone) if counts is None else counts.sum()


def counted(view: View, mass: Tensor, push: Tensor, counts: Tensor | None) -> tuple[Tensor, Tensor]:
    """Sums over cells where each row stands for several: its twins, at distance 0 where q is 1, are others too."""
    counts = own_counts(view, counts)
    if counts is None:
        return mass, push
    return counts * (mass + (counts - 1)), push.mul_(counts[:, None])


def flat_curvature(view: View, total: float, counts: Tensor | None) -> Tensor:
    """0.8 · total / n: what the optimizer divides by where a cell has next to no attraction; (1,) or (m,)."""
    own = own_counts(view, counts)
    if own is None:
        return view.mine.new_full((1,), 0.8 * total / view.n_rows)
    return (own * (0.8 * total / counts.sum())).to(view.mine.dtype)
