"""The edges of P in a denominator: Σᵢⱼ pᵢⱼ log(qᵢⱼ + dᵢ), see `engine.terms.denominators`."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

from ..compute import backend
from ..graph import AffinityMatrix
from ..kernel import Kernel, StudentT
from ..view import View
from . import FAST, kernel
from .attraction import coordinates
from .elementary import log_of
from .kernels import cauchy, shape_of
from .packing import both, both_packed, unsigned

ROWS = 1024
KERNELS = (StudentT(),)
ONE, TWO, ZERO = np.float32(1), np.float32(2), np.float32(0)


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def _sq_dist(mine, everyone, i, j):
    total = ZERO
    for d in range(mine.shape[1]):
        difference = mine[i, d] - everyone[j, d]
        total += difference * difference
    return total


@kernel
def gradient_2d(
    chunk, begin, end, indptr, indices, weights, mine, everyone, shape, denominator, others, gradient, share
):
    """The gradient (2m,) at fixed d, and the share Σⱼ pᵢⱼ / (qᵢⱼ + dᵢ), which is the derivative with respect to dᵢ.

    `mine` (m,) and `everyone` (n,) are uint64, a pair of float32 each; `denominator` is d of the one, `others` of the
    other.
    """
    for i in range(begin, end):
        x, y = coordinates(mine[i])
        own, total, sum_x, sum_y = denominator[i], ZERO, ZERO, ZERO
        for edge in range(indptr[i], indptr[i + 1]):
            there_x, there_y = coordinates(everyone[indices[edge]])
            dx, dy = x - there_x, y - there_y
            value, slope = cauchy(dx * dx + dy * dy, shape)
            part = weights[edge] / (value + own)
            total += part
            strength = slope * (part + weights[edge] / (value + others[indices[edge]]))
            sum_x += strength * dx
            sum_y += strength * dy
        place = np.uint64(i)
        gradient[place + place], gradient[place + place + np.uint64(1)] = TWO * sum_x, TWO * sum_y
        share[place] = total


@kernel
def gradient_any_d(
    chunk, begin, end, indptr, indices, weights, mine, everyone, shape, denominator, others, gradient, share
):
    """The same for positions (m, d) and (n, d)."""
    for i in range(begin, end):
        own, total = denominator[i], ZERO
        for d in range(mine.shape[1]):
            gradient[i, d] = ZERO
        for edge in range(indptr[i], indptr[i + 1]):
            j = indices[edge]
            value, slope = cauchy(_sq_dist(mine, everyone, i, j), shape)
            part = weights[edge] / (value + own)
            total += part
            strength = TWO * slope * (part + weights[edge] / (value + others[j]))
            for d in range(mine.shape[1]):
                gradient[i, d] += strength * (mine[i, d] - everyone[j, d])
        share[i] = total


@kernel
def value(chunk, begin, end, indptr, indices, weights, mine, everyone, shape, denominator, partial):
    total = 0.0
    for i in range(begin, end):
        row = ZERO
        for edge in range(indptr[i], indptr[i + 1]):
            q, _ = cauchy(_sq_dist(mine, everyone, i, indices[edge]), shape)
            row += weights[edge] * log_of(q + denominator[i])
        total += row
    partial[chunk] = total


def gradient(
    matrix: AffinityMatrix, kernel: Kernel, view: View, denominator: Tensor, others: Tensor
) -> tuple[Tensor, Tensor]:
    """As `terms.denominators.plain_gradient`."""
    found, share = torch.empty(view.mine.shape), torch.empty(len(view.mine))
    arrays = (backend.as_array(part) for part in (denominator, others))
    loop, points = (gradient_2d, both_packed(view)) if view.mine.shape[1] == 2 else (gradient_any_d, both(view))
    out = backend.flat(found) if view.mine.shape[1] == 2 else found.numpy()
    backend.parallel(loop, _bounds(view), *unsigned(matrix), *points, shape_of(kernel), *arrays, out, share.numpy())
    return found, share


def logs(matrix: AffinityMatrix, kernel: Kernel, view: View, denominator: Tensor) -> Tensor:
    """As `terms.denominators.plain_value`."""
    bounds = _bounds(view)
    partial = np.empty(len(bounds))
    backend.parallel(
        value, bounds, *unsigned(matrix), *both(view), shape_of(kernel), backend.as_array(denominator), partial
    )
    return torch.tensor(partial.sum())


def _bounds(view: View) -> list[tuple[int, int]]:
    return backend.chunk_bounds(len(view.mine), ROWS)
