"""UMAP by sampling: the draws, one epoch against a loop in plain Python, and what it is on average."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from _configs import changed
from sc_nembed.engine.affinity import PrecomputedAffinity, UMAPAffinity
from sc_nembed.engine.compute import backend, counter_rng
from sc_nembed.engine.fused.counter_rng import integer
from sc_nembed.engine.graph import AffinityMatrix
from sc_nembed.engine.kernel import Rational, RationalRepulsion
from sc_nembed.engine.neighbors import nearest_neighbors
from sc_nembed.engine.optimize.protocol import StepOptions
from sc_nembed.engine.optimize.sampled import SampledEpochs
from sc_nembed.engine.pipeline import embed
from sc_nembed.engine.presets import umap
from sc_nembed.engine.presets._umap import _strong_edges
from sc_nembed.engine.terms import Attraction
from sc_nembed.engine.view import View

from . import _truth
from ._plain import only_plain

A, B = 1.577, 0.895
DTYPES = [torch.float32, torch.float64]
both_dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=["fused", "plain"])
both_exclusions = pytest.mark.parametrize("exclude", [False, True], ids=["itself", "neighbors"])

# --- draws ---

SEEDS = (0, 1, 17, 2**31 - 2)
STEPS = (0, 1, 2, 499, 10**6)


def drawn(key: int, rows, ks, below) -> np.ndarray:
    rows, ks = torch.broadcast_tensors(torch.as_tensor(rows), torch.as_tensor(ks))
    return counter_rng.integers(key, rows.contiguous(), ks.contiguous(), below).numpy()


def test_scramble_is_the_finaliser_of_splitmix64():
    """The first outputs of Steele's generator with the seeds 0 and 1234567, as published with it."""
    assert counter_rng._scramble(counter_rng.STEP) == 0xE220A8397B1DCDAF
    assert counter_rng._scramble((2 * counter_rng.STEP) & counter_rng.MASK) == 0x6E789E6AA1B965F4
    assert counter_rng._scramble((1234567 + counter_rng.STEP) & counter_rng.MASK) == 6457827717110365317


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("step", STEPS)
def test_draws_are_the_same_integers_in_torch_numba_and_python(seed, step):
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.integers(0, 2**31 - 1, 150), np.arange(50), [2**31 - 2]])
    ks = np.concatenate([rng.integers(0, 10**6, 150), np.arange(50), [2**31]])
    below = np.concatenate([rng.integers(1, 2**31 - 1, 150), np.arange(1, 51), [2**31 - 1]])
    key = counter_rng.key_of(seed, step)
    found = counter_rng.integers(key, *(torch.from_numpy(part) for part in (rows, ks, below)))
    assert found.dtype == torch.int64
    for row, k, limit, value in zip(rows.tolist(), ks.tolist(), below.tolist(), found.tolist(), strict=True):
        assert 0 <= value < limit
        assert int(integer(np.uint64(key), np.uint64(row), np.uint64(k), np.uint64(limit))) == value
        mixed = counter_rng._scramble(counter_rng._scramble((key + (row << 32) + k) % 2**64))
        assert (mixed >> 32) * limit >> 32 == value


@pytest.mark.parametrize("below", [2, 7, 97, 1000])
@pytest.mark.parametrize("over", ["rows", "draws", "steps", "seeds"])
def test_draws_are_uniform(over, below):
    """Chi-square over each argument alone, at a probability of 1e-4."""
    many = np.arange(100_000)
    if over == "rows":
        found = drawn(counter_rng.key_of(3, 5), many, 2, below)
    elif over == "draws":
        found = drawn(counter_rng.key_of(3, 5), 2, many, below)
    else:
        keys = [counter_rng.key_of(*((3, i) if over == "steps" else (i, 3))) for i in range(20_000)]
        found = np.array([int(integer(np.uint64(k), np.uint64(2), np.uint64(5), np.uint64(below))) for k in keys])
    counts = np.bincount(found, minlength=below)
    expected = len(found) / below
    assert ((counts - expected) ** 2 / expected).sum() < chi2.isf(1e-4, below - 1)


@pytest.mark.parametrize("next_to", ["row", "draw", "step", "seed"])
def test_draws_next_to_each_other_are_independent(next_to):
    """Chi-square of pairs: 16 by 16 values each."""
    rows, ks = np.repeat(np.arange(400), 250), np.tile(np.arange(250), 400)
    one = drawn(counter_rng.key_of(3, 5), rows, ks, 16)
    two = {
        "row": lambda: drawn(counter_rng.key_of(3, 5), rows + 1, ks, 16),
        "draw": lambda: drawn(counter_rng.key_of(3, 5), rows, ks + 1, 16),
        "step": lambda: drawn(counter_rng.key_of(3, 6), rows, ks, 16),
        "seed": lambda: drawn(counter_rng.key_of(4, 5), rows, ks, 16),
    }[next_to]()
    counts = np.bincount(16 * one + two, minlength=256)
    expected = len(one) / 256
    assert ((counts - expected) ** 2 / expected).sum() < chi2.isf(1e-4, 255)


def test_draws_depend_on_neither_order_nor_company():
    key, order = counter_rng.key_of(0, 9), np.random.default_rng(0).permutation(500)
    rows, ks = np.arange(500) % 41, np.arange(500) // 41
    together = drawn(key, rows, ks, 1000)
    np.testing.assert_array_equal(drawn(key, rows[order], ks[order], 1000), together[order])
    alone = [int(drawn(key, [row], [k], 1000)[0]) for row, k in zip(rows, ks, strict=True)]
    np.testing.assert_array_equal(alone, together)


# --- epochs ---


def matrix_of(weights: np.ndarray) -> AffinityMatrix:
    """A dense, symmetric, hollow matrix as an AffinityMatrix."""
    rows, columns = np.nonzero(weights)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(weights)))])
    entries = torch.from_numpy(weights[rows, columns].astype(np.float32))
    return AffinityMatrix(
        torch.from_numpy(indptr), torch.from_numpy(columns.astype(np.int32)), entries, len(weights), len(weights), 0,
        torch.from_numpy(weights.sum(1).astype(np.float32)), float(entries.double().sum()),
    )  # fmt: skip


def some_weights(n: int, density: float = 0.15, eighths: bool = False) -> np.ndarray:
    """Symmetric, the largest 1; `eighths`: multiples of 1/8, so that 8 epochs sample each edge 8 w times."""
    rng = np.random.default_rng(1)
    weights = np.triu(rng.uniform(0.02, 1, (n, n)) * (rng.uniform(size=(n, n)) < density), 1)
    weights = np.ceil(8 * weights) / 8 if eighths else weights / weights.max()
    return weights + weights.T


def sampler(weights: np.ndarray, *, n_negatives: int = 5, exclude: bool = False, seed: int = 7) -> SampledEpochs:
    return SampledEpochs(
        matrix_of(weights), Rational(A, B, clip=4.0), RationalRepulsion(A, B), n_negatives, exclude, seed
    )


def cells(n: int, n_components: int = 2, scale: float = 1.5) -> torch.Tensor:
    """float32 numbers, so that both precisions start from the same."""
    points = scale * np.random.default_rng(2).normal(size=(n, n_components))
    return torch.from_numpy(points.astype(np.float32))


def run(epochs: SampledEpochs, positions, n_epochs: int, *, rate=1.0, attract=1.0, repel=1.0, first: int = 0):
    """Positions after some epochs; the rate falls as in a real run."""
    state = epochs.start(positions, None, None if first == 0 else (first,))
    for done in range(n_epochs):
        options = StepOptions(rate * (1 - done / n_epochs), weights={"repulsion": repel, "attraction": attract})
        positions, state = epochs.step(positions, [], state, options)
    assert state == (first + n_epochs,)
    return positions


def never_drawn(weights: np.ndarray, exclude: bool) -> list[set[int]]:
    return [{i} | (set(np.flatnonzero(row).tolist()) if exclude else set()) for i, row in enumerate(weights)]


def by_hand(weights, positions, n_epochs, *, n_negatives, exclude, seed, rate=1.0, attract=1.0, repel=1.0):
    """McInnes et al. 2018, section 3.2, cell by cell in float64; the force of one pair is at most 4.

    Unlike there, a cell moves once for all that are drawn for an edge.
    """
    n, positions, weights = len(weights), positions.double().numpy().copy(), weights.astype(np.float32).astype(float)
    for done in range(n_epochs):
        key, step, before = counter_rng.key_of(seed, done), rate * (1 - done / n_epochs), positions.copy()
        for i in range(n):
            others = [j for j in range(n) if j not in never_drawn(weights, exclude)[i]]
            for slot, j in enumerate(np.flatnonzero(weights[i])):
                if np.floor((done + 1) * weights[i, j]) == np.floor(done * weights[i, j]):
                    continue
                for _ in range(2):
                    apart = positions[i] - before[j]
                    d = np.linalg.norm(apart)
                    force = min(2 * A * B * d ** (2 * B - 1) / (1 + A * d ** (2 * B)), 4)
                    positions[i] -= step * attract * force * apart / d
                push = 0
                for k in range(n_negatives if others else 0):
                    found = drawn(key, [i], [slot * n_negatives + k], len(others))
                    apart = positions[i] - before[others[int(found[0])]]
                    d = np.linalg.norm(apart)
                    force = min(2 * B / (d * (1 + A * d ** (2 * B))), 4 * min(d / 0.01, 1))
                    push = push + force * apart / d
                positions[i] += step * repel * push
    return positions


@both_exclusions
@both_dtypes
@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_epochs_equal_a_loop_in_plain_python(n_components, dtype, exclude):
    weights, start = some_weights(14, 0.3), cells(14, n_components)
    weights[3], weights[:, 3] = 0.5, 0.5  # a cell whose neighbors are all others: nobody can be drawn for it
    weights[3, 3] = 0
    options = {"rate": 0.3, "attract": 1.7, "repel": 0.6}
    epochs = sampler(weights, n_negatives=3, exclude=exclude)
    found = run(epochs, start.to(dtype), 6, **options)
    expected = by_hand(weights, start, 6, n_negatives=3, exclude=exclude, seed=7, **options)
    assert np.abs(expected - start.numpy()).max() > 1
    assert _truth.relative(found, expected) <= (1e-4 if dtype == torch.float32 else 1e-12)


@both_exclusions
@pytest.mark.parametrize("n_components", [1, 2, 3, 4])
def test_fused_epochs_equal_plain(n_components, exclude, monkeypatch):
    """Both in float32; differences of rounding, and of the tables of the kernel, grow from epoch to epoch."""
    weights, start = some_weights(120, 0.06), cells(120, n_components)
    epochs = sampler(weights, exclude=exclude)
    fused = run(epochs, start, 2, rate=0.3)
    only_plain(monkeypatch)
    plain = run(epochs, start, 2, rate=0.3)
    assert plain.dtype == torch.float32
    assert float((fused - start).norm() / start.norm()) > 0.1
    assert _truth.relative(fused, plain) <= 1e-3
    monkeypatch.undo()
    assert _truth.relative(run(epochs, start, 1), run(epochs, start.double(), 1)) <= 1e-5


@both_dtypes
def test_edges_are_sampled_as_often_as_they_weigh(dtype):
    """Pairs of cells with one edge each; a sampled one moves both ends, by the same for any number of samples."""
    share = np.array([1.0, 0.9, 0.5, 1 / 3, 0.25, 0.1234, 0.04, 0.002])
    weights = np.zeros((16, 16))
    for pair, weight in enumerate(share):
        weights[2 * pair, 2 * pair + 1] = weights[2 * pair + 1, 2 * pair] = weight
    start = torch.stack([torch.arange(16.0), torch.zeros(16)], 1).to(dtype)  # neighbors at the distance 1
    epochs, counts, rate = sampler(weights), np.zeros(16), 2.0**-10
    for n in range(1, 201):
        moved = run(epochs, start, 1, rate=rate, repel=0.0, first=n - 1)
        counts += ((moved - start)[:, 0].abs().numpy() / rate > 0.1).astype(float)
        expected = np.floor(n * share.astype(np.float32).astype(float))
        np.testing.assert_array_equal(counts[::2], expected)
        np.testing.assert_array_equal(counts[1::2], expected)


def test_attraction_is_on_average_that_of_the_term():
    """Over eight epochs every edge is sampled 8 w times; at a rate so small that nothing moves."""
    weights, start = some_weights(60, eighths=True), cells(60).double()
    epochs, rate = sampler(weights), 1e-9
    moved = sum(run(epochs, start, 1, rate=rate, repel=0.0, first=n) - start for n in range(8)) / (8 * rate)
    force = Attraction(matrix_of(weights), Rational(A, B, clip=4.0))(View.whole(start), value=False)
    assert _truth.relative(-moved, force.gradient) <= 1e-6


def repulsions(start: np.ndarray) -> np.ndarray:
    """Force of every cell on every other, (n, n, d): what −log(1 − q) pushes away with, at most 4."""
    apart = start[:, None] - start
    distance = np.linalg.norm(apart, axis=2) + 1e9 * np.eye(len(start))
    return (np.minimum(2 * B / (distance * (1 + A * distance ** (2 * B))), 4) / distance)[:, :, None] * apart


N_EPOCHS, N_NEGATIVES = 2000, 3


@both_exclusions
def test_repulsion_is_on_average_the_stated_sum(exclude):
    """n_negatives · degreeᵢ / (n − excludedᵢ) · Σⱼ over those who can be drawn, within 4 standard errors.

    An epoch draws from the cells that can be drawn, each with the same probability; so the error of the mean of a
    cell's forces follows from their spread and the number of its draws.
    """
    n, rate = 40, 1e-4
    weights, start = some_weights(n, 0.15, eighths=True), cells(n)
    excluded = never_drawn(weights, exclude)
    assert {len(cells) for cells in excluded} == {1} or exclude
    epochs = sampler(weights, n_negatives=N_NEGATIVES, exclude=exclude)
    total = sum(
        (run(epochs, start, 1, rate=rate, attract=0.0, first=done) - start).double() for done in range(N_EPOCHS)
    )
    found = (total / (rate * N_EPOCHS)).numpy()
    expected, error = np.zeros((n, 2)), np.zeros((n, 2))
    for i, forces in enumerate(repulsions(start.double().numpy())):
        allowed = [j for j in range(n) if j not in excluded[i]]
        expected[i] = N_NEGATIVES * weights[i].sum() / len(allowed) * forces[allowed].sum(0)
        error[i] = np.sqrt(N_NEGATIVES * weights[i].sum() / N_EPOCHS) * forces[allowed].std(0)
    deviation = (found - expected) / error
    print(f"largest {np.abs(deviation).max():.2f} standard errors, mean square {(deviation**2).mean():.2f}")
    assert np.abs(deviation).max() <= 4
    assert 0.6 <= (deviation**2).mean() <= 1.5  # χ² of 80: the standard errors are those of these draws
    # what is excluded is told apart by so many draws
    others = np.array([weights[i].sum() / (n - 1) * f.sum(0) for i, f in enumerate(repulsions(start.double().numpy()))])
    assert (np.abs((found - N_NEGATIVES * others) / error).max() > 4) == exclude


@both_exclusions
def test_excluded_cells_are_never_drawn_and_all_others_are(exclude):
    n = 30
    weights = some_weights(n, 0.3)
    weights[4], weights[:, 4] = 1, 1  # everybody's neighbor
    weights[4, 4] = 0
    epochs, seen = sampler(weights, exclude=exclude), np.zeros((n, n), int)
    for step in range(40):
        for draw in range(25):
            rows, found = epochs.drawn(counter_rng.key_of(7, step), torch.arange(n), draw)
            np.add.at(seen, (rows.numpy(), found.numpy()), 1)
    for i, cells in enumerate(never_drawn(weights, exclude)):
        allowed = [j for j in range(n) if j not in cells]
        assert (seen[i, list(cells)] == 0).all()
        assert seen[i].sum() == (1000 if allowed else 0)
        if allowed:
            expected = 1000 / len(allowed)
            assert ((seen[i, allowed] - expected) ** 2 / expected).sum() < chi2.isf(1e-5, max(1, len(allowed) - 1))


@both_exclusions
def test_same_bits_for_any_number_of_threads_and_again(exclude):
    """Three ranges of cells."""
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.normal(size=(2500, 5)).astype(np.float32))
    matrix = UMAPAffinity(10)(nearest_neighbors(features, 9))
    epochs = replace(sampler(np.ones((2, 2)) - np.eye(2), exclude=exclude), matrix=matrix)
    start, found = cells(2500, scale=5.0), []
    before = start.clone()
    for n_jobs in (1, 2, 8, 8):
        with backend.session(n_jobs):
            found.append(run(epochs, start, 4))
    assert all(torch.equal(again, found[0]) for again in found)
    assert torch.equal(start, before)
    assert not torch.equal(run(replace(epochs, seed=8), start, 4), found[0])


def test_a_run_in_two_calls_is_the_run_in_one():
    epochs, start = sampler(some_weights(50)), cells(50)
    at_constant_rate = lambda z, first, count: run_constant(epochs, z, first, count)  # noqa: E731
    assert torch.equal(at_constant_rate(at_constant_rate(start, 0, 4), 4, 3), at_constant_rate(start, 0, 7))


def run_constant(epochs, positions, first: int, count: int):
    for done in range(first, first + count):
        positions = run(epochs, positions, 1, first=done)
    return positions


# --- through embed ---


@pytest.fixture(scope="module")
def features(pbmc):
    return pbmc[:200].contiguous()


def test_epochs_of_embed_are_these_epochs(features):
    """Edges too weak to be sampled once are dropped, the largest weight is 1, and the rate falls to 0."""
    init = cells(200, scale=5.0)
    config = changed(umap(), repulsion="sampled", max_iter=20, init=init, n_jobs=2, random_state=3)
    result = embed(features, config)
    matrix = UMAPAffinity(15)(nearest_neighbors(features - features.double().mean(0).float(), 14))
    weights = matrix.weights / matrix.weights.max()
    kept = (weights >= 1 / 20).numpy()
    assert 0 < (~kept).sum() < matrix.n_edges / 2
    rows = np.repeat(np.arange(200), np.diff(matrix.indptr))[kept]
    indptr = torch.from_numpy(np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=200))]))
    strong = replace(matrix, indptr=indptr, indices=matrix.indices[kept], weights=weights[kept])
    a, b = (result.used["kwargs_affinity_out"][name] for name in "ab")
    epochs = SampledEpochs(strong, Rational(a, b, clip=4.0), RationalRepulsion(a, b), 5, False, 3)
    assert torch.equal(result.embedding, run(epochs, init, 20))
    assert result.n_edges == matrix.n_edges
    np.testing.assert_allclose(result.history["lr"], [1.0, 11 / 20, 1 / 20])
    np.testing.assert_array_equal(result.history["iteration"], [1, 10, 20])


@pytest.mark.parametrize("changes", [{}, {"exclude_neighbors": True}, {"n_components": 3}], ids=str)
def test_sampled_umap_keeps_neighbors(features, changes):
    result = embed(features, changed(umap(), repulsion="sampled", max_iter=200, **changes))
    orders = []
    for points in (features, result.embedding):
        sq_dist = _truth.sq_distances(points, points)
        np.fill_diagonal(sq_dist, np.inf)
        orders.append(sq_dist.argsort(1)[:, :15])
    recall = np.mean([np.isin(one, two).mean() for one, two in zip(*orders, strict=True)])
    assert recall > 0.4  # at random 0.08


def test_strong_edges_have_masses_and_a_total_that_belong_to_their_weights():
    rng = np.random.default_rng(0)
    weights = np.triu(rng.uniform(size=(30, 30)) ** 6, 1)
    strong = _strong_edges(PrecomputedAffinity(weights + weights.T, normalize=False)(), 50)
    dense = weights + weights.T
    dense = np.where(dense >= dense.max() / 50, dense / dense.max(), 0)
    np.testing.assert_allclose(_truth.dense(strong), dense, rtol=1e-6)
    np.testing.assert_allclose(strong.row_mass, dense.sum(1), rtol=1e-6)
    assert strong.total == pytest.approx(dense.sum(), rel=1e-6)
    assert 0 < (dense == 0).sum() - 30 < 30 * 29
