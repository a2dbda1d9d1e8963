"""Local radii of the data and of an embedding along the edges of P, and the forces of their correlation; see
`engine.terms.density`.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit
from torch import Tensor

from ..compute import backend
from ..graph import AffinityMatrix
from ..kernel import Gaussian, Kernel, Rational, StudentT
from ..view import View
from . import FAST, kernel
from .attraction import coordinates
from .kernels import (
    CAUCHY,
    GAUSSIAN,
    RATIONAL,
    STUDENT,
    cauchy,
    gaussian,
    potential_kind,
    potential_of,
    rational,
    shape_of,
    student,
)
from .packing import both, both_packed, ranges, unsigned

KERNELS = (StudentT, Gaussian, Rational)
SMALLEST_SQ_DIST, SMALLEST_MASS, FARTHEST = 1e-8, np.float32(1e-30), np.float32(np.inf)
ZERO, ONE, TWO, EIGHT = np.float32(0), np.float32(1), np.float32(2), np.float32(8)


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def radii_2d(potential, begin, end, indptr, indices, mine, everyone, shape, log_radius, ratio, share):
    """Of each row the log radius, ρ = Σ q u / Σ q and 1 / ((ε + ρ) Σ q); positions as in `attraction`."""
    for i in range(begin, end):
        x, y = coordinates(mine[i])
        mass = weighted = ZERO
        for edge in range(indptr[i], indptr[i + 1]):
            there_x, there_y = coordinates(everyone[indices[edge]])
            dx, dy = x - there_x, y - there_y
            sq_dist = dx * dx + dy * dy
            value, _ = potential(sq_dist, shape)
            mass += value
            weighted += value * sq_dist
        nearest = FARTHEST
        if not mass > SMALLEST_MASS:
            for edge in range(indptr[i], indptr[i + 1]):
                there_x, there_y = coordinates(everyone[indices[edge]])
                dx, dy = x - there_x, y - there_y
                nearest = min(nearest, dx * dx + dy * dy)
        log_radius[i], ratio[i], share[i] = radius_of(mass, weighted, nearest)


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def forces_2d(
    potential, begin, end, indptr, indices, mine, everyone, shape, own, lever, owns, levers, gradient, curvature
):
    """`own` is gᵢ / ((ε + ρᵢ) Σ q), `lever` that times ρᵢ, (m,); `owns` and `levers` are those of everyone, (n,)."""
    for i in range(begin, end):
        x, y = coordinates(mine[i])
        sum_x = sum_y = total = ZERO
        own_i, lever_i = own[i], lever[i]
        for edge in range(indptr[i], indptr[i + 1]):
            j = indices[edge]
            there_x, there_y = coordinates(everyone[j])
            dx, dy = x - there_x, y - there_y
            sq_dist = dx * dx + dy * dy
            value, slope = potential(sq_dist, shape)
            strength = (own_i + owns[j]) * (value + sq_dist * slope) - (lever_i + levers[j]) * slope
            sum_x += strength * dx
            sum_y += strength * dy
            total += abs(strength)
        gradient[i, 0], gradient[i, 1] = -TWO * sum_x, -TWO * sum_y
        curvature[i] = EIGHT * total


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def radius_of(mass, weighted, nearest):
    """Log radius, ρ and share of a row; where the kernel underflows, by the nearest neighbor, and no share."""
    is_seen = mass > SMALLEST_MASS
    ratio = weighted / mass if is_seen else nearest
    apart = SMALLEST_SQ_DIST + ratio
    return math.log(apart), ratio, (ONE / (mass * np.float32(apart)) if is_seen else ZERO)


@kernel
def cauchy_radii_2d(chunk, begin, end, indptr, indices, mine, everyone, shape, log_radius, ratio, share):
    radii_2d(cauchy, begin, end, indptr, indices, mine, everyone, shape, log_radius, ratio, share)


@kernel
def cauchy_forces_2d(
    chunk, begin, end, indptr, indices, mine, everyone, shape, own, lever, owns, levers, gradient, curvature
):
    forces_2d(cauchy, begin, end, indptr, indices, mine, everyone, shape, own, lever, owns, levers, gradient, curvature)


@kernel
def student_radii_2d(chunk, begin, end, indptr, indices, mine, everyone, shape, log_radius, ratio, share):
    radii_2d(student, begin, end, indptr, indices, mine, everyone, shape, log_radius, ratio, share)


@kernel
def student_forces_2d(
    chunk, begin, end, indptr, indices, mine, everyone, shape, own, lever, owns, levers, gradient, curvature
):
    forces_2d(
        student, begin, end, indptr, indices, mine, everyone, shape, own, lever, owns, levers, gradient, curvature
    )


@kernel
def gaussian_radii_2d(chunk, begin, end, indptr, indices, mine, everyone, shape, log_radius, ratio, share):
    radii_2d(gaussian, begin, end, indptr, indices, mine, everyone, shape, log_radius, ratio, share)


@kernel
def gaussian_forces_2d(
    chunk, begin, end, indptr, indices, mine, everyone, shape, own, lever, owns, levers, gradient, curvature
):
    forces_2d(
        gaussian, begin, end, indptr, indices, mine, everyone, shape, own, lever, owns, levers, gradient, curvature
    )


@kernel
def rational_radii_2d(chunk, begin, end, indptr, indices, mine, everyone, shape, log_radius, ratio, share):
    radii_2d(rational, begin, end, indptr, indices, mine, everyone, shape, log_radius, ratio, share)


@kernel
def rational_forces_2d(
    chunk, begin, end, indptr, indices, mine, everyone, shape, own, lever, owns, levers, gradient, curvature
):
    forces_2d(
        rational, begin, end, indptr, indices, mine, everyone, shape, own, lever, owns, levers, gradient, curvature
    )


@kernel
def radii_any_d(chunk, begin, end, indptr, indices, mine, everyone, kind, shape, log_radius, ratio, share):
    """For positions (m, d) and (n, d)."""
    n_components = mine.shape[1]
    for i in range(begin, end):
        mass = weighted = ZERO
        nearest = FARTHEST
        for edge in range(indptr[i], indptr[i + 1]):
            sq_dist = ZERO
            for d in range(n_components):
                difference = mine[i, d] - everyone[indices[edge], d]
                sq_dist += difference * difference
            value, _ = potential_of(kind, sq_dist, shape)
            mass += value
            weighted += value * sq_dist
            nearest = min(nearest, sq_dist)
        log_radius[i], ratio[i], share[i] = radius_of(mass, weighted, nearest)


@kernel
def forces_any_d(
    chunk, begin, end, indptr, indices, mine, everyone, kind, shape, own, lever, owns, levers, gradient, curvature
):
    """For positions (m, d) and (n, d)."""
    n_components = mine.shape[1]
    for i in range(begin, end):
        total = ZERO
        for d in range(n_components):
            gradient[i, d] = ZERO
        for edge in range(indptr[i], indptr[i + 1]):
            j = indices[edge]
            sq_dist = ZERO
            for d in range(n_components):
                difference = mine[i, d] - everyone[j, d]
                sq_dist += difference * difference
            value, slope = potential_of(kind, sq_dist, shape)
            strength = (own[i] + owns[j]) * (value + sq_dist * slope) - (lever[i] + levers[j]) * slope
            for d in range(n_components):
                gradient[i, d] -= TWO * strength * (mine[i, d] - everyone[j, d])
            total += abs(strength)
        curvature[i] = EIGHT * total


TWO_D = {
    CAUCHY: (cauchy_radii_2d, cauchy_forces_2d),
    STUDENT: (student_radii_2d, student_forces_2d),
    GAUSSIAN: (gaussian_radii_2d, gaussian_forces_2d),
    RATIONAL: (rational_radii_2d, rational_forces_2d),
}


@kernel
def radii_of_features(chunk, begin, end, indptr, indices, weights, features, is_cosine, log_radius):
    """log(ε + Σ w d² / Σ w); with `is_cosine` rows are unit vectors, and d = 1 − cos."""
    for i in range(begin, end):
        mass = weighted = 0.0
        for edge in range(indptr[i], indptr[i + 1]):
            sq_dist = ZERO
            for f in range(features.shape[1]):
                difference = features[i, f] - features[indices[edge], f]
                sq_dist += difference * difference
            if is_cosine:
                sq_dist = sq_dist * sq_dist / np.float32(4)
            mass += weights[edge]
            weighted += weights[edge] * sq_dist
        log_radius[i] = math.log(SMALLEST_SQ_DIST + weighted / mass)


@kernel
def radii_of_graph(chunk, begin, end, indptr, indices, weights, members, neighbors, distances, log_radius):
    """The same with the distances of a neighbor graph, in which an edge may stand on one side alone.

    `members` are the rows of the graph that the rows of P are.
    """
    n_neighbors = neighbors.shape[1]
    for i in range(begin, end):
        mass = weighted = 0.0
        here = members[i]
        for edge in range(indptr[i], indptr[i + 1]):
            there, distance = members[indices[edge]], np.float32(np.inf)
            for k in range(n_neighbors):
                if neighbors[here, k] == there:
                    distance = min(distance, distances[here, k])
                if neighbors[there, k] == here:
                    distance = min(distance, distances[there, k])
            mass += weights[edge]
            weighted += weights[edge] * distance * distance
        log_radius[i] = math.log(SMALLEST_SQ_DIST + weighted / mass)


def radii(matrix: AffinityMatrix, kernel: Kernel, view: View) -> tuple[Tensor, Tensor, Tensor]:
    """As `terms.density.plain_radii`."""
    m = len(view.mine)
    found = torch.empty(m, dtype=torch.float64), torch.empty(m), torch.empty(m)
    _run(0, matrix, kernel, view, *found)
    return found


def forces(
    matrix: AffinityMatrix, kernel: Kernel, view: View, own: Tensor, lever: Tensor, owns: Tensor, levers: Tensor
) -> tuple[Tensor, Tensor]:
    """As `terms.density.plain_forces`."""
    gradient, curvature = torch.empty(view.mine.shape), torch.empty(len(view.mine))
    _run(1, matrix, kernel, view, own, lever, owns, levers, gradient, curvature)
    return gradient, curvature


def _run(which: int, matrix: AffinityMatrix, kernel: Kernel, view: View, *tensors: Tensor) -> None:
    """One of the two passes."""
    kind, (indptr, indices, _) = potential_kind(kernel), unsigned(matrix)
    if view.mine.shape[1] == 2:
        loop, given = TWO_D[kind][which], (*both_packed(view), shape_of(kernel))
    else:
        loop, given = (radii_any_d, forces_any_d)[which], (*both(view), kind, shape_of(kernel))
    arrays = (backend.as_array(tensor) for tensor in tensors)
    backend.parallel(loop, ranges(len(view.mine)), indptr, indices, *given, *arrays)
