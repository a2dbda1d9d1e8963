"""The reader of neighbor graphs made elsewhere: scanpy, rapids, bbknn and others, in any container.

Distances become a `KnnGraph`, weights alone an `AffinityMatrix` of their pattern. A stored 0 is a neighbor at distance
0; the cell itself is left out by identity; a neighbor listed twice counts once, at its smallest distance; rows may be
of different length and unsorted. Nothing that belongs to the caller is changed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from ..engine.affinity import checked_weights, uniform_rows
from ..engine.graph import AffinityMatrix, KnnGraph
from ..engine.neighbors import from_csr


def read_distances(matrix: Any, name: str, *, n_obs: int) -> KnnGraph:
    """A graph from a matrix of distances, (n_obs, n_obs), dense (0: no neighbor) or sparse (a stored 0 is a neighbor).

    Parameters
    ----------
    matrix, name
        The matrix, and what to call it in errors.
    n_obs
        Number of cells.

    Raises
    ------
    ValueError
        For a wrong shape, NaN, infinite or negative distances, or no edge at all.
    """
    csr = _square(matrix, name, n_obs)
    bad = ~np.isfinite(csr.data)
    what = "NaN or infinite" if bad.any() else "negative"
    bad = bad if bad.any() else csr.data < 0
    if bad.any():
        rows = np.unique(np.repeat(np.arange(n_obs), np.diff(csr.indptr))[bad])
        raise ValueError(f"{name} has {what} distances in {rows.size} cells, the first in row {rows[0]}.")
    graph = from_csr(csr.indptr.astype(np.int64), csr.indices.astype(np.int32), csr.data.astype(np.float32))
    if graph.n_neighbors == 0:
        raise ValueError(f"{name} holds no neighbors: every cell is alone.")
    return graph


def read_pattern(matrix: Any, name: str, *, n_obs: int) -> AffinityMatrix:
    """Uniform affinities over the pattern of a matrix of weights (large = near); a stored 0 is no edge.

    Raises
    ------
    ValueError
        For a wrong shape, NaN, infinite or negative weights, or no edge at all.
    """
    try:
        indptr, indices, _ = checked_weights(_square(matrix, name, n_obs))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return uniform_rows(indptr, indices)


def _square(matrix: Any, name: str, n_obs: int) -> sp.csr_matrix:
    """Any container as csr, on a copy where it has to be changed."""
    shape = np.shape(matrix)
    if shape != (n_obs, n_obs):
        hint = (
            " It looks like neighbors per cell, (cells, k); a graph is a matrix of cells by cells."
            if len(shape) == 2
            else ""
        )
        raise ValueError(f"{name} must be a matrix of {n_obs} by {n_obs} cells; got shape {shape}.{hint}")
    return sp.csr_matrix(matrix)
