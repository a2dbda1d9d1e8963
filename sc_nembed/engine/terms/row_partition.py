"""The partition of SNE: Σᵢ rᵢ log mᵢ, with mᵢ = Σⱼ qᵢⱼ over j ≠ i and rᵢ the mass of row i of P.

    gradient of cell i:  2 Σⱼ (rᵢ / mᵢ + rⱼ / mⱼ) q'ᵢⱼ (zᵢ − zⱼ)

A Gaussian underflows a few units from a cell. So the exact sums go by logarithms, those by KeOps are in float64, and on
a grid sums too small for float32 are taken at the smallest one it can tell from 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..compute import reductions
from ..compute.twins import twin
from ..kernel import Kernel
from ..view import View
from .partition import flat_curvature, own_counts
from .term import Force, Term

BLOCK_PAIRS = 1 << 22  # pairs held at once by the plain version
SMALLEST, SMALLEST_EXACT = 1e-6, 1e-300  # shares of the largest row sum below which a plan is not read


@dataclass(frozen=True)
class RowPartition(Term):
    """`row_mass` is that of all rows, of P before it was symmetrised; `counts` are those of everyone.

    `plan` evaluates the sums, on a grid or, where `exact`, in float64; without one they are exact, by logarithms.
    """

    kernel: Kernel
    row_mass: Tensor
    total: float
    plan: object | None = None
    counts: Tensor | None = None
    exact: bool = False

    def __call__(self, view: View, *, value: bool) -> Force:
        counts = torch.ones_like(view.everyone[:, 0]) if self.counts is None else self.counts
        row_mass = self.row_mass.to(view.mine.dtype)
        if self.plan is not None:
            log_mass, gradient = self._by_plan(view, row_mass, counts)
        else:
            by_logarithms = twin("row partition", view.mine, self.kernel)
            log_mass, gradient = by_logarithms(self.kernel, view, row_mass, counts)
        if view.is_new:  # the rows of fixed cells hold no new ones, which feel their own twice
            gradient = 2 * gradient
        loss = reductions.total(view.own(row_mass) * log_mass) if value else None
        return Force(gradient, loss, flat_curvature(view, self.total, self.counts))

    def _by_plan(self, view: View, row_mass: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        dtype = view.mine.dtype
        if self.exact:
            view, counts = view.map(Tensor.double), counts.double()
        mass, push = self.plan(view.mine, view.everyone, view.first, counts)
        own = own_counts(view, counts)
        mass = mass if own is None else mass + (own - 1)
        mass = at_least(view, mass, SMALLEST_EXACT if self.exact else SMALLEST)
        share = view.own(row_mass) / mass
        gradient = share[:, None] * push
        if own is not None:
            gradient = gradient + own[:, None] * self.plan(view.mine, view.everyone, view.first, view.gather(share))[1]
        return mass.log().to(dtype), (2 * gradient).to(dtype)


def at_least(view: View, mass: Tensor, share: float) -> Tensor:
    """Sums that are no less than a share of the largest one of all rows."""
    return torch.maximum(mass, (share * view.gather(mass).max().double()).to(mass.dtype))


def plain(kernel: Kernel, view: View, row_mass: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithms of the row sums (m,), and the gradient (m, d) without what new cells feel of others' rows."""
    m, n = len(view.mine), len(view.everyone)
    blocks = torch.arange(m, device=counts.device).split(max(1, BLOCK_PAIRS // n))
    log_mass = torch.cat([_log_weights(kernel, view, rows, counts).logsumexp(1) for rows in blocks])
    log_share, gradient = view.own(row_mass).log() - log_mass, []
    log_shares = None if view.is_new else view.gather(log_share)
    for rows in blocks:
        log_q = _log_weights(kernel, view, rows, counts)
        difference = view.mine[rows, None, :] - view.everyone[None, :, :]
        strength = (log_q + log_share[rows, None]).exp()  # w_j q_ij r_i / m_i, and w_i q_ij r_j / m_j
        if log_shares is not None:
            own = view.own(counts)[rows, None].log()
            strength = strength + (log_q - counts.log()[None, :] + own + log_shares[None, :]).exp()
        strength = 2 * strength * kernel.log_slope(difference.square().sum(2))
        gradient.append((strength[:, :, None] * difference).sum(1))
    return log_mass, torch.cat(gradient)


def _log_weights(kernel: Kernel, view: View, rows: Tensor, counts: Tensor) -> Tensor:
    """log(wⱼ qᵢⱼ), (rows, n); a row's own entry holds its w − 1 twins, at distance 0."""
    sq_dist = (view.mine[rows, None, :] - view.everyone[None, :, :]).square().sum(2)
    log_q = kernel.log_value(sq_dist) + counts.log()[None, :]
    if not view.is_new:
        log_q[torch.arange(len(rows), device=rows.device), view.first + rows] = (counts[view.first + rows] - 1).log()
    return log_q
