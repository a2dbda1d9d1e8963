"""The pairs of PaCMAP (Wang et al. 2021) and LocalMAP (Wang et al. 2024): which cells act on each other.

| pairs | partners of a cell |
|---|---|
| near | its neighbors in P, with the weights that P gives them |
| mid-near | the second nearest in the data of six others drawn, again and again |
| far | others drawn that are not its neighbors |
| far, nearby | the same, drawn anew among those within some distance in the embedding |

No cell is its own partner, and none is drawn twice for a cell; but two cells may be partners of each other, and then
are two pairs. A sum over pairs runs over a symmetric matrix that lists each pair at both of its ends, with the number
of times it counts. Draws are functions of seed, step, cell and draw (`engine.compute.counter_rng`), the same for
any number of threads.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..affinity import symmetrize
from ..compute import backend, counter_rng
from ..compute.twins import twin
from ..fused import partners as fused_partners
from ..graph import AffinityMatrix
from ..view import View

MID_NEAR_STEP, FAR_STEP = 0, 1  # what the keys of the draws are made with; those of nearby pairs with larger numbers
N_CANDIDATES = 6  # drawn for each mid-near pair
N_TRIES = 100  # draws for a nearby pair
ROWS = 512
BLOCK = 1 << 24  # draws held at once by the plain version


def near(matrix: AffinityMatrix) -> AffinityMatrix:
    """Both ends of the entries of P as it is defined, scaled to a mean weight of 1: equal entries are pairs."""
    weights = matrix.weights * (matrix.n_edges / matrix.total)
    arrays = (backend.as_array(part.cpu()) for part in (matrix.indptr, matrix.indices, weights))
    both = symmetrize(*arrays, normalize=False)
    return replace(both, weights=2 * both.weights, row_mass=2 * both.row_mass, total=2 * both.total).to(
        matrix.indptr.device
    )


def mid_near(features: Tensor, n_pairs: int, seed: int) -> Tensor:
    """Mid-near partners of every cell, (n, n_pairs) int32; fewer where there are too few cells to choose from."""
    n = features.shape[0]
    partners = np.empty((n, max(0, min(n_pairs, n - N_CANDIDATES))), np.int32)
    key = np.uint64(counter_rng.key_of(seed, MID_NEAR_STEP))
    backend.parallel(
        fused_partners.mid_near, backend.chunk_bounds(n, ROWS), backend.as_array(features), key, N_CANDIDATES, partners
    )
    return torch.from_numpy(partners)


def far(matrix: AffinityMatrix, n_pairs: int, seed: int) -> Tensor:
    """Far partners of every cell, (n, n_pairs) int32, none of them in its row of P; fewer where no more are left.

    Raises
    ------
    ValueError
        Where some cell has all others as neighbors.
    """
    n = matrix.n_rows
    n_left = n - 1 - int(matrix.degrees().max())
    if n_left < 1:
        raise ValueError(
            f"Far pairs are of cells that are not neighbors, and a cell has all {n - 1} others as neighbors; lower "
            "`n_neighbors`."
        )
    partners = np.empty((n, min(n_pairs, n_left)), np.int32)
    rows = (backend.as_array(part.cpu()) for part in (matrix.indptr, matrix.indices))
    key = np.uint64(counter_rng.key_of(seed, FAR_STEP))
    backend.parallel(fused_partners.far, backend.chunk_bounds(n, ROWS), *rows, n, key, partners)
    return torch.from_numpy(partners)


def nearby(partners: Tensor, matrix: AffinityMatrix, view: View, max_distance: float, seed: int, step: int) -> Tensor:
    """Far partners of the view's rows, (m, k), drawn anew within a distance in the embedding; where a hundred draws
    find none, the one before.
    """
    key = counter_rng.key_of(seed, step)
    drawn = twin("nearby partners", view.mine)(partners, matrix, view, max_distance**2, key, N_TRIES)
    return torch.where(drawn < 0, partners, drawn)


def plain_nearby(
    partners: Tensor, matrix: AffinityMatrix, view: View, max_sq_dist: float, key: int, n_tries: int
) -> Tensor:
    """Partners within a distance, (m, k); −1 where none of `n_tries` draws is one."""
    n, drawn = len(view.everyone), torch.full_like(partners, -1)
    first = 0 if view.is_new else view.first
    edges = (matrix.rows() * n + matrix.indices.long()).sort().values
    tries = torch.arange(n_tries, device=drawn.device)
    for rows in torch.arange(len(partners), device=drawn.device).split(max(1, BLOCK // n_tries)):
        for k in range(partners.shape[1]):
            found = counter_rng.integers(key, first + rows[:, None], k * n_tries + tries, n)  # (rows, N_TRIES)
            sq_dist = (view.mine[rows][:, None] - view.everyone[found]).square().sum(2)
            pair = rows[:, None] * n + found
            taken = (found[:, :, None] == drawn[rows, None, :k]).any(2)
            is_edge = edges[torch.searchsorted(edges, pair).clamp_max(len(edges) - 1)] == pair
            fits = (sq_dist <= max_sq_dist) & ~taken & ~is_edge
            if not view.is_new:
                fits &= found != first + rows[:, None]
            earliest = fits.int().argmax(1, keepdim=True)
            chosen = torch.where(fits.gather(1, earliest), found.gather(1, earliest), -1)
            drawn[rows, k] = chosen[:, 0].to(drawn.dtype)
    return drawn


def both_ends(partners: Tensor) -> AffinityMatrix:
    """Pairs of every cell and its partners, (n, k), as a symmetric matrix of ones; a pair may stand there twice."""
    n, k = partners.shape
    indptr, indices = twin("mirrored pairs", partners)(partners)
    return AffinityMatrix(
        indptr, indices, torch.ones(len(indices), device=indices.device), n_rows=n, n_cols=n, first_row=0,
        row_mass=torch.full((n,), float(k), device=indices.device), total=float(len(indices)),
    )  # fmt: skip


def one_end(partners: Tensor, n_fixed: int) -> AffinityMatrix:
    """Pairs of new cells, the rows, and their partners among the fixed ones, (m, k), as a matrix of ones."""
    m, k = partners.shape
    indptr, ones = torch.arange(m + 1, device=partners.device) * k, torch.ones(m * k, device=partners.device)
    return AffinityMatrix(
        indptr, partners.flatten().int(), ones, n_rows=m, n_cols=n_fixed, first_row=None,
        row_mass=torch.full((m,), float(k), device=partners.device), total=float(m * k),
    )  # fmt: skip


def plain_mirrored(partners: Tensor) -> tuple[Tensor, Tensor]:
    """Pointers (n + 1,) and indices (2nk,) int32 of the rows of all pairs."""
    n, k = partners.shape
    rows = torch.arange(n, device=partners.device).repeat_interleave(k)
    columns = partners.flatten().long()
    ends, others = torch.cat([rows, columns]), torch.cat([columns, rows])
    order = ends.argsort(stable=True)
    counts = ends.new_zeros(n).index_add_(0, ends, torch.ones_like(ends))
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)]), others[order].int()
