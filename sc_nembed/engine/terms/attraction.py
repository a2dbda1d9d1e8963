"""Attraction along the edges of the input affinity: −Σᵢⱼ Pᵢⱼ log q(‖zᵢ − zⱼ‖²), P symmetric."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..compute import backend
from ..fused import attraction as fused_attraction
from ..fused.kernels import KINDS, shape_of
from ..fused.step import STEPS
from ..graph import AffinityMatrix
from ..kernel import Kernel
from .term import Force, Term

BLOCK_EDGES = 1 << 22  # edges held at once by the plain version
FUSED_ROWS, MOST_RANGES = 2048, 128  # a call of a kernel takes microseconds


@dataclass(frozen=True)
class Attraction(Term):
    """Attraction of every cell to its neighbors in P; the curvature is 4 Σⱼ pᵢⱼ (−d log q / du)."""

    matrix: AffinityMatrix
    kernel: Kernel

    @cached_property
    def _edges(self) -> tuple[np.ndarray, ...]:
        return unsigned(self.matrix)

    def moves(self, positions: Tensor) -> bool:
        """Whether `move` takes these positions."""
        return backend.is_fused(positions) and positions.shape[1] == 2 and type(self.kernel) in KINDS

    def fused_step(self, name: str, positions: Tensor) -> Callable[..., Any] | None:
        return self.move if name == "nesterov" and self.moves(positions) else None

    def move(
        self, positions: Tensor, velocity: Tensor, weight: float, other_weight: float, other: Force, rate: float,
        momentum: float, max_step: float,
    ) -> tuple[Tensor, Tensor, np.ndarray]:  # fmt: skip
        """The step of `PreconditionedNesterov` under this force and another one, in the pass that evaluates this one.

        New positions and velocity, and the sides (ranges, 2, 2) of the positions' boxes.
        """
        bounds = ranges(positions.shape[0])
        moved, moving = torch.empty(positions.shape), torch.empty(positions.shape)
        sides = np.empty((len(bounds), 2, 2), np.float32)
        points = backend.pairs(positions)
        backend.parallel(
            STEPS[KINDS[type(self.kernel)]], bounds, *self._edges, points, shape_of(self.kernel),
            backend.flat(positions), backend.flat(velocity), np.float32(weight), np.float32(other_weight),
            backend.flat(other.gradient), backend.as_array(other.curvature), np.float32(rate), np.float32(momentum),
            np.float32(max_step), backend.flat(moved), backend.flat(moving), sides,
        )  # fmt: skip
        return moved, moving, sides

    def look(self, positions: Tensor) -> Force:
        """Force and value, in one pass where `moves`; the last bits of the force may differ from those of a call."""
        return _valued(self._edges, self.kernel, positions) if self.moves(positions) else self(positions, value=True)

    def __call__(self, positions: Tensor, *, value: bool) -> Force:
        if backend.is_fused(positions) and type(self.kernel) in KINDS:
            return _fused(self._edges, self.kernel, positions, value)
        return _plain(self.matrix, self.kernel, positions, value)


def _plain(matrix: AffinityMatrix, kernel: Kernel, positions: Tensor, value: bool) -> Force:
    gradient, curvature = torch.zeros_like(positions), positions.new_zeros(positions.shape[0])
    total = positions.new_zeros(())
    parts = (part.split(BLOCK_EDGES) for part in (matrix.rows(), matrix.indices, matrix.weights))
    for row, column, weight in zip(*parts, strict=True):
        difference = positions[row] - positions[column.long()]
        sq_dist = (difference * difference).sum(1)
        weight = weight.to(positions.dtype)
        strength = -4 * weight * kernel.log_slope(sq_dist)
        gradient.index_add_(0, row, strength[:, None] * difference)
        curvature.index_add_(0, row, strength)
        if value:
            total = total - (weight * kernel.log_value(sq_dist)).sum()
    return Force(gradient, total if value else None, curvature)


def _fused(edges: tuple[np.ndarray, ...], kernel: Kernel, positions: Tensor, value: bool) -> Force:
    kind, points = KINDS[type(kernel)], backend.as_array(positions)
    if positions.shape[1] == 2:
        force_of, _ = fused_attraction.TWO_D[kind]
        common = (*edges, backend.pairs(positions), shape_of(kernel))
    else:
        force_of, common = fused_attraction.force_any_d, (*edges, points, kind, shape_of(kernel))
    gradient, curvature = torch.empty(positions.shape), torch.empty(len(positions))
    bounds = ranges(len(positions))
    backend.parallel(force_of, bounds, *common, backend.flat(gradient), curvature.numpy())
    if not value:
        return Force(gradient, None, curvature)
    if positions.shape[1] == 2:  # a pass of its own, so that the force has the same bits whether it is looked at or not
        return Force(gradient, _valued(edges, kernel, positions).value, curvature)
    partial = np.empty(len(bounds))
    backend.parallel(fused_attraction.value_any_d, bounds, *common, partial)
    return Force(gradient, torch.tensor(partial.sum()), curvature)


def _valued(edges: tuple[np.ndarray, ...], kernel: Kernel, positions: Tensor) -> Force:
    """Force and value in one pass, in 2-D."""
    gradient, curvature = torch.empty(positions.shape), torch.empty(len(positions))
    bounds = ranges(len(positions))
    partial = np.empty(len(bounds))
    backend.parallel(
        fused_attraction.TWO_D[KINDS[type(kernel)]][1], bounds, *edges, backend.pairs(positions),
        shape_of(kernel), backend.flat(gradient), curvature.numpy(), partial,
    )  # fmt: skip
    return Force(gradient, torch.tensor(partial.sum()), curvature)


def ranges(n_rows: int) -> list[tuple[int, int]]:
    return backend.chunk_bounds(n_rows, max(FUSED_ROWS, n_rows // MOST_RANGES))


def unsigned(matrix: AffinityMatrix) -> tuple[np.ndarray, ...]:
    """The CSR arrays for the numba twins; cells below 65 536 take two bytes, which the loop reads faster than four."""
    indices = backend.as_array(matrix.indices)
    narrow = matrix.n_cols <= np.iinfo(np.uint16).max + 1
    return (
        backend.as_array(matrix.indptr).view(np.uint64),
        indices.astype(np.uint16) if narrow else indices.view(np.uint32),
        backend.as_array(matrix.weights).astype(np.float32, copy=False),
    )
