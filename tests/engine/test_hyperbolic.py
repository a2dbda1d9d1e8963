"""The Poincaré ball, Riemannian Adam, and the terms and embeddings of CO-SNE, against formulas of their own."""

import warnings

import anndata as ad
import numpy as np
import pytest
import torch

import sc_nembed as ne
from _configs import changed
from sc_nembed.engine import poincare
from sc_nembed.engine.affinity import EntropicAffinity, PrecomputedAffinity
from sc_nembed.engine.configure import configured
from sc_nembed.engine.neighbors import nearest_neighbors
from sc_nembed.engine.optimize.protocol import StepOptions
from sc_nembed.engine.optimize.riemannian_adam import RiemannianAdam
from sc_nembed.engine.optimize.schedule import Phase, unroll
from sc_nembed.engine.pipeline import embed
from sc_nembed.engine.presets import cosne
from sc_nembed.engine.terms import Force, HyperbolicAttraction, HyperbolicPartition, NormTerm
from sc_nembed.engine.view import View

from . import _truth

N, GAMMA = 40, 0.7
(SETTING,) = unroll((Phase("only", 1, {}, 0.1),))


def in_ball(n: int, n_components: int, seed: int = 0, largest: float = 0.95) -> np.ndarray:
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(n, n_components))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return directions * rng.uniform(0, largest, (n, 1))


def some_p(n: int = N):
    rng = np.random.default_rng(0)
    return PrecomputedAffinity(rng.uniform(size=(n, n)) * (rng.uniform(size=(n, n)) < 0.3))()


def distances(z) -> np.ndarray:
    z = np.asarray(z, float)
    room = 1 - (z**2).sum(1)
    return np.arccosh(1 + 2 * _truth.sq_distances(z, z) / np.outer(room, room))


def kernel(z, gamma: float = GAMMA) -> np.ndarray:
    return gamma / (distances(z) ** 2 + gamma**2)  # as in the paper


def attraction_by_hand(p, z, gamma: float = GAMMA) -> float:
    return -(p * np.log(kernel(z, gamma))).sum()


def repulsion_by_hand(p, z, gamma: float = GAMMA) -> float:
    q = kernel(z, gamma)
    return p.sum() * np.log(q.sum() - np.trace(q))


def norm_by_hand(sq_norms, z) -> float:
    from_origin = np.arccosh(1 + 2 * (z**2).sum(1) / (1 - (z**2).sum(1)))
    return ((sq_norms - from_origin**2) ** 2).mean()


def kl_by_hand(p, z, gamma: float) -> float:
    present = p[p > 0]
    return attraction_by_hand(p, z, gamma) + repulsion_by_hand(p, z, gamma) + (present * np.log(present)).sum()


# the ball


def moebius(z, w):
    """The isometry of the disc, as complex numbers, that takes 0 to z."""
    return (w + z) / (1 + np.conj(z) * w)


def exponential_by_hand(z, v):
    return moebius(z, np.tanh(abs(v) / (1 - abs(z) ** 2)) * v / abs(v))


def transport_by_hand(z, y, v):
    """The derivative at z of the translation along the geodesic through z and y that takes z to y."""
    there = (y - z) / (1 - np.conj(z) * y)
    return v / (1 - abs(z) ** 2) * (1 - abs(there) ** 2) * (1 - np.conj(z) * y) ** 2 / (1 - abs(z) ** 2)


def as_complex(points) -> np.ndarray:
    return np.asarray(points)[:, 0] + 1j * np.asarray(points)[:, 1]


def test_geometry_of_the_disc_equals_that_of_complex_numbers():
    z, y = (torch.from_numpy(in_ball(30, 2, seed)) for seed in (1, 2))
    v = torch.from_numpy(0.3 * np.random.default_rng(3).normal(size=(30, 2)))
    expected = exponential_by_hand(as_complex(z), as_complex(v))
    np.testing.assert_allclose(as_complex(poincare.exponential(z, v)), expected, rtol=1e-12)
    np.testing.assert_allclose(
        as_complex(poincare.transport(z, y, v)), transport_by_hand(*(as_complex(part) for part in (z, y, v))), rtol=1e-9
    )
    np.testing.assert_allclose(poincare.exponential(z, torch.zeros_like(v)), z, rtol=1e-14)


@pytest.mark.parametrize("n_components", [1, 2, 3, 5])
def test_exponential_map_goes_as_far_as_the_vector_is_long(n_components):
    z = torch.from_numpy(in_ball(30, n_components))
    v = torch.from_numpy(np.random.default_rng(4).normal(size=(30, n_components))) / poincare.conformal(z)
    moved = poincare.exponential(z, v)
    far = np.array([distances(torch.stack(pair))[0, 1] for pair in zip(z, moved, strict=True)])
    np.testing.assert_allclose(far, (v.norm(dim=1) * poincare.conformal(z)[:, 0]), rtol=1e-8)
    # the velocity at the end, carried along, leads back
    back = poincare.exponential(moved, -poincare.transport(z, moved, v))
    np.testing.assert_allclose(back, z, atol=1e-9)


def test_tangent_vectors_at_the_origin_go_out_and_in_again():
    tangent = torch.from_numpy(np.random.default_rng(5).normal(size=(30, 3)))
    z = poincare.from_origin(tangent)
    np.testing.assert_allclose(2 * np.arctanh(z.norm(dim=1).numpy()), tangent.norm(dim=1), rtol=1e-12)
    np.testing.assert_allclose(poincare.to_origin(z), tangent, rtol=1e-10)
    assert float(poincare.from_origin(100 * tangent).float().norm(dim=1).max()) < 1
    assert torch.equal(poincare.from_origin(0 * tangent), 0 * tangent)


def test_two_steps_of_adam_by_hand():
    z, gradients = in_ball(20, 2), 1e-3 * np.random.default_rng(6).normal(size=(2, 20, 2))
    optimizer, rate = RiemannianAdam(betas=(0.8, 0.95), eps=1e-9), 0.2
    points = torch.from_numpy(z)
    state = optimizer.start(points, SETTING, None)
    here, first, second = as_complex(z), 0, 0
    for step, gradient in enumerate(gradients, 1):
        force = Force(torch.from_numpy(gradient), None, None)
        points, state = optimizer.step(points, [(0.25, force), (0.75, force)], state, StepOptions(rate))
        metric = (2 / (1 - abs(here) ** 2)) ** 2
        riemannian = as_complex(gradient) / metric
        first = 0.8 * first + 0.2 * riemannian
        second = 0.95 * second + 0.05 * metric * abs(riemannian) ** 2
        move = rate * first / (1 - 0.8**step) / (np.sqrt(second / (1 - 0.95**step)) + 1e-9)
        there = exponential_by_hand(here, -move)
        first, here = transport_by_hand(here, there, first), there
        np.testing.assert_allclose(as_complex(points), here, rtol=1e-9)


def test_first_step_of_adam_equals_that_of_torchdr():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torchdr = pytest.importorskip("torchdr")
    z, gradient = (torch.from_numpy(part) for part in (in_ball(20, 3), np.random.default_rng(7).normal(size=(20, 3))))
    ball = torchdr.utils.PoincareBallManifold()
    theirs = torchdr.utils.ManifoldParameter(z.clone(), requires_grad=True, manifold=ball, c=1)
    theirs.grad = gradient.clone()
    torchdr.utils.RiemannianAdam([theirs], lr=0.1, betas=(0.9, 0.999)).step()
    optimizer = RiemannianAdam(betas=(0.9, 0.999))
    state = optimizer.start(z, SETTING, None)
    ours, _ = optimizer.step(z, [(1.0, Force(gradient, None, None))], state, StepOptions(0.1))
    assert _truth.relative(ours, theirs.detach()) <= 1e-6


@pytest.mark.parametrize("rate", [0.1, 50.0])
def test_no_step_leaves_the_ball_in_float32(rate):
    points = torch.from_numpy(in_ball(200, 2, largest=0.99999)).float()
    optimizer = RiemannianAdam()
    state = optimizer.start(points, SETTING, None)
    for _ in range(30):
        force = Force(-points * 1e3, None, None)  # outward
        points, state = optimizer.step(points, [(1.0, force)], state, StepOptions(rate))
        assert points.dtype == torch.float32
        assert float(points.double().norm(dim=1).max()) <= poincare.LARGEST_NORM + 1e-7
        assert torch.isfinite(points).all()


# the terms


@pytest.mark.parametrize("n_components", [1, 2, 3, 4])
def test_gradients_and_values_equal_finite_differences_and_brute_force(n_components):
    matrix, z = some_p(), in_ball(N, n_components)
    p, sq_norms = _truth.dense(matrix), np.random.default_rng(8).uniform(0, 9, N)
    terms = {
        "attraction": (HyperbolicAttraction(matrix, GAMMA), lambda z: attraction_by_hand(p, z)),
        "repulsion": (HyperbolicPartition(GAMMA, matrix.total), lambda z: repulsion_by_hand(p, z)),
        "norm": (NormTerm(torch.from_numpy(sq_norms)), lambda z: norm_by_hand(sq_norms, z)),
    }
    # q is 1 at distance 0, γ times that of the paper; the sum of the two losses is the same
    more = {"attraction": -np.log(GAMMA) * p.sum(), "repulsion": np.log(GAMMA) * p.sum(), "norm": 0.0}
    for name, (term, loss) in terms.items():
        found = term(View.whole(torch.from_numpy(z)), value=True)
        assert float(found.value) - more[name] == pytest.approx(loss(z), rel=1e-6), name
        assert found.curvature is None
        assert term(View.whole(torch.from_numpy(z)), value=False).value is None
        expected = np.empty_like(z)
        for entry in np.ndindex(z.shape):
            moved = np.zeros_like(z)
            moved[entry] = 1e-6
            expected[entry] = (loss(z + moved) - loss(z - moved)) / 2e-6
        assert _truth.relative(found.gradient, expected) <= 1e-6, name


@pytest.mark.parametrize("n_components", [1, 2, 3])
@pytest.mark.parametrize("largest", [1e-4, 0.5, 0.999, 0.99999])
def test_float32_equals_float64(n_components, largest):
    """Up to the edge of the ball, and where cells meet."""
    matrix, z = some_p(300), torch.from_numpy(in_ball(300, n_components, largest=largest)).float()
    z[1] = z[0]
    z[3] = 0
    for term in (HyperbolicAttraction(matrix, GAMMA), HyperbolicPartition(GAMMA, matrix.total)):
        found, expected = (term(View.whole(part), value=True) for part in (z, z.double()))
        assert found.gradient.dtype == torch.float32
        assert _truth.relative(found.gradient, expected.gradient) <= 2e-5
        assert float(found.value) == pytest.approx(float(expected.value), rel=2e-6, abs=1e-6)
        assert torch.isfinite(found.gradient).all()
        assert torch.isfinite(expected.gradient).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_a_row_that_stands_for_several_cells_counts_them(dtype):
    counts = torch.from_numpy(np.random.default_rng(3).integers(1, 4, N).astype(float))
    which, z = np.repeat(np.arange(N), counts.numpy().astype(int)), torch.from_numpy(in_ball(N, 2)).to(dtype)
    sq_norms = torch.from_numpy(np.random.default_rng(8).uniform(0, 9, N))
    for merged, apart in (
        (HyperbolicPartition(GAMMA, 1.0, counts.to(dtype)), HyperbolicPartition(GAMMA, 1.0)),
        (NormTerm(sq_norms, counts.to(dtype)), NormTerm(sq_norms[which])),
    ):
        found, expected = merged(View.whole(z), value=True), apart(View.whole(z[which]), value=True)
        assert float(found.value) == pytest.approx(float(expected.value), rel=1e-6)
        summed = torch.zeros_like(z).index_add_(0, torch.from_numpy(which), expected.gradient)
        assert _truth.relative(found.gradient, summed) <= 1e-5


# embeddings


def run(source, features=None, **given):
    options = {name: given.pop(name) for name in ("gamma", "norm_strength", "norm_scale") if name in given}
    return embed(source, changed(configured(cosne(), options), **given), features=features)


def norms(embedding: torch.Tensor) -> torch.Tensor:
    return embedding.double().norm(dim=1)


def test_loss_is_divergence_and_norm_term_and_cells_are_in_the_ball(pbmc):
    found = run(pbmc, max_iter=60)
    z, options = found.embedding.double().numpy(), found.config.options
    p = _truth.dense(EntropicAffinity(30)(nearest_neighbors(pbmc, 90)))
    assert float(norms(found.embedding).max()) < 1
    assert found.kl_divergence == pytest.approx(kl_by_hand(p, z, options.gamma), rel=1e-5)
    sq_norms = pbmc.double().square().sum(1).numpy()
    norm = norm_by_hand(sq_norms * 4 / sq_norms.mean(), z)
    assert found.history["norm"][-1] == pytest.approx(norm, rel=1e-5)
    assert found.history["loss"][-1] == pytest.approx(found.kl_divergence + 0.01 * norm, rel=1e-6)
    assert found.kl_divergence < found.history["loss"][0] - 0.5
    assert found.used["init"] == "hyperbolic"


def test_norm_term_puts_small_cells_near_the_origin(pbmc):
    from_origin = 2 * np.arctanh(norms(run(pbmc, norm_strength=1.0, max_iter=200).embedding).numpy())
    wanted = pbmc.double().norm(dim=1).numpy()
    wanted *= 2 / np.sqrt((wanted**2).mean())
    assert np.median(np.abs(from_origin - wanted)) < 0.05
    without = 2 * np.arctanh(norms(run(pbmc, norm_strength=0.0, max_iter=200).embedding).numpy())
    assert np.median(np.abs(without - wanted)) > 1


def test_unit_of_the_features_does_not_matter_unless_asked_for(pbmc):
    usual, other = (run(part, max_iter=30).embedding for part in (pbmc, pbmc * 8))
    np.testing.assert_allclose(usual, other, atol=1e-4)
    scaled, as_given = run(pbmc, norm_scale=0.125, max_iter=30), run(pbmc / 8, norm_scale=1.0, max_iter=30)
    np.testing.assert_allclose(scaled.embedding, as_given.embedding, atol=1e-4)
    assert scaled.history["norm"][-1] != pytest.approx(run(pbmc, max_iter=30).history["norm"][-1], rel=0.1)


def test_same_bits_for_any_number_of_threads(pbmc):
    one, two = (run(pbmc, n_jobs=n_jobs, max_iter=30).embedding for n_jobs in (1, 2))
    assert torch.equal(one, two)


@pytest.mark.parametrize("n_components", [1, 3, 4])
def test_other_numbers_of_dimensions(pbmc, n_components):
    found = run(pbmc[:150].contiguous(), n_components=n_components, max_iter=40)
    assert found.embedding.shape == (150, n_components)
    assert float(norms(found.embedding).max()) < 1
    assert found.history["loss"][-1] < found.history["loss"][0]


@pytest.mark.parametrize("init", ["pca", "spectral", "random", "hyperbolic"])
def test_named_starts_are_scaled_by_distances_from_the_origin(pbmc, init):
    matrix = EntropicAffinity(30)(nearest_neighbors(pbmc, 90))
    start, used = poincare.start_in_ball(init, 1.5, features=pbmc, matrix=matrix, n_components=2, seed=0)
    assert used == init
    assert float(norms(start).max()) < 1
    tangent = poincare.to_origin(start.double())
    assert float(tangent[:, 0].std(correction=0)) == pytest.approx(1.5, rel=1e-2)
    assert run(pbmc, init=init, max_iter=5).used["init"] == init


def test_array_stays_where_it_is_and_must_lie_in_the_ball(pbmc):
    start = torch.from_numpy(in_ball(700, 2)).float()
    before = start.clone()
    slow = run(pbmc, init=start, lr=1e-7, max_iter=1, norm_strength=0.0)
    np.testing.assert_allclose(slow.embedding, start, atol=1e-6)
    assert torch.equal(start, before)
    shrunk, _ = poincare.start_in_ball(start, 0.1, features=None, matrix=None, n_components=2, seed=0)
    assert float(poincare.to_origin(shrunk.double())[:, 0].std(correction=0)) == pytest.approx(0.1, rel=1e-5)
    start[5] = torch.tensor([1.5, 0.0])
    with pytest.raises(ValueError, match=r"unit ball.* 1 cells do not, the first in row 5, of norm 1\.5"):
        run(pbmc, init=start)


@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_cells_without_neighbors_stay_in_the_ball(pbmc, n_components):
    weights = _truth.dense(EntropicAffinity(5)(nearest_neighbors(pbmc[:60].contiguous(), 15)))
    alone = torch.tensor([3, 17, 40])
    weights[alone], weights[:, alone] = 0, 0
    with pytest.warns(UserWarning, match="3 cells have no neighbors"):
        found = run(PrecomputedAffinity(weights)(), n_components=n_components, norm_strength=0.0, max_iter=200)
    length = norms(found.embedding)
    others = torch.ones(60, dtype=torch.bool)
    others[alone] = False
    assert float(length.max()) < 1
    expected = np.tanh(1.05 * np.arctanh(float(length[others].max())))
    np.testing.assert_allclose(length[alone], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"optimizer": "Adam"}, "`optimizer` has no effect.* unit ball"),
        ({"encoder": torch.nn.Linear(50, 2)}, "`encoder` has no effect.* unit ball"),
        ({"affinity_out": "student"}, "`affinity_out` has no effect with method='cosne'"),
        ({"kwargs_affinity_out": {"dof": 2.0}}, "`kwargs_affinity_out` has no effect with method='cosne'"),
        ({"gamma": 0.0}, "`gamma` must be a positive number; got 0.0"),
        ({"gamma": "large"}, "`gamma` must be a positive number"),
        ({"norm_strength": -1.0}, "`norm_strength` must be a number of at least 0"),
        ({"norm_scale": 0}, "`norm_scale` must be a positive number"),
        ({"optimizer_kwargs": {"betas": (0.9, 1.0)}}, "`betas` must be two numbers"),
        ({"lr": 50.0}, r"`lr=50.0` is too large.* distance"),
        ({"norm_scale": 1.0}, r"root mean square norm .* beyond the 12\.2 of the ball"),
    ],
)
def test_wrong_parameters_are_explained(pbmc, given, message):
    with pytest.raises(ValueError, match=message):
        run(pbmc * 3, **given)


def test_source_without_features_is_explained(pbmc):
    graph = nearest_neighbors(pbmc, 15)
    with pytest.raises(ValueError, match=r"norms of features .*`norm_strength=0`.* this source has none"):
        run(graph)
    assert "norm" not in run(graph, norm_strength=0.0, max_iter=10).history


def test_too_many_cells_are_refused():
    with pytest.raises(ValueError, match="up to 10000 cells; got 10001"):
        run(torch.rand(10_001, 3))


def test_equal_cells_can_be_merged(pbmc):
    found = ne.COSNE(process_duplicates=True, perplexity=10, max_iter=50).fit(np.repeat(pbmc[:60].numpy(), 2, axis=0))
    np.testing.assert_array_equal(found.embedding_[::2], found.embedding_[1::2])
    assert found.history_["loss"][-1] < found.history_["loss"][0]


def test_tool_records_what_it_did(pbmc):
    adata = ad.AnnData(np.zeros((700, 1), np.float32), obsm={"X_pca": pbmc.numpy()})
    ne.tl.neighbor_embedding(adata, method="CO-SNE", use_rep="X_pca", gamma=1.0, norm_scale=0.1, max_iter=10)
    recorded = adata.uns["ne"]["params"]
    assert {"gamma": 1.0, "norm_strength": 0.01, "norm_scale": 0.1, "method": "cosne"}.items() <= recorded.items()
    assert "affinity_out" not in recorded
    assert np.linalg.norm(adata.obsm["X_ne"], axis=1).max() < 1
    with pytest.raises(TypeError, match=r"available: \['gamma', 'norm_strength', 'norm_scale'\]"):
        ne.tl.neighbor_embedding(adata, method="cosne", use_rep="X_pca", dof=2.0)


def test_quality_is_that_of_torchdr_or_better(real_features, data_dir):
    """CO-SNE of TorchDR 0.5 with the parameters of its single-cell example (gamma 0.5, 0.01, lr 0.1, 500 steps, these
    features): divergence 1.485, norm term 16.6, .370 of the 10 nearest neighbors kept, .975 of the labels by a vote.
    """
    points = real_features("snareseq") / 100
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        labels = ad.read_h5ad(data_dir / "snareseq.h5ad").obs["label"].to_numpy().astype(int)
    found = run(points, gamma=0.5, norm_strength=0.01, norm_scale=1.0, perplexity=30)
    near = [np.argsort(d + 1e9 * np.eye(len(d)), 1)[:, :10] for d in (
        _truth.sq_distances(points, points), distances(found.embedding))]  # fmt: skip
    recall = np.mean([len(set(left) & set(right)) / 10 for left, right in zip(*near, strict=True)])
    accuracy = np.mean([np.bincount(labels[row]).argmax() == label for row, label in zip(near[1], labels, strict=True)])
    assert recall >= 0.370 - 0.01
    assert accuracy >= 0.975 - 0.02
    assert found.history["loss"][-1] <= 1.485 + 0.166 + 0.01
