"""UMAP's effective repulsion without sampling (Damrich & Hamprecht 2021): (m / n) Σᵢ degreeᵢ Σⱼ −log(1 − qᵢⱼ).

UMAP draws m negative samples for each edge it samples and moves the cell whose edge it is, not the sample: cell i feels
its own degree alone. So the force is not the gradient of this value, which counts the degrees of both.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..compute import reductions
from ..view import View
from .partition import n_cells
from .term import Force, Term

USUAL_RATE = 5.0


@dataclass(frozen=True)
class ExpectedRepulsion(Term):
    """`degree` are the sums of all rows of P; `plan` sums −log(1 − q); `rate` is the number of negative samples;
    `counts` says how many cells each of everyone stands for, n is their number.
    """

    plan: object
    degree: Tensor
    rate: float = USUAL_RATE
    counts: Tensor | None = None

    def __call__(self, view: View, *, value: bool) -> Force:
        mass, push = self.plan(view.mine, view.everyone, view.first, self.counts)
        degree = view.own(self.degree)
        per_pair = degree * (self.rate / n_cells(view.everyone, self.counts))
        loss = reductions.total(per_pair * mass) if value else None
        curvature = degree * (self.rate / USUAL_RATE)
        return Force(push.mul_(2 * per_pair[:, None]), loss, curvature)
