"""Radial sums in 1-D, 2-D and 3-D by one convolution on a regular grid.

Weights are spread on the grid with cubic B-splines (4 nodes an axis for each point), convolved with the potential, and
the potential and its gradient are read off the same splines, since push = ½ ∇mass: one forward and one inverse real
transform a step. The spectrum is multiplied by the influence function of Hockney & Eastwood (1988), which undoes the
splines with the least error of the forces, on a zero-padded grid, so nothing is periodic. What a point feels of
itself through the grid depends on its place within its cell alone; it is subtracted. Subtracting the
potential's value at the far corner before the transform, and adding it back in closed form, keeps float32 exact where
all points lie within 1e-4.

Relative errors (norm of the difference over norm of the exact sum) on 4 000 points, float32, with openTSNE 1.0.4's
default on the same points beside them (`benchmarks/accuracy.py` prints the table):

===  ========  ====  =======  =======  =====================  ===============
in   points    span  force    mass     force, tolerance=1e-2  force, openTSNE
===  ========  ====  =======  =======  =====================  ===============
1-D  uniform   1e-4  1.0e-05  1.8e-09  7.9e-06                5.7e-16
1-D  uniform   5     2.2e-04  1.9e-06  1.1e-04                1.4e-05
1-D  uniform   150   9.4e-04  2.9e-06  5.8e-03                5.6e-02
1-D  uniform   1500  1.1e-03  1.2e-05  6.4e-03                1.9e-01
1-D  clusters  1e-4  1.3e-05  1.0e-09  1.5e-05                8.1e-16
1-D  clusters  5     2.5e-04  3.1e-06  1.2e-04                2.2e-05
1-D  clusters  150   7.4e-04  2.3e-06  4.2e-03                4.3e-02
1-D  clusters  1500  1.1e-03  8.7e-06  6.3e-03                1.8e-01
2-D  uniform   1e-4  1.9e-05  3.5e-09  1.9e-05                8.9e-16
2-D  uniform   5     5.2e-05  4.2e-07  9.7e-05                9.2e-06
2-D  uniform   60    3.0e-03  2.2e-05  6.8e-03                4.0e-02
2-D  uniform   150   3.6e-03  4.2e-05  8.2e-03                4.7e-02
2-D  clusters  1e-4  2.8e-05  1.4e-09  3.6e-05                1.3e-15
2-D  clusters  5     2.2e-04  2.2e-06  4.2e-04                2.5e-05
2-D  clusters  60    9.7e-04  1.3e-05  2.2e-03                1.4e-02
2-D  clusters  150   2.3e-03  2.1e-05  5.2e-03                3.0e-02
3-D  uniform   1e-4  3.3e-05  5.2e-09  3.6e-05                –
3-D  uniform   5     3.0e-04  6.1e-06  5.6e-05                –
3-D  uniform   60    3.0e-03  1.8e-05  4.8e-03                –
3-D  clusters  1e-4  5.0e-05  2.3e-09  6.1e-05                –
3-D  clusters  5     2.9e-03  7.0e-05  5.1e-04                –
3-D  clusters  60    7.6e-04  1.3e-05  1.7e-03                –
===  ========  ====  =======  =======  =====================  ===============

The spacing is then 0.3, and 0.2 in 1-D. With more points in 2-D and 3-D it is coarser, see `default_spacing`, and the
error of a force larger: ask for a `tolerance` where that matters. In 3-D the grid has at most 2²³ nodes, 2²⁶ of its
transform; in a wider box the spacing grows, with a warning where a tolerance was asked for. A t-SNE of 17 000 cells
spans 190: the spacing is 1.0 there, the error of a force 0.12, that of the sum of all masses 2.5e-3, and the divergence
that a run arrives at within 0.4 % of that with exact sums. `tests/engine/test_radial_sum.py` holds the bounds.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..compute import backend
from ..compute.reductions import bounding_box
from ..fused import grid, grid_1d, grid_3d
from . import _convolve as convolve
from . import _splines as splines
from ._influence import Influence, influence
from ._spacing import coarsest_spacing, grid_shape

MAX_GRIDS = 8  # private to ranges of points while spreading
GATHER_ROWS = 4096
LARGEST = 1e18  # a side beyond it, or one that is not a number, is a run that diverged
MAX_CACHED = 1 << 23  # entries of all transforms kept, 32 MB
SPREAD = {1: grid_1d.spread, 2: grid.spread, 3: grid_3d.spread}
GATHER = {1: grid_1d.gather, 2: grid.gather, 3: grid_3d.gather}
_influences: dict[tuple, Influence] = {}  # of this process: the next run asks for the same ones


class FftSum:
    """A plan of grid sums: owns the transforms of its potential."""

    def __init__(self, potential, *, tolerance: float | None, device: torch.device, dtype: torch.dtype) -> None:
        self.potential, self.tolerance, self.device, self.dtype = potential, tolerance, device, dtype
        self._buffers, self._ones = convolve.Buffers(), None
        self._large: dict[tuple, Influence] = {}  # the last one, where it is too large to be kept beyond this run
        self._is_told = False

    def influence(self, spacing: float, nodes: tuple[int, ...]) -> Influence:
        key = (self.potential, spacing, nodes, self.device, self.dtype)
        for kept in (_influences, self._large):
            if key in kept:
                return kept[key]
        self._large = {}
        kind = influence(*key)
        if kind.transform.numel() > MAX_CACHED:
            self._large = {key: kind}
            return kind
        while sum(kept.transform.numel() for kept in _influences.values()) > MAX_CACHED:
            _influences.pop(next(iter(_influences)))
        _influences[key] = kind
        return kind

    def field(self, sources: Tensor, weights: Tensor | None = None) -> Field:
        return self._field(sources, weights, *bounding_box(sources))

    def __call__(self, targets, sources, first, weights=None):
        lower, upper = bounding_box(sources)
        if first is None:
            lower_targets, upper_targets = bounding_box(targets)
            lower, upper = np.minimum(lower, lower_targets), np.maximum(upper, upper_targets)
        return self._field(sources, weights, lower, upper)(targets, first)

    def _field(self, sources: Tensor, weights: Tensor | None, lower: np.ndarray, upper: np.ndarray) -> Field:
        if not (upper - lower).max() < LARGEST:
            return _nowhere  # a run that diverged; its checks see it by the values
        n_sources = sources.shape[0]
        if weights is None:
            if self._ones is None or self._ones.shape[0] != n_sources:
                self._ones = sources.new_ones(n_sources)
            weights, total_weight = self._ones, float(n_sources)
        else:
            total_weight = float(weights.double().sum())
        coarsest = coarsest_spacing(self.potential, n_sources, self.tolerance, sources.shape[1])
        spacing, nodes = grid_shape(upper - lower, coarsest)
        if spacing > coarsest and self.tolerance is not None and not self._is_told:
            self._is_told = True
            warnings.warn(
                f"The embedding has become too wide for `tolerance`={self.tolerance:g}: the spacing of the grid grows "
                f"beyond {coarsest:.2g}, and the error of the forces with it.",
                UserWarning,
                stacklevel=2,
            )
        kind = self.influence(spacing, nodes)
        if backend.is_fused(sources):
            grids = _spread_fused(sources, weights, lower, spacing, nodes, self._buffers)
            potential = convolve.of_grids(grids, kind, self._buffers)
        else:
            density = splines.spread(sources, weights, lower, spacing, nodes)
            potential = convolve.on_any_device(density, kind)
        return GridField(self, sources, weights, lower, upper, spacing, potential, kind, total_weight)


Field = Callable[[Tensor, "int | None"], tuple[Tensor, Tensor]]


def _nowhere(targets: Tensor, first: int | None) -> tuple[Tensor, Tensor]:
    """The field of sources that are not all finite."""
    return targets.new_full((targets.shape[0],), torch.nan), torch.full_like(targets, torch.nan)


@dataclass(frozen=True)
class GridField:
    """The potential of fixed sources on a grid, and all that reading it takes."""

    plan: FftSum
    sources: Tensor  # (m, d)
    weights: Tensor  # (m,)
    lower: np.ndarray  # the box the grid covers
    upper: np.ndarray
    spacing: float
    potential: Tensor  # (..., rows, columns)
    influence: Influence
    total_weight: float

    def __call__(self, targets: Tensor, first: int | None) -> tuple[Tensor, Tensor]:
        if first is None:
            lower, upper = bounding_box(targets)
            if not ((lower >= self.lower).all() and (upper <= self.upper).all()):
                both = np.minimum(lower, self.lower), np.maximum(upper, self.upper)
                return self.plan._field(self.sources, self.weights, *both)(targets, None)
        own = None if first is None else self.weights[first : first + targets.shape[0]]
        if backend.is_fused(targets):
            return _gather_fused(targets, own, self)
        kind, grid = self.influence, (self.lower, self.spacing, self.potential)
        return splines.gather(targets, own, *grid, kind.felt, kind.shift, self.total_weight)


def make(potential, *, n_components, tolerance, device, dtype, world) -> FftSum:
    """Plan grid sums of a smooth, decreasing potential in 1-D, 2-D or 3-D.

    `tolerance` is the relative force error to keep (see the table above); None chooses the spacing by the number of
    points.
    """
    if n_components not in SPREAD:
        raise ValueError(
            f"The grid sum works in 1 to 3 dimensions; got n_components={n_components}. Use the exact sum 'torch'."
        )
    return FftSum(potential, tolerance=tolerance, device=device, dtype=dtype)


def _spread_fused(points, weights, lower, spacing, nodes, buffers) -> Tensor:
    # by the size of the problem alone; a grid of its own is worth clearing and adding where it takes enough points
    n_grids = min(MAX_GRIDS, max(2, 4 * points.shape[0] // math.prod(nodes)))
    bounds = backend.chunk_bounds(points.shape[0], -(-points.shape[0] // n_grids))
    grids = buffers.get("grids", (len(bounds), *nodes))
    backend.parallel(
        SPREAD[points.shape[1]], bounds, backend.flat(points), backend.as_array(weights),
        lower.astype(np.float32), np.float32(1 / spacing), grids.numpy(),
    )  # fmt: skip
    return grids


def _gather_fused(points: Tensor, own: Tensor | None, field: GridField) -> tuple[Tensor, Tensor]:
    mass, push = torch.empty(points.shape[0]), torch.empty(points.shape)
    weights = np.empty(0, np.float32) if own is None else backend.as_array(own)
    backend.parallel(
        GATHER[points.shape[1]], backend.chunk_bounds(points.shape[0], GATHER_ROWS), backend.flat(points),
        weights, field.lower.astype(np.float32), np.float32(1 / field.spacing), field.potential.numpy(),
        backend.flat(field.influence.felt), np.float32(field.influence.shift), np.float32(field.total_weight),
        mass.numpy(), backend.flat(push),
    )  # fmt: skip
    return mass, push
