"""Sums of a potential over fixed pairs of cells, each end of a pair feeling its force: PaCMAP's three terms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from ..compute import backend
from ..fused import pair_sum as fused_pair_sum
from ..graph import AffinityMatrix
from ..view import View
from .attraction import BLOCK_EDGES, ranges, unsigned
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

    @cached_property
    def _edges(self) -> tuple[np.ndarray, ...]:
        return unsigned(self.pairs)

    def shard(self, begin: int, end: int) -> PairSum:
        return replace(self, pairs=self.pairs.shard(begin, end))

    def __call__(self, view: View, *, value: bool) -> Force:
        if backend.is_fused(view.mine):
            return _fused(self._edges, self.potential, view, value)
        return _plain(self.pairs, self.potential, view, value)


def _plain(pairs: AffinityMatrix, potential: PairPotential, view: View, value: bool) -> Force:
    gradient, total = torch.zeros_like(view.mine), view.mine.new_zeros(())
    parts = (part.split(BLOCK_EDGES) for part in (pairs.rows(), pairs.indices, pairs.weights))
    for row, column, weight in zip(*parts, strict=True):
        difference, weight = view.mine[row] - view.everyone[column.long()], weight.to(gradient.dtype)
        sq_dist = difference.square().sum(1)
        gradient.index_add_(0, row, (2 * weight * potential.slope(sq_dist))[:, None] * difference)
        if value:
            total = total + 0.5 * (weight * potential.value(sq_dist)).sum()
    return Force(gradient, total if value else None, None)


def _fused(edges: tuple[np.ndarray, ...], potential: PairPotential, view: View, value: bool) -> Force:
    kind, shape = fused_pair_sum.KINDS[type(potential)], fused_pair_sum.shape_of(potential)
    gradient, bounds, both = torch.empty(view.mine.shape), ranges(len(view.mine)), (view.mine, view.everyone)
    of_any_d = (*edges, *map(backend.as_array, both), kind, shape)
    if view.mine.shape[1] == 2:
        points = map(backend.pairs, both)
        backend.parallel(fused_pair_sum.TWO_D[kind], bounds, *edges, *points, shape, backend.flat(gradient))
    else:
        backend.parallel(fused_pair_sum.force_any_d, bounds, *of_any_d, backend.flat(gradient))
    if not value:
        return Force(gradient, None, None)
    partial = np.empty(len(bounds))
    backend.parallel(fused_pair_sum.value_any_d, bounds, *of_any_d, partial)
    return Force(gradient, torch.tensor(partial.sum()), None)
