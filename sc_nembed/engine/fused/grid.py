"""Cubic B-splines between points and a regular 2-D grid: spread weights, gather a potential and its gradient."""

from __future__ import annotations

import numpy as np
from numba import njit

from . import FAST, kernel
from .apart import read, write, write_other

BLOCK = 256  # points whose splines are at hand at once
FIRST = np.float32(1.5)  # where the first point lies, in nodes: splines reach one node back, half a node is to spare


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def _splines(offset):
    """Cubic B-spline weights of the four nodes around a point at `offset` ∈ [0, 1) past the second of them."""
    one, sixth = np.float32(1), np.float32(1 / 6)
    rest = one - offset
    w0 = rest * rest * rest * sixth
    w3 = offset * offset * offset * sixth
    w1 = (np.float32(4) + offset * offset * (np.float32(3) * offset - np.float32(6))) * sixth
    return w0, w1, one - w0 - w1 - w3, w3


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def _spline_slopes(offset):
    """Derivatives of the four weights with respect to the offset."""
    half = np.float32(0.5)
    rest = np.float32(1) - offset
    d0, d3 = -half * rest * rest, half * offset * offset
    d1 = offset * (np.float32(1.5) * offset - np.float32(2))
    return d0, d1, -d0 - d1 - d3, d3


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def _place(points, weights, low_x, low_y, inverse_spacing, n_columns, first, splines):
    """First node of each point; its splines along a row, and those across rows times its weight, eight a point."""
    one = np.uint64(1)
    for i in range(np.uint64(weights.shape[0])):
        x = (read(points, i + i) - low_x) * inverse_spacing + FIRST
        y = (read(points, i + i + one) - low_y) * inverse_spacing + FIRST
        column, row = np.uint32(x), np.uint32(y)
        wx, wy = _splines(x - np.float32(column)), _splines(y - np.float32(row))
        weight = read(weights, i)
        for k in range(4):
            write(splines, np.uint64(8) * i + np.uint64(k), wx[k])
            write(splines, np.uint64(8) * i + np.uint64(k + 4), weight * wy[k])
        write_other(first, i, np.uint64(row) * n_columns + np.uint64(column))


@kernel
def spread(chunk, begin, end, points, weights, low, inverse_spacing, grids):
    """Add the weights of a range of points, flat, to the grid of its own."""
    nodes, n_columns, one = grids[chunk].reshape(-1), np.uint64(grids.shape[2]), np.uint64(1)
    first, splines = np.empty(BLOCK, np.uint64), np.empty(8 * BLOCK, np.float32)
    nodes[:] = 0
    for start in range(begin, end, BLOCK):
        stop = min(end, start + BLOCK)
        here = points[2 * start : 2 * stop]
        _place(here, weights[start:stop], low[0], low[1], inverse_spacing, n_columns, first, splines)
        for i in range(np.uint64(stop - start)):
            node, k = first[i], np.uint64(8) * i
            w0, w1, w2, w3 = splines[k], splines[k + one], splines[k + one + one], splines[k + one + one + one]
            for b in range(np.uint64(4)):
                amount = splines[k + np.uint64(4) + b]
                nodes[node] += amount * w0
                nodes[node + one] += amount * w1
                nodes[node + one + one] += amount * w2
                nodes[node + one + one + one] += amount * w3
                node += n_columns


@kernel
def add_grids(chunk, begin, end, grids, total):
    """Sum the grids of all ranges, rows begin to end, in their fixed order."""
    for row in range(begin, end):
        for column in range(total.shape[1]):
            total[row, column] = grids[0, row, column]
        for part in range(1, grids.shape[0]):
            for column in range(total.shape[1]):
                total[row, column] += grids[part, row, column]


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def _cubic(coefficients, first, at):
    """A polynomial and its derivative from four coefficients in a row."""
    one = np.uint64(1)
    c0, c1 = read(coefficients, first), read(coefficients, first + one)
    c2, c3 = read(coefficients, first + one + one), read(coefficients, first + one + one + one)
    return _of_cubic(c0, c1, c2, c3, at)


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def _of_cubic(c0, c1, c2, c3, at):
    two, three = np.float32(2), np.float32(3)
    return c0 + at * (c1 + at * (c2 + at * c3)), c1 + at * (two * c2 + at * three * c3)


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def _of_itself(felt, offset_x, offset_y):
    """What a point of weight 1 feels of itself, potential and slopes, by `radial_sum._influence.Influence.felt`."""
    from_x, from_y = offset_x - np.float32(0.5), offset_y - np.float32(0.5)
    sq_x, sq_y = from_x * from_x, from_y * from_y
    r0, s0 = _cubic(felt, np.uint64(0), sq_x)
    r1, s1 = _cubic(felt, np.uint64(4), sq_x)
    r2, s2 = _cubic(felt, np.uint64(8), sq_x)
    r3, s3 = _cubic(felt, np.uint64(12), sq_x)
    value, by_y = _of_cubic(r0, r1, r2, r3, sq_y)
    by_x, _ = _of_cubic(s0, s1, s2, s3, sq_y)
    return value, from_x * by_x, from_y * by_y


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def _along_row(nodes, first, weights, slopes):
    """Four nodes read with the splines, and with their derivatives."""
    one = np.uint64(1)
    n0, n1 = read(nodes, first), read(nodes, first + one)
    n2, n3 = read(nodes, first + one + one), read(nodes, first + one + one + one)
    at = weights[0] * n0 + weights[1] * n1 + weights[2] * n2 + weights[3] * n3
    return at, slopes[0] * n0 + slopes[1] * n1 + slopes[2] * n2 + slopes[3] * n3


@kernel
def gather(chunk, begin, end, points, own, low, inverse_spacing, potential, felt, shift, total_weight, mass, push):
    """Read the potential and half its gradient; where the points are sources, subtract what each feels of itself.

    `own` holds the points' weights as sources, or nothing. Arrays are flat but for the potential, and points are many:
    the loop takes sixteen at once.
    """
    half, one = np.float32(0.5) * inverse_spacing, np.uint64(1)
    low_x, low_y = low[0], low[1]
    n_columns, nodes = np.uint64(potential.shape[1]), potential.reshape(-1)
    are_sources = own.shape[0] > 0
    for i in range(np.uint64(begin), np.uint64(end)):
        x = (read(points, i + i) - low_x) * inverse_spacing + FIRST
        y = (read(points, i + i + one) - low_y) * inverse_spacing + FIRST
        column, row = np.uint32(x), np.uint32(y)
        offset_x, offset_y = x - np.float32(column), y - np.float32(row)
        wx, dx = _splines(offset_x), _spline_slopes(offset_x)
        wy, dy = _splines(offset_y), _spline_slopes(offset_y)
        first = np.uint64(row) * n_columns + np.uint64(column)
        at0, slope0 = _along_row(nodes, first, wx, dx)
        at1, slope1 = _along_row(nodes, first + n_columns, wx, dx)
        at2, slope2 = _along_row(nodes, first + n_columns + n_columns, wx, dx)
        at3, slope3 = _along_row(nodes, first + n_columns + n_columns + n_columns, wx, dx)
        value = wy[0] * at0 + wy[1] * at1 + wy[2] * at2 + wy[3] * at3
        slope_x = wy[0] * slope0 + wy[1] * slope1 + wy[2] * slope2 + wy[3] * slope3
        slope_y = dy[0] * at0 + dy[1] * at1 + dy[2] * at2 + dy[3] * at3
        others = total_weight
        if are_sources:
            weight = read(own, i)
            own_value, own_x, own_y = _of_itself(felt, offset_x, offset_y)
            value -= weight * own_value
            slope_x -= weight * own_x
            slope_y -= weight * own_y
            others -= weight
        write(mass, i, value + shift * others)
        write_other(push, i + i, half * slope_x)
        write_other(push, i + i + one, half * slope_y)
