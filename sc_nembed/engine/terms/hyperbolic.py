"""The terms of CO-SNE (Guo, Guo & Yu 2022), in the Poincaré ball: a Cauchy kernel of hyperbolic distances d.

    q = 1 / (1 + d² / γ²)        d² = 4 arsinh² √t,  t = ‖zᵢ − zⱼ‖² / (aᵢ aⱼ),  a = 1 − ‖z‖²
    attraction = −Σᵢⱼ Pᵢⱼ log qᵢⱼ        repulsion = (Σᵢⱼ Pᵢⱼ) log Σᵢⱼ qᵢⱼ
    norm = mean over i of (‖xᵢ‖² − d(zᵢ, 0)²)²

The gradient of each is Euclidean; by ∂t / ∂zᵢ = 2 (zᵢ − zⱼ) / (aᵢ aⱼ) + 2 t zᵢ / aᵢ nothing of it diverges where two
cells meet. The norm term keeps the levels of a hierarchy: small features near the origin. In the paper the features lie
in a ball themselves and Euclidean norms are compared; of features in a Euclidean space, as here and in TorchDR, the
norm is compared with the distance from the origin.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ..compute import backend, reductions
from ..fused import hyperbolic as fused_hyperbolic
from ..graph import AffinityMatrix
from ..view import View
from .attraction import unsigned
from .partition import counted
from .term import Force, Term

BLOCK_PAIRS = 1 << 22  # pairs held at once by the plain version
FUSED_ROWS = 64
TINY = 1e-12  # t below which arsinh √t / √t is 1


@dataclass(frozen=True)
class HyperbolicAttraction(Term):
    """Attraction along the edges of a symmetric P, the rows of the view."""

    matrix: AffinityMatrix
    gamma: float

    @cached_property
    def _edges(self) -> tuple[np.ndarray, ...]:
        return unsigned(self.matrix)

    def shard(self, begin: int, end: int) -> HyperbolicAttraction:
        return replace(self, matrix=self.matrix.shard(begin, end))

    def __call__(self, view: View, *, value: bool) -> Force:
        if _is_fused(view):
            cost, pull = _fused_attraction(self._edges, view, self.gamma**-2)
        else:
            cost, pull = _plain_attraction(self.matrix, view, self.gamma**-2)
        return Force(pull.mul_(4), cost if value else None, None)


@dataclass(frozen=True)
class HyperbolicPartition(Term):
    """The logarithm of the sum of q over all pairs i ≠ j, which is exact; as in `Partition` a row may stand for several
    cells.
    """

    gamma: float
    total: float
    counts: Tensor | None = None  # (n,), of everyone
    of_all_rows: ClassVar[bool] = True

    def __call__(self, view: View, *, value: bool) -> Force:
        everyone = view.everyone
        weights = torch.ones_like(everyone[:, 0]) if self.counts is None else self.counts.to(everyone.dtype)
        sums = _fused_sums if _is_fused(view) else _plain_sums
        mass, push = counted(view, *sums(view, weights, self.gamma**-2), self.counts)
        partition = view.total(mass)
        gradient = reductions.scale(push, (4 * self.total / partition).to(push.dtype))
        return Force(gradient, self.total * partition.log() if value else None, None)


@dataclass(frozen=True)
class NormTerm(Term):
    """`sq_norms` are ‖x‖² of the features of all rows; a row that stands for w cells counts w times."""

    sq_norms: Tensor
    counts: Tensor | None = None

    def __call__(self, view: View, *, value: bool) -> Force:
        z = view.mine.double()
        counts = None if view.is_new else self.counts
        share = torch.ones(view.n_rows, dtype=z.dtype, device=z.device) if counts is None else counts.double()
        share = view.own(share / share.sum())
        sq_length = z.square().sum(1)
        length = sq_length.sqrt()
        ratio = torch.where(sq_length > TINY, length.atanh() / length.clamp_min(TINY), 1.0)
        missing = view.own(self.sq_norms).double() - 4 * sq_length * ratio.square()
        gradient = (-16 * share * missing * ratio / (1 - sq_length))[:, None] * z
        return Force(gradient.to(view.mine.dtype), reductions.total(share * missing.square()) if value else None, None)


def _is_fused(view: View) -> bool:
    return backend.is_fused(view.mine) and view.mine.shape[1] <= 3


def _sq_distance(t: Tensor) -> tuple[Tensor, Tensor]:
    """d² and its derivative with respect to t."""
    root = t.sqrt()
    ratio = torch.where(t > TINY, root.asinh() / root.clamp_min(TINY), 1.0)
    return 4 * t * ratio.square(), 4 * ratio / (1 + t).sqrt()


def _room(positions: Tensor) -> Tensor:
    return 1 - positions.square().sum(1)


def _plain_attraction(matrix: AffinityMatrix, view: View, precision: float) -> tuple[Tensor, Tensor]:
    room, rooms = _room(view.mine), _room(view.everyone)
    pull, inward, cost = torch.zeros_like(view.mine), torch.zeros_like(room), room.new_zeros(())
    parts = (part.split(BLOCK_PAIRS) for part in (matrix.rows(), matrix.indices, matrix.weights))
    for row, column, weight in zip(*parts, strict=True):
        column, weight = column.long(), weight.to(room.dtype)
        difference = view.mine[row] - view.everyone[column]
        t = difference.square().sum(1) / (room[row] * rooms[column])
        sq_dist, slope = _sq_distance(t)
        strength = weight * slope * precision / (1 + precision * sq_dist)
        pull.index_add_(0, row, (strength / rooms[column])[:, None] * difference)
        inward.index_add_(0, row, strength * t)
        cost = cost + (weight * (precision * sq_dist).log1p()).sum()
    return cost, (pull + inward[:, None] * view.mine) / room[:, None]


def _plain_sums(view: View, weights: Tensor, precision: float) -> tuple[Tensor, Tensor]:
    """Σⱼ wⱼ qᵢⱼ (m,), and half the sum over j of wⱼ ∂qᵢⱼ / ∂zᵢ (m, d), in blocks of rows."""
    room, rooms, found = _room(view.mine), _room(view.everyone), []
    itself = torch.zeros_like(room) if view.is_new else view.own(weights)
    for rows in torch.arange(len(room), device=room.device).split(max(1, BLOCK_PAIRS // len(rooms))):
        difference = view.mine[rows, None, :] - view.everyone[None, :, :]
        t = difference.square().sum(2) / (room[rows, None] * rooms[None, :])
        sq_dist, slope = _sq_distance(t)
        value = 1 / (1 + precision * sq_dist)
        slope = -precision * slope * value.square() * weights
        push = ((slope / rooms)[:, :, None] * difference).sum(1) + (slope * t).sum(1)[:, None] * view.mine[rows]
        found.append(((value * weights).sum(1) - itself[rows], push / room[rows, None]))
    mass, push = zip(*found, strict=True)
    return torch.cat(mass), torch.cat(push)


def _padded(positions: Tensor) -> tuple[Tensor, np.ndarray]:
    """Positions (n, 3) and 1 / (1 − ‖z‖²), which loses its digits near the edge of the ball unless in float64."""
    inverse = 1 / (1 - positions.double().square().sum(1))
    return torch.nn.functional.pad(positions, (0, 3 - positions.shape[1])), inverse.float().numpy()


def _fused_attraction(edges: tuple[np.ndarray, ...], view: View, precision: float) -> tuple[Tensor, Tensor]:
    everyone, rooms = _padded(view.everyone)
    mine, room = (everyone, rooms) if view.mine is view.everyone else _padded(view.mine)
    bounds, pull = backend.chunk_bounds(len(mine), FUSED_ROWS), torch.empty(mine.shape)
    cost = np.empty(len(bounds))
    backend.parallel(
        fused_hyperbolic.attraction, bounds, *edges, mine.numpy(), room, everyone.numpy(), rooms,
        np.float32(precision), cost, pull.numpy(),
    )  # fmt: skip
    return torch.tensor(cost.sum()), pull[:, : view.mine.shape[1]].contiguous()


def _fused_sums(view: View, weights: Tensor, precision: float) -> tuple[Tensor, Tensor]:
    everyone, rooms = _padded(view.everyone)
    mine, room = (everyone, rooms) if view.mine is view.everyone else _padded(view.mine)
    mass, push = torch.empty(len(mine)), torch.empty(mine.shape)
    backend.parallel(
        fused_hyperbolic.partition, backend.chunk_bounds(len(mine), FUSED_ROWS), mine.numpy(), room,
        everyone.T.contiguous().numpy(), rooms, backend.as_array(weights), np.float32(precision),
        -1 if view.is_new else view.first, mass.numpy(), push.numpy(),
    )  # fmt: skip
    return mass, push[:, : view.mine.shape[1]].contiguous()
