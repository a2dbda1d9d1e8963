"""What a term is and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

from torch import Tensor

from ..view import View


@dataclass(frozen=True, slots=True)
class Force:
    """Gradient of a term, its value where that was asked for, and its curvature.

    Attributes
    ----------
    gradient
        (m, d) derivative of the term with respect to the positions of the view's rows.
    value
        0-d tensor on the device of the positions, or None: the part of these rows, or of all (`Term.of_all_rows`).
    curvature
        (m,) or, where it is the same for all cells, (1,): a positive bound on the second derivative, which the
        optimizer divides the gradient by; None where a term has none.
    """

    gradient: Tensor  # (m, d)
    value: Tensor | None
    curvature: Tensor | None  # (m,) or (1,)


class Term(Protocol):
    """A part of an objective: maps a view to a `Force`. What it carries from step to step are its fields."""

    of_all_rows: ClassVar[bool] = False
    """Whether a value is that of all rows; else it is a view's share, and those of shards add up to it."""

    def at_step(self, view: View, step: int) -> Self:
        """The term as a step sees it, the first being 0: with draws of its own, say. Most are the same at all steps."""
        return self

    def shard(self, begin: int, end: int) -> Self:
        """The term for views of these rows alone; the same for one that holds no list of edges."""
        return self

    def carried(self) -> dict[str, Tensor]:
        """What the term carries from step to step and does not follow from the step alone, numbers as 0-d tensors."""
        return {}

    def with_carried(self, tensors: Mapping[str, Tensor]) -> Self:
        """The term with what `carried` gave, on the device of the run."""
        return self

    def fused_step(self, name: str, positions: Tensor) -> Callable[..., Any] | None:
        """What does an optimizer's step in the pass that evaluates the term, None for all but a few; asked once a run.

        `name` is the optimizer's `fused_as`. A term that has one is the same at all steps.
        """
        return None

    def with_value(self, view: View) -> Force:
        """Force and value where no step takes the force, so that its last bits may be others."""
        return self(view, value=True)

    def __call__(self, view: View, *, value: bool) -> Force: ...


Objective = dict[str, Term]
