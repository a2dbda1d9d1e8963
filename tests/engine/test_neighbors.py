"""Neighbor searches: every entry of KNN against scikit-learn and brute force."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from sc_nembed.engine import neighbors
from sc_nembed.engine.cells.features import checked_features
from sc_nembed.engine.compute import backend
from sc_nembed.engine.neighbors import KNN, METRICS, faiss, from_csr, nearest_neighbors

from . import _truth


@pytest.fixture(params=KNN)
def method(request):
    return request.param


def sorted_distances(points: np.ndarray, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """All distances to others in float64, and the order of others, nearest first."""
    points = np.asarray(points, float)
    if metric == "cosine":
        points = points / np.linalg.norm(points, axis=1, keepdims=True)
    sq_dist = _truth.sq_distances(points, points)
    distances = sq_dist / 2 if metric == "cosine" else np.sqrt(sq_dist)
    np.fill_diagonal(distances, np.inf)
    order = distances.argsort(axis=1, kind="stable")
    return np.take_along_axis(distances, order, 1), order


def recall(found: torch.Tensor, expected: np.ndarray) -> float:
    hits = [np.isin(row, truth).sum() for row, truth in zip(found.numpy(), expected, strict=True)]
    return sum(hits) / expected.size


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("k", [1, 15, 90])
def test_search_equals_scikit_learn(pbmc, method, metric, k, n_jobs):
    with backend.session(n_jobs):
        graph = nearest_neighbors(pbmc, k, metric=metric, method=method)
    theirs = NearestNeighbors(n_neighbors=k, metric=metric, algorithm="brute").fit(pbmc.double().numpy())
    distances, indices = theirs.kneighbors()
    assert (graph.indices.dtype, graph.distances.dtype) == (torch.int32, torch.float32)
    np.testing.assert_allclose(graph.distances, distances, rtol=1e-5, atol=1e-6)
    # neighbors whose distances float32 cannot tell apart may change places
    assert recall(graph.indices, indices) >= 0.9999
    assert (np.diff(graph.distances, axis=1) >= 0).all()


@pytest.mark.parametrize("method", ["faiss", "torch"])
@pytest.mark.parametrize("metric", METRICS)
def test_inverted_file_finds_true_distances_and_most_neighbors(method, metric, monkeypatch):
    """`method` too: an exact search stays exact."""
    monkeypatch.setattr(faiss, "FLAT_CELLS", 100)
    rng = np.random.default_rng(0)
    points = (rng.normal(size=(30, 8))[rng.integers(0, 30, 2000)] + 0.3 * rng.normal(size=(2000, 8))).astype(np.float32)
    graph = nearest_neighbors(torch.from_numpy(points), 30, metric=metric, method=method)
    distances, order = sorted_distances(points, metric)
    assert recall(graph.indices, order[:, :30]) >= (0.9 if method == "faiss" else 0.9999)
    found = graph.indices.long()
    place = order.argsort(axis=1)  # rank of every other cell
    truly = np.take_along_axis(distances, np.take_along_axis(place, found.numpy(), 1), 1)
    np.testing.assert_allclose(graph.distances, truly, rtol=1e-4, atol=1e-6)


def test_short_lists_are_padded(monkeypatch):
    """Lists looked into that hold fewer cells than asked for."""
    monkeypatch.setattr(faiss, "FLAT_CELLS", 10)
    monkeypatch.setattr(faiss, "_probes_needed", lambda *given: 1)
    points = torch.from_numpy(np.random.default_rng(0).normal(size=(400, 4)).astype(np.float32))
    graph = nearest_neighbors(points, 60, method="faiss")
    padding = graph.indices < 0
    assert padding.any()
    assert torch.equal(padding, graph.distances.isinf())
    assert (padding.int().diff(dim=1) >= 0).all()  # always at the end of a row


def test_search_leaves_faiss_threads_as_they_were(pbmc):
    import faiss as library

    before = library.omp_get_max_threads()
    with backend.session(1):
        nearest_neighbors(pbmc, 5, method="faiss")
    assert library.omp_get_max_threads() == before


def test_self_is_left_out_by_identity(method, pbmc):
    """Twins lie at distance 0 as the cell itself does; leaving out the first column would leave out one of them."""
    points = torch.cat([pbmc[:100], pbmc[:100]])
    graph = nearest_neighbors(points, 15, method=method)
    itself = torch.arange(200)
    assert not (graph.indices == itself[:, None]).any()
    assert torch.equal(graph.indices[:, 0].long(), (itself + 100) % 200)
    assert (graph.distances[:, 0] == 0).all()


def test_more_twins_than_neighbors_fill_a_row(method):
    points = torch.cat([torch.zeros(30, 3), torch.randn(30, 3, generator=torch.Generator().manual_seed(0)) + 9])
    graph = nearest_neighbors(points, 5, method=method)
    assert (graph.distances[:30] == 0).all()
    assert not (graph.indices == torch.arange(60)[:, None]).any()
    assert all(len(set(row.tolist())) == 5 for row in graph.indices)
    assert (graph.indices[:30] < 30).all()


@pytest.mark.parametrize("k", [8, 9])
def test_all_others_can_be_neighbors(method, k):
    points = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    graph = nearest_neighbors(points, k, method=method)
    distances, order = sorted_distances(points.numpy(), "euclidean")
    np.testing.assert_array_equal(graph.indices, order[:, :k])
    np.testing.assert_allclose(graph.distances, distances[:, :k], rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_offset_leaves_the_neighbors(pbmc, method, dtype):
    """Pixel coordinates near 50 000; multiples of 1/64, so that adding the offset does not round them."""
    points = (pbmc * 64).round() / 64
    shifted = (points.double() + 50_000).to(dtype)
    here, there = (
        nearest_neighbors(checked_features(cloud, "euclidean"), 15, method=method)
        for cloud in (points.to(dtype), shifted)
    )
    np.testing.assert_allclose(there.distances, here.distances, rtol=1e-4)
    assert recall(there.indices, here.indices.numpy()) >= 0.999


@pytest.mark.parametrize("apart", [1e2, 1e3, 1e4])
def test_far_groups_keep_their_inner_neighbors(method, apart):
    """‖x‖² + ‖y‖² − 2⟨x, y⟩ loses the digits of distances within a group that is far from the origin."""
    rng = np.random.default_rng(0)
    points = (rng.normal(size=(600, 50)) + apart * (np.arange(600) % 2)[:, None] * np.eye(50)[0]).astype(np.float32)
    graph = nearest_neighbors(checked_features(torch.from_numpy(points), None), 15, method=method)
    distances, order = sorted_distances(points, "euclidean")
    np.testing.assert_allclose(graph.distances, distances[:, :15], rtol=1e-3)
    assert recall(graph.indices, order[:, :15]) >= 0.99


@pytest.mark.parametrize("apart", [1.0, 1e3, 1e4, 1e5])
def test_faiss_is_exact_where_it_multiplies_matrices(apart, monkeypatch):
    """Far from the origin its float32 has no digits left, and float64 takes over; only there."""
    rng = np.random.default_rng(0)
    n = 4000
    points = rng.normal(size=(n, 20)) + apart * (np.arange(n) % 4 == 0)[:, None] * np.eye(20)[0]
    features = checked_features(torch.from_numpy(points), None)
    again = []
    search = neighbors._searched_again
    monkeypatch.setattr(neighbors, "_searched_again", lambda *args: again.append(len(args[2])) or search(*args))
    found = nearest_neighbors(features, 15, method="faiss")
    exact = nearest_neighbors(features, 15, method="torch")
    assert recall(found.indices, exact.indices.numpy()) >= 0.9999
    np.testing.assert_allclose(found.distances, exact.distances, rtol=1e-5)
    assert again == [0] if apart == 1 else again[0] >= n / 4


def test_inputs_are_left_as_they_are(pbmc, method):
    for metric in METRICS:
        points = pbmc.clone()
        nearest_neighbors(points, 5, metric=metric, method=method)
        assert torch.equal(points, pbmc)


def test_cosine_of_empty_cells_raises(pbmc, method):
    points = pbmc.clone()
    points[[9, 4]] = 0
    with pytest.raises(ValueError, match=r"2 such cells, the first in row 4"):
        nearest_neighbors(points, 5, metric="cosine", method=method)


@pytest.mark.parametrize(("options", "listed"), [({"metric": "foo"}, "cosine"), ({"method": "foo"}, "faiss")])
def test_unknown_names_list_what_there_is(pbmc, options, listed):
    with pytest.raises(ValueError, match=rf"'foo'; available: .*'{listed}'"):
        nearest_neighbors(pbmc, 5, **options)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (torch.zeros(10), "matrix"),
        (torch.zeros(10, 0), "matrix"),
        (torch.ones(10, 3), "equal"),
        (
            torch.eye(10).index_fill(0, torch.tensor([3, 7]), torch.nan),
            "NaN or infinite values in 2 cells, the first in row 3",
        ),
        (torch.eye(10).index_fill(0, torch.tensor([5]), torch.inf), "in 1 cells, the first in row 5"),
    ],
    ids=["vector", "no columns", "constant", "NaN", "inf"],
)
def test_bad_features_raise(features, message):
    with pytest.raises(ValueError, match=message):
        checked_features(features, "euclidean")


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.int64])
def test_features_become_centred_float32_copies(pbmc, dtype):
    given = (pbmc * 10).to(dtype)
    before = given.clone()
    features = checked_features(given, None)
    assert features.dtype == torch.float32
    centred = given.double() - given.double().mean(0)
    torch.testing.assert_close(features.double(), centred, rtol=1e-5, atol=1e-4)
    assert features.data_ptr() != given.data_ptr()
    assert torch.equal(given, before)


def test_features_for_cosine_keep_their_origin(pbmc):
    assert torch.equal(checked_features(pbmc, "cosine"), pbmc)


@pytest.mark.parametrize(("k", "promised"), [(15, 0.97), (30, 0.97), (90, 0.93)])
@pytest.mark.parametrize(
    ("name", "n_cells"), [("cytof_pbmc_112k", 30_000), ("cytof_pbmc_112k", 60_000), ("cortex_snareseq", None)]
)
def test_recall_of_the_inverted_file_is_kept_on_real_cells(real_features, monkeypatch, name, n_cells, k, promised):
    """Also where there are no clusters and lists need many neighbors; rows are shuffled, since files are in order."""
    monkeypatch.setattr(faiss, "FLAT_CELLS", 5_000)
    cells = real_features(name)
    cells = cells[torch.from_numpy(np.random.default_rng(0).permutation(len(cells))[:n_cells])].contiguous()
    with backend.session(2):
        graph = nearest_neighbors(cells, k, method="faiss")
    sample = np.random.default_rng(1).choice(len(cells), 500, replace=False)
    theirs = NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(cells.numpy())
    expected = theirs.kneighbors(cells.numpy()[sample], return_distance=False)[:, 1:]
    assert recall(graph.indices[torch.from_numpy(sample)], expected) >= promised


def test_all_lists_are_looked_into_where_no_fewer_keep_the_recall(monkeypatch):
    """Noise in 40 dimensions: no list is nearer than another; then the search is exact."""
    monkeypatch.setattr(faiss, "FLAT_CELLS", 1000)
    monkeypatch.setattr(faiss, "PROBES", (1,))
    points = torch.from_numpy(np.random.default_rng(0).normal(size=(2000, 40)).astype(np.float32))
    graph = nearest_neighbors(points, 10, method="faiss")
    exact = nearest_neighbors(points, 10, method="torch")
    assert recall(graph.indices, exact.indices.numpy()) >= 0.9999


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_graph_from_csr_sorts_rows_and_keeps_each_neighbor_once(n_jobs):
    rng = np.random.default_rng(0)
    rows = []
    for i in range(3000):
        columns = rng.integers(0, 40, rng.integers(0, 12)) if i % 7 else np.r_[i, i, 5, 5, 9]
        rows.append((columns, rng.choice([0.0, 0.5, 1.0, 2.0, 3.0], columns.size)))
    indptr = np.r_[0, np.cumsum([columns.size for columns, _ in rows])].astype(np.int64)
    indices = np.concatenate([columns for columns, _ in rows]).astype(np.int32)
    distances = np.concatenate([distance for _, distance in rows]).astype(np.float32)
    before = indices.copy(), distances.copy()
    with backend.session(n_jobs):
        graph = from_csr(indptr, indices, distances)
    assert np.array_equal(indices, before[0])
    assert np.array_equal(distances, before[1])
    for i, (columns, distance) in enumerate(rows):
        nearest = {}
        for j, d in zip(columns, distance, strict=True):
            if j != i:
                nearest[int(j)] = min(d, nearest.get(int(j), np.inf))
        count = len(nearest)
        found = graph.indices[i], graph.distances[i]
        assert dict(zip(found[0][:count].tolist(), found[1][:count].tolist(), strict=True)) == nearest
        assert found[1][:count].tolist() == sorted(nearest.values())
        assert (found[0][count:] == -1).all()
        assert found[1][count:].isinf().all()


def test_graph_from_csr_of_nothing_has_no_neighbors():
    graph = from_csr(np.zeros(6, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
    assert graph.indices.shape == (5, 0)
