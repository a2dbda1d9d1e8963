"""What a term is and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Force:
    """Gradient of a term, its value where that was asked for, and its curvature.

    Attributes
    ----------
    gradient
        (n, d) derivative of the term with respect to the positions.
    value
        0-d tensor on the device of the positions, or None.
    curvature
        (n,) or, where it is the same for all cells, (1,): a positive bound on the second derivative, which the
        optimizer divides the gradient by; None where a term has none.
    """

    gradient: Tensor  # (n, d)
    value: Tensor | None
    curvature: Tensor | None  # (n,) or (1,)


class Term(Protocol):
    """A part of an objective: maps positions (n, d) to a `Force`. What it carries from step to step are its fields."""

    def at(self, positions: Tensor, step: int) -> Term:
        """The term as a step sees it, the first being 0: with draws of its own, say. Most are the same at all steps."""
        return self

    def __call__(self, positions: Tensor, *, value: bool) -> Force: ...


Objective = dict[str, Term]
