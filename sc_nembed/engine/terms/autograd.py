"""Any differentiable function of the positions as a term; its gradient is autograd's, and it has no curvature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .term import Force, Term


@dataclass(frozen=True)
class Autograd(Term):
    """`loss` maps positions (n, d) to a 0-d tensor."""

    loss: Callable[[Tensor], Tensor]

    def __call__(self, positions: Tensor, *, value: bool) -> Force:
        with torch.enable_grad():
            leaf = positions.detach().requires_grad_()
            loss = self.loss(leaf)
            (gradient,) = torch.autograd.grad(loss, leaf)
        return Force(gradient, loss.detach() if value else None, None)
