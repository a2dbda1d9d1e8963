"""Reductions over the cells whose bits do not depend on threads: fixed ranges, added up in a fixed order."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from . import backend
from .fused import affinity as fused_affinity
from .fused import update as fused

ROWS = 8192  # rows of a range
MANY_ROWS = 1 << 16  # of a range that numpy or torch takes at once
FOLD = 256


def bounding_box(points: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest coordinate per dimension, (d,) float64 each."""
    if points.device.type != "cpu":
        return points.amin(0).cpu().double().numpy(), points.amax(0).cpu().double().numpy()
    points = backend.as_array(points)
    bounds = backend.chunk_bounds(len(points), MANY_ROWS)
    sides = np.empty((len(bounds), 2, points.shape[1]))

    def of_range(chunk: int, begin: int, end: int) -> None:
        sides[chunk] = [_extreme(which, points[begin:end]) for which in (np.minimum, np.maximum)]

    backend.parallel(of_range, bounds)
    return sides[:, 0].min(0), sides[:, 1].max(0)


def _extreme(which: np.ufunc, points: np.ndarray) -> np.ndarray:
    """Per column; numpy is fast along long rows, and passes NaN and infinities on."""
    n_folded = len(points) // FOLD * FOLD
    rest = points[n_folded:]
    if n_folded:
        rest = np.concatenate(
            [rest, which.reduce(points[:n_folded].reshape(-1, FOLD * points.shape[1])).reshape(FOLD, -1)]
        )
    return which.reduce(rest)


def dot(left: Tensor, right: Tensor) -> float:
    """⟨left, right⟩ over all entries, in float64."""
    if not backend.is_fused(left):
        return float((left.double() * right.double()).sum())
    bounds = backend.chunk_bounds(left.shape[0], ROWS)
    partial = np.empty(len(bounds))
    backend.parallel(fused.dot, bounds, backend.as_array(left), backend.as_array(right), partial)
    return float(partial.sum())


def norm(gradient: Tensor) -> float:
    """Frobenius norm."""
    return math.sqrt(dot(gradient, gradient))


def entropy(weights: Tensor) -> float:
    """−Σ w log w of entries between 0 and 1, (n_edges,)."""
    if not backend.is_fused(weights):
        return -float(torch.special.xlogy(weights.double(), weights.double()).sum())
    bounds = backend.chunk_bounds(weights.shape[0], 64 * ROWS)
    partial = np.empty(len(bounds))
    backend.parallel(fused_affinity.entropy, bounds, backend.as_array(weights), partial)
    return float(partial.sum())


def total(values: Tensor) -> Tensor:
    """Sum of a vector as a float64 0-d tensor on its device."""
    if values.device.type != "cpu":
        return values.sum(dtype=torch.float64)
    array, bounds = backend.as_array(values), backend.chunk_bounds(values.shape[0], MANY_ROWS)
    partial = np.empty(len(bounds))

    def of_range(chunk: int, begin: int, end: int) -> None:
        partial[chunk] = array[begin:end].sum(dtype=np.float64)

    backend.parallel(of_range, bounds)
    return torch.tensor(partial.sum())


def scale(values: Tensor, factor: float | Tensor) -> Tensor:
    """Multiply in place."""
    if values.device.type != "cpu":
        return values.mul_(factor)
    backend.parallel(
        lambda chunk, begin, end: values[begin:end].mul_(factor), backend.chunk_bounds(values.shape[0], MANY_ROWS)
    )
    return values
