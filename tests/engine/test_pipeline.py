"""`embed` as a whole: every source, every stage, what is recorded, and what is refused."""

import threading
import warnings
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
from anndata import AnnData

import sc_nembed as ne
from _configs import changed
from sc_nembed.engine import radial_sum
from sc_nembed.engine.affinity import EntropicAffinity, PrecomputedAffinity, UMAPAffinity, UniformAffinity
from sc_nembed.engine.compute import backend
from sc_nembed.engine.config import EmbeddingConfig
from sc_nembed.engine.graph import KnnGraph
from sc_nembed.engine.kernel import StudentT
from sc_nembed.engine.neighbors import KNN, nearest_neighbors
from sc_nembed.engine.output_affinity import OutputAffinity, StudentAffinity, resolve_output_affinity
from sc_nembed.engine.pipeline import STAGES, embed
from sc_nembed.engine.presets import METHODS, normalized, resolve_method, tsne

from . import _truth

N = 250
QUICK = changed(tsne(), max_iter=30, n_jobs=2)


@pytest.fixture(scope="module")
def features(pbmc):
    return pbmc[:N].contiguous()


def neighbor_recall(features, embedding, k: int = 10) -> float:
    orders = []
    for points in (features, embedding):
        sq_dist = _truth.sq_distances(points, points)
        np.fill_diagonal(sq_dist, np.inf)
        orders.append(sq_dist.argsort(1)[:, :k])
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(*orders, strict=True)]))


def test_sources_of_one_graph_give_one_embedding(features):
    """Features, their graph and its affinities are three doors to the same run."""
    graph = nearest_neighbors(features - features.double().mean(0).float(), 30)
    matrix = EntropicAffinity(10)(graph)
    config = changed(QUICK, init=features[:, :2] * 1e-4)
    one = embed(features, changed(config, perplexity=10.0))
    two = embed(graph, changed(config, perplexity=10.0))
    three = embed(matrix, config)
    assert torch.equal(one.embedding, two.embedding)
    assert torch.equal(one.embedding, three.embedding)


@pytest.mark.parametrize(
    ("method", "n_components"), [(name, d) for name in KNN for d in (1, 2, 3) if name != "keops" or d == 2]
)  # KeOps compiles each dimension for seconds
def test_embedding_keeps_neighbors_and_is_as_low_as_openTSNE(pbmc, n_components, method):
    """Defaults on both sides; openTSNE has two dimensions only."""
    result = embed(pbmc, changed(tsne(), n_components=n_components, backend=None if method == "torch" else method))
    assert (result.embedding.dtype, result.embedding.shape) == (torch.float32, (700, n_components))
    assert result.embedding.is_contiguous()
    assert result.resolved["neighbors"] == method
    # a random arrangement has a recall of .014, the first components one of .1 to .25
    assert neighbor_recall(pbmc, result.embedding) > max(0.15, 1.2 * neighbor_recall(pbmc, pbmc[:, :n_components]))
    if n_components == 2:
        assert result.kl_divergence < 0.733 + 0.002  # of 750 steps of openTSNE; see test_optimizer.py


@pytest.mark.parametrize(
    ("n_components", "changes"), [(1, {}), (3, {"max_iter": 80, "tolerance": 0.1})], ids=["1-D", "3-D"]
)
def test_grid_and_exact_sums_lead_equally_low(pbmc, n_components, changes, monkeypatch):
    """In 3-D a coarse grid, as one has for many cells, and few steps, for the time they take."""
    config, matrix = (
        changed(tsne(), n_components=n_components, **changes),
        EntropicAffinity(30)(nearest_neighbors(pbmc, 90)),
    )
    losses = []
    for name in ("torch", "fft"):
        monkeypatch.setattr(radial_sum, "choose", lambda *given, name=name, **options: name)
        result = embed(matrix, changed(config, init=pbmc[:, :n_components]))
        assert result.resolved["radial_sum"] == name
        losses.append(_truth.kl(_truth.dense(matrix), result.embedding))
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)


def test_more_cells_than_exact_sums_take_are_embedded_in_three_dimensions():
    ring = (torch.arange(51_000)[:, None] + torch.tensor([1, 2, 5])) % 51_000
    result = embed(
        KnnGraph(ring.int(), torch.ones(51_000, 3)), changed(QUICK, n_components=3, init="random", max_iter=5)
    )
    assert result.resolved["radial_sum"] == "fft"
    assert torch.isfinite(result.embedding).all()
    assert result.embedding.shape == (51_000, 3)


@pytest.mark.parametrize("method", ["umap", "sne"])
@pytest.mark.parametrize("n_components", [1, 3])
def test_other_methods_use_the_grid_in_other_dimensions(pbmc, method, n_components, monkeypatch):
    """UMAP always; SNE where it is cheaper, which is lowered here."""
    monkeypatch.setattr(normalized, "EXACT_ROWS", {n_components: 0})
    config = changed(resolve_method(method), n_components=n_components, max_iter=60)
    result = embed(pbmc, config)
    assert result.resolved["radial_sum"] == "fft"
    assert neighbor_recall(pbmc, result.embedding) > max(0.12, 1.2 * neighbor_recall(pbmc, pbmc[:, :n_components]))


@pytest.mark.parametrize("source", ["features", "graph", "matrix"])
def test_seconds_are_zero_where_a_stage_was_skipped(features, source):
    graph = nearest_neighbors(features, 14)
    given = {"features": features, "graph": graph, "matrix": UniformAffinity()(graph)}[source]
    seconds = embed(given, QUICK).seconds
    assert tuple(seconds) == STAGES
    assert (seconds["neighbors"] > 0) == (source == "features")
    assert (seconds["affinity"] > 0) == (source != "matrix")
    assert seconds["init"] > 0
    assert seconds["optimize"] > 0
    assert seconds["total"] >= sum(seconds[stage] for stage in STAGES[:-1])


def test_sources_and_features_are_left_as_they_are(features):
    graph = nearest_neighbors(features, 14)
    matrix = UniformAffinity()(graph)
    given = [features, graph.indices, graph.distances, matrix.indptr, matrix.indices, matrix.weights, matrix.row_mass]
    before = [tensor.clone() for tensor in given]
    for source in (features, graph, matrix):
        embed(source, QUICK, features=None if source is features else features)
    assert all(torch.equal(a, b) for a, b in zip(given, before, strict=True))


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_threads_and_generators_are_left_as_they_were(features, n_jobs):
    torch.set_num_threads(2)
    torch.manual_seed(3)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    embed(features, changed(QUICK, n_jobs=n_jobs, init="random"))
    assert torch.get_num_threads() == 2
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


def test_offset_does_not_change_the_embedding(features):
    """Multiples of 1/64 near 50 000, as pixel coordinates are; in float64 nothing is lost."""
    points = (features.double() * 64).round() / 64
    config = changed(tsne(), perplexity=10.0, n_jobs=2)
    here, there = (embed(cloud, config) for cloud in (points, points + 50_000))
    assert here.n_edges == there.n_edges
    assert there.kl_divergence == pytest.approx(here.kl_divergence, rel=2e-2)
    assert neighbor_recall(points, there.embedding) == pytest.approx(neighbor_recall(points, here.embedding), abs=0.03)


def test_same_cells_twice_are_embedded(features):
    twins = torch.cat([features, features[:100], features[:1].expand(40, -1)])
    result = embed(twins, changed(tsne(), perplexity=10.0, n_jobs=2))
    assert torch.isfinite(result.embedding).all()
    span = float((result.embedding.amax(0) - result.embedding.amin(0)).max())
    apart = (result.embedding[N : N + 100] - result.embedding[:100]).norm(dim=1)
    assert float(apart.median()) < 0.05 * span


@pytest.mark.parametrize("n_obs", [5, 6, 8, 20])
@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_few_cells_are_embedded(features, n_obs, n_components):
    result = embed(features[:n_obs], changed(tsne(), n_components=n_components))
    assert torch.isfinite(result.embedding).all()
    assert result.embedding.shape == (n_obs, n_components)
    assert result.used["perplexity"] == pytest.approx((n_obs - 1) / 3)


@pytest.mark.parametrize(
    ("changes", "affinity", "n_neighbors", "perplexity"),
    [
        ({}, "entropic", 91, 30.0),
        ({"perplexity": 5.0}, "entropic", 16, 5.0),
        ({"perplexity": [5.0, 20.0]}, "entropic", 61, [5.0, 20.0]),
        ({"n_neighbors": 12}, "uniform", 12, None),
        ({"affinity_in": "uniform"}, "uniform", 15, None),
        ({"affinity_in": "umap", "n_neighbors": 20}, "umap", 20, None),
        ({"affinity_in": UniformAffinity(7)}, "uniform", 8, None),
        ({"affinity_in": UMAPAffinity(9)}, "umap", 9, None),
        ({"affinity_in": "Entropic"}, "entropic", 91, 30.0),
        ({"perplexity": 5.0, "n_neighbors": 40}, "entropic", 40, 5.0),
    ],
)
def test_search_finds_as_many_neighbors_as_the_affinity_wants(features, changes, affinity, n_neighbors, perplexity):
    result = embed(features, changed(QUICK, **changes))
    assert (result.used["affinity_in"], result.used["n_neighbors"]) == (affinity, n_neighbors)
    np.testing.assert_array_equal(result.used.get("perplexity"), perplexity)


def test_perplexity_too_large_for_the_cells_is_lowered(features):
    assert embed(features[:40], QUICK).used["perplexity"] == pytest.approx(13)  # nobody asked for 30: no warning
    with pytest.warns(UserWarning, match="lowered from 30 to 13"):
        result = embed(features[:40], changed(QUICK, perplexity=30.0))
    assert result.used["perplexity"] == pytest.approx(13)
    with pytest.warns(UserWarning, match="lowered from 50 to 8"):
        result = embed(features, changed(QUICK, perplexity=50.0, n_neighbors=25))
    assert result.used["perplexity"] == pytest.approx(8)


def test_warnings_point_at_the_line_that_called(features, recwarn):
    """Through the engine, a class and its wrappers in scikit-learn, and the tool; from any depth."""
    warnings.simplefilter("always")
    adata = AnnData(obsm={"X_pca": features.numpy()})
    calls = (
        lambda: embed(features, changed(QUICK, perplexity=200.0)),
        lambda: ne.TSNE(perplexity=200.0, max_iter=2).fit_transform(features.numpy()),
        lambda: ne.tl.tsne(adata, perplexity=200.0, max_iter=2),
        lambda: ne.tl.neighbor_embedding(adata, early_exaggeration_iter=9, max_iter=2),
    )
    for call in calls:
        recwarn.clear()
        call()
        told = ("perplexity is lowered", "is cut to 2")
        ours = [found for found in recwarn if any(part in str(found.message) for part in told)]
        assert [found.filename for found in ours] == [__file__]


def test_graph_is_cut_to_the_neighbors_asked_for(features):
    graph = nearest_neighbors(features, 14)
    cut, fewer = embed(graph, changed(QUICK, n_neighbors=9)), embed(nearest_neighbors(features, 8), QUICK)
    assert torch.equal(cut.embedding, fewer.embedding)
    assert cut.used["n_neighbors"] == fewer.used["n_neighbors"] == 9
    with pytest.raises(ValueError, match="counts the cell itself, but the graph holds 14 others"):
        embed(graph, changed(QUICK, n_neighbors=16))


def test_finished_graph_is_read_uniformly_unless_a_perplexity_is_asked_for(features):
    graph = nearest_neighbors(features, 30)
    for changes, made in (
        ({}, UniformAffinity()),
        ({"perplexity": 8.0}, EntropicAffinity(8)),
        ({"affinity_in": "umap"}, UMAPAffinity()),
    ):
        config = changed(QUICK, init="random", **changes)
        assert torch.equal(embed(graph, config).embedding, embed(made(graph), changed(QUICK, init="random")).embedding)


def test_precomputed_affinity_takes_the_place_of_the_search(features):
    weights = np.exp(-_truth.sq_distances(features, features) / 50)
    config = changed(QUICK, affinity_in=PrecomputedAffinity(weights))
    result = embed(features, config)
    assert "neighbors" not in result.resolved
    assert torch.equal(result.embedding, embed(PrecomputedAffinity(weights)(), QUICK, features=features).embedding)


def test_metric_is_that_of_the_neighbors(features):
    cosine = EntropicAffinity(10)(nearest_neighbors(features, 30, metric="cosine"))
    config = changed(QUICK, init="random")
    expected = embed(cosine, config).embedding
    assert torch.equal(embed(features, changed(config, metric="cosine", perplexity=10.0)).embedding, expected)


def test_dof_changes_the_kernel(features):
    matrix = UniformAffinity()(nearest_neighbors(features, 14))
    result = embed(matrix, changed(QUICK, kwargs_affinity_out={"dof": 0.5}))
    assert result.kl_divergence == pytest.approx(_truth.kl(_truth.dense(matrix), result.embedding, dof=0.5), rel=1e-5)
    for given in (StudentAffinity(0.5), StudentAffinity, OutputAffinity(StudentT(0.5)), "Student"):
        kwargs = None if isinstance(given, StudentAffinity | OutputAffinity) else {"dof": 0.5}
        again = embed(matrix, changed(QUICK, affinity_out=given, kwargs_affinity_out=kwargs))
        assert torch.equal(again.embedding, result.embedding)


def test_every_stage_of_a_large_run_is_chosen_and_recorded():
    rng = np.random.default_rng(0)
    points = torch.from_numpy(
        (rng.normal(size=(40, 6))[rng.integers(0, 40, 6000)] + 0.2 * rng.normal(size=(6000, 6))).astype("f4")
    )
    result = embed(points, changed(QUICK, n_neighbors=10))
    assert result.resolved == {"device": "cpu", "neighbors": "faiss", "radial_sum": "fft"}
    assert result.kl_divergence == pytest.approx(result.history["loss"][-1])
    matrix = UniformAffinity(9)(nearest_neighbors(points, 9))
    assert result.kl_divergence == pytest.approx(_truth.sparse_kl(matrix, result.embedding), rel=1e-3)


def test_progress_is_shown_only_when_asked_for(features, capsys):
    embed(features, QUICK)
    assert capsys.readouterr() == ("", "")
    embed(features, changed(QUICK, verbose=True))
    assert "neighbor embedding" in capsys.readouterr().err
    embed(features, changed(tsne(), verbose=True))  # both branches of a race: 320 steps
    assert "320/320" in capsys.readouterr().err


# --- a limit on the gradient ---


def first_steps(features, **changes) -> np.ndarray:
    """Positions at the start and after each of five steps of plain gradient descent, (6, n, 2)."""
    start = torch.from_numpy(np.random.default_rng(0).normal(size=(N, 2)).astype(np.float32))
    config = changed(
        tsne(), max_iter=5, check_interval=1, init=start, optimizer="SGD", optimizer_kwargs={"momentum": 0.0}, lr=10.0,
        early_exaggeration_iter=0, n_jobs=2, **changes,
    )  # fmt: skip
    path = [start.numpy()]
    embed(features, config, callbacks=[lambda info: path.append(info.embedding)])
    return np.array(path, float)


def test_max_grad_norm_shortens_the_gradient(features):
    free = first_steps(features)
    lengths = np.linalg.norm(free[1:] - free[:-1], axis=(1, 2)) / 10
    largest = float(lengths[0]) / 3
    limited = first_steps(features, max_grad_norm=largest)
    moves = limited[1:] - limited[:-1]
    np.testing.assert_allclose(np.linalg.norm(moves, axis=(1, 2)) / 10, largest, rtol=1e-4)
    assert _truth.relative(3 * moves[0], free[1] - free[0]) <= 1e-4  # in the same direction
    np.testing.assert_array_equal(first_steps(features, max_grad_norm=1.01 * lengths.max()), free)


def test_gradient_norm_of_the_history_is_not_limited(features):
    usual, limited = (
        embed(features, changed(QUICK, optimizer="Adam", max_grad_norm=limit)).history["grad_norm"]
        for limit in (None, 1e-4)
    )
    assert limited[0] == pytest.approx(usual[0], rel=0.5)
    assert limited.max() > 1e-4


# --- encoders ---


class Linear(torch.nn.Module):
    """Features to positions by one matrix; no randomness."""

    def __init__(self, n_features: int = 50, n_components: int = 2, dtype=torch.float32):
        super().__init__()
        start = 0.02 * np.random.default_rng(0).normal(size=(n_components, n_features))
        self.matrix = torch.nn.Parameter(torch.from_numpy(start).to(dtype))

    def forward(self, features):
        return features @ self.matrix.T


@pytest.mark.parametrize("preset", ["tsne", "sne", "umap", "pacmap", "localmap", "affinitymatcher"])
def test_embedding_is_what_the_trained_encoder_makes_of_the_features(features, preset):
    encoder = Linear()
    before = encoder.matrix.detach().clone()
    config = changed(resolve_method(preset), encoder=encoder, lr=1e-2, max_iter=60, n_jobs=2)
    result = embed(features, config)
    assert torch.equal(encoder.matrix, before)  # the one that was given is left as it was
    assert torch.equal(result.encoder(features).detach(), result.embedding)
    assert not result.embedding.requires_grad
    assert result.history["loss"][-1] < result.history["loss"][0]
    record = result.used
    assert (record["encoder"], record["init"], record["optimizer"]) == ("Linear", "encoder", "Adam")
    assert torch.equal(embed(features, changed(config, n_jobs=1)).embedding, result.embedding)


def test_step_of_an_encoder_is_the_gradient_of_the_loss_in_its_parameters(features):
    """One step of plain gradient descent against autograd of t-SNE's loss through the matrix."""
    matrix = EntropicAffinity(10)(nearest_neighbors(features, 30))
    encoder = Linear(dtype=torch.float64)
    weight = encoder.matrix.detach().clone().requires_grad_()
    positions = features.double() @ weight.T
    itself = torch.eye(N, dtype=torch.bool)
    sq_dist = (positions[:, None] - positions).square().sum(2)
    partition = (1 / (1 + sq_dist)).masked_fill(itself, 0).sum()
    loss = (torch.from_numpy(_truth.dense(matrix)) * torch.log1p(sq_dist)).sum() + partition.log()
    (gradient,) = torch.autograd.grad(loss, weight)
    config = changed(
        tsne(), encoder=encoder, optimizer="SGD", optimizer_kwargs={"momentum": 0.0}, lr=1e-3, max_iter=1,
        early_exaggeration_iter=0,
    )  # fmt: skip
    result = embed(matrix, config, features=features)
    moved = (result.encoder.matrix.detach() - weight.detach()) / -1e-3
    assert _truth.relative(moved, gradient) <= 1e-4


def test_statistics_of_a_given_encoder_are_left_alone(features):
    """Batch normalisation keeps a record of what it has seen."""
    torch.manual_seed(0)
    encoder = torch.nn.Sequential(torch.nn.Linear(50, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 2))
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    result = embed(features, changed(QUICK, encoder=encoder))
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert int(result.encoder[1].num_batches_tracked) > 30
    with pytest.raises(ValueError, match="n_components"):
        embed(features, changed(QUICK, encoder=encoder, n_components=3))
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_encoder_of_a_graph_takes_the_features_beside_it(features):
    graph = nearest_neighbors(features, 14)
    config = changed(QUICK, encoder=Linear())
    result = embed(graph, config, features=features)
    assert torch.equal(result.encoder(features).detach(), result.embedding)
    with pytest.raises(ValueError, match="the source has none"):
        embed(graph, config)


def test_encoder_and_duplicates_go_together(features):
    cells = torch.cat([features, features[:50]])
    result = embed(cells, changed(QUICK, encoder=Linear(), process_duplicates=True))
    assert torch.equal(result.embedding[N:], result.embedding[:50])
    torch.testing.assert_close(result.encoder(cells).detach(), result.embedding)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64], ids=str)
def test_features_are_given_in_the_type_of_the_encoder(features, dtype):
    encoder = Linear(dtype=torch.float64 if dtype == torch.float16 else dtype)
    result = embed(features.to(dtype), changed(QUICK, encoder=encoder))
    assert result.embedding.dtype == torch.float32
    assert result.encoder.matrix.dtype == encoder.matrix.dtype


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: "linear", TypeError, "must be a torch.nn.Module; got str"),
        (lambda: torch.nn.Flatten(), ValueError, "no parameters"),
        (lambda: Linear().requires_grad_(False), ValueError, "no parameters"),
        (lambda: Linear(n_features=7), ValueError, "cannot take the 50 features"),
        (lambda: Linear(n_components=3), ValueError, r"here \(2, 2\); it gave \(2, 3\)"),
    ],
    ids=["no module", "without parameters", "frozen", "other features", "other dimensions"],
)
def test_encoder_that_does_not_fit_is_refused(features, make, error, message):
    with pytest.raises(error, match=message):
        embed(features, changed(QUICK, encoder=make()))


def test_what_excludes_an_encoder_is_refused(features):
    for changes, message in (
        ({"init": "random"}, "`init` and `init_scaling`"),
        ({"init_scaling": 1.0}, "`init` and `init_scaling`"),
        ({"init": np.zeros((N, 2))}, "`init` and `init_scaling`"),
        ({"optimizer": "DeltaBarDelta"}, "moves cells"),
    ):
        with pytest.raises(ValueError, match=message):
            changed(QUICK, encoder=Linear(), **changes)
    with pytest.raises(ValueError, match="encoder"):
        changed(resolve_method("umap"), encoder=Linear(), repulsion="sampled")


# --- refused ---

BAD_CONFIGS = [
    ({"n_components": 0}, "n_components"),
    ({"n_components": 2.0}, "n_components"),
    ({"n_components": True}, "n_components"),
    ({"max_iter": 0}, "max_iter"),
    ({"check_interval": 0}, "check_interval"),
    ({"n_neighbors": 1}, "n_neighbors"),
    ({"early_exaggeration_iter": -1}, "early_exaggeration_iter"),
    ({"random_state": -1}, "random_state"),
    ({"early_exaggeration_coeff": 0}, "early_exaggeration_coeff"),
    ({"exaggeration": -2.0}, "exaggeration"),
    ({"repulsion_strength": np.nan}, "repulsion_strength"),
    ({"min_grad_norm": -1e-3}, "min_grad_norm"),
    ({"tolerance": 2.0}, "tolerance"),
    ({"init_scaling": "foo"}, "init_scaling"),
    ({"init_scaling": 0.0}, "init_scaling"),
    ({"lr": 0.0}, "lr"),
    ({"lr": "foo"}, "lr"),
    ({"perplexity": -1.0}, "perplexity"),
    ({"perplexity": 0.5}, "perplexity"),
    ({"init": "foo"}, "'foo'; available: .*spectral"),
    ({"affinity_in": "foo"}, "'foo'; available: .*umap"),
    ({"backend": "foo"}, "'foo'; available: .*faiss"),
    ({"metric": "foo"}, "'foo'; available: .*cosine"),
    ({"optimizer": "foo"}, "'foo'; available: .*auto"),
    ({"scheduler": "foo"}, "'foo'; available: .*LinearLR"),
    ({"affinity_out": "foo"}, "'foo'; available: .*student"),
    ({"device": "foo"}, "'foo'.*expected 'auto'"),
    ({"device": "meta"}, "not supported"),
    ({"n_jobs": 0}, "n_jobs"),
    ({"n_jobs": 1.5}, "n_jobs"),
]


@pytest.mark.parametrize(("changes", "message"), BAD_CONFIGS, ids=lambda value: str(value)[:40])
def test_bad_parameters_are_refused_before_anything_runs(changes, message):
    with pytest.raises(ValueError, match=message):
        changed(tsne(), **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kwargs_affinity_out": {"foo": 1}}, r"\['foo'\].*dof"),
        ({"affinity_out": 3}, "affinity_out"),
        ({"optimizer_kwargs": {"foo": 1}}, r"\['foo'\].*max_step"),
        ({"optimizer": "Adam", "optimizer_kwargs": {"foo": 1}}, r"\['foo'\].*betas"),
    ],
)
def test_unknown_arguments_are_refused(changes, message):
    with pytest.raises(TypeError, match=message):
        changed(tsne(), **changes)


def test_what_cannot_have_an_effect_is_refused(features):
    graph = nearest_neighbors(features, 30)
    for source, changes, message in (
        (features, {"affinity_in": "uniform", "perplexity": 5.0}, "perplexity"),
        (features, {"affinity_in": UniformAffinity(7), "n_neighbors": 9}, "n_neighbors"),
        (features, {"affinity_in": "precomputed"}, "needs a matrix"),
        (features, {"affinity_in": "symmetric_entropic", "n_neighbors": 9}, "`n_neighbors` has no effect.*all pairs"),
        (graph, {"backend": "faiss"}, "backend"),
        (UniformAffinity()(graph), {"perplexity": 5.0}, "`perplexity` has no effect.*affinities themselves"),
        (UniformAffinity()(graph), {"n_neighbors": 5}, "`n_neighbors` has no effect.*affinities themselves"),
        (graph, {"affinity_in": UniformAffinity(7), "perplexity": 5.0}, "perplexity"),
    ):
        with pytest.raises(ValueError, match=message):
            embed(source, changed(QUICK, **changes))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: x[:4], "at least 5 cells; got 4"),
        (lambda x: x.index_fill(0, torch.tensor([7, 9]), torch.nan), "in 2 cells, the first in row 7"),
        (lambda x: x.index_fill(0, torch.tensor([3]), torch.inf), "in 1 cells, the first in row 3"),
        (lambda x: torch.ones(20, 4), "equal"),
        (lambda x: x[:, 0], "matrix"),
    ],
    ids=["four cells", "NaN", "inf", "constant", "vector"],
)
def test_bad_features_are_refused(features, make, message):
    with pytest.raises(ValueError, match=message):
        embed(make(features), QUICK)


def test_features_of_other_cells_are_refused(features):
    graph = nearest_neighbors(features, 14)
    with pytest.raises(ValueError, match="`features` has 100 rows, but the source has 250 cells"):
        embed(graph, QUICK, features=features[:100])
    with pytest.raises(ValueError, match="of 30 cells, but there are 250"):
        embed(features, changed(QUICK, affinity_in=PrecomputedAffinity(np.ones((30, 30)))))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_is_refused_where_there_is_none():
    with pytest.raises(ValueError, match="no CUDA device"):
        changed(tsne(), device="cuda")
    assert backend.resolve_device("auto").type == "cpu"


@pytest.mark.gpu
def test_cuda_agrees_with_cpu(pbmc):
    config = changed(tsne(), max_iter=20, early_exaggeration_iter=0, init=pbmc[:, :2], perplexity=10.0)
    on_cpu, on_cuda = (embed(pbmc, changed(config, device=device)).embedding.cpu() for device in ("cpu", "cuda"))
    assert _truth.relative(on_cuda, on_cpu) <= 1e-2


# --- records ---


def test_config_is_frozen():
    with pytest.raises(FrozenInstanceError):
        tsne().max_iter = 3


@pytest.mark.parametrize("optimizer", ["auto", "Adam"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"early_exaggeration_iter": 0},
        {"early_exaggeration_iter": 30},
        {"early_exaggeration_iter": 1},
        {"exaggeration": 2.0, "early_exaggeration_coeff": 6.0},
        {"max_iter": 1},
    ],
    ids=str,
)
def test_what_was_used_repeats_the_run(features, optimizer, changes):
    """Handing the recorded values back gives the same embedding: nothing that took effect is missing."""
    graph = nearest_neighbors(features, 14)
    result = embed(graph, changed(QUICK, optimizer=optimizer, init="random", **changes))
    names = ("init", "init_scaling", "max_iter", "early_exaggeration_iter", "exaggeration", "early_exaggeration_coeff")
    used = {name: result.used[name] for name in names if name in result.used}
    assert used["max_iter"] == result.n_iter
    assert torch.equal(embed(graph, changed(QUICK, optimizer=optimizer, **used)).embedding, result.embedding)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("source", ["features", "graph"])
def test_configuration_of_a_result_repeats_the_run(features, method, source):
    """A raced run too, whose number of steps was not asked for."""
    given = features if source == "features" else nearest_neighbors(features, 14)
    config = resolve_method(method) if method == "tsne" else changed(resolve_method(method), max_iter=20)
    result = embed(given, config, features=features)
    again = embed(given, result.config, features=features)
    assert torch.equal(again.embedding, result.embedding)
    assert ("branch" in result.resolved) == (method == "tsne" and source == "features")


def test_late_exaggeration_is_recorded_as_asked_for(features):
    graph = nearest_neighbors(features, 14)
    for optimizer in ("auto", "Adam"):
        for early in (0, 10):
            config = changed(QUICK, optimizer=optimizer, exaggeration=2.0, early_exaggeration_iter=early)
            assert embed(graph, config).used["exaggeration"] == 2.0


@pytest.mark.parametrize("source", ["features", "graph"])
def test_record_holds_plain_values(features, source):
    given = features if source == "features" else nearest_neighbors(features, 14)
    config = changed(
        QUICK, init=np.random.default_rng(0).normal(size=(N, 2)), optimizer=torch.optim.Adam, scheduler="ExponentialLR",
        scheduler_kwargs={"gamma": 0.99},
    )  # fmt: skip
    record = embed(given, config).used
    assert record["init"] == "array"
    assert record["optimizer"] == "Adam"
    assert record["scheduler_kwargs"] == {"gamma": 0.99}
    plain = (bool, int, float, str, dict, np.ndarray)
    assert all(type(value) in plain for value in record.values()), record
    assert None not in record.values()


def test_configs_of_equal_presets_share_nothing_mutable():
    one, two = tsne(), tsne()
    assert isinstance(one, EmbeddingConfig)
    assert one is not two
    assert one.kwargs_affinity_out is None


def test_output_affinity_refuses_unknown_normalisations():
    with pytest.raises(ValueError, match="normalization"):
        OutputAffinity(StudentT(), "foo")
    assert resolve_output_affinity("student", {"dof": 2.0}) == OutputAffinity(StudentT(2.0))


# --- threads ---


@pytest.mark.parametrize(
    ("asked", "cores", "given"), [(None, 4, 4), (3, 4, 3), (-1, 4, 4), (-2, 4, 3), (-9, 4, 1), (16, 4, 16)]
)
def test_n_jobs_follows_scikit_learn(monkeypatch, asked, cores, given):
    monkeypatch.setattr(backend, "available_cores", lambda: cores)
    assert backend.resolve_n_jobs(asked) == given


def test_available_cores_heed_slurm(monkeypatch):
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    assert backend.available_cores() >= 1
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    assert backend.available_cores() == 1


@pytest.mark.parametrize("n_jobs", [1, 2, 5])
@pytest.mark.parametrize(("n_rows", "rows"), [(0, 10), (1, 10), (10, 10), (11, 10), (1000, 7)])
def test_parallel_calls_every_range_once(n_jobs, n_rows, rows):
    bounds, calls, lock = backend.chunk_bounds(n_rows, rows), [], threading.Lock()

    def kernel(chunk, begin, end, argument):
        with lock:
            calls.append((chunk, begin, end, argument))

    with backend.session(n_jobs):
        assert backend.current_n_jobs() == n_jobs
        backend.parallel(kernel, bounds, "x")
    assert sorted(calls) == [(i, begin, end, "x") for i, (begin, end) in enumerate(bounds)]
    assert [row for begin, end in bounds for row in range(begin, end)] == list(range(n_rows))
    assert all(end - begin <= rows for begin, end in bounds)
    assert backend.current_n_jobs() == 1


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_exceptions_of_kernels_propagate(n_jobs):
    def kernel(chunk, begin, end):
        if chunk == 3:
            raise ArithmeticError("of a kernel")

    with backend.session(n_jobs), pytest.raises(ArithmeticError, match="of a kernel"):
        backend.parallel(kernel, backend.chunk_bounds(100, 10))
