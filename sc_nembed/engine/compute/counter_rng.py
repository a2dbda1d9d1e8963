"""Random draws as a pure function of (seed, step, row, draw): the same integers in torch and numba, in any order.

Counter based, as in Salmon et al. 2011: a key made of seed and step is added to a counter made of row and draw, and the
64 bits are scrambled by the finaliser of SplitMix64 (Steele et al. 2014), twice.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

MASK = (1 << 64) - 1
STEP = 0x9E3779B97F4A7C15  # 2⁶⁴ / golden ratio
FIRST, SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def seed_of(random_state: Any) -> int:
    """The integer a run is seeded with."""
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31 - 1))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0] % (2**31 - 1))
    try:
        if not isinstance(random_state, bool | str) and int(random_state) == random_state and random_state >= 0:
            return int(random_state)
    except (TypeError, ValueError):
        pass
    raise ValueError(f"`random_state` must be a non-negative integer, None or a numpy generator; got {random_state!r}.")


def key_of(seed: int, step: int) -> int:
    """The key of a step, an unsigned 64-bit integer."""
    return _scramble((_scramble((seed + STEP) & MASK) + step * STEP) & MASK)


def integers(key: int, rows: Tensor, draws: Tensor, below: int | Tensor) -> Tensor:
    """Integers from 0 to below − 1 for pairs of row and draw, int64; `below` is less than 2³¹."""
    counter = (rows.long() << 32) + draws.long()
    mixed = _scramble_tensor(_scramble_tensor(counter + _signed(key)))
    return (((mixed >> 32) & 0xFFFFFFFF) * below) >> 32


def _scramble(x: int) -> int:
    x = ((x ^ (x >> 30)) * FIRST) & MASK
    x = ((x ^ (x >> 27)) * SECOND) & MASK
    return x ^ (x >> 31)


def _scramble_tensor(x: Tensor) -> Tensor:
    """The same on int64, whose products wrap around and whose shifts have to be cleared of the sign."""
    x = (x ^ _shifted(x, 30)) * _signed(FIRST)
    x = (x ^ _shifted(x, 27)) * _signed(SECOND)
    return x ^ _shifted(x, 31)


def _shifted(x: Tensor, bits: int) -> Tensor:
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _signed(x: int) -> int:
    return x - (1 << 64) if x >> 63 else x
