"""Sums over a Cauchy kernel of hyperbolic distances, in up to three dimensions; see `terms.hyperbolic`."""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit
from torch import Tensor

from ..compute import backend
from ..graph import AffinityMatrix
from ..view import View
from . import FAST, kernel
from .elementary import log_of
from .packing import first_of, padded, unsigned

ROWS = 64
ZERO, ONE, FOUR = np.float32(0), np.float32(1), np.float32(4)
NEAR = np.float32(0.05)
_C1, _C2, _C3, _C4 = (np.float32(c) for c in (-1 / 6, 3 / 40, -15 / 336, 105 / 3456))


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def sq_distance(t):
    """u = 4 arsinh² √t and du/dt; near 0 by the series of arsinh √t / √t."""
    root, wide = math.sqrt(t), math.sqrt(ONE + t)
    series = (((_C4 * t + _C3) * t + _C2) * t + _C1) * t + ONE
    ratio = series if t < NEAR else log_of(root + wide) / max(root, NEAR)
    return FOUR * t * ratio * ratio, FOUR * ratio / wide


@kernel
def partition(chunk, begin, end, mine, room, everyone, rooms, weights, precision, first, mass, push):
    """Σⱼ wⱼ qᵢⱼ, (m,), and half the sum over j of wⱼ ∂qᵢⱼ / ∂zᵢ, (m, 3), j ≠ i.

    `mine` is (m, 3), `everyone` (3, n), and `room` and `rooms` are 1 / (1 − ‖z‖²) of them; row i is cell first + i of
    everyone unless first < 0.
    """
    xs, ys, zs = everyone[0], everyone[1], everyone[2]
    for i in range(begin, end):
        x, y, z = mine[i, 0], mine[i, 1], mine[i, 2]
        total = push_x = push_y = push_z = inward = ZERO
        for j in range(xs.shape[0]):
            dx, dy, dz = x - xs[j], y - ys[j], z - zs[j]
            t = (dx * dx + dy * dy + dz * dz) * room[i] * rooms[j]
            sq_dist, slope = sq_distance(t)
            value = ONE / (ONE + precision * sq_dist)
            slope *= -precision * value * value * weights[j]
            total += weights[j] * value
            inward += slope * t
            slope *= rooms[j]
            push_x += slope * dx
            push_y += slope * dy
            push_z += slope * dz
        mass[i] = total - (weights[first + i] if first >= 0 else ZERO)
        push[i, 0] = room[i] * (push_x + inward * x)
        push[i, 1] = room[i] * (push_y + inward * y)
        push[i, 2] = room[i] * (push_z + inward * z)


@kernel
def attraction(chunk, begin, end, indptr, indices, edge_weights, mine, room, everyone, rooms, precision, cost, pull):
    """Σⱼ −pᵢⱼ log qᵢⱼ of each range, and half the sum over j of its derivative, (m, 3).

    Arrays as in `partition`, but everyone is (n, 3).
    """
    value = 0.0
    for i in range(begin, end):
        x, y, z = mine[i, 0], mine[i, 1], mine[i, 2]
        row = pull_x = pull_y = pull_z = inward = ZERO
        for edge in range(indptr[i], indptr[i + 1]):
            j = indices[edge]
            dx, dy, dz = x - everyone[j, 0], y - everyone[j, 1], z - everyone[j, 2]
            t = (dx * dx + dy * dy + dz * dz) * room[i] * rooms[j]
            sq_dist, slope = sq_distance(t)
            base = ONE + precision * sq_dist
            slope *= edge_weights[edge] * precision / base
            row += edge_weights[edge] * log_of(base)
            inward += slope * t
            slope *= rooms[j]
            pull_x += slope * dx
            pull_y += slope * dy
            pull_z += slope * dz
        value += row
        pull[i, 0] = room[i] * (pull_x + inward * x)
        pull[i, 1] = room[i] * (pull_y + inward * y)
        pull[i, 2] = room[i] * (pull_z + inward * z)
    cost[chunk] = value


def along_edges(matrix: AffinityMatrix, view: View, precision: float) -> tuple[Tensor, Tensor]:
    """As `terms.hyperbolic.plain_attraction`."""
    mine, room, everyone, rooms = _points(view)
    bounds, pull = backend.chunk_bounds(len(mine), ROWS), torch.empty(mine.shape)
    cost = np.empty(len(bounds))
    backend.parallel(
        attraction, bounds, *unsigned(matrix), mine.numpy(), room, everyone.numpy(), rooms, np.float32(precision),
        cost, pull.numpy(),
    )  # fmt: skip
    return torch.tensor(cost.sum()), pull[:, : view.mine.shape[1]].contiguous()


def sums(view: View, weights: Tensor, precision: float) -> tuple[Tensor, Tensor]:
    """As `terms.hyperbolic.plain_sums`."""
    mine, room, everyone, rooms = _points(view)
    mass, push = torch.empty(len(mine)), torch.empty(mine.shape)
    backend.parallel(
        partition, backend.chunk_bounds(len(mine), ROWS), mine.numpy(), room, everyone.T.contiguous().numpy(), rooms,
        backend.as_array(weights), np.float32(precision), first_of(view), mass.numpy(), push.numpy(),
    )  # fmt: skip
    return mass, push[:, : view.mine.shape[1]].contiguous()


def _points(view: View) -> tuple[Tensor, np.ndarray, Tensor, np.ndarray]:
    """Positions in 3-D and 1 / (1 − ‖z‖²), which loses its digits near the edge of the ball unless in float64."""
    points, rooms = view.map(padded), view.map(_inverse_room)
    return points.mine, rooms.mine.numpy(), points.everyone, rooms.everyone.numpy()


def _inverse_room(positions: Tensor) -> Tensor:
    return (1 / (1 - positions.double().square().sum(1))).float()
