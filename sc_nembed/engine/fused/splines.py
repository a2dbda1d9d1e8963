"""Cubic B-splines along one axis, for the loops between points and a grid of each dimension."""

from __future__ import annotations

import numpy as np
from numba import njit

from . import FAST
from .noalias import read

BLOCK = 256  # points whose splines are at hand at once
FIRST = np.float32(1.5)  # where the first point lies, in nodes: splines reach one node back, half a node is to spare


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def splines(offset):
    """Cubic B-spline weights of the four nodes around a point at `offset` ∈ [0, 1) past the second of them."""
    one, sixth = np.float32(1), np.float32(1 / 6)
    rest = one - offset
    w0 = rest * rest * rest * sixth
    w3 = offset * offset * offset * sixth
    w1 = (np.float32(4) + offset * offset * (np.float32(3) * offset - np.float32(6))) * sixth
    return w0, w1, one - w0 - w1 - w3, w3


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def spline_slopes(offset):
    """Derivatives of the four weights with respect to the offset."""
    half = np.float32(0.5)
    rest = np.float32(1) - offset
    d0, d3 = -half * rest * rest, half * offset * offset
    d1 = offset * (np.float32(1.5) * offset - np.float32(2))
    return d0, d1, -d0 - d1 - d3, d3


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def four(array, first):
    """Four entries in a row."""
    one = np.uint64(1)
    at0, at1 = read(array, first), read(array, first + one)
    at2, at3 = read(array, first + one + one), read(array, first + one + one + one)
    return at0, at1, at2, at3


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def dot(weights, values):
    return weights[0] * values[0] + weights[1] * values[1] + weights[2] * values[2] + weights[3] * values[3]


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def cubic(coefficients, first, at):
    """A polynomial and its derivative from four coefficients in a row."""
    c0, c1, c2, c3 = four(coefficients, first)
    return of_cubic(c0, c1, c2, c3, at)


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def of_cubic(c0, c1, c2, c3, at):
    two, three = np.float32(2), np.float32(3)
    return c0 + at * (c1 + at * (c2 + at * c3)), c1 + at * (two * c2 + at * three * c3)


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def cubic_of_two(felt, first, sq_x, sq_y):
    """A polynomial of two variables, from 16 coefficients in a row, with its derivatives by x and by y."""
    r0, s0 = cubic(felt, first, sq_x)
    r1, s1 = cubic(felt, first + np.uint64(4), sq_x)
    r2, s2 = cubic(felt, first + np.uint64(8), sq_x)
    r3, s3 = cubic(felt, first + np.uint64(12), sq_x)
    value, by_y = of_cubic(r0, r1, r2, r3, sq_y)
    by_x, _ = of_cubic(s0, s1, s2, s3, sq_y)
    return value, by_x, by_y
