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

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from ..compute import reductions
from ..compute.twins import twin
from ..graph import AffinityMatrix
from ..kernel import Kernel
from ..view import View
from .term import Force, Term

VARIANCE_SHIFT = 0.1
SMALLEST_SQ_DIST = 1e-8  # ε
SMALLEST_MASS = 1e-30


@dataclass(frozen=True)
class Density(Term):
    """Minus the correlation of log local radii; the curvature is 8 Σⱼ |wᵢⱼ + wⱼᵢ|: with less, UMAP's steps overshoot.

    `matrix` gives the edges of the view's rows, its weights are not read; `log_radius` is float64, of the data and of
    all rows. Of new cells the correlation is that among them: the radii of the fixed ones do not change.
    """

    matrix: AffinityMatrix
    kernel: Kernel
    log_radius: Tensor
    of_all_rows: ClassVar[bool] = True

    def log_radii(self, positions: Tensor) -> Tensor:
        """Of an embedding of all rows, (n,) float64."""
        return self._first(View.whole(positions))[0]

    def shard(self, begin: int, end: int) -> Density:
        return replace(self, matrix=self.matrix.shard(begin, end))

    def __call__(self, view: View, *, value: bool) -> Force:
        radius, ratio, share = self._first(view)
        correlation, slope = _correlation(view, view.own(self._standard), radius)
        own = (slope.to(share.device) * share).to(view.mine.dtype)
        lever = (own * ratio).to(own.dtype)
        if view.is_new:
            owns = levers = torch.zeros_like(view.everyone[:, 0])
        else:
            owns, levers = view.gather(own), view.gather(lever)
        forces_of = twin("forces of radii", view.mine, self.kernel)
        gradient, curvature = forces_of(self.matrix, self.kernel, view, own, lever, owns, levers)
        return Force(gradient, -correlation if value else None, curvature)

    @cached_property
    def _standard(self) -> Tensor:
        radius = self.log_radius.double()
        centred = radius - reductions.total(radius) / len(radius)
        return centred / (reductions.total(centred.square()) / len(radius)).sqrt()

    def _first(self, view: View) -> tuple[Tensor, Tensor, Tensor]:
        return twin("radii", view.mine, self.kernel)(self.matrix, self.kernel, view)


def _along_edges(matrix: AffinityMatrix, view: View) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rows, columns = matrix.rows(), matrix.indices.long()
    difference = view.mine[rows] - view.everyone[columns]
    return rows, columns, difference, difference.square().sum(1)


def plain_radii(matrix: AffinityMatrix, kernel: Kernel, view: View) -> tuple[Tensor, Tensor, Tensor]:
    """Log radii (m,) float64, their ρ, and 1 / ((ε + ρ) Σ q), (m,) each."""
    rows, _, _, sq_dist = _along_edges(matrix, view)
    nothing, value = torch.zeros_like(view.mine[:, 0]), kernel.value(sq_dist)
    mass = nothing.index_add(0, rows, value)
    nearest = (nothing + torch.inf).scatter_reduce(0, rows, sq_dist, "amin")
    is_seen = mass > SMALLEST_MASS
    mass = mass.clamp_min(SMALLEST_MASS)
    ratio = torch.where(is_seen, nothing.index_add(0, rows, value * sq_dist) / mass, nearest)
    share = is_seen / (mass * (SMALLEST_SQ_DIST + ratio))
    return (SMALLEST_SQ_DIST + ratio).double().log(), ratio, share


def plain_forces(
    matrix: AffinityMatrix, kernel: Kernel, view: View, own: Tensor, lever: Tensor, owns: Tensor, levers: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradient (m, d) and curvature (m,). `own` is gᵢ / ((ε + ρᵢ) Σ q), `lever` that times ρᵢ, both (m,); `owns` and
    `levers` are those of everyone, (n,).
    """
    rows, columns, difference, sq_dist = _along_edges(matrix, view)
    slope = kernel.slope(sq_dist)
    pull = (own[rows] + owns[columns]) * (kernel.value(sq_dist) + sq_dist * slope)
    strength = 2 * (pull - (lever[rows] + levers[columns]) * slope)
    gradient = torch.zeros_like(view.mine).index_add(0, rows, -strength[:, None] * difference)
    return gradient, torch.zeros_like(view.mine[:, 0]).index_add(0, rows, 4 * strength.abs())


def _correlation(view: View, standard: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
    """The correlation with the shift in its variance, of all rows, and its derivatives by the radii, (m,) float64."""
    n = view.n_rows
    centred = radius - view.total(radius) / n
    spread = (view.total(centred.square()) / n + VARIANCE_SHIFT).sqrt()
    covariance = view.total(standard * centred) / n
    return covariance / spread, (standard - covariance * centred / spread.square()) / (n * spread)
