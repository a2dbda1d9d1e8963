"""Terms that any objective can carry: their gradients and values, and what they make of an embedding."""

import numpy as np
import pytest
import torch

from _configs import changed
from sc_nembed.engine import cells, presets
from sc_nembed.engine.affinity import EntropicAffinity, PrecomputedAffinity, UMAPAffinity, UniformAffinity
from sc_nembed.engine.graph import KnnGraph
from sc_nembed.engine.kernel import Gaussian, Rational, StudentT
from sc_nembed.engine.neighbors import nearest_neighbors
from sc_nembed.engine.optimize.optimizer import PreconditionedNesterov
from sc_nembed.engine.optimize.schedule import Phase, Schedule, unroll
from sc_nembed.engine.pipeline import embed
from sc_nembed.engine.terms import Density, Reference
from sc_nembed.engine.view import View

from . import _truth
from ._plain import only_plain

N = 40
KERNELS = [StudentT(), StudentT(0.5), Gaussian(2.0), Rational(0.6, 1.3), Rational(1.5, 0.8)]
SHIFT = 0.1


def some_matrix(n: int = N, seed: int = 0):
    rng = np.random.default_rng(seed)
    return PrecomputedAffinity(rng.uniform(size=(n, n)) * (rng.uniform(size=(n, n)) < 0.2))()


def some_positions(n_components: int = 2, n: int = N) -> torch.Tensor:
    return torch.from_numpy(2 * np.random.default_rng(1).normal(size=(n, n_components)))


def finite_differences(function, positions, step=1e-5) -> np.ndarray:
    expected = np.empty(positions.shape)
    for entry in np.ndindex(expected.shape):
        moved = np.zeros_like(expected)
        moved[entry] = step
        expected[entry] = (function(positions + moved) - function(positions - moved)) / (2 * step)
    return expected


# --- densities ---


def radii_by_hand(affinity: np.ndarray, sq_dist: np.ndarray) -> np.ndarray:
    return np.log(1e-8 + (affinity * sq_dist).sum(1) / affinity.sum(1))


def density_by_hand(pattern, kernel, log_radius, positions) -> float:
    sq_dist = _truth.sq_distances(positions, positions)
    value = kernel.value(torch.from_numpy(sq_dist)).numpy() * pattern
    found = radii_by_hand(value, sq_dist)
    covariance = np.cov(found, log_radius, bias=True)[0, 1]
    return -covariance / np.sqrt(found.var() + SHIFT) / np.std(log_radius)


@pytest.fixture(scope="module")
def log_radius() -> torch.Tensor:
    return torch.from_numpy(3 + 0.7 * np.random.default_rng(2).normal(size=N))


@pytest.mark.parametrize("kernel", [StudentT(), Rational(0.6, 1.3)], ids=str)
@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_density_is_the_derivative_of_the_correlation(n_components, kernel, log_radius):
    matrix, positions = some_matrix(), some_positions(n_components)
    pattern = _truth.dense(matrix) > 0
    force = Density(matrix, kernel, log_radius)(View.whole(positions), value=True)
    expected = density_by_hand(pattern, kernel, log_radius.numpy(), positions.numpy())
    assert float(force.value) == pytest.approx(expected, abs=1e-12)
    assert (force.curvature > 0).all()

    def by_hand(points):
        return density_by_hand(pattern, kernel, log_radius.numpy(), points)

    assert _truth.relative(force.gradient, finite_differences(by_hand, positions.numpy())) <= 1e-6


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_density_equals_autograd(kernel, log_radius):
    matrix, positions = some_matrix(), some_positions().requires_grad_()
    pattern = torch.from_numpy(_truth.dense(matrix) > 0)
    sq_dist = (positions[:, None] - positions[None]).square().sum(2)
    value = kernel.value(sq_dist) * pattern
    found = (1e-8 + (value * sq_dist).sum(1) / value.sum(1)).log()
    standard = (log_radius - log_radius.mean()) / log_radius.std(correction=0)
    loss = -(standard * found).mean() / (found.var(correction=0) + SHIFT).sqrt()
    (expected,) = torch.autograd.grad(loss, positions)
    force = Density(matrix, kernel, log_radius)(View.whole(positions.detach()), value=True)
    assert _truth.relative(force.gradient, expected) <= 1e-12


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_fused_density_equals_the_plain_one(n_components, kernel):
    n = 5000  # several ranges
    rng = np.random.default_rng(0)
    places = torch.from_numpy(rng.normal(size=(n, n_components)))
    matrix = UniformAffinity()(nearest_neighbors(places.float(), 14))
    term = Density(matrix, kernel, torch.from_numpy(rng.normal(size=n)))
    positions = 5 * places.float()
    plain, fused = (term(View.whole(points), value=True) for points in (positions.double(), positions))
    assert _truth.relative(fused.gradient, plain.gradient) <= 1e-5
    assert _truth.relative(fused.curvature, plain.curvature) <= 1e-5
    assert float(fused.value) == pytest.approx(float(plain.value), abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_components", [2, 3])
def test_density_of_a_cell_whose_kernel_underflows_is_that_of_its_nearest_neighbor(n_components, dtype, log_radius):
    matrix, positions = some_matrix(), some_positions(n_components).to(dtype)
    positions[0] = 100.0
    term = Density(matrix, Gaussian(1.0), log_radius)
    force, radii = term(View.whole(positions), value=True), term.log_radii(positions)
    linked = _truth.dense(matrix)[0] > 0
    nearest = _truth.sq_distances(positions[:1], positions)[0, linked].min()
    assert float(radii[0]) == pytest.approx(np.log(nearest), rel=1e-6)
    assert torch.isfinite(force.gradient).all()
    assert force.gradient[0].abs().max() < 1e-20
    assert (force.gradient[1:] != 0).any()


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("source", ["features", "graph"])
def test_radii_of_the_data_are_those_of_its_distances(pbmc, source, metric):
    features = pbmc[:200] - pbmc[:200].double().mean(0).float() if metric == "euclidean" else pbmc[:200]
    points = features.double().numpy()
    sq_dist = _truth.sq_distances(points, points)
    if metric == "cosine":
        unit = points / np.linalg.norm(points, axis=1, keepdims=True)
        sq_dist = (1 - unit @ unit.T) ** 2
    graph = nearest_neighbors(features, 12, metric=metric)
    config = changed(
        presets.tsne(), density=0.5, max_iter=4, n_neighbors=13 if source == "features" else None, n_jobs=1,
        metric=metric if source == "features" else None, init="random",
    )  # fmt: skip
    result = embed(features if source == "features" else graph, config)
    expected = radii_by_hand(_truth.dense(UniformAffinity()(graph)), sq_dist)
    np.testing.assert_allclose(result.per_cell["rad_orig"], expected, rtol=1e-4)


def test_radii_of_the_embedding_are_those_along_the_edges(pbmc):
    result = embed(pbmc[:200].contiguous(), changed(presets.umap(), density=True, max_iter=20, n_jobs=1))
    kernel = Rational(*(result.used["kwargs_affinity_out"][name] for name in "ab"))
    features = pbmc[:200] - pbmc[:200].double().mean(0).float()
    affinity = _truth.dense(UMAPAffinity(15)(nearest_neighbors(features, 14)))
    sq_dist = _truth.sq_distances(result.embedding, result.embedding)
    value = kernel.value(torch.from_numpy(sq_dist)).numpy() * (affinity >= 1 / 500)
    np.testing.assert_allclose(result.per_cell["rad_emb"], radii_by_hand(value, sq_dist), rtol=1e-4, atol=1e-4)


def correlation(result) -> float:
    return float(np.corrcoef(result.per_cell["rad_orig"], result.per_cell["rad_emb"])[0, 1])


def recall(features, embedding, k: int = 10) -> float:
    orders = []
    for points in (features, embedding):
        sq_dist = _truth.sq_distances(points, points)
        np.fill_diagonal(sq_dist, np.inf)
        orders.append(sq_dist.argsort(1)[:, :k])
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(*orders, strict=True)]))


@pytest.mark.parametrize(
    ("method", "strength", "least", "kept"),
    [
        ("tsne", 0.5, 0.8, 0.95),
        ("umap", True, 0.85, 0.8),
        ("sne", 0.5, 0.8, 0.9),
        ("neighbor_embedding", 0.5, 0.8, 0.95),
    ],
)
def test_density_correlates_the_radii_of_real_cells(pbmc, method, strength, least, kept):
    preset = changed(presets.resolve_method(method), n_jobs=1)
    without = embed(pbmc, changed(preset, density=0.0))  # looks at the radii and leaves them alone
    found = embed(pbmc, changed(preset, density=strength))
    assert correlation(without) < 0.6
    assert correlation(found) > least
    assert recall(pbmc, found.embedding) > kept * recall(pbmc, without.embedding)
    assert found.history["density"][-1] < -0.7


@pytest.mark.parametrize("optimizer", ["DeltaBarDelta", "Adam"])
def test_density_works_with_other_optimizers(pbmc, optimizer):
    config = changed(presets.tsne(), optimizer=optimizer, n_jobs=1, max_iter=250)
    without, found = (embed(pbmc, changed(config, density=strength)) for strength in (0.0, 1.0))
    assert correlation(found) > correlation(without) + 0.2


def test_density_acts_in_the_last_steps_alone(pbmc):
    config = changed(presets.tsne(), max_iter=100, check_interval=1, n_jobs=1)
    seen = {}
    for strength in (0.0, 0.5):
        seen[strength] = []
        embed(
            pbmc[:300].contiguous(), changed(config, density=strength),
            callbacks=[lambda info, kept=seen[strength]: kept.append(info.embedding) or False],
        )  # fmt: skip
    same = [bool((a == b).all()) for a, b in zip(*seen.values(), strict=True)]
    assert same == [True] * 70 + [False] * 30


PHASES = tuple(Phase(str(n), n, {"attraction": 1.0}, 1.0) for n in (5, 3, 2))


def late_weights(phases):
    return [setting.weights["density"] for setting in unroll(phases, {"density": 9.0})]


@pytest.mark.parametrize(("share", "n_late"), [(0.3, 3), (0.2, 2), (1.0, 10), (0.0, 0)])
def test_late_weights_begin_within_a_phase(share, n_late):
    schedule = Schedule((PHASES,)).late("density", 2.0, share)
    assert late_weights(schedule.branches[0]) == [0.0] * (10 - n_late) + [2.0] * n_late
    firsts = [setting.first for setting in unroll(schedule.branches[0])]
    assert firsts == [setting.first for setting in unroll(PHASES)]


@pytest.mark.parametrize(("share", "before", "after"), [(0.2, 0, 2), (0.5, 3, 2)])
def test_late_weights_of_a_race_are_the_last_steps_of_each_path(share, before, after):
    schedule = Schedule((PHASES[:1], PHASES[:2]), PHASES[2:]).late("density", 2.0, share)
    for branch in schedule.branches:
        weights = late_weights(branch)
        assert weights == [0.0] * (len(weights) - before) + [2.0] * before
    assert late_weights(schedule.finish) == [2.0] * after


# --- a reference ---


@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_reference_is_the_derivative_of_the_distance_from_it(n_components):
    layout = some_positions(n_components).roll(1, 0)
    layout = layout - layout.mean(0)
    positions = some_positions(n_components) + 3.0
    term = Reference(layout).at_step(View.whole(positions), 0)
    centred = positions - positions.mean(0)
    assert term.scale == pytest.approx(float(centred.norm() / layout.norm()))

    def by_hand(points):
        apart = points - points.mean(0) - float(term.scale) * layout.numpy()
        return (apart**2).sum() / len(points)

    force = term(View.whole(positions), value=True)
    assert float(force.value) == pytest.approx(by_hand(positions.numpy()), rel=1e-12)
    assert _truth.relative(force.gradient, finite_differences(by_hand, positions.numpy())) <= 1e-6
    assert torch.equal(force.curvature, torch.full((1,), 2 / N, dtype=torch.float64))
    moved = positions.clone().requires_grad_()
    loss = (moved - moved.mean(0) - term.scale * layout).square().sum() / N
    assert _truth.relative(force.gradient, torch.autograd.grad(loss, moved)[0]) <= 1e-12
    single = term(View.whole(positions.float()), value=True)
    assert _truth.relative(single.gradient, force.gradient) <= 1e-6


def test_reference_of_a_cell_that_stands_for_several_equals_that_of_all_of_them():
    counts = torch.from_numpy(np.random.default_rng(3).integers(1, 5, N)).double()
    repeated = torch.arange(N).repeat_interleave(counts.long())
    layout, positions = some_positions().roll(1, 0), some_positions() + 1.0
    everyone = layout[repeated] - layout[repeated].mean(0)
    first = torch.tensor([int((repeated == i).nonzero()[0]) for i in range(N)])
    expected = Reference(everyone).at_step(View.whole(positions[repeated]), 0)
    found = Reference(everyone[first], counts=counts).at_step(View.whole(positions), 0)
    assert found.scale == pytest.approx(expected.scale)
    one, other = found(View.whole(positions), value=True), expected(View.whole(positions[repeated]), value=True)
    assert float(one.value) == pytest.approx(float(other.value))
    summed = torch.zeros_like(positions).index_add(0, repeated, other.gradient)
    np.testing.assert_allclose(one.gradient, summed, atol=1e-14)
    np.testing.assert_allclose(one.curvature, 2 * counts / counts.sum())


def likeness(embedding, layout) -> float:
    """Cosine of two centred layouts."""
    one, other = (np.asarray(points, float) - np.asarray(points, float).mean(0) for points in (embedding, layout))
    return float((one * other).sum() / np.linalg.norm(one) / np.linalg.norm(other))


@pytest.fixture(scope="module")
def circle():
    angle = 2 * np.pi * np.random.default_rng(4).permutation(700) / 700
    return np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32) * 50 + 1000


@pytest.mark.parametrize("method", ["tsne", "sne", "umap", "neighbor_embedding", "affinity_matcher"])
def test_strong_reference_is_the_result(pbmc, method):
    layout = 1000 + 7 * pbmc[:, [1, 0]]  # not where the method starts from
    config = changed(presets.resolve_method(method), reference=layout, reference_strength=1e4, n_jobs=1)
    assert likeness(embed(pbmc, changed(config, max_iter=100)).embedding, layout) > 0.999


def test_strong_density_is_no_explosion(pbmc):
    """The added term cancels the others at the start, or outweighs them later; neither says that a run diverged."""
    for strength in (2.0, 5.0, 50.0):
        result = embed(pbmc, changed(presets.umap(), density=strength, n_jobs=1))
        assert correlation(result) > 0.85


@pytest.mark.parametrize("method", ["tsne", "sne", "umap"])
def test_reference_of_no_strength_changes_nothing(pbmc, circle, method):
    config = changed(presets.resolve_method(method), n_jobs=1, max_iter=60)
    expected = embed(pbmc, config)
    for strength in (0.0, 1e-30):
        found = embed(pbmc, changed(config, reference=circle, reference_strength=strength))
        assert torch.equal(found.embedding, expected.embedding)
        np.testing.assert_array_equal(found.history["attraction"], expected.history["attraction"])


def test_more_reference_is_nearer_to_it(pbmc, circle):
    config = changed(presets.tsne(), reference=circle, n_jobs=1)
    found = [embed(pbmc, changed(config, reference_strength=s)) for s in (1e-3, 1e-2, 1e-1)]
    likenesses = [likeness(result.embedding, circle) for result in found]
    assert likenesses == sorted(likenesses)
    divergences = [result.kl_divergence for result in found]
    assert divergences == sorted(divergences)


def test_race_is_run_with_the_terms(pbmc):
    """The branches race as they do without; the path kept ends with the terms."""
    config = changed(presets.tsne(), reference=pbmc[:, :2], reference_strength=0.1, density=0.5, n_jobs=1)
    found, without = embed(pbmc, config), embed(pbmc, changed(presets.tsne(), n_jobs=1))
    assert found.resolved["branch"] in "AB"
    assert found.used["race"]
    assert likeness(found.embedding, pbmc[:, :2]) > likeness(without.embedding, pbmc[:, :2])
    assert correlation(found) > 0.7


def test_loss_holds_the_terms_and_the_divergence_does_not(pbmc):
    config = changed(presets.tsne(), reference=pbmc[:, :2], reference_strength=0.02, density=0.3, max_iter=50, n_jobs=1)
    result = embed(pbmc, changed(config, perplexity=20.0))
    last = {name: values[-1] for name, values in result.history.items()}
    assert last["loss"] == pytest.approx(result.kl_divergence + 0.02 * last["reference"] + 0.3 * last["density"])
    features = pbmc - pbmc.double().mean(0).float()
    matrix = EntropicAffinity(20)(nearest_neighbors(features, 60))
    assert result.kl_divergence == pytest.approx(_truth.sparse_kl(matrix, result.embedding), rel=1e-4)
    assert (result.used["reference_strength"], result.used["density"]) == (0.02, 0.3)


@pytest.mark.parametrize("method", ["tsne", "umap"])
def test_strengths_are_per_unit_of_affinity(pbmc, method):
    """Weights of UMAP do not sum to 1; the loss holds the terms times what they sum to."""
    config = changed(presets.resolve_method(method), reference=pbmc[:, :2], density=True, max_iter=20, n_jobs=1)
    result = embed(pbmc, config)
    total, constant = 1.0, 0.0
    if method == "umap":
        weights = UMAPAffinity(15)(nearest_neighbors(pbmc - pbmc.double().mean(0).float(), 14)).weights.double()
        total = float(weights[weights >= weights.max() / 500].sum() / weights.max())
    last = {name: values[-1] for name, values in result.history.items()}
    if method == "tsne":
        constant = result.kl_divergence - last["attraction"] - last["repulsion"]
    strengths = result.used["reference_strength"] * last["reference"] + result.used["density"] * last["density"]
    own = last["attraction"] + last["repulsion"] + constant
    assert last["loss"] - own == pytest.approx(total * strengths, rel=1e-5)


def test_reference_works_with_an_encoder(pbmc, circle):
    torch.manual_seed(0)
    encoder = torch.nn.Linear(50, 2)
    config = changed(presets.tsne(), encoder=encoder, lr=0.01, max_iter=300, n_jobs=1)
    layout = pbmc[:, :2]
    found, without = (
        embed(pbmc, changed(config, reference=layout, reference_strength=strength)) for strength in (10.0, 0.0)
    )
    assert likeness(found.embedding, layout) > max(0.9, likeness(without.embedding, layout))


# --- both ---


@pytest.mark.parametrize("method", ["tsne", "umap"])
def test_terms_have_the_same_bits_for_any_number_of_threads(method):
    rng = np.random.default_rng(0)
    features = torch.from_numpy(
        (rng.normal(size=(30, 8))[rng.integers(0, 30, 5003)] + 0.4 * rng.normal(size=(5003, 8))).astype(np.float32)
    )
    config = changed(presets.resolve_method(method), reference=features[:, :2], density=True, max_iter=20)
    one, two = (embed(features, changed(config, n_jobs=n_jobs)) for n_jobs in (1, 2))
    assert torch.equal(one.embedding, two.embedding)
    assert all(torch.equal(one.per_cell[name], two.per_cell[name]) for name in ("rad_orig", "rad_emb"))
    np.testing.assert_array_equal(one.history["loss"], two.history["loss"])


def test_fused_steps_with_the_terms_equal_plain_ones(pbmc, monkeypatch):
    config = changed(
        presets.tsne(), reference=pbmc[:, :2], reference_strength=0.05, density=1.0, max_iter=12, n_jobs=1,
        check_interval=5, early_exaggeration_iter=0,
    )  # fmt: skip
    fused = embed(pbmc, config)
    only_plain(monkeypatch)
    plain = embed(pbmc, config)
    assert isinstance(config.resolved_optimizer(), PreconditionedNesterov)
    assert _truth.relative(fused.embedding, plain.embedding) <= 1e-3


def test_cells_without_neighbors_have_no_radii_and_no_pull():
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.normal(size=(150, 5)).astype(np.float32))
    graph = nearest_neighbors(features, 10)
    alone = [3, 77]
    indices, distances = graph.indices.clone(), graph.distances.clone()
    for row in range(150):
        kept = [] if row in alone else [k for k in range(10) if int(indices[row, k]) not in alone]
        indices[row] = torch.tensor([*indices[row, kept].tolist(), *[-1] * (10 - len(kept))])
        distances[row] = torch.tensor([*distances[row, kept].tolist(), *[torch.inf] * (10 - len(kept))])
    layout = features[:, :2].clone()
    far = layout.clone()
    far[alone] = 1e6  # where a cell that takes no part should be does not matter
    config = changed(presets.tsne(), init="random", max_iter=40, density=True, n_jobs=1)
    with pytest.warns(UserWarning, match="2 cells have no neighbors"):
        found = [
            embed(KnnGraph(indices, distances), changed(config, reference=given, reference_strength=1.0))
            for given in (layout, far)
        ]
    assert torch.equal(found[0].embedding, found[1].embedding)
    for values in found[0].per_cell.values():
        assert torch.isnan(values).nonzero()[:, 0].tolist() == alone
    expected = radii_by_hand(
        _truth.dense(UniformAffinity()(KnnGraph(indices, distances)))[:3], _truth.sq_distances(features[:3], features)
    )
    np.testing.assert_allclose(found[0].per_cell["rad_orig"][:3], expected, rtol=1e-4)


@pytest.mark.parametrize("source", ["features", "graph"])
def test_sorted_cells_keep_their_places_in_the_reference_and_their_radii(pbmc, monkeypatch, source):
    features = pbmc[:400].contiguous()
    given = features if source == "features" else nearest_neighbors(features, 14)
    layout = features[:, :2]
    config = changed(
        presets.tsne(), init=layout * 1e-4, reference=layout, reference_strength=10.0, density=True, max_iter=60,
        n_neighbors=15 if source == "features" else None, n_jobs=1,
    )  # fmt: skip
    expected = embed(given, config)
    monkeypatch.setattr(cells, "MANY_CELLS", 100)
    found = embed(given, config)
    assert not torch.equal(found.embedding, expected.embedding)  # other sums
    np.testing.assert_allclose(found.per_cell["rad_orig"], expected.per_cell["rad_orig"], rtol=1e-5)
    assert likeness(found.embedding, layout) > 0.99
    np.testing.assert_allclose(found.per_cell["rad_emb"], expected.per_cell["rad_emb"], atol=0.3)


def test_equal_cells_embedded_once_are_pulled_with_their_number(pbmc):
    features = torch.cat([pbmc[:150], pbmc[:60], pbmc[:30]])
    config = changed(
        presets.tsne(), process_duplicates=True, perplexity=10.0, reference=features[:, :2], reference_strength=100.0,
        n_jobs=1, max_iter=150,
    )  # fmt: skip
    result = embed(features, config)
    assert torch.equal(result.embedding[:60], result.embedding[150:210])
    assert likeness(result.embedding, features[:, :2]) > 0.99


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reference_strength": 1.0}, "no effect without a `reference`"),
        ({"reference": np.zeros((700, 3))}, r"= \(700, 2\); got \(700, 3\)"),
        ({"reference": np.zeros((7, 2))}, r"= \(700, 2\); got \(7, 2\)"),
        ({"reference": np.full((700, 2), np.nan)}, "NaN or infinite"),
        ({"reference": np.full((700, 2), 7.0)}, "all cells in one place"),
        ({"reference": np.eye(700, 2), "reference_strength": -1.0}, "`reference_strength` must be"),
        ({"reference": np.eye(700, 2), "reference_strength": True}, "`reference_strength` must be"),
        ({"density": -1.0}, "`density` must be"),
        ({"density": np.nan}, "`density` must be"),
        ({"density": "yes"}, "`density` must be"),
        ({"density": True, "process_duplicates": True}, "cannot be combined with `process_duplicates`"),
        ({"density": True, "affinity_out": lambda z: -torch.cdist(z, z)}, "sparse input affinity"),
    ],
    ids=str,
)
def test_wrong_terms_are_explained(pbmc, changes, message):
    with pytest.raises(ValueError, match=message):
        embed(pbmc, changed(presets.tsne(), **changes))


@pytest.mark.parametrize("changes", [{"reference": np.eye(700, 2)}, {"density": True}], ids=["reference", "density"])
def test_terms_that_cannot_act_are_refused(changes):
    (name,) = changes
    with pytest.raises(ValueError, match=f"`{name}` has no effect.*`repulsion='sampled'`"):
        changed(presets.umap(), repulsion="sampled", **changes)
    if name == "density":
        with pytest.raises(ValueError, match="sparse input affinity"):
            changed(presets.affinity_matcher(), **changes)


def test_density_without_distances_is_refused(pbmc):
    matrix = UniformAffinity()(nearest_neighbors(pbmc, 14))
    config = changed(presets.tsne(), density=True, init="random", max_iter=20)
    with pytest.raises(ValueError, match="weights alone"):
        embed(matrix, config)
    assert embed(matrix, config, features=pbmc).per_cell
    ring = torch.stack([torch.arange(100).roll(1), torch.arange(100).roll(-1)], 1).int()
    with pytest.raises(ValueError, match="same local radius"):
        embed(KnnGraph(ring, torch.ones(100, 2)), config)
