"""Exact search by KeOps: squared distances by differences, none of them kept; on any device.

Differences lose no digits far from the origin, so float32 does.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor

from ..compute import keops

STEP = 16  # the number of neighbors is part of the formula; multiples of it keep the formulas few


def search(features: Tensor, k: int) -> Tensor:
    """Candidates (n, k + 1) int32: the smallest Σ (x − y)² of every row, in order."""
    n = features.shape[0]
    points = features.double() if n > keops.LARGEST_NUMBER else features
    nearest = keops.compiled(partial(_nearest, -(-(k + 1) // STEP) * STEP), points)
    return keops.evaluate(nearest, points)[:, : min(k + 1, n)].int()


def _nearest(n_kept: int, points: Tensor) -> Tensor:
    from pykeops.torch import Vi, Vj

    return Vi(points).sqdist(Vj(points)).argKmin(n_kept, dim=1, backend=keops.place(points))
