"""Repulsion by contrast: every cell is told apart from others that are drawn at random.

    Σᵢ rᵢ (m / (n − 1)) Σⱼ φ(uᵢⱼ)        rᵢ the mass of row i of P, m the number of negatives

is the mean over all draws of Σᵢ rᵢ Σₖ φ(uᵢₖ), k the m negatives of i. Both ends of a pair feel it, so that the force is
the gradient, of the sum or of the drawn loss. With φ = log(1 + q / noise) this is negative sampling (Mikolov et al.
2013; Damrich et al. 2023), with −log(1 − q) LargeVis (Tang et al. 2016).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from ..compute import reductions
from ..view import View
from .circle import DrawnPairs
from .partition import flat_curvature, n_cells
from .term import Force, Term

ROUNDING = 1e-5  # relative: masses of rows that differ by less are sums of float32 that are meant to be equal


@dataclass(frozen=True)
class ExpectedContrast(Term):
    """The sum over all pairs; `plan` adds up φ, `counts` (n,) says how many cells each of everyone stands for."""

    plan: object
    row_mass: Tensor  # of all rows
    total: float
    n_negatives: float
    counts: Tensor | None = None

    @cached_property
    def _is_even(self) -> bool:
        """Whether both ends of every pair feel the same: all cells have one mass."""
        each = self.row_mass if self.counts is None else self.row_mass / self.counts
        return torch.allclose(each, each[0], rtol=ROUNDING, atol=0)

    def __call__(self, view: View, *, value: bool) -> Force:
        rates = self.row_mass.to(view.mine.dtype) * self.n_negatives
        rate, n_others = view.own(rates), n_cells(view.everyone, self.counts) - (0 if view.is_new else 1)
        mass, push = self.plan(view.mine, view.everyone, view.first, self.counts)
        push *= rate[:, None]
        if view.is_new or self._is_even:
            push *= 2
        else:
            count = torch.ones_like(rate) if self.counts is None else view.own(self.counts)
            push += count[:, None] * self.plan(view.mine, view.everyone, view.first, rates)[1]
        loss = reductions.total(rate * mass) / n_others if value else None
        curvature = flat_curvature(view, self.total, self.counts)
        return Force(reductions.scale(push, 2 / n_others), loss, curvature)


@dataclass(frozen=True)
class DrawnContrast(Term):
    """The sum over the pairs of a step."""

    potential: object
    row_mass: Tensor  # of all rows
    total: float
    pairs: DrawnPairs

    def at_step(self, view: View, step: int) -> DrawnContrast:
        return replace(self, pairs=self.pairs.at_step(step))

    def __call__(self, view: View, *, value: bool) -> Force:
        rates = self.row_mass.to(view.mine.dtype)
        push = self.pairs.push(self.potential, view, rates)
        loss = reductions.total(view.own(rates) * self.pairs.mass(self.potential, view)) if value else None
        return Force(reductions.scale(push, 2), loss, flat_curvature(view, self.total, None))
