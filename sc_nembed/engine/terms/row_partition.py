"""The partition of SNE: Σᵢ rᵢ log mᵢ, with mᵢ = Σⱼ qᵢⱼ over j ≠ i and rᵢ the mass of row i of P.

    gradient of cell i:  2 Σⱼ (rᵢ / mᵢ + rⱼ / mⱼ) q'ᵢⱼ (zᵢ − zⱼ)

A Gaussian underflows a few units from a cell. So the exact sums go by logarithms, those by KeOps are in float64, and on
a grid sums too small for float32 are taken at the smallest one it can tell from 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..compute import backend, reductions
from ..fused import exact_sum as fused_exact_sum
from ..fused.kernels import GAUSSIAN, KINDS, shape_of
from ..kernel import Kernel
from .partition import flat_curvature
from .term import Force, Term

BLOCK_PAIRS = 1 << 22  # pairs held at once by the plain version
FUSED_ROWS = 64
SMALLEST, SMALLEST_EXACT = 1e-6, 1e-300  # shares of the largest row sum below which a plan is not read


@dataclass(frozen=True)
class RowPartition(Term):
    """`row_mass` is (n,), of P before it was symmetrised.

    `plan` evaluates the sums, on a grid or, where `exact`, in float64; without one they are exact, by logarithms.
    """

    kernel: Kernel
    row_mass: Tensor
    total: float
    plan: object | None = None
    counts: Tensor | None = None
    exact: bool = False

    def __call__(self, positions: Tensor, *, value: bool) -> Force:
        counts = torch.ones_like(positions[:, 0]) if self.counts is None else self.counts
        row_mass = self.row_mass.to(positions.dtype)
        if self.plan is not None:
            log_mass, gradient = self._by_plan(positions, row_mass, counts)
        elif backend.is_fused(positions) and KINDS.get(type(self.kernel)) == GAUSSIAN and positions.shape[1] <= 3:
            log_mass, gradient = _fused(self.kernel, positions, row_mass, counts)
        else:
            log_mass, gradient = _plain(self.kernel, positions, row_mass, counts)
        loss = reductions.total(row_mass * log_mass) if value else None
        return Force(gradient, loss, flat_curvature(positions, self.total, self.counts))

    def _by_plan(self, positions: Tensor, row_mass: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        places, counts = (part.double() if self.exact else part for part in (positions, counts))
        mass, push = self.plan(places, places, 0, counts)
        mass = mass + (counts - 1)
        mass = mass.clamp_min((SMALLEST_EXACT if self.exact else SMALLEST) * float(mass.max()))
        share = row_mass / mass
        _, push_of_rows = self.plan(places, places, 0, share)
        gradient = 2 * (share[:, None] * push + counts[:, None] * push_of_rows)
        return mass.log().to(positions.dtype), gradient.to(positions.dtype)


def _plain(kernel: Kernel, positions: Tensor, row_mass: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithms of the row sums (n,) and the gradient (n, d), in blocks of rows."""
    n = positions.shape[0]
    blocks = torch.arange(n, device=positions.device).split(max(1, BLOCK_PAIRS // n))
    log_mass = torch.cat([_log_weights(kernel, positions, rows, counts).logsumexp(1) for rows in blocks])
    log_share, gradient = row_mass.log() - log_mass, []
    for rows in blocks:
        log_q = _log_weights(kernel, positions, rows, counts)
        difference = positions[rows, None, :] - positions[None, :, :]
        # w_j q_ij r_i / m_i, and w_i q_ij r_j / m_j
        share = (log_q + log_share[rows, None]).exp()
        other = (log_q - counts.log()[None, :] + counts[rows, None].log() + log_share[None, :]).exp()
        strength = 2 * (share + other) * kernel.log_slope(difference.square().sum(2))
        gradient.append((strength[:, :, None] * difference).sum(1))
    return log_mass, torch.cat(gradient)


def _log_weights(kernel: Kernel, positions: Tensor, rows: Tensor, counts: Tensor) -> Tensor:
    """log(wⱼ qᵢⱼ), (rows, n); a row's own entry holds its w − 1 twins, at distance 0."""
    sq_dist = (positions[rows, None, :] - positions[None, :, :]).square().sum(2)
    log_q = kernel.log_value(sq_dist) + counts.log()[None, :]
    log_q[torch.arange(len(rows)), rows] = (counts[rows] - 1).log()
    return log_q


def _fused(kernel: Kernel, positions: Tensor, row_mass: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    n, n_components = positions.shape
    padded = torch.nn.functional.pad(positions, (0, 3 - n_components))
    points, bounds = padded.T.contiguous().numpy(), backend.chunk_bounds(n, FUSED_ROWS)
    log_mass, gradient = torch.empty(n), torch.empty(n, 3)
    shape, counts = shape_of(kernel), backend.as_array(counts)
    backend.parallel(fused_exact_sum.gaussian_rows, bounds, points, counts, shape, log_mass.numpy())
    backend.parallel(
        fused_exact_sum.gaussian_row_forces, bounds, points, counts, backend.as_array(row_mass), log_mass.numpy(),
        shape, gradient.numpy(),
    )  # fmt: skip
    return log_mass, gradient[:, :n_components].contiguous()
