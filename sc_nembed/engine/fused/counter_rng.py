"""The numba twin of `engine.compute.counter_rng`."""

from __future__ import annotations

import numpy as np
from numba import njit

from ..compute.counter_rng import FIRST, SECOND

_FIRST, _SECOND = np.uint64(FIRST), np.uint64(SECOND)


@njit(nogil=True, cache=True, inline="always")
def _scramble(x):
    x = (x ^ (x >> np.uint64(30))) * _FIRST
    x = (x ^ (x >> np.uint64(27))) * _SECOND
    return x ^ (x >> np.uint64(31))


@njit(nogil=True, cache=True, inline="always")
def integer(key, row, draw, below):
    """An integer from 0 to below − 1; all arguments uint64."""
    mixed = _scramble(_scramble(key + (row << np.uint64(32)) + draw))
    return ((mixed >> np.uint64(32)) * below) >> np.uint64(32)
