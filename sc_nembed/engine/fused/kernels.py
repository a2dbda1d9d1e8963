"""The output kernels as scalar functions of the squared distance u, for the loops of this folder.

A loop is written once over `kind` and compiled for each of them by a wrapper that puts the number in, which removes the
branches. `shape` holds a kernel's parameters.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ..kernel import Gaussian, Kernel, Rational, RationalRepulsion, StudentT
from . import FAST
from .elementary import exp_of, log_of

STUDENT, GAUSSIAN, RATIONAL, RATIONAL_REPULSION = range(4)
SMALLEST = np.float32(1e-8)
ONE, HALF, ZERO = np.float32(1), np.float32(0.5), np.float32(0)
KINDS = {StudentT: STUDENT, Gaussian: GAUSSIAN, Rational: RATIONAL, RationalRepulsion: RATIONAL_REPULSION}


def shape_of(kernel: Kernel) -> np.ndarray:
    """The parameters of a kernel in the order the loops expect, (4,) float32."""
    if isinstance(kernel, StudentT):
        values = kernel.dof, 0, 0, 0
    elif isinstance(kernel, Gaussian):
        values = kernel.sigma, 0, 0, 0
    elif isinstance(kernel, Rational):
        values = kernel.a, kernel.b, kernel.clip, 0
    else:
        values = kernel.a, kernel.b, kernel.clip, kernel.clip_distance
    return np.array(values, np.float32)


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def pull_of(kind, sq_dist, s0, s1, s2):
    """−d log q / du."""
    if kind == STUDENT:
        return HALF * (s0 + ONE) / (s0 + sq_dist)
    if kind == GAUSSIAN:
        return ONE / s0
    apart = max(sq_dist, SMALLEST)
    power = s0 * exp_of(s1 * log_of(apart))
    return min(s1 * power / (apart * (ONE + power)), HALF * s2 / np.sqrt(apart))


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def cost_of(kind, sq_dist, s0, s1):
    """−log q."""
    if kind == STUDENT:
        return HALF * (s0 + ONE) * log_of(ONE + sq_dist / s0)
    if kind == GAUSSIAN:
        return sq_dist / s0
    return log_of(ONE + s0 * exp_of(s1 * log_of(max(sq_dist, SMALLEST))))


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def value_and_slope_of(kind, sq_dist, s0, s1, s2, s3):
    """The potential and its derivative: q and dq / du, or UMAP's −log(1 − q)."""
    if kind == STUDENT:
        if s0 == ONE:
            value = ONE / (ONE + sq_dist)
            return value, -value * value
        base = ONE + sq_dist / s0
        value = exp_of(-HALF * (s0 + ONE) * log_of(base))
        return value, -HALF * (s0 + ONE) / s0 * value / base
    if kind == GAUSSIAN:
        value = exp_of(-sq_dist / s0)
        return value, -value / s0
    if kind == RATIONAL:
        value = ONE / (ONE + s0 * exp_of(s1 * log_of(max(sq_dist, SMALLEST))))
        return value, -value * pull_of(RATIONAL, sq_dist, s0, s1, s2)
    core = min(np.float32(1e-2), HALF * s3)
    beyond = max(sq_dist, s3 * s3)
    value = log_of(ONE + ONE / (s0 * exp_of(s1 * log_of(beyond))))
    apart = max(sq_dist, core * core)
    distance = np.sqrt(apart)
    value += s2 * max(s3 - distance, ZERO) + max(core * core - sq_dist, ZERO) * (HALF * s2 / core)
    return value, max(-s1 / (apart * (ONE + s0 * exp_of(s1 * log_of(apart)))), -HALF * s2 / distance)
