"""Random draws as a pure function of (seed, step, row, draw): the same integers in torch and numba, in any order.

Counter based, as in Salmon et al. 2011: a key made of seed and step is added to a counter made of row and draw, and the
64 bits are scrambled by the finaliser of SplitMix64 (Steele et al. 2014), twice.
"""

from __future__ import annotations

from torch import Tensor

MASK = (1 << 64) - 1
STEP = 0x9E3779B97F4A7C15  # 2⁶⁴ / golden ratio
FIRST, SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


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
