"""Who computes which rows. One process holds all of them: `SERIAL`."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class World:
    """A group of processes that share the rows of an embedding; here a group of one."""

    def rows(self, n_rows: int) -> slice:
        """The rows this process computes."""
        return slice(0, n_rows)

    def sum(self, value: Tensor) -> Tensor:
        """The sum of a value over all processes."""
        return value


SERIAL = World()
