"""Any differentiable function of the positions as a term; its gradient is autograd's, and it has no curvature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..view import View
from .term import Force, Term


@dataclass(frozen=True)
class Autograd(Term):
    """`loss` maps the positions of all cells, (n, d), to a 0-d tensor; every process evaluates all of it."""

    loss: Callable[[Tensor], Tensor]
    of_all_rows: ClassVar[bool] = True

    def __call__(self, view: View, *, value: bool) -> Force:
        if view.is_new:
            raise ValueError(
                "This loss is a function of all positions at once and does not say what new cells are to fixed ones; "
                "place new cells by a method whose forces are known."
            )
        with torch.enable_grad():
            leaf = view.everyone.detach().requires_grad_()
            loss = self.loss(leaf)
            (gradient,) = torch.autograd.grad(loss, leaf)
        return Force(view.own(gradient), loss.detach() if value else None, None)
