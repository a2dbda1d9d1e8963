"""Between points and a regular 2-D grid: spread weights, gather a potential and its gradient."""

from __future__ import annotations

import numpy as np
from numba import njit

from . import FAST, kernel
from .noalias import read, write, write_other
from .splines import BLOCK, FIRST, cubic_of_two, dot, spline_slopes, splines


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def _place(points, weights, low_x, low_y, inverse_spacing, n_columns, first, at_hand):
    """First node of each point; its splines along a row, and those across rows times its weight, eight a point."""
    one = np.uint64(1)
    for i in range(np.uint64(weights.shape[0])):
        x = (read(points, i + i) - low_x) * inverse_spacing + FIRST
        y = (read(points, i + i + one) - low_y) * inverse_spacing + FIRST
        column, row = np.uint32(x), np.uint32(y)
        wx, wy = splines(x - np.float32(column)), splines(y - np.float32(row))
        weight = read(weights, i)
        for k in range(4):
            write(at_hand, np.uint64(8) * i + np.uint64(k), wx[k])
            write(at_hand, np.uint64(8) * i + np.uint64(k + 4), weight * wy[k])
        write_other(first, i, np.uint64(row) * n_columns + np.uint64(column))


@kernel
def spread(chunk, begin, end, points, weights, low, inverse_spacing, grids):
    """Add the weights of a range of points, flat, to the grid of its own."""
    nodes, n_columns, one = grids[chunk].reshape(-1), np.uint64(grids.shape[2]), np.uint64(1)
    first, at_hand = np.empty(BLOCK, np.uint64), np.empty(8 * BLOCK, np.float32)
    nodes[:] = 0
    for start in range(begin, end, BLOCK):
        stop = min(end, start + BLOCK)
        here = points[2 * start : 2 * stop]
        _place(here, weights[start:stop], low[0], low[1], inverse_spacing, n_columns, first, at_hand)
        for i in range(np.uint64(stop - start)):
            node, k = first[i], np.uint64(8) * i
            w0, w1, w2, w3 = at_hand[k], at_hand[k + one], at_hand[k + one + one], at_hand[k + one + one + one]
            for b in range(np.uint64(4)):
                amount = at_hand[k + np.uint64(4) + b]
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
def _of_itself(felt, offset_x, offset_y):
    """What a point of weight 1 feels of itself, potential and slopes, by `radial_sum._influence.Influence.felt`."""
    from_x, from_y = offset_x - np.float32(0.5), offset_y - np.float32(0.5)
    value, by_x, by_y = cubic_of_two(felt, np.uint64(0), from_x * from_x, from_y * from_y)
    return value, from_x * by_x, from_y * by_y


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def _along_row(nodes, first, weights, slopes):
    """Four nodes read with the splines, and with their derivatives."""
    one = np.uint64(1)
    n0, n1 = read(nodes, first), read(nodes, first + one)
    n2, n3 = read(nodes, first + one + one), read(nodes, first + one + one + one)
    return dot(weights, (n0, n1, n2, n3)), dot(slopes, (n0, n1, n2, n3))


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
        wx, dx = splines(offset_x), spline_slopes(offset_x)
        wy, dy = splines(offset_y), spline_slopes(offset_y)
        first = np.uint64(row) * n_columns + np.uint64(column)
        at0, slope0 = _along_row(nodes, first, wx, dx)
        at1, slope1 = _along_row(nodes, first + n_columns, wx, dx)
        at2, slope2 = _along_row(nodes, first + n_columns + n_columns, wx, dx)
        at3, slope3 = _along_row(nodes, first + n_columns + n_columns + n_columns, wx, dx)
        value = dot(wy, (at0, at1, at2, at3))
        slope_x = dot(wy, (slope0, slope1, slope2, slope3))
        slope_y = dot(dy, (at0, at1, at2, at3))
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
