"""The output kernels as scalar functions of the squared distance u, for the loops of this folder.

A loop is written once and compiled for each of them by a wrapper that hands it the functions of one kernel, so that
none compiles those of the others. `shape` holds a kernel's parameters.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
import torch
from numba import njit
from torch import Tensor

from ..kernel import Gaussian, Kernel, LogRepulsion, NoiseRepulsion, Rational, RationalRepulsion, StudentT
from . import FAST
from .elementary import exp_of, log_of

STUDENT, GAUSSIAN, RATIONAL, RATIONAL_REPULSION, NOISE_REPULSION = range(5)
CAUCHY = 5  # Student's with one degree of freedom
LOG_REPULSION = 6
SMALLEST = np.float32(1e-8)
ONE, HALF, ZERO = np.float32(1), np.float32(0.5), np.float32(0)
# a table: exponents of float32 from 2⁻²⁷ to 2³⁰, each in 2⁸ parts
LOWEST, HIGHEST, TABLE_BITS = 127 - 27, 127 + 30, 8
NEAREST, FARTHEST = np.float32(2.0**-27), np.nextafter(np.float32(2.0**30), np.float32(0))
KINDS = {
    StudentT: STUDENT, Gaussian: GAUSSIAN, Rational: RATIONAL, RationalRepulsion: RATIONAL_REPULSION,
    NoiseRepulsion: NOISE_REPULSION, LogRepulsion: LOG_REPULSION,
}  # fmt: skip


@functools.lru_cache
def shape_of(kernel: Kernel) -> np.ndarray:
    """The parameters of a kernel in the order the loops expect, (4,) float32; after those of the rational kernel a
    table of its pull, after those of its repulsion one of the push.
    """
    if isinstance(kernel, StudentT):
        values = kernel.dof, 0, 0, 0
    elif isinstance(kernel, Gaussian):
        values = kernel.sigma, 0, 0, 0
    elif isinstance(kernel, Rational):
        values = kernel.a, kernel.b, kernel.clip, 0, *_table(lambda sq_dist: -kernel.log_slope(sq_dist))
    elif isinstance(kernel, NoiseRepulsion):
        values = kernel.noise, 0, 0, 0
    elif isinstance(kernel, LogRepulsion):
        values = kernel.softening**2, 0, 0, 0
    else:
        values = kernel.a, kernel.b, kernel.clip, kernel.clip_distance, *_table(lambda sq_dist: -kernel.slope(sq_dist))
    return np.array(values, np.float32)


def _table(function: Callable[[Tensor], Tensor]) -> np.ndarray:
    """A function at squared distances whose floats differ in the exponent and the first bits of the fraction."""
    bits = np.arange(LOWEST << TABLE_BITS, (HIGHEST << TABLE_BITS) + 1) << (23 - TABLE_BITS)
    sq_dist = torch.from_numpy(bits.astype(np.int32).view(np.float32)).double()
    return function(sq_dist).numpy()


def scalar(function):
    """Compile a function of one pair; the loops it is handed to inline it, or they would not vectorise."""
    return njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy", forceinline=True)(function)


# The pull −d log q / du of each kernel, and its cost −log q.


@scalar
def student_pull(sq_dist, shape):
    return HALF * (shape[0] + ONE) / (shape[0] + sq_dist)


@scalar
def gaussian_pull(sq_dist, shape):
    return ONE / shape[0]


@scalar
def tabulated(sq_dist, shape):
    """The function whose table `shape` holds, linear between entries: error 1e-5 of it, more at a kink."""
    bits = np.float32(min(max(sq_dist, NEAREST), FARTHEST)).view(np.int32)
    entry = np.uint32(bits >> np.int32(23 - TABLE_BITS)) - np.uint32((LOWEST << TABLE_BITS) - 4)
    past = np.float32(bits & np.int32((1 << (23 - TABLE_BITS)) - 1)) * np.float32(2.0 ** (TABLE_BITS - 23))
    return shape[entry] + past * (shape[entry + np.uint32(1)] - shape[entry])


rational_pull = rational_push = tabulated  # each from its own `shape`


@scalar
def student_cost(sq_dist, shape):
    return HALF * (shape[0] + ONE) * log_of(ONE + sq_dist / shape[0])


@scalar
def gaussian_cost(sq_dist, shape):
    return sq_dist / shape[0]


@scalar
def rational_cost(sq_dist, shape):
    return log_of(ONE + shape[0] * exp_of(shape[1] * log_of(max(sq_dist, SMALLEST))))


@scalar
def pull_of(kind, sq_dist, shape):
    """For loops that are compiled once for all kernels."""
    if kind == STUDENT:
        return student_pull(sq_dist, shape)
    return gaussian_pull(sq_dist, shape) if kind == GAUSSIAN else rational_pull(sq_dist, shape)


@scalar
def cost_of(kind, sq_dist, shape):
    if kind == STUDENT:
        return student_cost(sq_dist, shape)
    return gaussian_cost(sq_dist, shape) if kind == GAUSSIAN else rational_cost(sq_dist, shape)


# The potential of each kernel and its derivative: q and dq / du, or what a repulsion adds up.


@scalar
def cauchy(sq_dist, shape):
    """Student's with one degree of freedom."""
    value = ONE / (ONE + sq_dist)
    return value, -value * value


@scalar
def student(sq_dist, shape):
    dof = shape[0]
    base = ONE + sq_dist / dof
    value = exp_of(-HALF * (dof + ONE) * log_of(base))
    return value, -HALF * (dof + ONE) / dof * value / base


@scalar
def gaussian(sq_dist, shape):
    value = exp_of(-sq_dist / shape[0])
    return value, -value / shape[0]


@scalar
def rational(sq_dist, shape):
    a, b, clip = shape[0], shape[1], shape[2]
    apart = max(sq_dist, SMALLEST)
    power = a * exp_of(b * log_of(apart))
    value = ONE / (ONE + power)
    return value, -value * min(b * power / (apart * (ONE + power)), HALF * clip / math.sqrt(apart))


@scalar
def potential_of(kind, sq_dist, shape):
    """For loops that are compiled once for all output kernels."""
    if kind == CAUCHY:
        return cauchy(sq_dist, shape)
    if kind == STUDENT:
        return student(sq_dist, shape)
    return gaussian(sq_dist, shape) if kind == GAUSSIAN else rational(sq_dist, shape)


@scalar
def rational_repulsion(sq_dist, shape):
    a, b, clip, edge = shape[0], shape[1], shape[2], shape[3]
    core = min(np.float32(1e-2), HALF * edge)
    apart = max(sq_dist, core * core)
    distance = math.sqrt(apart)
    power, at_edge = a * exp_of(b * log_of(apart)), a * exp_of(b * log_of(edge * edge))
    value = log_of(ONE + ONE / max(power, at_edge))
    value += clip * max(edge - distance, ZERO) + max(core * core - sq_dist, ZERO) * (HALF * clip / core)
    return value, max(-b / (apart * (ONE + power)), -HALF * clip / distance)


@scalar
def noise_repulsion(sq_dist, shape):
    noise, beyond = shape[0], ONE + sq_dist
    return log_of(ONE + ONE / (noise * beyond)), -ONE / (beyond * (noise * beyond + ONE))


@scalar
def log_repulsion(sq_dist, shape):
    apart = sq_dist + shape[0]
    return -HALF * log_of(apart), -HALF / apart


def potential_kind(potential):
    """Which of the functions above is meant."""
    return CAUCHY if potential == StudentT() else KINDS[type(potential)]
