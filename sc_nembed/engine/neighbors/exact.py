"""Exact search by blocks of squared distances, on any device."""

from __future__ import annotations

import torch
from torch import Tensor

from ..compute import backend

BLOCK_PAIRS = 1 << 24  # distances held at once
MANY = 64  # neighbors above which they are handed on in order: sorting them by insertion would take k² steps


def search(features: Tensor, k: int) -> Tensor:
    """Candidates (n, k + 1) int32 of every row."""
    return nearest(features, features, min(k + 1, features.shape[0]))


def nearest(features: Tensor, queries: Tensor, k: int) -> Tensor:
    """The rows of `features` with the k smallest ‖y‖² − 2⟨x, y⟩ of every query x, (m, k) int32; few in no order.

    In float64: groups of cells that lie 10⁴ times their own size apart would leave float32 no digits for a difference.
    """
    features, queries = features.double(), queries.double()
    sq_norm = features.square().sum(1)
    with backend.torch_threads(backend.openmp_threads() if features.device.type == "cpu" else 1):
        blocks = [
            torch.addmm(sq_norm[None, :], rows, features.T, alpha=-2)
            .topk(k, dim=1, largest=False, sorted=k > MANY)
            .indices.int()
            for rows in queries.split(max(1, BLOCK_PAIRS // features.shape[0]))
        ]
    return torch.cat(blocks)
