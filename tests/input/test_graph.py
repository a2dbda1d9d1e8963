"""The reader of neighbor graphs: one row per kind of graph."""

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp

import sc_nembed as ne
from _cells import QUICK, blobs, knn_distances, with_graph
from sc_nembed._input.graph import read_distances, read_pattern

N, K = 60, 6
POINTS = np.random.default_rng(0).normal(size=(N, 5))
CLEAN = knn_distances(POINTS, K)  # as rapids-singlecell without self, and scanpy with k entries
COLUMNS, VALUES = CLEAN.indices.reshape(N, K), CLEAN.data.reshape(N, K)


def csr(columns, values):
    """A csr matrix of rows of equal length, entries kept as they are."""
    width = columns.shape[1]
    return sp.csr_matrix((values.ravel(), columns.ravel(), np.arange(0, N * width + 1, width)), shape=(N, N))


def with_self():
    itself = np.arange(N)[:, None]
    return csr(np.hstack([itself, COLUMNS]), np.hstack([np.zeros((N, 1)), VALUES]))


def listed_twice():
    return csr(np.hstack([COLUMNS, COLUMNS[:, :3]]), np.hstack([VALUES, 2 * VALUES[:, :3]]))


def unsorted_rows():
    order = np.random.default_rng(1).permuted(np.tile(np.arange(K), (N, 1)), axis=1)
    return csr(np.take_along_axis(COLUMNS, order, 1), np.take_along_axis(VALUES, order, 1))


def wide_indices():
    matrix = CLEAN.copy()
    matrix.indices, matrix.indptr = matrix.indices.astype(np.int64), matrix.indptr.astype(np.int64)
    return matrix


KINDS = {
    "scanpy, k entries": lambda: CLEAN,
    "rapids, self stored as 0": with_self,
    "a neighbor listed twice": listed_twice,
    "unsorted rows": unsorted_rows,
    "csc": CLEAN.tocsc,
    "coo": CLEAN.tocoo,
    "sparse array": lambda: sp.csr_array(CLEAN),
    "dense": CLEAN.toarray,
    "int64 indices": wide_indices,
    "float32": lambda: CLEAN.astype(np.float32),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_graph_is_the_same_graph(kind):
    matrix = KINDS[kind]()
    before = matrix.copy()
    graph = read_distances(matrix, "it", n_obs=N)
    np.testing.assert_array_equal(np.sort(graph.indices.numpy(), 1), np.sort(COLUMNS, 1))
    np.testing.assert_allclose(graph.distances.numpy(), np.sort(VALUES, 1), rtol=1e-6)
    assert graph.indices.numpy().dtype == np.int32
    difference = matrix - before
    assert (difference.nnz if sp.issparse(difference) else np.abs(difference).max()) == 0


def test_ragged_rows_are_padded():
    matrix = CLEAN.tolil()
    matrix[3, :] = 0  # as bbknn: rows of different length
    matrix[7, COLUMNS[7, 2:]] = 0
    graph = read_distances(matrix.tocsr(), "it", n_obs=N)
    assert (graph.indices[3] == -1).all()
    assert graph.distances[3].isinf().all()
    assert (graph.indices[7] >= 0).sum() == 2
    assert (graph.indices[7, 2:] == -1).all()


def test_stored_zero_is_a_neighbor_and_self_is_not():
    twins = csr(np.array([[1 if i == 0 else 0, 2] for i in range(N)]), np.array([[0.0, 1.0]] * N))
    graph = read_distances(twins, "it", n_obs=N)
    assert graph.indices[0].tolist() == [1, 2]
    assert graph.distances[0].tolist() == [0.0, 1.0]
    assert graph.indices[2].tolist() == [0, -1]  # row 2 lists itself


@pytest.mark.parametrize("container", [sp.csr_matrix, sp.csc_array, np.asarray])
def test_weights_alone_give_their_pattern(container):
    weights = (CLEAN > 0).toarray() * np.random.default_rng(0).uniform(0.1, 1, size=(N, N))
    weights = weights + weights.T + np.eye(N)
    matrix = read_pattern(container(weights), "it", n_obs=N)
    dense = sp.csr_matrix((matrix.weights, matrix.indices, matrix.indptr), shape=(N, N)).toarray()
    pattern = (weights > 0) & ~np.eye(N, dtype=bool)
    rows = pattern / pattern.sum(1, keepdims=True)
    np.testing.assert_allclose(dense, (rows + rows.T) / (2 * N), rtol=1e-5)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.ones((N, K)), r"60 by 60 cells; got shape \(60, 6\).*neighbors per cell"),
        (sp.csr_matrix((N + 1, N + 1)), "60 by 60"),
        (sp.csr_matrix((N, N)), "no neighbors"),
        (-CLEAN, "negative.*60 cells, the first in row 0"),
        (sp.eye_array(N, format="csr"), "no neighbors"),
    ],
)
def test_what_is_no_graph_is_explained(matrix, message):
    with pytest.raises(ValueError, match=message):
        read_distances(matrix, "it", n_obs=N)


@pytest.mark.parametrize(
    "missing", [("params",), ("distances_key", "connectivities_key"), ("distances_key", "connectivities_key", "params")]
)
def test_incomplete_metadata_mean_the_usual_names(missing):
    full = with_graph(blobs())
    partial = full.copy()
    for name in missing:
        del partial.uns["neighbors"][name]
    for adata in (full, partial):
        ne.tl.neighbor_embedding(adata, **QUICK)
    np.testing.assert_array_equal(partial.obsm["X_ne"], full.obsm["X_ne"])


def test_graph_whose_matrices_are_gone_is_named():
    adata = with_graph(blobs(), key="nb")
    del adata.obsp["nb_distances"], adata.obsp["nb_connectivities"]
    with pytest.raises(KeyError, match="nb_distances"):
        ne.tl.neighbor_embedding(adata, neighbors_key="nb")


def test_weights_only_graph_has_no_perplexity():
    adata = with_graph(blobs())
    del adata.obsp["distances"]
    for parameter in ({"perplexity": 5}, {"n_neighbors": 5}, {"affinity_in": "umap"}):
        with pytest.raises(ValueError, match="needs distances"):
            ne.tl.neighbor_embedding(adata, neighbors_key="neighbors", **parameter)
    ne.tl.neighbor_embedding(adata, neighbors_key="neighbors", **QUICK)
    assert adata.uns["ne"]["input"]["matrix"] == "connectivities"


def test_history_is_a_table_and_unknown_keys_list_results():
    adata = with_graph(blobs())
    ne.tl.neighbor_embedding(adata, **QUICK)
    table = ne.get.history(adata, "X_ne")
    assert list(table.columns) == ["iteration", "loss", "grad_norm", "lr", "exaggeration"]
    assert table["iteration"].tolist() == [1, 10, 20, 30, 40]
    with pytest.raises(KeyError, match=r"available: \['ne'\]"):
        ne.get.history(adata, "foo")
    with pytest.raises(KeyError, match=r"available: \[\]"):
        ne.get.history(ad.AnnData(np.ones((3, 3), np.float32)))
