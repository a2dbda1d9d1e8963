"""Exact sums in blocks of rows; memory is linear in the number of cells."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..compute import backend
from ..fused import exact_sum
from ..fused.kernels import KINDS, potential_kind, shape_of

BLOCK_PAIRS = 1 << 22  # pairs held at once by the plain version
FUSED_ROWS = 64


@dataclass(frozen=True)
class ExactField:
    """Fixed sources; sums over them are evaluated pair by pair."""

    potential: object
    sources: Tensor  # (m, d)
    weights: Tensor  # (m,)

    def __call__(self, targets: Tensor, first: int | None) -> tuple[Tensor, Tensor]:
        if backend.is_fused(targets) and type(self.potential) in KINDS and targets.shape[1] <= 3:
            return self._fused(targets, first)
        rows = max(1, BLOCK_PAIRS // max(1, self.sources.shape[0]))
        parts = [
            self._block(block, None if first is None else first + start)
            for start, block in zip(range(0, targets.shape[0], rows), targets.split(rows), strict=True)
        ]
        return torch.cat([mass for mass, _ in parts]), torch.cat([push for _, push in parts])

    def _block(self, targets: Tensor, first: int | None) -> tuple[Tensor, Tensor]:
        difference = targets[:, None, :] - self.sources[None, :, :]  # (block, m, d)
        sq_dist = (difference * difference).sum(2)
        value = self.potential.value(sq_dist) * self.weights
        slope = self.potential.slope(sq_dist) * self.weights
        if first is not None:
            row = torch.arange(targets.shape[0], device=targets.device)
            value[row, first + row] = 0
            slope[row, first + row] = 0
        return value.sum(1), (slope[:, :, None] * difference).sum(1)

    def _fused(self, targets: Tensor, first: int | None) -> tuple[Tensor, Tensor]:
        n_components = targets.shape[1]
        mass, push = torch.empty(targets.shape[0]), torch.empty(targets.shape[0], 3)
        sources = torch.nn.functional.pad(self.sources, (0, 3 - n_components)).T.contiguous()  # (3, m)
        backend.parallel(
            exact_sum.SUMS[potential_kind(self.potential)],
            backend.chunk_bounds(targets.shape[0], FUSED_ROWS),
            torch.nn.functional.pad(targets, (0, 3 - n_components)).numpy(), sources.numpy(),
            backend.as_array(self.weights), shape_of(self.potential), -1 if first is None else first,
            mass.numpy(), push.numpy(),
        )  # fmt: skip
        return mass, push[:, :n_components].contiguous()


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
