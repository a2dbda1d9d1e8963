"""Sums over the pairs of `engine.terms.circle`; a circle lies in a row, its first places again at its end.

The inner loops run over slices, from 0 on: of a range that begins elsewhere numba does not know that it is never
negative, and gathers what it could load.
"""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

from ..compute import backend
from ..terms.circle import plain_masses, plain_pushes
from ..view import View
from . import FAST, kernel, kernels
from .kernels import (
    CAUCHY,
    GAUSSIAN,
    KINDS,
    NOISE_REPULSION,
    RATIONAL,
    RATIONAL_REPULSION,
    STUDENT,
    potential_kind,
    shape_of,
)

ROWS = 1024
ZERO = np.float32(0)


@kernel
def lay_out(chunk, begin, end, cells, positions, row):
    """`row`, (4, n + m), gets the coordinates at its first n places, those missing are 0; `cells` (n,) who is where."""
    for place in range(begin, end):
        for d in range(positions.shape[1]):
            row[d, place] = positions[cells[place], d]


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def _masses(value_and_slope, begin, end, places, cells, row, first, n_negatives, shape, mass):
    """Σ over the m cells after each of value(u), of the cells at some `places`; the cells' rows begin at `first`."""
    for k in range(begin, end):
        place = places[k]
        x, y, z = row[0, place], row[1, place], row[2, place]
        begins, ends = place + 1, place + 1 + n_negatives
        xs, ys, zs = row[0, begins:ends], row[1, begins:ends], row[2, begins:ends]
        total = ZERO
        for j in range(xs.shape[0]):
            dx, dy, dz = x - xs[j], y - ys[j], z - zs[j]
            value, _ = value_and_slope(dx * dx + dy * dy + dz * dz, shape)
            total += value
        mass[cells[place] - first] = total


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def _pushes(value_and_slope, begin, end, places, cells, row, first, n_negatives, shape, push):
    """Σ slope(u) (zᵢ − zⱼ): the m cells after each at its own share, the m before it at theirs, `row[3]`."""
    n = cells.shape[0]
    for k in range(begin, end):
        place = places[k]
        push_x = push_y = push_z = ZERO
        x, y, z, share = row[0, place], row[1, place], row[2, place], row[3, place]
        begins, ends = place + 1, place + 1 + n_negatives
        xs, ys, zs = row[0, begins:ends], row[1, begins:ends], row[2, begins:ends]
        for j in range(xs.shape[0]):
            dx, dy, dz = x - xs[j], y - ys[j], z - zs[j]
            _, slope = value_and_slope(dx * dx + dy * dy + dz * dz, shape)
            push_x += slope * dx
            push_y += slope * dy
            push_z += slope * dz
        push_x, push_y, push_z = share * push_x, share * push_y, share * push_z
        ends = place if place >= n_negatives else place + n
        begins = ends - n_negatives
        xs, ys, zs, shares = row[0, begins:ends], row[1, begins:ends], row[2, begins:ends], row[3, begins:ends]
        for j in range(xs.shape[0]):
            dx, dy, dz = x - xs[j], y - ys[j], z - zs[j]
            _, slope = value_and_slope(dx * dx + dy * dy + dz * dz, shape)
            slope *= shares[j]
            push_x += slope * dx
            push_y += slope * dy
            push_z += slope * dz
        cell = cells[place] - first
        push[cell, 0], push[cell, 1], push[cell, 2] = push_x, push_y, push_z


@kernel
def student_masses(chunk, begin, end, places, cells, row, first, n_negatives, shape, mass):
    _masses(kernels.student, begin, end, places, cells, row, first, n_negatives, shape, mass)


@kernel
def cauchy_masses(chunk, begin, end, places, cells, row, first, n_negatives, shape, mass):
    _masses(kernels.cauchy, begin, end, places, cells, row, first, n_negatives, shape, mass)


@kernel
def gaussian_masses(chunk, begin, end, places, cells, row, first, n_negatives, shape, mass):
    _masses(kernels.gaussian, begin, end, places, cells, row, first, n_negatives, shape, mass)


@kernel
def rational_masses(chunk, begin, end, places, cells, row, first, n_negatives, shape, mass):
    _masses(kernels.rational, begin, end, places, cells, row, first, n_negatives, shape, mass)


@kernel
def rational_repulsion_masses(chunk, begin, end, places, cells, row, first, n_negatives, shape, mass):
    _masses(kernels.rational_repulsion, begin, end, places, cells, row, first, n_negatives, shape, mass)


@kernel
def noise_repulsion_masses(chunk, begin, end, places, cells, row, first, n_negatives, shape, mass):
    _masses(kernels.noise_repulsion, begin, end, places, cells, row, first, n_negatives, shape, mass)


@kernel
def student_pushes(chunk, begin, end, places, cells, row, first, n_negatives, shape, push):
    _pushes(kernels.student, begin, end, places, cells, row, first, n_negatives, shape, push)


@kernel
def cauchy_pushes(chunk, begin, end, places, cells, row, first, n_negatives, shape, push):
    _pushes(kernels.cauchy, begin, end, places, cells, row, first, n_negatives, shape, push)


@kernel
def gaussian_pushes(chunk, begin, end, places, cells, row, first, n_negatives, shape, push):
    _pushes(kernels.gaussian, begin, end, places, cells, row, first, n_negatives, shape, push)


@kernel
def rational_pushes(chunk, begin, end, places, cells, row, first, n_negatives, shape, push):
    _pushes(kernels.rational, begin, end, places, cells, row, first, n_negatives, shape, push)


@kernel
def rational_repulsion_pushes(chunk, begin, end, places, cells, row, first, n_negatives, shape, push):
    _pushes(kernels.rational_repulsion, begin, end, places, cells, row, first, n_negatives, shape, push)


@kernel
def noise_repulsion_pushes(chunk, begin, end, places, cells, row, first, n_negatives, shape, push):
    _pushes(kernels.noise_repulsion, begin, end, places, cells, row, first, n_negatives, shape, push)


SUMS = {
    STUDENT: (student_masses, student_pushes),
    CAUCHY: (cauchy_masses, cauchy_pushes),
    GAUSSIAN: (gaussian_masses, gaussian_pushes),
    RATIONAL: (rational_masses, rational_pushes),
    RATIONAL_REPULSION: (rational_repulsion_masses, rational_repulsion_pushes),
    NOISE_REPULSION: (noise_repulsion_masses, noise_repulsion_pushes),
}


KERNELS = tuple(kind for kind, number in KINDS.items() if number in SUMS)


def masses(pairs, potential, view: View) -> Tensor:
    """As `terms.circle.plain_masses`; of new cells, which sit in no circle, that itself."""
    if view.is_new:
        return plain_masses(pairs, potential, view)
    mass = torch.empty(len(view.mine))
    _run(0, pairs, potential, view, _laid_out(pairs, view.everyone), mass)
    return mass


def pushes(pairs, potential, view: View, share: Tensor) -> Tensor:
    """As `terms.circle.plain_pushes`; of new cells that itself."""
    if view.is_new:
        return plain_pushes(pairs, potential, view, share)
    row, push = _laid_out(pairs, view.everyone), torch.empty(len(view.mine), 3)
    row[3] = _around(pairs, share[pairs.cells])
    _run(1, pairs, potential, view, row, push)
    return push[:, : view.mine.shape[1]].contiguous()


def _around(pairs, values: Tensor) -> Tensor:
    """Of the places of the circle (n,), those of the row (n + m,)."""
    return torch.cat([values, values[: pairs.n_negatives]])


def _laid_out(pairs, positions: Tensor) -> Tensor:
    n, n_components = positions.shape
    row = torch.zeros(4, n + pairs.n_negatives)
    arrays = pairs.cells.numpy(), backend.as_array(positions), row.numpy()
    backend.parallel(lay_out, backend.chunk_bounds(n, ROWS), *arrays)
    row[:n_components, n:] = row[:n_components, : pairs.n_negatives]
    return row


def _run(which: int, pairs, potential, view: View, row: Tensor, found: Tensor) -> None:
    places = torch.arange(len(pairs.cells))
    if len(found) < len(pairs.cells):  # in the order in which they sit: memory is read in a row
        places = view.own(pairs.place_of).sort().values
    backend.parallel(
        SUMS[potential_kind(potential)][which], backend.chunk_bounds(len(places), ROWS), places.numpy(),
        pairs.cells.numpy(), row.numpy(), view.first, pairs.n_negatives, shape_of(potential), found.numpy(),
    )  # fmt: skip
