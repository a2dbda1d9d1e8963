"""Both doors at the seam behind them: what is given reaches the configuration; nothing is embedded here."""

import copy
import inspect
import pickle
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone

import sc_nembed as ne
from _cells import blobs, with_graph
from sc_nembed import estimator
from sc_nembed.engine import presets
from sc_nembed.engine.affinity import UniformAffinity
from sc_nembed.engine.config import EmbeddingConfig
from sc_nembed.engine.configure import ALIASES, WISHES, configured

START = np.arange(240, dtype=np.float32).reshape(120, 2)
GIVEN = {
    "affinity_in": UniformAffinity(5), "affinity_out": "gaussian", "kwargs_affinity_out": {"normalization": "all"},
    "perplexity": 7.0, "n_neighbors": 9, "metric": "cosine", "n_components": 3, "lr": 0.5, "optimizer": "Adam",
    "optimizer_kwargs": {"max_step": 2.0}, "scheduler": "LinearLR", "scheduler_kwargs": {"end_factor": 0.5},
    "min_grad_norm": 0.1, "max_iter": 7, "check_interval": 3, "init": START, "init_scaling": 2.0,
    "early_exaggeration_coeff": 5.0, "early_exaggeration_iter": 2, "exaggeration": 1.5, "repulsion_strength": 0.5,
    "process_duplicates": True, "encoder": torch.nn.Linear(10, 2), "max_grad_norm": 3.0, "reference": START,
    "reference_strength": 0.2, "density": 0.3, "backend": "faiss", "device": "cpu", "n_jobs": 1, "verbose": True,
    "random_state": 4,
}  # fmt: skip
NEEDS = {"scheduler_kwargs": {"scheduler": "LinearLR"}, "reference_strength": {"reference": START}}
OPTIONS = {
    "tsne": {"dof": 0.5, "race": False, "tolerance": 0.1},
    "sne": {"sigma": 2.0, "tolerance": 0.1},
    "tsnekhorn": {"dof": 0.5, "tolerance": 0.1},
    "cosne": {"gamma": 1.0, "norm_strength": 0.1, "norm_scale": 0.2},
    "umap": {"min_dist": 0.1, "spread": 2.0, "a": 1.0, "b": 0.9, "negative_sample_rate": 7, "repulsion": "sampled"},
    "largevis": {"n_negatives": 7, "repulsion": "sampled", "tolerance": 0.1},
    "neg_tsne": {"n_negatives": 7, "repulsion": "sampled", "Z_bar": 9.0, "tolerance": 0.1},
    "nc_tsne": {"n_negatives": 7},
    "info_tsne": {"n_negatives": 7, "with_positive": False},
    "pacmap": {"MN_ratio": 1.0, "FP_ratio": 1.0},
    "localmap": {"MN_ratio": 1.0, "FP_ratio": 1.0, "low_dist_thres": 3.0},
    "force_atlas2": {"scaling_ratio": 3.0, "gravity": 0.5},
    "neighbor_embedding": {"tolerance": 0.1},
    "affinity_matcher": {"loss_fn": "cross_entropy_loss", "kwargs_loss": None},
}
CLASSES = {kind._preset: kind for name, kind in vars(estimator).items() if name in estimator.__all__}


class Reached(Exception):
    """The configuration of a call, instead of its embedding."""


@pytest.fixture(autouse=True)
def seam(monkeypatch):
    def stop(source, config, **kwargs):
        raise Reached(config)

    monkeypatch.setattr(inspect.getmodule(ne.tl.neighbor_embedding), "embed", stop)
    monkeypatch.setattr("sc_nembed.estimator._base.embed", stop)


def by_tool(method="tsne", **given) -> EmbeddingConfig:
    with pytest.raises(Reached) as reached:
        ne.tl.neighbor_embedding(blobs(), method=method, use_rep="X_pca", **given)
    return reached.value.args[0]


def by_class(method="tsne", **given) -> EmbeddingConfig:
    kind = CLASSES[method]
    needed = {} if "perplexity" in inspect.signature(kind).parameters else {"affinity_in": None, "affinity_out": None}
    with pytest.raises(Reached) as reached:
        kind(**(needed | given)).fit(blobs().obsm["X_pca"])
    return reached.value.args[0]


def same(found, value) -> bool:
    if isinstance(value, np.ndarray):
        return np.array_equal(found.numpy(), value) and found.data_ptr() != value.ctypes.data
    return found is value or found == value


@pytest.mark.parametrize("door", [by_tool, by_class])
@pytest.mark.parametrize("name", GIVEN)
def test_every_parameter_reaches_the_field_of_its_name(door, name):
    value = GIVEN[name]
    if name == "kwargs_affinity_out":
        value = {"dof": 2.0}
    given = {name: value} | NEEDS.get(name, {})
    if name == "n_components":
        given["init"] = "random"
    if name in ("perplexity", "n_neighbors"):
        given.pop("affinity_in", None)
    config = door(**given)
    assert same(getattr(config, name), value)
    usual = door()
    others = [other for other in WISHES if other not in given and other not in ("device",)]
    assert all(same(getattr(config, other), getattr(usual, other)) for other in others)


def test_the_table_is_complete():
    assert set(GIVEN) == set(WISHES) - {"dtype"}
    assert set(OPTIONS) == set(CLASSES) == set(presets.METHODS)


@pytest.mark.parametrize("door", [by_tool, by_class])
@pytest.mark.parametrize("method", OPTIONS)
def test_every_option_of_a_method_reaches_its_options(door, method):
    given = {} if (door, method) == (by_class, "neighbor_embedding") else OPTIONS[method]  # TorchDR's parameters alone
    for name, value in given.items():
        other = {"b": {"a": 1.0}, "a": {"b": 0.9}}.get(name, {})
        config = door(method, **{name: value}, **other)
        if name in config.method.output_options:
            assert config.kwargs_affinity_out == {name: value} | other
        else:
            assert getattr(config.options, name) == value
    names = presets.resolve_method(method).method.option_names
    assert set(OPTIONS[method]) == set(names) - {"exclude_neighbors"}


@pytest.mark.parametrize("door", [by_tool, by_class])
@pytest.mark.parametrize("alias", ALIASES)
def test_aliases_reach_their_field_and_exclude_it(door, alias):
    name = ALIASES[alias]
    value = GIVEN[name]
    assert getattr(door(**{alias: value}), name) == value
    with pytest.raises(TypeError, match=f"`{alias}` is another name of `{name}`"):
        door(**{alias: value, name: value})


def test_a_seed_of_zero_is_a_seed_that_was_given():
    for given in (0, 5):
        with pytest.raises(TypeError, match="`rng` is another name of `random_state`"):
            ne.tl.neighbor_embedding(blobs(), random_state=given, rng=1)
    assert by_tool(rng=1).random_state == 1
    assert by_tool().random_state == 0
    assert by_tool(rng=None).random_state != by_tool(random_state=None).random_state
    assert "random_state: 'Any' = 0" in str(inspect.signature(ne.tl.neighbor_embedding))


@pytest.mark.parametrize("made", [lambda x: x, clone, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
@pytest.mark.parametrize("kind", [ne.NeighborEmbedding, ne.AffinityMatcher])
def test_usual_scaling_is_told_from_the_same_number_given(kind, made):
    """Of an encoder, whose start nothing scales."""
    data, encoder = blobs().obsm["X_pca"], torch.nn.Linear(10, 2)
    with pytest.raises(Reached):
        made(kind("uniform", "student", encoder=encoder)).fit(data)
    with pytest.raises(ValueError, match="`init_scaling` have no effect with an `encoder`"):
        made(kind("uniform", "student", encoder=encoder, init_scaling=1e-4)).fit(data)
    with pytest.raises(Reached) as reached:
        made(kind("uniform", "student")).fit(data)
    assert reached.value.args[0].init_scaling == 1e-4


@pytest.mark.parametrize("name", ["init", "reference"])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (START[:7], r"shape \(cells, n_components\) = \(120, 2\); got \(7, 2\)"),
        (np.hstack([START, START]), r"array\[:, :2\]"),
        (np.where(START == 8, np.nan, START), "NaN or infinite values in 1 cells, the first in row 4"),
    ],
)
def test_layouts_are_checked_once_for_all_doors(name, value, message):
    for door in (by_tool, by_class):
        with pytest.raises(ValueError, match=message):
            door(**{name: value})
    with pytest.raises(ValueError, match=message):
        configured(presets.tsne(), {name: value}, 120)


def test_features_of_a_graph_are_found_for_every_method_that_reads_them():
    """CO-SNE's norms, though it starts from no representation."""
    adata = with_graph(blobs())
    for method in ("cosne", "pacmap", "tsne"):
        with pytest.raises(Reached):
            ne.tl.neighbor_embedding(adata, method=method)


@pytest.mark.parametrize("door", [by_tool, by_class])
def test_unknown_options_are_listed(door):
    with pytest.raises(TypeError, match=r"\['foo'\].*available.*dof"):
        door(foo=1)


def test_every_wish_that_a_method_refuses_says_so_before_anything_is_read():
    for method in presets.METHODS:
        preset = presets.resolve_method(method)
        for name in preset.method.refuses:
            with pytest.raises(ValueError, match=f"`{name}` has no effect with method={method!r}, which"):
                configured(preset, {name: GIVEN[name]})


def test_warnings_point_at_the_line_that_called(recwarn):
    warnings.simplefilter("always")
    without_pca = blobs()
    del without_pca.obsm["X_pca"]
    with pytest.raises(Reached):
        ne.tl.neighbor_embedding(without_pca)
    assert [found.filename for found in recwarn if "PCA of X" in str(found.message)] == [__file__]
