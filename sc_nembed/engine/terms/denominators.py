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
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ..compute import backend, reductions
from ..fused import denominators as fused_denominators
from ..fused.kernels import shape_of
from ..graph import AffinityMatrix
from ..kernel import Kernel, NoiseRepulsion, StudentT
from ..view import View
from .attraction import unsigned
from .circle import DrawnPairs
from .partition import flat_curvature
from .term import Force, Term

ROWS = 1024
CAUCHY = StudentT()


@dataclass(frozen=True)
class Edges:
    """The edges of P, of the view's rows, and their kernel."""

    matrix: AffinityMatrix
    kernel: Kernel

    @cached_property
    def rows(self) -> Tensor:
        """Of every edge, (n_edges,) int64."""
        return self.matrix.rows()

    @cached_property
    def _unsigned(self) -> tuple[np.ndarray, ...]:
        return unsigned(self.matrix)

    def gradient(self, view: View, denominator: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient (m, d) of Σᵢⱼ pᵢⱼ log(qᵢⱼ + dᵢ) at fixed d, and its derivatives with respect to d, (m,).

        `denominator` is d of the view's rows, (m,). Those of fixed cells hold no new ones, which feel their own twice.
        """
        if view.is_new:
            nowhere = torch.full_like(view.everyone[:, 0], torch.inf)  # as a denominator: adds nothing
            gradient, share = self._gradient(view, denominator, nowhere)
            return gradient.mul_(2), share
        return self._gradient(view, denominator, view.gather(denominator))

    def _gradient(self, view: View, denominator: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        if self._is_fused(view.mine):
            gradient, share = torch.empty(view.mine.shape), torch.empty(len(view.mine))
            given = backend.as_array(denominator), backend.as_array(others)
            if view.mine.shape[1] == 2:
                points = backend.pairs(view.mine), backend.pairs(view.everyone)
                self._run(fused_denominators.gradient_2d, points, *given, backend.flat(gradient), share.numpy())
            else:
                points = backend.as_array(view.mine), backend.as_array(view.everyone)
                self._run(fused_denominators.gradient_any_d, points, *given, gradient.numpy(), share.numpy())
            return gradient, share
        difference, sq_dist, columns = self._pairs(view)
        value, weights = self.kernel.value(sq_dist), self.matrix.weights.to(sq_dist.dtype)
        part = weights / (value + denominator[self.rows])
        both = part + weights / (value + others[columns])
        each = (2 * self.kernel.slope(sq_dist) * both)[:, None] * difference
        gradient = torch.zeros_like(view.mine).index_add_(0, self.rows, each)
        return gradient, torch.zeros_like(denominator).index_add_(0, self.rows, part)

    def value(self, view: View, denominator: Tensor) -> Tensor:
        """Σᵢⱼ pᵢⱼ log(qᵢⱼ + dᵢ) of the view's rows, 0-d."""
        if self._is_fused(view.mine):
            partial = np.empty(len(backend.chunk_bounds(len(view.mine), ROWS)))
            points = backend.as_array(view.mine), backend.as_array(view.everyone)
            self._run(fused_denominators.value, points, backend.as_array(denominator), partial)
            return torch.tensor(partial.sum())
        _, sq_dist, _ = self._pairs(view)
        logs = (self.kernel.value(sq_dist) + denominator[self.rows]).log()
        return reductions.total(self.matrix.weights.to(sq_dist.dtype) * logs)

    def shard(self, begin: int, end: int) -> Edges:
        return replace(self, matrix=self.matrix.shard(begin, end))

    def _pairs(self, view: View) -> tuple[Tensor, Tensor, Tensor]:
        columns = self.matrix.indices.long()
        difference = view.mine[self.rows] - view.everyone[columns]
        return difference, difference.square().sum(1), columns

    def _is_fused(self, positions: Tensor) -> bool:
        return backend.is_fused(positions) and self.kernel == CAUCHY

    def _run(self, kernel, points: tuple[np.ndarray, np.ndarray], *arrays: np.ndarray) -> None:
        bounds = backend.chunk_bounds(len(points[0]), ROWS)
        backend.parallel(kernel, bounds, *self._unsigned, *points, shape_of(self.kernel), *arrays)


@dataclass(frozen=True)
class InfoNCE(Term):
    """log of a sum over a cell's negatives and, where `with_positive`, the neighbor it is compared with.

    Without it the sum is Σᵢ rᵢ log Σₖ qᵢₖ, rᵢ the mass of row i of the symmetric P.
    """

    edges: Edges
    pairs: DrawnPairs
    with_positive: bool = True

    def at(self, view: View, step: int) -> InfoNCE:
        return replace(self, pairs=self.pairs.at(step))

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

    def at(self, view: View, step: int) -> NCE:
        pairs, noise = self.pairs.at(step), math.exp(self.log_noise)
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
