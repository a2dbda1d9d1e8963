"""Cubic B-splines between points and a 2-D grid in plain torch: the truth of `fused.grid`, and for other devices."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..fused.grid import FIRST


def of_offset(offset: Tensor) -> tuple[Tensor, Tensor]:
    """Cubic B-spline weights (n, 4) of the nodes around points at `offset` ∈ [0, 1), and their derivatives."""
    rest = 1 - offset
    value = [rest**3 / 6, 2 / 3 - offset**2 + offset**3 / 2, 2 / 3 - rest**2 + rest**3 / 2, offset**3 / 6]
    slope = [-(rest**2) / 2, 1.5 * offset**2 - 2 * offset, 2 * rest - 1.5 * rest**2, offset**2 / 2]
    return torch.stack(value, 1), torch.stack(slope, 1)


def _places(points: Tensor, lower: np.ndarray, spacing: float) -> Tensor:
    """Points in units of the grid, (n, 2)."""
    return (points - torch.as_tensor(lower, dtype=points.dtype, device=points.device)) / spacing + float(FIRST)


def _stencil(points: Tensor, lower: np.ndarray, spacing: float, n_columns: int):
    """Flat indices (n, 4, 4) of the nodes of each point, rows first, and the splines of both axes."""
    place = _places(points, lower, spacing)
    cell = place.floor()
    node = cell.long()[:, :, None] + torch.arange(4, device=points.device)  # (n, 2, 4)
    (wx, dx), (wy, dy) = (of_offset(place[:, axis] - cell[:, axis]) for axis in (0, 1))
    return node[:, 1, :, None] * n_columns + node[:, 0, None, :], wx, dx, wy, dy


def spread(points: Tensor, weights: Tensor, lower: np.ndarray, spacing: float, nodes: tuple[int, int]) -> Tensor:
    """The density of weighted points on the grid, (rows, columns)."""
    flat, wx, _, wy, _ = _stencil(points, lower, spacing, nodes[1])
    amount = weights[:, None, None] * wy[:, :, None] * wx[:, None, :]
    return points.new_zeros(nodes[0] * nodes[1]).index_add_(0, flat.reshape(-1), amount.reshape(-1)).reshape(nodes)


def gather(
    points: Tensor,
    own: Tensor | None,
    lower: np.ndarray,
    spacing: float,
    potential: Tensor,
    felt: Tensor,
    shift: float,
    total_weight: float,
) -> tuple[Tensor, Tensor]:
    """Mass (n,) and push (n, 2) at the points; where they are sources of weights `own`, without what each put there."""
    flat, wx, dx, wy, dy = _stencil(points, lower, spacing, potential.shape[1])
    node = potential.reshape(-1)[flat]  # (n, 4, 4)
    mass = torch.einsum("nb,na,nba->n", wy, wx, node)
    slope = torch.stack([torch.einsum("nb,na,nba->n", wy, dx, node), torch.einsum("nb,na,nba->n", dy, wx, node)], 1)
    others = total_weight
    if own is not None:
        place = _places(points, lower, spacing)
        itself = own[:, None] * of_itself(place - place.floor(), felt)  # (n, 3)
        mass, slope, others = mass - itself[:, 0], slope - itself[:, 1:], others - own
    return mass + shift * others, slope / (2 * spacing)


def of_itself(offset: Tensor, felt: Tensor) -> Tensor:
    """What points of weight 1 at `offset` (n, 2) feel of themselves, (n, 3): potential and slopes.

    A slope is half the polynomial's, since the point moves and what it put on the grid stays.
    """
    apart = offset - 0.5
    power = torch.arange(4, device=offset.device)
    powers = apart.square()[:, :, None] ** power  # (n, 2, 4)
    slopes = power * apart.square()[:, :, None] ** (power - 1).clamp_min(0) * apart[:, :, None]
    return torch.stack([torch.einsum("ni,ij,nj->n", y, felt, x) for y, x in (
        (powers[:, 1], powers[:, 0]), (powers[:, 1], slopes[:, 0]), (slopes[:, 1], powers[:, 0])
    )], 1)  # fmt: skip
