"""Between points and a regular grid on a line; see `fused.grid`."""

from __future__ import annotations

import numpy as np

from . import kernel
from .noalias import read, write, write_other
from .splines import FIRST, cubic, dot, four, spline_slopes, splines


@kernel
def spread(chunk, begin, end, points, weights, low, inverse_spacing, grids):
    """Add the weights of a range of points to the grid of its own."""
    nodes, lowest, one = grids[chunk], low[0], np.uint64(1)
    nodes[:] = 0
    for i in range(np.uint64(begin), np.uint64(end)):
        x = (points[i] - lowest) * inverse_spacing + FIRST
        node = np.uint64(x)
        w0, w1, w2, w3 = splines(x - np.float32(node))
        nodes[node] += weights[i] * w0
        nodes[node + one] += weights[i] * w1
        nodes[node + one + one] += weights[i] * w2
        nodes[node + one + one + one] += weights[i] * w3


@kernel
def gather(chunk, begin, end, points, own, low, inverse_spacing, potential, felt, shift, total_weight, mass, push):
    half, lowest = np.float32(0.5) * inverse_spacing, low[0]
    are_sources = own.shape[0] > 0
    for i in range(np.uint64(begin), np.uint64(end)):
        x = (read(points, i) - lowest) * inverse_spacing + FIRST
        column = np.uint32(x)
        offset = x - np.float32(column)
        values = four(potential, np.uint64(column))
        value, slope = dot(splines(offset), values), dot(spline_slopes(offset), values)
        others = total_weight
        if are_sources:
            weight, apart = read(own, i), offset - np.float32(0.5)
            own_value, own_slope = cubic(felt, np.uint64(0), apart * apart)
            value -= weight * own_value
            slope -= weight * apart * own_slope
            others -= weight
        write(mass, i, value + shift * others)
        write_other(push, i, half * slope)
