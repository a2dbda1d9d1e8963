"""A pull towards a given layout (Kury, Kobak & Damrich 2025, "DREAMS"):  (1 / n) Σᵢ ‖zᵢ − z̄ − α rᵢ‖².

R is the reference, centred; α = ‖Z − Z̄‖ / ‖R‖, Frobenius norms, makes it as large as the layout is. A step sees one α:
`at` fits it, and the term is then a parabola. So the pull arranges, and leaves the size of the picture to the others.

A cell that stands for w equal ones counts w times (`counts`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..compute import reductions
from .term import Force, Term


@dataclass(frozen=True)
class Reference(Term):
    """`layout` is (n, d), centred; `scale` is α. The curvature is 2 / n."""

    layout: Tensor
    scale: float = 1.0
    counts: Tensor | None = None  # (n,)

    def at(self, positions: Tensor, step: int) -> Reference:
        size, own = (self._norm(points) for points in (self._centred(positions), self.layout))
        return replace(self, scale=size / own)

    def __call__(self, positions: Tensor, *, value: bool) -> Force:
        apart = self._centred(positions) - self.scale * self.layout.to(positions)
        n_cells = len(positions) if self.counts is None else float(self.counts.sum())
        loss = None
        if value:
            loss = torch.tensor(self._norm(apart) ** 2 / n_cells, dtype=torch.float64, device=positions.device)
        if self.counts is None:
            return Force(reductions.scale(apart, 2 / n_cells), loss, positions.new_full((1,), 2 / n_cells))
        share = self.counts.to(positions) * (2 / n_cells)
        return Force(share[:, None] * apart, loss, share)

    def _centred(self, points: Tensor) -> Tensor:
        return points - mean_of(points, self.counts).to(points.dtype)

    def _norm(self, points: Tensor) -> float:
        weighted = points if self.counts is None else points * self.counts.to(points)[:, None]
        return math.sqrt(max(0.0, reductions.dot(weighted, points)))


def mean_of(points: Tensor, counts: Tensor | None) -> Tensor:
    """The mean of all cells, (d,) float64."""
    if counts is None:
        return torch.stack([reductions.total(column) for column in points.T]).to(points.device) / len(points)
    return (points.double() * counts.double()[:, None]).sum(0) / counts.double().sum()
