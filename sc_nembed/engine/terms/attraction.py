"""Attraction along the edges of the input affinity: −Σᵢⱼ Pᵢⱼ log q(‖zᵢ − zⱼ‖²), P symmetric."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .. import backend
from ..fused import attraction as fused
from ..graph import AffinityMatrix
from ..kernel import Kernel, StudentT
from .force import Force

BLOCK_EDGES = 1 << 22  # edges held at once by the plain version
FUSED_ROWS = 1024


@dataclass(frozen=True)
class Attraction:
    """Attraction of every cell to its neighbors in P; the curvature is 4 Σⱼ pᵢⱼ (−d log q / du)."""

    matrix: AffinityMatrix
    kernel: Kernel

    def __call__(self, positions: Tensor, *, value: bool) -> Force:
        if backend.is_fused(positions) and isinstance(self.kernel, StudentT):
            return _fused(self.matrix, self.kernel, positions, value)
        return _plain(self.matrix, self.kernel, positions, value)


def _plain(matrix: AffinityMatrix, kernel: Kernel, positions: Tensor, value: bool) -> Force:
    gradient, curvature = torch.zeros_like(positions), positions.new_zeros(positions.shape[0])
    total = positions.new_zeros(())
    rows = torch.repeat_interleave(torch.arange(matrix.n_rows, device=positions.device), matrix.degrees())
    edges = zip(
        rows.split(BLOCK_EDGES), matrix.indices.split(BLOCK_EDGES), matrix.weights.split(BLOCK_EDGES), strict=True
    )
    for row, column, weight in edges:
        difference = positions[row] - positions[column.long()]
        sq_dist = (difference * difference).sum(1)
        weight = weight.to(positions.dtype)
        strength = -4 * weight * kernel.log_slope(sq_dist)
        gradient.index_add_(0, row, strength[:, None] * difference)
        curvature.index_add_(0, row, strength)
        if value:
            total = total - (weight * kernel.log_value(sq_dist)).sum()
    return Force(gradient, total if value else None, curvature)


def _fused(matrix: AffinityMatrix, kernel: StudentT, positions: Tensor, value: bool) -> Force:
    points = backend.as_array(positions)
    edges = (
        backend.as_array(matrix.indptr).view(np.uint64),
        backend.as_array(matrix.indices).view(np.uint32),
        backend.as_array(matrix.weights),
    )
    gradient, curvature = torch.empty(positions.shape), torch.empty(positions.shape[0])
    bounds = backend.chunk_bounds(matrix.n_rows, FUSED_ROWS)
    kernel_force = fused.student_2d if positions.shape[1] == 2 else fused.student_any_d
    dof = float(kernel.dof)
    backend.parallel(kernel_force, bounds, *edges, points, dof, gradient.numpy(), curvature.numpy())
    total = None
    if value:
        partial = np.empty(len(bounds))
        backend.parallel(fused.student_value, bounds, *edges, points, dof, partial)
        total = torch.tensor(partial.sum())
    return Force(gradient, total, curvature)
