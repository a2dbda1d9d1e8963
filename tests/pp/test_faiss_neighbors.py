"""`pp.FaissNeighbors` against scikit-learn's exact search and scanpy's own graph."""

import multiprocessing
import pickle
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.manifold import Isomap
from sklearn.neighbors import KNeighborsTransformer
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import sc_nembed as ne
from _cells import snapshot
from sc_nembed._input.arrays import as_tensor
from sc_nembed.engine import pipeline
from sc_nembed.engine.cells.features import checked_features
from sc_nembed.engine.neighbors import nearest_neighbors
from sc_nembed.engine.neighbors.faiss import FLAT_CELLS

CELLS = np.random.default_rng(0).normal(size=(150, 6))
NEW = np.random.default_rng(1).normal(size=(40, 6))
metrics = pytest.mark.parametrize("metric", ["euclidean", "cosine"])


def exact(n_neighbors=15, metric="euclidean"):
    """scikit-learn's brute force, in float64."""
    return KNeighborsTransformer(n_neighbors=n_neighbors, metric=metric, algorithm="brute")


def rows_of(matrix):
    """Neighbors and distances of every row, in the order they are stored."""
    return matrix.indices.reshape(matrix.shape[0], -1), matrix.data.reshape(matrix.shape[0], -1)


def assert_same_graph(found, expected, atol=1e-6):
    assert isinstance(found, sp.csr_matrix)
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    (indices, distances), (true_indices, true_distances) = rows_of(found), rows_of(expected)
    np.testing.assert_array_equal(indices, true_indices)
    np.testing.assert_allclose(distances, true_distances, rtol=1e-5, atol=atol)


def bits(matrix):
    return matrix.indptr.tobytes(), matrix.indices.tobytes(), matrix.data.tobytes()


@pytest.fixture
def adata():
    with warnings.catch_warnings():  # anndata on the age of the file
        warnings.simplefilter("ignore")
        return sc.datasets.pbmc68k_reduced()


@pytest.fixture(scope="module")
def many():
    """More cells than are searched exactly: 40 groups in 10 dimensions."""
    rng = np.random.default_rng(2)
    group = rng.integers(40, size=FLAT_CELLS + 1000)
    return (4 * rng.normal(size=(40, 10))[group] + rng.normal(size=(len(group), 10))).astype(np.float32)


# ---------------------------------------------------------------------------------------------- against scikit-learn


@metrics
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_fitted_rows_have_the_neighbors_of_exact_search(metric, dtype):
    expected = exact(7, metric).fit_transform(CELLS)
    transformer = ne.pp.FaissNeighbors(7, metric=metric)
    assert_same_graph(transformer.fit_transform(CELLS.astype(dtype)), expected)
    assert_same_graph(transformer.fit(CELLS.astype(dtype)).transform(CELLS.astype(dtype)), expected)


@metrics
def test_new_rows_have_the_neighbors_of_exact_search(metric):
    expected = exact(7, metric).fit(CELLS).transform(NEW)
    assert_same_graph(ne.pp.FaissNeighbors(7, metric=metric).fit(CELLS).transform(NEW), expected)


@metrics
def test_rows_transformed_alone_have_the_bits_of_all(metric):
    transformer = ne.pp.FaissNeighbors(7, metric=metric).fit(CELLS)
    every = transformer.transform(CELLS)
    for row in (0, 71, 149):
        alone = transformer.transform(CELLS[row : row + 1])
        assert bits(alone) == bits(every[row])
    assert bits(transformer.transform(CELLS[::-1])) == bits(every[::-1])


def test_far_from_the_origin_no_digits_are_lost():
    offset = CELLS + 1e6
    assert_same_graph(ne.pp.FaissNeighbors(7).fit_transform(offset), exact(7).fit_transform(CELLS), atol=1e-4)
    new = ne.pp.FaissNeighbors(7).fit(offset).transform(NEW + 1e6)
    assert_same_graph(new, exact(7).fit(CELLS).transform(NEW), atol=1e-4)


@pytest.mark.parametrize("container", [sp.csr_matrix, sp.csc_array, sp.coo_matrix, pd.DataFrame, np.asfortranarray])
def test_containers_give_the_same(container):
    given = np.where(np.abs(CELLS) < 1, 0, CELLS)
    expected = ne.pp.FaissNeighbors(7).fit_transform(given)
    assert bits(ne.pp.FaissNeighbors(7).fit_transform(container(given))) == bits(expected)


def test_rows_are_sorted_and_begin_with_the_cell_itself_even_among_equal_cells():
    points = np.vstack([CELLS[:20], CELLS[:20], CELLS[:20]])
    found = ne.pp.FaissNeighbors(5).fit_transform(points)
    indices, distances = rows_of(found)
    np.testing.assert_array_equal(indices[:, 0], np.arange(60))
    np.testing.assert_array_equal(distances[:, :3], 0)
    np.testing.assert_array_equal(np.sort(indices[:, :3] // 20, axis=1), np.tile([0, 1, 2], (60, 1)))
    np.testing.assert_array_equal(indices[:, :3] % 20, np.tile(np.arange(60)[:, None] % 20, 3))
    assert (np.diff(distances, axis=1) >= 0).all()
    assert found.nnz == 60 * 6  # zeros are stored


def test_as_many_neighbors_as_there_are_others():
    found = ne.pp.FaissNeighbors(9).fit_transform(CELLS[:10])
    assert_same_graph(found, exact(9).fit_transform(CELLS[:10]))


def test_pipelines_of_scikit_learn_take_it():
    ours = make_pipeline(ne.pp.FaissNeighbors(10), Isomap(n_neighbors=10, metric="precomputed"))
    theirs = make_pipeline(exact(10), Isomap(n_neighbors=10, metric="precomputed"))
    positions, expected = ours.fit_transform(CELLS), theirs.fit_transform(CELLS)
    np.testing.assert_allclose(np.abs(positions), np.abs(expected), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(np.abs(ours.transform(NEW)), np.abs(theirs.transform(NEW)), rtol=1e-3, atol=1e-4)


# ------------------------------------------------------------------------------------------------------- with scanpy


@metrics
def test_scanpy_gets_the_connectivities_of_its_own_exact_search(adata, metric):
    expected = adata.copy()
    sc.pp.neighbors(expected, n_neighbors=15, metric=metric, use_rep="X_pca")
    sc.pp.neighbors(adata, transformer=ne.pp.FaissNeighbors(15, metric=metric), metric=metric, use_rep="X_pca")
    found, truth = (data.obsp["connectivities"] for data in (adata, expected))
    assert ((found != 0) != (truth != 0)).nnz == 0
    np.testing.assert_allclose(found.toarray(), truth.toarray(), atol=1e-4)
    assert adata.uns["neighbors"] == expected.uns["neighbors"]


def test_scanpy_stores_the_distances_of_its_own_exact_search_and_one_more(adata):
    expected = adata.copy()
    sc.pp.neighbors(expected, n_neighbors=15, use_rep="X_pca")
    sc.pp.neighbors(adata, transformer=ne.pp.FaissNeighbors(15), use_rep="X_pca", key_added="ours")
    (indices, distances), (true_indices, true_distances) = (
        rows_of(data.obsp[name]) for data, name in ((adata, "ours_distances"), (expected, "distances"))
    )
    assert indices.shape == (700, 16)
    np.testing.assert_array_equal(indices[:, 0], np.arange(700))
    np.testing.assert_array_equal(indices[:, 1:-1], true_indices)
    np.testing.assert_allclose(distances[:, 1:-1], true_distances, rtol=1e-5)


def test_scanpy_takes_the_number_of_neighbors_of_the_transformer(adata):
    sc.pp.neighbors(adata, n_neighbors=99, transformer=ne.pp.FaissNeighbors(6), use_rep="X_pca")
    assert adata.uns["neighbors"]["params"]["n_neighbors"] == 6
    assert (adata.obsp["distances"].getnnz(axis=1) == 7).all()


def test_scanpy_gives_it_a_sparse_matrix(adata):
    adata = adata.raw.to_adata()
    assert sp.issparse(adata.X)
    sc.pp.neighbors(adata, transformer=ne.pp.FaissNeighbors(6), use_rep="X")
    assert_same_graph(adata.obsp["distances"], exact(6).fit_transform(adata.X.toarray().astype(float)), atol=1e-5)


def test_the_embedding_takes_that_graph(adata, monkeypatch):
    sc.pp.neighbors(adata, transformer=ne.pp.FaissNeighbors(15), use_rep="X_pca")
    sklearn_graph = adata.copy()
    sklearn_graph.obsp["distances"] = exact(15).fit_transform(adata.obsm["X_pca"])
    monkeypatch.setattr(pipeline, "nearest_neighbors", lambda *_, **__: pytest.fail("neighbors are searched"))
    for data in (adata, sklearn_graph):
        ne.tl.neighbor_embedding(data, max_iter=30, early_exaggeration_iter=10)
    assert adata.uns["ne"]["input"] == {
        "kind": "graph", "neighbors_key": "neighbors", "matrix": "distances", "init": "X_pca",
    }  # fmt: skip
    np.testing.assert_array_equal(adata.obsm["X_ne"], sklearn_graph.obsm["X_ne"])
    ne.tl.umap(adata, max_iter=10)
    assert np.isfinite(adata.obsm["X_umap"]).all()


def test_what_belongs_to_the_user_stays_as_it_was(adata):
    before = snapshot(adata)
    representation = adata.obsm["X_pca"]
    representation.flags.writeable = False
    sc.pp.neighbors(adata, transformer=ne.pp.FaissNeighbors(15), use_rep="X_pca", key_added="ours")
    for key in ("ours_distances", "ours_connectivities"):
        del adata.obsp[key]
    del adata.uns["ours"]
    assert snapshot(adata) == before


def test_fitted_state_is_its_own():
    given = CELLS.copy()
    transformer = ne.pp.FaissNeighbors(7).fit(given)
    found = transformer.transform(CELLS)
    expected = bits(found)
    given[:], found.data[:], found.indices[:] = 0, -1, 0
    assert bits(transformer.transform(CELLS)) == expected
    transformer.set_params(n_neighbors=3, metric="cosine")  # takes effect at the next fit
    assert bits(transformer.transform(CELLS)) == expected
    assert_same_graph(transformer.transform(NEW), exact(7).fit(CELLS).transform(NEW))
    assert_same_graph(transformer.fit(CELLS).transform(NEW), exact(3, "cosine").fit(CELLS).transform(NEW))


# --------------------------------------------------------------------------------------------------------- many cells


def test_many_cells_are_searched_by_faiss(many):
    transformer = ne.pp.FaissNeighbors(15)
    found = transformer.fit_transform(many)
    searched = nearest_neighbors(checked_features(as_tensor(many), None), 15, method="faiss")
    indices, distances = rows_of(found)
    np.testing.assert_array_equal(indices[:, 0], np.arange(len(many)))
    np.testing.assert_array_equal(indices[:, 1:], searched.indices.numpy())
    np.testing.assert_array_equal(distances[:, 1:], searched.distances.numpy())
    some = np.random.default_rng(3).choice(len(many), 500, replace=False)
    truth, _ = rows_of(exact(15).fit(many).transform(many[some]))
    assert np.mean([np.isin(*pair).mean() for pair in zip(truth, indices[some], strict=True)]) > 0.97  # as promised
    new, _ = rows_of(transformer.transform(many[some]))
    np.testing.assert_array_equal(np.sort(new), np.sort(truth))  # exact


def test_rows_whose_lists_hold_too_few_are_completed_exactly(many, monkeypatch):
    from sc_nembed.engine.neighbors import faiss

    monkeypatch.setattr(faiss, "_probes_needed", lambda *given: 1)
    features = checked_features(as_tensor(many), None)
    short = np.flatnonzero(nearest_neighbors(features, 60, method="faiss").indices[:, -1].numpy() < 0)
    assert len(short)  # else there is nothing to test
    found = ne.pp.FaissNeighbors(60).fit_transform(many)
    assert (found.getnnz(axis=1) == 61).all()
    indices, distances = rows_of(found[short])
    np.testing.assert_array_equal(indices[:, 0], short)
    assert all(len(set(row)) == 61 for row in indices.tolist())
    _, true_distances = rows_of(exact(60).fit(many.astype(float)).transform(many[short].astype(float)))
    np.testing.assert_allclose(distances, true_distances, rtol=1e-5, atol=1e-5)


# ------------------------------------------------------------------------------------------------ threads, processes


@metrics
def test_the_number_of_threads_changes_no_bit(metric):
    one = ne.pp.FaissNeighbors(7, metric=metric, n_jobs=1).fit(CELLS)
    for n_jobs in (2, -1, None):
        again = ne.pp.FaissNeighbors(7, metric=metric, n_jobs=n_jobs).fit(CELLS)
        assert bits(again.transform(CELLS)) == bits(one.transform(CELLS))
        assert bits(again.transform(NEW)) == bits(one.transform(NEW))


def test_the_number_of_threads_changes_no_bit_of_many_cells(many):
    one, two = (ne.pp.FaissNeighbors(15, n_jobs=n_jobs).fit_transform(many) for n_jobs in (1, 2))
    assert bits(one) == bits(two)


def test_pickle_and_clone():
    transformer = ne.pp.FaissNeighbors(7, metric="cosine", n_jobs=2).fit(CELLS)
    again = pickle.loads(pickle.dumps(transformer))
    assert again.get_params() == transformer.get_params() == {"n_neighbors": 7, "metric": "cosine", "n_jobs": 2}
    for rows in (CELLS, NEW):
        assert bits(again.transform(rows)) == bits(transformer.transform(rows))
    copy = clone(transformer)
    assert copy.get_params() == transformer.get_params()
    with pytest.raises(NotFittedError):
        copy.transform(CELLS)


def test_worker_processes_give_the_same_bits():
    expected = bits(ne.pp.FaissNeighbors(7).fit_transform(CELLS))
    work = ne.pp.FaissNeighbors(7, n_jobs=2).fit_transform
    loky = joblib.Parallel(n_jobs=2, backend="loky")(joblib.delayed(work)(CELLS) for _ in range(2))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        spawned = pool.apply(work, (CELLS,))
    assert {bits(found) for found in (*loky, spawned)} == {expected}


# ---------------------------------------------------------------------------------------------- the rules of the form


@parametrize_with_checks([ne.pp.FaissNeighbors(5)])  # "cosine" refuses the rows of zeros that some checks make up
def test_check_of_scikit_learn_passes(estimator, check):
    check(estimator)


def test_names_and_attributes():
    frame = pd.DataFrame(CELLS, columns=list("abcdef"))
    transformer = ne.pp.FaissNeighbors(7).fit(frame)
    assert (transformer.n_features_in_, transformer.n_samples_fit_) == (6, 150)
    assert transformer.effective_metric_ == "euclidean"
    assert list(transformer.feature_names_in_) == list("abcdef")
    assert list(transformer.get_feature_names_out()[:2]) == ["faissneighbors0", "faissneighbors1"]


@pytest.mark.parametrize(
    ("given", "rows", "said"),
    [
        ({"n_neighbors": 0}, CELLS, "positive integer; got 0"),
        ({"n_neighbors": 2.5}, CELLS, "positive integer; got 2.5"),
        ({"n_neighbors": True}, CELLS, "positive integer; got True"),
        ({"n_neighbors": "15"}, CELLS, "positive integer; got '15'"),
        ({"n_neighbors": 15}, CELLS[:15], "at least 16 cells; got 15. Ask for at most 14"),
        ({"metric": "manhattan"}, CELLS, r"'manhattan'; available: \['euclidean', 'cosine'\]"),
        ({"metric": "cosine"}, np.vstack([CELLS, np.zeros(6)]), "first in row 150"),
        ({"n_jobs": 0}, CELLS, "`n_jobs` must be"),
        ({}, np.ones((30, 3)), "All cells are equal"),
        ({}, np.vstack([CELLS, np.full(6, np.nan)]), "NaN"),
        ({}, CELLS[:1], "1 sample"),
    ],
)
def test_errors_of_fit(given, rows, said):
    with pytest.raises(ValueError, match=said):
        ne.pp.FaissNeighbors(**given).fit(rows)


def test_errors_of_transform():
    with pytest.raises(NotFittedError):
        ne.pp.FaissNeighbors().transform(CELLS)
    with pytest.raises(ValueError, match="expecting 6 features"):
        ne.pp.FaissNeighbors().fit(CELLS).transform(CELLS[:, :5])
    with pytest.raises(ValueError, match="first in row 1"):
        ne.pp.FaissNeighbors(metric="cosine").fit(CELLS).transform(np.vstack([NEW[:1], np.zeros(6)]))


def test_import_is_light(python):
    heavy = {"torch", "faiss", "numba", "scanpy", "sklearn"}
    code = f"import sys, sc_nembed as ne\nne.pp\nprint(sorted({heavy} & set(sys.modules)), dir(ne.pp))"
    assert python(code) == "[] ['FaissNeighbors']"
    with pytest.raises(AttributeError, match="available"):
        ne.pp.nothing_of_that_name  # noqa: B018
