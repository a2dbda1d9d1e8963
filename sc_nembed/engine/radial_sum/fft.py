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

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..compute.notes import note
from ..compute.reductions import bounding_box
from ..compute.twins import twin
from . import _convolve as convolve
from . import _splines as splines
from ._influence import Influence, influence
from ._spacing import MIN_CELLS, coarsest_spacing, grid_shape

LARGEST = 1e18  # a side beyond it, or one that is not a number, is a run that diverged
MAX_CACHED = 1 << 23  # entries of all transforms kept, 32 MB
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
            total_weight = weights.double().sum()
        coarsest = coarsest_spacing(self.potential, n_sources, self.tolerance, sources.shape[1])
        spacing, nodes = grid_shape(upper - lower, coarsest)
        if spacing > coarsest and self.tolerance is not None and not self._is_told:
            self._is_told = True
            note(
                f"The embedding has become too wide for `tolerance`={self.tolerance:g}: the spacing of the grid grows "
                f"beyond {coarsest:.2g}, and the error of the forces with it."
            )
        kind = self.influence(spacing, nodes)
        potential_of = twin("potential on a grid", sources)
        potential = potential_of(sources, weights, lower, spacing, nodes, kind, self._buffers)
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
    total_weight: float | Tensor  # 0-d

    def __call__(self, targets: Tensor, first: int | None) -> tuple[Tensor, Tensor]:
        if first is None:
            lower, upper = bounding_box(targets)
            if not ((lower >= self.lower).all() and (upper <= self.upper).all()):
                both = np.minimum(lower, self.lower), np.maximum(upper, self.upper)
                return self.plan._field(self.sources, self.weights, *both)(targets, None)
        own = None if first is None else self.weights[first : first + targets.shape[0]]
        return twin("reading of a grid", targets)(targets, own, self)


def make(potential, *, n_components, tolerance, device, dtype, world) -> FftSum:
    """Plan grid sums of a smooth, decreasing potential in 1-D, 2-D or 3-D.

    `tolerance` is the relative force error to keep (see the table above); None chooses the spacing by the number of
    points.
    """
    if n_components not in MIN_CELLS:
        raise ValueError(
            f"The grid sum works in 1 to 3 dimensions; got n_components={n_components}. Use the exact sum 'torch'."
        )
    return FftSum(potential, tolerance=tolerance, device=device, dtype=dtype)


def plain_potential(
    points: Tensor, weights: Tensor, lower: np.ndarray, spacing: float, nodes: tuple[int, ...], kind: Influence, buffers
) -> Tensor:
    """The potential of weighted points on the grid, (..., rows, columns); `buffers` may be used, and are not here."""
    return convolve.on_any_device(splines.spread(points, weights, lower, spacing, nodes), kind)


def plain_reading(points: Tensor, own: Tensor | None, field: GridField) -> tuple[Tensor, Tensor]:
    """Mass (m,) and push (m, d) at the points; where they are sources of weights `own`, without what each put there."""
    kind, grid = field.influence, (field.lower, field.spacing, field.potential)
    return splines.gather(points, own, *grid, kind.felt, kind.shift, field.total_weight)
