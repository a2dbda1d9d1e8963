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
FOLD = 256


def bounding_box(points: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest coordinate per dimension, (d,) float64 each."""
    if points.device.type != "cpu":
        return points.amin(0).cpu().double().numpy(), points.amax(0).cpu().double().numpy()
    points = backend.as_array(points)
    n_folded = len(points) // FOLD * FOLD  # numpy is fast along long rows; NaN and infinities are passed on
    folded, rest = points[:n_folded].reshape(-1, FOLD * points.shape[1]), points[n_folded:]
    sides = []
    for extreme in (np.minimum, np.maximum):
        if n_folded:
            rest = np.concatenate([points[n_folded:], extreme.reduce(folded).reshape(FOLD, -1)])
        sides.append(extreme.reduce(rest).astype(np.float64))
    return sides[0], sides[1]


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
    if values.device.type == "cpu":
        return torch.tensor(backend.as_array(values).sum(dtype=np.float64))
    return values.sum(dtype=torch.float64)
