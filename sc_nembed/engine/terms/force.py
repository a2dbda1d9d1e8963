"""What a term gives back."""

from __future__ import annotations

from dataclasses import dataclass

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
