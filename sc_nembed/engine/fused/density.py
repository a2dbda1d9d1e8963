"""Local radii of the data and of an embedding along the edges of P, and the forces of their correlation; see
`engine.terms.density`.
"""

from __future__ import annotations

import math

import numpy as np

from . import kernel
from .kernels import potential_of

SMALLEST_SQ_DIST, SMALLEST_MASS = 1e-8, np.float32(1e-30)
ZERO, ONE, TWO, FOUR = np.float32(0), np.float32(1), np.float32(2), np.float32(4)


@kernel
def radii(chunk, begin, end, indptr, indices, positions, kind, shape, log_radius, ratio, share):
    """Of each row the log radius, ρ = Σ q u / Σ q and 1 / ((ε + ρ) Σ q)."""
    n_components = positions.shape[1]
    for i in range(begin, end):
        mass = weighted = ZERO
        nearest = np.float32(np.inf)
        for edge in range(indptr[i], indptr[i + 1]):
            sq_dist = ZERO
            for d in range(n_components):
                difference = positions[i, d] - positions[indices[edge], d]
                sq_dist += difference * difference
            value, _ = potential_of(kind, sq_dist, shape)
            mass += value
            weighted += value * sq_dist
            nearest = min(nearest, sq_dist)
        is_seen = mass > SMALLEST_MASS
        ratio[i] = weighted / mass if is_seen else nearest
        apart = SMALLEST_SQ_DIST + ratio[i]
        log_radius[i] = math.log(apart)
        share[i] = ONE / (mass * np.float32(apart)) if is_seen else ZERO


@kernel
def forces(chunk, begin, end, indptr, indices, positions, kind, shape, own, lever, gradient, curvature):
    """`own` is gᵢ / ((ε + ρᵢ) Σ q), `lever` that times ρᵢ."""
    n_components = positions.shape[1]
    for i in range(begin, end):
        total = ZERO
        for d in range(n_components):
            gradient[i, d] = ZERO
        for edge in range(indptr[i], indptr[i + 1]):
            j = indices[edge]
            sq_dist = ZERO
            for d in range(n_components):
                difference = positions[i, d] - positions[j, d]
                sq_dist += difference * difference
            value, slope = potential_of(kind, sq_dist, shape)
            strength = TWO * ((own[i] + own[j]) * (value + sq_dist * slope) - (lever[i] + lever[j]) * slope)
            for d in range(n_components):
                gradient[i, d] -= strength * (positions[i, d] - positions[j, d])
            total += abs(strength)
        curvature[i] = FOUR * total


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
