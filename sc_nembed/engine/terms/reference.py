"""A pull towards a given layout (Kury, Kobak & Damrich 2025, "DREAMS"):  (1 / n) Σᵢ ‖zᵢ − z̄ − α rᵢ‖².

R is the reference, centred; α = ‖Z − Z̄‖ / ‖R‖, Frobenius norms, makes it as large as the layout is. A step sees one α:
`at_step` fits it, and the term is then a parabola. So the pull arranges, and leaves the size of the picture to the
others.

A cell that stands for w equal ones counts w times (`counts`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..compute import reductions
from ..view import View
from .partition import n_cells
from .term import Force, Term


@dataclass(frozen=True)
class Reference(Term):
    """`layout` is (n, d), centred, of all rows; `scale` is α, 0-d. The curvature is 2 / n."""

    layout: Tensor
    scale: Tensor | float = 1.0
    counts: Tensor | None = None  # (n,)

    def at_step(self, view: View, step: int) -> Reference:
        layout = view.own(self.layout)
        size, own = (view.sum(self._sq_norm(view, points)).sqrt() for points in (self._centred(view), layout))
        return replace(self, scale=size / own)

    def __call__(self, view: View, *, value: bool) -> Force:
        apart = self._centred(view) - self.scale * view.own(self.layout).to(view.mine)
        n = n_cells(view.everyone, self.counts)
        loss = self._sq_norm(view, apart).sqrt().square() / n if value else None
        if self.counts is None:
            return Force(reductions.scale(apart, 2 / n), loss, apart.new_full((1,), 2 / n))
        share = view.own(self.counts).to(apart) * (2 / n)
        return Force(share[:, None] * apart, loss, share)

    def _centred(self, view: View) -> Tensor:
        if view.is_new:
            raise ValueError(
                "A reference says where the cells of a fit lie to each other, whatever its size and place; it has no "
                "place for new cells. Drop it where they are placed."
            )
        return view.mine - _mean(view, self.counts).to(view.mine.dtype)

    def _sq_norm(self, view: View, points: Tensor) -> Tensor:
        """Of the view's rows, 0-d float64."""
        weighted = points if self.counts is None else points * view.own(self.counts).to(points)[:, None]
        return reductions.inner(weighted, points).clamp_min(0)


def mean_of(points: Tensor, counts: Tensor | None) -> Tensor:
    """The mean of all cells, (d,) float64."""
    return _mean(View.whole(points), counts)


def _mean(view: View, counts: Tensor | None) -> Tensor:
    if counts is None:
        sums = torch.stack([reductions.total(column) for column in view.mine.T]).to(view.mine.device)
        return view.sum(sums) / len(view.everyone)
    weighted = view.mine.double() * view.own(counts).double()[:, None]
    return view.sum(weighted.sum(0)) / counts.double().sum()
