"""The record of a run: what it was asked for, with what was decided put over it, as h5ad and zarr can hold it."""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .affinity import PrecomputedAffinity
from .config import EmbeddingConfig
from .configure import WISHES
from .output_affinity import describe

UNRECORDED = ("verbose", "dtype")


def record(config: EmbeddingConfig, **decided: Any) -> dict[str, Any]:
    """Every value that took effect, None dropped; what a run decided itself stands for what it was asked for."""
    values = {name: getattr(config, name) for name in WISHES if name not in UNRECORDED}
    values |= {"method": config.method.name} | config.options.values()
    given = config.method.affinity_out if config.affinity_out is None else config.affinity_out
    if given is not None:
        values["affinity_out"], values["kwargs_affinity_out"] = describe(given, config.kwargs_affinity_out)
    values |= {"reference_strength": config.pull_strength, "density": config.density_strength} | decided
    return {name: plain(value) for name, value in values.items() if value is not None}


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
    if isinstance(value, Mapping):
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
