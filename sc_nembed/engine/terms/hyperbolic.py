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
from typing import ClassVar

import torch
from torch import Tensor

from ..compute import reductions
from ..compute.twins import twin
from ..graph import AffinityMatrix
from ..view import View
from .partition import counted
from .term import Force, Term

BLOCK_PAIRS = 1 << 22  # pairs held at once by the plain version
TINY = 1e-12  # t below which arsinh √t / √t is 1


@dataclass(frozen=True)
class HyperbolicAttraction(Term):
    """Attraction along the edges of a symmetric P, the rows of the view."""

    matrix: AffinityMatrix
    gamma: float

    def shard(self, begin: int, end: int) -> HyperbolicAttraction:
        return replace(self, matrix=self.matrix.shard(begin, end))

    def __call__(self, view: View, *, value: bool) -> Force:
        cost, pull = twin("hyperbolic attraction", view.mine)(self.matrix, view, self.gamma**-2)
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
        sums = twin("hyperbolic sums", view.mine)(view, weights, self.gamma**-2)
        mass, push = counted(view, *sums, self.counts)
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


def _sq_distance(t: Tensor) -> tuple[Tensor, Tensor]:
    """d² and its derivative with respect to t."""
    root = t.sqrt()
    ratio = torch.where(t > TINY, root.asinh() / root.clamp_min(TINY), 1.0)
    return 4 * t * ratio.square(), 4 * ratio / (1 + t).sqrt()


def _room(positions: Tensor) -> Tensor:
    return 1 - positions.square().sum(1)


def plain_attraction(matrix: AffinityMatrix, view: View, precision: float) -> tuple[Tensor, Tensor]:
    """Σ −pᵢⱼ log qᵢⱼ of the view's rows, and half the sum over j of its derivative, (m, d); `precision` is γ⁻²."""
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


def plain_sums(view: View, weights: Tensor, precision: float) -> tuple[Tensor, Tensor]:
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
