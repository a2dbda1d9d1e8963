"""UMAP's effective repulsion without sampling (Damrich & Hamprecht 2021): (m / n) Σᵢ degreeᵢ Σⱼ −log(1 − qᵢⱼ).

UMAP draws m negative samples for each edge it samples and moves the cell whose edge it is, not the sample: cell i feels
its own degree alone. So the force is not the gradient of this value, which counts the degrees of both.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..compute import reductions
from .term import Force, Term

USUAL_RATE = 5.0


@dataclass(frozen=True)
class ExpectedRepulsion(Term):
    """`degree` is (n,), sums of the rows of P; `plan` sums −log(1 − q); `rate` is the number of negative samples."""

    plan: object
    degree: Tensor
    rate: float = USUAL_RATE
    counts: Tensor | None = None

    def __call__(self, positions: Tensor, *, value: bool) -> Force:
        mass, push = self.plan(positions, positions, 0, self.counts)
        n_cells = positions.shape[0] if self.counts is None else float(self.counts.sum())
        per_pair = self.degree * (self.rate / n_cells)
        loss = reductions.total(per_pair * mass) if value else None
        curvature = self.degree * (self.rate / USUAL_RATE)
        return Force(push.mul_(2 * per_pair[:, None]), loss, curvature)
