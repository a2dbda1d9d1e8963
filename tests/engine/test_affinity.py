"""Input affinities: against openTSNE, umap-learn and dense numpy, on the same neighbors."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from sc_nembed.engine.affinity import (
    AFFINITIES,
    EntropicAffinity,
    MAGICAffinity,
    PACMAPAffinity,
    PrecomputedAffinity,
    SelfTuningAffinity,
    UMAPAffinity,
    UniformAffinity,
    uniform_rows,
)
from sc_nembed.engine.compute import backend, reductions
from sc_nembed.engine.graph import AffinityMatrix, KnnGraph
from sc_nembed.engine.neighbors import nearest_neighbors

from . import _truth


@pytest.fixture(scope="module")
def graph(pbmc) -> KnnGraph:
    return nearest_neighbors(pbmc, 150)


def first(graph: KnnGraph, k: int) -> KnnGraph:
    return KnnGraph(graph.indices[:, :k].contiguous(), graph.distances[:, :k].contiguous())


def padded(graph: KnnGraph, seed: int = 0) -> KnnGraph:
    """Rows cut to random lengths, one of them to none."""
    lengths = np.random.default_rng(seed).integers(3, graph.n_neighbors + 1, graph.n_obs)
    lengths[5] = 0
    beyond = torch.arange(graph.n_neighbors)[None, :] >= torch.from_numpy(lengths)[:, None]
    return KnnGraph(graph.indices.masked_fill(beyond, -1), graph.distances.masked_fill(beyond, torch.inf))


def rows_of(graph: KnnGraph, values: np.ndarray) -> np.ndarray:
    """One-way weights (n, k) as a dense matrix; the padding is left out."""
    full, indices = np.zeros((graph.n_obs, graph.n_obs)), graph.indices.numpy()
    rows, columns = np.nonzero(indices >= 0)
    full[rows, indices[rows, columns]] = values[rows, columns]
    return full


def gaussian_rows(distances: np.ndarray, perplexity: float) -> np.ndarray:
    """Gaussians over rows of distances (n, k) whose entropy is log perplexity, by bisection in float64."""
    sq_dist = distances.astype(float) ** 2
    sq_dist -= sq_dist.min(1, keepdims=True)
    low, high = np.full((len(distances), 1), -80.0), np.full((len(distances), 1), 80.0)
    for _ in range(100):
        log_beta = (low + high) / 2
        share = np.exp(-np.exp(log_beta) * sq_dist)
        share /= share.sum(1, keepdims=True)
        entropy = -(share * np.log(np.where(share > 0, share, 1))).sum(1, keepdims=True)
        wide = entropy > np.log(perplexity)
        low, high = np.where(wide, log_beta, low), np.where(wide, high, log_beta)
    return share


def gaussian_row(distances: np.ndarray, perplexity: float) -> np.ndarray:
    return gaussian_rows(distances[None], perplexity)[0]


PERPLEXITIES = [5, 30, 50, (5, 30), (10, 30, 50)]


def entropic(perplexity, graph) -> tuple[np.ndarray, np.ndarray, KnnGraph]:
    """Dense P, the perplexities as an array, and the graph with as many neighbors as they want."""
    perplexities = np.atleast_1d(np.asarray(perplexity, float))
    some = first(graph, int(3 * perplexities.max()))
    given = perplexity if len(perplexities) == 1 else list(perplexities)
    return _truth.dense(EntropicAffinity(given)(some)), perplexities, some


@pytest.mark.parametrize("perplexity", PERPLEXITIES)
def test_entropic_equals_openTSNE(perplexity):
    """On points in 3-D, where openTSNE's bisection converges. Where all distances are large it underflows and stops
    early (12 % of a row of pbmc68k_reduced at perplexity 5 is elsewhere); the next test has a bisection of its own."""
    from openTSNE.affinity import Multiscale

    points = torch.from_numpy(np.random.default_rng(0).normal(size=(700, 3)).astype(np.float32))
    found, perplexities, some = entropic(perplexity, nearest_neighbors(points, 150))
    theirs = Multiscale._calculate_P(some.indices.numpy(), some.distances.numpy().astype(float), perplexities)
    difference = np.abs(found - theirs.toarray()).sum() / 2
    print(f"perplexity {perplexity}: {difference:.1e}")
    assert difference <= 1e-5


@pytest.mark.parametrize("perplexity", PERPLEXITIES)
def test_entropic_equals_bisection(graph, perplexity):
    found, perplexities, some = entropic(perplexity, graph)
    rows = np.mean([gaussian_rows(some.distances.numpy(), value) for value in perplexities], axis=0)
    one_way = rows_of(some, rows) / some.n_obs
    difference = np.abs(found - (one_way + one_way.T) / 2).sum() / 2
    print(f"perplexity {perplexity}: {difference:.1e}")
    assert difference <= 1e-5


@pytest.mark.parametrize("perplexity", [1.01, 1.5, 2, 3, 5, 7, 10, 15, 20, 30, 45])
def test_entropic_of_a_graph_with_many_neighbors_equals_bisection(graph, perplexity):
    """Far more neighbors than the perplexity asks for: the search starts from much too wide a Gaussian."""
    one_way = gaussian_rows(graph.distances.numpy(), perplexity)
    expected = rows_of(graph, one_way) / graph.n_obs
    found = _truth.dense(EntropicAffinity(perplexity)(graph))
    difference = np.abs(found - (expected + expected.T) / 2).sum() / 2
    assert difference <= 1e-5


@pytest.mark.parametrize("scale", [1e-8, 1e-3, 1e3, 1e8])
def test_entropic_does_not_depend_on_the_unit_of_distance(graph, scale):
    some = first(graph, 90)
    scaled = KnnGraph(some.indices, some.distances * scale)
    difference = np.abs(_truth.dense(EntropicAffinity(30)(scaled)) - _truth.dense(EntropicAffinity(30)(some))).sum()
    assert difference / 2 <= 1e-5


def test_entropic_of_ragged_rows_equals_bisection(graph):
    """A row with no more neighbors than the perplexity is uniform, the limit of wide Gaussians."""
    ragged, one_way = padded(first(graph, 30)), np.zeros((graph.n_obs, 30))
    for i, distances in enumerate(ragged.distances.numpy()):
        valid = distances[np.isfinite(distances)]
        if valid.size:
            one_way[i, : valid.size] = gaussian_row(valid, 10) if valid.size > 10 else 1 / valid.size
    expected = rows_of(ragged, one_way)
    found = _truth.dense(EntropicAffinity(10)(ragged))
    expected = (expected + expected.T) / (2 * expected.sum())
    assert np.abs(found - expected).sum() / 2 <= 1e-5
    assert found[5].sum() == pytest.approx(expected[:, 5].sum())


# distances of a row of 12, perplexity 4: what it must become
TIES = {
    "all equal": (np.full(12, 3.0), np.full(12, 1 / 12)),
    "all zero": (np.zeros(12), np.full(12, 1 / 12)),
    "more nearest than the perplexity": (
        np.r_[np.full(6, 2.0), np.full(6, 9.0)],
        np.r_[np.full(6, 1 / 6), np.zeros(6)],
    ),
    "as many twins as the perplexity": (np.r_[np.zeros(4), np.full(8, 5.0)], np.r_[np.full(4, 1 / 4), np.zeros(8)]),
    "two twins": (np.r_[0, 0, np.arange(1, 11)], gaussian_row(np.r_[0, 0, np.arange(1.0, 11)], 4)),
    "far but near each other": (1000 + np.arange(12) / 8, gaussian_row(1000 + np.arange(12) / 8, 4)),
}


@pytest.mark.parametrize("case", TIES)
def test_entropic_of_ties_and_twins_is_the_limit(case):
    distances, expected = TIES[case]
    n, k = 40, 12
    indices = np.stack([(i + 1 + np.arange(k)) % n for i in range(n)])
    one_way = KnnGraph(
        torch.from_numpy(indices.astype(np.int32)), torch.from_numpy(np.tile(distances, (n, 1)).astype(np.float32))
    )
    full = rows_of(one_way, np.tile(expected, (n, 1))) / n
    assert np.abs(_truth.dense(EntropicAffinity(4)(one_way)) - (full + full.T) / 2).sum() / 2 <= 1e-5


@pytest.mark.parametrize("n_neighbors", [5, 15, 50])
def test_umap_equals_fuzzy_simplicial_set(pbmc, graph, n_neighbors):
    assert _difference_to_umap(first(graph, n_neighbors - 1)) <= 1e-5


def test_umap_of_twins_equals_fuzzy_simplicial_set(pbmc):
    """Cells measured twice have a neighbor at distance 0, one group of them nothing else."""
    features = torch.cat([pbmc[:200], pbmc[:100], pbmc[:1].expand(20, -1)])
    assert _difference_to_umap(nearest_neighbors(features, 14)) <= 1e-5


def _difference_to_umap(graph: KnnGraph) -> float:
    """Largest difference over the largest entry; umap-learn counts the cell itself among its neighbors."""
    with warnings.catch_warnings():  # umap-learn on the tensorflow it does not find
        warnings.simplefilter("ignore", ImportWarning)
        from umap.umap_ import fuzzy_simplicial_set

    n, k = graph.n_obs, graph.n_neighbors
    indices = np.hstack([np.arange(n)[:, None], graph.indices.numpy()])
    distances = np.hstack([np.zeros((n, 1), np.float32), graph.distances.numpy()])
    theirs, _, _ = fuzzy_simplicial_set(
        np.zeros((n, 1), np.float32), k + 1, None, "euclidean", knn_indices=indices, knn_dists=distances
    )
    theirs = theirs.toarray()
    return float(np.abs(_truth.dense(UMAPAffinity(k + 1)(graph)) - theirs).max() / theirs.max())


@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
def test_uniform_is_the_mean_of_the_rows_and_columns(graph, ragged):
    some = padded(first(graph, 14)) if ragged else first(graph, 14)
    counts = (some.indices >= 0).sum(1, keepdim=True).numpy()
    one_way = rows_of(some, np.broadcast_to(1 / np.maximum(counts, 1), some.indices.shape))
    expected = (one_way + one_way.T) / (2 * one_way.sum())
    np.testing.assert_allclose(_truth.dense(UniformAffinity()(some)), expected, atol=1e-9)


def test_uniform_counts_a_mutual_edge_twice():
    indices = torch.tensor([[1], [0], [0]], dtype=torch.int32)
    matrix = UniformAffinity(1)(KnnGraph(indices, torch.ones(3, 1)))
    np.testing.assert_allclose(_truth.dense(matrix), np.array([[0, 2, 1], [2, 0, 0], [1, 0, 0]]) / 6, rtol=1e-6)
    np.testing.assert_allclose(matrix.row_mass, np.full(3, 1 / 3), rtol=1e-6)


def test_uniform_rows_equal_uniform_of_the_graph(graph):
    some = first(graph, 14)
    listed = uniform_rows(np.arange(0, some.indices.numel() + 1, 14), some.indices.numpy().reshape(-1))
    assert torch.equal(listed.weights, UniformAffinity()(some).weights)


# every member of AFFINITIES that reads a graph
READERS = {
    "entropic": EntropicAffinity(5),
    "uniform": UniformAffinity(),
    "umap": UMAPAffinity(),
    "self_tuning": SelfTuningAffinity(),
    "magic": MAGICAffinity(),
    "pacmap": PACMAPAffinity(),
}
OF_BOTH_DIRECTIONS = ("self_tuning", "magic")  # a cell that lists none, but is listed, has a row all the same


@pytest.mark.parametrize("name", AFFINITIES)
@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
@pytest.mark.parametrize("n_jobs", [1, 3])
def test_affinity_is_symmetric_hollow_and_weighed_as_documented(graph, name, ragged, n_jobs):
    some = padded(first(graph, 15)) if ragged else first(graph, 15)
    made = READERS.get(name) or PrecomputedAffinity(sp.csr_matrix(rows_of(some, np.ones(some.indices.shape))))
    with backend.session(n_jobs):
        matrix = made(some)
    full = _truth.dense(matrix)
    assert matrix.weights.dtype == torch.float32
    assert (matrix.weights >= 0).all()
    assert np.array_equal(full, full.T)
    assert not full.diagonal().any()
    assert matrix.n_edges == len({*zip(*np.nonzero(_pattern(matrix)), strict=True)})  # no neighbor is listed twice
    assert matrix.total == pytest.approx(full.sum(), rel=1e-6)
    if name != "umap":
        assert matrix.total == 1
        assert float(matrix.row_mass.sum()) == pytest.approx(1, rel=1e-5)
    assert (matrix.row_mass[5] == 0) == (ragged and name not in OF_BOTH_DIRECTIONS)
    assert -reductions.entropy(matrix.weights) == pytest.approx(
        (full[full > 0] * np.log(full[full > 0])).sum(), rel=1e-6
    )


def _pattern(matrix: AffinityMatrix) -> np.ndarray:
    ones = torch.ones_like(matrix.weights)
    return _truth.dense(
        AffinityMatrix(
            matrix.indptr, matrix.indices, ones, matrix.n_rows, matrix.n_cols, 0, matrix.row_mass, float(matrix.n_edges)
        )
    )


SOME_WEIGHTS = np.where(
    np.random.default_rng(0).uniform(size=(30, 30)) < 0.4, np.random.default_rng(1).uniform(0, 9, (30, 30)), 0
)
CONTAINERS = {
    "csr_matrix": sp.csr_matrix,
    "csc_matrix": sp.csc_matrix,
    "coo_matrix": sp.coo_matrix,
    "csr_array": sp.csr_array,
    "coo_array": sp.coo_array,
    "int64 indices": lambda a: _with_int64(sp.csr_matrix(a)),
    "unsorted rows": lambda a: sp.csr_matrix(a)[:, ::-1][:, ::-1],
    "explicit zeros": lambda a: _with_zeros(sp.csr_matrix(a)),
    "entries in two parts": lambda a: sp.coo_matrix(
        (np.tile(a[a > 0] / 2, 2), tuple(np.tile(axis, 2) for axis in np.nonzero(a))), shape=a.shape
    ),
    "ndarray": np.array,
    "float32": lambda a: a.astype(np.float32),
    "torch dense": torch.from_numpy,
    "torch coo": lambda a: torch.from_numpy(a).to_sparse(),
}


def _with_int64(matrix):
    matrix.indices, matrix.indptr = matrix.indices.astype(np.int64), matrix.indptr.astype(np.int64)
    return matrix


def _with_zeros(matrix):
    matrix.data[::5] *= 1.0
    return sp.csr_matrix(
        (np.r_[matrix.data, 0.0], np.r_[matrix.indices, 3], np.r_[matrix.indptr[:-1], matrix.nnz + 1]), matrix.shape
    )


@pytest.mark.parametrize("container", CONTAINERS)
def test_precomputed_symmetrises_and_normalises_any_container(container):
    hollow = SOME_WEIGHTS - np.diag(SOME_WEIGHTS.diagonal())
    given = CONTAINERS[container](SOME_WEIGHTS.copy())
    matrix = PrecomputedAffinity(given)()
    np.testing.assert_allclose(_truth.dense(matrix), (hollow + hollow.T) / (2 * hollow.sum()), rtol=1e-5)
    np.testing.assert_allclose(matrix.row_mass, hollow.sum(1) / hollow.sum(), rtol=1e-5)
    after = (
        given.to_dense().numpy()
        if isinstance(given, torch.Tensor)
        else given.toarray()
        if sp.issparse(given)
        else given
    )
    np.testing.assert_allclose(after, SOME_WEIGHTS, rtol=1e-6)  # the user's matrix is as it was


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta:UserWarning")
def test_precomputed_takes_torch_csr():
    matrix = PrecomputedAffinity(torch.from_numpy(SOME_WEIGHTS).to_sparse_csr())()
    assert torch.equal(matrix.weights, PrecomputedAffinity(SOME_WEIGHTS)().weights)


def _with(value, row, column):
    weights = SOME_WEIGHTS.copy()
    weights[row, column] = value
    return weights


BAD_MATRICES = {
    "NaN": (_with(np.nan, 7, 3), r"NaN.* in 1 cells.* row 7"),
    "inf": (_with(np.inf, 4, [3, 5]), r"infinite.* row 4"),
    "negative": (_with(-1.0, [11, 9], 2), r"negative.* in 2 cells.* row 9"),
    "NaN on the diagonal": (_with(np.nan, 6, 6), r"row 6"),
    "rectangular": (SOME_WEIGHTS[:, :20], r"square.*\(30, 20\)"),
    "empty": (np.zeros((30, 30)), "no positive entry"),
    "diagonal": (np.eye(30), "no positive entry"),
}


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("bad", BAD_MATRICES)
def test_precomputed_refuses_what_is_no_affinity(bad, sparse):
    weights, message = BAD_MATRICES[bad]
    with pytest.raises(ValueError, match=message):
        PrecomputedAffinity(sp.csr_matrix(weights) if sparse else weights)()


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_precomputed_of_tiny_or_huge_weights_keeps_their_ratios(scale):
    matrix = PrecomputedAffinity(SOME_WEIGHTS * scale)()
    np.testing.assert_allclose(matrix.weights, PrecomputedAffinity(SOME_WEIGHTS)().weights, rtol=1e-5)


@pytest.mark.parametrize(
    "perplexity",
    [-1, 0, 0.5, np.nan, np.inf, [], [30, -1]],
    ids=["negative", "zero", "below 1", "nan", "inf", "none", "one of"],
)
def test_entropic_refuses_what_is_no_perplexity(perplexity):
    with pytest.raises(ValueError, match="perplexity"):
        EntropicAffinity(perplexity)


@pytest.mark.parametrize(("make", "message"), [(lambda: UniformAffinity(0), "`k`"), (lambda: UMAPAffinity(1), "`n`")])
def test_graph_affinities_refuse_too_few_neighbors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_entropic_refuses_a_graph_with_too_few_neighbors(graph):
    with pytest.raises(ValueError, match=r"more than 30 neighbors.*holds 30"):
        EntropicAffinity(30)(first(graph, 30))


def test_entropic_warns_below_three_times_the_perplexity(graph):
    with pytest.warns(UserWarning, match=r"best fitted to 90 neighbors.*holds 60"):
        EntropicAffinity(30)(first(graph, 60))


@pytest.mark.parametrize(
    ("affinity", "n_obs", "wanted"),
    [
        (EntropicAffinity(30), 1000, 90),
        (EntropicAffinity(30), 50, 49),
        (EntropicAffinity([5, 20]), 1000, 60),
        (UniformAffinity(14), 1000, 14),
        (UniformAffinity(14), 10, 9),
        (UMAPAffinity(15), 1000, 14),
        (PrecomputedAffinity(SOME_WEIGHTS), 30, 0),
    ],
)
def test_affinity_says_how_many_neighbors_it_wants(affinity, n_obs, wanted):
    assert affinity.n_neighbors(n_obs) == wanted


def test_graph_with_mismatched_arrays_raises():
    with pytest.raises(ValueError, match="one shape"):
        KnnGraph(torch.zeros(5, 3, dtype=torch.int32), torch.zeros(5, 2))


def test_matrix_with_mismatched_arrays_raises():
    indptr, indices, weights = torch.tensor([0, 1, 2]), torch.tensor([1, 0], dtype=torch.int32), torch.ones(2)
    for bad in ((indptr[:2], indices, weights), (indptr, indices, weights[:1])):
        with pytest.raises(ValueError, match="AffinityMatrix of 2 rows"):
            AffinityMatrix(*bad, n_rows=2, n_cols=2, first_row=0, row_mass=torch.ones(2), total=2.0)
