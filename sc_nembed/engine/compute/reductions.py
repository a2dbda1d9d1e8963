"""Reductions over the cells whose bits do not depend on threads: fixed ranges, added up in a fixed order."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from . import backend

ROWS = 1 << 16  # rows of a range
SMALLEST = np.float32(1e-37)
FOLD = 256


def bounding_box(points: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest coordinate per dimension, (d,) float64 each."""
    if points.device.type != "cpu":
        return points.amin(0).cpu().double().numpy(), points.amax(0).cpu().double().numpy()
    points = backend.as_array(points)
    bounds = backend.chunk_bounds(len(points), ROWS)
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
    return float(inner(left, right))


def inner(left: Tensor, right: Tensor) -> Tensor:
    """The same as a float64 0-d tensor on their device."""
    if left.device.type != "cpu":
        return (left.double() * right.double()).sum()
    left, right = backend.as_array(left), backend.as_array(right)
    found = _sum_of(lambda rows: np.multiply(left[rows], right[rows], dtype=np.float64), len(left))
    return torch.tensor(found, dtype=torch.float64)


def norm(gradient: Tensor) -> float:
    """Frobenius norm."""
    return math.sqrt(dot(gradient, gradient))


def entropy(weights: Tensor) -> float:
    """−Σ w log w of entries between 0 and 1, (n_edges,)."""
    if weights.device.type != "cpu":
        return -float(torch.special.xlogy(weights.double(), weights.double()).sum())
    weights = backend.as_array(weights)

    def terms(edges: slice) -> np.ndarray:
        positive = np.maximum(weights[edges], SMALLEST)
        return positive * np.log(positive)

    return -_sum_of(terms, len(weights))


def total(values: Tensor) -> Tensor:
    """Sum of a vector as a float64 0-d tensor on its device."""
    if values.device.type != "cpu":
        return values.sum(dtype=torch.float64)
    values = backend.as_array(values)
    return torch.tensor(_sum_of(lambda rows: values[rows], len(values)), dtype=torch.float64)


def _sum_of(terms: Callable[[slice], np.ndarray], n_rows: int) -> float:
    """Sum of the terms of all rows in float64."""
    bounds = backend.chunk_bounds(n_rows, ROWS)
    partial = np.empty(len(bounds))

    def of_range(chunk: int, begin: int, end: int) -> None:
        partial[chunk] = terms(slice(begin, end)).sum(dtype=np.float64)

    backend.parallel(of_range, bounds)
    return float(partial.sum())


def scale(values: Tensor, factor: float | Tensor) -> Tensor:
    """Multiply in place."""
    if values.device.type != "cpu":
        return values.mul_(factor)
    backend.parallel(
        lambda chunk, begin, end: values[begin:end].mul_(factor), backend.chunk_bounds(values.shape[0], ROWS)
    )
    return values
