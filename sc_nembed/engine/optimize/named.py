"""Names for what a run hands over: tensors, arrays and plain numbers in flat dicts whose keys are paths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

Value = TypeVar("Value")
Number = bool | int | float


def prefixed(name: str, values: Mapping[str, Value]) -> dict[str, Value]:
    """The same values, each key below `name`."""
    return {f"{name}/{key}": value for key, value in values.items()}


def below(name: str, values: Mapping[str, Value]) -> dict[str, Value]:
    """The values whose keys are below `name`; the inverse of `prefixed`."""
    return {key.removeprefix(f"{name}/"): values[key] for key in values if key.startswith(f"{name}/")}


def array_of(tensor: Tensor) -> np.ndarray:
    """A copy as a numpy array; bfloat16, which numpy lacks, as the uint16 of its bits."""
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(np.uint16).copy()
    return tensor.numpy().copy()


def tensors_of(arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """Tensors on the CPU, of all arrays but strings."""
    return {name: _tensor_of(array.copy()) for name, array in arrays.items() if array.dtype.kind != "U"}


def _tensor_of(array: np.ndarray) -> Tensor:
    if array.dtype == np.uint16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def tensors_of_numbers(values: Mapping[str, Any]) -> dict[str, Tensor]:
    """Numbers as 0-d tensors, lists and tuples of them as vectors; all else, which no step changes, is left out."""
    return {name: torch.from_numpy(np.array(value)) for name, value in values.items() if _is_of_numbers(value)}


def _is_of_numbers(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return bool(value) and all(isinstance(item, Number) for item in value)
    return isinstance(value, Number)


def numbers_of(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Numbers and tuples of them; the inverse of `tensors_of_numbers`."""
    return {name: tensor.item() if tensor.ndim == 0 else tuple(tensor.tolist()) for name, tensor in tensors.items()}
