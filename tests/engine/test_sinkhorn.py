"""Q with given row sums: the term and the dense scaling against brute force, and embeddings by TSNEkhorn."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

import sc_nembed as ne
from _configs import changed
from sc_nembed.engine import radial_sum
from sc_nembed.engine.affinity import EntropicAffinity, PrecomputedAffinity, SymmetricEntropicAffinity, UniformAffinity
from sc_nembed.engine.kernel import Gaussian, Rational, StudentT
from sc_nembed.engine.neighbors import nearest_neighbors
from sc_nembed.engine.output_affinity import GaussianAffinity, OutputAffinity, RationalAffinity, StudentAffinity
from sc_nembed.engine.pipeline import embed
from sc_nembed.engine.presets import affinity_matcher, neighbor_embedding, tsnekhorn
from sc_nembed.engine.radial_sum import RADIAL_SUMS
from sc_nembed.engine.terms import Attraction, SinkhornPartition
from sc_nembed.engine.view import View
from sc_nembed.engine.world import SERIAL

from . import _truth

N = 40
KERNELS = {"student": StudentT(), "heavy": StudentT(0.5), "gaussian": Gaussian(2.0), "rational": Rational(1.5, 0.9)}
every_kernel = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)


def some_p(seed: int = 0, n: int = N) -> np.ndarray:
    """A symmetric P of sum 1 whose row sums differ."""
    rng = np.random.default_rng(seed)
    weights = rng.uniform(size=(n, n)) * (rng.uniform(size=(n, n)) < 0.4) * rng.uniform(0.2, 1, n)
    weights = weights + weights.T
    np.fill_diagonal(weights, 0)
    return weights / weights.sum()


def some_positions(n_components: int, n: int = N) -> np.ndarray:
    return 2 * np.random.default_rng(1).normal(size=(n, n_components))


def log_kernel(kernel, positions: np.ndarray) -> np.ndarray:
    log_q = kernel.log_value(torch.from_numpy(_truth.sq_distances(positions, positions))).numpy()
    np.fill_diagonal(log_q, -np.inf)
    return log_q


def scaled_by_hand(log_q: np.ndarray, row_sums: np.ndarray) -> np.ndarray:
    """Log Q by a Sinkhorn algorithm that scales rows and columns in turn, then is made symmetric."""
    rows, columns, q = np.ones(len(log_q)), np.ones(len(log_q)), np.exp(log_q)
    for _ in range(20_000):
        before, rows = rows, row_sums / (q @ columns)
        columns = row_sums / (q @ rows)
        if np.abs(rows / before - 1).max() < 1e-13:
            break
    both = np.log(rows * columns) / 2
    return log_q + both[:, None] + both


def kl_by_hand(kernel, p: np.ndarray, positions) -> float:
    log_q = scaled_by_hand(log_kernel(kernel, np.asarray(positions, float)), p.sum(1))
    return float((p[p > 0] * (np.log(p[p > 0]) - log_q[p > 0])).sum())


def term_of(kernel, p: np.ndarray, n_components: int = 2, counts=None, dtype=torch.float64) -> SinkhornPartition:
    plan = RADIAL_SUMS["torch"](
        kernel, n_components=n_components, tolerance=None, device=torch.device("cpu"), dtype=dtype, world=SERIAL
    )
    return SinkhornPartition(plan, torch.from_numpy(p.sum(1)), counts)


def converged(term: SinkhornPartition, positions: torch.Tensor) -> SinkhornPartition:
    for step in range(60):
        term = term.at_step(View.whole(positions), step)
    return term


@every_kernel
@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_gradient_equals_finite_differences_of_the_divergence(n_components, kernel):
    """Which follow f: the gradient of the term need not."""
    p, positions, step = some_p(), some_positions(n_components), 1e-5
    matrix, expected = PrecomputedAffinity(p)(), np.empty((N, n_components))
    p = _truth.dense(matrix)
    for entry in [(0, 0), (7, n_components - 1), (23, 0), (39, n_components - 1)]:
        moved = np.zeros_like(positions)
        moved[entry] = step
        expected = (kl_by_hand(kernel, p, positions + moved) - kl_by_hand(kernel, p, positions - moved)) / (2 * step)
        points = torch.from_numpy(positions)
        term, view = converged(term_of(kernel, p, n_components), points), View.whole(points)
        gradient = term(view, value=False).gradient + Attraction(matrix, kernel)(view, value=False).gradient
        assert float(gradient[entry]) == pytest.approx(expected, rel=1e-5, abs=1e-8)


@every_kernel
def test_value_makes_the_loss_the_divergence(kernel):
    matrix, positions = PrecomputedAffinity(some_p())(), some_positions(2)
    p, points = _truth.dense(matrix), torch.from_numpy(positions)
    term = converged(term_of(kernel, p), points)
    loss = float(
        Attraction(matrix, kernel)(View.whole(points), value=True).value + term(View.whole(points), value=True).value
    )
    assert loss + (p[p > 0] * np.log(p[p > 0])).sum() == pytest.approx(kl_by_hand(kernel, p, positions), rel=1e-10)
    q = np.exp(log_kernel(kernel, positions) + term.log_scale.numpy()[:, None] + term.log_scale.numpy())
    np.testing.assert_allclose(q.sum(1), p.sum(1), rtol=1e-10)


def test_a_step_leaves_a_fortieth_of_the_error_and_the_term_as_it_was():
    p, positions = some_p(), torch.from_numpy(some_positions(2))
    exact = converged(term_of(StudentT(), p), positions)
    near = replace(exact, log_scale=exact.log_scale + 0.05 * torch.from_numpy(np.random.default_rng(2).normal(size=N)))
    before = near.log_scale.clone()
    after = near.at_step(View.whole(positions), 5).log_scale - exact.log_scale
    assert after.abs().max() < (before - exact.log_scale).abs().max() / 40
    assert torch.equal(near.log_scale, before)


def test_curvature_is_four_fifths_of_the_row_sums():
    p, positions = some_p(), torch.from_numpy(some_positions(2))
    force = term_of(StudentT(), p)(View.whole(positions), value=False)  # which finds its f by itself
    np.testing.assert_allclose(force.curvature, 0.8 * p.sum(1))
    assert force.value is None


def test_a_row_that_stands_for_several_cells_counts_them():
    counts = torch.from_numpy(np.random.default_rng(3).integers(1, 4, N).astype(float))
    p, positions = some_p(), torch.from_numpy(some_positions(2))
    which = np.repeat(np.arange(N), counts.numpy().astype(int))
    each = p.sum(1)[which] / counts.numpy()[which]
    merged = converged(term_of(StudentT(), p, counts=counts), positions)
    apart = converged(replace(term_of(StudentT(), p), row_sums=torch.from_numpy(each)), positions[which])
    np.testing.assert_allclose(merged.log_scale[which], apart.log_scale, atol=1e-10)
    found, expected = (term(View.whole(z), value=True) for term, z in ((merged, positions), (apart, positions[which])))
    assert float(found.value) == pytest.approx(float(expected.value), rel=1e-10)
    summed = torch.zeros_like(positions).index_add_(0, torch.from_numpy(which), expected.gradient)
    assert _truth.relative(found.gradient, summed) <= 1e-10


# the dense scaling


@every_kernel
def test_dense_rows_sum_to_one_over_n(kernel):
    positions = torch.from_numpy(some_positions(2))
    log_q = OutputAffinity(kernel, "sinkhorn").log_matrix(positions)
    expected = scaled_by_hand(log_kernel(kernel, positions.numpy()), np.full(N, 1 / N))
    np.testing.assert_allclose(log_q.exp(), np.exp(expected), rtol=1e-9)
    in_float32 = OutputAffinity(kernel, "sinkhorn").log_matrix(positions.float())
    np.testing.assert_allclose(in_float32.exp().sum(1), 1 / N, rtol=1e-5)


def test_dense_scaling_of_cells_far_from_all_others():
    positions = torch.from_numpy(some_positions(2))
    positions[:4] += 20.0  # Gaussians that float32 does not tell from 0
    log_q = GaussianAffinity(1.0, "sinkhorn").resolve().log_matrix(positions.float())
    np.testing.assert_allclose(log_q.exp().sum(1), 1 / N, rtol=1e-4)


@every_kernel
def test_dense_scaling_follows_its_factors(kernel):
    weights = torch.from_numpy(np.random.default_rng(4).normal(size=(8, 8)))
    others = ~torch.eye(8, dtype=torch.bool)

    def loss(positions):
        return (weights[others] * OutputAffinity(kernel, "sinkhorn").log_matrix(positions)[others]).sum()

    positions = torch.from_numpy(some_positions(2, 8)).requires_grad_()
    assert torch.autograd.gradcheck(loss, positions, eps=1e-6, atol=1e-6, rtol=1e-5)


def test_matcher_with_cross_entropy_has_the_gradient_of_the_term():
    """Where P is doubly stochastic; one way goes through the dense scaling, the other by the envelope theorem."""
    p = np.exp(scaled_by_hand(np.where(np.eye(N) > 0, -np.inf, np.log(some_p() + 1e-3)), np.full(N, 1 / N)))
    leaf = torch.from_numpy(some_positions(2)).requires_grad_()
    others = ~torch.eye(N, dtype=torch.bool)
    log_q = StudentAffinity(normalization="sinkhorn").resolve().log_matrix(leaf)
    (expected,) = torch.autograd.grad(-(torch.from_numpy(p)[others] * log_q[others]).sum(), leaf)
    points, matrix = leaf.detach(), PrecomputedAffinity(p)()
    found = converged(term_of(StudentT(), p), points)(View.whole(points), value=False).gradient
    found = found + Attraction(matrix, StudentT())(View.whole(points), value=False).gradient
    assert _truth.relative(found, expected) <= 1e-5  # P in float32


def test_dense_scaling_equals_that_of_torchdr():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torchdr = pytest.importorskip("torchdr")
    positions = torch.from_numpy(some_positions(2))
    theirs = torchdr.SinkhornAffinity(base_kernel="student", tol=1e-12, max_iter=2000)(positions)
    ours = StudentAffinity(normalization="sinkhorn").resolve().log_matrix(positions).exp()
    assert _truth.relative(ours, theirs) <= 1e-8  # its diagonal is a squared distance of 1e12


def test_matcher_of_a_scaled_output_affinity_lowers_its_loss(pbmc):
    config = changed(
        affinity_matcher(), affinity_out=StudentAffinity(normalization="sinkhorn"), lr=0.1, max_iter=40,
        loss_fn="cross_entropy_loss", affinity_in=SymmetricEntropicAffinity(20),
    )  # fmt: skip
    loss = embed(pbmc[:150].contiguous(), config).history["loss"]
    assert loss[-1] < loss[0] - 0.2


# embeddings


@pytest.fixture(scope="module")
def watched(pbmc):
    """A run, and the largest relative error of the rows of Q before each of its steps."""
    errors, call = [], SinkhornPartition.__call__

    def watch(self, positions, *, value):
        mass, _ = self._sums(positions, self.log_scale)
        errors.append(float((self.log_scale + mass.log() - self.row_sums.log()).abs().max()))
        return call(self, positions, value=value)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SinkhornPartition, "__call__", watch)
        return embed(pbmc, tsnekhorn()), errors


@pytest.fixture(scope="module")
def run(watched):
    return watched[0]


@pytest.fixture(scope="module")
def p_of(pbmc) -> np.ndarray:
    return _truth.dense(SymmetricEntropicAffinity(30)(nearest_neighbors(pbmc, 699)))


def test_rows_of_q_are_those_of_p_after_a_run(pbmc, run, p_of):
    """Both doubly stochastic; the f are those of the last step, which the reported divergence is made with."""
    np.testing.assert_allclose(p_of.sum(1), 1 / 700, rtol=1e-5)
    assert run.kl_divergence == pytest.approx(kl_by_hand(StudentT(), p_of, run.embedding), rel=1e-5)
    assert run.used["affinity_in"] == "symmetric_entropic"
    assert run.used["kwargs_affinity_out"] == {"dof": 1.0, "normalization": "sinkhorn"}


def test_rows_of_q_are_within_their_tolerance_at_every_step(watched):
    _, errors = watched
    assert max(errors) <= 1e-2
    assert errors[-1] <= 1e-3


def test_divergence_is_below_that_of_the_embedding_by_tsne(run, p_of, pbmc):
    matrix = PrecomputedAffinity(p_of.astype(np.float32))()
    of_tsne = embed(matrix, changed(tsnekhorn(), affinity_out=StudentAffinity()), features=pbmc)
    assert run.kl_divergence < kl_by_hand(StudentT(), p_of, of_tsne.embedding)


@pytest.mark.parametrize("of", ["symmetric entropic", "graph"])
def test_grid_reaches_the_divergence_of_exact_sums(pbmc, run, p_of, monkeypatch, of):
    graph = nearest_neighbors(pbmc, 14)
    source = graph if of == "graph" else PrecomputedAffinity(p_of.astype(np.float32))()
    exact = embed(source, tsnekhorn(), features=pbmc)
    monkeypatch.setitem(radial_sum.EXACT_CELLS, 2, 0)
    on_grid = embed(source, tsnekhorn(), features=pbmc)
    assert on_grid.resolved["radial_sum"] == "fft"
    p = _truth.dense(UniformAffinity(14)(graph)) if of == "graph" else p_of
    found = kl_by_hand(StudentT(), p, on_grid.embedding)
    assert on_grid.kl_divergence == pytest.approx(found, rel=1e-4)
    assert found == pytest.approx(kl_by_hand(StudentT(), p, exact.embedding), rel=0.01)


@pytest.mark.parametrize(
    "affinity_out", [GaussianAffinity(2.0, "sinkhorn"), RationalAffinity(normalization="sinkhorn")], ids=str
)
def test_other_kernels_are_scaled_too(pbmc, affinity_out):
    points = pbmc[:300].contiguous()
    config = changed(neighbor_embedding(), affinity_in=EntropicAffinity(15), affinity_out=affinity_out)
    found = embed(points, config)
    p = _truth.dense(EntropicAffinity(15)(nearest_neighbors(points, 45)))
    assert found.kl_divergence == pytest.approx(kl_by_hand(affinity_out.resolve().kernel, p, found.embedding), rel=1e-4)
    assert found.resolved["radial_sum"] == "torch"


def test_gaussian_of_too_many_cells_is_refused(pbmc, monkeypatch):
    monkeypatch.setattr(radial_sum, "EXACT_LIMIT", 500)
    monkeypatch.setitem(radial_sum.EXACT_CELLS, 2, 500)
    config = changed(neighbor_embedding(), affinity_out=GaussianAffinity(1.0, "sinkhorn"))
    with pytest.raises(ValueError, match=r"exact sums .* up to 500 cells; got 700"):
        embed(pbmc, config)


@pytest.mark.parametrize("exact_cells", [3_500, 0])
def test_same_bits_for_any_number_of_threads(pbmc, monkeypatch, exact_cells):
    monkeypatch.setitem(radial_sum.EXACT_CELLS, 2, exact_cells)
    graph = nearest_neighbors(pbmc, 14)
    one, two = (
        embed(graph, changed(tsnekhorn(), n_jobs=n_jobs, max_iter=40), features=pbmc).embedding for n_jobs in (1, 2)
    )
    assert torch.equal(one, two)


@pytest.mark.parametrize(
    ("given", "affinity_in", "perplexity"),
    [
        ({}, "symmetric_entropic", 30.0),
        ({"perplexity": 12}, "symmetric_entropic", 12.0),
        ({"affinity_in": "entropic"}, "entropic", 30.0),
        ({"n_neighbors": 10}, "uniform", None),
    ],
)
def test_affinity_of_a_representation(pbmc, given, affinity_in, perplexity):
    used = embed(pbmc[:150].contiguous(), changed(tsnekhorn(), max_iter=10, **given)).used
    assert (used["affinity_in"], used.get("perplexity")) == (affinity_in, perplexity)


def test_affinity_of_a_finished_graph_is_that_of_tsne(pbmc):
    graph = nearest_neighbors(pbmc, 40)
    assert embed(graph, changed(tsnekhorn(), max_iter=10)).used["affinity_in"] == "uniform"
    assert embed(graph, changed(tsnekhorn(), max_iter=10, perplexity=10)).used["affinity_in"] == "entropic"


def test_perplexity_of_few_cells_is_lowered():
    points = torch.from_numpy(np.random.default_rng(0).normal(size=(25, 5)).astype(np.float32))
    assert embed(points, changed(tsnekhorn(), max_iter=10)).used["perplexity"] == 8.0


def test_equal_cells_can_be_merged(pbmc):
    points = np.repeat(pbmc[:60].numpy(), 2, axis=0)
    found = ne.TSNEkhorn(process_duplicates=True, perplexity=10, max_iter=50).fit(points)
    assert np.isfinite(found.embedding_).all()
    np.testing.assert_array_equal(found.embedding_[::2], found.embedding_[1::2])
    assert found.history_["loss"][-1] < found.history_["loss"][0]


def test_neighborhoods_are_those_of_torchdr_or_better(real_features, data_dir):
    """TSNEkhorn of TorchDR 0.5 (2 000 steps, its own P) keeps .414 of the 10 nearest neighbors; KL with our P 1.193."""
    points = real_features("snareseq")
    found = embed(points, tsnekhorn())
    nearest = [
        NearestNeighbors(n_neighbors=11).fit(part).kneighbors(part, return_distance=False)[:, 1:]
        for part in (points.numpy(), found.embedding.numpy())
    ]
    recall = np.mean([len(set(left) & set(right)) / 10 for left, right in zip(*nearest, strict=True)])
    assert recall >= 0.414 - 0.01
    assert found.kl_divergence <= 1.0
