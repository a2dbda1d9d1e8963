"""Exact sums in blocks of rows; memory is linear in the number of cells."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..compute.twins import twin

BLOCK_PAIRS = 1 << 22  # pairs held at once by the plain version


@dataclass(frozen=True)
class ExactField:
    """Fixed sources; sums over them are evaluated pair by pair."""

    potential: object
    sources: Tensor  # (m, d)
    weights: Tensor  # (m,)

    def __call__(self, targets: Tensor, first: int | None) -> tuple[Tensor, Tensor]:
        sums = twin("exact sum", targets, self.potential)
        return sums(self.potential, targets, self.sources, self.weights, first)


def plain(potential, targets: Tensor, sources: Tensor, weights: Tensor, first: int | None) -> tuple[Tensor, Tensor]:
    """Mass (m,) and push (m, d) of weighted sources on targets, in blocks of targets."""
    rows = max(1, BLOCK_PAIRS // max(1, sources.shape[0]))
    parts = [
        _block(potential, block, sources, weights, None if first is None else first + start)
        for start, block in zip(range(0, targets.shape[0], rows), targets.split(rows), strict=True)
    ]
    return torch.cat([mass for mass, _ in parts]), torch.cat([push for _, push in parts])


def _block(potential, targets: Tensor, sources: Tensor, weights: Tensor, first: int | None) -> tuple[Tensor, Tensor]:
    difference = targets[:, None, :] - sources[None, :, :]  # (block, m, d)
    sq_dist = (difference * difference).sum(2)
    value = potential.value(sq_dist) * weights
    slope = potential.slope(sq_dist) * weights
    if first is not None:
        row = torch.arange(targets.shape[0], device=targets.device)
        value[row, first + row] = 0
        slope[row, first + row] = 0
    return value.sum(1), (slope[:, :, None] * difference).sum(1)


@dataclass(frozen=True)
class ExactSum:
    """A plan of exact sums; it has nothing to prepare."""

    potential: object

    def field(self, sources: Tensor, weights: Tensor | None = None) -> ExactField:
        if weights is None:
            weights = sources.new_ones(sources.shape[0])
        return ExactField(self.potential, sources, weights)

    def __call__(self, targets, sources, first, weights=None):
        return self.field(sources, weights)(targets, first)


def make(potential, *, n_components, tolerance, device, dtype, world) -> ExactSum:
    """Plan exact sums of any potential; the result does not depend on `tolerance`."""
    return ExactSum(potential)
