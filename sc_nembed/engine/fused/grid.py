"""Cubic B-splines between points and a regular 2-D grid: spread weights, gather a potential and its gradient."""

from __future__ import annotations

import numpy as np
from numba import njit

from . import FAST, kernel

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


@kernel
def spread(chunk, begin, end, points, weights, low, inverse_spacing, grids):
    """Add the weights of a range of points to the grid of its own."""
    grid = grids[chunk]
    grid[:] = 0
    for i in range(begin, end):
        x = (points[i, 0] - low[0]) * inverse_spacing + FIRST
        y = (points[i, 1] - low[1]) * inverse_spacing + FIRST
        column, row = np.uint32(x), np.uint32(y)
        wx = _splines(x - np.float32(column))
        wy = _splines(y - np.float32(row))
        weight = weights[i]
        for b in range(4):
            across = weight * wy[b]
            for a in range(4):
                grid[np.uint64(row + b), np.uint64(column + a)] += across * wx[a]


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
def _place_in(table, offset):
    """Where the distance of an offset from ½ lies in a table over [0, ½]: the entry before it, and how far past it."""
    place = abs(offset - np.float32(0.5)) * np.float32(2 * (table.shape[0] - 1))
    entry = min(np.uint32(place), np.uint32(table.shape[0] - 2))
    return np.uint64(entry), place - np.float32(entry)


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def _interpolated(table, row, column, past_row, past_column, which):
    """Linear between the four entries around a place."""
    one, rest = np.uint64(1), np.float32(1) - past_column
    here = rest * table[row, column, which] + past_column * table[row, column + one, which]
    next_row = rest * table[row + one, column, which] + past_column * table[row + one, column + one, which]
    return here + past_row * (next_row - here)


@kernel
def gather(chunk, begin, end, points, own, low, inverse_spacing, potential, itself, shift, total_weight, mass, push):
    """Read the potential and half its gradient; where the points are sources, subtract what each feels of itself.

    `own` holds the points' weights as sources, or nothing; `itself` is the table of `radial_sum._influence`.
    """
    half = np.float32(0.5) * inverse_spacing
    n_columns, nodes = np.uint64(potential.shape[1]), potential.reshape(-1)
    one = np.uint64(1)
    for i in range(begin, end):
        x = (points[i, 0] - low[0]) * inverse_spacing + FIRST
        y = (points[i, 1] - low[1]) * inverse_spacing + FIRST
        column, row = np.uint32(x), np.uint32(y)
        offset_x, offset_y = x - np.float32(column), y - np.float32(row)
        wx, dx = _splines(offset_x), _spline_slopes(offset_x)
        wy, dy = _splines(offset_y), _spline_slopes(offset_y)
        at0 = at1 = at2 = at3 = up0 = up1 = up2 = up3 = np.float32(0)  # potential and slope across rows, by column
        first = np.uint64(row) * n_columns + np.uint64(column)
        for b in range(4):
            n0, n1, n2, n3 = nodes[first], nodes[first + one], nodes[first + 2 * one], nodes[first + 3 * one]
            at0, at1, at2, at3 = at0 + wy[b] * n0, at1 + wy[b] * n1, at2 + wy[b] * n2, at3 + wy[b] * n3
            up0, up1, up2, up3 = up0 + dy[b] * n0, up1 + dy[b] * n1, up2 + dy[b] * n2, up3 + dy[b] * n3
            first += n_columns
        value = wx[0] * at0 + wx[1] * at1 + wx[2] * at2 + wx[3] * at3
        slope_x = dx[0] * at0 + dx[1] * at1 + dx[2] * at2 + dx[3] * at3
        slope_y = wx[0] * up0 + wx[1] * up1 + wx[2] * up2 + wx[3] * up3
        others = total_weight
        if own.shape[0] > 0:
            (r, past_row), (c, past_column) = _place_in(itself, offset_y), _place_in(itself, offset_x)
            side_x = own[i] if offset_x > np.float32(0.5) else -own[i]
            side_y = own[i] if offset_y > np.float32(0.5) else -own[i]
            value -= own[i] * _interpolated(itself, r, c, past_row, past_column, 0)
            slope_x -= side_x * _interpolated(itself, r, c, past_row, past_column, 1)
            slope_y -= side_y * _interpolated(itself, r, c, past_row, past_column, 2)
            others -= own[i]
        mass[i] = value + shift * others
        push[i, 0], push[i, 1] = half * slope_x, half * slope_y
