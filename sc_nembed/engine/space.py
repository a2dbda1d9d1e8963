"""Where positions lie: the plane, or a ball with an edge of its own. How they start, and what lies around them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from . import poincare
from .initialization import start_positions

MARGIN = 1.05  # of the distance from the center to the farthest cell


@dataclass(frozen=True, slots=True)
class Space:
    """A space of positions.

    Attributes
    ----------
    start
        Starting positions by name or as given, with the parameters of `initialization.start_positions`.
    around
        Center (d,) and radius of a sphere that lies 5 % outside of positions (n, d).
    """

    start: Callable[..., tuple[Tensor, str]]
    around: Callable[[Tensor], tuple[Tensor, Tensor]]


def _around_centroid(positions: Tensor) -> tuple[Tensor, Tensor]:
    center = positions.mean(0)
    return center, MARGIN * (positions - center).norm(dim=1).max()


def _around_origin(positions: Tensor) -> tuple[Tensor, Tensor]:
    """By hyperbolic distances."""
    radius = positions.norm(dim=1).max()
    return torch.zeros_like(positions[0]), (MARGIN * radius.double().atanh()).tanh()


FLAT = Space(start_positions, _around_centroid)
POINCARE_BALL = Space(poincare.start_in_ball, _around_origin)
