"""Adam (Kingma & Ba 2015) as PaCMAP does it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from ..compute import backend
from ..fused import adam as fused_adam
from .optimizer import FUSED_ROWS
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

    def start(self, positions, setting, state):
        return (torch.zeros_like(positions), torch.zeros_like(positions), 0) if state is None else state

    def step(self, positions, forces, state, options):
        gradient, _ = weighted_sum(forces)
        mean, square, done = state
        rate = options.lr * math.sqrt(1 - self.beta2 ** (done + 1)) / (1 - self.beta1 ** (done + 1))
        move = self._fused if backend.is_fused(positions) else self._plain
        positions, mean, square = move(positions, gradient, mean, square, rate)
        return positions, (mean, square, done + 1)

    def _fused(self, positions, gradient, mean, square, rate):
        made = tuple(torch.empty(positions.shape) for _ in range(3))
        backend.parallel(
            fused_adam.adam, backend.chunk_bounds(positions.numel(), FUSED_ROWS),
            *(backend.flat(part) for part in (positions, gradient, mean, square)), np.float32(1 - self.beta1),
            np.float32(1 - self.beta2), np.float32(self.eps), np.float32(rate), *(backend.flat(part) for part in made),
        )  # fmt: skip
        return made

    def _plain(self, positions, gradient, mean, square, rate):
        mean = mean + (1 - self.beta1) * (gradient - mean)
        square = square + (1 - self.beta2) * (gradient.square() - square)
        return positions - rate * mean / (square.sqrt() + self.eps), mean, square
