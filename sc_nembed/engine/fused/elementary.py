"""Logarithm and exponential of float32 by polynomials on the bits; unlike the library's they vectorise."""

from __future__ import annotations

import numpy as np
from numba import njit

from . import FAST

LOG_2 = np.float32(np.log(2))
INVERSE_LOG_2 = np.float32(1 / np.log(2))


def _fit(function, degree: int) -> list[np.float32]:
    """Coefficients, highest first, of the polynomial that interpolates a function at the Chebyshev nodes of [0, 1]."""
    nodes = 0.5 + 0.5 * np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
    return [np.float32(c) for c in np.polyfit(nodes, function(nodes), degree)]


_L8, _L7, _L6, _L5, _L4, _L3, _L2, _L1, _L0 = _fit(lambda t: np.log1p(t) / t, 8)
_E6, _E5, _E4, _E3, _E2, _E1, _E0 = _fit(lambda t: np.exp2(t), 6)


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def log_of(x):
    """Log x for positive, normal x; error 2e-7, of the result where that is larger than 1."""
    bits = np.float32(x).view(np.int32)
    exponent = np.int32(bits >> 23) - np.int32(127)
    t = np.int32((bits & 0x7FFFFF) | 0x3F800000).view(np.float32) - np.float32(1)
    series = ((((((((_L8 * t + _L7) * t + _L6) * t + _L5) * t + _L4) * t + _L3) * t + _L2) * t + _L1) * t) + _L0
    return np.float32(exponent) * LOG_2 + t * series


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def exp_of(x):
    """Exp x for x ≤ 87, at least 1e-38; error 3e-7 of the result, more far from 0, by the rounding of the argument."""
    scaled = max(x * INVERSE_LOG_2, np.float32(-126))
    floor = np.floor(scaled)
    t = scaled - floor
    series = (((((_E6 * t + _E5) * t + _E4) * t + _E3) * t + _E2) * t + _E1) * t + _E0
    power = np.int32((np.int32(floor) + 127) << 23).view(np.float32)
    return power * series  # with a branch for 0, loops would not vectorise
