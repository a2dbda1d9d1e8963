"""Adam (Kingma & Ba 2015) as PaCMAP does it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..compute.twins import twin
from ..world import SERIAL
from .protocol import Optimizer, weighted_sum


@dataclass(frozen=True, slots=True)
class Adam(Optimizer):
    """m ← m + (1 − β₁)(g − m), v ← v + (1 − β₂)(g² − v), z ← z − rate · √(1 − β₂ᵗ) / (1 − β₁ᵗ) · m / (√v + eps).

    The moments and t, the number of steps, live through phases. `eps` is added before v is corrected for its start at 0
    (section 2 of the paper); torch's Adam adds it after.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-7
    parts = ("mean", "square", "done")

    def start(self, positions, setting, state, world=SERIAL):
        return (torch.zeros_like(positions), torch.zeros_like(positions), 0) if state is None else state

    def step(self, positions, forces, state, options):
        gradient, _ = weighted_sum(forces)
        mean, square, done = state
        rate = options.lr * math.sqrt(1 - self.beta2 ** (done + 1)) / (1 - self.beta1 ** (done + 1))
        betas = self.beta1, self.beta2
        positions, mean, square = twin("adam", positions)(positions, gradient, mean, square, betas, self.eps, rate)
        return positions, (mean, square, done + 1)


def plain_step(
    positions: Tensor,
    gradient: Tensor,
    mean: Tensor,
    square: Tensor,
    betas: tuple[float, float],
    eps: float,
    rate: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """New positions and moments, (n, d) each; `rate` is corrected for the moments' start at 0."""
    mean = mean + (1 - betas[0]) * (gradient - mean)
    square = square + (1 - betas[1]) * (gradient.square() - square)
    return positions - rate * mean / (square.sqrt() + eps), mean, square
