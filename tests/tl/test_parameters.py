"""Parameters: each has an effect and stands in the record; wrong ones have their own message."""

import inspect
import warnings

import anndata as ad
import numpy as np
import pytest
import scanpy as sc
import torch

import sc_nembed as ne
from _cells import QUICK, blobs, snapshot, with_graph
from sc_nembed.engine import presets
from sc_nembed.engine.affinity import EntropicAffinity, UniformAffinity
from sc_nembed.engine.configure import WISHES
from sc_nembed.engine.kernel import fit_rational
from sc_nembed.engine.output_affinity import GaussianAffinity, StudentAffinity

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
        ({"affinity_in": "self_tuning"}, {"affinity_in": "self_tuning", "n_neighbors": 22}),
        ({"affinity_in": "self_tuning", "n_neighbors": 16}, {"affinity_in": "self_tuning", "n_neighbors": 16}),
        ({"affinity_in": "magic", "n_neighbors": 16}, {"affinity_in": "magic", "n_neighbors": 16}),
        ({"affinity_in": "pacmap"}, {"affinity_in": "pacmap", "n_neighbors": 11}),
        ({"affinity_in": "pacmap", "n_neighbors": 16}, {"affinity_in": "pacmap", "n_neighbors": 16}),
        ({"affinity_in": "sinkhorn"}, {"affinity_in": "sinkhorn", "n_neighbors": 120}),
        ({"affinity_in": "doubly_stochastic_quadratic"}, {"affinity_in": "doubly_stochastic_quadratic"}),
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


def far_loss(p, log_q, power=1.0):
    return ((p - log_q.exp()).abs() ** power).sum()


# what each method is compared with, its usual result
METHODS = {
    "umap": {"method": "umap"},
    "sampled umap": {"method": "umap", "repulsion": "sampled"},
    "sne": {"method": "sne"},
    "info_tsne": {"method": "info_tsne", "n_negatives": 20},
    "neg_tsne": {"method": "neg_tsne"},
    "pacmap": {"method": "pacmap"},
    "localmap": {"method": "localmap"},
    "tsnekhorn": {"method": "tsnekhorn"},
    "cosne": {"method": "cosne"},
    "affinity_matcher": {"method": "affinity_matcher", "lr": 0.1},
    "matcher of a function": {"method": "affinity_matcher", "lr": 0.1, "loss_fn": far_loss},
    "neighbor_embedding": {"method": "neighbor_embedding"},
}


def embedded_by(method, **options):
    adata = blobs(gap=3.0)
    base = {"use_rep": "X_pca", "init": "random", "max_iter": 40}
    ne.tl.neighbor_embedding(adata, **(base | METHODS[method] | options))
    return adata.obsm["X_ne"], adata.uns["ne"]


@pytest.fixture(scope="module")
def usual_of():
    return {method: embedded_by(method)[0] for method in METHODS}


def shape(min_dist, spread=1.0):
    """What stands in the record."""
    a, b = fit_rational(min_dist, spread)
    return {"min_dist": min_dist, "spread": spread, "a": a, "b": b, "normalization": "none"}


@pytest.mark.parametrize(
    ("method", "given", "recorded"),
    [
        ("umap", {"min_dist": 0.1}, {"kwargs_affinity_out": shape(0.1), "affinity_out": "rational"}),
        ("umap", {"spread": 2.0}, {"kwargs_affinity_out": shape(0.5, 2.0)}),
        ("umap", {"kwargs_affinity_out": {"min_dist": 0.1}}, {"kwargs_affinity_out": shape(0.1)}),
        ("umap", {"a": 1.5, "b": 0.8}, {"kwargs_affinity_out": shape(0.5) | {"a": 1.5, "b": 0.8}}),
        ("umap", {"negative_sample_rate": 12}, {"negative_sample_rate": 12}),
        ("umap", {"repulsion": "sampled"}, {"repulsion": "sampled", "exclude_neighbors": False}),
        ("umap", {"repulsion_strength": 0.5}, {"repulsion_strength": 0.5}),
        ("umap", {"n_neighbors": 8}, {"n_neighbors": 8, "affinity_in": "umap"}),
        ("umap", {"affinity_in": "entropic", "perplexity": 8}, {"affinity_in": "entropic", "perplexity": 8.0}),
        ("umap", {"metric": "cosine"}, {"metric": "cosine", "repulsion": "expected"}),
        ("umap", {"init_scaling": 1.0}, {"init_scaling": 1.0}),
        ("umap", {"early_exaggeration_iter": 10}, {"early_exaggeration_iter": 10, "early_exaggeration_coeff": 4.0}),
        ("umap", {"exaggeration": 2}, {"exaggeration": 2.0}),
        ("umap", {"lr": 0.3}, {"lr": 0.3}),
        ("umap", {"optimizer": "Adam", "lr": 0.1}, {"optimizer": "Adam"}),
        ("sampled umap", {"exclude_neighbors": True}, {"exclude_neighbors": True}),
        ("sampled umap", {"negative_sample_rate": 2}, {"negative_sample_rate": 2}),
        ("sampled umap", {"repulsion_strength": 0.5}, {"repulsion_strength": 0.5}),
        ("sampled umap", {"min_dist": 0.1}, {"kwargs_affinity_out": shape(0.1)}),
        ("sampled umap", {"random_state": 3}, {"random_state": 3}),
        ("sampled umap", {"max_iter": 50}, {"max_iter": 50}),
        ("sampled umap", {"lr": 0.5}, {"lr": 0.5}),
        ("sampled umap", {"early_exaggeration_iter": 10}, {"early_exaggeration_iter": 10}),
        ("sampled umap", {"scheduler": "ExponentialLR", "scheduler_kwargs": {"gamma": 0.9}}, {}),
        ("sne", {"sigma": 3.0}, {"kwargs_affinity_out": {"sigma": 3.0, "normalization": "row"}}),
        ("sne", {"perplexity": 7}, {"perplexity": 7.0, "affinity_out": "gaussian"}),
        ("sne", {"kwargs_affinity_out": {"normalization": "all"}}, {}),
        ("neg_tsne", {"Z_bar": 900.0}, {"Z_bar": 900.0, "n_negatives": 5, "repulsion": "expected"}),
        ("neg_tsne", {"repulsion": "sampled"}, {"repulsion": "sampled"}),
        ("info_tsne", {"n_negatives": 7}, {"n_negatives": 7, "with_positive": True}),
        ("info_tsne", {"with_positive": False}, {"with_positive": False}),
        ("pacmap", {"MN_ratio": 1.0}, {"MN_ratio": 1.0, "FP_ratio": 2.0, "affinity_in": "pacmap", "n_neighbors": 11}),
        ("pacmap", {"FP_ratio": 1.0}, {"MN_ratio": 0.5, "FP_ratio": 1.0}),
        ("pacmap", {"n_neighbors": 8}, {"n_neighbors": 8, "affinity_in": "pacmap"}),
        ("pacmap", {"affinity_in": "uniform"}, {"affinity_in": "uniform"}),
        ("pacmap", {"affinity_in": "entropic", "perplexity": 8}, {"affinity_in": "entropic", "perplexity": 8.0}),
        ("pacmap", {"metric": "cosine"}, {"metric": "cosine"}),
        ("pacmap", {"repulsion_strength": 0.5}, {"repulsion_strength": 0.5}),
        ("pacmap", {"lr": 0.3}, {"lr": 0.3}),
        ("pacmap", {"random_state": 3}, {"random_state": 3}),
        ("pacmap", {"max_iter": 50}, {"max_iter": 50}),
        ("pacmap", {"optimizer_kwargs": {"beta1": 0.5}}, {"optimizer": "auto"}),
        ("pacmap", {"optimizer": "Adam"}, {"optimizer": "Adam"}),
        ("pacmap", {"scheduler": "ExponentialLR", "scheduler_kwargs": {"gamma": 0.9}}, {}),
        ("localmap", {"low_dist_thres": 3.0}, {"low_dist_thres": 3.0, "MN_ratio": 0.5}),
        ("localmap", {"FP_ratio": 1.0}, {"FP_ratio": 1.0, "low_dist_thres": 10.0}),
        ("tsnekhorn", {"dof": 0.5}, {"kwargs_affinity_out": {"dof": 0.5, "normalization": "sinkhorn"}}),
        ("tsnekhorn", {"perplexity": 7}, {"perplexity": 7.0, "affinity_in": "symmetric_entropic"}),
        ("tsnekhorn", {"n_neighbors": 8}, {"n_neighbors": 8, "affinity_in": "uniform"}),
        ("tsnekhorn", {"repulsion_strength": 0.5}, {"repulsion_strength": 0.5}),
        ("cosne", {"gamma": 1.0}, {"gamma": 1.0}),
        ("cosne", {"norm_strength": 0.1}, {"norm_strength": 0.1}),
        ("cosne", {"norm_scale": 0.1}, {"norm_scale": 0.1}),
        ("cosne", {"init_scaling": 0.5}, {"init_scaling": 0.5}),
        ("cosne", {"early_exaggeration_iter": 0}, {"early_exaggeration_iter": 0}),
        ("cosne", {"optimizer_kwargs": {"betas": (0.5, 0.9)}}, {"optimizer": "auto"}),
        ("cosne", {"scheduler": "ExponentialLR", "scheduler_kwargs": {"gamma": 0.9}}, {}),
        ("neighbor_embedding", {"affinity_out": "gaussian"}, {"affinity_out": "gaussian"}),
        ("neighbor_embedding", {"affinity_out": GaussianAffinity(2.0, "row")}, {"affinity_out": "gaussian"}),
        ("neighbor_embedding", {"affinity_in": "umap"}, {"affinity_in": "umap"}),
        ("affinity_matcher", {"loss_fn": "cross_entropy_loss"}, {"loss_fn": "cross_entropy_loss"}),
        ("affinity_matcher", {"loss_fn": "binary_cross_entropy_loss"}, {"loss_fn": "binary_cross_entropy_loss"}),
        ("affinity_matcher", {"loss_fn": far_loss}, {"loss_fn": "far_loss"}),
        ("affinity_matcher", {"affinity_out": "gaussian"}, {"affinity_out": "gaussian"}),
        ("affinity_matcher", {"affinity_in": "normalized_gaussian"}, {"affinity_in": "normalized_gaussian"}),
        ("affinity_matcher", {"affinity_in": "phate"}, {"affinity_in": "phate", "affinity_out": "student"}),
        ("affinity_matcher", {"affinity_out": "negative_distance"}, {"affinity_out": "negative_distance"}),
        ("matcher of a function", {"kwargs_loss": {"power": 1.5}}, {"kwargs_loss": {"power": 1.5}}),
    ],
)
def test_parameter_of_a_method_changes_its_picture_and_is_recorded(method, given, recorded, usual_of):
    points, record = embedded_by(method, **given)
    assert np.isfinite(points).all()
    assert np.abs(points - usual_of[method]).max() > 1e-3 * np.ptp(usual_of[method])
    assert {name: record["params"][name] for name in recorded} == recorded
    assert record["params"]["method"] == METHODS[method]["method"]


def test_options_of_other_methods_are_not_recorded():
    of_umap = {"repulsion", "negative_sample_rate", "exclude_neighbors"}
    of_matcher, of_tsne = {"loss_fn", "kwargs_loss"}, {"race"}
    for method, present, absent in (
        ("umap", of_umap, of_matcher | of_tsne),
        ("sne", set(), of_umap | of_matcher | of_tsne),
        ("affinity_matcher", {"loss_fn"}, of_umap | of_tsne),
    ):
        names = set(embedded_by(method)[1]["params"])
        assert present <= names
        assert not absent & names


@pytest.mark.parametrize("repulsion", ["expected", "sampled"])
def test_min_dist_and_repulsion_strength_spread_the_cells_of_umap(repulsion):
    """Cells next to each other end farther apart."""

    def nearest(**options):
        points, _ = embedded_by("umap", repulsion=repulsion, max_iter=200, **options)
        distances = np.linalg.norm(points[:, None] - points, axis=2) + 1e9 * np.eye(len(points))
        return np.median(distances.min(1))

    assert nearest(min_dist=0.8) > 1.5 * nearest(min_dist=0.05)
    assert nearest(repulsion_strength=4) > 1.2 * nearest()


def test_epochs_of_sampled_umap_are_its_own_number():
    assert embedded_by("sampled umap", max_iter=None)[1]["params"]["max_iter"] == 500
    assert embedded_by("umap", max_iter=None)[1]["params"]["max_iter"] < 250


# --- parameters of all methods ---


def twins():
    """30 cells of which five are there four times more."""
    adata = blobs(n_per=10)
    return adata[np.concatenate([np.arange(30), np.repeat(np.arange(5), 4)])].copy()


@pytest.mark.filterwarnings("ignore:Observation names are not unique")
@pytest.mark.parametrize("method", ["tsne", "umap", "sne"])
def test_process_duplicates_embeds_equal_rows_once_and_is_recorded(method):
    found, first = {}, np.concatenate([np.arange(30), np.repeat(np.arange(5), 4)])
    for on in (True, False):
        adata = twins()
        ne.tl.neighbor_embedding(adata, method=method, use_rep="X_pca", process_duplicates=on, max_iter=40)
        assert adata.uns["ne"]["params"]["process_duplicates"] is on
        found[on] = adata.obsm["X_ne"]
    np.testing.assert_array_equal(found[True], found[True][first])
    assert len(np.unique(found[True], axis=0)) == 30
    assert np.abs(found[True] - found[False]).max() > 1e-3 * np.ptp(found[False])


def test_process_duplicates_is_off_for_graphs_and_recorded_so():
    adata = with_graph(blobs())
    ne.tl.neighbor_embedding(adata, process_duplicates=True, key_added="on", **QUICK)
    ne.tl.neighbor_embedding(adata, key_added="off", **QUICK)
    np.testing.assert_array_equal(adata.obsm["on"], adata.obsm["off"])
    assert adata.uns["on"]["params"]["process_duplicates"] is False


def test_max_grad_norm_has_an_effect_and_is_recorded(usual):
    for optimizer in ({}, {"optimizer": "SGD"}):
        free, record = embedded(**optimizer)
        limited, limited_record = embedded(max_grad_norm=1e-3, **optimizer)
        assert np.abs(limited - free).max() > 1e-3 * np.ptp(free)
        assert limited_record["params"]["max_grad_norm"] == 1e-3
        assert "max_grad_norm" not in record["params"]
    np.testing.assert_array_equal(embedded(max_grad_norm=1e6)[0], usual)


def linear(n_components=2, n_features=10):
    module = torch.nn.Linear(n_features, n_components)
    with torch.no_grad():
        module.weight.copy_(torch.linspace(-0.1, 0.1, n_components * n_features).view(n_components, n_features).sin())
        module.bias.zero_()
    return module


@pytest.mark.parametrize("method", ["tsne", "umap", "sne", "affinity_matcher"])
def test_encoder_is_trained_in_place_and_maps_new_cells(method):
    adata, encoder = blobs(), linear()
    before = encoder.weight.detach().clone()
    ne.tl.neighbor_embedding(adata, method=method, use_rep="X_pca", encoder=encoder, lr=0.01, max_iter=40)
    assert not torch.equal(encoder.weight, before)
    with torch.no_grad():
        mapped = encoder(torch.from_numpy(adata.obsm["X_pca"])).numpy()
    np.testing.assert_allclose(mapped, adata.obsm["X_ne"], rtol=1e-5, atol=1e-5)
    record = adata.uns["ne"]
    assert (record["params"]["encoder"], record["params"]["init"]) == ("Linear", "encoder")
    assert record["history"]["loss"][-1] < record["history"]["loss"][0]


def test_encoder_of_a_graph_takes_what_the_graph_was_built_from():
    adata, encoder = with_graph(blobs(), use_rep="X_four", n_pcs=3), linear(n_features=3)
    adata.obsm["X_four"] = adata.obsm["X_pca"][:, :4].copy()
    ne.tl.neighbor_embedding(adata, encoder=encoder, **QUICK)
    with torch.no_grad():
        mapped = encoder(torch.from_numpy(adata.obsm["X_four"][:, :3].copy())).numpy()
    np.testing.assert_allclose(mapped, adata.obsm["X_ne"], rtol=1e-5, atol=1e-5)
    del adata.obsm["X_four"], adata.obsm["X_pca"]
    with pytest.raises(ValueError, match="the source has none"):
        ne.tl.neighbor_embedding(adata, encoder=encoder, **QUICK)


def stop(info):
    raise ArithmeticError("of a callback")


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"init": "random"}, ValueError, "`init` and `init_scaling`"),
        ({"init": "X_pca", "n_components": 10}, ValueError, "`init` and `init_scaling`"),
        ({"init_scaling": 1.0}, ValueError, "`init` and `init_scaling`"),
        ({"n_components": 3}, ValueError, "n_components"),
        ({"optimizer": "DeltaBarDelta"}, ValueError, "moves cells"),
        ({"method": "umap", "repulsion": "sampled"}, ValueError, "encoder"),
        ({"callbacks": stop}, ArithmeticError, "of a callback"),
    ],
)
def test_encoder_is_left_as_it_was_where_the_run_fails(given, error, message):
    adata, encoder = blobs(), linear()
    before, weight = snapshot(adata), encoder.weight.detach().clone()
    with pytest.raises(error, match=message):
        ne.tl.neighbor_embedding(adata, use_rep="X_pca", encoder=encoder, max_iter=40, **given)
    assert torch.equal(encoder.weight, weight)
    assert snapshot(adata) == before


# --- t-SNE alone ---


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


def test_every_wish_is_a_parameter_of_the_tool():
    assert set(WISHES) - {"dtype"} <= set(inspect.signature(ne.tl.neighbor_embedding).parameters)


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
        ({"affinity_in": "magic", "perplexity": 9}, ValueError, "`perplexity` has no effect.*'magic'"),
        ({"affinity_in": "sinkhorn", "n_neighbors": 9}, ValueError, "`n_neighbors` has no effect.*all pairs"),
        ({"affinity_in": "phate"}, ValueError, "dense and negative.*affinity_matcher"),
        ({"affinity_in": "self_tuning", "n_neighbors": 5}, ValueError, "`n_nearest` must be at least `k`, 7.*got 4"),
        ({"affinity_out": "negative_distance"}, ValueError, "dense and negative.*affinity_matcher"),
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


@pytest.mark.parametrize(
    ("method", "given", "error", "message"),
    [
        ("umap", {"perplexity": 30}, ValueError, "perplexity.*'umap'.*n_neighbors"),
        ("umap", {"affinity_out": "student"}, ValueError, "output affinity of its own.*'student'"),
        ("umap", {"affinity_out": StudentAffinity()}, ValueError, "output affinity of its own"),
        ("umap", {"kwargs_affinity_out": {"normalization": "all"}}, ValueError, "without normalization"),
        ("umap", {"dof": 1.0}, TypeError, "available: .*min_dist"),
        ("umap", {"race": True}, TypeError, "available: .*min_dist"),
        ("umap", {"min_dist": 2.0}, ValueError, "`min_dist` between 0 and `spread`"),
        ("umap", {"spread": 0.0}, ValueError, "`spread` must be positive"),
        ("umap", {"a": 1.0}, ValueError, "belong together"),
        ("umap", {"a": -1.0, "b": 1.0}, ValueError, "`a` of the rational kernel must be positive"),
        ("umap", {"negative_sample_rate": 0}, ValueError, "negative_sample_rate"),
        ("umap", {"negative_sample_rate": 2.5}, ValueError, "negative_sample_rate"),
        ("umap", {"repulsion": "foo"}, ValueError, "available: .*sampled"),
        ("umap", {"exclude_neighbors": True}, ValueError, "nothing is drawn"),
        ("umap", {"lr": 200}, ValueError, "dimensionless"),
        ("sampled umap", {"optimizer": "Adam"}, ValueError, "`optimizer` has no effect"),
        ("sampled umap", {"optimizer_kwargs": {"max_step": 1.0}}, ValueError, "`optimizer_kwargs` has no effect"),
        ("sampled umap", {"process_duplicates": True}, ValueError, "`process_duplicates` has no effect"),
        ("sampled umap", {"max_grad_norm": 1.0}, ValueError, "`max_grad_norm` has no effect"),
        ("sampled umap", {"affinity_out": "gaussian"}, ValueError, "output affinity of its own"),
        ("sne", {"sigma": 0}, ValueError, "sigma"),
        ("sne", {"dof": 2.0}, TypeError, "available: .*sigma"),
        ("sne", {"min_dist": 0.1}, TypeError, "available: .*sigma"),
        ("sne", {"max_grad_norm": 0}, ValueError, "max_grad_norm"),
        ("sne", {"encoder": "linear"}, TypeError, "torch.nn.Module"),
        ("pacmap", {"affinity_out": "student"}, ValueError, "`affinity_out` has no effect.*'pacmap'"),
        ("pacmap", {"perplexity": 30}, ValueError, "perplexity.*'pacmap'"),
        ("pacmap", {"exaggeration": 2.0}, ValueError, "knows no exaggeration"),
        ("pacmap", {"process_duplicates": True}, ValueError, "`process_duplicates` has no effect"),
        ("pacmap", {"MN_ratio": -1}, ValueError, "MN_ratio"),
        ("pacmap", {"low_dist_thres": 5.0}, TypeError, "available: .*MN_ratio.*FP_ratio"),
        ("pacmap", {"optimizer_kwargs": {"max_step": 1.0}}, TypeError, "available: .*beta1"),
        ("localmap", {"low_dist_thres": 0}, ValueError, "low_dist_thres"),
        ("localmap", {"dof": 1.0}, TypeError, "available: .*low_dist_thres"),
        ("affinity_matcher", {"loss_fn": "foo"}, ValueError, "available: .*square_loss"),
        ("affinity_matcher", {"affinity_in": "phate", "n_neighbors": 9}, ValueError, "`n_neighbors` has no effect"),
        ("affinity_matcher", {"affinity_in": "phate", "init": "spectral"}, ValueError, "init='random'"),
        ("affinity_matcher", {"loss_fn": 3}, TypeError, "loss_fn"),
        ("affinity_matcher", {"kwargs_loss": {"foo": 1}}, TypeError, r"\['foo'\]"),
        ("affinity_matcher", {"exaggeration": 2.0}, ValueError, "knows no exaggeration"),
        ("affinity_matcher", {"early_exaggeration_coeff": 4.0}, ValueError, "knows no exaggeration"),
        ("affinity_matcher", {"repulsion_strength": 2.0}, ValueError, "one term"),
        ("neighbor_embedding", {"min_dist": 0.1}, TypeError, "available: .*tolerance"),
    ],
)
def test_wrong_parameter_of_a_method_is_explained_and_nothing_written(method, given, error, message):
    adata = blobs()
    before = snapshot(adata)
    with pytest.raises(error, match=message):
        ne.tl.neighbor_embedding(adata, **({"use_rep": "X_pca", "max_iter": 40} | METHODS[method] | given))
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


def test_umap_writes_and_replaces_the_slots_of_scanpy():
    adata = with_graph(blobs())
    adata.obsm["X_umap"], adata.uns["umap"] = np.zeros((120, 2)), {"params": {"a": 0.58, "b": 1.33}}
    ne.tl.umap(adata, max_iter=40)
    ne.tl.neighbor_embedding(adata, method="umap", max_iter=40)
    assert (adata.obsm["X_umap"].dtype, adata.obsm["X_umap"].shape) == (np.float32, (120, 2))
    np.testing.assert_array_equal(adata.obsm["X_umap"], adata.obsm["X_ne"])
    assert "sc_nembed" in adata.uns["umap"]["versions"]
    assert adata.uns["umap"]["params"]["method"] == "umap"
    ne.tl.umap(adata, key_added="other", max_iter=40)
    np.testing.assert_array_equal(adata.obsm["other"], adata.obsm["X_ne"])
    copied = ne.tl.umap(adata, max_iter=40, min_dist=0.1, copy=True)
    assert np.abs(copied.obsm["X_umap"] - adata.obsm["X_umap"]).max() > 0.1
    with pytest.raises(TypeError, match="method"):
        ne.tl.umap(adata, method="umap")
    adata.obsm["mine"] = np.zeros((120, 2))
    with pytest.raises(ValueError, match="not written by sc_nembed"):
        ne.tl.umap(adata, key_added="mine", max_iter=40)


@pytest.mark.parametrize("given", [{}, {"repulsion": "sampled", "a": 1.5, "b": 0.9}, {"n_neighbors": 9}], ids=str)
def test_record_of_umap_survives_a_file(given, tmp_path):
    adata = with_graph(blobs())
    ne.tl.umap(adata, max_iter=40, **given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of anndata about its format
        adata.write_h5ad(tmp_path / "cells.h5ad")
        read = ad.read_h5ad(tmp_path / "cells.h5ad")
    for part in ("params", "input", "versions", "final"):
        assert read.uns["umap"][part] == adata.uns["umap"][part]
    for name, values in adata.uns["umap"]["history"].items():
        np.testing.assert_array_equal(read.uns["umap"]["history"][name], values)
    np.testing.assert_array_equal(read.obsm["X_umap"], adata.obsm["X_umap"])
    ne.tl.umap(read, max_iter=40, **given)  # its own result is replaced
    np.testing.assert_array_equal(read.obsm["X_umap"], adata.obsm["X_umap"])


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


@pytest.mark.parametrize("optimizer", ["auto", "Adam"])
def test_early_exaggeration_of_umap_happens_where_its_steps_are_given(optimizer):
    common = {"method": "umap", "optimizer": optimizer, "max_iter": 30, "check_interval": 1}
    adata = blobs()
    ne.tl.neighbor_embedding(adata, use_rep="X_pca", early_exaggeration_iter=10, **common)
    exaggeration = adata.uns["ne"]["history"]["exaggeration"]
    assert (exaggeration[:10] > 1).all()
    assert (exaggeration[10:] == 1).all()
    ne.tl.neighbor_embedding(adata, use_rep="X_pca", **common)
    assert set(adata.uns["ne"]["history"]["exaggeration"]) == {1.0}
    with pytest.warns(UserWarning, match="early_exaggeration_coeff"):
        ne.tl.neighbor_embedding(adata, use_rep="X_pca", early_exaggeration_coeff=4.0, **common)
