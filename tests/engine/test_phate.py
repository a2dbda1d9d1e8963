"""PHATE's potential distances: against the formula, and as what the affinity matcher is given."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

import sc_nembed as ne
from sc_nembed.engine.affinity import PHATEAffinity
from sc_nembed.engine.compute import backend
from sc_nembed.engine.graph import AffinityMatrix, DenseAffinity, KnnGraph
from sc_nembed.engine.neighbors import nearest_neighbors

from . import _truth

N = 150


@pytest.fixture(scope="module")
def points(pbmc) -> torch.Tensor:
    return pbmc[:N].contiguous()


@pytest.fixture(scope="module")
def graph(points) -> KnnGraph:
    return nearest_neighbors(points, N - 1)


def potential_distances(points: np.ndarray, k: int, alpha: float, t: int) -> np.ndarray:
    distances = np.sqrt(_truth.sq_distances(points, points))
    kernel = np.exp(-((distances / np.sort(distances, axis=1)[:, [k]]) ** alpha))  # the cell itself is in front
    kernel[kernel < 1e-4] = 0
    kernel = (kernel + kernel.T) / 2
    walk = np.linalg.matrix_power(kernel / kernel.sum(1, keepdims=True), t)
    potential = -np.log(walk + 1e-7)
    return cdist(potential, potential)


@pytest.mark.parametrize(("k", "alpha", "t"), [(5, 10.0, 5), (5, 40.0, 30), (10, 2.0, 1), (3, 10.0, 2)])
def test_values_are_the_potential_distances_with_a_minus_sign(points, graph, k, alpha, t):
    found = PHATEAffinity(k, alpha, t)(graph)
    assert isinstance(found, DenseAffinity)
    assert found.values.dtype == torch.float32
    assert found.n_rows == N
    values = found.values.numpy()
    assert np.array_equal(values, values.T)
    assert not values.diagonal().any()
    assert (values <= 0).all()
    expected = potential_distances(points.numpy(), k, alpha, t)
    assert np.abs(-values - expected).max() <= 1e-5 * expected.max()


def test_number_of_threads_changes_no_bit(pbmc):
    graph, found = nearest_neighbors(pbmc, len(pbmc) - 1), []
    for n_jobs in (1, 2):
        with backend.session(n_jobs):
            found.append(PHATEAffinity()(graph).values)
    assert torch.equal(*found)


def test_equal_cells_are_at_no_potential_distance(points):
    """Eight equal cells: more than k; their walks are the same."""
    features = torch.cat([points[:100], points[:1].expand(7, -1)])
    values = PHATEAffinity()(nearest_neighbors(features, 106)).values.numpy()
    equal = np.r_[0, 100:107]
    assert np.isfinite(values).all()
    assert np.abs(values[np.ix_(equal, equal)]).max() <= 1e-5 * np.abs(values).max()
    assert (values[0, 1:100] < 0).all()


def test_what_it_cannot_do_is_refused(graph):
    for make, message in (
        (lambda: PHATEAffinity(0), "`k` must be an integer of at least 1"),
        (lambda: PHATEAffinity(t=0), "`t` must be an integer of at least 1"),
        (lambda: PHATEAffinity(t=2.5), "`t` must be an integer"),
        (lambda: PHATEAffinity(alpha=-1.0), "`alpha` must be a positive"),
        (lambda: PHATEAffinity().n_neighbors(10_001), r"up to 10000 cells; there are 10001.*EntropicAffinity"),
        (lambda: PHATEAffinity()(KnnGraph(graph.indices[:, :20], graph.distances[:, :20])), "all pairs, 149 other"),
        (lambda: PHATEAffinity(N)(graph), rf"PHATEAffinity\({N}\) needs at least {N} neighbors"),
        (lambda: DenseAffinity(torch.zeros(3, 4)), r"shape \(n, n\); got \(3, 4\)"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


def stress(values: np.ndarray, positions: np.ndarray) -> float:
    """Σ (P − Q)² over Σ P², of negative distances."""
    return float(np.square(values + cdist(positions, positions)).sum() / np.square(values).sum())


def test_matcher_of_negative_distances_minimises_the_stress(points, graph):
    """As metric scaling does from the same start: scikit-learn's, by majorisation."""
    from sklearn.manifold import smacof

    values = PHATEAffinity()(graph).values.numpy().astype(float)
    matcher = ne.AffinityMatcher(ne.PHATEAffinity(), ne.NegativeDistanceAffinity(), random_state=0, max_iter=600)
    found = matcher.fit_transform(points.numpy())
    assert matcher.history_["loss"][-1] == pytest.approx(stress(values, found) * np.square(values).sum(), rel=1e-4)
    start = points[:, :2].numpy().astype(float)
    expected, _ = smacof(
        -values, n_components=2, init=start, n_init=1, max_iter=3000, eps=1e-9, normalized_stress=False
    )
    print(f"stress {stress(values, found):.4f}, of scikit-learn {stress(values, expected):.4f}")
    assert stress(values, found) <= 1.05 * stress(values, expected)


def test_matcher_takes_it_with_any_output_affinity_and_a_loss_of_values(points):
    for affinity_out, loss in (
        ("student", "square_loss"),
        ("gaussian", lambda p, log_q: (p - log_q.exp()).abs().sum()),
    ):
        fit = ne.AffinityMatcher(ne.PHATEAffinity(), affinity_out, loss_fn=loss, max_iter=20, random_state=0).fit(
            points
        )
        assert torch.isfinite(fit.embedding_).all()


def test_a_loss_of_negative_distances_is_given_values(points):
    def absolute(p, q):
        assert (p <= 0).all()
        assert (q <= 0).all()
        return (p - q).abs().sum()

    fit = ne.AffinityMatcher(
        ne.PHATEAffinity(), ne.NegativeDistanceAffinity(), loss_fn=absolute, max_iter=50, random_state=0
    )
    fit.fit(points)
    assert fit.history_["loss"][-1] < fit.history_["loss"][0]


def test_coincident_positions_have_a_finite_gradient():
    positions = torch.zeros(6, 2, requires_grad=True)
    ne.NegativeDistanceAffinity().matrix(positions).sum().backward()
    assert torch.equal(positions.grad, torch.zeros(6, 2))


@pytest.mark.parametrize("given", ["phate", PHATEAffinity()])
def test_methods_of_kernels_refuse_it(points, given):
    for method in (ne.TSNE, ne.UMAP, ne.SNE):
        with pytest.raises(ValueError, match=r"dense and negative, which method=.*affinity_matcher"):
            method(affinity_in=given).fit(points)


def test_methods_of_kernels_refuse_any_dense_affinity(points):
    class Mine:
        def n_neighbors(self, n_obs):
            return n_obs - 1

        def __call__(self, graph, features=None, *, symmetric=True):
            return DenseAffinity(torch.zeros(graph.n_obs, graph.n_obs))

    with pytest.raises(ValueError, match=r"dense and negative, which method='tsne'"):
        ne.TSNE(affinity_in=Mine()).fit(points)
    assert torch.isfinite(ne.AffinityMatcher(Mine(), "student", max_iter=5).fit_transform(points)).all()


def test_methods_of_kernels_refuse_negative_distances(points):
    for method in (ne.TSNE, ne.UMAP):
        with pytest.raises(ValueError, match=r"`affinity_out='negative_distance'` is dense and negative"):
            method(affinity_out="negative_distance").fit(points)


@pytest.mark.parametrize("loss", ["cross_entropy_loss", "binary_cross_entropy_loss"])
def test_losses_of_logarithms_refuse_negative_values(points, loss):
    with pytest.raises(ValueError, match=r"not negative, and this one has negative entries. Use 'square_loss'"):
        ne.AffinityMatcher(ne.PHATEAffinity(), "student", loss_fn=loss).fit(points)
    with pytest.raises(ValueError, match=r"takes logarithms, which negative distances do not have"):
        ne.AffinityMatcher(ne.EntropicAffinity(10), "negative_distance", loss_fn=loss).fit(points)


def test_a_spectral_start_is_refused(points):
    with pytest.raises(ValueError, match=r"`init='spectral'` has nothing to start from.*init='random'"):
        ne.AffinityMatcher(ne.PHATEAffinity(), "student", init="spectral").fit(points)


def test_to_dense_is_the_values():
    values = torch.randn(4, 4)
    assert DenseAffinity(values).to_dense() is values
    assert DenseAffinity(values).to(torch.device("cpu")).n_edges == 12
    assert not isinstance(DenseAffinity(values), AffinityMatrix)
