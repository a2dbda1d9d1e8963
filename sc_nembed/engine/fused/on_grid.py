"""From points to the potential on a grid and back, in one to three dimensions."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ..compute import backend
from ..radial_sum import _convolve as convolve
from . import grid, grid_1d, grid_3d

MAX_GRIDS = 8  # private to ranges of points while spreading
GATHER_ROWS = 4096
SPREAD = {1: grid_1d.spread, 2: grid.spread, 3: grid_3d.spread}
GATHER = {1: grid_1d.gather, 2: grid.gather, 3: grid_3d.gather}


def potential(
    points: Tensor, weights: Tensor, lower: np.ndarray, spacing: float, nodes: tuple[int, ...], kind, buffers
) -> Tensor:
    """As `radial_sum.fft.plain_potential`."""
    return convolve.of_grids(spread(points, weights, lower, spacing, nodes, buffers), kind, buffers)


def spread(
    points: Tensor, weights: Tensor, lower: np.ndarray, spacing: float, nodes: tuple[int, ...], buffers
) -> Tensor:
    """Densities of ranges of the points, (grids, ..., rows, columns)."""
    # by the size of the problem alone; a grid of its own is worth clearing and adding where it takes enough points
    n_grids = min(MAX_GRIDS, max(2, 4 * points.shape[0] // math.prod(nodes)))
    bounds = backend.chunk_bounds(points.shape[0], -(-points.shape[0] // n_grids))
    grids = buffers.get("grids", (len(bounds), *nodes))
    backend.parallel(
        SPREAD[points.shape[1]], bounds, backend.flat(points), backend.as_array(weights),
        lower.astype(np.float32), np.float32(1 / spacing), grids.numpy(),
    )  # fmt: skip
    return grids


def reading(points: Tensor, own: Tensor | None, field) -> tuple[Tensor, Tensor]:
    """As `radial_sum.fft.plain_reading`."""
    mass, push = torch.empty(points.shape[0]), torch.empty(points.shape)
    weights = np.empty(0, np.float32) if own is None else backend.as_array(own)
    backend.parallel(
        GATHER[points.shape[1]], backend.chunk_bounds(points.shape[0], GATHER_ROWS), backend.flat(points),
        weights, field.lower.astype(np.float32), np.float32(1 / field.spacing), field.potential.numpy(),
        backend.flat(field.influence.felt), np.float32(field.influence.shift), np.float32(float(field.total_weight)),
        mass.numpy(), backend.flat(push),
    )  # fmt: skip
    return mass, push
