"""What a term is and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

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

    def carried(self) -> dict[str, Tensor]:
        """What the term carries from step to step and does not follow from the step alone, numbers as 0-d tensors."""
        return {}

    def with_carried(self, tensors: Mapping[str, Tensor]) -> Term:
        """The term with what `carried` gave, on the device of the run."""
        return self

    def fused_step(self, name: str, positions: Tensor) -> Callable[..., Any] | None:
        """What does an optimizer's step in the pass that evaluates the term, None for all but a few; asked once a run.

        `name` is the optimizer's `fused_as`. A term that has one is the same at all steps.
        """
        return None

    def look(self, positions: Tensor) -> Force:
        """Force and value where no step takes the force, so that its last bits may be others."""
        return self(positions, value=True)

    def __call__(self, positions: Tensor, *, value: bool) -> Force: ...


Objective = dict[str, Term]
