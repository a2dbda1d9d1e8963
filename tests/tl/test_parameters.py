"""Parameters: each has an effect and stands in the record; wrong ones have their own message."""

import inspect

import numpy as np
import pytest
import scanpy as sc

import sc_nembed as ne
from _cells import QUICK, blobs, snapshot, with_graph
from sc_nembed.engine import config as config_module
from sc_nembed.engine import presets
from sc_nembed.engine.affinity import EntropicAffinity, UniformAffinity
from sc_nembed.engine.output_affinity import StudentAffinity

BASE = {"use_rep": "X_pca", "init": "random", **QUICK}


def embedded(**options):
    adata = blobs(gap=3.0)
    ne.tl.neighbor_embedding(adata, **(BASE | options))
    return adata.obsm["X_ne"], adata.uns["ne"]


@pytest.fixture(scope="module")
def usual():
    return embedded()[0]


@pytest.mark.parametrize(
    ("given", "recorded"),
    [
        ({"perplexity": 7}, {"perplexity": 7.0, "n_neighbors": 22}),
        ({"perplexity": [5, 25]}, {"perplexity": [5, 25]}),
        ({"n_neighbors": 9}, {"n_neighbors": 9, "affinity_in": "uniform"}),
        ({"metric": "cosine"}, {"metric": "cosine"}),
        ({"affinity_in": "umap"}, {"affinity_in": "umap"}),
        ({"affinity_in": UniformAffinity(6)}, {"affinity_in": "uniform"}),
        ({"affinity_in": EntropicAffinity(9)}, {"perplexity": 9.0}),
        ({"affinity_out": StudentAffinity(dof=0.5)}, {}),
        ({"kwargs_affinity_out": {"dof": 0.5}}, {}),
        ({"dof": 0.5}, {"kwargs_affinity_out": {"dof": 0.5, "normalization": "all"}}),
        ({"lr": 0.3}, {"lr": 0.3}),
        ({"optimizer": "Adam"}, {"optimizer": "Adam"}),
        ({"optimizer": "SGD", "optimizer_kwargs": {"momentum": 0.3}}, {"optimizer_kwargs": {"momentum": 0.3}}),
        ({"optimizer_kwargs": {"max_step": 0.01, "max_step_span": 0.001}}, {}),
        ({"scheduler": "ExponentialLR", "scheduler_kwargs": {"gamma": 0.9}}, {"scheduler": "ExponentialLR"}),
        ({"scheduler": "LinearLR"}, {"scheduler": "LinearLR"}),
        ({"max_iter": 41}, {"max_iter": 41}),
        ({"init": "pca"}, {"init": "pca"}),
        ({"init": "spectral"}, {"init": "spectral"}),
        ({"init_scaling": 2.0}, {"init_scaling": 2.0}),
        ({"init_scaling": "keep"}, {"init_scaling": "keep"}),
        ({"early_exaggeration_coeff": 9}, {"early_exaggeration_coeff": 9.0}),
        ({"early_exaggeration_iter": 20}, {"early_exaggeration_iter": 20}),
        ({"exaggeration": 2}, {"exaggeration": 2.0}),
        ({"repulsion_strength": 0.5}, {"repulsion_strength": 0.5}),
        ({"random_state": 3}, {"random_state": 3}),
    ],
)
def test_parameter_changes_the_picture_and_is_recorded(given, recorded, usual):
    points, record = embedded(**given)
    assert np.abs(points - usual).max() > 1e-3 * np.ptp(usual)
    for name, value in recorded.items():
        found = record["params"][name]
        if isinstance(value, list):
            np.testing.assert_allclose(found, value)
        else:
            assert found == value


def test_early_exaggeration_lasts_as_long_as_asked():
    _, record = embedded(early_exaggeration_iter=12, max_iter=30, check_interval=1)
    exaggerated = record["history"]["exaggeration"] > 1
    np.testing.assert_array_equal(record["history"]["iteration"][exaggerated], np.arange(1, 13))
    assert (record["history"]["exaggeration"][:6] == 4).all()


def test_constant_rate_is_constant_and_check_interval_counts():
    _, record = embedded(lr=0.7, check_interval=7)
    assert set(record["history"]["lr"]) == {0.7}
    np.testing.assert_array_equal(record["history"]["iteration"], [1, 7, 14, 21, 28, 35, 40])


def test_min_grad_norm_stops_the_run():
    _, record = embedded(min_grad_norm=1e3)
    assert record["final"]["stop_reason"] == "min_grad_norm"
    assert record["final"]["n_iter"] < 40


@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_n_components_gives_that_many_columns(n_components):
    points, record = embedded(n_components=n_components)
    assert points.shape == (120, n_components)
    assert points.dtype == np.float32
    assert points.flags["C_CONTIGUOUS"]
    assert record["params"]["n_components"] == n_components


@pytest.mark.parametrize(
    ("alias", "name", "value"),
    [("learning_rate", "lr", 0.5), ("early_exaggeration", "early_exaggeration_coeff", 8.0), ("rng", "random_state", 5)],
)
def test_alias_is_the_parameter(alias, name, value):
    by_alias, record = embedded(**{alias: value})
    by_name, _ = embedded(**{name: value})
    np.testing.assert_array_equal(by_alias, by_name)
    assert record["params"][name] == value
    with pytest.raises(TypeError, match=name):
        embedded(**{alias: value, name: value})


@pytest.mark.parametrize("method", ["tsne", "TSNE", "t-SNE", presets.tsne()])
def test_method_by_any_name(method, usual):
    np.testing.assert_array_equal(embedded(method=method)[0], usual)


def test_every_parameter_of_the_config_is_a_parameter_of_the_tool():
    parameters = set(inspect.signature(ne.tl.neighbor_embedding).parameters)
    options = {name for preset in presets.METHODS.values() for name in preset().options}
    assert options >= config_module.OF_METHODS
    of_the_preset = (config_module.NOT_RECORDED - {"verbose"}) | options
    assert set(config_module.EmbeddingConfig.__dataclass_fields__) - of_the_preset <= parameters


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"perplexity": -1}, ValueError, "perplexity.*at least 1.*-1"),
        ({"perplexity": "30"}, ValueError, "perplexity"),
        ({"n_neighbors": 1}, ValueError, "n_neighbors"),
        ({"metric": "angular"}, ValueError, "available: .*cosine"),
        ({"optimizer": "foo"}, ValueError, "available: .*DeltaBarDelta.*Adam"),
        ({"optimizer": "LBFGS"}, ValueError, "available: .*Adam"),
        ({"optimizer_kwargs": {"foo": 1}}, TypeError, "available: .*max_step"),
        ({"optimizer": "Adam", "optimizer_kwargs": {"lr": 1}}, TypeError, "pass `lr`"),
        ({"scheduler": "foo"}, ValueError, "available: .*LinearLR"),
        ({"scheduler": "ExponentialLR"}, TypeError, "gamma"),
        ({"affinity_in": "foo"}, ValueError, "available: .*entropic"),
        ({"affinity_in": "precomputed"}, ValueError, "obsp"),
        ({"affinity_out": "foo"}, ValueError, "available: .*student"),
        ({"affinity_out": 3}, TypeError, "student"),
        ({"kwargs_affinity_out": {"foo": 1}}, TypeError, "available: .*dof"),
        ({"backend": "foo"}, ValueError, "available: .*faiss"),
        ({"device": "tpu"}, ValueError, "cuda"),
        ({"method": "foo"}, ValueError, "available: .*tsne"),
        ({"min_dist": 0.1}, TypeError, "available: .*dof"),
        ({"dof": 0}, ValueError, "dof"),
        ({"tolerance": 2}, ValueError, "tolerance"),
        ({"lr": 200}, ValueError, "dimensionless"),
        ({"lr": 0}, ValueError, "lr"),
        ({"max_iter": 0}, ValueError, "max_iter"),
        ({"max_iter": 10.5}, ValueError, "max_iter"),
        ({"n_components": 0}, ValueError, "n_components"),
        ({"n_jobs": 0}, ValueError, "n_jobs"),
        ({"init": "foo"}, ValueError, "available: .*spectral.*X_pca"),
        ({"init": np.zeros((7, 2))}, ValueError, r"\(120, 2\); got \(7, 2\)"),
        ({"init": np.full((120, 2), np.nan)}, ValueError, "120 cells"),
        ({"init": np.zeros((120, 2)), "init_scaling": 1.0}, ValueError, "cannot be scaled"),
        ({"random_state": "a"}, ValueError, "random_state"),
        ({"random_state": -1}, ValueError, "random_state"),
        ({"race": True}, ValueError, "race.*max_iter"),
        ({"key_added": "a/b"}, ValueError, "/"),
        ({"key_added": 3}, TypeError, "key_added"),
        ({"key_added": "X_pca"}, ValueError, "own input"),
    ],
)
def test_wrong_parameter_is_explained_and_nothing_written(given, error, message):
    adata = blobs()
    before = snapshot(adata)
    with pytest.raises(error, match=message):
        ne.tl.neighbor_embedding(adata, **(BASE | given))
    assert snapshot(adata) == before


def test_slot_of_somebody_else_is_not_overwritten():
    adata = blobs()
    adata.obsm["X_ne"] = np.zeros((120, 2))
    before = snapshot(adata)
    with pytest.raises(ValueError, match="not written by sc_nembed"):
        ne.tl.neighbor_embedding(adata, **BASE)
    assert snapshot(adata) == before


def test_tsne_writes_and_replaces_the_slots_of_scanpy():
    adata = with_graph(blobs())
    adata.obsm["X_tsne"], adata.uns["tsne"] = np.zeros((120, 2)), {"params": {"perplexity": 30}}
    ne.tl.tsne(adata, **QUICK)
    ne.tl.neighbor_embedding(adata, **QUICK)
    np.testing.assert_array_equal(adata.obsm["X_tsne"], adata.obsm["X_ne"])
    assert "sc_nembed" in adata.uns["tsne"]["versions"]
    ne.tl.tsne(adata, key_added="other", **QUICK)
    assert "other" in adata.obsm
    with pytest.raises(TypeError, match="method"):
        ne.tl.tsne(adata, method="tsne")


@pytest.fixture
def three_jobs():
    before, sc.settings.n_jobs = sc.settings.n_jobs, 3
    yield
    sc.settings.n_jobs = before


@pytest.mark.usefixtures("three_jobs")
def test_scanpy_n_jobs_is_respected():
    adata = blobs()
    ne.tl.neighbor_embedding(adata, **BASE)
    assert adata.uns["ne"]["params"]["n_jobs"] == 3
    ne.tl.neighbor_embedding(adata, n_jobs=2, **BASE)
    assert adata.uns["ne"]["params"]["n_jobs"] == 2


def test_verbose_shows_a_bar_with_the_loss_or_nothing_at_all(capsys):
    adata = blobs()
    ne.tl.neighbor_embedding(adata, verbose=True, **BASE)
    assert "loss" in capsys.readouterr().err
    ne.tl.neighbor_embedding(adata, verbose=False, **BASE)
    assert capsys.readouterr() == ("", "")
