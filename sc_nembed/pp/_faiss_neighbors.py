"""`pp.FaissNeighbors`: the engine's neighbor search as the `transformer` of `scanpy.pp.neighbors`."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from .._input.arrays import SPARSE, as_tensor
from ..engine.cells.features import centred, checked_features, origin_of
from ..engine.compute import backend
from ..engine.neighbors import completed, default_method, nearest_neighbors, nearest_of_fitted

DTYPES = (np.float64, np.float32)


class FaissNeighbors(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Nearest neighbors as a sparse matrix of distances, for `scanpy.pp.neighbors(adata, transformer=...)`.

    Up to 20 000 cells the search is exact; above, faiss looks into as many inverted lists (Douze et al. 2024) as a
    sample of the cells needs for a recall of .985 where at most 30 neighbors are wanted, .95 of more, and .94 above
    200 000 cells. The result has the same bits for any number of threads. The search runs on the CPU.

    Parameters
    ----------
    n_neighbors
        Neighbors per cell, at least 1 and fewer than there are cells; the cell itself is not counted and comes on top,
        as in `sklearn.neighbors.KNeighborsTransformer`.
    metric
        "euclidean", or "cosine", 1 − cos.
    n_jobs
        Threads; None or -1: all cores this process may use, -2: all but one.

    Attributes
    ----------
    n_samples_fit_
        Number of fitted cells, n.
    effective_metric_
        The metric of the fit.
    n_features_in_, feature_names_in_
        Number and, for data frames, names of the variables.

    Notes
    -----
    `scanpy.pp.neighbors` reads `n_neighbors` from the transformer and ignores its own `n_neighbors`, `metric`,
    `metric_kwds` and `random_state`; yet it records its own `metric` in `.uns["neighbors"]["params"]`, so name a metric
    other than "euclidean" in both places. For the connectivities it counts the cell itself among the `n_neighbors`. The
    distances it stores are the matrix made here, with the cell itself at distance 0 and one neighbor more than enters
    the connectivities, as with every transformer that is given to it.

    References
    ----------
    Douze et al. (2024) arXiv:2401.08281.

    Examples
    --------
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> sc.pp.neighbors(adata, transformer=ne.pp.FaissNeighbors(n_neighbors=15))
    >>> ne.tl.neighbor_embedding(adata)  # embeds that graph
    """

    def __init__(self, n_neighbors: int = 15, *, metric: str = "euclidean", n_jobs: int | None = None) -> None:
        self.n_neighbors = n_neighbors
        self.metric = metric
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: None = None) -> FaissNeighbors:
        """Search the neighbors of every row among the other rows.

        Parameters
        ----------
        X
            (n, d) features, an array, a data frame or a sparse matrix, of which a dense float32 copy is kept.
        y
            Not used.

        Returns
        -------
        The transformer itself.

        Raises
        ------
        ValueError
            For NaN or infinite values, rows that are all equal, an `n_neighbors` that is no positive integer or not
            smaller than n, an unknown metric, and for "cosine" with rows that are all 0.
        """
        X = validate_data(self, X, accept_sparse=SPARSE, dtype=DTYPES, ensure_min_samples=2)
        k = self._checked_n_neighbors(X.shape[0])
        with backend.session(backend.resolve_n_jobs(self.n_jobs)):
            features = as_tensor(X)
            points = checked_features(features, self.metric)
            graph = nearest_neighbors(points, k, metric=self.metric, method=default_method(len(points), points.device))
            self._graph = completed(graph, points, self.metric)  # scanpy needs rows of one length
        self._origin = origin_of(features, self.metric)
        self._points, self.effective_metric_ = points, self.metric
        self.n_samples_fit_ = self._n_features_out = points.shape[0]
        return self

    def transform(self, X: Any) -> sp.csr_matrix:
        """Distances to the nearest fitted rows.

        Parameters
        ----------
        X
            (m, d) features. The rows that were fitted, in their order, give the matrix of `fit_transform`; any others
            are searched exactly among the fitted ones.

        Returns
        -------
        (m, n) float32 csr with n_neighbors + 1 entries per row, sorted by distance. Where X is what was fitted, the
        first is the row itself, a stored 0; that of other rows is a neighbor too.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            For NaN or infinite values, another number of variables than was fitted, and for "cosine" with rows that
            are all 0.
        """
        check_is_fitted(self, "n_samples_fit_")
        X = validate_data(self, X, reset=False, accept_sparse=SPARSE, dtype=DTYPES)
        points = centred(as_tensor(X), self._origin)
        if torch.equal(points, self._points):
            return self._fitted_matrix()
        with backend.session(backend.resolve_n_jobs(self.n_jobs)):
            graph = nearest_of_fitted(self._points, points, self._graph.n_neighbors + 1, self.effective_metric_)
        return _csr(graph.indices.numpy(), graph.distances.numpy(), self.n_samples_fit_)

    def fit_transform(self, X: Any, y: None = None) -> sp.csr_matrix:
        """Fit, and return the (n, n) float32 csr of distances; see `fit` and `transform`."""
        return self.fit(X)._fitted_matrix()

    def _checked_n_neighbors(self, n_obs: int) -> int:
        k = self.n_neighbors
        if not isinstance(k, Integral) or isinstance(k, bool) or k < 1:
            raise ValueError(f"`n_neighbors` must be a positive integer; got {k!r}.")
        if k >= n_obs:
            raise ValueError(
                f"`n_neighbors={k}` does not count the cell itself, so it needs at least {k + 1} cells; got {n_obs}. "
                f"Ask for at most {n_obs - 1}."
            )
        return int(k)

    def _fitted_matrix(self) -> sp.csr_matrix:
        """The graph with the cell itself at the head of its row, where scikit-learn and scanpy look for it."""
        n = self.n_samples_fit_
        indices = np.hstack([np.arange(n, dtype=np.int32)[:, None], self._graph.indices.numpy()])
        distances = np.hstack([np.zeros((n, 1), np.float32), self._graph.distances.numpy()])
        return _csr(indices, distances, n)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


def _csr(indices: np.ndarray, distances: np.ndarray, n_columns: int) -> sp.csr_matrix:
    """Rows in the order given: scanpy reads the neighbors of a row in the order they are stored."""
    n, k = indices.shape
    return sp.csr_matrix((distances.ravel(), indices.ravel(), np.arange(0, n * k + 1, k)), shape=(n, n_columns))
