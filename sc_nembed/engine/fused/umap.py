"""One epoch of sampled UMAP; see `engine.sampled`."""

from __future__ import annotations

import numpy as np
from numba import njit

from . import FAST, kernel
from .draws import integer
from .kernels import rational_pull, rational_repulsion

TWO = np.float32(2)


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def _sq_dist(current, positions, j):
    total = np.float32(0)
    for d in range(current.shape[0]):
        total += (current[d] - positions[j, d]) ** 2
    return total


@kernel
def epoch(
    chunk, begin, end, indptr, indices, rates, excluded_indptr, excluded, positions, step, key, n_negatives, attract,
    repel, rate, kernel_shape, repulsion_shape, moved
):  # fmt: skip
    """New positions of a range of cells. `step` counts from 1; `rates` are the edges' samples per epoch, at most 1."""
    n, n_components = positions.shape
    current = np.empty(n_components, np.float32)
    for i in range(begin, end):
        for d in range(n_components):
            current[d] = positions[i, d]
        below = np.uint64(n - (excluded_indptr[i + 1] - excluded_indptr[i]))
        for edge in range(indptr[i], indptr[i + 1]):
            share = np.float64(rates[edge])
            if np.floor(step * share) == np.floor((step - 1) * share):
                continue
            j = indices[edge]
            for _ in range(2):  # as the head of this edge and as the tail of its mirror image
                pull = TWO * rational_pull(_sq_dist(current, positions, j), kernel_shape)
                for d in range(n_components):
                    current[d] -= rate * attract * pull * (current[d] - positions[j, d])
            if below == 0:
                continue
            for k in range(n_negatives):
                draw = np.uint64((edge - indptr[i]) * n_negatives + k)
                other = np.int64(integer(key, np.uint64(i), draw, below))
                for place in range(excluded_indptr[i], excluded_indptr[i + 1]):
                    other += other >= excluded[place]
                sq_dist = _sq_dist(current, positions, other)
                _, slope = rational_repulsion(sq_dist, repulsion_shape)
                for d in range(n_components):
                    current[d] -= rate * repel * TWO * slope * (current[d] - positions[other, d])
        for d in range(n_components):
            moved[i, d] = current[d]
