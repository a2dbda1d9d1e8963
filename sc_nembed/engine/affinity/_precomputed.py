"""Affinities somebody else computed: any sparse or dense matrix of weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from ..graph import AffinityMatrix, KnnGraph
from ._symmetrize import directed, symmetrize


@dataclass(frozen=True, slots=True, eq=False)
class PrecomputedAffinity:
    """A matrix of weights (large = near) as P: symmetrised as (A + Aᵀ) / 2 and, where `normalize`, scaled to sum 1.

    `matrix` is square: a scipy sparse matrix or array, a numpy array, or a torch tensor, of non-negative finite
    numbers. Its diagonal is left out; equal rows are cells like any others; nothing is squared.
    """

    matrix: Any
    normalize: bool = True

    def n_neighbors(self, n_obs: int) -> int:
        return 0

    def __call__(
        self, graph: KnnGraph | None = None, features: Tensor | None = None, *, symmetric: bool = True
    ) -> AffinityMatrix:
        return (symmetrize if symmetric else directed)(*checked_weights(self.matrix), normalize=self.normalize)


def as_affinity(given: Any) -> Any:
    """A matrix, sparse or dense, as a `PrecomputedAffinity`; anything else as it is."""
    is_matrix = isinstance(given, np.ndarray | Tensor) or sp.issparse(given)
    return PrecomputedAffinity(given) if is_matrix else given


def checked_weights(matrix: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """CSR arrays of the positive weights of a matrix, without its diagonal, rows sorted; a copy.

    Raises
    ------
    ValueError
        Where the matrix is not square, holds NaN, infinite or negative entries, or no positive one off the diagonal.
    """
    if isinstance(matrix, Tensor):
        matrix = (matrix.to_dense() if matrix.layout != torch.strided else matrix).detach().cpu().numpy()
    csr = sp.csr_matrix(matrix, dtype=np.float64, copy=True)
    if csr.shape[0] != csr.shape[1]:
        raise ValueError(f"A precomputed affinity must be a square matrix, cells by cells; got {csr.shape}.")
    csr.sum_duplicates()
    bad = ~np.isfinite(csr.data)
    if not bad.any():
        bad = csr.data < 0
    if bad.any():
        rows = np.unique(np.repeat(np.arange(csr.shape[0]), np.diff(csr.indptr))[bad])
        what = "negative" if np.isfinite(csr.data).all() else "NaN or infinite"
        raise ValueError(f"The matrix of weights has {what} entries in {rows.size} cells, the first in row {rows[0]}.")
    csr.setdiag(0)
    csr.eliminate_zeros()
    if csr.nnz == 0:
        raise ValueError("The matrix of weights has no positive entry off its diagonal: no cell has a neighbor.")
    return csr.indptr.astype(np.int64), csr.indices.astype(np.int32), csr.data.astype(np.float32)
