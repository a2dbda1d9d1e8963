"""Cells without neighbors take no part in the optimization and are set around the others afterwards."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..compute.notes import note
from ..graph import AffinityMatrix, DenseAffinity
from ..space import FLAT, Space


@dataclass(frozen=True, slots=True)
class Participants:
    """The cells that have neighbors, and the way back to all cells."""

    matrix: AffinityMatrix | DenseAffinity
    members: Tensor | None  # (n_members,) indices; None where every cell takes part
    space: Space = FLAT

    def select(self, rows: Tensor | None) -> Tensor | None:
        """The rows of the participants."""
        return rows if rows is None or self.members is None else rows[self.members.to(rows.device)]

    def complete(self, positions: Tensor, n_obs: int) -> Tensor:
        """Positions of all cells: those without neighbors evenly on a circle around the centroid (1-D: at the two ends;
        3-D: on a sphere), 5 % outside the rest; in the Poincaré ball around its origin, by hyperbolic distances.
        """
        if self.members is None:
            return positions
        center, radius = self.space.around(positions)
        everywhere = positions.new_empty(n_obs, positions.shape[1])
        alone = torch.ones(n_obs, dtype=torch.bool)
        alone[self.members] = False
        around = _directions(int(alone.sum()), positions.shape[1]).to(positions)
        everywhere[alone.to(positions.device)] = center + radius * around
        everywhere[self.members.to(positions.device)] = positions
        return everywhere


def participants(matrix: AffinityMatrix, space: Space = FLAT) -> Participants:
    """Leave out the cells without neighbors, with a warning.

    Raises
    ------
    ValueError
        Where no cell has a neighbor.
    """
    has_neighbors = matrix.degrees() > 0
    if not has_neighbors.all():
        has_neighbors[matrix.indices.long()] = True  # where P is not symmetric: cells that are neighbors of others
    n_alone = int((~has_neighbors).sum())
    if n_alone == 0:
        return Participants(matrix, None, space)
    if n_alone == matrix.n_rows:
        raise ValueError("No cell has a neighbor in this graph, so there is nothing to embed.")
    note(f"{n_alone} cells have no neighbors in the graph; they take no part and are set around the others.")
    members = has_neighbors.nonzero()[:, 0]
    renumbered = torch.cumsum(has_neighbors, 0, dtype=torch.int32) - 1
    kept = replace(
        matrix,
        indptr=torch.cat([matrix.indptr[:1], matrix.indptr[1:][has_neighbors]]),
        indices=renumbered[matrix.indices.long()],
        n_rows=len(members),
        n_cols=len(members),
        row_mass=matrix.row_mass[has_neighbors],
    )
    return Participants(kept, members, space)


def _directions(count: int, n_components: int) -> Tensor:
    """Unit vectors spread evenly: two ends, a circle, a Fibonacci sphere (the first three dimensions)."""
    place = torch.arange(count, dtype=torch.float64)
    if n_components == 1:
        return (1 - 2 * (place % 2))[:, None]
    if n_components == 2:
        angle = 2 * torch.pi * place / count
        return torch.stack([angle.cos(), angle.sin()], 1)
    height, angle = 1 - (2 * place + 1) / count, place * torch.pi * (3 - 5**0.5)
    ring = (1 - height**2).sqrt()
    directions = torch.zeros(count, n_components, dtype=torch.float64)
    directions[:, :3] = torch.stack([ring * angle.cos(), ring * angle.sin(), height], 1)
    return directions
