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

import numpy as np
import torch
from torch import Tensor

from ..compute import backend, reductions
from ..fused import denominators as fused_denominators
from ..fused.kernels import shape_of
from ..graph import AffinityMatrix
from ..kernel import Kernel, NoiseRepulsion, StudentT
from .attraction import unsigned
from .circle import DrawnPairs
from .partition import flat_curvature
from .term import Force, Term

ROWS = 1024
CAUCHY = StudentT()


@dataclass(frozen=True)
class Edges:
    """The edges of P and their kernel."""

    matrix: AffinityMatrix
    kernel: Kernel

    @cached_property
    def rows(self) -> Tensor:
        """Of every edge, (n_edges,) int64."""
        return self.matrix.rows()

    @cached_property
    def _unsigned(self) -> tuple[np.ndarray, ...]:
        return unsigned(self.matrix)

    def gradient(self, positions: Tensor, denominator: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient (n, d) of Σᵢⱼ pᵢⱼ log(qᵢⱼ + dᵢ) at fixed d (n,), and its derivatives with respect to d, (n,)."""
        if self._is_fused(positions):
            gradient, share = torch.empty(positions.shape), torch.empty(positions.shape[0])
            if positions.shape[1] == 2:
                points = backend.pairs(positions)
                self._run(fused_denominators.gradient_2d, points, denominator, backend.flat(gradient), share.numpy())
            else:
                points = backend.as_array(positions)
                self._run(fused_denominators.gradient_any_d, points, denominator, gradient.numpy(), share.numpy())
            return gradient, share
        difference, sq_dist, columns = self._pairs(positions)
        value, weights = self.kernel.value(sq_dist), self.matrix.weights.to(positions.dtype)
        part = weights / (value + denominator[self.rows])
        both = part + weights / (value + denominator[columns])
        each = (2 * self.kernel.slope(sq_dist) * both)[:, None] * difference
        gradient = torch.zeros_like(positions).index_add_(0, self.rows, each)
        return gradient, torch.zeros_like(denominator).index_add_(0, self.rows, part)

    def value(self, positions: Tensor, denominator: Tensor) -> Tensor:
        """Σᵢⱼ pᵢⱼ log(qᵢⱼ + dᵢ), 0-d."""
        if self._is_fused(positions):
            partial = np.empty(len(backend.chunk_bounds(positions.shape[0], ROWS)))
            self._run(fused_denominators.value, backend.as_array(positions), denominator, partial)
            return torch.tensor(partial.sum())
        _, sq_dist, _ = self._pairs(positions)
        logs = (self.kernel.value(sq_dist) + denominator[self.rows]).log()
        return reductions.total(self.matrix.weights.to(positions.dtype) * logs)

    def _pairs(self, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        columns = self.matrix.indices.long()
        difference = positions[self.rows] - positions[columns]
        return difference, difference.square().sum(1), columns

    def _is_fused(self, positions: Tensor) -> bool:
        return backend.is_fused(positions) and self.kernel == CAUCHY

    def _run(self, kernel, points: np.ndarray, denominator: Tensor, *found: np.ndarray) -> None:
        backend.parallel(
            kernel, backend.chunk_bounds(len(points), ROWS), *self._unsigned, points, shape_of(self.kernel),
            backend.as_array(denominator), *found,
        )  # fmt: skip


@dataclass(frozen=True)
class InfoNCE(Term):
    """log of a sum over a cell's negatives and, where `with_positive`, the neighbor it is compared with.

    Without it the sum is Σᵢ rᵢ log Σₖ qᵢₖ, rᵢ the mass of row i of the symmetric P.
    """

    edges: Edges
    pairs: DrawnPairs
    with_positive: bool = True

    def at(self, positions: Tensor, step: int) -> InfoNCE:
        return replace(self, pairs=self.pairs.at(step))

    @cached_property
    def row_mass(self) -> Tensor:
        return self.edges.matrix.row_sums()

    def __call__(self, positions: Tensor, *, value: bool) -> Force:
        matrix, kernel = self.edges.matrix, self.edges.kernel
        negatives = self.pairs.mass(kernel, positions)
        if self.with_positive:
            gradient, share = self.edges.gradient(positions, negatives)
            gradient += self.pairs.push(kernel, positions, share).mul_(2)
            loss = self.edges.value(positions, negatives) if value else None
        else:
            row_mass = self.row_mass.to(positions.dtype)
            gradient = self.pairs.push(kernel, positions, row_mass / negatives).mul_(2)
            loss = reductions.total(row_mass * negatives.log()) if value else None
        return Force(gradient, loss, flat_curvature(positions, matrix.total, None))


@dataclass(frozen=True)
class NCE(Term):
    """Neighbors told from noise, with ν = exp(`log_noise`) learned on the way: q / ν becomes a density.

    The loss is least where pairs of neighbors are told to be noise as often, a = Σᵢⱼ pᵢⱼ ν / (qᵢⱼ + ν), as negatives
    are told to be neighbors, b = Σᵢ rᵢ Σₖ qᵢₖ / (qᵢₖ + ν). The step of log ν is log(b / a), whose derivative lies
    between −2 and 0, so that the steps lead there from anywhere.
    """

    edges: Edges
    row_mass: Tensor  # (n,)
    pairs: DrawnPairs
    log_noise: float = 0.0

    def at(self, positions: Tensor, step: int) -> NCE:
        pairs, noise = self.pairs.at(step), math.exp(self.log_noise)
        _, share = self.edges.gradient(positions, torch.full_like(positions[:, 0], noise))
        told_neighbors = pairs.mass(CAUCHY, positions * math.sqrt(noise / (1 + noise)))
        wrong_negatives = float(reductions.total(self.row_mass.to(positions.dtype) * told_neighbors)) / (1 + noise)
        wrong_neighbors = noise * float(reductions.total(share))
        return replace(self, pairs=pairs, log_noise=self.log_noise + math.log(wrong_negatives / wrong_neighbors))

    def carried(self) -> dict[str, Tensor]:
        return {"log_noise": torch.tensor(self.log_noise, dtype=torch.float64)}

    def with_carried(self, tensors: Mapping[str, Tensor]) -> NCE:
        return replace(self, log_noise=float(tensors["log_noise"]))

    def __call__(self, positions: Tensor, *, value: bool) -> Force:
        noise, row_mass = math.exp(self.log_noise), self.row_mass.to(positions.dtype)
        everywhere, repulsion = torch.full_like(positions[:, 0], noise), NoiseRepulsion(noise)
        gradient, _ = self.edges.gradient(positions, everywhere)
        gradient += self.pairs.push(repulsion, positions, row_mass).mul_(2)
        loss = None
        if value:
            loss = self.edges.value(positions, everywhere)
            loss = loss + reductions.total(row_mass * self.pairs.mass(repulsion, positions))
        return Force(gradient, loss, flat_curvature(positions, self.edges.matrix.total, None))
