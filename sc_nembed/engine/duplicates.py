"""Equal rows embedded once: the distinct rows, how many cells each stands for, and the way back to all cells."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from .graph import AffinityMatrix


@dataclass(frozen=True, slots=True)
class Distinct:
    """The rows that differ.

    Attributes
    ----------
    first
        (m,) the first cell of each kind, in the order of the cells; None where all rows differ.
    inverse
        (n,) the kind of every cell.
    counts
        (m,) float32, number of cells of each kind.
    """

    first: Tensor | None = None
    inverse: Tensor | None = None
    counts: Tensor | None = None

    def of(self, rows: Tensor | None) -> Tensor | None:
        """Those of the first cells of each kind."""
        return rows if rows is None or self.first is None else rows[self.first.to(rows.device)]

    def complete(self, positions: Tensor) -> Tensor:
        """Positions of all cells."""
        return positions if self.inverse is None else positions[self.inverse.to(positions.device)]

    def weigh(self, matrix: AffinityMatrix) -> AffinityMatrix:
        """P · (cᵢ + cⱼ) / 2, c the counts: the mass of each cell times its count, at the same total."""
        if self.counts is None:
            return matrix
        rows = torch.repeat_interleave(torch.arange(matrix.n_rows), matrix.degrees())
        weights = matrix.weights * (self.counts[rows] + self.counts[matrix.indices.long()]) / 2
        row_mass = matrix.row_mass * self.counts
        return replace(
            matrix,
            weights=weights * (matrix.total / weights.double().sum()).float(),
            row_mass=row_mass * (matrix.row_mass.double().sum() / row_mass.double().sum()).float(),
        )


def distinct_rows(features: Tensor) -> Distinct:
    """The distinct rows of (n, d) features."""
    rows = np.ascontiguousarray(features.numpy() + np.float32(0))  # −0 becomes 0
    as_bytes = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1])))[:, 0]
    _, first, inverse, counts = np.unique(as_bytes, return_index=True, return_inverse=True, return_counts=True)
    if len(first) == len(rows):
        return Distinct()
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return Distinct(
        torch.from_numpy(first[order]), torch.from_numpy(rank[inverse]), torch.from_numpy(counts[order]).float()
    )
