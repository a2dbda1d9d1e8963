"""What two cells of a pair cost at squared distance u = ‖zᵢ − zⱼ‖²: the losses of PaCMAP (Wang et al. 2021) and
LocalMAP (Wang et al. 2024), written in d = 1 + u.

| pairs | potential | its gradient, in units of zᵢ − zⱼ |
|---|---|---|
| near, mid-near | d / (scale + d) | 2 scale / (scale + d)² |
| far | 1 / (1 + d) | −2 / (1 + d)² |
| near, in LocalMAP's last phase | see `LocalPull` | strength · 2 scale / ((scale + d)² √d) |

Each is bounded: cells far apart hardly act on each other. `slope` is the derivative in u, which is the one in d.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class PairPotential(Protocol):
    """A function of squared distances and its derivative."""

    def value(self, sq_dist: Tensor) -> Tensor: ...

    def slope(self, sq_dist: Tensor) -> Tensor: ...


@dataclass(frozen=True, slots=True)
class Pull:
    """d / (scale + d): from 1 / (scale + 1) where the two meet to 1."""

    scale: float = 10.0

    def value(self, sq_dist: Tensor) -> Tensor:
        return (1 + sq_dist) / (self.scale + 1 + sq_dist)

    def slope(self, sq_dist: Tensor) -> Tensor:
        return self.scale / (self.scale + 1 + sq_dist).square()


@dataclass(frozen=True, slots=True)
class Push:
    """1 / (1 + d): from 1/2 where the two meet to 0."""

    def value(self, sq_dist: Tensor) -> Tensor:
        return 1 / (2 + sq_dist)

    def slope(self, sq_dist: Tensor) -> Tensor:
        return -1 / (2 + sq_dist).square()


@dataclass(frozen=True, slots=True)
class LocalPull:
    """The pull whose force is multiplied by strength / √d: cells at hand feel more of it, cells far away less.

    LocalMAP states the force alone. It belongs to strength · (√d / (scale + d) + arctan(√(d / scale)) / √scale).
    """

    scale: float = 10.0
    strength: float = 5.0

    def value(self, sq_dist: Tensor) -> Tensor:
        root, width = (1 + sq_dist).sqrt(), math.sqrt(self.scale)
        return self.strength * (root / (self.scale + 1 + sq_dist) + (root / width).atan() / width)

    def slope(self, sq_dist: Tensor) -> Tensor:
        return (self.strength * self.scale) / ((self.scale + 1 + sq_dist).square() * (1 + sq_dist).sqrt())
