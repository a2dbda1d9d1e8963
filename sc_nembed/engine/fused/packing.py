"""Tensors as the loops read them: views of the same memory, wherever that will do."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from ..compute import backend
from ..graph import AffinityMatrix
from ..view import View

ROWS, MOST_RANGES = 2048, 128  # a call of a kernel takes microseconds
NARROW = np.iinfo(np.uint16).max + 1  # cells that two bytes count
_narrowed = WeakTensorKeyDictionary()  # indices in two bytes, as long as those in four live


def ranges(n_rows: int) -> list[tuple[int, int]]:
    """Of rows whose loops go along their edges."""
    return backend.chunk_bounds(n_rows, max(ROWS, n_rows // MOST_RANGES))


def unsigned(matrix: AffinityMatrix) -> tuple[np.ndarray, ...]:
    """The CSR arrays; cells below 65 536 take two bytes, which the loops read faster than four."""
    indptr, weights = backend.as_array(matrix.indptr), backend.as_array(matrix.weights)
    return indptr.view(np.uint64), _indices(matrix), weights.astype(np.float32, copy=False)


def _indices(matrix: AffinityMatrix) -> np.ndarray:
    if matrix.n_cols > NARROW:
        return backend.as_array(matrix.indices).view(np.uint32)
    if matrix.indices not in _narrowed:
        _narrowed[matrix.indices] = backend.as_array(matrix.indices).astype(np.uint16)
    return _narrowed[matrix.indices]


def packed(positions: Tensor) -> np.ndarray:
    """Positions (n, 2) float32 as (n,) uint64: a loop gathers both coordinates at once."""
    return backend.as_array(positions).view(np.uint64)[:, 0]


def both_packed(view: View) -> tuple[np.ndarray, np.ndarray]:
    return packed(view.mine), packed(view.everyone)


def both(view: View) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the view's rows (m, d), and of everyone (n, d)."""
    return backend.as_array(view.mine), backend.as_array(view.everyone)


def padded(positions: Tensor) -> Tensor:
    """Positions (n, 3), those of fewer dimensions with zeros."""
    return torch.nn.functional.pad(positions, (0, 3 - positions.shape[1]))


def first_of(view: View) -> int:
    """Where the view's rows begin among everyone; −1 for new cells."""
    return -1 if view.is_new else view.first
