"""Pairs drawn anew at each step: every cell draws m others, none twice, each of them as likely as any.

The cells sit on a circle in random order, of which a step takes every a-th one; a cell draws the m that follow it, and
those before it are the ones that drew it. So both ends of a pair find it without a list of pairs, each cell owns what
is added up for it, and memory is read in a row. The stride is a function of seed and step; so is the order, which is
drawn anew every 16 steps, since a circle whose number has divisors brings some of its pairs together at no stride.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ..compute import backend, counter_rng
from ..fused import circle as fused_circle
from ..fused.kernels import KINDS, potential_kind, shape_of
from ..radial_sum import Potential

ROWS = 1024
ORDER_STEPS = 16  # with one order
BLOCK_PAIRS = 1 << 22  # pairs held at once by the plain version


@dataclass(frozen=True)
class DrawnPairs:
    """The pairs of a step.

    Attributes
    ----------
    order
        (n,) int64, cells in random order, that of the step.
    n_negatives
        Others that every cell draws, at most n − 1.
    seed
        Of the orders and strides.
    step
        The step whose pairs these are.
    """

    order: Tensor
    n_negatives: int
    seed: int
    step: int = 0

    def at(self, step: int) -> DrawnPairs:
        """Those of another step."""
        same = step // ORDER_STEPS == self.step // ORDER_STEPS
        order = self.order if same else _order(len(self.order), self.seed, step).to(self.order.device)
        return replace(self, order=order, step=step)

    @cached_property
    def cells(self) -> Tensor:
        """Who sits at each place of the circle, (n,) int64."""
        n = len(self.order)
        stride = _stride(counter_rng.key_of(self.seed, self.step), n)
        return self.order[(torch.arange(n, device=self.order.device) * stride) % n]

    def mass(self, potential: Potential, positions: Tensor) -> Tensor:
        """Σⱼ value(uᵢⱼ) over the cells that i drew, (n,)."""
        if _is_fused(potential, positions):
            row, mass = self._row(positions), torch.empty(positions.shape[0])
            self._run(0, potential, row, mass)
            return mass
        parts = [potential.value(sq_dist).sum(1) for _, _, _, sq_dist in self._blocks(positions)]
        return torch.empty_like(positions[:, 0]).index_copy_(0, self.cells, torch.cat(parts))

    def push(self, potential: Potential, positions: Tensor, share: Tensor) -> Tensor:
        """Σⱼ (sᵢ + sⱼ) slope(uᵢⱼ) (zᵢ − zⱼ), sᵢ where i drew j and sⱼ where j drew i, (n, d); `share` is s, (n,)."""
        if _is_fused(potential, positions):
            row, push = self._row(positions), torch.empty(positions.shape[0], 3)
            row[3] = self._around(share[self.cells])
            self._run(1, potential, row, push)
            return push[:, : positions.shape[1]].contiguous()
        push = torch.zeros_like(positions)
        for cells, others, difference, sq_dist in self._blocks(positions):
            each = (share[cells][:, None] * potential.slope(sq_dist))[:, :, None] * difference
            push.index_add_(0, cells, each.sum(1))
            push.index_add_(0, others.reshape(-1), -each.reshape(-1, positions.shape[1]))
        return push

    def _blocks(self, positions: Tensor):
        """Cells (b,), whom they drew (b, m), differences (b, m, d) and squared distances (b, m)."""
        around = self._around(self.cells)
        offsets = 1 + torch.arange(self.n_negatives, device=around.device)
        places = torch.arange(len(self.cells), device=around.device)
        for block in places.split(max(1, BLOCK_PAIRS // self.n_negatives)):
            cells, others = around[block], around[block[:, None] + offsets]
            difference = positions[cells][:, None, :] - positions[others]
            yield cells, others, difference, difference.square().sum(2)

    def _around(self, values: Tensor) -> Tensor:
        """Of the places of the circle (n,), those of the row (n + m,)."""
        return torch.cat([values, values[: self.n_negatives]])

    def _row(self, positions: Tensor) -> Tensor:
        n, n_components = positions.shape
        row = torch.zeros(4, n + self.n_negatives)
        backend.parallel(
            fused_circle.lay_out,
            backend.chunk_bounds(n, ROWS),
            self.cells.numpy(),
            backend.as_array(positions),
            row.numpy(),
        )
        row[:n_components, n:] = row[:n_components, : self.n_negatives]
        return row

    def _run(self, which: int, potential: Potential, row: Tensor, found: Tensor) -> None:
        backend.parallel(
            fused_circle.SUMS[potential_kind(potential)][which], backend.chunk_bounds(len(self.cells), ROWS),
            self.cells.numpy(), row.numpy(), self.n_negatives, shape_of(potential), found.numpy(),
        )  # fmt: skip


def drawn_pairs(n_obs: int, n_negatives: int, seed: int, device: torch.device) -> DrawnPairs:
    """The pairs of the first step; where `n_negatives` is n − 1 or more every cell draws all others."""
    return DrawnPairs(_order(n_obs, seed, 0).to(device), min(n_negatives, n_obs - 1), seed)


def _order(n: int, seed: int, step: int) -> Tensor:
    """Of the cells in this step and those that share its order, (n,) int64."""
    key = counter_rng.key_of(seed, step // ORDER_STEPS * ORDER_STEPS)
    return torch.from_numpy(np.random.default_rng(key).permutation(n))


def _is_fused(potential: Potential, positions: Tensor) -> bool:
    return backend.is_fused(positions) and type(potential) in KINDS and positions.shape[1] <= 3


def _stride(key: int, n: int) -> int:
    """A number from 1 to n − 1 that has no divisor in common with n, so that its multiples visit all places."""
    rows = torch.zeros(64, dtype=torch.int64)
    for stride in 1 + counter_rng.integers(key, rows, torch.arange(64), n - 1):
        if math.gcd(int(stride), n) == 1:
            return int(stride)
    return 1
