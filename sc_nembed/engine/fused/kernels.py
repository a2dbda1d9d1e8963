"""The output kernels as scalar functions of the squared distance u, for the loops of this folder.

A loop is written once over `kind` and compiled for each of them by a wrapper that puts the number in, which removes the
branches. `shape` holds a kernel's parameters.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from numba import njit

from ..kernel import Gaussian, Kernel, Rational, RationalRepulsion, StudentT
from . import FAST
from .elementary import exp_of, log_of

STUDENT, GAUSSIAN, RATIONAL, RATIONAL_REPULSION = range(4)
SMALLEST = np.float32(1e-8)
ONE, HALF, ZERO = np.float32(1), np.float32(0.5), np.float32(0)
# the table of the rational kernel: exponents of float32 from 2⁻²⁷ to 2³⁰, each in 2⁸ parts
LOWEST, HIGHEST, TABLE_BITS = 127 - 27, 127 + 30, 8
NEAREST, FARTHEST = np.float32(2.0**-27), np.nextafter(np.float32(2.0**30), np.float32(0))
KINDS = {StudentT: STUDENT, Gaussian: GAUSSIAN, Rational: RATIONAL, RationalRepulsion: RATIONAL_REPULSION}


@functools.lru_cache
def shape_of(kernel: Kernel) -> np.ndarray:
    """The parameters of a kernel in the order the loops expect, (4,) float32; after those of the rational kernel, a
    table of its pull.
    """
    if isinstance(kernel, StudentT):
        values = kernel.dof, 0, 0, 0
    elif isinstance(kernel, Gaussian):
        values = kernel.sigma, 0, 0, 0
    elif isinstance(kernel, Rational):
        values = kernel.a, kernel.b, kernel.clip, 0, *_table(kernel)
    else:
        values = kernel.a, kernel.b, kernel.clip, kernel.clip_distance
    return np.array(values, np.float32)


def _table(kernel: Rational) -> np.ndarray:
    """−d log q / du at squared distances whose floats differ in the exponent and the first bits of the fraction."""
    bits = np.arange(LOWEST << TABLE_BITS, (HIGHEST << TABLE_BITS) + 1) << (23 - TABLE_BITS)
    sq_dist = torch.from_numpy(bits.astype(np.int32).view(np.float32)).double()
    return -kernel.log_slope(sq_dist).numpy()


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def pull_of(kind, sq_dist, shape):
    """−d log q / du; the rational kernel's from its table, linear between entries: error 4e-6 of it."""
    if kind == STUDENT:
        return HALF * (shape[0] + ONE) / (shape[0] + sq_dist)
    if kind == GAUSSIAN:
        return ONE / shape[0]
    bits = np.float32(min(max(sq_dist, NEAREST), FARTHEST)).view(np.int32)
    entry = np.uint32(bits >> np.int32(23 - TABLE_BITS)) - np.uint32((LOWEST << TABLE_BITS) - 4)
    past = np.float32(bits & np.int32((1 << (23 - TABLE_BITS)) - 1)) * np.float32(2.0 ** (TABLE_BITS - 23))
    return shape[entry] + past * (shape[entry + np.uint32(1)] - shape[entry])


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def _rational_pull(sq_dist, s0, s1, s2):
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
        return value, -value * _rational_pull(sq_dist, s0, s1, s2)
    core = min(np.float32(1e-2), HALF * s3)
    beyond = max(sq_dist, s3 * s3)
    value = log_of(ONE + ONE / (s0 * exp_of(s1 * log_of(beyond))))
    apart = max(sq_dist, core * core)
    distance = np.sqrt(apart)
    value += s2 * max(s3 - distance, ZERO) + max(core * core - sq_dist, ZERO) * (HALF * s2 / core)
    return value, max(-s1 / (apart * (ONE + s0 * exp_of(s1 * log_of(apart)))), -HALF * s2 / distance)
