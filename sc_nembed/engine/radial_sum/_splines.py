"""Cubic B-splines between points and a grid in plain torch: the truth of `fused.grid`, and for other devices.

Nodes are indexed from the last coordinate of a point to its first: (rows, columns) in 2-D.
"""

from __future__ import annotations

from functools import reduce

import numpy as np
import torch
from torch import Tensor

from ..fused.splines import FIRST

BLOCK_NODES = 1 << 24  # nodes of all points held at once


def of_offset(offset: Tensor) -> tuple[Tensor, Tensor]:
    """Cubic B-spline weights (n, 4) of the nodes around points at `offset` ∈ [0, 1), and their derivatives."""
    rest = 1 - offset
    value = [rest**3 / 6, 2 / 3 - offset**2 + offset**3 / 2, 2 / 3 - rest**2 + rest**3 / 2, offset**3 / 6]
    slope = [-(rest**2) / 2, 1.5 * offset**2 - 2 * offset, 2 * rest - 1.5 * rest**2, offset**2 / 2]
    return torch.stack(value, 1), torch.stack(slope, 1)


def _outer(left: Tensor, right: Tensor) -> Tensor:
    """All products of the entries of each row, (n, columns of the left × of the right)."""
    return (left[:, :, None] * right[:, None, :]).flatten(1)


def _places(points: Tensor, lower: np.ndarray, spacing: float) -> Tensor:
    """Points in units of the grid, (n, d)."""
    return (points - torch.as_tensor(lower, dtype=points.dtype, device=points.device)) / spacing + float(FIRST)


def _stencil(points: Tensor, lower: np.ndarray, spacing: float, nodes: tuple[int, ...]):
    """Flat indices (n, 4ᵈ) of the nodes of each point, and for each axis of the grid (weights, derivatives), (n, 4)."""
    place = _places(points, lower, spacing)
    cell = place.floor()
    node = cell.long()[:, :, None] + torch.arange(4, device=points.device)  # (n, d, 4)
    flat = node[:, -1]
    for axis, count in enumerate(nodes[1:], 1):
        flat = (flat[:, :, None] * count + node[:, -1 - axis, None, :]).flatten(1)
    return flat, [of_offset(place[:, -1 - axis] - cell[:, -1 - axis]) for axis in range(len(nodes))]


def _blocks(points: Tensor) -> list[slice]:
    rows = BLOCK_NODES // 4 ** points.shape[1]
    return [slice(start, start + rows) for start in range(0, len(points), rows)]


def spread(points: Tensor, weights: Tensor, lower: np.ndarray, spacing: float, nodes: tuple[int, ...]) -> Tensor:
    """The density of weighted points on the grid, (..., rows, columns)."""
    density = points.new_zeros(int(np.prod(nodes)))
    for block in _blocks(points):
        flat, axes = _stencil(points[block], lower, spacing, nodes)
        amount = reduce(_outer, [weight for weight, _ in axes], weights[block, None])
        density.index_add_(0, flat.reshape(-1), amount.reshape(-1))
    return density.reshape(nodes)


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
    """Mass (n,) and push (n, d) at the points; where they are sources of weights `own`, without what each put there."""
    read = torch.cat([_read(points[block], lower, spacing, potential) for block in _blocks(points)])  # (n, 1 + d)
    others = total_weight
    if own is not None:
        place = _places(points, lower, spacing)
        read, others = read - own[:, None] * of_itself(place - place.floor(), felt), others - own
    return read[:, 0] + shift * others, read[:, 1:] / (2 * spacing)


def _read(points: Tensor, lower: np.ndarray, spacing: float, potential: Tensor) -> Tensor:
    """The potential and its derivatives at the points, (n, 1 + d)."""
    flat, axes = _stencil(points, lower, spacing, potential.shape)
    return _products(axes, lambda product: (product * potential.reshape(-1)[flat]).sum(1))


def _products(axes: list[tuple[Tensor, Tensor]], of) -> Tensor:
    """A function of the products of all axes' values, and of those with one axis' derivatives, the last axis first."""
    columns = [of(reduce(_outer, [value for value, _ in axes]))]
    for one in reversed(range(len(axes))):
        columns.append(
            of(reduce(_outer, [slope if axis == one else value for axis, (value, slope) in enumerate(axes)]))
        )
    return torch.stack(columns, 1)


def of_itself(offset: Tensor, felt: Tensor) -> Tensor:
    """What points of weight 1 at `offset` (n, d) feel of themselves, (n, 1 + d): potential and slopes.

    A slope is half the polynomial's, since the point moves and what it put on the grid stays.
    """
    apart, power = offset - 0.5, torch.arange(4, device=offset.device)
    axes = []
    for along in reversed(apart.unbind(1)):
        sq_apart = along.square()[:, None]
        axes.append((sq_apart**power, power * sq_apart ** (power - 1).clamp_min(0) * along[:, None]))
    return _products(axes, lambda product: product @ felt.reshape(-1))
