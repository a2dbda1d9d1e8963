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
def _self_products(w, d):
    """Σₐ wₐ wₐ₊ₘ and ½ of its derivative, for the distances m = 0 … 3 between two nodes of one point."""
    half = np.float32(0.5)
    c0 = w[0] * w[0] + w[1] * w[1] + w[2] * w[2] + w[3] * w[3]
    c1 = w[0] * w[1] + w[1] * w[2] + w[2] * w[3]
    c2 = w[0] * w[2] + w[1] * w[3]
    c3 = w[0] * w[3]
    s0 = w[0] * d[0] + w[1] * d[1] + w[2] * d[2] + w[3] * d[3]
    s1 = half * (d[0] * w[1] + w[0] * d[1] + d[1] * w[2] + w[1] * d[2] + d[2] * w[3] + w[2] * d[3])
    s2 = half * (d[0] * w[2] + w[0] * d[2] + d[1] * w[3] + w[1] * d[3])
    s3 = half * (d[0] * w[3] + w[0] * d[3])
    two = np.float32(2)  # both signs of m
    return (c0, two * c1, two * c2, two * c3), (s0, two * s1, two * s2, two * s3)


@kernel
def gather(chunk, begin, end, points, own, low, inverse_spacing, potential, near, shift, total_weight, mass, push):
    """Read the potential and half its gradient; where the points are sources, subtract what each feels of itself.

    `own` holds the points' weights as sources, or nothing; `near` the potential of a node up to 3 nodes apart.
    """
    half = np.float32(0.5) * inverse_spacing
    for i in range(begin, end):
        x = (points[i, 0] - low[0]) * inverse_spacing + FIRST
        y = (points[i, 1] - low[1]) * inverse_spacing + FIRST
        column, row = np.uint32(x), np.uint32(y)
        offset_x, offset_y = x - np.float32(column), y - np.float32(row)
        wx, dx = _splines(offset_x), _spline_slopes(offset_x)
        wy, dy = _splines(offset_y), _spline_slopes(offset_y)
        value = slope_x = slope_y = np.float32(0)
        for b in range(4):
            across = along = np.float32(0)
            for a in range(4):
                node = potential[np.uint64(row + b), np.uint64(column + a)]
                across += wx[a] * node
                along += dx[a] * node
            value += wy[b] * across
            slope_x += wy[b] * along
            slope_y += dy[b] * across
        others = total_weight
        if own.shape[0] > 0:
            cx, sx = _self_products(wx, dx)
            cy, sy = _self_products(wy, dy)
            itself = itself_x = itself_y = np.float32(0)
            for b in range(4):
                for a in range(4):
                    itself += cy[b] * cx[a] * near[b, a]
                    itself_x += cy[b] * sx[a] * near[b, a]
                    itself_y += sy[b] * cx[a] * near[b, a]
            value -= own[i] * itself
            slope_x -= own[i] * itself_x
            slope_y -= own[i] * itself_y
            others -= own[i]
        mass[i] = value + shift * others
        push[i, 0], push[i, 1] = half * slope_x, half * slope_y
