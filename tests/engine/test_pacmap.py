"""PaCMAP and LocalMAP: pairs, forces, weights and steps against plain loops and the code of the authors."""

import contextlib
from dataclasses import replace

import numba
import numpy as np
import pytest
import torch
from pacmap import pacmap as authors
from sklearn.preprocessing import StandardScaler

from _configs import changed
from sc_nembed.engine import radial_sum
from sc_nembed.engine.affinity import PACMAPAffinity, PrecomputedAffinity, UniformAffinity
from sc_nembed.engine.affinity.request import _pacmap_neighbors
from sc_nembed.engine.compute import counter_rng
from sc_nembed.engine.graph import KnnGraph
from sc_nembed.engine.neighbors import nearest_neighbors
from sc_nembed.engine.optimize.adam import Adam
from sc_nembed.engine.optimize.protocol import StepOptions
from sc_nembed.engine.optimize.schedule import unroll
from sc_nembed.engine.pipeline import embed
from sc_nembed.engine.presets import localmap, pacmap, resolve_method, tsne
from sc_nembed.engine.presets.method import Inputs, Sums
from sc_nembed.engine.terms import Force, PairSum, nearby_pair_sum, partners
from sc_nembed.engine.terms.pair_potential import LocalPull, Pull, Push
from sc_nembed.engine.view import View

from . import _truth

DTYPES = [torch.float32, torch.float64]
both_dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=["fused", "plain"])
both_methods = pytest.mark.parametrize("preset", [pacmap, localmap], ids=["pacmap", "localmap"])
POTENTIALS = [Pull(10.0), Pull(10_000.0), Push(), LocalPull(10.0, 5.0), LocalPull(3.0, 2.0)]
CPU = torch.device("cpu")


def cloud(n: int, n_columns: int, scale: float = 1.0, seed: int = 0) -> torch.Tensor:
    """float32 numbers, so that both precisions start from the same."""
    points = scale * np.random.default_rng(seed).normal(size=(n, n_columns))
    return torch.from_numpy(points.astype(np.float32))


def some_partners(n: int, k: int, seed: int = 0) -> torch.Tensor:
    """None of them the cell itself; some twice, and many pairs in both directions."""
    shift = np.random.default_rng(seed).integers(1, n, size=(n, k))
    return torch.from_numpy(((np.arange(n)[:, None] + shift) % n).astype(np.int32))


def listed(drawn: torch.Tensor) -> np.ndarray:
    """Pairs (i, j) as the authors' code has them, (m, 2) int32."""
    table = drawn.numpy()
    rows = np.repeat(np.arange(len(table), dtype=np.int32), table.shape[1])
    return np.ascontiguousarray(np.stack([rows, table.ravel().astype(np.int32)], 1))


def counted(table: torch.Tensor) -> np.ndarray:
    """How often each pair is there, at both of its ends, (n, n)."""
    counts = np.zeros((len(table), len(table)))
    rows, columns = listed(table).T
    np.add.at(counts, (rows, columns), 1)
    np.add.at(counts, (columns, rows), 1)
    return counts


# --- potentials ---


def sums_of(n):
    return Sums(None, 2, n, CPU, torch.float32)


@pytest.mark.parametrize("potential", POTENTIALS, ids=str)
def test_slope_of_a_potential_is_its_derivative(potential):
    sq_dist = torch.logspace(-6, 5, 50, dtype=torch.float64).requires_grad_()
    (derivative,) = torch.autograd.grad(potential.value(sq_dist).sum(), sq_dist)
    torch.testing.assert_close(potential.slope(sq_dist.detach()), derivative, rtol=1e-9, atol=0)


# --- sums over pairs ---


@pytest.mark.parametrize("n", [25, 5000])  # one range of rows, and several
@pytest.mark.parametrize("n_components", [1, 2, 3, 4])
@pytest.mark.parametrize("potential", POTENTIALS, ids=str)
def test_fused_sum_over_pairs_equals_plain(potential, n_components, n):
    matrix = UniformAffinity()(KnnGraph(some_partners(n, 6), torch.ones(n, 6)))  # weights that differ
    positions = cloud(n, n_components, 4.0)
    found, expected = (PairSum(matrix, potential)(View.whole(positions.to(dtype)), value=True) for dtype in DTYPES)
    assert found.gradient.dtype == torch.float32
    assert _truth.relative(found.gradient, expected.gradient) <= 1e-5
    assert _truth.relative(found.value, expected.value) <= 1e-5
    assert torch.equal(PairSum(matrix, potential)(View.whole(positions), value=False).gradient, found.gradient)
    assert found.curvature is expected.curvature is None


@pytest.mark.parametrize("n_components", [1, 2, 3])
@pytest.mark.parametrize("potential", POTENTIALS, ids=str)
def test_gradient_of_a_sum_over_pairs_is_that_of_its_value(potential, n_components):
    """The value is summed here over the list of pairs, each once; its derivative by autograd."""
    table, positions = some_partners(30, 7), cloud(30, n_components, 3.0).double().requires_grad_()
    rows, columns = torch.from_numpy(listed(table)).long().T
    value = potential.value((positions[rows] - positions[columns]).square().sum(1)).sum()
    (gradient,) = torch.autograd.grad(value, positions)
    force = PairSum(partners.both_ends(table), potential)(View.whole(positions.detach()), value=True)
    assert _truth.relative(force.gradient, gradient) <= 1e-12
    assert float(force.value) == pytest.approx(float(value.detach()), rel=1e-12)


@contextlib.contextmanager
def one_thread():
    """For the authors' code: its loops over a few rows wait for each other where other processes take the cores."""
    n_threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        yield
    finally:
        numba.set_num_threads(n_threads)


def of_the_authors(positions, near, mid_near, far, weights, strength=None):
    """Gradient and loss of the authors' code, float32."""
    parts = [positions.numpy(), *(listed(table) for table in (near, mid_near, far)), *map(np.float32, weights)]
    if strength is None:
        found = authors.pacmap_grad(*parts)
    else:
        found = authors.pacmap_grad_nearby_recip_sqrt(*parts, np.float32(strength))
    return found[:-1], float(found[-1, 0])


@both_dtypes
@pytest.mark.parametrize("n_components", [1, 2, 3])
@pytest.mark.parametrize("method", ["pacmap", "localmap"])
def test_forces_are_those_of_the_authors_code(method, n_components, dtype):
    positions, weights = cloud(200, n_components, 5.0), (2.0, 500.0, 1.5)
    tables = [some_partners(200, k, seed) for seed, k in enumerate((10, 5, 20))]
    near = LocalPull(10.0, 6.0) if method == "localmap" else Pull(10.0)
    sums = [
        PairSum(partners.both_ends(table), potential)
        for table, potential in zip(tables, (near, Pull(10_000.0), Push()), strict=True)
    ]
    forces = [term(View.whole(positions.to(dtype)), value=True) for term in sums]
    gradient, loss = of_the_authors(positions, *tables, weights, 6.0 if method == "localmap" else None)
    found = sum(weight * force.gradient for weight, force in zip(weights, forces, strict=True))
    assert _truth.relative(found, gradient) <= 1e-5
    if method == "pacmap":  # LocalMAP's code reports the loss of another force than it uses
        found = sum(weight * float(force.value) for weight, force in zip(weights, forces, strict=True))
        assert found == pytest.approx(loss, rel=1e-5)


# --- pairs ---


@pytest.mark.parametrize(("n", "k"), [(7, 3), (3000, 20)])
def test_both_ends_list_every_pair_as_often_as_it_is_there(n, k):
    table = some_partners(n, k)
    matrix = partners.both_ends(table)
    np.testing.assert_array_equal(_truth.dense(matrix), counted(table))
    indptr, indices = partners.plain_mirrored(table)
    assert torch.equal(indptr, matrix.indptr)
    np.testing.assert_array_equal(_truth.dense(replace(matrix, indptr=indptr, indices=indices)), counted(table))
    assert matrix.total == 2 * n * k


def test_near_pairs_of_equal_affinities_count_once_for_each_direction():
    features = cloud(150, 6)
    directed = PACMAPAffinity(7)(nearest_neighbors(features, 57), symmetric=False)
    near = partners.near(directed)
    np.testing.assert_allclose(_truth.dense(near), counted(directed.indices.reshape(150, 7)), rtol=1e-6)
    assert set(np.unique(_truth.dense(near).round(4))) == {0.0, 1.0, 2.0}


def test_near_pairs_keep_the_proportions_of_the_affinities():
    weights = np.zeros((6, 6))
    weights[[0, 1, 2, 3, 4, 5, 0], [1, 2, 3, 4, 5, 0, 3]] = [1, 2, 3, 4, 5, 6, 7]
    weights[1, 0] = 2
    near = _truth.dense(partners.near(PrecomputedAffinity(weights)(symmetric=False)))
    np.testing.assert_allclose(near, (weights + weights.T) / weights[weights > 0].mean(), rtol=1e-6)


def drawn_in_order(key, i, n, refused):
    """Draws for a cell one after the other, without the cell itself and those `refused` at that time."""
    draw = 0
    while True:
        j = int(counter_rng.integers(key, torch.tensor([i]), torch.tensor([draw]), n))
        draw += 1
        if j != i and j not in refused:
            yield j


@pytest.mark.parametrize("n", [9, 60, 1500])
def test_mid_near_partner_is_the_second_nearest_of_six_others(n):
    features = cloud(n, 4)
    found = partners.mid_near(features, 5, seed=3).numpy()
    assert found.shape == (n, min(5, n - 6))
    key = counter_rng.key_of(3, partners.MID_NEAR_STEP)
    for i in range(0, n, max(1, n // 50)):
        refused = set()
        others = drawn_in_order(key, i, n, refused)
        for k in range(found.shape[1]):
            chosen, candidates = set(found[i, :k].tolist()), []
            for _ in range(6):
                refused.clear()
                refused |= chosen | set(candidates)
                candidates.append(next(others))
            distance = np.linalg.norm(features[candidates].double() - features[i].double(), axis=1)
            assert found[i, k] == candidates[np.argsort(distance, kind="stable")[1]]


@pytest.mark.parametrize(("n", "k"), [(40, 20), (1500, 20), (12, 30)])
def test_far_partners_are_others_that_are_not_neighbors(n, k):
    directed = PACMAPAffinity(6)(nearest_neighbors(cloud(n, 4), min(n - 1, 56)), symmetric=False)
    found = partners.far(directed, k, seed=5).numpy()
    assert found.shape == (n, min(k, n - 7))
    neighbors = directed.indices.reshape(n, 6).numpy()
    key = counter_rng.key_of(5, partners.FAR_STEP)
    for i in range(n):
        row = found[i].tolist()
        assert len({i, *row, *neighbors[i].tolist()}) == 1 + len(row) + 6
        if i % max(1, n // 50) == 0:
            refused = set(neighbors[i].tolist())
            others = drawn_in_order(key, i, n, refused)
            for j in row:
                assert next(others) == j
                refused.add(j)


def test_far_pairs_need_cells_that_are_not_neighbors():
    everyone = UniformAffinity(7)(nearest_neighbors(cloud(8, 3), 7), symmetric=False)
    with pytest.raises(ValueError, match="all 7 others as neighbors; lower `n_neighbors`"):
        partners.far(everyone, 5, seed=0)


def test_draws_change_with_the_seed_and_between_mid_near_and_far_pairs():
    features = cloud(400, 4)
    directed = PACMAPAffinity(6)(nearest_neighbors(features, 56), symmetric=False)
    one, two = (partners.far(directed, 5, seed=seed) for seed in (0, 1))
    assert (one == two).float().mean() < 0.05
    one, two = (partners.mid_near(features, 5, seed=seed) for seed in (0, 1))
    assert (one == two).float().mean() < 0.05
    assert counter_rng.key_of(0, partners.MID_NEAR_STEP) != counter_rng.key_of(0, partners.FAR_STEP)


def lattice(n: int, n_components: int) -> torch.Tensor:
    """Whole numbers, whose squared distances are exact in any precision."""
    points = np.random.default_rng(4).integers(-12, 13, size=(n, n_components))
    return torch.from_numpy(points.astype(np.float32))


@both_dtypes
@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_nearby_partner_is_the_first_of_a_hundred_draws_that_fits_or_the_one_before(n_components, dtype):
    n, k, distance = 300, 6, 2.0 if n_components < 3 else 4.0
    directed = PACMAPAffinity(6)(nearest_neighbors(cloud(n, 4), 56), symmetric=False)
    before, positions = partners.far(directed, k, seed=1), lattice(n, n_components)
    found = partners.nearby(before, directed, View.whole(positions.to(dtype)), distance, seed=1, step=211)
    assert found.dtype == torch.int32
    key, kept = counter_rng.key_of(1, 211), 0
    fits = _truth.sq_distances(positions, positions) <= distance**2
    fits[np.arange(n), np.arange(n)] = fits[np.arange(n)[:, None], directed.indices.reshape(n, 6).numpy()] = False
    for i in range(n):
        tries, new = counter_rng.integers(key, torch.full((100 * k,), i), torch.arange(100 * k), n).reshape(k, 100), []
        for slot in range(k):
            new.append(next((j for j in tries[slot].tolist() if fits[i, j] and j not in new), -1))
        kept += new.count(-1)
        assert found[i].tolist() == [b if j < 0 else j for j, b in zip(new, before[i].tolist(), strict=True)]
    assert n_components == 1 or 0.02 * n * k < kept < 0.98 * n * k  # both happen


def test_nearby_pairs_are_drawn_when_the_authors_draw_them():
    """They draw after the steps 210, 220, ..., counted from 0, of which 200 come before the last phase."""
    n, positions = 100, cloud(100, 2)
    directed = PACMAPAffinity(6)(nearest_neighbors(cloud(n, 4), 56), symmetric=False)
    term, steps = nearby_pair_sum(partners.far(directed, 5, 0), Push(), directed, 1.0, 200, 0), []
    for done in range(451):
        after = term.at_step(View.whole(positions), done)
        if after is not term:
            steps.append(done - 1)
            assert not torch.equal(after.partners, term.partners)
            force = after(View.whole(positions), value=True)
            alone = PairSum(partners.both_ends(after.partners), Push())(View.whole(positions), value=True)
            assert torch.equal(force.gradient, alone.gradient)
            assert torch.equal(
                after.at_step(View.whole(positions), done).partners, after.partners
            )  # going back draws the same
        term = after
    assert steps == [itr for itr in range(450) if itr > 200 and itr % 10 == 0]


# --- weights, numbers ---


@both_methods
@pytest.mark.parametrize(
    ("max_iter", "num_iters"), [(None, (100, 100, 250)), (45, (10, 10, 25)), (900, (200, 200, 500))]
)
def test_weights_of_every_step_are_those_of_the_authors(preset, max_iter, num_iters):
    config = changed(preset(), max_iter=max_iter, repulsion_strength=0.7)
    (phases,) = config.method.schedule(config, None).branches
    settings = unroll(phases)
    assert len(settings) == sum(num_iters)
    for itr, setting in enumerate(settings):
        mid_near, near, far = authors.find_weight(1000.0, itr, num_iters=num_iters)
        weights = dict(setting.weights)
        if preset is localmap:
            is_last = itr >= num_iters[0] + num_iters[1]
            assert weights["near" if is_last else "local_near"] == 0
            weights["near"] = weights["local_near"] if is_last else weights["near"]
        assert weights["mid_near"] == pytest.approx(mid_near, rel=1e-12)
        assert (weights["near"], weights["far"]) == (near, 0.7 * far)
        assert (setting.learning_rate, setting.momentum) == (1.0, None)


@pytest.mark.parametrize("max_iter", [1, 2, 3, 7])
@both_methods
def test_few_steps_are_done(pbmc, preset, max_iter):
    result = embed(pbmc[:60], changed(preset(), max_iter=max_iter))
    assert result.n_iter == max_iter
    assert torch.isfinite(result.embedding).all()


@pytest.mark.parametrize("n", [36, 700, 10_000, 10_001, 50_000, 10**6])
def test_number_of_neighbors_is_that_of_the_authors(n):
    theirs = authors.PaCMAP(n_neighbors=None)
    theirs.decide_num_pairs(n)
    assert _pacmap_neighbors(n) == theirs.n_neighbors


@pytest.mark.parametrize(("options", "expected"), [({}, (5, 20)), ({"MN_ratio": 0.25, "FP_ratio": 1.17}, (2, 12))])
@both_methods
def test_numbers_of_pairs_are_those_of_the_authors(pbmc, preset, options, expected):
    config = preset()
    config = changed(config, **options)
    matrix = PACMAPAffinity(10)(nearest_neighbors(pbmc, 60), symmetric=False)
    terms = config.method.problem(config, Inputs(matrix, pbmc), sums_of(len(pbmc))).objective
    theirs = authors.PaCMAP(**options)
    theirs.decide_num_pairs(len(pbmc))
    assert (theirs.n_MN, theirs.n_FP) == expected
    far = terms["far"].total if preset is localmap else terms["far"]
    assert terms["near"].pairs.total == pytest.approx(2 * 10 * 700, rel=1e-5)
    assert (terms["mid_near"].pairs.total, far.pairs.total) == tuple(2 * 700 * count for count in expected)


# --- Adam ---


def gradients(n_steps: int) -> list[torch.Tensor]:
    return [cloud(300, 2, 10.0 ** (k % 3 - 1), seed=k) for k in range(n_steps)]


def stepped(optimizer: Adam, positions: torch.Tensor, n_steps: int, *, phases: int = 1) -> torch.Tensor:
    state = None
    for k, gradient in enumerate(gradients(n_steps)):
        if k % (n_steps // phases) == 0:
            state = optimizer.start(positions, None, state)
        before = positions.clone()
        forces = [
            (0.25, Force(gradient.to(positions), None, None)),
            (0.5, Force(1.5 * gradient.to(positions), None, None)),
        ]
        moved, state = optimizer.step(positions, forces, state, StepOptions(0.3))
        assert torch.equal(positions, before)
        positions = moved
    return positions


@both_dtypes
@pytest.mark.parametrize("phases", [1, 3])
def test_adam_is_the_authors_update_and_its_moments_live_through_phases(dtype, phases):
    start = cloud(300, 2)
    expected = start.numpy().copy()
    mean, square = np.zeros_like(expected), np.zeros_like(expected)
    for itr, gradient in enumerate(gradients(30)):
        rates = (np.float32(0.9), np.float32(0.999), np.float32(0.3))
        authors.update_embedding_adam(expected, gradient.numpy(), mean, square, *rates, itr)
    assert _truth.relative(stepped(Adam(), start.to(dtype), 30, phases=phases), expected) <= 1e-5


def test_adam_without_eps_is_that_of_torch():
    start = cloud(300, 2).double()
    parameter = torch.nn.Parameter(start.clone())
    optimizer = torch.optim.Adam([parameter], lr=0.3, betas=(0.8, 0.99), eps=0.0)
    for gradient in gradients(30):
        parameter.grad = gradient.double()
        optimizer.step()
    assert _truth.relative(stepped(Adam(0.8, 0.99, 0.0), start, 30), parameter.detach()) <= 1e-12


# --- runs ---


def test_run_follows_the_authors_code_from_the_same_pairs_and_start(pbmc):
    """45 steps, 10 of them in the first phase; float32 sums in another order drift apart slowly."""
    config = changed(pacmap(), max_iter=45, init=cloud(700, 2), init_scaling="keep")
    matrix = PACMAPAffinity(10)(nearest_neighbors(pbmc, 60), symmetric=False)
    features = pbmc - pbmc.mean(0)
    tables = [
        matrix.indices.reshape(700, 10), partners.mid_near(features, 5, config.random_state),
        partners.far(matrix, 20, config.random_state),
    ]  # fmt: skip
    start = StandardScaler().fit_transform(config.init.numpy()).astype(np.float32) * np.float32(1e-4)
    with one_thread():
        expected, *_ = authors.pacmap(
            features.numpy(), 2, *(listed(table) for table in tables), 1.0, (10, 10, 25), config.init.numpy(), False,
            False, [], False,
        )  # fmt: skip
    found = embed(matrix, changed(config, init=torch.from_numpy(start)), features=pbmc)
    assert np.abs(expected).max() > 3
    assert _truth.relative(found.embedding, expected) <= 1e-2
    assert found.history["loss"][-1] < 0.7 * found.history["loss"][0]


@both_methods
@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_embedding_keeps_groups_apart_in_any_dimension(preset, n_components):
    group = np.repeat(np.arange(4), 50)
    features = cloud(200, 8)
    features[torch.arange(200), torch.from_numpy(group)] += 12
    found = embed(features, changed(preset(), n_components=n_components))
    assert found.embedding.shape == (200, n_components)
    nearest = nearest_neighbors(found.embedding, 5).indices.numpy()
    assert (group[nearest] == group[:, None]).mean() > 0.97


@both_methods
def test_plain_run_ends_where_the_fused_one_does(preset, pbmc):
    """In float64 nothing is fused; both follow the same path as long as rounding does not matter."""
    single, double = (embed(pbmc, changed(preset(), max_iter=60, dtype=dtype)).embedding for dtype in DTYPES)
    assert double.dtype == torch.float64
    assert _truth.relative(single, double) <= 2e-2


@both_methods
@pytest.mark.parametrize("n_components", [2, 3])
def test_same_bits_for_any_number_of_threads(preset, n_components):
    """Enough cells for several ranges of every loop, and enough steps for LocalMAP to draw four times."""
    rng = np.random.default_rng(0)
    features = torch.from_numpy((rng.normal(size=(30, 6))[rng.integers(0, 30, 4999)] * 3).astype(np.float32))
    features += cloud(4999, 6)
    config = changed(preset(), max_iter=90, n_components=n_components)
    first, *others = (embed(features, changed(config, n_jobs=n_jobs)) for n_jobs in (1, 2, 3))
    for other in others:
        assert torch.equal(other.embedding, first.embedding)
        np.testing.assert_array_equal(other.history["loss"], first.history["loss"])


@both_methods
def test_history_has_every_term_and_the_loss_of_the_last_phase(pbmc, preset):
    result = embed(pbmc, changed(preset(), max_iter=90, repulsion_strength=0.5))
    near = "local_near" if preset is localmap else "near"
    expected = result.history[near] + 0.5 * result.history["far"]
    np.testing.assert_allclose(result.history["loss"], expected, rtol=1e-12)
    assert {"near", "mid_near", "far"} <= set(result.history)
    assert (np.asarray(result.history["lr"]) == 1).all()  # nothing was taken for an explosion


def test_loss_that_grows_is_no_explosion(pbmc):
    """With few far pairs the loss of a start at one place is low, and every picture has a higher one."""
    config = pacmap()
    config = changed(config, FP_ratio=0.1, repulsion_strength=5.0)
    result = embed(pbmc, changed(config, max_iter=90, init="random", init_scaling=1e-6, lr=5.0))
    assert result.n_iter == 90
    assert set(result.history["lr"]) == {5.0}


def test_cosine_distances_choose_mid_near_pairs(pbmc):
    """The directions of cells alone matter, so their lengths may be changed."""
    lengths = torch.from_numpy(np.random.default_rng(0).uniform(0.5, 4, (700, 1)).astype(np.float32))
    one, two = (embed(x, changed(pacmap(), metric="cosine", init="random", max_iter=20)) for x in (pbmc, 2 * pbmc))
    assert _truth.relative(two.embedding, one.embedding) <= 1e-3
    unit = pbmc / pbmc.norm(dim=1, keepdim=True)
    directed = PACMAPAffinity(10)(nearest_neighbors(pbmc, 60, metric="cosine"), symmetric=False)
    config = changed(pacmap(), metric="cosine")
    problem = config.method.problem(config, Inputs(directed, lengths * pbmc), sums_of(700))
    expected = counted(partners.mid_near(unit, 5, 0))
    assert (_truth.dense(problem.objective["mid_near"].pairs) == expected).mean() > 0.999


@both_methods
def test_graph_and_its_representation_are_enough(pbmc, preset):
    graph = nearest_neighbors(pbmc, 14)
    result = embed(graph, preset(), features=pbmc)
    assert (result.used["n_neighbors"], result.used["affinity_in"]) == (11, "pacmap")
    with pytest.raises(ValueError, match="draws pairs by distances in a representation, and this source has none"):
        embed(graph, preset())
    with pytest.raises(ValueError, match="this source has none"):
        embed(PACMAPAffinity(10)(nearest_neighbors(pbmc, 60), symmetric=False), preset())


def test_graph_of_fewer_neighbors_than_usual_is_taken_whole():
    features = cloud(12_000, 3)
    graph = nearest_neighbors(features, 8)
    result = embed(graph, changed(pacmap(), max_iter=3), features=features)
    assert result.used["n_neighbors"] == 9


def test_many_cells_are_embedded_in_four_dimensions(pbmc, monkeypatch):
    """Other methods sum over all pairs then, and refuse to from 50 000 cells on."""
    monkeypatch.setattr(radial_sum, "EXACT_LIMIT", 500)
    assert embed(pbmc, changed(pacmap(), n_components=4, max_iter=3)).embedding.shape == (700, 4)
    with pytest.raises(ValueError, match="exact sums"):
        embed(pbmc, changed(tsne(), n_components=4, max_iter=3))


def test_cell_that_is_only_a_neighbor_of_others_takes_part(pbmc):
    """P is not symmetrised, so that a row without entries may still be listed."""
    graph = nearest_neighbors(pbmc, 14)
    graph.indices[5], graph.distances[5] = -1, torch.inf
    assert (graph.indices == 5).any()
    result = embed(graph, changed(pacmap(), affinity_in="uniform", max_iter=90), features=pbmc)
    own = nearest_neighbors(result.embedding, 30).indices
    wanted = set(nearest_neighbors(pbmc, 30).indices[5].tolist())
    assert len(wanted & set(own[5].tolist())) >= 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"affinity_out": "student"}, "`affinity_out` has no effect with method='pacmap'"),
        ({"kwargs_affinity_out": {"dof": 1.0}}, "`kwargs_affinity_out` has no effect"),
        ({"perplexity": 30}, "`perplexity` has no effect.*'pacmap'"),
        ({"process_duplicates": True}, "`process_duplicates` has no effect"),
        ({"exaggeration": 2.0}, "knows no exaggeration"),
        ({"early_exaggeration_coeff": 4.0}, "knows no exaggeration"),
        ({"early_exaggeration_iter": 10}, "knows no exaggeration"),
        ({"n_neighbors": 700}, "lower `n_neighbors`"),
    ],
    ids=str,
)
def test_what_has_no_effect_is_refused(pbmc, changes, message):
    with pytest.raises(ValueError, match=message):
        embed(pbmc, changed(pacmap(), **changes))


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("pacmap", {"MN_ratio": -1}, "MN_ratio.*at least 0.*-1"),
        ("pacmap", {"FP_ratio": 0}, "FP_ratio.*positive.*0"),
        ("localmap", {"FP_ratio": "many"}, "FP_ratio"),
        ("localmap", {"low_dist_thres": float("inf")}, "low_dist_thres"),
    ],
)
def test_wrong_options_are_explained(method, options, message):
    with pytest.raises(ValueError, match=message):
        changed(resolve_method(method), **options)


def test_other_optimizers_take_the_same_schedule(pbmc):
    for given in ({"optimizer": "Adam"}, {"optimizer": "SGD", "lr": 0.05}, {"optimizer": "DeltaBarDelta", "lr": 0.05}):
        result = embed(pbmc, changed(pacmap(), max_iter=90, **given))
        assert result.history["loss"][-1] < 0.8 * result.history["loss"][0]


# --- quality ---


def recall_and_accuracy(features: torch.Tensor, labels: np.ndarray, embedding) -> np.ndarray:
    """Of the 10 nearest others: the share that is kept; how often their majority has a cell's label."""
    kept = nearest_neighbors(torch.as_tensor(np.asarray(embedding, np.float32)), 10).indices.numpy()
    wanted = nearest_neighbors(features, 10).indices.numpy()
    recall = np.mean([len({*a} & {*b}) / 10 for a, b in zip(kept, wanted, strict=True)])
    codes = np.unique(labels, return_inverse=True)[1]
    votes = np.array([np.bincount(codes[row]).argmax() for row in kept])
    return np.array([recall, (votes == codes).mean()])


def by_the_authors(preset, features: torch.Tensor, seed: int) -> np.ndarray:
    with one_thread():
        theirs = authors.LocalMAP if preset is localmap else authors.PaCMAP
        return theirs(random_state=seed).fit_transform(features.numpy())


@both_methods
def test_quality_is_that_of_the_authors_code(pbmc, preset):
    """Means over eight seeds."""
    import scanpy as sc

    labels = sc.datasets.pbmc68k_reduced().obs["bulk_labels"].to_numpy()
    found, expected = (
        np.mean([recall_and_accuracy(pbmc, labels, run(seed)) for seed in range(8)], 0)
        for run in (
            lambda seed: embed(pbmc, changed(preset(), random_state=seed)).embedding,
            lambda seed: by_the_authors(preset, pbmc, seed),
        )
    )
    print(f"recall and accuracy {found.round(4)}, of the authors' code {expected.round(4)}")
    assert found[0] >= expected[0] - 0.01
    assert found[1] >= expected[1] - 0.02
