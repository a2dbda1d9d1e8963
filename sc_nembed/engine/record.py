"""Values as h5ad and zarr can hold them: for the record of a run."""

from __future__ import annotations

import inspect
import numbers
from dataclasses import is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .affinity import PrecomputedAffinity


def plain(value: Any) -> Any:
    """A number, string, boolean, array of numbers or dict of such; what has no value of its own by its name."""
    if isinstance(value, bool | str):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    if isinstance(value, np.ndarray | Tensor):
        return "array"
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        items = [plain(item) for item in value]
        return np.asarray(items) if items and all(isinstance(item, int | float) for item in items) else str(items)
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, PrecomputedAffinity):
        return "precomputed"
    if isinstance(value, torch.nn.Module):
        return type(value).__name__
    if callable(value) and not is_dataclass(value):
        return value.__name__ if inspect.isfunction(value) else type(value).__name__
    return str(value)
