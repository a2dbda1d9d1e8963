"""What a term sees of an embedding: the rows it is asked about, and everyone that acts on them.

| | view |
|---|---|
| a fit | `View(z, z, 0)`, which is `View.whole(z)` |
| new cells beside fixed ones | `View(new, fixed, None)` |
| a shard or a batch | `View(z[a:b], z, a)` |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .compute import reductions
from .world import SERIAL, World


@dataclass(frozen=True, slots=True)
class View:
    """Positions, and how they belong together.

    Attributes
    ----------
    mine
        (m, d) cells whose forces are asked for.
    everyone
        (n, d) cells that act on them.
    first
        Row i of `mine` is row first + i of `everyone`; None where the two are disjoint.
    world
        The processes that hold the other rows.
    """

    mine: Tensor  # (m, d)
    everyone: Tensor  # (n, d)
    first: int | None
    world: World = SERIAL

    @classmethod
    def whole(cls, positions: Tensor) -> View:
        """All cells and all that act on them, the same."""
        return cls(positions, positions, 0)

    @classmethod
    def of_rows(cls, mine: Tensor, world: World) -> View:
        """The rows of this process, beside those of all; of one process the whole."""
        everyone = world.gather(mine)
        return cls(mine, everyone, world.rows(len(everyone))[0], world)

    @property
    def is_new(self) -> bool:
        """Whether `mine` are no rows of `everyone`."""
        return self.first is None

    @property
    def n_rows(self) -> int:
        """Rows of all processes together."""
        if self.first is not None:
            return len(self.everyone)
        return int(self.world.sum(torch.tensor(len(self.mine))))

    def own(self, values: Tensor) -> Tensor:
        """Of values of all rows, (n_rows, ...), those of `mine`; a piece of the same memory."""
        begin = self.world.rows(len(values))[0] if self.first is None else self.first
        return values[begin : begin + len(self.mine)]

    def map(self, function: Callable[[Tensor], Tensor]) -> View:
        """The view of other coordinates, which are made once where the view is a whole."""
        everyone = function(self.everyone)
        return replace(self, mine=everyone if self.mine is self.everyone else function(self.mine), everyone=everyone)

    def total(self, values: Tensor) -> Tensor:
        """Sum over all rows of what each process has of its own, (m,) -> 0-d float64."""
        return self.sum(reductions.total(values))

    def sum(self, partial: Tensor) -> Tensor:
        """Sum over the processes of what each has added up over its rows, (...) -> (...)."""
        self._check_complete()
        return self.world.sum(partial)

    def gather(self, values: Tensor) -> Tensor:
        """Rows of all processes, (m, ...) -> (n_rows, ...)."""
        self._check_complete()
        return self.world.gather(values)

    def _check_complete(self) -> None:
        begin, end = (0, len(self.mine)) if self.first is None else (self.first, self.first + len(self.mine))
        if self.first is not None and self.world.rows(len(self.everyone)) != (begin, end):
            raise ValueError(
                f"This term needs a number of every row, and the view has rows {begin} to {end} of "
                f"{len(self.everyone)} and no process that has the others. Ask it about all rows, or give the view "
                "the world whose processes hold them."
            )
