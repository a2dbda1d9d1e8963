"""Where the input comes from, and what is said and recorded about it."""

import io

import numpy as np
import pytest
import scanpy as sc
import scipy.sparse as sp

import sc_nembed as ne
from _cells import QUICK, blobs, snapshot, with_graph
from sc_nembed.engine import pipeline
from sc_nembed.engine.affinity import UMAPAffinity


@pytest.fixture
def searches(monkeypatch):
    """Every neighbor search that runs: (number of cells, k)."""
    calls, search = [], pipeline.nearest_neighbors

    def spy(features, k, **kwargs):
        calls.append((features.shape, k))
        return search(features, k, **kwargs)

    monkeypatch.setattr(pipeline, "nearest_neighbors", spy)
    return calls


def test_stored_graph_is_reused_and_left_alone(searches):
    adata = with_graph(blobs())
    before = snapshot(adata)
    ne.tl.neighbor_embedding(adata, **QUICK)
    after = snapshot(adata)
    assert searches == []
    assert after["obsp"] == before["obsp"]
    assert after["X"] == before["X"]
    assert adata.uns["ne"]["input"]["neighbors_key"] == "neighbors"
    assert adata.uns["ne"]["input"]["matrix"] == "distances"
    assert adata.uns["ne"]["final"]["seconds"]["neighbors"] == 0.0


@pytest.mark.parametrize(
    ("given", "kind", "name"),
    [
        ({"neighbors_key": "nb2"}, "graph", "nb2"),
        ({"obsp": "connectivities"}, "matrix", "connectivities"),
        ({"use_rep": "X_pca"}, "representation", "X_pca"),
        ({"use_rep": "X"}, "representation", "X"),
        ({"n_pcs": 4}, "representation", "X_pca"),
        ({"n_pcs": 0}, "representation", "X"),
        ({}, "graph", "neighbors"),
        ({"perplexity": 8}, "representation", "X_pca"),
        ({"n_neighbors": 9}, "representation", "X_pca"),
        ({"metric": "cosine"}, "representation", "X_pca"),
    ],
)
def test_source_follows_the_rules(given, kind, name, searches):
    adata = with_graph(with_graph(blobs()), k=8, key="nb2")
    ne.tl.neighbor_embedding(adata, **given, **QUICK)
    record = adata.uns["ne"]["input"]
    assert record["kind"] == kind
    assert name in {record.get(slot) for slot in ("neighbors_key", "obsp", "name")}
    assert len(searches) == (kind == "representation")


# --- UMAP on a stored graph ---


def with_weights(adata, k=12, key="neighbors", seed=0):
    """A stored graph whose connectivities are any symmetric weights between 0.1 and 1."""
    with_graph(adata, k=k, key=key)
    name = adata.uns[key]["connectivities_key"]
    pattern = sp.triu(adata.obsp[name]).tocsr()
    pattern.data = np.random.default_rng(seed).uniform(0.1, 1, pattern.nnz)
    adata.obsp[name] = sp.csr_matrix(pattern + pattern.T)
    return adata


def umap_of(adata, **options):
    ne.tl.neighbor_embedding(adata, method="umap", **({"max_iter": 40} | options))
    return adata.obsm["X_ne"].copy(), adata.uns["ne"]


@pytest.mark.parametrize("options", [{}, {"repulsion": "sampled"}, {"neighbors_key": "neighbors"}], ids=str)
def test_umap_reads_the_connectivities_of_a_graph_and_nothing_else(options, searches):
    adata = with_weights(blobs(gap=3.0))
    usual, record = umap_of(adata, **options)
    assert searches == []
    assert record["input"]["matrix"] == "connectivities"
    assert record["input"]["neighbors_key"] == "neighbors"
    assert record["params"]["affinity_in"] == "umap"
    assert record["final"]["n_edges"] == adata.obsp["connectivities"].nnz
    assert record["final"]["seconds"]["neighbors"] == 0.0
    adata.obsp["distances"].data[:] = np.random.default_rng(0).uniform(0.1, 9, adata.obsp["distances"].nnz)
    np.testing.assert_array_equal(umap_of(adata, **options)[0], usual)
    del adata.obsp["distances"]
    np.testing.assert_array_equal(umap_of(adata, **options)[0], usual)
    other, _ = umap_of(with_weights(blobs(gap=3.0), seed=1), **options)
    assert np.abs(other - usual).max() > 1e-2 * np.ptp(usual)


def test_loss_of_umap_has_the_connectivities_as_they_are():
    """Σ −P log q − (5 / n) Σ degree log(1 − q) over the cells as they lie in the end, P divided by its largest.

    Below the distance at which the force of −log(1 − q) is 4 it goes on with that force.
    """
    adata, a, b = with_weights(blobs(gap=3.0)), 1.577, 0.895
    points, record = umap_of(adata, a=a, b=b, max_iter=150)
    weights = adata.obsp["connectivities"].toarray()
    weights /= weights.max()
    distance = np.linalg.norm(points[:, None].astype(float) - points, axis=2) + 1e9 * np.eye(120)
    radius = np.linspace(0.01, 2, 200_000)
    edge = radius[2 * b / (radius * (1 + a * radius ** (2 * b))) >= 4].max()
    attraction = (weights * np.log1p(a * distance ** (2 * b))).sum()
    cost = np.log1p(1 / (a * np.maximum(distance, edge) ** (2 * b))) + 4 * np.maximum(edge - distance, 0)
    expected = attraction + 5 / 120 * (weights.sum(1)[:, None] * cost).sum()
    assert record["final"]["loss"] == pytest.approx(expected, rel=1e-4)


def test_weights_too_weak_to_be_sampled_once_make_no_difference():
    """Those below the largest over 500, the usual number of epochs."""
    adata = with_weights(blobs(gap=3.0))
    usual, _ = umap_of(adata, init="random")
    full = adata.obsp["connectivities"].toarray()
    adata.obsp["connectivities"] = sp.csr_matrix(np.where(full > 0, full, 0.9 * full.max() / 500) * (1 - np.eye(120)))
    np.testing.assert_array_equal(umap_of(adata, init="random")[0], usual)
    adata.obsp["connectivities"] = sp.csr_matrix(np.where(full > 0, full, 1.1 * full.max() / 500) * (1 - np.eye(120)))
    assert np.abs(umap_of(adata, init="random")[0] - usual).max() > 1e-3 * np.ptp(usual)


def test_n_neighbors_of_umap_trims_a_named_graph_by_its_distances(searches):
    adata = with_weights(with_graph(blobs(gap=2.0), k=7, key="seven"), k=12)
    del adata.obsp["seven_connectivities"]
    start = np.random.default_rng(0).normal(size=(120, 2))
    few = {"init": start, "max_iter": 5}  # before rounding matters
    trimmed, record = umap_of(adata, neighbors_key="neighbors", n_neighbors=8, **few)
    assert record["input"]["matrix"] == "distances"
    assert record["params"]["n_neighbors"] == 8
    seven, record = umap_of(adata, neighbors_key="seven", **few)
    assert record["input"]["matrix"] == "seven_distances"
    assert record["params"]["affinity_in"] == "umap"
    np.testing.assert_allclose(trimmed, seven, atol=1e-3)
    assert searches == []


def test_umap_of_distances_alone_is_that_of_a_search():
    adata = with_graph(blobs(gap=3.0), k=14)
    del adata.obsp["connectivities"]
    few = {"init": np.random.default_rng(0).normal(size=(120, 2)), "max_iter": 5}  # before rounding matters
    found, record = umap_of(adata, **few)
    assert record["input"]["matrix"] == "distances"
    searched, record = umap_of(adata, use_rep="X_pca", **few)
    assert record["input"]["kind"] == "representation"
    assert record["params"]["n_neighbors"] == 15
    np.testing.assert_allclose(found, searched, atol=1e-3 * np.ptp(searched))
    other, _ = umap_of(adata, use_rep="X_pca", n_neighbors=14, **few)
    assert np.abs(other - searched).max() > 1e-2 * np.ptp(searched)


@pytest.mark.parametrize(
    ("given", "matrix"),
    [
        ({}, "connectivities"),
        ({"affinity_in": "umap"}, "connectivities"),
        ({"affinity_in": "uniform"}, "distances"),
        ({"affinity_in": UMAPAffinity(13)}, "distances"),
        ({"affinity_in": "entropic", "perplexity": 4, "neighbors_key": "neighbors"}, "distances"),
        ({"n_neighbors": 9}, None),
        ({"metric": "cosine"}, None),
        ({"obsp": "connectivities"}, None),
    ],
    ids=str,
)
def test_source_of_umap_follows_the_rules(given, matrix, searches):
    adata = with_weights(blobs(gap=3.0))
    _, record = umap_of(adata, **given)
    assert record["input"].get("matrix") == matrix
    assert len(searches) == ("n_neighbors" in given or "metric" in given)


def test_umap_of_scanpy_s_graph_keeps_its_neighbors():
    adata = blobs()
    sc.pp.neighbors(adata, use_rep="X_pca", n_neighbors=15)
    points, record = umap_of(adata)
    assert record["input"] == {
        "kind": "graph",
        "neighbors_key": "neighbors",
        "matrix": "connectivities",
        "init": "X_pca",
    }
    near = np.linalg.norm(points[:, None] - points, axis=2) + 1e9 * np.eye(120)
    group = adata.obs["group"].to_numpy()
    assert (group[near.argmin(1)] == group).mean() > 0.95


def test_n_pcs_takes_the_first_columns(searches):
    adata = blobs()
    ne.tl.neighbor_embedding(adata, n_pcs=4, **QUICK)
    first = adata.obsm["X_ne"].copy()
    adata.obsm["X_four"] = adata.obsm["X_pca"][:, :4].copy()
    ne.tl.neighbor_embedding(adata, use_rep="X_four", **QUICK)
    np.testing.assert_array_equal(adata.obsm["X_ne"], first)
    assert [shape for shape, _ in searches] == [(120, 4), (120, 4)]


def test_new_search_uses_what_the_graph_was_built_from(searches):
    adata = with_graph(blobs(), use_rep="X_other", n_pcs=5)
    adata.obsm["X_other"] = adata.obsm["X_pca"][:, ::-1].copy()
    ne.tl.neighbor_embedding(adata, perplexity=6, **QUICK)
    assert adata.uns["ne"]["input"]["name"] == "X_other"
    assert searches == [((120, 5), 18)]


def test_pca_is_made_on_the_way_and_not_kept():
    adata = blobs()
    del adata.obsm["X_pca"]
    with pytest.warns(UserWarning, match="PCA of X"):
        ne.tl.neighbor_embedding(adata, **QUICK)
    assert list(adata.obsm) == ["X_ne"]
    assert list(adata.uns) == ["ne"]
    assert not adata.varm
    assert "PCA of X" in adata.uns["ne"]["input"]["name"]


@pytest.mark.parametrize(
    "given",
    [
        {"use_rep": "X_pca", "neighbors_key": "neighbors"},
        {"use_rep": "X_pca", "obsp": "distances"},
        {"neighbors_key": "neighbors", "obsp": "distances"},
        {"n_pcs": 3, "neighbors_key": "neighbors"},
        {"n_pcs": 3, "obsp": "connectivities"},
    ],
)
def test_two_sources_are_refused(given):
    adata = with_graph(blobs())
    before = snapshot(adata)
    with pytest.raises(ValueError, match="two sources"):
        ne.tl.neighbor_embedding(adata, **given, **QUICK)
    assert snapshot(adata) == before


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"neighbors_key": "neighbors", "metric": "cosine"}, "metric"),
        ({"neighbors_key": "neighbors", "backend": "faiss"}, "backend"),
        ({"obsp": "connectivities", "perplexity": 5}, "perplexity"),
        ({"obsp": "connectivities", "n_neighbors": 5}, "n_neighbors"),
        ({"obsp": "connectivities", "metric": "cosine"}, "metric"),
        ({"obsp": "connectivities", "affinity_in": "entropic"}, "affinity_in"),
        ({"neighbors_key": "neighbors", "affinity_in": "uniform", "perplexity": 5}, "perplexity"),
        ({"use_rep": "X", "n_pcs": 5}, "n_pcs"),
        ({"scheduler_kwargs": {"gamma": 0.9}}, "scheduler_kwargs"),
    ],
)
def test_parameter_without_effect_is_refused(given, name):
    adata = with_graph(blobs())
    before = snapshot(adata)
    with pytest.raises(ValueError, match=name):
        ne.tl.neighbor_embedding(adata, **given, **QUICK)
    assert snapshot(adata) == before


def test_n_neighbors_trims_a_named_graph():
    adata = with_graph(with_graph(blobs(gap=2.0), k=12), k=7, key="seven")
    start = np.random.default_rng(0).normal(size=(120, 2))
    ne.tl.neighbor_embedding(adata, neighbors_key="neighbors", n_neighbors=8, init=start, key_added="trimmed", **QUICK)
    ne.tl.neighbor_embedding(adata, neighbors_key="seven", init=start, key_added="seven_ne", **QUICK)
    np.testing.assert_allclose(adata.obsm["trimmed"], adata.obsm["seven_ne"], atol=1e-3)
    assert adata.uns["trimmed"]["params"]["n_neighbors"] == 8
    with pytest.raises(ValueError, match="at most 13"):
        ne.tl.neighbor_embedding(adata, neighbors_key="neighbors", n_neighbors=14, **QUICK)


def test_perplexity_on_a_graph_of_few_neighbors_warns():
    adata = with_graph(blobs(), k=12)
    with pytest.warns(UserWarning, match="best fitted to 24 neighbors"):
        ne.tl.neighbor_embedding(adata, neighbors_key="neighbors", perplexity=8, **QUICK)
    assert adata.uns["ne"]["params"]["perplexity"] == 8


def test_perplexity_is_lowered_with_a_warning_only_when_asked_for():
    adata = blobs(n_per=10)
    ne.tl.neighbor_embedding(adata, use_rep="X_pca", **QUICK)
    assert adata.uns["ne"]["params"]["perplexity"] == pytest.approx(29 / 3)
    with pytest.warns(UserWarning, match="lowered from 30"):
        ne.tl.neighbor_embedding(adata, use_rep="X_pca", perplexity=30, **QUICK)
    with pytest.warns(UserWarning, match="lowered from 8 to 5"):
        ne.tl.neighbor_embedding(adata, use_rep="X_pca", perplexity=8, n_neighbors=16, **QUICK)


@pytest.mark.parametrize("matrix", [sp.csr_matrix, sp.coo_array, np.asarray])
def test_affinities_can_be_given_as_a_matrix(matrix):
    adata = with_graph(blobs())
    weights = adata.obsp["connectivities"].toarray()
    ne.tl.neighbor_embedding(adata, obsp="connectivities", key_added="by_name", **QUICK)
    ne.tl.neighbor_embedding(adata, affinity_in=matrix(weights), key_added="by_matrix", **QUICK)
    np.testing.assert_array_equal(adata.obsm["by_matrix"], adata.obsm["by_name"])
    assert adata.uns["by_matrix"]["params"]["affinity_in"] == "precomputed"


@pytest.mark.parametrize(
    ("given", "recorded"),
    [
        ("sinkhorn", "sinkhorn"),
        (ne.SinkhornAffinity(), "sinkhorn"),
        (ne.SinkhornAffinity(eps=50.0), "SinkhornAffinity(eps=50.0, base_kernel='gaussian')"),
        (ne.UniformAffinity(8), "uniform"),
    ],
)
def test_the_record_tells_an_affinitys_own_parameters(given, recorded):
    adata = blobs()
    ne.tl.neighbor_embedding(adata, use_rep="X_pca", affinity_in=given, **QUICK)
    assert adata.uns["ne"]["params"]["affinity_in"] == recorded


def test_graph_without_a_representation_starts_spectral():
    adata = with_graph(blobs())
    del adata.obsm["X_pca"]
    ne.tl.neighbor_embedding(adata, **QUICK)
    assert adata.uns["ne"]["params"]["init"] == "spectral"


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"use_rep": "X_scvi"}, KeyError, r"X_scvi.*available: \['X_pca', 'X'\]"),
        ({"neighbors_key": "nb2"}, KeyError, r"sc.pp.neighbors\(adata, key_added='nb2'\).*available: \['neighbors'\]"),
        ({"obsp": "foo"}, KeyError, r"foo.*available: \['distances', 'connectivities'\]"),
        ({"n_pcs": 11}, ValueError, "10 columns"),
    ],
)
def test_missing_source_lists_what_exists(given, error, message):
    adata = with_graph(blobs())
    before = snapshot(adata)
    with pytest.raises(error, match=message):
        ne.tl.neighbor_embedding(adata, **given)
    assert snapshot(adata) == before


def test_isolated_cells_lie_around_the_others():
    adata = with_graph(blobs())
    alone = np.array([3, 77, 110])
    for name in ("distances", "connectivities"):
        matrix = adata.obsp[name].tolil()
        matrix[alone] = 0
        matrix[:, alone] = 0
        adata.obsp[name] = matrix.tocsr()
    with pytest.warns(UserWarning, match="3 cells have no neighbors"):
        ne.tl.neighbor_embedding(adata, **QUICK)
    points = adata.obsm["X_ne"].astype(float)
    others = np.delete(points, alone, axis=0)
    distance = np.linalg.norm(points - others.mean(0), axis=1)
    np.testing.assert_allclose(distance[alone], 1.05 * np.delete(distance, alone).max(), rtol=1e-4)


def test_what_is_embedded_is_logged():
    adata, log, before = with_graph(blobs()), io.StringIO(), (sc.settings.verbosity, sc.settings.logfile)
    sc.settings.verbosity, sc.settings.logfile = 2, log
    try:
        ne.tl.neighbor_embedding(adata, **QUICK)
    finally:
        sc.settings.verbosity, sc.settings.logfile = before
    assert "of the neighbor graph 'neighbors'" in log.getvalue()
    assert "finished" in log.getvalue()


@pytest.mark.parametrize("method", ["pacmap", "localmap"])
def test_method_of_pairs_reads_the_representation_of_a_graph(method):
    """Also where the start needs none, for the distances that choose mid-near pairs."""
    adata = with_graph(blobs(), use_rep="X_pca")
    start = np.random.default_rng(0).normal(size=(adata.n_obs, 2)).astype(np.float32)
    ne.tl.neighbor_embedding(adata, method=method, init=start, max_iter=20)
    assert adata.uns["ne"]["input"]["kind"] == "graph"
    assert (adata.uns["ne"]["params"]["n_neighbors"], adata.uns["ne"]["params"]["affinity_in"]) == (11, "pacmap")
    del adata.obsm["X_pca"]
    with pytest.raises(ValueError, match="draws pairs by distances in a representation, and this source has none"):
        ne.tl.neighbor_embedding(adata, method=method, init=start, max_iter=20)
