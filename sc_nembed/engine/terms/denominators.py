"""Repulsions that put a pair of neighbors into a denominator with others: Σᵢⱼ pᵢⱼ log(qᵢⱼ + dᵢ).

| repulsion | denominator dᵢ | class |
|---|---|---|
| Σᵢⱼ pᵢⱼ log(qᵢⱼ + Σₖ qᵢₖ) | the m negatives k of i | `InfoNCE` |
| Σᵢⱼ pᵢⱼ log(qᵢⱼ + ν) + Σᵢ rᵢ Σₖ log(1 + qᵢₖ / ν) | ν = exp(`log_noise`), learned | `NCE` |

With the attraction −Σ P log q these are the InfoNCE loss (van den Oord et al. 2018) and noise-contrastive estimation
(Gutmann & Hyvärinen 2010; Artemenkov & Panov 2020; Damrich et al. 2023). P is symmetric.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from ..compute import reductions
from ..compute.twins import twin
from ..graph import AffinityMatrix
from ..kernel import Kernel, NoiseRepulsion, StudentT
from ..view import View
from .circle import DrawnPairs
from .partition import flat_curvature
from .term import Force, Term

CAUCHY = StudentT()


@dataclass(frozen=True)
class Edges:
    """The edges of P, of the view's rows, and their kernel."""

    matrix: AffinityMatrix
    kernel: Kernel

    def gradient(self, view: View, denominator: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient (m, d) of Σᵢⱼ pᵢⱼ log(qᵢⱼ + dᵢ) at fixed d, and its derivatives with respect to d, (m,).

        `denominator` is d of the view's rows, (m,). Those of fixed cells hold no new ones, which feel their own twice.
        """
        gradient_of = twin("denominators", view.mine, self.kernel)
        if view.is_new:
            nowhere = torch.full_like(view.everyone[:, 0], torch.inf)  # as a denominator: adds nothing
            gradient, share = gradient_of(self.matrix, self.kernel, view, denominator, nowhere)
            return gradient.mul_(2), share
        return gradient_of(self.matrix, self.kernel, view, denominator, view.gather(denominator))

    def value(self, view: View, denominator: Tensor) -> Tensor:
        """Σᵢⱼ pᵢⱼ log(qᵢⱼ + dᵢ) of the view's rows, 0-d."""
        return twin("logs of denominators", view.mine, self.kernel)(self.matrix, self.kernel, view, denominator)

    def shard(self, begin: int, end: int) -> Edges:
        return replace(self, matrix=self.matrix.shard(begin, end))


def plain_gradient(
    matrix: AffinityMatrix, kernel: Kernel, view: View, denominator: Tensor, others: Tensor
) -> tuple[Tensor, Tensor]:
    """See `Edges.gradient`; `others` are the denominators of everyone, (n,)."""
    rows, columns = matrix.rows(), matrix.indices.long()
    difference = view.mine[rows] - view.everyone[columns]
    sq_dist = difference.square().sum(1)
    value, weights = kernel.value(sq_dist), matrix.weights.to(sq_dist.dtype)
    part = weights / (value + denominator[rows])
    both = part + weights / (value + others[columns])
    each = (2 * kernel.slope(sq_dist) * both)[:, None] * difference
    gradient = torch.zeros_like(view.mine).index_add_(0, rows, each)
    return gradient, torch.zeros_like(denominator).index_add_(0, rows, part)


def plain_value(matrix: AffinityMatrix, kernel: Kernel, view: View, denominator: Tensor) -> Tensor:
    """See `Edges.value`."""
    rows = matrix.rows()
    sq_dist = (view.mine[rows] - view.everyone[matrix.indices.long()]).square().sum(1)
    return reductions.total(matrix.weights.to(sq_dist.dtype) * (kernel.value(sq_dist) + denominator[rows]).log())


@dataclass(frozen=True)
class InfoNCE(Term):
    """log of a sum over a cell's negatives and, where `with_positive`, the neighbor it is compared with.

    Without it the sum is Σᵢ rᵢ log Σₖ qᵢₖ, rᵢ the mass of row i of the symmetric P.
    """

    edges: Edges
    pairs: DrawnPairs
    with_positive: bool = True

    def at_step(self, view: View, step: int) -> InfoNCE:
        return replace(self, pairs=self.pairs.at_step(step))

    def shard(self, begin: int, end: int) -> InfoNCE:
        return replace(self, edges=self.edges.shard(begin, end))

    @cached_property
    def row_mass(self) -> Tensor:
        """Of the view's rows, (m,)."""
        return self.edges.matrix.row_sums()

    def __call__(self, view: View, *, value: bool) -> Force:
        matrix, kernel = self.edges.matrix, self.edges.kernel
        negatives = self.pairs.mass(kernel, view)
        if self.with_positive:
            gradient, share = self.edges.gradient(view, negatives)
            gradient += self.pairs.push(kernel, view, view.gather(share)).mul_(2)
            loss = self.edges.value(view, negatives) if value else None
        else:
            row_mass = self.row_mass.to(view.mine.dtype)
            gradient = self.pairs.push(kernel, view, view.gather(row_mass / negatives)).mul_(2)
            loss = reductions.total(row_mass * negatives.log()) if value else None
        return Force(gradient, loss, flat_curvature(view, matrix.total, None))


@dataclass(frozen=True)
class NCE(Term):
    """Neighbors told from noise, with ν = exp(`log_noise`) learned on the way: q / ν becomes a density.

    The loss is least where pairs of neighbors are told to be noise as often, a = Σᵢⱼ pᵢⱼ ν / (qᵢⱼ + ν), as negatives
    are told to be neighbors, b = Σᵢ rᵢ Σₖ qᵢₖ / (qᵢₖ + ν). The step of log ν is log(b / a), whose derivative lies
    between −2 and 0, so that the steps lead there from anywhere. New cells take ν as it is.
    """

    edges: Edges
    row_mass: Tensor  # of all rows
    pairs: DrawnPairs
    log_noise: float = 0.0

    def at_step(self, view: View, step: int) -> NCE:
        pairs, noise = self.pairs.at_step(step), math.exp(self.log_noise)
        if view.is_new:
            return replace(self, pairs=pairs)
        _, share = self.edges.gradient(view, torch.full_like(view.mine[:, 0], noise))
        scale = math.sqrt(noise / (1 + noise))
        told_neighbors = pairs.mass(CAUCHY, view.map(lambda positions: positions * scale))
        row_mass = view.own(self.row_mass).to(view.mine.dtype)
        wrong_negatives = float(view.total(row_mass * told_neighbors)) / (1 + noise)
        wrong_neighbors = noise * float(view.total(share))
        return replace(self, pairs=pairs, log_noise=self.log_noise + math.log(wrong_negatives / wrong_neighbors))

    def shard(self, begin: int, end: int) -> NCE:
        return replace(self, edges=self.edges.shard(begin, end))

    def carried(self) -> dict[str, Tensor]:
        return {"log_noise": torch.tensor(self.log_noise, dtype=torch.float64)}

    def with_carried(self, tensors: Mapping[str, Tensor]) -> NCE:
        return replace(self, log_noise=float(tensors["log_noise"]))

    def __call__(self, view: View, *, value: bool) -> Force:
        noise, row_mass = math.exp(self.log_noise), self.row_mass.to(view.mine.dtype)
        everywhere, repulsion = torch.full_like(view.mine[:, 0], noise), NoiseRepulsion(noise)
        gradient, _ = self.edges.gradient(view, everywhere)
        gradient += self.pairs.push(repulsion, view, row_mass).mul_(2)
        loss = None
        if value:
            loss = self.edges.value(view, everywhere)
            loss = loss + reductions.total(view.own(row_mass) * self.pairs.mass(repulsion, view))
        return Force(gradient, loss, flat_curvature(view, self.edges.matrix.total, None))
