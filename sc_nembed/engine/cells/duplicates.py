"""Equal rows embedded once: the distinct rows, and how many cells each stands for."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .rows import Rows


def distinct_rows(features: Tensor) -> Rows:
    """The distinct rows of (n, d) features."""
    rows = np.ascontiguousarray(features.numpy() + np.float32(0))  # −0 becomes 0
    as_bytes = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1])))[:, 0]
    _, first, inverse, counts = np.unique(as_bytes, return_index=True, return_inverse=True, return_counts=True)
    if len(first) == len(rows):
        return Rows()
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return Rows(
        torch.from_numpy(first[order]), torch.from_numpy(rank[inverse]), torch.from_numpy(counts[order]).float()
    )
