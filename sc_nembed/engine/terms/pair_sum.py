"""Sums of a potential over fixed pairs of cells, each end of a pair feeling its force: PaCMAP's three terms."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..compute.twins import twin
from ..graph import AffinityMatrix
from ..view import View
from .attraction import BLOCK_EDGES
from .pair_potential import PairPotential
from .term import Force, Term


@dataclass(frozen=True)
class PairSum(Term):
    """Σ over pairs of weight · potential(‖zᵢ − zⱼ‖²).

    `pairs` lists, for every row of the view, those that it is an end of: each pair at both of its ends. A pair counts
    once, so that a new cell has only its half of it in the value.
    """

    pairs: AffinityMatrix
    potential: PairPotential

    def shard(self, begin: int, end: int) -> PairSum:
        return replace(self, pairs=self.pairs.shard(begin, end))

    def __call__(self, view: View, *, value: bool) -> Force:
        found = twin("pair sum", view.mine, self.potential)(self.pairs, self.potential, view, value)
        return Force(*found, None)


def plain(pairs: AffinityMatrix, potential: PairPotential, view: View, value: bool) -> tuple[Tensor, Tensor | None]:
    """Gradient (m, d), and value where asked for."""
    gradient, total = torch.zeros_like(view.mine), view.mine.new_zeros(())
    parts = (part.split(BLOCK_EDGES) for part in (pairs.rows(), pairs.indices, pairs.weights))
    for row, column, weight in zip(*parts, strict=True):
        difference, weight = view.mine[row] - view.everyone[column.long()], weight.to(gradient.dtype)
        sq_dist = difference.square().sum(1)
        gradient.index_add_(0, row, (2 * weight * potential.slope(sq_dist))[:, None] * difference)
        if value:
            total = total + 0.5 * (weight * potential.value(sq_dist)).sum()
    return gradient, total if value else None
