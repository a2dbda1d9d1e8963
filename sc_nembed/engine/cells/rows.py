"""Which rows are embedded and in which order, how many cells each stands for, and the way back to all cells."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..graph import AffinityMatrix


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows that are embedded.

    Attributes
    ----------
    first
        (m,) the cell whose row it is, of equal ones the first; None where each cell has its own, in their order.
    inverse
        (n,) the row of every cell.
    counts
        (m,) float32, number of cells that a row stands for; None where it is one each.
    """

    first: Tensor | None = None
    inverse: Tensor | None = None
    counts: Tensor | None = None

    def select(self, rows: Tensor | None) -> Tensor | None:
        """Those that are embedded."""
        return rows if rows is None or self.first is None else rows[self.first.to(rows.device)]

    def complete(self, positions: Tensor) -> Tensor:
        """Positions of all cells."""
        return positions if self.inverse is None else positions[self.inverse.to(positions.device)]

    def weigh(self, matrix: AffinityMatrix) -> AffinityMatrix:
        """P · (cᵢ + cⱼ) / 2, c the counts: the mass of each cell times its count, at the same total."""
        if self.counts is None:
            return matrix
        rows = matrix.rows()
        weights = matrix.weights * (self.counts[rows] + self.counts[matrix.indices.long()]) / 2
        row_mass = matrix.row_mass * self.counts
        return replace(
            matrix,
            weights=weights * (matrix.total / weights.double().sum()).float(),
            row_mass=row_mass * (matrix.row_mass.double().sum() / row_mass.double().sum()).float(),
        )

    def sorted_by(self, order: Tensor) -> Rows:
        """The same rows in another order, (m,) indices of them."""
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(order))
        if self.first is None:
            return Rows(order, rank)
        return Rows(self.first[order], rank[self.inverse], None if self.counts is None else self.counts[order])
