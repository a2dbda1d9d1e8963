"""How fine the grid is, and how large."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from ..kernel import width_of

# By number of dimensions. Grid cells along the longest side, at least, finer than needed where the potential is smooth,
# and at most, beyond which the spacing grows instead of the memory; of all axes together, at most; steps they grow by.
MIN_CELLS = {1: 24, 2: 24, 3: 16}
MAX_CELLS = {1: 1 << 20, 2: 2048, 3: 2048}
MAX_NODES = 1 << 23  # 2²⁶ of the transform in 3-D
STEP = {1: 32, 2: 32, 3: 16}
LINE_SPACING = 0.2  # in 1-D, where nodes cost next to nothing
ERROR = {1: 6e-2, 2: 3.5e-2, 3: 3.5e-2}  # bounds that of the force at a spacing of 0.5


def default_spacing(n_obs: int, n_components: int) -> float:
    """Grid spacing by number of points: of many, each feels a smaller share of what comes from its own cell.

    Above 200 000 the grid is a small share of a step, and its error is kept below that of openTSNE's grid.
    """
    if n_components == 1:
        return LINE_SPACING
    return 0.3 if n_obs < 5_000 else 0.5 if n_obs < 20_000 else 0.7 if n_obs < 200_000 else 0.55


def spacing_for(tolerance: float, n_components: int) -> float:
    """Spacing that keeps the relative force error below `tolerance`; it grows as spacing⁴."""
    if not 0 < tolerance < 1:
        raise ValueError(f"`tolerance` is a relative error between 0 and 1; got {tolerance!r}.")
    return min(1.0, 0.5 * (tolerance / ERROR[n_components]) ** 0.25)


@runtime_checkable
class GridPotential(Protocol):
    """A potential that knows how a grid shows it; any other is taken as smooth (`Smooth`)."""

    def value(self, sq_dist: Tensor) -> Tensor: ...

    def slope(self, sq_dist: Tensor) -> Tensor: ...

    def grid_spacing(self, usual: float, n_obs: int, n_components: int) -> float:
        """The coarsest spacing for it, given the usual one, of Student's kernel."""

    def resolved(self, spacing: float) -> GridPotential:
        """As a grid can show it: samples of a peak that lies between them would miss or exaggerate it."""


@dataclass(frozen=True)
class Smooth:
    """A potential that says nothing of itself: its grid is as fine as it is narrow at 0."""

    potential: Any

    def value(self, sq_dist: Tensor) -> Tensor:
        return self.potential.value(sq_dist)

    def slope(self, sq_dist: Tensor) -> Tensor:
        return self.potential.slope(sq_dist)

    def grid_spacing(self, usual: float, n_obs: int, n_components: int) -> float:
        return usual * min(1.0, width_of(self.potential))

    def resolved(self, spacing: float) -> Smooth:
        return self


def on_grid(potential: Any) -> GridPotential:
    """A potential with what a grid asks of it."""
    return potential if isinstance(potential, GridPotential) else Smooth(potential)


def coarsest_spacing(potential: Any, n_obs: int, tolerance: float | None, n_components: int) -> float:
    """The spacing for a potential."""
    usual = default_spacing(n_obs, n_components) if tolerance is None else spacing_for(tolerance, n_components)
    return on_grid(potential).grid_spacing(usual, n_obs, n_components)


def grid_shape(extent: np.ndarray, coarsest: float) -> tuple[float, tuple[int, ...]]:
    """Spacing and number of nodes (..., rows, columns) for a box.

    The spacing is the coarsest one divided by a power of two, or times one of the fourth root of two where it would
    take too many nodes, and the node counts grow in steps of up to an eighth, so that the transform of the potential,
    which depends on both, can be kept from step to step.
    """
    longest, least = float(extent.max()), MIN_CELLS[len(extent)]
    finer = 0
    while finer < 60 and longest < least * coarsest * 0.5**finer:
        finer += 1
    spacing, most = coarsest * 0.5**finer, MAX_CELLS[len(extent)]
    if longest > most * spacing:
        spacing *= 2.0 ** (math.ceil(4 * math.log2(longest / (most * spacing))) / 4)
    if finer:
        return spacing, (_grown(2 * least + 5, len(extent)),) * len(extent)
    nodes = _nodes(extent, spacing)
    while np.prod(nodes) > MAX_NODES:
        spacing *= 2**0.125
        nodes = _nodes(extent, spacing)
    return spacing, nodes


def _nodes(extent: np.ndarray, spacing: float) -> tuple[int, ...]:
    return tuple(_grown(side / spacing + 5, len(extent)) for side in extent[::-1])


def _grown(count: float, n_axes: int) -> int:
    step = max(STEP[n_axes], 2 ** (int(np.log2(count)) - 3))
    return int(np.ceil(count / step)) * step
