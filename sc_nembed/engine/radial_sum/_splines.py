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
    itself: Tensor,
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
        felt = own[:, None] * _of_itself(_places(points, lower, spacing), itself)  # (n, 3)
        mass, slope, others = mass - felt[:, 0], slope - felt[:, 1:], others - own
    return mass + shift * others, slope / (2 * spacing)


def _of_itself(place: Tensor, table: Tensor) -> Tensor:
    """What points feel of themselves, (n, 3): linear between the entries of a table over the offset from ½."""
    offset = place - place.floor() - 0.5
    place = offset.abs() * (2 * (table.shape[0] - 1))
    entry = place.floor().clamp_max(table.shape[0] - 2)
    (c, r), (past_column, past_row) = entry.long().T, (place - entry).T[:, :, None]
    here, next_row = (
        (1 - past_column) * table[row, c] + past_column * table[row, c + 1] for row in (r, r + 1)
    )  # (n, 3)
    found = here + past_row * (next_row - here)
    return torch.cat([found[:, :1], torch.where(offset > 0, found[:, 1:], -found[:, 1:])], 1)
