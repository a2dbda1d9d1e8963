"""Who computes which rows of an embedding. One process holds all of them: `SERIAL`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class World(Protocol):
    """The processes that share the rows, each a range of them; all call the same methods in the same order."""

    def rows(self, n: int) -> tuple[int, int]:
        """Of n rows those of this process: from where, and up to where."""

    def sum(self, tensor: Tensor) -> Tensor:
        """Elementwise sum over the processes, of one shape in all of them."""

    def gather(self, tensor: Tensor) -> Tensor:
        """The rows of all processes in their order, (m, ...) of each -> (n, ...)."""


@dataclass(frozen=True, slots=True)
class Serial:
    """One process, which has nothing to agree on."""

    def rows(self, n: int) -> tuple[int, int]:
        return 0, n

    def sum(self, tensor: Tensor) -> Tensor:
        return tensor

    def gather(self, tensor: Tensor) -> Tensor:
        return tensor


SERIAL = Serial()
