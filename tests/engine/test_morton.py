"""Cells in the order of a Morton curve: the order itself, graphs in it, and embeddings that do not show it."""

import numpy as np
import pytest
import torch

from _configs import changed
from sc_nembed.engine import cells, presets
from sc_nembed.engine.affinity import UniformAffinity
from sc_nembed.engine.cells.morton import STRETCH, by_degree, morton_order, reordered
from sc_nembed.engine.cells.rows import Rows
from sc_nembed.engine.compute import backend
from sc_nembed.engine.neighbors import nearest_neighbors
from sc_nembed.engine.pipeline import embed

from . import _truth

N = 600


@pytest.fixture(scope="module")
def features():
    rng = np.random.default_rng(0)
    return torch.from_numpy(
        (3 * rng.normal(size=(8, 6))[rng.integers(8, size=N)] + rng.normal(size=(N, 6))).astype("f")
    )


def test_morton_order_follows_the_curve_by_definition():
    """Bit by bit, y's above x's."""
    rng = np.random.default_rng(1)
    points = torch.from_numpy(rng.uniform(size=(300, 2)).astype("f"))
    points[:2] = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    codes = []
    for x, y in (points.numpy() * np.float32(65_535)).astype(int):
        bits = [f"{(y >> bit) & 1}{(x >> bit) & 1}" for bit in range(15, -1, -1)]
        codes.append(int("".join(bits), 2))
    assert morton_order(points).tolist() == np.argsort(codes, kind="stable").tolist()


def test_neighbors_on_the_curve_are_near_in_the_plane():
    points = torch.rand(4000, 2, generator=torch.Generator().manual_seed(0))
    sorted_points = points[morton_order(points)]
    assert (sorted_points.diff(dim=0).norm(dim=1).mean() < 0.1 * points.diff(dim=0).norm(dim=1).mean()).item()


def test_points_at_one_place_keep_their_order():
    assert morton_order(torch.ones(5, 2)).tolist() == [0, 1, 2, 3, 4]


def test_cells_of_a_stretch_are_sorted_by_degree_and_stay_in_it():
    rng = np.random.default_rng(3)
    order, degrees = torch.from_numpy(rng.permutation(5000)), torch.from_numpy(rng.integers(3, 9, 5000))
    found = by_degree(order, degrees)
    for begin in range(0, 5000, STRETCH):
        stretch = slice(begin, begin + STRETCH)
        assert sorted(found[stretch].tolist()) == sorted(order[stretch].tolist())
        assert (degrees[found[stretch]].diff() >= 0).all()


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_reordered_graphs_are_the_same_graphs(features, n_jobs):
    order = torch.from_numpy(np.random.default_rng(2).permutation(N))
    with backend.session(n_jobs):
        graph = nearest_neighbors(features, 9)
        graph.indices[3, 5:], graph.distances[3, 5:] = -1, torch.inf
        matrix = UniformAffinity()(graph)
        dense, moved = _truth.dense(matrix), reordered(matrix, order)
        np.testing.assert_array_equal(_truth.dense(moved), dense[order][:, order])
        assert torch.equal(moved.row_mass, matrix.row_mass[order])
        again = UniformAffinity()(reordered(graph, order))
    np.testing.assert_array_equal(_truth.dense(again), dense[order][:, order])


def test_rows_sorted_by_an_order_come_back():
    cells_of_all = torch.tensor([5.0, 6.0, 5.0, 7.0])
    rows = Rows(torch.tensor([0, 1, 3]), torch.tensor([0, 1, 0, 2]), torch.tensor([2.0, 1.0, 1.0]))
    moved = rows.sorted_by(torch.tensor([2, 0, 1]))
    assert moved.select(cells_of_all).tolist() == [7.0, 5.0, 6.0]
    assert moved.counts.tolist() == [1.0, 2.0, 1.0]
    assert torch.equal(moved.complete(moved.select(cells_of_all)), cells_of_all)
    alone = Rows().sorted_by(torch.tensor([1, 2, 0, 3]))
    assert torch.equal(alone.complete(alone.select(cells_of_all)), cells_of_all)


SOURCES = {
    "features": lambda features: features,
    "graph": lambda features: nearest_neighbors(features, 14),
    "affinities": lambda features: UniformAffinity()(nearest_neighbors(features, 14)),
    "affinities alone": lambda features: UniformAffinity()(nearest_neighbors(features, 14)),
}


@pytest.mark.parametrize("method", ["tsne", "umap"])
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("twins", [False, True], ids=["", "equal cells"])
def test_embedding_of_sorted_cells_is_that_of_unsorted_ones(features, monkeypatch, source, method, twins):
    """After few steps, before rounding takes the two apart."""
    features = torch.cat([features, features[:40]]) if twins else features
    start = torch.from_numpy(np.random.default_rng(3).normal(size=(len(features), 2)).astype("f"))
    config = changed(presets.resolve_method(method), max_iter=6, init=start, early_exaggeration_iter=0)
    if source == "features":
        config = changed(config, process_duplicates=twins)
    given, found = SOURCES[source](features), []
    for many in (10**9, 100):
        monkeypatch.setattr(cells, "MANY_CELLS", many)
        sorts = []
        monkeypatch.setattr(cells, "morton_order", lambda points, sorts=sorts: sorts.append(1) or morton_order(points))
        found.append(embed(given, config, features=features if source in ("graph", "affinities") else None).embedding)
        assert len(sorts) == (many == 100)
    assert _truth.relative(found[1], found[0].double()) < 1e-4
