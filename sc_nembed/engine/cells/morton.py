"""Many cells are embedded in the order of a space-filling curve, so that neighbors lie near each other in memory.

Their gathers then meet the cache.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..compute import backend
from ..fused import morton as fused_morton
from ..graph import AffinityMatrix, KnnGraph

MANY_CELLS = 200_000
ROWS = 1 << 15
STRETCH = 2048  # cells, about the ranges of the attraction


def morton_order(points: Tensor) -> Tensor:
    """Indices (n,) that put points (n, 2) in the order of a Morton curve through 65 536 by 65 536 boxes."""
    lower, upper = points.amin(0), points.amax(0)
    boxes = ((points - lower) / (upper - lower).clamp_min(1e-30) * 65_535).numpy().astype(np.uint64)
    codes = _spread_bits(boxes[:, 0]) | (_spread_bits(boxes[:, 1]) << np.uint64(1))
    return torch.from_numpy(np.argsort(codes, kind="stable"))


def by_degree(order: Tensor, degrees: Tensor) -> Tensor:
    """The order with cells of one degree side by side within short stretches: their loops then end as is expected."""
    stretch = torch.arange(len(order)) // STRETCH
    return order[torch.from_numpy(np.lexsort((degrees[order].numpy(), stretch.numpy())))]


def _spread_bits(values: np.ndarray) -> np.ndarray:
    """The 16 bits of each value with a 0 above each of them."""
    for shift, mask in ((8, 0x00FF00FF), (4, 0x0F0F0F0F), (2, 0x33333333), (1, 0x55555555)):
        values = (values | (values << np.uint64(shift))) & np.uint64(mask)
    return values


def reordered(source: KnnGraph | AffinityMatrix, order: Tensor) -> KnnGraph | AffinityMatrix:
    """The same graph of cells in another order."""
    rank = torch.empty(len(order), dtype=torch.int32)
    rank[order] = torch.arange(len(order), dtype=torch.int32)
    if isinstance(source, KnnGraph):
        indices = source.indices[order].long()
        return KnnGraph(torch.where(indices < 0, -1, rank[indices.clamp_min(0)]), source.distances[order])
    degrees = source.degrees()[order]
    indptr = torch.cat([degrees.new_zeros(1), degrees.cumsum(0)])
    indices, weights = torch.empty_like(source.indices), torch.empty_like(source.weights)
    backend.parallel(
        fused_morton.reorder, backend.chunk_bounds(len(order), ROWS),
        *(backend.as_array(part) for part in (source.indptr, source.indices, source.weights, order, rank, indptr)),
        indices.numpy(), weights.numpy(),
    )  # fmt: skip
    return AffinityMatrix(
        indptr, indices, weights, n_rows=source.n_rows, n_cols=source.n_cols, first_row=source.first_row,
        row_mass=source.row_mass[order], total=source.total,
    )  # fmt: skip
