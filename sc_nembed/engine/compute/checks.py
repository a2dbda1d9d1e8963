"""Of numbers that a user gives."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable


def check_number(
    name: str, value: object, wanted: str, accept: Callable[[float], bool], *, whole: bool = False
) -> None:
    """Raise a ValueError that says what is `wanted`, unless `value` is a finite number, not a bool, and accepted."""
    kind = numbers.Integral if whole else numbers.Real
    if isinstance(value, bool) or not isinstance(value, kind) or not math.isfinite(value) or not accept(value):
        raise ValueError(f"`{name}` must be {wanted}; got {value!r}.")


def check_positive(name: str, value: object) -> None:
    check_number(name, value, "a positive number", lambda number: number > 0)


def check_not_negative(name: str, value: object) -> None:
    check_number(name, value, "a number of at least 0", lambda number: number >= 0)
