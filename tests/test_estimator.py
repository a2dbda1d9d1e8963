"""The classes: scikit-learn's checks, the effect of each parameter, and what a run computes, redone by hand."""

import copy
import dataclasses
import inspect
import math
import pickle
import random

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.metrics import pairwise_kernels
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import sc_nembed as ne
from _cells import blobs
from sc_nembed.engine import neighbors
from sc_nembed.engine.affinity import PrecomputedAffinity
from sc_nembed.engine.presets.losses import resolve_loss
from sc_nembed.engine.terms import Autograd
from sc_nembed.engine.view import View

CELLS = blobs(gap=3.0).obsm["X_pca"]  # (120, 10) float32
N = len(CELLS)
START = np.random.default_rng(1).normal(size=(N, 2)).astype(np.float32)
ENTROPIC, STUDENT = ne.EntropicAffinity(10), ne.StudentAffinity()
LOSSES = ["square_loss", "cross_entropy_loss", "binary_cross_entropy_loss"]
CLASSES = {
    "NeighborEmbedding": lambda **given: ne.NeighborEmbedding("entropic", "student", **({"max_iter": 20} | given)),
    "AffinityMatcher": lambda **given: ne.AffinityMatcher("entropic", "student", **({"max_iter": 20} | given)),
    "PACMAP": lambda **given: ne.PACMAP(**({"max_iter": 20} | given)),
    "SNE": lambda **given: ne.SNE(**({"max_iter": 20} | given)),
    "TSNE": lambda **given: ne.TSNE(**({"max_iter": 20} | given)),
    "TSNEkhorn": lambda **given: ne.TSNEkhorn(**({"max_iter": 20} | given)),
    "UMAP": lambda **given: ne.UMAP(**({"max_iter": 20} | given)),
    "ForceAtlas2": lambda **given: ne.ForceAtlas2(**({"max_iter": 20} | given)),
}
every_class = pytest.mark.parametrize("make", CLASSES.values(), ids=CLASSES)


def embedding_of(affinity_in=ENTROPIC, affinity_out=STUDENT, *, of=CELLS, **given):
    """A fitted NeighborEmbedding of a few steps that move the cells visibly."""
    usual = {"max_iter": 30, "lr": "auto", "init_scaling": 1.0, "random_state": 0}
    return ne.NeighborEmbedding(affinity_in, affinity_out, **(usual | given)).fit(of)


def matching_of(p, affinity_out=STUDENT, **given):
    """A fitted AffinityMatcher to a given P, in float64."""
    usual = {"init": START, "init_scaling": 1.0, "lr": 0.1, "max_iter": 20}
    return ne.AffinityMatcher("precomputed", affinity_out, **(usual | given)).fit(torch.from_numpy(p))


@pytest.fixture(scope="module")
def usual():
    return embedding_of().embedding_


@pytest.fixture(scope="module")
def weights():
    """Weights of cells by cells, neither symmetric nor of sum 1."""
    points = CELLS[:, :5].astype(float)
    rng = np.random.default_rng(2)
    return pairwise_kernels(points, metric="rbf", gamma=0.1) * rng.uniform(0.5, 1, (N, N)) * (1 - np.eye(N))


def symmetric(weights):
    """The P that is made of weights."""
    p = (weights + weights.T) / 2
    return p / p.sum()


def log_student(positions, dof=1.0):
    sq_dist = (positions[:, None] - positions[None]).square().sum(2)
    return -(dof + 1) / 2 * torch.log1p(sq_dist / dof)


def others(n):
    return ~torch.eye(n, dtype=torch.bool)


def loss_by_hand(p, positions, *, exaggeration=1.0, strength=1.0, dof=1.0, counts=None):
    """−λ Σ P log q + ρ log Σ q of Student kernels, over all pairs of cells; rows may stand for several equal cells."""
    n, log_q = len(positions), log_student(positions, dof)
    counts = torch.ones(n, dtype=positions.dtype) if counts is None else counts
    pairs = counts[:, None] * counts[None] - torch.diag(counts)
    attraction = -(torch.as_tensor(p)[others(n)] * log_q[others(n)]).sum()
    return exaggeration * attraction + strength * (pairs * log_q.exp()).sum().log()


def negative_entropy(p):
    return float((p[p > 0] * np.log(p[p > 0])).sum())


def descent_by_hand(p, start, phases, **given):
    """Gradient descent with momentum: phases of (steps, exaggeration, rate, momentum)."""
    positions = torch.as_tensor(start, dtype=torch.float64).clone()
    for steps, exaggeration, rate, momentum in phases:
        moved = torch.zeros_like(positions)
        for _ in range(steps):
            leaf = positions.clone().requires_grad_()
            loss_by_hand(p, leaf, exaggeration=exaggeration, **given).backward()
            moved = momentum * moved + leaf.grad
            positions = positions - rate * moved
    return positions.numpy()


def relative(found, expected):
    found, expected = (np.asarray(part, float) for part in (found, expected))
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def scaled_start(scaling=1.0):
    return START * (scaling / START[:, 0].std())


class Flat(torch.nn.Module):
    """The first features, whatever their number, each stretched by a parameter."""

    def __init__(self, n_components=2):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(n_components))

    def forward(self, features):
        return torch.nn.functional.pad(features, (0, len(self.scale)))[:, : len(self.scale)] * self.scale


# scikit-learn's conventions

# one of each kind of constructor; the methods' classes are one kind, and differ by a preset and their own options
CHECKED = [
    ne.TSNE(max_iter=10),
    ne.NeighborEmbedding("entropic", "student", max_iter=10),
    ne.AffinityMatcher("entropic", "student", max_iter=10),
    ne.NeighborEmbedding("precomputed", "student", max_iter=10),
    ne.TSNE(max_iter=10, n_components=1, encoder=Flat(1)),
]


def expected_failures(estimator):
    if estimator.encoder is None:
        return {}
    return {"check_estimators_overwrite_params": "joblib's hash of a torch module differs from that of its copy"}


@pytest.mark.filterwarnings("ignore:.* cells have no neighbors:UserWarning")  # of matrices that the checks make up
@parametrize_with_checks(CHECKED, expected_failed_checks=expected_failures)
def test_check_of_scikit_learn_passes(estimator, check):
    check(estimator)


METHODS = {
    ne.TSNE: {"dof", "race", "tolerance"},
    ne.SNE: {"sigma", "tolerance"},
    ne.TSNEkhorn: {"dof", "tolerance"},
    ne.COSNE: {"gamma", "norm_scale", "norm_strength"},
    ne.UMAP: {"a", "b", "min_dist", "spread", "negative_sample_rate", "repulsion", "exclude_neighbors"},
    ne.NegTSNE: {"n_negatives", "repulsion", "Z_bar", "tolerance"},
    ne.LargeVis: {"n_negatives", "repulsion", "tolerance"},
    ne.NCTSNE: {"n_negatives"},
    ne.InfoTSNE: {"n_negatives", "with_positive"},
    ne.PACMAP: {"MN_ratio", "FP_ratio"},
    ne.LocalMAP: {"MN_ratio", "FP_ratio", "low_dist_thres"},
    ne.ForceAtlas2: {"scaling_ratio", "gravity"},
}
OF_ANNDATA = {"adata", "method", "use_rep", "n_pcs", "neighbors_key", "obsp", "key_added", "copy", "method_options"}


@pytest.mark.parametrize("kind", METHODS, ids=lambda kind: kind.__name__)
def test_class_of_a_method_has_the_parameters_of_the_tool_and_its_options(kind):
    """All by name, with the defaults of the tool; whether a bar is shown is left to who calls."""
    of_tool, found = (inspect.signature(one).parameters for one in (ne.tl.neighbor_embedding, kind))
    common = set(of_tool) - OF_ANNDATA
    assert set(found) == common | METHODS[kind]
    assert {item.kind for item in found.values()} == {inspect.Parameter.KEYWORD_ONLY}
    assert {found[name].default for name in METHODS[kind]} == {None}
    assert kind().get_params() == {name: item.default for name, item in found.items()}
    different = {name for name in common if found[name].default != of_tool[name].default}
    assert different == {
        "verbose",
        "callbacks",
        "random_state",
    }  # of the tool's seed, 0, one can tell whether it was given


@pytest.mark.parametrize("kind", METHODS, ids=lambda kind: kind.__name__)
def test_class_of_a_method_takes_few_cells_of_one_feature_and_refuses_one_cell(kind):
    estimator = kind(max_iter=5)
    cells = np.random.default_rng(0).integers(0, 1000, (20, 1))
    assert estimator.fit(cells.tolist()).embedding_.shape == (20, 2)
    assert np.isfinite(estimator.embedding_).all()
    before = estimator.get_params()
    with pytest.raises(ValueError, match="1 sample"):
        estimator.fit(cells[:1])
    with pytest.raises(ValueError, match="NaN"):
        estimator.fit(np.where(cells == cells[3], np.nan, cells))
    assert estimator.get_params() == before


OF_TORCHDR = {"affinity_out", "check_interval", "early_exaggeration_coeff", "init_scaling", "scheduler_kwargs"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["NeighborEmbedding", "AffinityMatcher"])
def test_general_classes_have_the_defaults_of_torchdr(name):
    """Theirs are named where they mean the same in other words: None for 1e-4 or 1, "auto" for None; two differ."""
    import torchdr

    ours, theirs = (inspect.signature(vars(package)[name] if package is torchdr else ne.__getattr__(name)).parameters
                    for package in (ne, torchdr))  # fmt: skip
    common = set(ours) & set(theirs)
    assert {"affinity_in", "lr", "optimizer", "max_iter", "init", "min_grad_norm", "device", "random_state"} <= common
    assert {item for item in common if ours[item].default != theirs[item].default} <= OF_TORCHDR


def test_affinities_are_required_and_optimizers_differ():
    """The common signature of TorchDR's classes; the matcher's default is Adam, since no rate fits all losses."""
    for kind, optimizer in ((ne.NeighborEmbedding, "SGD"), (ne.AffinityMatcher, "Adam")):
        parameters = inspect.signature(kind).parameters
        assert list(parameters)[:2] == ["affinity_in", "affinity_out"]
        assert [name for name, item in parameters.items() if item.default is item.empty] == list(parameters)[:2]
        assert parameters["optimizer"].default == optimizer
        with pytest.raises(TypeError, match="affinity_out"):
            kind("entropic")


@every_class
def test_parameters_go_out_and_in_again(make):
    estimator = make(n_components=3, init=START)
    copied = clone(estimator)
    assert copied is not estimator
    assert type(copied)(**estimator.get_params()).get_params() == estimator.get_params()
    np.testing.assert_array_equal(copied.init, START)
    for name, value in estimator.get_params().items():
        assert estimator.set_params(**{name: value}) is estimator
        assert getattr(estimator, name) is value
    assert estimator.set_params(n_components=1).n_components == 1
    with pytest.raises(ValueError, match="foo"):
        estimator.set_params(foo=1)


@every_class
def test_repr_names_the_class_and_what_was_given(make):
    shown = repr(make(n_components=3))
    assert shown.startswith(type(make()).__name__ + "(")
    assert "n_components=3" in shown
    assert "random_state" not in shown
    assert repr(make().fit(CELLS))


@every_class
def test_pickle_keeps_parameters_and_what_was_fitted(make):
    estimator = make().fit(CELLS)
    again = pickle.loads(pickle.dumps(estimator))
    assert again.get_params() == estimator.get_params()
    np.testing.assert_array_equal(again.embedding_, estimator.embedding_)
    np.testing.assert_array_equal(again.history_["loss"], estimator.history_["loss"])


def test_pipeline_scales_before_it_embeds():
    found = make_pipeline(StandardScaler(), ne.TSNE(max_iter=20)).fit_transform(CELLS)
    np.testing.assert_array_equal(found, ne.TSNE(max_iter=20).fit_transform(StandardScaler().fit_transform(CELLS)))


@every_class
def test_output_can_be_a_pandas_frame(make):
    frame = pd.DataFrame(CELLS, index=[f"cell{i}" for i in range(N)], columns=[f"gene{i}" for i in range(10)])
    estimator = make(random_state=0).set_output(transform="pandas")
    found = estimator.fit_transform(frame)
    names = [f"{type(estimator).__name__.lower()}{i}" for i in range(2)]
    assert list(found.columns) == list(estimator.get_feature_names_out()) == names
    assert list(found.index) == list(frame.index)
    assert list(estimator.feature_names_in_) == list(frame.columns)
    np.testing.assert_array_equal(found, make(random_state=0).fit_transform(CELLS))
    encoding = make(encoder=Flat(), lr=0.01, optimizer="Adam").set_output(transform="pandas").fit(frame)
    assert list(encoding.transform(frame[:3]).index) == ["cell0", "cell1", "cell2"]


@every_class
def test_output_is_of_the_kind_of_the_input(make):
    """numpy gives numpy float32; a tensor gives a tensor of its type on its device."""
    for given, kind in ((CELLS, np.float32), (CELLS.astype(np.float64), np.float32), (CELLS.astype(int), np.float32)):
        found = make(init=START).fit_transform(given)
        assert isinstance(found, np.ndarray)
        assert found.dtype == kind
    for dtype in (torch.float32, torch.float64):
        given = torch.from_numpy(CELLS).to(dtype)
        estimator = make(init=START)
        found = estimator.fit_transform(given)
        assert found is estimator.embedding_
        assert (found.dtype, found.device) == (dtype, given.device)
        assert not found.requires_grad
        assert estimator.n_features_in_ == 10
    np.testing.assert_array_equal(
        make(init=START).fit_transform(torch.from_numpy(CELLS)), make(init=START).fit_transform(CELLS)
    )
    as_sparse = make(init=START).fit_transform(sp.csr_matrix(CELLS))
    np.testing.assert_array_equal(as_sparse, make(init=START).fit_transform(CELLS))


def test_names_of_an_earlier_fit_are_forgotten():
    frame = pd.DataFrame(CELLS, columns=[f"gene{i}" for i in range(10)])
    estimator = ne.TSNE(max_iter=10).fit(frame)
    assert len(estimator.feature_names_in_) == 10
    assert not hasattr(estimator.fit(torch.from_numpy(CELLS[:, :5])), "feature_names_in_")
    assert estimator.n_features_in_ == 5


@every_class
def test_fitted_attributes_are_set(make):
    estimator = make(max_iter=25)
    with pytest.raises(NotFittedError):
        estimator.get_feature_names_out()
    assert estimator.fit(CELLS) is estimator
    assert estimator.embedding_.shape == (N, 2)
    assert estimator.n_iter_ == 25
    assert estimator.encoder_ is None
    assert list(estimator.history_["iteration"]) == [1, 10, 20, 25]
    assert {"loss", "grad_norm", "lr", "exaggeration"} <= set(estimator.history_)
    assert {len(values) for values in estimator.history_.values()} == {4}


@every_class
def test_input_is_not_modified(make, weights):
    inputs = (
        CELLS.copy(),
        CELLS.astype(np.float64),
        sp.csr_matrix(CELLS),
        torch.from_numpy(CELLS.copy()),
        torch.from_numpy(CELLS.astype(np.float64)),
    )
    for given in inputs:
        before, start = copy.deepcopy(given), START.copy()
        make(init=start, init_scaling=2.0).fit(given)
        assert (before != given).sum() == 0
        np.testing.assert_array_equal(start, START)
    of_pairs = isinstance(make(), ne.PACMAP | ne.LocalMAP)
    weights = weights * (weights > np.quantile(weights, 0.3)) if of_pairs else weights  # some cells are no neighbors
    for given in (weights.copy(), sp.csr_matrix(weights), torch.from_numpy(weights.copy())):
        before = copy.deepcopy(given)
        if not of_pairs:
            make().set_params(affinity_in="precomputed").fit(given)
        make().set_params(affinity_in=given).fit(CELLS)
        assert (before != given).sum() == 0
    frozen = CELLS.copy()
    frozen.flags.writeable = False
    make().fit(frozen)


@every_class
def test_global_generators_are_left_alone(make):
    def states():
        of_numpy = np.random.get_state()  # noqa: NPY002
        return torch.get_rng_state().tolist(), of_numpy[1].tolist(), of_numpy[2:], random.getstate()

    before = states()
    for given in ({}, {"random_state": 3}, {"init": "random"}, {"init": "spectral"}):
        estimator = make(**given)
        assert states() == before
        estimator.fit(CELLS)
        assert states() == before
    module = torch.nn.Sequential(torch.nn.Linear(10, 2), torch.nn.Dropout(0.5))
    before = states()
    given = {"encoder": module, "lr": 0.01, "optimizer": "Adam", "random_state": 0}
    found = make(**given).fit_transform(CELLS)
    assert states() == before
    np.testing.assert_array_equal(make(**given).fit_transform(CELLS), found)


@every_class
def test_aliases_are_the_parameters(make):
    known = make().get_params()
    pairs = [("learning_rate", "lr", 0.5), ("early_exaggeration", "early_exaggeration_coeff", 6.0)]
    for alias, name, value in pairs:
        if name not in known:
            with pytest.raises(TypeError, match=alias):
                make(**{alias: value})
            continue
        by_name = make(**{name: value})
        assert alias not in by_name.get_params()
        assert make(**{alias: value}).get_params() == by_name.get_params()
        assert make().set_params(**{alias: value}).get_params() == by_name.get_params()
        for both in ({name: value, alias: value}, {alias: value, name: 2 * value}):
            with pytest.raises(TypeError, match=f"`{alias}` is another name of `{name}`"):
                make(**both)
            with pytest.raises(TypeError, match=f"`{alias}` is another name of `{name}`"):
                make().set_params(**both)


@every_class
@pytest.mark.parametrize("unknown", ["foo", "n_iter", "aliases", "adata"])
def test_unknown_parameter_is_an_error_that_lists_the_known(make, unknown):
    with pytest.raises(TypeError, match=rf"no parameter \['{unknown}'\]; available: .*max_iter"):
        make(**{unknown: 1})


# NeighborEmbedding, parameter by parameter


def test_whole_run_is_gradient_descent_by_hand(weights):
    """P, exaggeration, automatic rates and momenta, the start's scale: 15 steps redone in float64."""
    p = symmetric(weights)
    fit = embedding_of(
        "precomputed", of=torch.from_numpy(weights), init=START, init_scaling=0.1, max_iter=15, check_interval=1,
        early_exaggeration_coeff=3.0, early_exaggeration_iter=6,
    )  # fmt: skip
    rate = max(N / 3 / 4, 50)
    expected = descent_by_hand(p, scaled_start(0.1), [(6, 3.0, rate, 0.5), (9, 1.0, max(N / 4, 50), 0.8)])
    assert relative(fit.embedding_, expected) < 1e-5
    final = float(loss_by_hand(p, torch.from_numpy(expected))) + negative_entropy(p)
    assert fit.history_["loss"][-1] == pytest.approx(final, rel=1e-5)
    np.testing.assert_array_equal(fit.history_["exaggeration"], [3] * 6 + [1] * 9)


def test_affinity_in_by_instance_and_by_name():
    for name, instance in (
        ("entropic", ne.EntropicAffinity()),
        ("UMAP", ne.UMAPAffinity()),
        ("uniform", ne.UniformAffinity()),
        ("symmetric_entropic", ne.SymmetricEntropicAffinity()),
        ("normalized_student", ne.NormalizedStudentAffinity()),
        ("normalized_gaussian", ne.NormalizedGaussianAffinity()),
    ):
        np.testing.assert_array_equal(embedding_of(name).embedding_, embedding_of(instance).embedding_)
    assert relative(embedding_of("umap").embedding_, embedding_of("uniform").embedding_) > 1e-2
    with pytest.raises(ValueError, match=r"available: .*entropic"):
        embedding_of("foo")


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix, sp.coo_array, torch.from_numpy], ids=lambda f: f.__name__)
def test_affinity_in_as_a_matrix(form, weights):
    """As the parameter, as an instance and as what is fitted; symmetrised and of sum 1 all the same."""
    given = {"init": START}
    expected = embedding_of(PrecomputedAffinity(weights), **given)
    np.testing.assert_array_equal(embedding_of(form(weights), **given).embedding_, expected.embedding_)
    for name in ("precomputed", "Precomputed"):
        found = embedding_of(name, of=form(weights), **given)
        assert relative(found.embedding_, expected.embedding_) < 1e-5  # a tensor of float64 is embedded in float64
        assert form is torch.from_numpy or np.array_equal(found.embedding_, expected.embedding_)
        assert found.n_features_in_ == N
    p = symmetric(weights)
    final = float(loss_by_hand(p, torch.from_numpy(expected.embedding_).double())) + negative_entropy(p)
    assert expected.history_["loss"][-1] == pytest.approx(final, rel=1e-5)


def test_affinity_of_the_wrong_shape_is_an_error(weights):
    with pytest.raises(ValueError, match="119 cells"):
        embedding_of(weights[1:, 1:])
    with pytest.raises(ValueError, match="square"):
        embedding_of("precomputed", of=weights[1:])
    with pytest.raises(ValueError, match="Negative"):
        embedding_of("precomputed", of=-weights)


@pytest.mark.parametrize("name", ["student", "gaussian", "rational"])
def test_affinity_out_by_instance_class_and_name(name):
    kind = {"student": ne.StudentAffinity, "gaussian": ne.GaussianAffinity, "rational": ne.RationalAffinity}[name]
    options = {"lr": 1.0, "max_iter": 10}
    expected = embedding_of(affinity_out=kind(), **options).embedding_
    for given in (kind, name, name.upper()):
        np.testing.assert_array_equal(embedding_of(affinity_out=given, **options).embedding_, expected)
    np.testing.assert_array_equal(embedding_of(affinity_out=kind().resolve(), **options).embedding_, expected)


def test_affinity_out_as_a_function_is_the_affinity_it_writes_down():
    cells = torch.from_numpy(CELLS).double()
    expected = embedding_of(of=cells)
    for function in (log_student, lambda z: log_student(z) - 3.0, lambda z: log_student(z).fill_diagonal_(torch.nan)):
        found = embedding_of(affinity_out=function, of=cells)
        assert relative(found.embedding_, expected.embedding_) < 1e-6
        np.testing.assert_allclose(found.history_["loss"], expected.history_["loss"], rtol=1e-6)
    in_float32 = embedding_of(affinity_out=log_student)
    assert in_float32.embedding_.dtype == np.float32
    assert relative(in_float32.embedding_, expected.embedding_) < 1e-3
    with pytest.raises(ValueError, match="120 by 120"):
        embedding_of(affinity_out=lambda z: z)
    with pytest.raises(TypeError, match="affinity_out"):
        embedding_of(affinity_out=3)


def test_kwargs_affinity_out_are_arguments_of_the_affinity(usual):
    expected = embedding_of(affinity_out=ne.StudentAffinity(dof=0.5)).embedding_
    assert relative(usual, expected) > 1e-2
    for given in ("student", ne.StudentAffinity, ne.StudentAffinity(dof=3.0)):
        found = embedding_of(affinity_out=given, kwargs_affinity_out={"dof": 0.5})
        np.testing.assert_array_equal(found.embedding_, expected)
    instance = ne.GaussianAffinity(sigma=3.0, normalization="row")
    found = embedding_of(affinity_out=instance, kwargs_affinity_out={"sigma": 0.5}, lr=1.0)
    replaced = embedding_of(affinity_out=dataclasses.replace(instance, sigma=0.5), lr=1.0)
    np.testing.assert_array_equal(found.embedding_, replaced.embedding_)
    assert instance.sigma == 3.0


def test_kwargs_affinity_out_are_passed_to_a_function_at_each_call():
    seen = []

    def log_q(positions, dof, **more):
        seen.append((dof, more))
        return log_student(positions, dof)

    found = embedding_of(affinity_out=log_q, kwargs_affinity_out={"dof": 0.5, "more": "x"}, max_iter=5)
    assert len(seen) >= 2 * 5
    assert all(call == (0.5, {"more": "x"}) for call in seen)
    expected = embedding_of(affinity_out=ne.StudentAffinity(dof=0.5), max_iter=5)
    assert relative(found.embedding_, expected.embedding_) < 1e-4


@pytest.mark.parametrize(
    ("affinity_out", "known"),
    [
        ("student", r"\['dof', 'normalization'\]"),
        (ne.StudentAffinity, r"\['dof', 'normalization'\]"),
        (ne.StudentAffinity(), r"\['dof', 'normalization'\]"),
        (ne.RationalAffinity(), r"\['min_dist', 'spread', 'a', 'b', 'normalization'\]"),
        (log_student, r"\['dof'\]"),
    ],
    ids=str,
)
def test_unknown_kwargs_affinity_out_is_an_error_that_lists_the_known(affinity_out, known):
    with pytest.raises(TypeError, match=rf"\['foo'\]; available: {known}"):
        embedding_of(affinity_out=affinity_out, kwargs_affinity_out={"foo": 1})


@pytest.mark.parametrize("n_components", [1, 3, 5])
def test_n_components_is_the_number_of_columns(n_components):
    assert embedding_of(n_components=n_components).embedding_.shape == (N, n_components)


def test_lr_is_constant_or_follows_from_the_exaggeration(pbmc):
    history = embedding_of(lr=0.7, check_interval=1, early_exaggeration_coeff=4, early_exaggeration_iter=5).history_
    assert set(history["lr"]) == {0.7}
    for coeff in (2, 12):
        given = {"max_iter": 6, "check_interval": 1, "early_exaggeration_iter": 3}
        history = embedding_of(of=pbmc, early_exaggeration_coeff=coeff, **given).history_
        early, late = max(len(pbmc) / coeff / 4, 50), len(pbmc) / 4
        np.testing.assert_allclose(history["lr"], [early] * 3 + [late] * 3, rtol=1e-6)
    for bad in (0, "fast"):
        with pytest.raises(ValueError, match="lr"):
            embedding_of(lr=bad)


def test_optimizer_by_name_and_by_class(usual):
    found = {"SGD": usual}
    for name, lr in (("Adam", 0.1), ("RMSprop", 0.01), ("DeltaBarDelta", "auto"), ("auto", "auto")):
        found[name] = embedding_of(optimizer=name, lr=lr).embedding_
    for name, kind, lr in (("SGD", torch.optim.SGD, "auto"), ("Adam", torch.optim.Adam, 0.1)):
        np.testing.assert_array_equal(embedding_of(optimizer=kind, lr=lr).embedding_, found[name])
    names = list(found)
    for i, name in enumerate(names):
        for other in names[:i]:
            assert relative(found[name], found[other]) > 1e-3
    for bad in ("foo", "LBFGS", torch.nn.Linear, 3):
        with pytest.raises(ValueError, match=r"available: .*Adam"):
            embedding_of(optimizer=bad)


def test_optimizer_kwargs_are_automatic_or_as_given(usual, weights):
    early = {"early_exaggeration_coeff": 2.0, "early_exaggeration_iter": 30}
    np.testing.assert_array_equal(embedding_of(optimizer_kwargs={"momentum": 0.8}).embedding_, usual)
    np.testing.assert_array_equal(
        embedding_of(optimizer_kwargs={"momentum": 0.5}, **early).embedding_, embedding_of(**early).embedding_
    )
    p, start = symmetric(weights), scaled_start()
    for given, momentum in (({}, 0.0), ({"momentum": 0.9}, 0.9)):
        found = embedding_of(weights, optimizer_kwargs=given, init=START, lr=20.0, max_iter=10)
        assert relative(found.embedding_, descent_by_hand(p, start, [(10, 1.0, 20.0, momentum)])) < 1e-4
    with pytest.raises(TypeError, match=r"\['foo'\].*momentum"):
        embedding_of(optimizer_kwargs={"foo": 1})
    with pytest.raises(TypeError, match="pass `lr`"):
        embedding_of(optimizer_kwargs={"lr": 1})


LR = torch.optim.lr_scheduler
STEP = np.arange(20)


@pytest.mark.parametrize(
    ("name", "kwargs", "factors"),
    [
        ("LinearLR", None, 1 - STEP / 20),
        ("LinearLR", {"start_factor": 1.0, "end_factor": 0.1, "total_iters": 8}, 1 - 0.9 * np.minimum(STEP / 8, 1)),
        ("LinearLR", {"start_factor": 0.5, "total_iters": 4}, 0.5 + 0.5 * np.minimum(STEP / 4, 1)),
        ("ExponentialLR", {"gamma": 0.9}, 0.9**STEP),
        ("StepLR", {"step_size": 7, "gamma": 0.1}, 0.1 ** (STEP // 7)),
        ("CosineAnnealingLR", {"T_max": 20}, (1 + np.cos(np.pi * STEP / 20)) / 2),
        ("LambdaLR", {"lr_lambda": lambda done: 1 / (1 + done)}, 1 / (1 + STEP)),
    ],
)
def test_scheduler_changes_the_rate_as_it_says(name, kwargs, factors):
    given = {"scheduler_kwargs": kwargs, "lr": 3.0, "max_iter": 20, "check_interval": 1}
    fit = embedding_of(scheduler=name, **given)
    np.testing.assert_allclose(fit.history_["lr"], 3.0 * factors, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(embedding_of(scheduler=getattr(LR, name), **given).embedding_, fit.embedding_)
    assert relative(embedding_of(**(given | {"scheduler_kwargs": None})).embedding_, fit.embedding_) > 1e-5


def test_scheduler_begins_anew_in_each_phase():
    fit = embedding_of(
        scheduler="LinearLR", max_iter=20, check_interval=1, early_exaggeration_coeff=2.0, early_exaggeration_iter=5
    )
    expected = 50 * np.concatenate([1 - np.arange(5) / 5, 1 - np.arange(15) / 15])
    np.testing.assert_allclose(fit.history_["lr"], expected, rtol=1e-9)


def test_plateau_scheduler_goes_by_the_loss_of_the_checks():
    """No loss is a thousandth of the first, so that every check halves the rate of the steps after it."""
    fit = embedding_of(
        scheduler="ReduceLROnPlateau", lr=8.0, scheduler_kwargs={"factor": 0.5, "patience": 0, "threshold": 0.999}
    )
    np.testing.assert_array_equal(fit.history_["iteration"], [1, 10, 20, 30])
    np.testing.assert_array_equal(fit.history_["lr"], [8.0, 8.0, 4.0, 2.0])


def test_wrong_scheduler_is_an_error():
    for given, error, message in (
        ({"scheduler": "foo"}, ValueError, "available: .*LinearLR"),
        ({"scheduler": "ExponentialLR"}, TypeError, "gamma"),
        ({"scheduler": "LinearLR", "scheduler_kwargs": {"foo": 1}}, TypeError, r"\['foo'\].*total_iters"),
        ({"scheduler_kwargs": {"gamma": 1}}, ValueError, "without a `scheduler`"),
    ):
        with pytest.raises(error, match=message):
            embedding_of(**given)


def test_min_grad_norm_ends_the_run_at_the_first_check_below():
    whole = embedding_of(min_grad_norm=0, max_iter=200)
    norms = whole.history_["grad_norm"]
    assert whole.n_iter_ == 200
    threshold = float(np.sqrt(norms[4] * norms[5]))
    first = int(np.flatnonzero(norms < threshold)[0])
    assert 0 < first < len(norms) - 1
    stopped = embedding_of(min_grad_norm=threshold, max_iter=200)
    assert stopped.n_iter_ == whole.history_["iteration"][first]
    assert embedding_of(min_grad_norm=1e9, max_iter=200).n_iter_ < 200
    assert embedding_of(min_grad_norm=1e9, early_exaggeration_coeff=2, early_exaggeration_iter=25).n_iter_ == 30


@pytest.mark.parametrize("early", [None, 0, 1, 10, 25])
def test_max_iter_counts_all_steps_and_early_exaggeration_lasts_as_asked(early):
    coeff = {"early_exaggeration_coeff": 4.0} if early else {}
    fit = embedding_of(max_iter=25, early_exaggeration_iter=early, check_interval=1, **coeff)
    assert fit.n_iter_ == 25
    np.testing.assert_array_equal(fit.history_["exaggeration"], [4.0] * (early or 0) + [1.0] * (25 - (early or 0)))


@pytest.mark.parametrize("steps", [None, 0])
def test_early_exaggeration_of_no_steps_is_warned_of(steps, usual):
    with pytest.warns(UserWarning, match="`early_exaggeration_coeff=12.0` has no effect"):
        fit = embedding_of(early_exaggeration_coeff=12.0, early_exaggeration_iter=steps)
    np.testing.assert_array_equal(fit.embedding_, usual)
    np.testing.assert_array_equal(embedding_of(early_exaggeration_iter=steps).embedding_, usual)


def test_early_exaggeration_longer_than_the_run_is_cut_with_a_warning():
    with pytest.warns(UserWarning, match="cut to 30"):
        fit = embedding_of(early_exaggeration_coeff=2.0, early_exaggeration_iter=40)
    assert set(fit.history_["exaggeration"]) == {2.0}


@pytest.mark.parametrize("scaling", [1e-4, 2.0])
@pytest.mark.parametrize("init", ["pca", "spectral", "random", "normal", "hyperbolic", "array", "tensor", "list"])
def test_init_is_scaled_by_its_first_column(init, scaling):
    given = {"array": START + 5, "tensor": torch.from_numpy(START + 5), "list": (START + 5).tolist()}.get(init, init)
    start = embedding_of(init=given, init_scaling=scaling, lr=1e-12, max_iter=1).embedding_
    assert start[:, 0].astype(float).std() == pytest.approx(scaling, rel=1e-4)
    if not isinstance(given, str):
        assert relative(start, (START + 5) * (scaling / (START + 5)[:, 0].std())) < 1e-5
    elif init == "pca":
        found = PCA(2).fit_transform(CELLS)
        expected = np.abs(found) * (scaling / found[:, 0].std())
        np.testing.assert_allclose(np.abs(start), expected, atol=1e-3 * scaling)
    else:
        assert np.abs(start.mean(0)).max() < 1e-5 * scaling


def test_init_by_each_name_is_another_start_but_for_normal():
    starts = {
        name: embedding_of(init=name, lr=1e-12, max_iter=1).embedding_
        for name in ("pca", "spectral", "random", "hyperbolic", "normal")
    }
    np.testing.assert_array_equal(starts.pop("normal"), starts["random"])
    for name, start in starts.items():
        assert all(relative(start, other) > 1e-2 for key, other in starts.items() if key != name)
    for bad, message in (("foo", "available: .*spectral"), (START[1:], r"\(120, 2\)"), (START * np.nan, "NaN")):
        with pytest.raises(ValueError, match=message):
            embedding_of(init=bad)


@pytest.mark.filterwarnings("error")
def test_init_may_be_any_kind_of_array():
    frozen = START.copy()
    frozen.flags.writeable = False
    expected = embedding_of(init=START).embedding_
    for given in (frozen, pd.DataFrame(START), START.astype(np.float64), np.asfortranarray(START), START[::-1][::-1]):
        np.testing.assert_array_equal(embedding_of(init=given).embedding_, expected)
    np.testing.assert_array_equal(
        embedding_of(init=START[::-1]).embedding_, embedding_of(init=START[::-1].copy()).embedding_
    )


def test_device_is_where_the_run_happens(usual):
    for device in ("cpu", torch.device("cpu")):
        found = embedding_of(of=torch.from_numpy(CELLS), device=device).embedding_
        assert found.device.type == "cpu"
        np.testing.assert_array_equal(found, embedding_of(device=device).embedding_)
    if not torch.cuda.is_available():
        np.testing.assert_array_equal(found, usual)
    with pytest.raises(ValueError, match="cuda"):
        embedding_of(device="tpu")


def test_backend_chooses_the_search(usual, monkeypatch):
    called = []
    for name, search in dict(neighbors.KNN).items():
        monkeypatch.setitem(
            neighbors.KNN, name, lambda points, k, name=name, search=search: called.append(name) or search(points, k)
        )
    embedding_of()
    found = embedding_of(backend="faiss").embedding_
    assert called == ["torch", "faiss"]
    assert relative(found, usual) < 1e-3
    with pytest.raises(ValueError, match=r"available: .*faiss"):
        embedding_of(backend="foo")
    with pytest.raises(ValueError, match="no effect in this call"):
        embedding_of(np.ones((N, N)), backend="faiss")


def test_verbose_shows_a_bar_with_the_loss_or_nothing_at_all(capsys):
    embedding_of(verbose=True)
    assert "loss" in capsys.readouterr().err
    embedding_of(verbose=False)
    assert capsys.readouterr() == ("", "")


def test_random_state_decides_the_start():
    def start(random_state):
        return embedding_of(init="random", random_state=random_state, max_iter=1).embedding_

    np.testing.assert_array_equal(start(3), start(np.int64(3)))
    assert relative(start(3), start(4)) > 0.1
    assert relative(start(None), start(None)) > 0.1
    for make in (np.random.default_rng, np.random.RandomState):
        np.testing.assert_array_equal(start(make(5)), start(make(5)))
        generator = make(5)
        assert relative(start(generator), start(generator)) > 0.1  # one draw each
    for bad in (-1, 0.5, "a", True):
        with pytest.raises(ValueError, match="random_state"):
            start(bad)


def test_repulsion_strength_weighs_the_repulsion(weights, usual):
    p, start = symmetric(weights), scaled_start()
    fit = embedding_of(weights, init=START, repulsion_strength=0.5, max_iter=10)
    expected = descent_by_hand(p, start, [(10, 1.0, 50.0, 0.8)], strength=0.5)
    assert relative(fit.embedding_, expected) < 1e-4
    final = float(loss_by_hand(p, torch.from_numpy(expected), strength=0.5)) + negative_entropy(p)
    assert fit.history_["loss"][-1] == pytest.approx(final, rel=1e-4)


def test_check_interval_is_the_number_of_steps_between_checks(usual):
    fit = embedding_of(check_interval=7)
    np.testing.assert_array_equal(fit.history_["iteration"], [1, 7, 14, 21, 28, 30])
    np.testing.assert_array_equal(fit.embedding_, usual)


def entropic_of(cells):
    """The one-way entropic affinities of perplexity 10, (n, n) float64, found by bisection."""
    sq_dist = ((cells[:, None].astype(float) - cells[None]) ** 2).sum(2)
    rows = np.zeros_like(sq_dist)
    for i, row in enumerate(sq_dist):
        near = [j for j in np.argsort(row, kind="stable") if j != i][:30]
        low, high = 1e-6, 1e6
        for _ in range(200):
            beta = math.sqrt(low * high)
            q = np.exp(-beta * (row[near] - row[near].min()))
            q /= q.sum()
            if -(q * np.log(np.maximum(q, 1e-300))).sum() > math.log(10):
                low = beta
            else:
                high = beta
        rows[i, near] = q
    return rows / len(cells)


def test_duplicates_are_embedded_once_with_their_number_as_weight():
    copies = np.random.default_rng(0).integers(1, 5, N)
    cells, kind = np.repeat(CELLS, copies, axis=0), np.repeat(np.arange(N), copies)
    mixed = np.random.default_rng(1).permutation(len(cells))
    cells, kind = cells[mixed], kind[mixed]
    start = START[kind]
    fit = embedding_of(of=torch.from_numpy(cells).double(), init=start, init_scaling=0.1, lr=30.0, max_iter=15)
    assert fit.embedding_.shape == (len(cells), 2)
    first = np.array([np.flatnonzero(kind == k)[0] for k in range(N)])
    distinct = fit.embedding_[first].numpy()
    np.testing.assert_array_equal(fit.embedding_, distinct[kind])
    p = symmetric(symmetric(entropic_of(CELLS)) * (copies[:, None] + copies))
    counts = torch.from_numpy(copies).double()
    expected = descent_by_hand(p, scaled_start(0.1), [(15, 1.0, 30.0, 0.8)], counts=counts)
    assert relative(distinct, expected) < 1e-4
    no_p = np.zeros((len(cells), len(cells)))
    repulsion = loss_by_hand(no_p, fit.embedding_)  # of all cells, one by one
    attraction = loss_by_hand(p, torch.from_numpy(distinct), strength=0.0)
    assert fit.history_["loss"][-1] == pytest.approx(float(attraction + repulsion), rel=1e-5)
    apart = embedding_of(of=cells, process_duplicates=False, init=start + 1e-2 * np.arange(len(cells))[:, None])
    assert len(np.unique(apart.embedding_, axis=0)) == len(cells)


def test_distinct_rows_are_the_same_with_and_without_processing(usual):
    np.testing.assert_array_equal(embedding_of(process_duplicates=False).embedding_, usual)


def test_equal_rows_of_a_given_affinity_are_cells_like_any_others():
    weights = np.kron(np.ones((2, 2)), np.exp(-np.abs(np.subtract.outer(np.arange(30), np.arange(30)))))
    start = np.random.default_rng(0).normal(size=(60, 2))
    given = {"init": start, "init_scaling": 0.1, "max_iter": 10, "lr": 5.0}
    found = embedding_of("precomputed", of=torch.from_numpy(weights), **given).embedding_
    p = symmetric(weights * (1 - np.eye(60)))
    expected = descent_by_hand(p, start.astype(np.float32) * (0.1 / start[:, 0].std()), [(10, 1.0, 5.0, 0.8)])
    assert relative(found, expected) < 1e-4
    assert len(np.unique(found.numpy(), axis=0)) == 60
    dense = embedding_of(weights, of=np.zeros((60, 3)) + np.arange(60)[:, None] // 2, **given).embedding_
    assert relative(dense, expected) < 1e-4


def perceptron(dtype=torch.float32):
    layers = [torch.nn.Linear(10, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)]
    module, rng = torch.nn.Sequential(*layers).to(dtype), np.random.default_rng(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.from_numpy(rng.normal(size=tuple(parameter.shape)) * 0.3))
    return module


@pytest.mark.parametrize("make", [CLASSES[name] for name in ("NeighborEmbedding", "AffinityMatcher", "TSNE", "UMAP")])
def test_encoder_is_trained_as_a_copy_and_maps_new_cells(make):
    module, new = perceptron(), CELLS[:7] + 0.1
    before = copy.deepcopy(module.state_dict())
    given = {"optimizer": "Adam", "lr": 0.01, "max_iter": 60}
    estimator = make(encoder=module, **given)
    with pytest.raises(NotFittedError):
        estimator.transform(new)
    estimator.fit(CELLS)
    assert estimator.encoder is module
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
        assert not torch.equal(value, estimator.encoder_.state_dict()[name])
    with torch.no_grad():
        np.testing.assert_array_equal(estimator.transform(new), estimator.encoder_(torch.from_numpy(new)))
        np.testing.assert_allclose(
            estimator.embedding_, estimator.encoder_(torch.from_numpy(CELLS)), rtol=1e-5, atol=1e-6
        )
    np.testing.assert_array_equal(estimator.transform(sp.csr_matrix(new)), estimator.transform(new))
    found = estimator.transform(torch.from_numpy(new))
    assert isinstance(found, torch.Tensor)
    np.testing.assert_array_equal(found, estimator.transform(new))
    assert not found.requires_grad
    history = estimator.history_["loss"]
    assert history[-1] < history[0]
    with pytest.raises(ValueError, match="features"):
        estimator.transform(new[:, 1:])


def test_encoder_in_float64_gives_what_the_input_asks_for():
    given = {"optimizer": "Adam", "lr": 0.01, "encoder": perceptron(torch.float64)}
    precise = torch.from_numpy(CELLS).double() + 1e-9
    for of, dtype in ((precise, torch.float64), (precise.float(), torch.float32)):
        fit = embedding_of(of=of, init_scaling=None, **given)
        assert fit.embedding_.dtype == fit.transform(of).dtype == dtype
        np.testing.assert_allclose(fit.transform(of), fit.embedding_, rtol=1e-5)
    fit = embedding_of(of=precise.numpy(), init_scaling=None, **given)
    assert fit.transform(precise.numpy()).dtype == np.float32


def test_new_cells_do_not_train_the_encoder():
    module = torch.nn.Sequential(torch.nn.BatchNorm1d(10), torch.nn.Linear(10, 2), torch.nn.Dropout(0.0))
    fit = embedding_of(encoder=module, optimizer="Adam", lr=0.01, init_scaling=None)
    before = copy.deepcopy(fit.encoder_.state_dict())
    together = fit.transform(CELLS)
    np.testing.assert_allclose(np.concatenate([fit.transform(CELLS[[i]]) for i in range(5)]), together[:5], rtol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in fit.encoder_.state_dict().items())
    assert module.training


@every_class
def test_without_encoder_there_is_no_transform(make):
    estimator = make().fit(CELLS)
    assert not hasattr(estimator, "transform")
    assert not hasattr(make(), "transform")
    assert hasattr(make(encoder=perceptron()), "transform")


def test_wrong_encoder_is_an_error():
    adam = {"optimizer": "Adam", "lr": 0.01, "init_scaling": None}
    for given, error, message in (
        ({"encoder": "foo"}, TypeError, "torch.nn.Module"),
        ({"encoder": torch.nn.Linear(9, 2)}, ValueError, "10 features"),
        ({"encoder": torch.nn.Linear(10, 3)}, ValueError, r"\(2, 2\)"),
        ({"encoder": perceptron(), "init": START}, ValueError, "`init`"),
        ({"encoder": perceptron(), "optimizer": "DeltaBarDelta"}, ValueError, "torch"),
    ):
        with pytest.raises(error, match=message):
            embedding_of(**(adam | given))


def test_max_grad_norm_shortens_long_gradients(weights):
    start = torch.from_numpy(scaled_start()).double().requires_grad_()
    loss_by_hand(symmetric(weights), start).backward()
    gradient = start.grad.numpy()
    length = np.linalg.norm(gradient)
    for limit, share in ((length / 3, 1 / 3), (length * 3, 1.0)):
        given = {"init": START, "max_iter": 1, "lr": 7.0, "optimizer_kwargs": {}, "max_grad_norm": limit}
        moved = embedding_of("precomputed", of=torch.from_numpy(weights), **given).embedding_.numpy() - scaled_start()
        assert relative(moved, -7.0 * share * gradient) < 1e-4


def test_callbacks_see_each_check_and_end_the_run(usual):
    seen = []
    fit = embedding_of(callbacks=[seen.append, lambda info: None])
    assert [info.iteration for info in seen] == [1, 10, 20, 30]
    assert [info.loss for info in seen] == list(fit.history_["loss"])
    np.testing.assert_array_equal(fit.embedding_, usual)
    np.testing.assert_array_equal(seen[-1].embedding, usual)
    for callbacks in ([lambda info: info.iteration >= 20], lambda info: info.iteration >= 20):
        stopped = embedding_of(callbacks=callbacks)
        assert stopped.n_iter_ == 20
        np.testing.assert_array_equal(stopped.embedding_, embedding_of(max_iter=20).embedding_)


@every_class
def test_n_jobs_changes_no_bit(make, pbmc):
    one, two = (make(n_jobs=n_jobs, random_state=0, max_iter=10).fit(pbmc) for n_jobs in (1, 2))
    assert torch.equal(one.embedding_, two.embedding_)
    np.testing.assert_array_equal(one.history_["loss"], two.history_["loss"])
    with pytest.raises(ValueError, match="n_jobs"):
        make(n_jobs=0).fit(pbmc)


# the methods as classes


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (ne.TSNE, {}),
        (ne.TSNE, {"dof": 0.5, "perplexity": 10, "max_iter": 40, "early_exaggeration_iter": 10}),
        (ne.TSNE, {"metric": "cosine", "n_neighbors": 9, "max_iter": 30, "random_state": 5, "init": "random"}),
        (ne.TSNE, {"optimizer": "SGD", "max_iter": 30, "init": START, "learning_rate": 60.0}),
        (ne.TSNE, {"n_components": 3, "max_iter": 30, "early_exaggeration": 6.0, "exaggeration": 2.0}),
        (ne.UMAP, {}),
        (ne.UMAP, {"min_dist": 0.1, "n_neighbors": 9, "max_iter": 30, "init": START, "init_scaling": 2.0}),
        (ne.UMAP, {"repulsion": "sampled", "negative_sample_rate": 3, "exclude_neighbors": True, "max_iter": 30}),
        (ne.NegTSNE, {"n_negatives": 3, "Z_bar": 500.0, "max_iter": 30}),
        (ne.LargeVis, {"repulsion": "sampled", "perplexity": 10, "max_iter": 30}),
        (ne.NCTSNE, {"n_neighbors": 9, "max_iter": 30, "early_exaggeration": 4.0}),
        (ne.InfoTSNE, {"with_positive": False, "n_negatives": 20, "max_iter": 30}),
        (ne.SNE, {}),
        (ne.SNE, {"sigma": 2.0, "perplexity": [5, 15], "max_iter": 30, "init": "spectral"}),
        (ne.SNE, {"affinity_in": ne.UniformAffinity(7), "max_iter": 30, "repulsion_strength": 0.7}),
        (ne.PACMAP, {}),
        (ne.PACMAP, {"MN_ratio": 1.0, "FP_ratio": 1.5, "n_neighbors": 8, "max_iter": 40, "init": START}),
        (ne.LocalMAP, {"low_dist_thres": 5.0, "n_components": 3, "max_iter": 60, "random_state": 4}),
        (ne.TSNEkhorn, {"dof": 0.5, "perplexity": 10, "max_iter": 20}),
        (ne.COSNE, {"gamma": 1.0, "norm_strength": 0.1, "max_iter": 20}),
        (ne.ForceAtlas2, {}),
        (ne.ForceAtlas2, {"scaling_ratio": 5.0, "gravity": 3.0, "n_neighbors": 9, "max_iter": 30}),
    ],
    ids=str,
)
def test_class_is_its_method_of_the_tool(kind, given):
    adata = ad.AnnData(np.zeros((N, 1), np.float32), obsm={"X_pca": CELLS.copy()})
    ne.tl.neighbor_embedding(adata, method=kind.__name__, use_rep="X_pca", **given)
    fit = kind(**given).fit(CELLS)
    np.testing.assert_array_equal(fit.embedding_, adata.obsm["X_ne"])
    np.testing.assert_array_equal(fit.history_["loss"], adata.uns["ne"]["history"]["loss"])
    assert fit.n_iter_ == adata.uns["ne"]["final"]["n_iter"]


def test_class_takes_an_affinity_like_the_tool(weights):
    adata = ad.AnnData(np.zeros((N, 1), np.float32), obsp={"weights": sp.csr_matrix(weights)})
    for kind in (ne.TSNE, ne.SNE, ne.UMAP):
        ne.tl.neighbor_embedding(adata, method=kind.__name__, obsp="weights", init="random", max_iter=20)
        found = kind(affinity_in="precomputed", init="random", max_iter=20).fit_transform(weights)
        np.testing.assert_array_equal(found, adata.obsm["X_ne"])


def test_subclass_keeps_its_own_constructor():
    class Wide(ne.TSNE):
        def __init__(self, *, n_components=3):
            super().__init__()
            self.n_components = n_components

    assert Wide().n_components == 3
    assert list(inspect.signature(Wide).parameters) == ["n_components"]


# AffinityMatcher

OUTPUTS = {
    "student": ne.StudentAffinity(dof=2.0),
    "gaussian by row": ne.GaussianAffinity(normalization="row"),
    "rational as it is": ne.RationalAffinity(a=1.5, b=0.9),
}


def q_by_hand(name, positions):
    """Q of all pairs with 0 on the diagonal; differentiable."""
    n, sq_dist = len(positions), (positions[:, None] - positions[None]).square().sum(2)
    if name == "student":
        q = ((1 + sq_dist / 2) ** -1.5).masked_fill(~others(n), 0)
        return q / q.sum()
    if name == "gaussian by row":
        q = (-sq_dist).exp().masked_fill(~others(n), 0)
        return q / q.sum(1, keepdim=True) / n
    return (1 / (1 + 1.5 * sq_dist.clamp_min(1e-8) ** 0.9)).masked_fill(~others(n), 0)


def matching_by_hand(loss_fn, p, q, *, negative_weight=1.0, eps=1e-4):
    apart = others(len(p))
    p, q = p[apart], q[apart]
    if loss_fn == "square_loss":
        return ((p - q) ** 2).sum()
    attraction = -(p * q.log()).sum()
    if loss_fn == "cross_entropy_loss":
        return attraction
    return attraction - negative_weight * ((1 - p) * ((1 - q + eps) / (1 + eps)).log()).sum()


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize(
    ("loss_fn", "kwargs"),
    [(name, None) for name in LOSSES] + [("binary_cross_entropy_loss", {"negative_weight": 0.2, "eps": 0.01})],
    ids=str,
)
def test_loss_of_the_matcher_is_its_formula(loss_fn, kwargs, output, weights):
    """P is not symmetrised, and of sum 1."""
    fit = matching_of(weights, OUTPUTS[output], loss_fn=loss_fn, kwargs_loss=kwargs)
    p, q = torch.from_numpy(weights / weights.sum()), q_by_hand(output, fit.embedding_)
    expected = float(matching_by_hand(loss_fn, p, q, **(kwargs or {})))
    assert fit.history_["loss"][-1] == pytest.approx(expected, rel=1e-6)
    assert fit.history_["loss"][-1] < fit.history_["loss"][0]
    if kwargs:
        other = matching_of(weights, OUTPUTS[output], loss_fn=loss_fn)
        assert relative(fit.embedding_, other.embedding_) > 1e-5


def test_matcher_leaves_an_affinity_as_it_is_defined():
    fit = ne.AffinityMatcher(ne.EntropicAffinity(10), "student", max_iter=5).fit(CELLS)
    q = q_by_hand_of_student(fit.embedding_)
    expected = float(((torch.from_numpy(entropic_of(CELLS)) - q) ** 2).sum())
    assert fit.history_["loss"][-1] == pytest.approx(expected, rel=1e-4)


def q_by_hand_of_student(positions):
    q = log_student(torch.as_tensor(positions).double()).exp().fill_diagonal_(0)
    return q / q.sum()


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("loss_fn", LOSSES)
def test_gradient_of_each_loss_is_its_slope(loss_fn, output, weights):
    """Against central differences, and against the formula's own."""
    n = 10
    p = torch.from_numpy(weights[:n, :n] / weights[:n, :n].sum())
    loss, affinity = resolve_loss(loss_fn, None), OUTPUTS[output].resolve()
    term = Autograd(lambda positions: loss(p, affinity.log_matrix(positions)))
    positions = torch.from_numpy(START[:n]).double()
    found, step = term(View.whole(positions), value=True), 1e-5
    assert not positions.requires_grad
    slopes = torch.empty_like(positions)
    for index in np.ndindex(*positions.shape):
        ahead, behind = positions.clone(), positions.clone()
        ahead[index] += step
        behind[index] -= step
        slopes[index] = (term(View.whole(ahead), value=True).value - term(View.whole(behind), value=True).value) / (
            2 * step
        )
    assert relative(found.gradient, slopes) < 1e-7
    leaf = positions.clone().requires_grad_()
    matching_by_hand(loss_fn, p, q_by_hand(output, leaf)).backward()
    assert relative(found.gradient, leaf.grad) < 1e-9


def test_matcher_descends_by_adam(weights):
    p = torch.from_numpy(weights / weights.sum())
    positions = torch.nn.Parameter(torch.from_numpy(scaled_start()).double())
    adam = torch.optim.Adam([positions], lr=1.0)
    for _ in range(10):
        adam.zero_grad()
        matching_by_hand("cross_entropy_loss", p, q_by_hand("student", positions)).backward()
        adam.step()
    given = {"loss_fn": "cross_entropy_loss", "max_iter": 10, "lr": 1.0}
    found = matching_of(weights, OUTPUTS["student"], **given).embedding_
    assert relative(found, positions.detach()) < 1e-4
    for optimizer in ("Adam", torch.optim.Adam, "auto"):
        again = matching_of(weights, OUTPUTS["student"], optimizer=optimizer, **given).embedding_
        np.testing.assert_array_equal(again, found)
    other = matching_of(weights, OUTPUTS["student"], optimizer="SGD", **given).embedding_
    assert relative(other, found) > 1e-2
    assert set(ne.AffinityMatcher("entropic", "student").fit(CELLS[:40, :3]).history_["lr"]) == {1.0}


def test_loss_may_be_a_function(weights):
    def squares(p, log_q, power=2.0):
        return (p - log_q.exp()).abs().pow(power).sum()

    np.testing.assert_allclose(
        matching_of(weights, loss_fn=squares).embedding_, matching_of(weights).embedding_, rtol=1e-9
    )
    fit = matching_of(weights, loss_fn=squares, kwargs_loss={"power": 3.0})
    p, q = torch.from_numpy(weights / weights.sum()), q_by_hand_of_student(fit.embedding_)
    assert fit.history_["loss"][-1] == pytest.approx(float((p - q).abs().pow(3).sum()), rel=1e-6)
    # Q of a function is normalised over all pairs
    found = matching_of(weights, lambda z, dof: log_student(z, dof) + 1.0, kwargs_affinity_out={"dof": 1.0})
    np.testing.assert_allclose(found.embedding_, matching_of(weights).embedding_, rtol=1e-6)


def test_wrong_loss_is_an_error(weights):
    for given, error, message in (
        ({"loss_fn": "foo"}, ValueError, "available: .*square_loss"),
        ({"loss_fn": 3}, TypeError, "square_loss"),
        ({"kwargs_loss": {"eps": 1}}, TypeError, r"\['eps'\]; available: \[\]"),
        (
            {"loss_fn": "binary_cross_entropy_loss", "kwargs_loss": {"foo": 1}},
            TypeError,
            r"\['foo'\]; available: \['negative_weight', 'eps'\]",
        ),
    ):
        with pytest.raises(error, match=message):
            matching_of(weights, **given)


def test_sne_is_the_matcher_with_cross_entropy_but_for_a_constant(pbmc):
    """Each row of the matcher's Q sums to 1 / n, so that its loss is log n above SNE's."""
    cells = pbmc[:250].double()
    start = torch.from_numpy(np.random.default_rng(0).normal(size=(len(cells), 2)))
    given = {"init": start, "init_scaling": 1.0, "optimizer": "Adam", "lr": 1.0, "max_iter": 30, "check_interval": 1}
    affinities = ne.EntropicAffinity(30), ne.GaussianAffinity(normalization="row")
    sne = ne.NeighborEmbedding(*affinities, **given).fit(cells)
    matcher = ne.AffinityMatcher(*affinities, loss_fn="cross_entropy_loss", **given).fit(cells)
    difference = matcher.history_["loss"] - math.log(len(cells)) - sne.history_["loss"]
    print(f"SNE and the matcher differ by {np.abs(difference / sne.history_['loss']).max():.1e} of the loss")
    np.testing.assert_allclose(matcher.history_["loss"] - math.log(len(cells)), sne.history_["loss"], rtol=1e-6)


def test_tsne_is_the_matcher_with_cross_entropy_but_for_a_constant():
    """The cross-entropy lacks Σ P log P; the one-way P has the cross-entropy of the symmetric one."""
    cells = torch.from_numpy(CELLS).double()
    given = {"init": START, "init_scaling": 1.0, "optimizer": "Adam", "lr": 0.1, "max_iter": 50}
    affinities = ne.EntropicAffinity(10), ne.StudentAffinity()
    tsne = ne.NeighborEmbedding(*affinities, **given).fit(cells)
    matcher = ne.AffinityMatcher(*affinities, loss_fn="cross_entropy_loss", **given).fit(cells)
    constant = negative_entropy(symmetric(entropic_of(CELLS)))
    np.testing.assert_allclose(matcher.history_["loss"] + constant, tsne.history_["loss"], rtol=1e-4)
