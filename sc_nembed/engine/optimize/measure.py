"""Numbers that a step needs of all cells: 0-d tensors, so that no step waits for an accelerator to tell them.

On the CPU they are found in fixed ranges, with the same bits for any number of threads. Each process has its own rows;
what they find is put together by their world.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..compute import reductions
from ..world import SERIAL, World


def longest_side(positions: Tensor, world: World = SERIAL) -> Tensor:
    """Longest side of the box that holds all cells, float64."""
    if positions.device.type == "cpu":
        return side_of(np.stack(reductions.bounding_box(positions))[None], world)
    box = torch.stack([positions.amin(0), positions.amax(0)]).double()
    return _longest(world.gather(box[None]))


def side_of(sides: np.ndarray, world: World = SERIAL) -> Tensor:
    """The same of the boxes of ranges, (ranges, 2, d)."""
    box = np.stack([sides[:, 0].min(0), sides[:, 1].max(0)])
    return _longest(world.gather(torch.from_numpy(box)[None]))


def _longest(boxes: Tensor) -> Tensor:
    return (boxes[:, 1].amax(0) - boxes[:, 0].amin(0)).max().double()


def length(gradient: Tensor, world: World = SERIAL) -> Tensor:
    """Frobenius norm, float64."""
    return dot(gradient, gradient, world).sqrt()


def dot(left: Tensor, right: Tensor, world: World = SERIAL) -> Tensor:
    """⟨left, right⟩ over all entries, float64."""
    return world.sum(reductions.inner(left, right))


def mean(positions: Tensor, world: World = SERIAL) -> Tensor:
    """Of all cells, (d,) float64."""
    n = world.sum(torch.tensor(len(positions)))
    return world.sum(positions.double().mean(0) * (len(positions) / n))
