"""Between points and a regular 3-D grid; see `fused.grid`."""

from __future__ import annotations

import numpy as np
from numba import njit

from . import FAST, kernel
from .noalias import read, write, write_other
from .splines import BLOCK, FIRST, cubic_of_two, dot, four, of_cubic, spline_slopes, splines

inlined = njit(nogil=True, cache=True, fastmath=FAST, inline="always")


@inlined
def _place(points, weights, low, inverse_spacing, n_rows, n_columns, first, at_hand):
    """First node of each point, and its splines along each axis, the last times its weight, twelve a point."""
    low_x, low_y, low_z, one = low[0], low[1], low[2], np.uint64(1)
    for i in range(np.uint64(weights.shape[0])):
        k = i + i + i
        x = (read(points, k) - low_x) * inverse_spacing + FIRST
        y = (read(points, k + one) - low_y) * inverse_spacing + FIRST
        z = (read(points, k + one + one) - low_z) * inverse_spacing + FIRST
        column, row, layer = np.uint32(x), np.uint32(y), np.uint32(z)
        wx, wy, wz = splines(x - np.float32(column)), splines(y - np.float32(row)), splines(z - np.float32(layer))
        weight = read(weights, i)
        for a in range(4):
            write(at_hand, np.uint64(12) * i + np.uint64(a), wx[a])
            write(at_hand, np.uint64(12) * i + np.uint64(a + 4), wy[a])
            write(at_hand, np.uint64(12) * i + np.uint64(a + 8), weight * wz[a])
        write_other(first, i, (np.uint64(layer) * n_rows + np.uint64(row)) * n_columns + np.uint64(column))


@kernel
def spread(chunk, begin, end, points, weights, low, inverse_spacing, grids):
    """Add the weights of a range of points, flat, to the grid of its own."""
    nodes, n_rows, n_columns = grids[chunk].reshape(-1), np.uint64(grids.shape[2]), np.uint64(grids.shape[3])
    first, at_hand, one = np.empty(BLOCK, np.uint64), np.empty(12 * BLOCK, np.float32), np.uint64(1)
    nodes[:] = 0
    for start in range(begin, end, BLOCK):
        stop = min(end, start + BLOCK)
        here = points[3 * start : 3 * stop]
        _place(here, weights[start:stop], low, inverse_spacing, n_rows, n_columns, first, at_hand)
        for i in range(np.uint64(stop - start)):
            layer, k = first[i], np.uint64(12) * i
            w0, w1, w2, w3 = at_hand[k], at_hand[k + one], at_hand[k + one + one], at_hand[k + one + one + one]
            for c in range(np.uint64(4)):
                node = layer
                for b in range(np.uint64(4)):
                    amount = at_hand[k + np.uint64(8) + c] * at_hand[k + np.uint64(4) + b]
                    nodes[node] += amount * w0
                    nodes[node + one] += amount * w1
                    nodes[node + one + one] += amount * w2
                    nodes[node + one + one + one] += amount * w3
                    node += n_columns
                layer += n_rows * n_columns


@inlined
def _of_itself(felt, offset_x, offset_y, offset_z):
    """What a point of weight 1 feels of itself, potential and slopes."""
    from_x, from_y, from_z = offset_x - np.float32(0.5), offset_y - np.float32(0.5), offset_z - np.float32(0.5)
    sq_x, sq_y, sq_z = from_x * from_x, from_y * from_y, from_z * from_z
    value0, x0, y0 = cubic_of_two(felt, np.uint64(0), sq_x, sq_y)
    value1, x1, y1 = cubic_of_two(felt, np.uint64(16), sq_x, sq_y)
    value2, x2, y2 = cubic_of_two(felt, np.uint64(32), sq_x, sq_y)
    value3, x3, y3 = cubic_of_two(felt, np.uint64(48), sq_x, sq_y)
    value, by_z = of_cubic(value0, value1, value2, value3, sq_z)
    by_x, _ = of_cubic(x0, x1, x2, x3, sq_z)
    by_y, _ = of_cubic(y0, y1, y2, y3, sq_z)
    return value, from_x * by_x, from_y * by_y, from_z * by_z


@inlined
def _of_layer(nodes, first, n_columns, wx, dx, wy, dy):
    """Sixteen nodes of a layer read with the splines, and with their derivatives along x and along y."""
    row0, row1 = four(nodes, first), four(nodes, first + n_columns)
    row2 = four(nodes, first + n_columns + n_columns)
    row3 = four(nodes, first + n_columns + n_columns + n_columns)
    at = dot(wx, row0), dot(wx, row1), dot(wx, row2), dot(wx, row3)
    slope = dot(dx, row0), dot(dx, row1), dot(dx, row2), dot(dx, row3)
    return dot(wy, at), dot(wy, slope), dot(dy, at)


@kernel
def gather(chunk, begin, end, points, own, low, inverse_spacing, potential, felt, shift, total_weight, mass, push):
    half, one = np.float32(0.5) * inverse_spacing, np.uint64(1)
    low_x, low_y, low_z = low[0], low[1], low[2]
    n_rows, n_columns, nodes = np.uint64(potential.shape[1]), np.uint64(potential.shape[2]), potential.reshape(-1)
    n_layer = n_rows * n_columns
    are_sources = own.shape[0] > 0
    for i in range(np.uint64(begin), np.uint64(end)):
        k = i + i + i
        x = (read(points, k) - low_x) * inverse_spacing + FIRST
        y = (read(points, k + one) - low_y) * inverse_spacing + FIRST
        z = (read(points, k + one + one) - low_z) * inverse_spacing + FIRST
        column, row, layer = np.uint32(x), np.uint32(y), np.uint32(z)
        offset_x, offset_y, offset_z = x - np.float32(column), y - np.float32(row), z - np.float32(layer)
        wx, dx = splines(offset_x), spline_slopes(offset_x)
        wy, dy = splines(offset_y), spline_slopes(offset_y)
        wz, dz = splines(offset_z), spline_slopes(offset_z)
        first = (np.uint64(layer) * n_rows + np.uint64(row)) * n_columns + np.uint64(column)
        at0, x0, y0 = _of_layer(nodes, first, n_columns, wx, dx, wy, dy)
        at1, x1, y1 = _of_layer(nodes, first + n_layer, n_columns, wx, dx, wy, dy)
        at2, x2, y2 = _of_layer(nodes, first + n_layer + n_layer, n_columns, wx, dx, wy, dy)
        at3, x3, y3 = _of_layer(nodes, first + n_layer + n_layer + n_layer, n_columns, wx, dx, wy, dy)
        value, slope_z = dot(wz, (at0, at1, at2, at3)), dot(dz, (at0, at1, at2, at3))
        slope_x, slope_y = dot(wz, (x0, x1, x2, x3)), dot(wz, (y0, y1, y2, y3))
        others = total_weight
        if are_sources:
            weight = read(own, i)
            own_value, own_x, own_y, own_z = _of_itself(felt, offset_x, offset_y, offset_z)
            value -= weight * own_value
            slope_x -= weight * own_x
            slope_y -= weight * own_y
            slope_z -= weight * own_z
            others -= weight
        write(mass, i, value + shift * others)
        write_other(push, k, half * slope_x)
        write_other(push, k + one, half * slope_y)
        write_other(push, k + one + one, half * slope_z)
