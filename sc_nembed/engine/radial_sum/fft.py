"""Radial sums in 2-D by one convolution on a regular grid.

Weights are spread on the grid with cubic B-splines (16 nodes a point), convolved with the potential, and the
potential and its gradient are read off the same splines, since push = ½ ∇mass: one forward and one inverse real
transform a step. The spectrum is multiplied by the influence function of Hockney & Eastwood (1988), which undoes the
splines with the least error of the forces, on a zero-padded grid, so nothing is periodic. What a point feels of
itself through the grid depends on its place within its cell alone; it is subtracted. Subtracting the
potential's value at the far corner before the transform, and adding it back in closed form, keeps float32 exact where
all points lie within 1e-4.

Relative errors (norm of the difference over norm of the exact sum) on 4 000 points, float32, with openTSNE 1.0.4's
default on the same points beside them (`benchmarks/accuracy.py` prints the table):

========  ====  =======  =======  =====================  ===============
points    span  force    mass     force, tolerance=1e-2  force, openTSNE
========  ====  =======  =======  =====================  ===============
uniform   1e-4  1.9e-05  3.5e-09  1.9e-05                8.9e-16
uniform   5     5.2e-05  4.2e-07  9.7e-05                9.2e-06
uniform   60    3.0e-03  2.2e-05  6.8e-03                4.0e-02
uniform   150   3.6e-03  4.2e-05  8.2e-03                4.7e-02
clusters  1e-4  2.8e-05  1.4e-09  3.6e-05                1.3e-15
clusters  5     2.2e-04  2.2e-06  4.2e-04                2.5e-05
clusters  60    9.7e-04  1.3e-05  2.2e-03                1.4e-02
clusters  150   2.3e-03  2.1e-05  5.2e-03                3.0e-02
========  ====  =======  =======  =====================  ===============

The spacing is then 0.3. With more points it is coarser, see `default_spacing`, and the error of a force larger: ask for
a `tolerance` where that matters. `tests/engine/test_radial_sum.py` holds the bounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .. import backend
from ..fused import grid as fused_grid
from ..kernel import Gaussian, LogRepulsion, RationalRepulsion
from ..reductions import bounding_box
from . import _splines as splines
from ._influence import Influence, influence, length_scale

MIN_CELLS = 24  # grid cells along the longest side, at least: finer than needed wherever the potential is smooth
MAX_CELLS = 2048  # and at most: beyond, the spacing grows instead of the memory
MAX_GRIDS = 8  # private to ranges of points while spreading
GATHER_ROWS = 4096
FFT_LINES = 64  # lines of the grid that are transformed together
SKEW = 8  # entries after each line of the spectrum: lines a power of two apart push each other out of the cache
LARGEST = 1e18  # a side beyond it, or one that is not a number, is a run that diverged
CUSP_SPACING = 0.35  # of the distance at which UMAP's force is clipped: 0.2 for min_dist = 0.5
GAUSSIAN_SPACING = 0.35  # of the square root of sigma, at most
LOG_SPACING, LOG_CELLS = 120.0, 10_000  # softenings of a logarithmic potential, up to that many cells
MAX_CACHED = 1 << 23  # entries of all transforms kept, 32 MB
_influences: dict[tuple, Influence] = {}  # of this process: the next run asks for the same ones


def default_spacing(n_obs: int) -> float:
    """Grid spacing by number of points: of many, each feels a smaller share of what comes from its own cell.

    Above 200 000 the grid is a small share of a step, and its error is kept below that of openTSNE's grid.
    """
    return 0.3 if n_obs < 5_000 else 0.5 if n_obs < 20_000 else 0.7 if n_obs < 200_000 else 0.55


def spacing_for(tolerance: float) -> float:
    """Spacing that keeps the relative force error below `tolerance`; it grows as spacing⁴, to 2.8e-2 at 0.5."""
    if not 0 < tolerance < 1:
        raise ValueError(f"`tolerance` is a relative error between 0 and 1; got {tolerance!r}.")
    return min(1.0, 0.5 * (tolerance / 3.5e-2) ** 0.25)


def coarsest_spacing(potential, n_obs: int, tolerance: float | None) -> float:
    """The spacing for a potential.

    UMAP's has a cusp of its own size, whatever the number of points; a Gaussian is blurred by what a t-SNE of many
    cells does not feel. A logarithmic one has no size; its softening is chosen by the distances of the points. Of
    many points the spacing stays the same share of the layout, since each feels its near ones less.
    """
    if isinstance(potential, RationalRepulsion):
        return CUSP_SPACING * potential.clip_distance
    if isinstance(potential, LogRepulsion):
        return LOG_SPACING * potential.softening * max(1.0, (n_obs / LOG_CELLS) ** 0.5)
    spacing = default_spacing(n_obs) if tolerance is None else spacing_for(tolerance)
    if isinstance(potential, Gaussian):
        spacing = min(spacing, GAUSSIAN_SPACING)
    return spacing * min(1.0, length_scale(potential))


def grid_shape(extent: np.ndarray, coarsest: float) -> tuple[float, tuple[int, int]]:
    """Spacing and number of nodes (rows, columns) for a box.

    The spacing is the coarsest one divided by a power of two, or times one of the fourth root of two where it would
    take too many nodes, and the node counts grow in steps of up to an eighth, so that the transform of the potential,
    which depends on both, can be kept from step to step.
    """
    longest = float(extent.max())
    finer = 0
    while finer < 60 and longest < MIN_CELLS * coarsest * 0.5**finer:
        finer += 1
    spacing = coarsest * 0.5**finer
    if longest > MAX_CELLS * spacing:
        spacing *= 2.0 ** (math.ceil(4 * math.log2(longest / (MAX_CELLS * spacing))) / 4)
    if finer:
        return spacing, (2 * MIN_CELLS + 16, 2 * MIN_CELLS + 16)
    return spacing, tuple(_grown(side / spacing + 5) for side in extent[::-1])


def _grown(count: float) -> int:
    step = max(32, 2 ** (int(np.log2(count)) - 3))
    return int(np.ceil(count / step)) * step


class _Buffers:
    """Memory that is kept from step to step: fresh pages would cost more than filling them."""

    def __init__(self) -> None:
        self._tensors: dict[str, Tensor] = {}

    def get(self, name: str, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
        if name not in self._tensors or self._tensors[name].shape != shape:
            self._tensors[name] = torch.empty(shape, dtype=dtype)
        return self._tensors[name]


class FftSum:
    """A plan of grid sums: owns the transforms of its potential."""

    def __init__(self, potential, *, tolerance: float | None, device: torch.device, dtype: torch.dtype) -> None:
        self.potential, self.tolerance, self.device, self.dtype = potential, tolerance, device, dtype
        self._buffers, self._ones = _Buffers(), None

    def influence(self, spacing: float, nodes: tuple[int, int]) -> Influence:
        key = (self.potential, spacing, nodes, self.device, self.dtype)
        if key not in _influences:
            while sum(kind.transform.numel() for kind in _influences.values()) > MAX_CACHED:
                _influences.pop(next(iter(_influences)))
            _influences[key] = influence(*key)
        return _influences[key]

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
        coarsest = coarsest_spacing(self.potential, n_sources, self.tolerance)
        spacing, nodes = grid_shape(upper - lower, coarsest)
        kind = self.influence(spacing, nodes)
        if backend.is_fused(sources):
            grids = _spread_fused(sources, weights, lower, spacing, nodes, self._buffers)
            potential = _convolve_fused(grids, kind, self._buffers)
        else:
            density = splines.spread(sources, weights, lower, spacing, nodes)
            potential = _convolve_torch(density, kind)
        return GridField(self, sources, weights, lower, upper, spacing, potential, kind, total_weight)


Field = Callable[[Tensor, "int | None"], tuple[Tensor, Tensor]]


def _nowhere(targets: Tensor, first: int | None) -> tuple[Tensor, Tensor]:
    """The field of sources that are not all finite."""
    return targets.new_full((targets.shape[0],), torch.nan), torch.full_like(targets, torch.nan)


@dataclass(frozen=True)
class GridField:
    """The potential of fixed sources on a grid, and all that reading it takes."""

    plan: FftSum
    sources: Tensor  # (m, 2)
    weights: Tensor  # (m,)
    lower: np.ndarray  # the box the grid covers
    upper: np.ndarray
    spacing: float
    potential: Tensor  # (rows, columns)
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
    """Plan grid sums of a smooth, decreasing potential in 2-D.

    `tolerance` is the relative force error to keep (see the table above); None chooses the spacing by the number of
    points.
    """
    if n_components != 2:
        raise ValueError(
            f"The grid sum works in 2 dimensions; got n_components={n_components}. Use the exact sum 'torch'."
        )
    return FftSum(potential, tolerance=tolerance, device=device, dtype=dtype)


def _spread_fused(points, weights, lower, spacing, nodes, buffers) -> Tensor:
    # by the size of the problem alone; a grid of its own is worth clearing and adding where it takes enough points
    n_grids = min(MAX_GRIDS, max(2, 4 * points.shape[0] // (nodes[0] * nodes[1])))
    bounds = backend.chunk_bounds(points.shape[0], -(-points.shape[0] // n_grids))
    grids = buffers.get("grids", (len(bounds), *nodes))
    backend.parallel(
        fused_grid.spread, bounds, backend.flat(points), backend.as_array(weights),
        lower.astype(np.float32), np.float32(1 / spacing), grids.numpy(),
    )  # fmt: skip
    return grids


def _convolve_fused(grids: Tensor, kind: Influence, buffers) -> Tensor:
    """The potential of the sum of some densities, (grids, rows, columns).

    Both transforms of a block of columns are done while it is in the cache; lines that are zero or not read are left
    out. The blocks are the same for any number of threads.
    """
    _, rows, columns = grids.shape
    density = buffers.get("density", (rows, columns))
    spectrum = buffers.get("spectrum", (kind.transform.shape[0], rows + SKEW), torch.complex64)[:, :rows]
    potential = torch.empty(rows, columns)  # outlives the next step where a field is kept

    def along_rows(chunk: int, begin: int, end: int) -> None:
        fused_grid.add_grids(chunk, begin, end, grids.numpy(), density.numpy())
        spectrum[:, begin:end] = torch.fft.rfft(density[begin:end], n=kind.padded[1]).T

    def along_columns(chunk: int, begin: int, end: int) -> None:
        block = torch.fft.fft(spectrum[begin:end], n=kind.padded[0]).mul_(kind.transform[begin:end])
        spectrum[begin:end] = torch.fft.ifft(block)[:, :rows]

    def back_along_rows(chunk: int, begin: int, end: int) -> None:
        potential[begin:end] = torch.fft.irfft(spectrum[:, begin:end].T, n=kind.padded[1])[:, :columns]

    for lines, function in ((rows, along_rows), (spectrum.shape[0], along_columns), (rows, back_along_rows)):
        backend.parallel(function, backend.chunk_bounds(lines, FFT_LINES))
    return potential


def _gather_fused(points: Tensor, own: Tensor | None, field: GridField) -> tuple[Tensor, Tensor]:
    mass, push = torch.empty(points.shape[0]), torch.empty(points.shape)
    weights = np.empty(0, np.float32) if own is None else backend.as_array(own)
    backend.parallel(
        fused_grid.gather, backend.chunk_bounds(points.shape[0], GATHER_ROWS), backend.flat(points),
        weights, field.lower.astype(np.float32), np.float32(1 / field.spacing), field.potential.numpy(),
        backend.flat(field.influence.felt), np.float32(field.influence.shift), np.float32(field.total_weight),
        mass.numpy(), backend.flat(push),
    )  # fmt: skip
    return mass, push


def _convolve_torch(density: Tensor, kind: Influence) -> Tensor:
    spectrum = torch.fft.rfft2(density, s=kind.padded).mul_(kind.transform.T)
    return torch.fft.irfft2(spectrum, s=kind.padded)[: density.shape[0], : density.shape[1]].contiguous()
