"""Contrasts: the pairs that are drawn, their terms and means, and the methods made of them."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from _configs import changed
from sc_nembed.engine import presets
from sc_nembed.engine.affinity import PrecomputedAffinity, UniformAffinity
from sc_nembed.engine.compute import backend, reductions
from sc_nembed.engine.configure import configured
from sc_nembed.engine.graph import KnnGraph
from sc_nembed.engine.kernel import Gaussian, NoiseRepulsion, Rational, RationalRepulsion, StudentT
from sc_nembed.engine.pipeline import embed
from sc_nembed.engine.radial_sum import RADIAL_SUMS
from sc_nembed.engine.terms import NCE, DrawnContrast, Edges, ExpectedContrast, InfoNCE, RowPartition
from sc_nembed.engine.terms.circle import drawn_pairs
from sc_nembed.engine.view import View
from sc_nembed.engine.world import SERIAL

from . import _truth

N = 60
POTENTIALS = [
    StudentT(), StudentT(0.5), Gaussian(2.0), Rational(1.5, 0.9), RationalRepulsion(1.0, 1.0, 0.7), NoiseRepulsion(0.3)
]  # fmt: skip
CPU = torch.device("cpu")
METHODS = {
    "neg_tsne": {}, "neg_tsne sampled": {"repulsion": "sampled"}, "neg_tsne Z_bar": {"Z_bar": 20_000.0},
    "largevis": {}, "largevis sampled": {"repulsion": "sampled"}, "nc_tsne": {}, "info_tsne": {},
    "info_tsne without": {"with_positive": False, "n_negatives": 40},
}  # fmt: skip


@pytest.fixture(autouse=True)
def one_torch_thread():
    """As within a run: torch's own threads would only get in each other's way on so few cells."""
    with backend.session(2):
        yield


every_method = pytest.mark.parametrize("name", METHODS)


def cells(n=N, n_components=2, scale=1.5, seed=0):
    drawn = np.random.default_rng(seed).normal(scale=scale, size=(n, n_components))
    return torch.from_numpy(drawn)


def matrix_of(n=N, seed=1, row_masses="even"):
    """A symmetric P of sum 1, some edges missing; every row has the same mass where "even" but for rounding."""
    weights = np.random.default_rng(seed).uniform(0.1, 1, size=(n, n)) * (
        np.random.default_rng(seed + 1).uniform(size=(n, n)) < 0.3
    )
    np.fill_diagonal(weights, 0)
    weights[np.arange(n), (np.arange(n) + 1) % n] += 0.1  # nobody is alone
    if row_masses == "even":
        weights /= weights.sum(1, keepdims=True)
    return PrecomputedAffinity(weights)()


def numerical(term, positions, step=1e-5):
    gradient = np.empty(positions.shape)
    for i, d in np.ndindex(*positions.shape):
        values = []
        for sign in (1, -1):
            moved = positions.clone()
            moved[i, d] += sign * step
            values.append(float(term(View.whole(moved), value=True).value))
        gradient[i, d] = (values[0] - values[1]) / (2 * step)
    return gradient


def plan_of(potential, dtype=torch.float64, name="torch"):
    return RADIAL_SUMS[name](potential, n_components=2, tolerance=None, device=CPU, dtype=dtype, world=SERIAL)


def terms_of(matrix, n_negatives=7, seed=3):
    pairs, edges = drawn_pairs(matrix.n_rows, n_negatives, seed, CPU), Edges(matrix, StudentT())
    return {
        "noise": DrawnContrast(NoiseRepulsion(0.7), matrix.row_mass, matrix.total, pairs),
        "largevis": DrawnContrast(RationalRepulsion(1.0, 1.0, 0.7), matrix.row_mass, matrix.total, pairs),
        "info": InfoNCE(edges, pairs),
        "info without": InfoNCE(edges, pairs, with_positive=False),
        "info gaussian": InfoNCE(Edges(matrix, Gaussian(2.0)), pairs),
        "nce": NCE(edges, matrix.row_mass, pairs, log_noise=-0.4),
    }


DRAWN = list(terms_of(matrix_of()))


# --- the pairs ---


def partners(pairs) -> np.ndarray:
    """Whom every cell draws, (n, n) of 0 and 1."""
    n = len(pairs.order)
    drawn = np.zeros((n, n))
    others = pairs.drawn_by(View.whole(torch.zeros(n, 1)), torch.arange(n)).numpy()
    np.add.at(drawn, (np.repeat(np.arange(n), others.shape[1]), others.ravel()), 1)
    return drawn


@pytest.mark.parametrize(("n", "m"), [(60, 7), (60, 59), (2, 1), (64, 63), (97, 1), (5, 300)])
def test_every_cell_draws_different_others(n, m):
    for step in (0, 1, 5):
        drawn = partners(drawn_pairs(n, m, 4, CPU).at_step(step))
        assert np.isin(drawn, (0, 1)).all()
        np.testing.assert_array_equal(np.diag(drawn), 0)
        np.testing.assert_array_equal(drawn.sum(1), min(m, n - 1))
        np.testing.assert_array_equal(drawn.sum(0), min(m, n - 1))


def test_every_pair_is_drawn_as_often():
    """Counts over 4 000 steps; 24 has many divisors, so that steps that share an order miss the same pairs."""
    n, m, n_draws = 24, 3, 4000
    pairs, counts = drawn_pairs(n, m, 0, CPU), np.zeros((n, n))
    for step in range(n_draws):
        pairs = pairs.at_step(step)
        counts += partners(pairs)
    share = m / (n - 1)
    z = (counts[~np.eye(n, dtype=bool)] - n_draws * share) / np.sqrt(n_draws * share * (1 - share))
    assert np.abs(z).max() < 8  # of 552 independent counts 3.5
    assert z.std() < 3


def test_draws_follow_from_seed_and_step():
    first = drawn_pairs(50, 5, 1, CPU)
    assert torch.equal(first.cells, drawn_pairs(50, 5, 1, CPU).cells)
    others = [first.at_step(1).cells, first.at_step(2).cells, first.at_step(16).cells, drawn_pairs(50, 5, 2, CPU).cells]
    assert not any(torch.equal(first.cells, other) for other in others)


@pytest.mark.parametrize("potential", POTENTIALS, ids=str)
@pytest.mark.parametrize("n_components", [1, 2, 3, 4])
def test_sums_over_drawn_pairs_are_those_of_the_pairs(potential, n_components):
    pairs = drawn_pairs(N, 7, 2, CPU).at_step(3)
    positions = cells(n_components=n_components)
    share = torch.rand(N, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn, points = partners(pairs), positions.numpy()
    sq_dist = torch.from_numpy(_truth.sq_distances(points, points))
    both = share.numpy()[:, None] * drawn + (share.numpy()[:, None] * drawn).T
    slope = both * potential.slope(sq_dist + torch.eye(N)).numpy()
    mass = (drawn * potential.value(sq_dist + torch.eye(N)).numpy()).sum(1)
    push = slope.sum(1)[:, None] * points - slope @ points
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 3e-6)):
        found_mass = pairs.mass(potential, View.whole(positions.to(dtype)))
        found_push = pairs.push(potential, View.whole(positions.to(dtype)), share.to(dtype))
        assert _truth.relative(found_mass, mass) < tolerance
        assert _truth.relative(found_push, push) < tolerance


# --- the terms ---


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("row_masses", ["even", "uneven"])
def test_gradient_of_drawn_terms_is_the_derivative(name, row_masses):
    term, positions = terms_of(matrix_of(row_masses=row_masses))[name].at_step(View.whole(cells()), 2), cells()
    force = term(View.whole(positions), value=True)
    np.testing.assert_allclose(force.gradient, numerical(term, positions), atol=1e-8)


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_fused_terms_equal_plain_ones(name, n_components):
    term, positions = terms_of(matrix_of())[name], cells(n_components=n_components)
    found, expected = term(View.whole(positions.float()), value=True), term(View.whole(positions), value=True)
    assert _truth.relative(found.gradient, expected.gradient) < 2e-6
    assert abs(float(found.value) / float(expected.value) - 1) < 1e-6


@pytest.mark.parametrize("row_masses", ["even", "uneven"])
@pytest.mark.parametrize("counted", [False, True])
def test_expected_contrast_is_the_sum_over_all_pairs(row_masses, counted):
    """Its gradient by finite differences; equal cells are at distance 0 of each other, which moves nothing."""
    potential, positions, matrix = NoiseRepulsion(0.7), cells(), matrix_of(row_masses=row_masses)
    counts = 1 + torch.arange(N).double() % 3 if counted else None
    row_mass = matrix.row_mass * (1 if counts is None else counts)
    term = ExpectedContrast(plan_of(potential), row_mass, 1.0, 5.0, counts)
    force = term(View.whole(positions), value=True)
    value = potential.value(torch.from_numpy(_truth.sq_distances(positions, positions))).fill_diagonal_(0).numpy()
    weights = np.ones(N) if counts is None else counts.numpy()
    expected = 5 / (weights.sum() - 1) * (row_mass.double().numpy() @ value @ weights)
    assert float(force.value) == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(force.gradient, numerical(term, positions), atol=1e-8)


@pytest.mark.parametrize("potential", [NoiseRepulsion(0.7), RationalRepulsion(1.0, 1.0, 0.7)], ids=str)
def test_drawn_contrast_is_the_expected_one_in_the_mean(potential):
    """2 000 draws: loss and all coordinates of the force within 4 standard errors of the sum over all pairs."""
    matrix, positions, m = matrix_of(row_masses="uneven"), cells(), 5
    expected = ExpectedContrast(plan_of(potential), matrix.row_mass, 1.0, m)(View.whole(positions), value=True)
    found = []
    for seed in range(200):
        term = DrawnContrast(potential, matrix.row_mass, 1.0, drawn_pairs(N, m, seed, CPU))
        for step in range(10):
            force = term.at_step(View.whole(positions), step)(View.whole(positions), value=True)
            found.append(np.append(force.gradient.numpy().ravel(), float(force.value)))
    truth = np.append(expected.gradient.numpy().ravel(), float(expected.value))
    error = np.std(found, axis=0, ddof=1) / np.sqrt(len(found))
    assert (np.abs(np.mean(found, axis=0) - truth) / error).max() < 4


def brute_force_info(matrix, positions, m, with_positive):
    """The mean over all subsets of m others of each cell."""
    p, q = _truth.dense(matrix), _truth.student(_truth.sq_distances(positions, positions))
    total = 0.0
    for i in range(len(p)):
        others = np.delete(np.arange(len(p)), i)
        sums = np.array([q[i, list(chosen)].sum() for chosen in combinations(others, m)])
        positives = q[i][:, None] if with_positive else np.zeros((len(p), 1))
        total += (p[i][:, None] * np.log(positives + sums)).sum() / len(sums)
    return total


@pytest.mark.parametrize("with_positive", [True, False])
@pytest.mark.parametrize(("n", "m"), [(6, 1), (8, 4), (8, 7)])
def test_info_nce_is_its_expectation_in_the_mean(n, m, with_positive):
    matrix, positions = matrix_of(n), cells(n)
    edges, view = Edges(matrix, StudentT()), View.whole(positions)
    values = [
        float(InfoNCE(edges, drawn_pairs(n, m, seed, CPU), with_positive).at_step(view, 1)(view, value=True).value)
        for seed in range(2000)
    ]
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    expected = brute_force_info(matrix, positions, m, with_positive)
    assert abs(np.mean(values) - expected) < 4 * error + 1e-7


def test_info_nce_approaches_the_row_partition():
    """With all others as negatives and no positive it is the partition of SNE; the fewer, the farther from it."""
    n, matrix, positions = 200, matrix_of(200), cells(200)
    edges, row_mass = Edges(matrix, StudentT()), matrix.row_sums()
    limit = RowPartition(StudentT(), row_mass, matrix.total)(View.whole(positions), value=True)
    away, forces = [], []
    for m in (1, 5, 25, 100, n - 1):
        found = [
            InfoNCE(edges, drawn_pairs(n, m, seed, CPU), with_positive=False)(View.whole(positions), value=True)
            for seed in range(30)
        ]
        away.append(abs(np.mean([float(force.value) for force in found]) + np.log((n - 1) / m) - float(limit.value)))
        forces.append(np.mean([_truth.relative(force.gradient, limit.gradient) for force in found]))
    assert (np.diff(away) < 0).all()
    assert (np.diff(forces) < 0).all()
    assert away[-1] < 1e-6
    assert forces[-1] < 1e-6


def test_positive_matters_less_the_more_negatives():
    matrix, positions = matrix_of(200), cells(200)
    edges = Edges(matrix, StudentT())
    gaps = []
    for m in (2, 20, 199):
        pairs = drawn_pairs(200, m, 0, CPU)
        one, other = (InfoNCE(edges, pairs, each)(View.whole(positions), value=True).gradient for each in (True, False))
        gaps.append(_truth.relative(one, other))
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 0.1


def test_noise_of_nce_goes_to_the_least_loss():
    """From far off on either side, on fixed pairs: a search over the noise finds the same."""
    positions = cells()
    term = terms_of(matrix_of())["nce"]
    candidates = np.linspace(-6, 4, 501)
    losses = [float(replace(term, log_noise=x)(View.whole(positions), value=True).value) for x in candidates]
    best = candidates[np.argmin(losses)]
    assert -5 < best < 3
    for start in (-15.0, 12.0):
        found = replace(term, log_noise=start)
        for _ in range(60):
            found = found.at_step(View.whole(positions), 0)
        assert found.log_noise == pytest.approx(best, abs=2e-2)


# --- the methods ---


def config_of(name, **changes):
    options = METHODS[name] | {k: changes.pop(k) for k in list(changes) if k in ("n_negatives", "repulsion")}
    config = configured(presets.resolve_method(name.split()[0]), options)
    return changed(config, **changes)


def recall(features, embedding, k=15):
    found = [NearestNeighbors(n_neighbors=k + 1).fit(x).kneighbors(x)[1][:, 1:] for x in (features, embedding)]
    return np.mean([np.isin(*rows).mean() for rows in zip(*found, strict=True)])


@every_method
def test_method_keeps_neighbors(pbmc, name):
    result = embed(pbmc, config_of(name))
    assert recall(pbmc.numpy(), result.embedding.numpy()) > 0.3  # at random 0.02; t-SNE 0.43
    history = result.history["loss"]
    assert history[-1] < history[0]


@every_method
def test_method_has_the_same_bits_for_any_number_of_threads(pbmc, name):
    results = [embed(pbmc[:300].contiguous(), config_of(name, max_iter=40, n_jobs=n)) for n in (1, 2, 5)]
    for result in results[1:]:
        assert torch.equal(results[0].embedding, result.embedding)
        np.testing.assert_array_equal(results[0].history["loss"], result.history["loss"])


@every_method
def test_method_works_in_float64_and_three_dimensions(pbmc, name):
    few = pbmc[:150].contiguous()
    usual = {"max_iter": 30, "n_components": 3}
    double = embed(few, config_of(name, dtype=torch.float64, **usual)).embedding
    single = embed(few, config_of(name, **usual)).embedding
    assert double.dtype == torch.float64
    assert recall(double.numpy(), single.numpy()) > 0.9


@pytest.mark.parametrize("name", ["neg_tsne", "largevis"])
def test_sampled_method_ends_near_the_expected_one(pbmc, name):
    """The expected loss of both layouts, evaluated by the same term."""
    few = pbmc[:300].contiguous()
    expected = embed(few, config_of(name))
    sampled = embed(few, config_of(name, repulsion="sampled"))
    again = embed(few, config_of(name, init=sampled.embedding, max_iter=1, lr=1e-9, early_exaggeration_iter=0))
    assert again.history["loss"][-1] < expected.history["loss"][-1] * 1.12  # at the start 14 times as large


def test_seed_moves_what_is_drawn_alone(pbmc):
    few = pbmc[:200].contiguous()
    for name in ("nc_tsne", "info_tsne", "neg_tsne sampled"):
        one, other = (embed(few, config_of(name, max_iter=10, random_state=seed)).embedding for seed in (0, 1))
        assert not torch.equal(one, other)
    one, other = (embed(few, config_of("neg_tsne", max_iter=10, random_state=seed)).embedding for seed in (0, 1))
    assert torch.equal(one, other)


def test_z_bar_moves_along_the_spectrum(pbmc):
    """The larger Z_bar, the nearer to UMAP's clumps; 100 n is near t-SNE. The layouts' sizes say so."""
    few, spans = pbmc[:300].contiguous(), []
    for z_bar in (100.0 * 300 / 10, 100.0 * 300, 300**2):
        config = configured(presets.neg_tsne(), {"Z_bar": z_bar})
        spans.append(float(embed(few, config).embedding.std()))
    assert spans[0] > spans[1] > spans[2]


def test_largevis_strength_is_gamma():
    assert presets.largevis().repulsion_strength == 7.0
    few = torch.from_numpy(np.random.default_rng(0).normal(size=(100, 5)).astype(np.float32))
    weak, strong = (float(embed(few, config_of("largevis", repulsion_strength=s)).embedding.std()) for s in (1.0, 7.0))
    assert weak < strong


def test_finished_graph_is_read_uniformly(pbmc):
    graph = NearestNeighbors(n_neighbors=10).fit(pbmc).kneighbors()
    source = KnnGraph(torch.from_numpy(graph[1]).int(), torch.from_numpy(graph[0]).float())
    matrix = UniformAffinity()(source)
    for name in ("neg_tsne", "info_tsne", "nc_tsne", "largevis"):
        config = config_of(name, max_iter=20, init="random")
        assert torch.equal(embed(source, config).embedding, embed(matrix, config).embedding)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("neg_tsne", {"n_negatives": 0}, "`n_negatives` must be an integer of at least 1; got 0"),
        ("info_tsne", {"n_negatives": 2.5}, "`n_negatives`.*2.5"),
        ("nc_tsne", {"n_negatives": True}, "`n_negatives`.*True"),
        ("neg_tsne", {"Z_bar": -1.0}, "`Z_bar`.*-1.0"),
        ("largevis", {"repulsion": "none"}, "Unknown `repulsion` 'none'.*sampled"),
    ],
)
def test_wrong_options_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        configured(presets.resolve_method(name), options)


def test_unknown_options_are_listed():
    with pytest.raises(TypeError, match=r"'Z_bar'.*nc_tsne.*available.*n_negatives"):
        configured(presets.nc_tsne(), {"Z_bar": 1.0})


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("neg_tsne", {"affinity_out": "gaussian"}, "takes 'student' with dof 1.*gaussian"),
        ("nc_tsne", {"kwargs_affinity_out": {"dof": 2.0}}, "takes 'student' with dof 1.*2.0"),
        ("info_tsne", {"kwargs_affinity_out": {"normalization": "all"}}, "without normalization.*all"),
        ("info_tsne", {"process_duplicates": True}, "`process_duplicates` has no effect.*each by itself"),
        ("neg_tsne", {"perplexity": 30}, "`perplexity` has no effect"),
    ],
)
def test_what_has_no_effect_is_refused(pbmc, name, changes, message):
    with pytest.raises(ValueError, match=message):
        embed(pbmc[:50].contiguous(), config_of(name, **changes))


def test_record_holds_the_options(pbmc):
    record = embed(pbmc[:100].contiguous(), config_of("info_tsne", max_iter=10)).used
    assert record["n_negatives"] == 300
    assert record["with_positive"] is True
    assert "repulsion" not in record
    assert embed(pbmc[:100].contiguous(), config_of("neg_tsne", max_iter=10)).used["repulsion"] == "expected"


def test_value_is_added_up_in_fixed_order():
    """Values of many cells too: more than one range of rows."""
    n = 3000
    matrix, positions = matrix_of(n), cells(n).float()
    values = []
    for n_jobs in (1, 2):
        with backend.session(n_jobs):
            values.append([float(term(View.whole(positions), value=True).value) for term in terms_of(matrix).values()])
    assert values[0] == values[1]
    assert float(reductions.total(matrix.weights)) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("potential", "bound"),
    [
        (NoiseRepulsion(1.0), 1e-2),
        (NoiseRepulsion(0.05), 1e-2),
        (RationalRepulsion(1.0, 1.0, 5 / 7), 8e-2),  # a cusp at 0, as UMAP's
    ],
    ids=str,
)
@pytest.mark.parametrize("span", [1e-3, 40.0])
def test_expected_contrast_on_the_grid_is_the_exact_one(potential, bound, span):
    n = 2000
    positions = torch.from_numpy(np.random.default_rng(0).uniform(-span / 2, span / 2, (n, 2)))
    rest = (torch.full((n,), 1 / n), 1.0, 5.0)
    exact = ExpectedContrast(plan_of(potential), *rest)(View.whole(positions), value=True)
    found = ExpectedContrast(plan_of(potential, torch.float32, "fft"), *rest)(View.whole(positions.float()), value=True)
    assert _truth.relative(found.gradient, exact.gradient) < bound
    assert float(found.value) == pytest.approx(float(exact.value), rel=1e-4)
