"""Far pairs that are drawn anew among cells near in the embedding: LocalMAP's repulsion (Wang et al. 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from ..graph import AffinityMatrix
from .pair_potential import PairPotential
from .pair_sum import PairSum
from .partners import both_ends, nearby
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
        (n, k) those pairs.
    matrix
        P as it is defined; a cell's neighbors are never drawn.
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

    def at(self, positions: Tensor, step: int) -> Term:
        done = step - self.first_step
        if done <= 1 or done % INTERVAL != 1:
            return self
        partners = nearby(self.partners, self.matrix, positions, self.max_distance, self.seed, step)
        return self.with_carried({"partners": partners})

    def carried(self) -> dict[str, Tensor]:
        return {"partners": self.partners}

    def with_carried(self, tensors: Mapping[str, Tensor]) -> NearbyPairSum:
        partners = tensors["partners"]
        return replace(self, partners=partners, total=replace(self.total, pairs=both_ends(partners)))

    def __call__(self, positions: Tensor, *, value: bool) -> Force:
        return self.total(positions, value=value)


def nearby_pair_sum(
    partners: Tensor, potential: PairPotential, matrix: AffinityMatrix, max_distance: float, first_step: int, seed: int
) -> NearbyPairSum:
    """The term whose first pairs are those of each cell and its `partners`."""
    total = PairSum(both_ends(partners), potential)
    return NearbyPairSum(total, partners, matrix, max_distance, first_step, seed)
