"""Sums of a potential over fixed pairs of cells, each end of a pair feeling its force: PaCMAP's three terms."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ..compute import backend
from ..fused import pair_sum as fused_pair_sum
from ..graph import AffinityMatrix
from .attraction import BLOCK_EDGES, ranges, unsigned
from .pair_potential import PairPotential
from .term import Force, Term


@dataclass(frozen=True)
class PairSum(Term):
    """Σ over pairs of weight · potential(‖zᵢ − zⱼ‖²); `pairs` is symmetric, and lists each pair at both of its ends."""

    pairs: AffinityMatrix
    potential: PairPotential

    @cached_property
    def _edges(self) -> tuple[np.ndarray, ...]:
        return unsigned(self.pairs)

    def __call__(self, positions: Tensor, *, value: bool) -> Force:
        if backend.is_fused(positions):
            return _fused(self._edges, self.potential, positions, value)
        return _plain(self.pairs, self.potential, positions, value)


def _plain(pairs: AffinityMatrix, potential: PairPotential, positions: Tensor, value: bool) -> Force:
    gradient, total = torch.zeros_like(positions), positions.new_zeros(())
    parts = (part.split(BLOCK_EDGES) for part in (pairs.rows(), pairs.indices, pairs.weights))
    for row, column, weight in zip(*parts, strict=True):
        difference, weight = positions[row] - positions[column.long()], weight.to(positions.dtype)
        sq_dist = difference.square().sum(1)
        gradient.index_add_(0, row, (2 * weight * potential.slope(sq_dist))[:, None] * difference)
        if value:
            total = total + 0.5 * (weight * potential.value(sq_dist)).sum()
    return Force(gradient, total if value else None, None)


def _fused(edges: tuple[np.ndarray, ...], potential: PairPotential, positions: Tensor, value: bool) -> Force:
    kind, shape = fused_pair_sum.KINDS[type(potential)], fused_pair_sum.shape_of(potential)
    points, gradient, bounds = backend.as_array(positions), torch.empty(positions.shape), ranges(len(positions))
    of_any_d = (*edges, points, kind, shape)
    if positions.shape[1] == 2:
        pairs_of_floats = backend.pairs(positions)
        backend.parallel(fused_pair_sum.TWO_D[kind], bounds, *edges, pairs_of_floats, shape, backend.flat(gradient))
    else:
        backend.parallel(fused_pair_sum.force_any_d, bounds, *of_any_d, backend.flat(gradient))
    if not value:
        return Force(gradient, None, None)
    partial = np.empty(len(bounds))
    backend.parallel(fused_pair_sum.value_any_d, bounds, *of_any_d, partial)
    return Force(gradient, torch.tensor(partial.sum()), None)
