"""Forces between the cells of pairs, for every potential of `engine.terms.pair_potential`: 2 Σⱼ wᵢⱼ slopeᵢⱼ (zᵢ − zⱼ).

The loop over a row's pairs is written once for 2-D and once for any number of dimensions. As in `attraction`, the first
is compiled for each potential by a wrapper, the second once for all of them.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from numba import njit
from torch import Tensor

from ..compute import backend
from ..graph import AffinityMatrix
from ..terms.pair_potential import LocalPull, PairPotential, Pull, Push
from ..view import View
from . import FAST, kernel
from .attraction import coordinates
from .kernels import scalar
from .packing import both, both_packed, ranges, unsigned

PULL, PUSH, LOCAL_PULL = range(3)
KINDS = {Pull: PULL, Push: PUSH, LocalPull: LOCAL_PULL}
KERNELS = tuple(KINDS)
ONE, TWO, ZERO = np.float32(1), np.float32(2), np.float32(0)


@functools.lru_cache
def shape_of(potential: PairPotential) -> np.ndarray:
    """The parameters of a potential in the order the loops expect, (2,) float32."""
    if isinstance(potential, Push):
        return np.zeros(2, np.float32)
    return np.array([potential.scale, potential.strength if isinstance(potential, LocalPull) else 1], np.float32)


@scalar
def pull_slope(sq_dist, shape):
    share = ONE / (shape[0] + ONE + sq_dist)
    return shape[0] * share * share


@scalar
def push_slope(sq_dist, shape):
    share = ONE / (TWO + sq_dist)
    return -share * share


@scalar
def local_pull_slope(sq_dist, shape):
    beyond = shape[0] + ONE + sq_dist
    return shape[1] * shape[0] / (beyond * beyond * math.sqrt(ONE + sq_dist))


@scalar
def slope_of(kind, sq_dist, shape):
    """For the loop that is compiled once for all potentials."""
    if kind == PULL:
        return pull_slope(sq_dist, shape)
    return push_slope(sq_dist, shape) if kind == PUSH else local_pull_slope(sq_dist, shape)


@scalar
def value_of(kind, sq_dist, shape):
    if kind == PULL:
        return (ONE + sq_dist) / (shape[0] + ONE + sq_dist)
    if kind == PUSH:
        return ONE / (TWO + sq_dist)
    root, width = math.sqrt(ONE + sq_dist), math.sqrt(shape[0])
    return shape[1] * (root / (shape[0] + ONE + sq_dist) + math.atan(root / width) / width)


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def force_2d(slope, begin, end, indptr, indices, weights, mine, everyone, shape, gradient):
    """`mine` (m,) and `everyone` (n,) are uint64, a pair of float32 each; the gradient is flat."""
    for i in range(begin, end):
        x, y = coordinates(mine[i])
        sum_x = sum_y = ZERO
        for edge in range(indptr[i], indptr[i + 1]):
            there_x, there_y = coordinates(everyone[indices[edge]])
            dx, dy = x - there_x, y - there_y
            strength = weights[edge] * slope(dx * dx + dy * dy, shape)
            sum_x += strength * dx
            sum_y += strength * dy
        place = np.uint64(i)
        gradient[place + place], gradient[place + place + np.uint64(1)] = TWO * sum_x, TWO * sum_y


@kernel
def pull_2d(chunk, begin, end, indptr, indices, weights, mine, everyone, shape, gradient):
    force_2d(pull_slope, begin, end, indptr, indices, weights, mine, everyone, shape, gradient)


@kernel
def push_2d(chunk, begin, end, indptr, indices, weights, mine, everyone, shape, gradient):
    force_2d(push_slope, begin, end, indptr, indices, weights, mine, everyone, shape, gradient)


@kernel
def local_pull_2d(chunk, begin, end, indptr, indices, weights, mine, everyone, shape, gradient):
    force_2d(local_pull_slope, begin, end, indptr, indices, weights, mine, everyone, shape, gradient)


TWO_D = {PULL: pull_2d, PUSH: push_2d, LOCAL_PULL: local_pull_2d}


@kernel
def force_any_d(chunk, begin, end, indptr, indices, weights, mine, everyone, kind, shape, gradient):
    """For positions (m, d) and (n, d); the gradient is flat."""
    n_components = mine.shape[1]
    for i in range(begin, end):
        place = i * n_components
        for d in range(n_components):
            gradient[place + d] = 0
        for edge in range(indptr[i], indptr[i + 1]):
            j = indices[edge]
            sq_dist = ZERO
            for d in range(n_components):
                difference = mine[i, d] - everyone[j, d]
                sq_dist += difference * difference
            strength = TWO * weights[edge] * slope_of(kind, sq_dist, shape)
            for d in range(n_components):
                gradient[place + d] += strength * (mine[i, d] - everyone[j, d])


@kernel
def value_any_d(chunk, begin, end, indptr, indices, weights, mine, everyone, kind, shape, partial):
    """½ Σ over rows of Σⱼ wᵢⱼ valueᵢⱼ, one partial sum per range; for positions (m, d) and (n, d)."""
    n_components = mine.shape[1]
    total = 0.0
    for i in range(begin, end):
        row = ZERO
        for edge in range(indptr[i], indptr[i + 1]):
            j = indices[edge]
            sq_dist = ZERO
            for d in range(n_components):
                difference = mine[i, d] - everyone[j, d]
                sq_dist += difference * difference
            row += weights[edge] * value_of(kind, sq_dist, shape)
        total += row
    partial[chunk] = 0.5 * total


def pair_sum(pairs: AffinityMatrix, potential: PairPotential, view: View, value: bool) -> tuple[Tensor, Tensor | None]:
    """As `terms.pair_sum.plain`."""
    kind, shape, edges = KINDS[type(potential)], shape_of(potential), unsigned(pairs)
    gradient, bounds, of_any_d = (
        torch.empty(view.mine.shape),
        ranges(len(view.mine)),
        (*edges, *both(view), kind, shape),
    )
    if view.mine.shape[1] == 2:
        backend.parallel(TWO_D[kind], bounds, *edges, *both_packed(view), shape, backend.flat(gradient))
    else:
        backend.parallel(force_any_d, bounds, *of_any_d, backend.flat(gradient))
    if not value:
        return gradient, None
    partial = np.empty(len(bounds))
    backend.parallel(value_any_d, bounds, *of_any_d, partial)
    return gradient, torch.tensor(partial.sum())
