"""The shapes of the engine: who is near whom (`KnnGraph`) and how much (`AffinityMatrix`), both sparse.

`DenseAffinity` is for affinities that are negative or of all pairs, which a loss between dense matrices takes alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class KnnGraph:
    """Nearest neighbors of every cell, the cell itself left out.

    Attributes
    ----------
    indices
        (n, k) int32; -1 where a row has fewer than k neighbors (always at its end).
    distances
        (n, k) float32, not squared; inf where padded.
    """

    indices: Tensor  # (n, k)
    distances: Tensor  # (n, k)

    def __post_init__(self) -> None:
        if self.indices.ndim != 2 or self.indices.shape != self.distances.shape:
            raise ValueError(
                "A KnnGraph needs `indices` and `distances` of one shape (n, k); "
                f"got {tuple(self.indices.shape)} and {tuple(self.distances.shape)}."
            )

    def __len__(self) -> int:
        return self.n_obs

    @property
    def n_obs(self) -> int:
        return self.indices.shape[0]

    @property
    def n_neighbors(self) -> int:
        return self.indices.shape[1]

    @property
    def n_held(self) -> int:
        """What a run that starts from here has of each cell: its neighbors."""
        return self.n_neighbors

    def nearest(self, k: int) -> KnnGraph:
        """The graph with the nearest k neighbors alone."""
        if k >= self.n_neighbors:
            return self
        return KnnGraph(self.indices[:, :k].contiguous(), self.distances[:, :k].contiguous())


@dataclass(frozen=True, slots=True)
class AffinityMatrix:
    """Input affinities P as CSR, without a diagonal; symmetric where not said otherwise.

    A rectangle of n_rows cells and the n_cols cells they are near to: all rows, some of them (a shard), or new cells
    beside the fixed ones, which no row is among the columns.

    Attributes
    ----------
    indptr, indices, weights
        CSR arrays: (n_rows + 1,) int64, (n_edges,) int32, (n_edges,) float32; of all rows, every edge is stored in
        both directions.
    first_row
        Row i is cell first_row + i of the columns; None where rows and columns are disjoint.
    row_mass
        (n_rows,) sums of the rows of P before it was symmetrised.
    total
        Sum of all entries, in a shard of those of all shards; 1 where P is a distribution over pairs.
    """

    indptr: Tensor  # (n_rows + 1,)
    indices: Tensor  # (n_edges,)
    weights: Tensor  # (n_edges,)
    n_rows: int
    n_cols: int
    first_row: int | None
    row_mass: Tensor  # (n_rows,)
    total: float

    def __post_init__(self) -> None:
        n_edges = self.indices.shape[0]
        if self.indptr.shape != (self.n_rows + 1,) or self.weights.shape != (n_edges,):
            raise ValueError(
                f"An AffinityMatrix of {self.n_rows} rows needs `indptr` of {self.n_rows + 1} entries and as many "
                f"`weights` as `indices`; got {tuple(self.indptr.shape)}, {tuple(self.weights.shape)} and {n_edges}."
            )
        if self.first_row is not None and self.first_row + self.n_rows > self.n_cols:
            raise ValueError(
                f"Rows {self.first_row} to {self.first_row + self.n_rows} of an AffinityMatrix are not among its "
                f"{self.n_cols} columns; `first_row` is None where rows and columns are different cells."
            )

    @property
    def n_edges(self) -> int:
        return self.indices.shape[0]

    def __len__(self) -> int:
        return self.n_rows

    @property
    def n_obs(self) -> int:
        return self.n_rows

    @property
    def n_held(self) -> int:
        """A run that starts from here reads no graph."""
        return 0

    def degrees(self) -> Tensor:
        """Number of neighbors of each row, (n_rows,) int64."""
        return self.indptr[1:] - self.indptr[:-1]

    def rows(self) -> Tensor:
        """The row of every edge, (n_edges,) int64."""
        every = torch.arange(self.n_rows, device=self.indptr.device)
        return torch.repeat_interleave(every, self.degrees(), output_size=self.n_edges)  # which asks no device for it

    def row_sums(self) -> Tensor:
        """Sums of the rows, (n_rows,) float32."""
        edges = torch.cat([self.weights.new_zeros(1, dtype=torch.float64), self.weights.cumsum(0, dtype=torch.float64)])
        return (edges[self.indptr[1:]] - edges[self.indptr[:-1]]).float()

    def to_dense(self) -> Tensor:
        """(n_rows, n_cols) float32."""
        dense = self.weights.new_zeros(self.n_rows, self.n_cols)
        dense[self.rows(), self.indices.long()] = self.weights
        return dense

    def shard(self, begin: int, end: int) -> AffinityMatrix:
        """Rows `begin` up to `end` of this matrix, with the total of all."""
        first, last = int(self.indptr[begin]), int(self.indptr[end])
        return replace(
            self,
            indptr=self.indptr[begin : end + 1] - first,
            indices=self.indices[first:last],
            weights=self.weights[first:last],
            n_rows=end - begin,
            first_row=None if self.first_row is None else self.first_row + begin,
            row_mass=self.row_mass[begin:end],
        )

    def to(self, device: torch.device) -> AffinityMatrix:
        """The same matrix on another device."""
        names = ("indptr", "indices", "weights", "row_mass")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})


@dataclass(frozen=True, slots=True)
class DenseAffinity:
    """Input affinities of any sign, of all pairs; for `AffinityMatcher` alone.

    Attributes
    ----------
    values
        (n, n) float32; the diagonal is 0.
    """

    values: Tensor  # (n, n)

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.shape[0] != self.values.shape[1]:
            raise ValueError(f"A DenseAffinity needs `values` of shape (n, n); got {tuple(self.values.shape)}.")

    @property
    def n_rows(self) -> int:
        return self.values.shape[0]

    @property
    def n_edges(self) -> int:
        return self.n_rows * (self.n_rows - 1)

    def to_dense(self) -> Tensor:
        """(n, n) float32."""
        return self.values

    def to(self, device: torch.device) -> DenseAffinity:
        """The same values on another device."""
        return DenseAffinity(self.values.to(device))
