"""Input affinities of all pairs: against sums over all pairs in float64, and the conditions that define them."""

import warnings

import numpy as np
import pytest
import torch

from sc_nembed.engine.affinity import (
    AFFINITIES,
    DoublyStochasticQuadraticAffinity,
    NormalizedGaussianAffinity,
    NormalizedStudentAffinity,
    SinkhornAffinity,
    SymmetricEntropicAffinity,
    _all_pairs,
)
from sc_nembed.engine.compute import backend
from sc_nembed.engine.graph import KnnGraph
from sc_nembed.engine.neighbors import nearest_neighbors

from . import _truth

N = 200
NORMALIZATIONS = ["all", "row", None]
GAUSSIAN, STUDENT = NormalizedGaussianAffinity(100.0), NormalizedStudentAffinity()
ALL = {
    "symmetric_entropic": SymmetricEntropicAffinity(30),
    "normalized_gaussian": GAUSSIAN,
    "normalized_student": STUDENT,
    "sinkhorn": SinkhornAffinity(100.0),
    "doubly_stochastic_quadratic": DoublyStochasticQuadraticAffinity(1000.0),
}
every_affinity = pytest.mark.parametrize("affinity", ALL.values(), ids=ALL)


@pytest.fixture(scope="module")
def points(pbmc) -> torch.Tensor:
    return pbmc[:N].contiguous()


@pytest.fixture(scope="module")
def graph(points) -> KnnGraph:
    return all_pairs(points)


def all_pairs(points) -> KnnGraph:
    points = torch.as_tensor(np.asarray(points, np.float32))
    return nearest_neighbors(points, len(points) - 1)


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return np.abs(found - expected).sum() / np.abs(expected).sum()


def normalized(values: np.ndarray, normalization: str | None, symmetric: bool) -> np.ndarray:
    """Kernel values of all pairs, hollow and scaled."""
    values = values - np.diag(values.diagonal())
    if normalization == "all":
        return values / values.sum()
    if normalization is None:
        return values
    rows = values / values.sum(1, keepdims=True) / len(values)
    return (rows + rows.T) / 2 if symmetric else rows


def entropies(rows: np.ndarray) -> np.ndarray:
    return -(rows * np.log(np.where(rows > 0, rows, 1))).sum(1)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("sigma", [1.0, 100.0, 1e5])
def test_gaussian_equals_sum_over_all_pairs(points, graph, sigma, normalization, symmetric):
    values = np.exp(-_truth.sq_distances(points, points) / sigma)
    matrix = NormalizedGaussianAffinity(sigma, normalization)(graph, symmetric=symmetric)
    assert relative(_truth.dense(matrix), normalized(values, normalization, symmetric)) <= 2e-6


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("dof", [0.3, 1.0, 7.0])
def test_student_equals_sum_over_all_pairs(points, graph, dof, normalization, symmetric):
    values = _truth.student(_truth.sq_distances(points, points), dof)
    matrix = NormalizedStudentAffinity(dof, normalization)(graph, symmetric=symmetric)
    assert relative(_truth.dense(matrix), normalized(values, normalization, symmetric)) <= 2e-6


@pytest.mark.parametrize("perplexity", [3, 5, 10, 30, 100, 180])
def test_symmetric_entropic_meets_its_conditions(graph, perplexity):
    """Entropies are met or, where the row sums ask for more, exceeded; that is rare but where perplexity is small."""
    matrix = SymmetricEntropicAffinity(perplexity)(graph)
    rows = N * _truth.dense(matrix)
    excess = entropies(rows) - np.log(perplexity)
    sums, n_above = np.abs(rows.sum(1) - 1).max(), int((excess > 1e-5).sum())
    print(f"perplexity {perplexity}: row sums {sums:.1e}, entropies {excess.min():.1e}, {n_above} rows above")
    assert np.array_equal(rows, rows.T)
    assert sums <= 1e-6
    assert excess.min() >= -1e-6
    assert n_above <= N / 4
    if perplexity >= 30:
        assert n_above <= 1


def test_symmetric_entropic_of_more_cells_has_one_entropy(pbmc):
    rows = len(pbmc) * _truth.dense(SymmetricEntropicAffinity(30)(all_pairs(pbmc)))
    assert np.abs(rows.sum(1) - 1).max() <= 1e-6
    assert np.abs(entropies(rows) - np.log(30)).max() <= 1e-6


@pytest.mark.parametrize("perplexity", [5, 30])
def test_symmetric_entropic_has_the_least_cost(points, graph, perplexity):
    """Any matrix that meets the conditions costs at least the dual, at any μ and ε ≥ 0; ours costs hardly more than at
    those that follow from it by log P_ij (ε_i + ε_j) − μ_i − μ_j = −2 d²_ij."""
    sq_dist = _truth.sq_distances(points, points)
    sq_dist /= sq_dist.mean()
    rows = N * _truth.dense(SymmetricEntropicAffinity(perplexity)(graph))
    i, j = np.nonzero(rows)
    log = np.log(rows[i, j])
    system, edges = np.zeros((len(i), 2 * N)), np.arange(len(i))
    system[edges, i] = system[edges, j] = -1
    system[edges, N + i] = system[edges, N + j] = log
    mu, eps = np.linalg.lstsq(system.T @ system, system.T @ (-2 * sq_dist[i, j]), rcond=None)[0].reshape(2, N)
    eps = np.maximum(eps, 0)
    scale = eps[i] + eps[j]
    values = np.exp((mu[i] + mu[j] - 2 * sq_dist[i, j]) / scale)
    dual = mu.sum() + (np.log(perplexity) + 1) * eps.sum() - (scale * values).sum() / 2
    gap = 1 - dual / (rows * sq_dist).sum()
    print(f"perplexity {perplexity}: {gap:.1e}")
    assert abs(gap) <= 1e-4


@every_affinity
@pytest.mark.parametrize("symmetric", [True, False])
def test_matrix_is_hollow_and_weighed_as_documented(graph, affinity, symmetric):
    matrix = affinity(graph, symmetric=symmetric)
    full = _truth.dense(matrix)
    assert np.array_equal(full, full.T)
    assert not full.diagonal().any()
    assert matrix.weights.dtype == matrix.row_mass.dtype == torch.float32
    assert matrix.indices.dtype == torch.int32
    assert (matrix.weights > 0).all()
    assert matrix.n_edges == np.count_nonzero(full)  # no neighbor is listed twice
    assert matrix.total == 1
    assert full.sum() == pytest.approx(1, rel=1e-6)
    np.testing.assert_allclose(matrix.row_mass, full.sum(1), rtol=1e-5)


@pytest.mark.parametrize("kind", [NormalizedGaussianAffinity, NormalizedStudentAffinity])
@pytest.mark.parametrize("normalization", ["row", None])
def test_mass_of_rows_is_that_before_symmetrising(graph, kind, normalization):
    matrix = kind(50.0, normalization)(graph)
    directed = _truth.dense(kind(50.0, normalization)(graph, symmetric=False))
    np.testing.assert_allclose(matrix.row_mass, directed.sum(1), rtol=1e-5)
    assert matrix.total == pytest.approx(directed.sum(), rel=1e-6)


@pytest.mark.parametrize("scale", [1e-8, 1e-3, 1e3, 1e8])
def test_unit_of_distance_does_not_matter(graph, scale):
    scaled = KnnGraph(graph.indices, graph.distances * scale)
    pairs = [
        (SymmetricEntropicAffinity(30), SymmetricEntropicAffinity(30)),
        (GAUSSIAN, NormalizedGaussianAffinity(GAUSSIAN.sigma * scale**2)),
    ]
    for here, there in pairs:
        assert relative(_truth.dense(there(scaled)), _truth.dense(here(graph))) <= 1e-5


def test_student_of_huge_distances_is_a_power_law(graph):
    scaled = KnnGraph(graph.indices, graph.distances * 1e8)
    sq_dist = np.full((N, N), np.inf)
    np.put_along_axis(sq_dist, graph.indices.numpy().astype(int), graph.distances.numpy().astype(float) ** 2, 1)
    assert relative(_truth.dense(STUDENT(scaled)), normalized(1 / sq_dist, "all", True)) <= 1e-5


def with_outlier() -> np.ndarray:
    """A cloud, and a cell so far from it that its Gaussians are smaller than any float."""
    return np.concatenate([np.random.default_rng(0).normal(size=(60, 3)), [[300.0, 0, 0]]])


@pytest.mark.parametrize("symmetric", [True, False])
def test_gaussian_rows_that_underflow_are_normalised(symmetric):
    points = with_outlier()
    logs = -_truth.sq_distances(points, points)
    np.fill_diagonal(logs, -np.inf)
    rows = np.exp(logs - logs.max(1, keepdims=True))
    rows /= rows.sum(1, keepdims=True) * len(points)
    found = _truth.dense(NormalizedGaussianAffinity(1.0, "row")(all_pairs(points), symmetric=symmetric))
    # a float32 distance of 300 is good to 1e-5, its square to 6e-3
    assert relative(found, (rows + rows.T) / 2 if symmetric else rows) <= 1e-2
    assert found[-1].sum() == pytest.approx(1 / (2 * len(points)) if symmetric else 1 / len(points), rel=1e-5)


@pytest.mark.parametrize("normalization", ["all", None])
def test_gaussian_entries_that_underflow_are_dropped(normalization):
    points = with_outlier()
    matrix = NormalizedGaussianAffinity(1.0, normalization)(all_pairs(points))
    values = np.exp(-_truth.sq_distances(points, points))
    assert matrix.degrees()[-1] == 0
    assert relative(_truth.dense(matrix), normalized(values, normalization, True)) <= 2e-6


def test_gaussian_without_a_positive_entry_says_so(graph):
    with pytest.raises(ValueError, match=r"every affinity is below.*larger `sigma`"):
        NormalizedGaussianAffinity(1e-3, None)(graph)


def test_gaussian_as_narrow_as_that_still_normalises(graph):
    for normalization in ("all", "row"):
        full = _truth.dense(NormalizedGaussianAffinity(1e-3, normalization)(graph))
        assert full.sum() == pytest.approx(1, rel=1e-6)


def test_symmetric_entropic_of_an_outlier_meets_its_conditions():
    points = with_outlier()
    for perplexity in (5, 30):
        rows = len(points) * _truth.dense(SymmetricEntropicAffinity(perplexity)(all_pairs(points)))
        assert np.abs(rows.sum(1) - 1).max() <= 1e-6
        assert (entropies(rows) - np.log(perplexity)).min() >= -1e-6
    assert rows[-1].max() < 1


@every_affinity
def test_equal_cells_are_cells_like_any_others(points, affinity):
    """Two rows measured twice: they have the largest affinity there is to each other, the same to all others."""
    twice = torch.cat([points[:150], points[:2]])
    full = _truth.dense(affinity(all_pairs(twice)))
    assert np.isfinite(full).all()
    assert full.sum() == pytest.approx(1, rel=1e-6)
    assert full[0].argmax() == 150
    others = np.setdiff1d(np.arange(152), [0, 150])
    np.testing.assert_allclose(full[0, others], full[150, others], rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("n_equal", [20, 40, 150])
def test_symmetric_entropic_of_many_equal_cells_is_the_limit(points, n_equal):
    """More of them than the perplexity: their rows are as near as can be, and wider than asked for."""
    features = torch.cat([points[:100], points[:1].expand(n_equal - 1, -1)])
    rows = len(features) * _truth.dense(SymmetricEntropicAffinity(30)(all_pairs(features)))
    excess = entropies(rows) - np.log(30)
    equal = np.r_[0, 100 : len(features)]
    assert np.abs(rows.sum(1) - 1).max() <= 1e-6
    assert excess.min() >= -1e-6
    if n_equal > 31:
        np.testing.assert_allclose(rows[np.ix_(equal, equal)].sum(1), 1, atol=0.02)
        assert excess[equal].min() > np.log((n_equal - 1) / 30) - 0.02
    else:
        assert np.abs(excess[equal]).max() <= 1e-6


@every_affinity
@pytest.mark.parametrize("positions", [np.ones((50, 3)), np.eye(50)], ids=["equal", "equidistant"])
def test_equidistant_cells_have_equal_affinities(affinity, positions):
    full = _truth.dense(affinity(all_pairs(positions)))
    np.testing.assert_allclose(full, (1 - np.eye(50)) / (50 * 49), rtol=1e-6)


def test_ties_of_a_lattice_keep_its_symmetry():
    lattice = np.stack(np.meshgrid(np.arange(9.0), np.arange(9.0)), -1).reshape(-1, 2)
    full = 81 * _truth.dense(SymmetricEntropicAffinity(8)(all_pairs(lattice)))
    turned = np.arange(81).reshape(9, 9).T.reshape(-1)
    np.testing.assert_allclose(full, full[np.ix_(turned, turned)], atol=1e-5)
    assert np.abs(full.sum(1) - 1).max() <= 1e-6


@every_affinity
def test_number_of_threads_changes_no_bit(pbmc, affinity):
    graph, found = all_pairs(pbmc), []
    for n_jobs in (1, 3):
        with backend.session(n_jobs):
            found.append(affinity(graph))
    assert torch.equal(found[0].weights, found[1].weights)
    assert torch.equal(found[0].indices, found[1].indices)


@every_affinity
def test_distances_that_differ_by_direction_count_as_their_mean(graph, affinity):
    noise = torch.from_numpy(np.random.default_rng(0).uniform(0.9, 1.1, (N, N - 1)).astype(np.float32))
    one_way = KnnGraph(graph.indices, graph.distances * noise)
    full = np.zeros((N, N))
    np.put_along_axis(full, one_way.indices.numpy().astype(int), one_way.distances.numpy().astype(float), 1)
    mean = (full + full.T) / 2
    columns = np.array([np.delete(np.arange(N), i) for i in range(N)])
    both = KnnGraph(
        torch.from_numpy(columns.astype(np.int32)),
        torch.from_numpy(np.take_along_axis(mean, columns, 1).astype(np.float32)),
    )
    assert relative(_truth.dense(affinity(one_way)), _truth.dense(affinity(both))) <= 1e-5


@every_affinity
def test_a_graph_of_some_neighbors_is_refused(points, graph, affinity):
    with pytest.raises(ValueError, match=r"all pairs, 199 other cells.*holds 60.*X_pca"):
        affinity(nearest_neighbors(points, 60))
    indices, distances = graph.indices.clone(), graph.distances.clone()
    indices[3, -1], distances[3, -1] = -1, torch.inf
    with pytest.raises(ValueError, match="all pairs"):
        affinity(KnnGraph(indices, distances))


@every_affinity
def test_too_many_cells_are_refused(affinity):
    n = _all_pairs.MAX_CELLS + 1
    assert affinity.n_neighbors(n - 1) == n - 2
    with pytest.raises(ValueError, match=r"up to 10000 cells; there are 10001.*EntropicAffinity"):
        affinity.n_neighbors(n)
    with pytest.raises(ValueError, match="there are 10001"):
        affinity(KnnGraph(torch.zeros(n, 1, dtype=torch.int32), torch.ones(n, 1)))


@pytest.mark.parametrize("name", ALL)
def test_affinity_is_registered(name):
    assert isinstance(ALL[name], AFFINITIES[name])
    assert AFFINITIES[name]().n_neighbors(300) == 299


REFUSED = {
    "sigma": lambda: NormalizedGaussianAffinity(0.0),
    "sigma ": lambda: NormalizedGaussianAffinity(np.inf),
    "dof": lambda: NormalizedStudentAffinity(-1.0),
    "dof ": lambda: NormalizedStudentAffinity(np.nan),
    "normalization": lambda: NormalizedGaussianAffinity(1.0, "column"),
    "normalization ": lambda: NormalizedStudentAffinity(1.0, "rows"),
    "perplexity": lambda: SymmetricEntropicAffinity(1.0),
    "perplexity ": lambda: SymmetricEntropicAffinity(np.nan),
    "perplexity  ": lambda: SymmetricEntropicAffinity([10, 30]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_parameters_without_a_meaning_are_refused(case):
    with pytest.raises(ValueError, match=f"`{case.strip()}`"):
        REFUSED[case]()


def test_a_perplexity_of_all_cells_is_refused(graph):
    with pytest.raises(ValueError, match=r"perplexity of 199 needs more than 199 other cells; there are 199"):
        SymmetricEntropicAffinity(199)(graph)


def test_small_perplexities_say_what_they_reached(points):
    with pytest.warns(UserWarning, match="did not converge"):
        matrix = SymmetricEntropicAffinity(1.5)(all_pairs(points[:60]))
    assert np.isfinite(_truth.dense(matrix)).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SymmetricEntropicAffinity(5)(all_pairs(points[:60]))
