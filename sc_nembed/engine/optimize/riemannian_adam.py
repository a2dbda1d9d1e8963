"""Adam on the Poincaré ball, for CO-SNE."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..poincare import conformal, exponential, inside, transport
from ..world import SERIAL
from .protocol import Optimizer, weighted_sum


@dataclass(frozen=True, slots=True)
class RiemannianAdam(Optimizer):
    """Adam on the ball, with one second moment per cell (Bécigneul & Ganea 2019); it ends no step outside of it.

    The rate is about the distance that a cell moves in a step while its gradients agree. The second moment forgets
    sooner than is usual, so that the large gradients of early exaggeration do not slow down what follows.
    """

    betas: tuple[float, float] = (0.9, 0.9)
    eps: float = 1e-8
    parts = ("first", "second", "done")

    def __post_init__(self) -> None:
        if not (len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas) and self.eps > 0):
            raise ValueError(
                f"`betas` must be two numbers from 0 to below 1, and `eps` positive; got {self.betas!r}, {self.eps!r}."
            )

    def start(self, positions, setting, state, world=SERIAL):
        if state is not None:
            return state  # the moments live through phases
        return torch.zeros_like(positions, dtype=torch.float64), positions.new_zeros(len(positions), 1).double(), 0

    def step(self, positions, forces, state, options):
        z, (first, second, done) = positions.double(), state
        (beta, other_beta), done, scale = self.betas, done + 1, conformal(z)
        gradient = weighted_sum(forces)[0].double() / scale.square()
        sq_length = (scale * gradient).square().sum(1, keepdim=True)
        first = beta * first + (1 - beta) * gradient
        second = other_beta * second + (1 - other_beta) * sq_length
        mean, spread = first / (1 - beta**done), (second / (1 - other_beta**done)).sqrt()
        moved = inside(exponential(z, -options.lr * mean / (spread + self.eps)))
        return moved.to(positions.dtype), (transport(z, moved, first), second, done)
