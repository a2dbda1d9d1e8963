"""Partners of cells, drawn one after the other; see `engine.terms.partners` for what is drawn, and how often."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

from ..compute import backend
from ..graph import AffinityMatrix
from ..view import View
from . import FAST, kernel
from .counter_rng import integer
from .packing import both, first_of

ROWS, MAX_RANGES = 512, 8


@njit(nogil=True, cache=True, inline="always")
def _among(j, places, begin, end):
    """Whether one of `places[begin:end]` is j."""
    for place in range(begin, end):  # noqa: SIM110  numba knows no `any` of a generator
        if places[place] == j:
            return True
    return False


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def _sq_dist(mine, everyone, i, j):
    total = np.float32(0)
    for d in range(mine.shape[1]):
        total += (mine[i, d] - everyone[j, d]) ** 2
    return total


@njit(nogil=True, cache=True, inline="always")
def _drawn(key, i, draw, n):
    return np.int64(integer(key, np.uint64(i), np.uint64(draw), np.uint64(n)))


@kernel
def mid_near(chunk, begin, end, features, key, n_candidates, partners):
    """The second nearest of some others, all different, and none of the partners before."""
    n, n_partners = features.shape[0], partners.shape[1]
    candidates = np.empty(n_candidates, np.int32)
    for i in range(begin, end):
        draw = 0
        for k in range(n_partners):
            nearest = second = np.float32(np.inf)
            first = chosen = -1
            for c in range(n_candidates):
                j = _drawn(key, i, draw, n)
                while j == i or _among(j, candidates, 0, c) or _among(j, partners[i], 0, k):
                    draw += 1
                    j = _drawn(key, i, draw, n)
                draw += 1
                candidates[c] = j
                sq_dist = _sq_dist(features, features, i, j)
                if sq_dist < nearest:
                    nearest, first, second, chosen = sq_dist, j, nearest, first
                elif sq_dist < second:
                    second, chosen = sq_dist, j
            partners[i, k] = chosen


@kernel
def far(chunk, begin, end, indptr, indices, n, key, partners):
    """Any others but those listed in a cell's row, all different."""
    for i in range(begin, end):
        draw = 0
        for k in range(partners.shape[1]):
            j = _drawn(key, i, draw, n)
            while j == i or _among(j, partners[i], 0, k) or _among(j, indices, indptr[i], indptr[i + 1]):
                draw += 1
                j = _drawn(key, i, draw, n)
            draw += 1
            partners[i, k] = j


@kernel
def nearby(chunk, begin, end, indptr, indices, mine, everyone, first, key, max_sq_dist, n_tries, drawn):
    """As `far`, but within a distance in the positions; −1 where none of `n_tries` draws is.

    Row i is cell first + i of everyone; of new cells, where first < 0, row i draws as cell i would.
    """
    n = everyone.shape[0]
    for i in range(begin, end):
        itself = first + i if first >= 0 else -1
        row = itself if first >= 0 else i
        for k in range(drawn.shape[1]):
            drawn[i, k] = -1
            for draw in range(k * n_tries, (k + 1) * n_tries):
                j = _drawn(key, row, draw, n)
                if j == itself or _sq_dist(mine, everyone, i, j) > max_sq_dist:
                    continue
                if not _among(j, drawn[i], 0, k) and not _among(j, indices, indptr[i], indptr[i + 1]):
                    drawn[i, k] = j
                    break


@kernel
def count(chunk, begin, end, partners, counts):
    """How often each cell is a partner of the rows of a range, `counts[chunk]`."""
    for i in range(begin, end):
        for k in range(partners.shape[1]):
            counts[chunk, partners[i, k]] += 1


@kernel
def mirror(chunk, begin, end, partners, places, indptr, indices):
    """Both ends of every pair; `places[chunk]` says where those of this range stand in the row of each partner."""
    place = places[chunk]
    for i in range(begin, end):
        for k in range(partners.shape[1]):
            j = partners[i, k]
            indices[indptr[i] + k] = j
            indices[place[j]] = i
            place[j] += 1


def nearby_partners(
    partners: Tensor, matrix: AffinityMatrix, view: View, max_sq_dist: float, key: int, n_tries: int
) -> Tensor:
    """As `terms.partners.plain_nearby`."""
    drawn = torch.empty_like(partners)
    rows = (backend.as_array(part) for part in (matrix.indptr, matrix.indices))
    backend.parallel(
        nearby, backend.chunk_bounds(len(partners), ROWS), *rows, *both(view), first_of(view), np.uint64(key),
        np.float32(max_sq_dist), n_tries, drawn.numpy(),
    )  # fmt: skip
    return drawn


def mirrored(partners: Tensor) -> tuple[Tensor, Tensor]:
    """As `terms.partners.plain_mirrored`; partners of a row first, then the rows it is a partner of."""
    table = backend.as_array(partners)
    n, k = table.shape
    bounds = backend.chunk_bounds(n, max(ROWS, -(-n // MAX_RANGES)))
    counts = np.zeros((len(bounds), n), np.int64)
    backend.parallel(count, bounds, table, counts)
    indptr = np.concatenate([[0], np.cumsum(k + counts.sum(0))])
    places = indptr[:-1] + k + np.cumsum(counts, 0) - counts
    indices = np.empty(2 * n * k, np.int32)
    backend.parallel(mirror, bounds, table, places, indptr, indices)
    return torch.from_numpy(indptr), torch.from_numpy(indices)
