"""Far pairs that are drawn anew among cells near in the embedding: LocalMAP's repulsion (Wang et al. 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from ..graph import AffinityMatrix
from ..view import View
from .pair_potential import PairPotential
from .pair_sum import PairSum
from .partners import both_ends, nearby, one_end
from .term import Force, Term

INTERVAL = 10  # steps between two draws


@dataclass(frozen=True)
class NearbyPairSum(Term):
    """A `PairSum` whose pairs are drawn anew every ten steps.

    Attributes
    ----------
    total
        The sum over the pairs as they are now.
    partners
        (m, k) those pairs, of the view's rows.
    matrix
        P as it is defined, of the same rows; a cell's neighbors are never drawn.
    max_distance
        In the embedding, of cells that are drawn.
    first_step, seed
        Steps before those that count: pairs are drawn after 11, 21, ... of them, as in the authors' code. Seed of the
        draws.
    """

    total: PairSum
    partners: Tensor
    matrix: AffinityMatrix
    max_distance: float
    first_step: int
    seed: int

    def at_step(self, view: View, step: int) -> NearbyPairSum:
        done = step - self.first_step
        if done <= 1 or done % INTERVAL != 1:
            return self
        partners = nearby(self.partners, self.matrix, view, self.max_distance, self.seed, step)
        return replace(self, partners=partners, total=replace(self.total, pairs=_pairs(view, partners)))

    def carried(self) -> dict[str, Tensor]:
        return {"partners": self.partners}

    def with_carried(self, tensors: Mapping[str, Tensor]) -> NearbyPairSum:
        """Of a whole, whose partners are those of all cells."""
        partners = tensors["partners"]
        return replace(self, partners=partners, total=replace(self.total, pairs=both_ends(partners)))

    def shard(self, begin: int, end: int) -> NearbyPairSum:
        total, matrix = self.total.shard(begin, end), self.matrix.shard(begin, end)
        return replace(self, total=total, partners=self.partners[begin:end], matrix=matrix)

    def __call__(self, view: View, *, value: bool) -> Force:
        return self.total(view, value=value)


def _pairs(view: View, partners: Tensor) -> AffinityMatrix:
    """The pairs of the view's rows, from whichever end they were drawn; nobody draws new cells."""
    if view.is_new:
        return one_end(partners, len(view.everyone))
    pairs = both_ends(view.gather(partners))
    return pairs if len(partners) == pairs.n_rows else pairs.shard(view.first, view.first + len(partners))


def nearby_pair_sum(
    partners: Tensor, potential: PairPotential, matrix: AffinityMatrix, max_distance: float, first_step: int, seed: int
) -> NearbyPairSum:
    """The term whose first pairs are those of each cell and its `partners`."""
    total = PairSum(both_ends(partners), potential)
    return NearbyPairSum(total, partners, matrix, max_distance, first_step, seed)
