"""Checks of what a user gives; each raises an error that says what was expected, what was found and what to do."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Collection
from typing import NoReturn

import numpy as np


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


def no_effect(name: str, why: str, what_to_do: str = "Drop it.") -> NoReturn:
    """Refuse a parameter that cannot have an effect in this call."""
    raise ValueError(f"`{name}` has no effect {why}. {what_to_do}")


def refuse_unknown(what: str, given: Collection[str], known: Collection[str], of: str = "") -> None:
    """Refuse names that do not exist, with a list of those that do."""
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise TypeError(f"Unknown {what} {unknown}{of}; available: {list(known)}.")


def finite_rows(values: np.ndarray, what: str, hint: str = "") -> None:
    """Refuse NaN and infinite values, (n, ...), and say in how many rows they are."""
    finite = np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
    if not finite.all():
        rows = np.flatnonzero(~finite)
        raise ValueError(f"{what} has NaN or infinite values in {rows.size} cells, the first in row {rows[0]}.{hint}")
