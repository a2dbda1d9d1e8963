"""Who computes which rows. One process holds all of them: `SERIAL`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class World:
    """The processes that share the rows of an embedding; there is one so far, and nothing to agree on."""


SERIAL = World()
