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

from ..compute import counter_rng
from ..compute.twins import twin
from ..radial_sum import Potential
from ..view import View

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

    def at_step(self, step: int) -> DrawnPairs:
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
        places = torch.arange(len(self.cells), device=self.cells.device)
        return torch.empty_like(self.cells).index_copy_(0, self.cells, places)

    def mass(self, potential: Potential, view: View) -> Tensor:
        """Σⱼ value(uᵢⱼ) over the cells that i drew, (m,)."""
        return twin("masses of drawn pairs", view.mine, potential)(self, potential, view)

    def push(self, potential: Potential, view: View, share: Tensor) -> Tensor:
        """Σⱼ (sᵢ + sⱼ) slope(uᵢⱼ) (zᵢ − zⱼ), sᵢ where i drew j and sⱼ where j drew i, (m, d); `share` is s of all rows.

        Nobody draws new cells: they feel whom they drew, twice.
        """
        return twin("pushes of drawn pairs", view.mine, potential)(self, potential, view, share)

    def drawn_by(self, view: View, rows: Tensor) -> Tensor:
        """Whom some rows of a view drew, (b,) -> (b, m); new cells sit down before a place that they draw."""
        if not view.is_new:
            return self._seated(view.own(self.place_of)[rows] + 1, 1)
        numbers = rows + view.world.rows(view.n_rows)[0]
        key = counter_rng.key_of(self.seed, self.step)
        return self._seated(counter_rng.integers(key, numbers, torch.zeros_like(rows), len(self.cells)), 1)

    def who_drew(self, view: View, rows: Tensor) -> Tensor:
        """Who drew some rows of a view, (b,) -> (b, m)."""
        return self._seated(view.own(self.place_of)[rows] - 1, -1)

    def _seated(self, places: Tensor, towards: int) -> Tensor:
        """The m cells from some places on, (b,) -> (b, m), in one direction or the other."""
        offsets = torch.arange(self.n_negatives, device=places.device) * towards
        return self.cells[(places[:, None] + offsets) % len(self.cells)]


def plain_masses(pairs: DrawnPairs, potential: Potential, view: View) -> Tensor:
    """See `DrawnPairs.mass`."""
    blocks = ((rows, pairs.drawn_by(view, rows)) for rows in _blocks(pairs, view))
    return torch.cat([potential.value(_apart(view, *block)[1]).sum(1) for block in blocks])


def plain_pushes(pairs: DrawnPairs, potential: Potential, view: View, share: Tensor) -> Tensor:
    """See `DrawnPairs.push`."""
    own, found = view.own(share), []
    for rows in _blocks(pairs, view):
        push = _push(potential, view, rows, pairs.drawn_by(view, rows), own[rows, None])
        if view.is_new:
            found.append(2 * push)
        else:
            drew = pairs.who_drew(view, rows)
            found.append(push + _push(potential, view, rows, drew, share[drew]))
    return torch.cat(found)


def _push(potential: Potential, view: View, rows: Tensor, others: Tensor, shares: Tensor) -> Tensor:
    """At one of the two ends, (b, d); `shares` is (b, m) or (b, 1)."""
    difference, sq_dist = _apart(view, rows, others)
    return ((shares * potential.slope(sq_dist))[:, :, None] * difference).sum(1)


def _blocks(pairs: DrawnPairs, view: View) -> tuple[Tensor, ...]:
    """Numbers of rows that are worked on together."""
    rows = torch.arange(len(view.mine), device=view.mine.device)
    return rows.split(max(1, BLOCK_PAIRS // pairs.n_negatives))


def _apart(view: View, rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Differences (b, m, d) and squared distances (b, m) of some rows, (b,), and others, (b, m)."""
    difference = view.mine[rows][:, None, :] - view.everyone[others]
    return difference, difference.square().sum(2)


def drawn_pairs(n_obs: int, n_negatives: int, seed: int, device: torch.device) -> DrawnPairs:
    """The pairs of the first step; where `n_negatives` is n − 1 or more every cell draws all others."""
    return DrawnPairs(_order(n_obs, seed, 0).to(device), min(n_negatives, n_obs - 1), seed)


def _order(n: int, seed: int, step: int) -> Tensor:
    """Of the cells in this step and those that share its order, (n,) int64."""
    key = counter_rng.key_of(seed, step // ORDER_STEPS * ORDER_STEPS)
    return torch.from_numpy(np.random.default_rng(key).permutation(n))


def _stride(key: int, n: int) -> int:
    """A number from 1 to n − 1 that has no divisor in common with n, so that its multiples visit all places."""
    rows = torch.zeros(64, dtype=torch.int64)
    for stride in 1 + counter_rng.integers(key, rows, torch.arange(64), n - 1):
        if math.gcd(int(stride), n) == 1:
            return int(stride)
    return 1
