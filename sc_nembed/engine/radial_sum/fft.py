"""Radial sums in 2-D by one convolution on a regular grid.

Weights are spread on the grid with cubic B-splines (16 nodes a point), convolved with the potential, and the potential
and its gradient are read off the same splines, since push = ½ ∇mass: one forward and one inverse real transform a step.
The potential's transform is divided by the squared transform of the spline (smooth particle-mesh Ewald, Essmann et al.
1995), on a zero-padded grid, so nothing is periodic. What a point feels of itself through the grid depends on its place
within its cell alone; it is subtracted exactly. Subtracting the potential's value at the far corner before the
transform, and adding it back in closed form, keeps float32 exact where all points lie within 1e-4.

Relative errors (norm of the difference over norm of the exact sum) on 4 000 points, float32, with openTSNE 1.0.4's
default on the same points beside them:

========  ====  =======  =======  =====================  ===============
points    span  force    mass     force, tolerance=1e-2  force, openTSNE
========  ====  =======  =======  =====================  ===============
uniform   1e-4  4.8e-05  3.5e-09  6.2e-05                9.0e-16
uniform   5     7.0e-06  9.1e-08  6.4e-06                9.1e-06
uniform   60    3.0e-03  2.1e-05  6.7e-03                3.8e-02
uniform   150   3.5e-03  4.2e-05  8.1e-03                4.6e-02
clusters  1e-4  8.0e-05  1.4e-09  9.3e-05                1.4e-15
clusters  5     2.7e-05  1.4e-07  7.1e-06                2.5e-05
clusters  60    1.0e-03  1.4e-05  2.2e-03                1.5e-02
clusters  150   2.3e-03  2.1e-05  5.2e-03                3.0e-02
========  ====  =======  =======  =====================  ===============

From 5 000 points on the grid is coarser: an error of a few per cent of the smallest forces no longer moves anything.
`tests/engine/test_radial_sum.py` holds the bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.fft
import torch
from torch import Tensor

from .. import backend
from ..fused import grid as fused_grid
from ..reductions import bounding_box

MIN_CELLS = 64  # grid cells along the longest side, at least
MAX_CELLS = 2048  # and at most: beyond, the spacing grows instead of the memory
ROWS_PER_GRID = 24_576  # points that share a private grid while spreading
MAX_GRIDS = 8
GATHER_ROWS = 4096
MAX_CACHED = 1 << 24  # entries of all transforms kept, 64 MB


def default_spacing(n_obs: int) -> float:
    """Grid spacing by number of points: the more points, the less a local error moves any of them."""
    return 0.3 if n_obs < 5_000 else 0.5 if n_obs < 20_000 else 0.7 if n_obs < 200_000 else 1.0


def spacing_for(tolerance: float) -> float:
    """Spacing that keeps the relative force error below `tolerance`; it grows as spacing⁴, to 2.8e-2 at 0.5."""
    if not 0 < tolerance < 1:
        raise ValueError(f"`tolerance` is a relative error between 0 and 1; got {tolerance!r}.")
    return min(1.0, 0.5 * (tolerance / 3.5e-2) ** 0.25)


def grid_shape(extent: np.ndarray, coarsest: float) -> tuple[float, tuple[int, int]]:
    """Spacing and number of nodes (rows, columns) for a box.

    The spacing is the coarsest one divided by a power of two, and the node counts grow in steps of up to an eighth, so
    that the transform of the potential, which depends on both, can be kept from step to step.
    """
    longest = float(extent.max())
    finer = 0
    while finer < 200 and longest < MIN_CELLS * coarsest * 0.5**finer:
        finer += 1
    spacing = max(coarsest * 0.5**finer, longest / MAX_CELLS)
    if finer:
        return spacing, (2 * MIN_CELLS + 16, 2 * MIN_CELLS + 16)
    return spacing, tuple(_grown(side / spacing + 5) for side in extent[::-1])


def _grown(count: float) -> int:
    step = max(32, 2 ** (int(np.log2(count)) - 3))
    return int(np.ceil(count / step)) * step


@dataclass(frozen=True)
class Influence:
    """Transform of the potential over that of the splines, for one spacing and padded shape."""

    transform: Tensor  # (padded rows, padded columns // 2 + 1)
    padded: tuple[int, int]
    near: Tensor  # (4, 4) what one point's nodes do to each other, 0 … 3 nodes apart
    shift: float  # the constant taken off the potential before the transform


def influence(potential, spacing: float, nodes: tuple[int, int], device: torch.device, dtype: torch.dtype) -> Influence:
    """The influence function that minimises the force error for this spline (Hockney & Eastwood 1988, section 8-3).

    Σₘ U(k+m)² R(k+m) / (Σₘ U(k+m)²)² over the aliases m of a frequency k, with U the spline's transform, sinc⁴, and R
    the potential's, taken from samples at half the spacing. All functions are even, so cosine transforms of one
    quadrant do.
    """
    half = [scipy.fft.next_fast_len(count + 4, real=True) for count in nodes]  # half of the padded size
    sq_offset = [(np.arange(2 * m + 1) * (spacing / 2)) ** 2 for m in half]
    value = potential.value(torch.from_numpy(sq_offset[0][:, None] + sq_offset[1][None, :])).numpy()
    shift = float(value.min())
    transform = scipy.fft.dctn(value - shift, type=1, overwrite_x=True, workers=backend.current_n_jobs())
    (rows, row_aliases), (columns, column_aliases) = (_spline_transforms(m) for m in half)
    transform *= rows[:, None] / 4
    transform *= columns
    transform = transform[: half[0] + 1] + transform[half[0] :][::-1]  # frequencies the grid cannot tell apart
    transform = transform[:, : half[1] + 1] + transform[:, half[1] :][:, ::-1]
    transform /= row_aliases[:, None]
    transform /= column_aliases
    near = scipy.fft.idctn(transform, type=1)[:4, :4]
    # all rows and half the columns: the layout of a real transform
    mirrored = np.concatenate([transform, transform[-2:0:-1]])
    tensors = [torch.as_tensor(np.ascontiguousarray(array)).to(device, dtype) for array in (mirrored, near)]
    return Influence(tensors[0], (2 * half[0], 2 * half[1]), tensors[1], shift)


def _spline_transforms(m: int) -> tuple[np.ndarray, np.ndarray]:
    """U² = sinc⁸ up to twice the grid's frequencies, (2m + 1,), and the square of its sum over aliases, (m + 1,)."""
    wave = np.arange(2 * m + 1) / (2 * m)  # cycles per node
    phase = 2 * np.pi * wave[: m + 1]
    aliases = (2416 + 2382 * np.cos(phase) + 240 * np.cos(2 * phase) + 2 * np.cos(3 * phase)) / 5040
    return np.sinc(wave) ** 8, aliases**2


class FftSum:
    """A plan of grid sums: owns the transforms of its potential."""

    def __init__(self, potential, *, tolerance: float | None, device: torch.device, dtype: torch.dtype) -> None:
        self.potential, self.tolerance, self.device, self.dtype = potential, tolerance, device, dtype
        self._influences: dict[tuple, Influence] = {}
        # memory of its own: a fresh grid each step would cost more than filling it
        self._grids: dict[tuple[int, ...], np.ndarray] = {}

    def influence(self, spacing: float, nodes: tuple[int, int]) -> Influence:
        key = (spacing, nodes)
        if key not in self._influences:
            while sum(kind.transform.numel() for kind in self._influences.values()) > MAX_CACHED:
                self._influences.pop(next(iter(self._influences)))
            self._influences[key] = influence(self.potential, spacing, nodes, self.device, self.dtype)
        return self._influences[key]

    def grids(self, shape: tuple[int, ...]) -> np.ndarray:
        if shape not in self._grids:
            self._grids = {shape: np.empty(shape, np.float32)}
        return self._grids[shape]

    def field(self, sources: Tensor, weights: Tensor | None = None) -> Field:
        return self._field(sources, weights, *bounding_box(sources))

    def __call__(self, targets, sources, first, weights=None):
        lower, upper = bounding_box(sources)
        if first is None:
            lower_targets, upper_targets = bounding_box(targets)
            lower, upper = np.minimum(lower, lower_targets), np.maximum(upper, upper_targets)
        return self._field(sources, weights, lower, upper)(targets, first)

    def _field(self, sources: Tensor, weights: Tensor | None, lower: np.ndarray, upper: np.ndarray) -> Field:
        if not np.isfinite(upper - lower).all():
            return _nowhere  # a run that diverged; its checks see it by the values
        n_sources = sources.shape[0]
        if weights is None:
            weights, total_weight = sources.new_ones(n_sources), float(n_sources)
        else:
            total_weight = float(weights.double().sum())
        coarsest = default_spacing(n_sources) if self.tolerance is None else spacing_for(self.tolerance)
        spacing, nodes = grid_shape(upper - lower, coarsest)
        low = lower - 1.5 * spacing  # one node before the first point's cell, half a cell to spare for rounding
        kind = self.influence(spacing, nodes)
        if backend.is_fused(sources):
            density = _spread_fused(sources, weights, low, spacing, nodes, self.grids)
            potential = torch.from_numpy(_convolve_scipy(density, kind))
        else:
            density = _spread_torch(sources, weights, low, spacing, nodes)
            potential = _convolve_torch(density, kind)
        return GridField(self, sources, weights, lower, upper, low, spacing, potential, kind, total_weight)


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
    low: np.ndarray  # where node (0, 0) lies
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
        read = _gather_fused if backend.is_fused(targets) else _gather_torch
        return read(targets, own, self)


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


def _spread_fused(points, weights, low, spacing, nodes, make_grids) -> np.ndarray:
    n_grids = min(MAX_GRIDS, max(2, -(-points.shape[0] // ROWS_PER_GRID)))
    bounds = backend.chunk_bounds(points.shape[0], -(-points.shape[0] // n_grids))
    grids, total = make_grids((len(bounds), *nodes)), np.empty(nodes, np.float32)
    backend.parallel(
        fused_grid.spread, bounds, backend.as_array(points), backend.as_array(weights),
        low.astype(np.float32), np.float32(1 / spacing), grids,
    )  # fmt: skip
    backend.parallel(fused_grid.add_grids, backend.chunk_bounds(nodes[0], 64), grids, total)
    return total


def _convolve_scipy(density: np.ndarray, kind: Influence) -> np.ndarray:
    """Rows that are zero or not read are not transformed; scipy's threads sleep when idle and never change the bits."""
    workers = backend.current_n_jobs()
    rows = density.shape[0]
    spectrum = scipy.fft.rfft(density, kind.padded[1], axis=1, workers=workers)
    spectrum = scipy.fft.fft(spectrum, kind.padded[0], axis=0, overwrite_x=True, workers=workers)
    spectrum *= kind.transform.numpy()
    spectrum = scipy.fft.ifft(spectrum, axis=0, overwrite_x=True, workers=workers)[:rows]
    return scipy.fft.irfft(spectrum, kind.padded[1], axis=1, overwrite_x=True, workers=workers)


def _gather_fused(points: Tensor, own: Tensor | None, field: GridField) -> tuple[Tensor, Tensor]:
    mass, push = torch.empty(points.shape[0]), torch.empty(points.shape)
    weights = np.empty(0, np.float32) if own is None else backend.as_array(own)
    backend.parallel(
        fused_grid.gather, backend.chunk_bounds(points.shape[0], GATHER_ROWS), backend.as_array(points), weights,
        field.low.astype(np.float32), np.float32(1 / field.spacing), field.potential.numpy(),
        field.influence.near.numpy(), np.float32(field.influence.shift), np.float32(field.total_weight),
        mass.numpy(), push.numpy(),
    )  # fmt: skip
    return mass, push


def _splines(offset: Tensor) -> tuple[Tensor, Tensor]:
    """Cubic B-spline weights (n, 4) of the nodes around points at `offset` ∈ [0, 1), and their derivatives."""
    rest = 1 - offset
    value = [rest**3 / 6, 2 / 3 - offset**2 + offset**3 / 2, 2 / 3 - rest**2 + rest**3 / 2, offset**3 / 6]
    slope = [-(rest**2) / 2, 1.5 * offset**2 - 2 * offset, 2 * rest - 1.5 * rest**2, offset**2 / 2]
    return torch.stack(value, 1), torch.stack(slope, 1)


def _stencil(points, low, spacing, n_columns):
    """Flat indices (n, 4, 4) of the nodes of each point, rows first, and the splines of both axes."""
    place = (points - torch.as_tensor(low, dtype=points.dtype, device=points.device)) / spacing
    cell = place.floor()
    node = cell.long()[:, :, None] + torch.arange(4, device=points.device)  # (n, 2, 4)
    (wx, dx), (wy, dy) = (_splines(place[:, axis] - cell[:, axis]) for axis in (0, 1))
    return node[:, 1, :, None] * n_columns + node[:, 0, None, :], wx, dx, wy, dy


def _spread_torch(points, weights, low, spacing, nodes) -> Tensor:
    flat, wx, _, wy, _ = _stencil(points, low, spacing, nodes[1])
    amount = weights[:, None, None] * wy[:, :, None] * wx[:, None, :]
    return points.new_zeros(nodes[0] * nodes[1]).index_add_(0, flat.reshape(-1), amount.reshape(-1)).reshape(nodes)


def _convolve_torch(density: Tensor, kind: Influence) -> Tensor:
    spectrum = torch.fft.rfft2(density, s=kind.padded).mul_(kind.transform)
    return torch.fft.irfft2(spectrum, s=kind.padded)[: density.shape[0], : density.shape[1]].contiguous()


def _gather_torch(points: Tensor, own: Tensor | None, field: GridField) -> tuple[Tensor, Tensor]:
    flat, wx, dx, wy, dy = _stencil(points, field.low, field.spacing, field.potential.shape[1])
    node = field.potential.reshape(-1)[flat]  # (n, 4, 4)
    others = field.total_weight
    if own is not None:  # take off what the point itself put on its nodes
        apart = (torch.arange(4)[:, None] - torch.arange(4)[None, :]).abs().to(points.device)
        near = field.influence.near[apart][:, :, apart]  # (row, row', column, column')
        node = node - own[:, None, None] * torch.einsum("nb,na,bfae->nfe", wy, wx, near)
        others = others - own
    mass = torch.einsum("nb,na,nba->n", wy, wx, node)
    push = torch.stack([torch.einsum("nb,na,nba->n", wy, dx, node), torch.einsum("nb,na,nba->n", dy, wx, node)], 1)
    return mass + field.influence.shift * others, push / (2 * field.spacing)
