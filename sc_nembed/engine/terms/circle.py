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
from ..view import View

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

    @cached_property
    def place_of(self) -> Tensor:
        """Where each cell sits, (n,) int64."""
        return torch.empty_like(self.cells).index_copy_(0, self.cells, torch.arange(len(self.cells)).to(self.cells))

    def mass(self, potential: Potential, view: View) -> Tensor:
        """Σⱼ value(uᵢⱼ) over the cells that i drew, (m,)."""
        if _is_fused(potential, view):
            row, mass = self._row(view.everyone), torch.empty(len(view.mine))
            self._run(0, potential, view, row, mass)
            return mass
        blocks = self._drawn(view).split(self._rows_of_block)
        parts = zip(view.mine.split(self._rows_of_block), blocks, strict=True)
        return torch.cat([potential.value(_apart(mine, view, others)[1]).sum(1) for mine, others in parts])

    def push(self, potential: Potential, view: View, share: Tensor) -> Tensor:
        """Σⱼ (sᵢ + sⱼ) slope(uᵢⱼ) (zᵢ − zⱼ), sᵢ where i drew j and sⱼ where j drew i, (m, d); `share` is s of all rows.

        Nobody draws new cells: they feel whom they drew, twice.
        """
        if _is_fused(potential, view):
            row, push = self._row(view.everyone), torch.empty(len(view.mine), 3)
            row[3] = self._around(share[self.cells])
            self._run(1, potential, view, row, push)
            return push[:, : view.mine.shape[1]].contiguous()
        own, blocks = view.own(share), []
        others = (self._drawn(view), self._drew(view)) if not view.is_new else (self._drawn(view),) * 2
        for rows in torch.arange(len(view.mine), device=share.device).split(self._rows_of_block):
            of_others = own[rows, None] if view.is_new else share[others[1][rows]]
            block = 0
            for cells, shares in ((others[0][rows], own[rows, None]), (others[1][rows], of_others)):
                difference, sq_dist = _apart(view.mine[rows], view, cells)
                block = block + ((shares * potential.slope(sq_dist))[:, :, None] * difference).sum(1)
            blocks.append(block)
        return torch.cat(blocks)

    @property
    def _rows_of_block(self) -> int:
        return max(1, BLOCK_PAIRS // self.n_negatives)

    def _drawn(self, view: View) -> Tensor:
        """Whom each row drew, (rows, m); new cells sit down before a place that they draw."""
        offsets = torch.arange(self.n_negatives, device=self.cells.device)
        if not view.is_new:
            return self.cells[(view.own(self.place_of)[:, None] + 1 + offsets) % len(self.cells)]
        begin, end = view.world.rows(view.n_rows)
        rows = torch.arange(begin, end, device=self.cells.device)
        places = counter_rng.integers(
            counter_rng.key_of(self.seed, self.step), rows, torch.zeros_like(rows), len(self.cells)
        )
        return self.cells[(places[:, None] + offsets) % len(self.cells)]

    def _drew(self, view: View) -> Tensor:
        """Who drew each row, (rows, m)."""
        offsets = torch.arange(self.n_negatives, device=self.cells.device)
        return self.cells[(view.own(self.place_of)[:, None] - 1 - offsets) % len(self.cells)]

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

    def _run(self, which: int, potential: Potential, view: View, row: Tensor, found: Tensor) -> None:
        places = torch.arange(len(self.cells))
        if len(found) < len(self.cells):  # in the order in which they sit: memory is read in a row
            places = view.own(self.place_of).sort().values
        backend.parallel(
            fused_circle.SUMS[potential_kind(potential)][which], backend.chunk_bounds(len(places), ROWS),
            places.numpy(), self.cells.numpy(), row.numpy(), view.first, self.n_negatives, shape_of(potential),
            found.numpy(),
        )  # fmt: skip


def _apart(mine: Tensor, view: View, others: Tensor) -> tuple[Tensor, Tensor]:
    """Differences (b, m, d) and squared distances (b, m) of cells and others, (b, d) and (b, m)."""
    difference = mine[:, None, :] - view.everyone[others]
    return difference, difference.square().sum(2)


def drawn_pairs(n_obs: int, n_negatives: int, seed: int, device: torch.device) -> DrawnPairs:
    """The pairs of the first step; where `n_negatives` is n − 1 or more every cell draws all others."""
    return DrawnPairs(_order(n_obs, seed, 0).to(device), min(n_negatives, n_obs - 1), seed)


def _order(n: int, seed: int, step: int) -> Tensor:
    """Of the cells in this step and those that share its order, (n,) int64."""
    key = counter_rng.key_of(seed, step // ORDER_STEPS * ORDER_STEPS)
    return torch.from_numpy(np.random.default_rng(key).permutation(n))


def _is_fused(potential: Potential, view: View) -> bool:
    known = type(potential) in KINDS and view.mine.shape[1] <= 3
    return known and backend.is_fused(view.mine) and not view.is_new


def _stride(key: int, n: int) -> int:
    """A number from 1 to n − 1 that has no divisor in common with n, so that its multiples visit all places."""
    rows = torch.zeros(64, dtype=torch.int64)
    for stride in 1 + counter_rng.integers(key, rows, torch.arange(64), n - 1):
        if math.gcd(int(stride), n) == 1:
            return int(stride)
    return 1
