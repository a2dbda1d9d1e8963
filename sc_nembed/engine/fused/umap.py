"""One epoch of sampled UMAP; see `engine.optimize.sampled`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numba import njit
from torch import Tensor

from ..compute import backend
from . import FAST, kernel
from .attraction import coordinates
from .counter_rng import integer
from .kernels import rational_pull, rational_push, shape_of
from .packing import packed, unsigned

if TYPE_CHECKING:
    from ..optimize.sampled import SampledEpochs

ROWS = 1024
TWO, ZERO = np.float32(2), np.float32(0)


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def _is_sampled(step, rate):
    share = np.float64(rate)
    return np.floor(step * share) != np.floor((step - 1) * share)


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def _drawn(key, i, draw, below, excluded):
    """A cell that is not one of the `excluded`, of which `below` are left."""
    other = integer(key, np.uint64(i), draw, below)
    for cell in excluded:
        other += np.uint64(other >= np.uint64(cell))
    return other


@kernel
def epoch_2d(
    chunk, begin, end, indptr, indices, rates, excluded_indptr, excluded, positions, step, key, n_negatives, pull_rate,
    push_rate, kernel_shape, repulsion_shape, moved
):  # fmt: skip
    """New positions (2n,) of a range of cells. `step` counts from 1; `rates` are the edges' samples per epoch, at most
    1; `positions` is (n,) uint64, a pair of float32 each.
    """
    n = positions.shape[0]
    for i in range(begin, end):
        x, y = coordinates(positions[i])
        never = excluded[excluded_indptr[i] : excluded_indptr[i + 1]]
        below, draw = np.uint64(n - never.shape[0]), np.uint64(0)
        for edge in range(indptr[i], indptr[i + 1]):
            if _is_sampled(step, rates[edge]):
                there_x, there_y = coordinates(positions[indices[edge]])
                for _ in range(2):  # as the head of this edge and as the tail of its mirror image
                    dx, dy = x - there_x, y - there_y
                    pull = pull_rate * rational_pull(dx * dx + dy * dy, kernel_shape)
                    x, y = x - pull * dx, y - pull * dy
                push_x = push_y = ZERO
                for k in range(n_negatives if below else 0):
                    other = _drawn(key, i, draw + np.uint64(k), below, never)
                    there_x, there_y = coordinates(positions[other])
                    dx, dy = x - there_x, y - there_y
                    push = rational_push(dx * dx + dy * dy, repulsion_shape)
                    push_x, push_y = push_x + push * dx, push_y + push * dy
                x, y = x + push_rate * push_x, y + push_rate * push_y
            draw += np.uint64(n_negatives)
        place = np.uint64(i)
        moved[place + place], moved[place + place + np.uint64(1)] = x, y


@kernel
def epoch_any_d(
    chunk, begin, end, indptr, indices, rates, excluded_indptr, excluded, positions, step, key, n_negatives, pull_rate,
    push_rate, kernel_shape, repulsion_shape, moved
):  # fmt: skip
    """The same for positions (n, d); `moved` is flat too."""
    n, n_components = positions.shape
    here, push = np.empty(n_components, np.float32), np.empty(n_components, np.float32)
    for i in range(begin, end):
        here[:] = positions[i]
        never = excluded[excluded_indptr[i] : excluded_indptr[i + 1]]
        below, draw = np.uint64(n - never.shape[0]), np.uint64(0)
        for edge in range(indptr[i], indptr[i + 1]):
            if _is_sampled(step, rates[edge]):
                j = indices[edge]
                for _ in range(2):
                    pull = pull_rate * rational_pull(_sq_dist(here, positions, j), kernel_shape)
                    for d in range(n_components):
                        here[d] -= pull * (here[d] - positions[j, d])
                push[:] = ZERO
                for k in range(n_negatives if below else 0):
                    other = _drawn(key, i, draw + np.uint64(k), below, never)
                    strength = rational_push(_sq_dist(here, positions, other), repulsion_shape)
                    for d in range(n_components):
                        push[d] += strength * (here[d] - positions[other, d])
                for d in range(n_components):
                    here[d] += push_rate * push[d]
            draw += np.uint64(n_negatives)
        moved[i * n_components : (i + 1) * n_components] = here


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def _sq_dist(here, positions, j):
    total = ZERO
    for d in range(here.shape[0]):
        total += (here[d] - positions[j, d]) ** 2
    return total


def sampled_epoch(
    epochs: SampledEpochs, positions: Tensor, epoch: int, key: int, attract: float, repel: float, rate: float
) -> Tensor:
    """As `optimize.sampled.plain_epoch`."""
    moved, (indptr, excluded) = torch.empty_like(positions), epochs.excluded
    points, of_epoch = backend.as_array(positions), epoch_any_d
    if positions.shape[1] == 2:
        points, of_epoch = packed(positions), epoch_2d
    backend.parallel(
        of_epoch, backend.chunk_bounds(positions.shape[0], ROWS), *unsigned(epochs.matrix),
        backend.as_array(indptr).view(np.uint64), backend.as_array(excluded), points, epoch, np.uint64(key),
        epochs.n_negatives, np.float32(2 * rate * attract), np.float32(2 * rate * repel), shape_of(epochs.kernel),
        shape_of(epochs.repulsion), backend.flat(moved),
    )  # fmt: skip
    return moved
