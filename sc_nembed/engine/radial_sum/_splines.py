"""Cubic B-splines between points and a 2-D grid in plain torch: the truth of `fused.grid`, and for other devices."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..fused.grid import FIRST


def _splines(offset: Tensor) -> tuple[Tensor, Tensor]:
    """Cubic B-spline weights (n, 4) of the nodes around points at `offset` ∈ [0, 1), and their derivatives."""
    rest = 1 - offset
    value = [rest**3 / 6, 2 / 3 - offset**2 + offset**3 / 2, 2 / 3 - rest**2 + rest**3 / 2, offset**3 / 6]
    slope = [-(rest**2) / 2, 1.5 * offset**2 - 2 * offset, 2 * rest - 1.5 * rest**2, offset**2 / 2]
    return torch.stack(value, 1), torch.stack(slope, 1)


def _stencil(points: Tensor, lower: np.ndarray, spacing: float, n_columns: int):
    """Flat indices (n, 4, 4) of the nodes of each point, rows first, and the splines of both axes."""
    place = (points - torch.as_tensor(lower, dtype=points.dtype, device=points.device)) / spacing + float(FIRST)
    cell = place.floor()
    node = cell.long()[:, :, None] + torch.arange(4, device=points.device)  # (n, 2, 4)
    (wx, dx), (wy, dy) = (_splines(place[:, axis] - cell[:, axis]) for axis in (0, 1))
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
    near: Tensor,
    shift: float,
    total_weight: float,
) -> tuple[Tensor, Tensor]:
    """Mass (n,) and push (n, 2) at the points; where they are sources of weights `own`, without what each put there."""
    flat, wx, dx, wy, dy = _stencil(points, lower, spacing, potential.shape[1])
    node = potential.reshape(-1)[flat]  # (n, 4, 4)
    others = total_weight
    if own is not None:  # take off what the point itself put on its nodes
        apart = (torch.arange(4)[:, None] - torch.arange(4)[None, :]).abs().to(points.device)
        between = near[apart][:, :, apart]  # (row, row', column, column')
        node = node - own[:, None, None] * torch.einsum("nb,na,bfae->nfe", wy, wx, between)
        others = others - own
    mass = torch.einsum("nb,na,nba->n", wy, wx, node)
    push = torch.stack([torch.einsum("nb,na,nba->n", wy, dx, node), torch.einsum("nb,na,nba->n", dy, wx, node)], 1)
    return mass + shift * others, push / (2 * spacing)
