"""Affinities in units of each cell's neighborhood (self-tuning, MAGIC, PaCMAP), against their papers' formulas."""

import warnings

import numpy as np
import pytest
import torch

from sc_nembed.engine.affinity import MAGICAffinity, PACMAPAffinity, SelfTuningAffinity
from sc_nembed.engine.compute import backend
from sc_nembed.engine.graph import KnnGraph
from sc_nembed.engine.neighbors import nearest_neighbors

from . import _truth

N = 200
NORMALIZATIONS = ["all", "row", None]
either_symmetry = pytest.mark.parametrize("symmetric", [True, False])
ALL = {
    "self_tuning": SelfTuningAffinity(),
    "self_tuning by row": SelfTuningAffinity(normalization="row"),
    "self_tuning of all pairs": SelfTuningAffinity(n_nearest="all"),
    "magic": MAGICAffinity(),
    "magic of all pairs": MAGICAffinity(n_nearest="all"),
    "pacmap": PACMAPAffinity(),
}
every_affinity = pytest.mark.parametrize("affinity", ALL.values(), ids=ALL)


@pytest.fixture(scope="module")
def points(pbmc) -> torch.Tensor:
    return pbmc[:N].contiguous()


@pytest.fixture(scope="module")
def graph(points) -> KnnGraph:
    return nearest_neighbors(points, N - 1)


@pytest.fixture(scope="module")
def sq_dist(points) -> np.ndarray:
    return _truth.sq_distances(points, points)


def first(graph: KnnGraph, k: int) -> KnnGraph:
    return KnnGraph(graph.indices[:, :k].contiguous(), graph.distances[:, :k].contiguous())


def listed(sq_dist: np.ndarray, k: int) -> np.ndarray:
    """Whether j is one of the k nearest of i, (n, n); the cell itself is not counted."""
    hollow = sq_dist + np.diag(np.full(len(sq_dist), np.inf))
    return np.argsort(np.argsort(hollow, axis=1), axis=1) < k


def kth(sq_dist: np.ndarray, k: int) -> np.ndarray:
    """Distance to the k-th neighbor."""
    return np.sort(np.sqrt(sq_dist), axis=1)[:, k]  # the cell itself is in front


def normalized(values: np.ndarray, normalization: str | None, symmetric: bool) -> np.ndarray:
    values = values - np.diag(values.diagonal())
    if normalization == "all":
        return values / values.sum()
    if normalization is None:
        return values
    rows = values / values.sum(1, keepdims=True) / len(values)
    return (rows + rows.T) / 2 if symmetric else rows


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return np.abs(found - expected).sum() / np.abs(expected).sum()


@either_symmetry
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("n_nearest", [None, 40, "all"])
def test_self_tuning_equals_the_formula_of_its_paper(graph, sq_dist, n_nearest, normalization, symmetric):
    affinity = SelfTuningAffinity(5, normalization, n_nearest)
    sigma = kth(sq_dist, 5)
    values = np.exp(-sq_dist / (sigma[:, None] * sigma))
    near = listed(sq_dist, affinity.n_neighbors(N))
    expected = normalized(np.where(near | near.T, values, 0), normalization, symmetric)
    matrix = affinity(first(graph, affinity.n_neighbors(N)), symmetric=symmetric)
    assert relative(_truth.dense(matrix), expected) <= 2e-6
    np.testing.assert_allclose(matrix.row_mass, normalized(values * (near | near.T), normalization, False).sum(1), 1e-5)
    assert matrix.total == pytest.approx(expected.sum(), rel=1e-5)


@either_symmetry
@pytest.mark.parametrize("decay", [1.0, 2.0])
@pytest.mark.parametrize("n_nearest", [None, 40, "all"])
def test_magic_equals_the_formula_of_its_paper(graph, sq_dist, n_nearest, decay, symmetric):
    affinity = MAGICAffinity(5, decay, n_nearest)
    values = np.exp(-((np.sqrt(sq_dist) / kth(sq_dist, 5)[:, None]) ** decay))
    values = np.where(listed(sq_dist, affinity.n_neighbors(N)), values, 0)
    expected = normalized((values + values.T) / 2, "row", symmetric)
    matrix = affinity(first(graph, affinity.n_neighbors(N)), symmetric=symmetric)
    assert relative(_truth.dense(matrix), expected) <= 2e-6
    np.testing.assert_allclose(matrix.row_mass, 1 / N, rtol=1e-5)
    if not symmetric:
        np.testing.assert_allclose(_truth.dense(matrix).sum(1), 1 / N, rtol=1e-5)
        assert not np.array_equal(_truth.dense(matrix), _truth.dense(matrix).T)


def pairs_of(sq_dist: np.ndarray, k: int, n_candidates: int) -> np.ndarray:
    """PaCMAP's neighbors of each cell, (n, k), by the formula."""
    order = np.argsort(sq_dist + np.diag(np.full(len(sq_dist), np.inf)), axis=1)[:, :n_candidates]
    sigma = np.sort(np.sqrt(sq_dist), axis=1)[:, 4:7].mean(1)  # the cell itself is in front
    scaled = np.take_along_axis(sq_dist, order, 1) / (sigma[:, None] * sigma[order])
    return np.take_along_axis(order, np.argsort(scaled, axis=1)[:, :k], 1)


@pytest.mark.parametrize("k", [3, 10, 30])
@pytest.mark.parametrize("n_candidates", [40, 100])
def test_pacmap_equals_the_formula_of_its_paper(graph, sq_dist, k, n_candidates):
    some = first(graph, n_candidates)
    expected = pairs_of(sq_dist, k, min(n_candidates, k + 50))
    matrix = PACMAPAffinity(k)(some, symmetric=False)
    np.testing.assert_array_equal(matrix.indices.reshape(N, k), expected)
    np.testing.assert_allclose(matrix.weights, 1 / (N * k))
    assert matrix.total == 1
    one_way = np.zeros((N, N))
    np.put_along_axis(one_way, expected, 1 / (N * k), axis=1)
    np.testing.assert_allclose(_truth.dense(PACMAPAffinity(k)(some)), (one_way + one_way.T) / 2, rtol=1e-6)


@pytest.fixture(scope="module")
def pacmap():
    with warnings.catch_warnings():  # about what else could be installed
        warnings.simplefilter("ignore")
        return pytest.importorskip("pacmap.pacmap")


def test_pacmap_equals_the_code_of_its_authors(pbmc, pacmap):
    """Its scaling and choice, given exact neighbors; and its pairs, whose neighbors are approximate."""
    points = pbmc[:500].contiguous()
    graph = nearest_neighbors(points, 60)
    found = PACMAPAffinity()(graph, symmetric=False).indices.reshape(500, 10).numpy()
    distances, neighbors = graph.distances.numpy(), graph.indices.numpy()
    scaled = pacmap.scale_dist(distances, distances[:, 3:6].mean(1), neighbors)
    theirs = pacmap.sample_neighbors_pair(points.numpy(), scaled, neighbors, np.int32(10))
    assert (theirs[:, 1].reshape(500, 10) == found).mean() >= 0.999  # in float32, where a tie may fall either way
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = pacmap.generate_pair(points.numpy(), 10, 5, 20, "euclidean", False)[0]
    common = [len({*ours} & {*row}) for ours, row in zip(found, theirs[:, 1].reshape(500, 10), strict=True)]
    assert np.mean(common) >= 9.9


def test_units_do_not_matter(points):
    for affinity in ALL.values():
        here, there = (
            _truth.dense(affinity(nearest_neighbors(points * scale, affinity.n_neighbors(N)))) for scale in (1, 1024)
        )
        np.testing.assert_allclose(here, there, rtol=1e-5, atol=1e-12)


@every_affinity
def test_number_of_threads_changes_no_bit(pbmc, affinity):
    graph, found = nearest_neighbors(pbmc, affinity.n_neighbors(len(pbmc))), []
    for n_jobs in (1, 2):
        with backend.session(n_jobs):
            found.append(affinity(graph))
    assert torch.equal(found[0].weights, found[1].weights)
    assert torch.equal(found[0].indices, found[1].indices)


@every_affinity
def test_matrix_is_hollow_and_symmetric(graph, affinity):
    matrix = affinity(first(graph, affinity.n_neighbors(N)))
    full = _truth.dense(matrix)
    assert np.array_equal(full, full.T)
    assert not full.diagonal().any()
    assert matrix.weights.dtype == matrix.row_mass.dtype == torch.float32
    assert matrix.n_edges == np.count_nonzero(full)
    assert full.sum() == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize(
    ("affinity", "wanted"),
    [
        (SelfTuningAffinity(7), 21),
        (SelfTuningAffinity(7, n_nearest=50), 50),
        (SelfTuningAffinity(7, n_nearest="all"), 999),
        (MAGICAffinity(5), 15),
        (MAGICAffinity(500), 999),
        (PACMAPAffinity(10), 60),
        (PACMAPAffinity(990), 999),
    ],
)
def test_number_of_neighbors_wanted(affinity, wanted):
    assert affinity.n_neighbors(1000) == wanted


@pytest.mark.parametrize(
    ("affinity", "k", "message"),
    [
        (SelfTuningAffinity(7), 6, r"SelfTuningAffinity\(7\) needs at least 7 .*better 21; the graph holds 6"),
        (MAGICAffinity(7), 6, r"MAGICAffinity\(7\) needs at least 7 .*the graph holds 6"),
        (PACMAPAffinity(10), 9, r"PACMAPAffinity\(10\) chooses among at least 10 .*better 60; the graph holds 9"),
        (PACMAPAffinity(2), 5, r"at least 6 neighbors"),
        (SelfTuningAffinity(7, n_nearest="all"), 30, r"reads the distances of all pairs, 199 .*holds 30"),
        (MAGICAffinity(7, n_nearest="all"), 30, r"reads the distances of all pairs, 199 .*holds 30"),
    ],
)
def test_a_graph_of_too_few_neighbors_is_refused(graph, affinity, k, message):
    with pytest.raises(ValueError, match=message):
        affinity(first(graph, k))
    if "all pairs" not in message:
        assert affinity(first(graph, k + 1)).total == 1


@pytest.mark.parametrize("kind", [SelfTuningAffinity, MAGICAffinity])
def test_all_pairs_of_too_many_cells_are_refused(kind):
    with pytest.raises(ValueError, match=r"up to 10000 cells; there are 10001.*EntropicAffinity"):
        kind(n_nearest="all").n_neighbors(10_001)
    assert kind().n_neighbors(10_001) == 21


def ragged(graph: KnnGraph) -> KnnGraph:
    """Rows of 14, 13, … 0 neighbors."""
    some = first(graph, 14)
    beyond = torch.arange(14)[None, :] >= (14 - torch.arange(N) % 15)[:, None]
    return KnnGraph(some.indices.masked_fill(beyond, -1), some.distances.masked_fill(beyond, torch.inf))


@pytest.mark.parametrize("affinity", [SelfTuningAffinity(), MAGICAffinity(), PACMAPAffinity()])
def test_shorter_rows_count_their_last_neighbor(graph, sq_dist, affinity):
    some = ragged(graph)
    counts = 14 - np.arange(N) % 15
    near = listed(sq_dist, 14) & (np.argsort(np.argsort(sq_dist, 1), 1) <= counts[:, None])
    full = _truth.dense(affinity(some))
    assert np.isfinite(full).all()
    if isinstance(affinity, PACMAPAffinity):
        one_way = affinity(some, symmetric=False)
        np.testing.assert_array_equal(one_way.degrees(), np.minimum(counts, 10))
        return
    last = np.minimum(7, counts)
    sigma = np.where(counts > 0, np.sort(np.sqrt(sq_dist), axis=1)[np.arange(N), last], 1)
    if isinstance(affinity, MAGICAffinity):
        values = near * np.exp(-sq_dist / sigma[:, None] ** 2)
        values = (values + values.T) / 2
        rows = values / np.maximum(values.sum(1, keepdims=True), 1e-30)  # a cell may be listed by nobody
        expected = (rows + rows.T) / (2 * rows.sum())
    else:  # a cell that lists none has no width: that of the other cell counts
        mine = np.where(counts > 0, sigma, np.nan)[:, None] + np.zeros((N, N))
        width = np.where(np.isnan(mine), mine.T, mine) * np.where(np.isnan(mine.T), mine, mine.T)
        values = np.where(near | near.T, np.exp(-sq_dist / width), 0)
        expected = values / values.sum()
    assert relative(full, expected) <= 2e-6


@pytest.mark.parametrize("n_nearest", [None, "all"])
@pytest.mark.parametrize("kind", [SelfTuningAffinity, MAGICAffinity])
def test_more_equal_cells_than_k_are_near_each_other_and_no_farther_from_others(points, kind, n_nearest):
    """Ten equal cells, of which each has nine at distance 0: their width is the distance to the next one."""
    features = torch.cat([points[:100], points[:1].expand(9, -1)])
    sq_dist = _truth.sq_distances(features, features)
    sigma = kth(sq_dist, 7)
    equal = np.r_[0, 100:109]
    sigma[equal] = np.sqrt(sq_dist[0][sq_dist[0] > 0].min())
    affinity = kind(7, n_nearest=n_nearest)
    near = listed(sq_dist, affinity.n_neighbors(109))
    if kind is SelfTuningAffinity:
        expected = np.where(near | near.T, np.exp(-sq_dist / (sigma[:, None] * sigma)), 0)
        expected = normalized(expected, "all", True)
    else:
        one_way = np.where(near, np.exp(-sq_dist / sigma[:, None] ** 2), 0)
        expected = normalized((one_way + one_way.T) / 2, "row", True)
    found = _truth.dense(affinity(nearest_neighbors(features, affinity.n_neighbors(109))))
    among = ~np.isin(np.arange(109), equal)  # which of the equal cells another one lists is for the search to say
    assert relative(found[np.ix_(equal, equal)], expected[np.ix_(equal, equal)]) <= 0.02
    assert relative(found[np.ix_(among, among)], expected[np.ix_(among, among)]) <= 0.02


@every_affinity
def test_cells_that_are_all_equal_have_equal_affinities(affinity):
    graph = nearest_neighbors(torch.ones(30, 3), affinity.n_neighbors(30))
    full = _truth.dense(affinity(graph))
    assert np.isfinite(full).all()
    assert full.sum() == pytest.approx(1, rel=1e-6)
    if affinity.n_neighbors(30) == 29 and not isinstance(affinity, PACMAPAffinity):
        np.testing.assert_allclose(full, (1 - np.eye(30)) / (30 * 29), rtol=1e-5)


def test_self_tuning_rows_that_underflow_are_normalised():
    """A pair of cells so far from a cloud that its affinities to it are below any float."""
    cloud = np.random.default_rng(0).normal(size=(60, 3))
    points = torch.from_numpy(np.concatenate([cloud, [[1e5, 0, 0], [3e5, 0, 0]]]).astype(np.float32))
    for n_nearest in (None, "all"):
        affinity = SelfTuningAffinity(7, "row", n_nearest)
        full = _truth.dense(affinity(nearest_neighbors(points, affinity.n_neighbors(62)), symmetric=False))
        np.testing.assert_allclose(full.sum(1), 1 / 62, rtol=1e-5)
        matrix = SelfTuningAffinity(7, "all", n_nearest)(nearest_neighbors(points, affinity.n_neighbors(62)))
        assert matrix.weights.min() >= 1e-38
        assert matrix.total == 1


REFUSED = {
    "k": lambda: SelfTuningAffinity(0),
    "k ": lambda: PACMAPAffinity(0),
    "n_nearest": lambda: MAGICAffinity(7, n_nearest=6),
    "n_nearest ": lambda: SelfTuningAffinity(7, n_nearest="every"),
    "decay": lambda: MAGICAffinity(7, 0.0),
    "normalization": lambda: SelfTuningAffinity(7, "rows"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_parameters_without_a_meaning_are_refused(case):
    with pytest.raises(ValueError, match=f"`{case.strip()}`"):
        REFUSED[case]()
