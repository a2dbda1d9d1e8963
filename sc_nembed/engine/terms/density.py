"""Local radii that correlate with those of the data: den-SNE and densMAP (Narayan, Berger & Cho 2021).

    Rᵢ = log(ε + Σⱼ qᵢⱼ ‖zᵢ − zⱼ‖² / Σⱼ qᵢⱼ)  over the edges of P       value = −cov(R, O) / √(var(R) + 0.1)

O are the log radii of the data, Σⱼ Pᵢⱼ dᵢⱼ² / Σⱼ Pᵢⱼ, standardised, and q is the unnormalised kernel. The value is
minus the correlation, up to the shift of the variance, which keeps radii that hardly differ from being blown up. It is
between −1 and 1. With u = ‖zᵢ − zⱼ‖², gᵢ = ∂cor/∂Rᵢ and ρᵢ = Σ q u / Σ q,

    gradient of cell i:  −2 Σⱼ (wᵢⱼ + wⱼᵢ)(zᵢ − zⱼ),      wᵢⱼ = gᵢ (q + (u − ρᵢ) dq/du) / ((ε + ρᵢ) Σⱼ qᵢⱼ)

It takes two passes over the edges, one for the radii, one for the forces. P is symmetric, so a cell meets its edges in
both roles. Where the kernel underflows at all edges of a cell, its radius is the distance to the nearest, and no force.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ..compute import backend, reductions
from ..fused import density as fused_density
from ..fused.kernels import CAUCHY, KINDS, shape_of
from ..graph import AffinityMatrix
from ..kernel import Kernel, StudentT
from .attraction import ranges, unsigned
from .term import Force, Term

VARIANCE_SHIFT = 0.1
SMALLEST_SQ_DIST = 1e-8  # ε
SMALLEST_MASS = 1e-30


@dataclass(frozen=True)
class Density(Term):
    """Minus the correlation of log local radii; the curvature is 8 Σⱼ |wᵢⱼ + wⱼᵢ|: with less, UMAP's steps overshoot.

    `matrix` gives the edges, its weights are not read; `log_radius` is (n,) float64, of the data.
    """

    matrix: AffinityMatrix
    kernel: Kernel
    log_radius: Tensor

    def log_radii(self, positions: Tensor) -> Tensor:
        """Of the embedding, (n,) float64."""
        return self._first(positions)[0]

    def __call__(self, positions: Tensor, *, value: bool) -> Force:
        radius, ratio, share = self._first(positions)
        correlation, slope = _correlation(self._standard, radius)
        own = (slope.to(positions.device) * share).to(positions.dtype)
        second = self._fused_forces if self._is_fused(positions) else self._plain_forces
        gradient, curvature = second(positions, own, (own * ratio).to(positions.dtype))
        return Force(gradient, -correlation if value else None, curvature)

    @cached_property
    def _standard(self) -> Tensor:
        radius = self.log_radius.double()
        centred = radius - reductions.total(radius) / len(radius)
        return centred / (reductions.total(centred.square()) / len(radius)).sqrt()

    @cached_property
    def _edges(self) -> tuple[np.ndarray, ...]:
        return unsigned(self.matrix)[:2]

    @cached_property
    def _rows(self) -> Tensor:
        return self.matrix.rows()

    def _is_fused(self, positions: Tensor) -> bool:
        return backend.is_fused(positions) and type(self.kernel) in KINDS

    def _first(self, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log radii (n,) float64, their ρ, and 1 / ((ε + ρ) Σ q), (n,) each."""
        return (self._fused_radii if self._is_fused(positions) else self._plain_radii)(positions)

    def _fused_radii(self, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        n = len(positions)
        radius, ratio, share = torch.empty(n, dtype=torch.float64), torch.empty(n), torch.empty(n)
        self._run(0, positions, radius.numpy(), ratio.numpy(), share.numpy())
        return radius, ratio, share

    def _fused_forces(self, positions: Tensor, own: Tensor, lever: Tensor) -> tuple[Tensor, Tensor]:
        gradient, curvature = torch.empty(positions.shape), torch.empty(len(positions))
        self._run(1, positions, own.numpy(), lever.numpy(), gradient.numpy(), curvature.numpy())
        return gradient, curvature

    def _run(self, which: int, positions: Tensor, *arrays: np.ndarray) -> None:
        """One of the two passes."""
        kind = CAUCHY if self.kernel == StudentT(1.0) else KINDS[type(self.kernel)]
        points, shape = backend.as_array(positions), shape_of(self.kernel)
        if positions.shape[1] == 2:
            passes, given = fused_density.TWO_D[kind], (backend.pairs(positions), shape)
        else:
            passes, given = (fused_density.radii_any_d, fused_density.forces_any_d), (points, kind, shape)
        backend.parallel(passes[which], ranges(len(points)), *self._edges, *given, *arrays)

    def _along_edges(self, positions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        columns = self.matrix.indices.long()
        difference = positions[self._rows] - positions[columns]
        return self._rows, columns, difference, difference.square().sum(1)

    def _plain_radii(self, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rows, _, _, sq_dist = self._along_edges(positions)
        nothing, value = positions.new_zeros(len(positions)), self.kernel.value(sq_dist)
        mass = nothing.index_add(0, rows, value)
        nearest = (nothing + torch.inf).scatter_reduce(0, rows, sq_dist, "amin")
        is_seen = mass > SMALLEST_MASS
        mass = mass.clamp_min(SMALLEST_MASS)
        ratio = torch.where(is_seen, nothing.index_add(0, rows, value * sq_dist) / mass, nearest)
        share = is_seen / (mass * (SMALLEST_SQ_DIST + ratio))
        return (SMALLEST_SQ_DIST + ratio).double().log(), ratio, share

    def _plain_forces(self, positions: Tensor, own: Tensor, lever: Tensor) -> tuple[Tensor, Tensor]:
        rows, columns, difference, sq_dist = self._along_edges(positions)
        slope = self.kernel.slope(sq_dist)
        pull = (own[rows] + own[columns]) * (self.kernel.value(sq_dist) + sq_dist * slope)
        strength = 2 * (pull - (lever[rows] + lever[columns]) * slope)
        gradient = torch.zeros_like(positions).index_add(0, rows, -strength[:, None] * difference)
        return gradient, positions.new_zeros(len(positions)).index_add(0, rows, 4 * strength.abs())


def _correlation(standard: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
    """The correlation with the shift in its variance, and its derivatives by the radii, (n,) float64."""
    n = len(radius)
    centred = radius - reductions.total(radius) / n
    spread = (reductions.total(centred.square()) / n + VARIANCE_SHIFT).sqrt()
    covariance = reductions.total(standard * centred) / n
    return covariance / spread, (standard - covariance * centred / spread.square()) / (n * spread)
