"""Numbers that a step needs of all cells: 0-d tensors, so that no step waits for an accelerator to tell them.

On the CPU they are found in fixed ranges, with the same bits for any number of threads.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..compute import reductions


def longest_side(positions: Tensor) -> Tensor:
    """Longest side of the box that holds all cells, float64."""
    if positions.device.type == "cpu":
        lower, upper = reductions.bounding_box(positions)
        return torch.tensor(float((upper - lower).max()), dtype=torch.float64)
    return (positions.amax(0).double() - positions.amin(0).double()).max()


def side_of(sides: np.ndarray) -> Tensor:
    """The same of the boxes of ranges, (ranges, 2, d)."""
    lower, upper = sides[:, 0].min(0), sides[:, 1].max(0)
    return torch.tensor(float((upper - lower).max()), dtype=torch.float64)


def length(gradient: Tensor) -> Tensor:
    """Frobenius norm, float64."""
    return dot(gradient, gradient).sqrt()


def dot(left: Tensor, right: Tensor) -> Tensor:
    """⟨left, right⟩ over all entries, float64."""
    if left.device.type == "cpu":
        return torch.tensor(reductions.dot(left, right), dtype=torch.float64)
    return (left.double() * right.double()).sum()
