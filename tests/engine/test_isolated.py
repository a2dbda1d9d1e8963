"""Cells without neighbors: evenly around the others, 5 % outside, with a warning."""

import numpy as np
import pytest
import torch

from _configs import changed
from sc_nembed.engine.affinity import PrecomputedAffinity
from sc_nembed.engine.cells.isolated import participants
from sc_nembed.engine.graph import AffinityMatrix, KnnGraph
from sc_nembed.engine.pipeline import embed
from sc_nembed.engine.presets import tsne

from . import _truth

N, N_ALONE = 120, 9
ALONE = np.random.default_rng(1).choice(N, N_ALONE, replace=False)


def some_matrix(alone=ALONE) -> AffinityMatrix:
    rng = np.random.default_rng(0)
    weights = rng.uniform(size=(N, N)) * (rng.uniform(size=(N, N)) < 0.2)
    weights[alone], weights[:, alone] = 0, 0
    return PrecomputedAffinity(weights)()


def run(source, **changes):
    return embed(source, changed(tsne(), init="random", max_iter=40, n_jobs=1, **changes))


@pytest.fixture(scope="module", params=[1, 2, 3])
def embedding(request) -> np.ndarray:
    with pytest.warns(UserWarning, match=f"^{N_ALONE} cells have no neighbors"):
        return run(some_matrix(), n_components=request.param).embedding.numpy().astype(float)


def test_isolated_cells_lie_five_percent_outside_of_the_others(embedding):
    others = np.delete(embedding, ALONE, axis=0)
    center = others.mean(0)
    farthest = np.linalg.norm(others - center, axis=1).max()
    np.testing.assert_allclose(np.linalg.norm(embedding[ALONE] - center, axis=1), 1.05 * farthest, rtol=1e-4)


def test_isolated_cells_are_spread_evenly(embedding):
    center = np.delete(embedding, ALONE, axis=0).mean(0)
    around = embedding[np.sort(ALONE)] - center
    n_components = embedding.shape[1]
    if n_components == 1:  # the two ends in turn
        signs = np.sign(around[:, 0])
        assert abs(signs.sum()) == N_ALONE % 2
    elif n_components == 2:
        angles = np.sort(np.arctan2(around[:, 1], around[:, 0]))
        np.testing.assert_allclose(np.diff(angles), 2 * np.pi / N_ALONE, rtol=1e-3)
    else:  # the nearest two of nine on a sphere: 70.5° at best
        unit = around / np.linalg.norm(around, axis=1, keepdims=True)
        cosine = unit @ unit.T - 2 * np.eye(N_ALONE)
        assert np.degrees(np.arccos(cosine.max())) > 45


def test_others_are_embedded_as_if_alone(embedding):
    """The matrix of the participants is that of the others on their own."""
    others = np.delete(np.arange(N), ALONE)
    with pytest.warns(UserWarning, match="no neighbors"):
        part = participants(some_matrix())
    full = _truth.dense(some_matrix())
    np.testing.assert_array_equal(_truth.dense(part.matrix), full[np.ix_(others, others)])
    assert part.matrix.total == 1
    assert part.matrix.row_mass.tolist() == some_matrix().row_mass[others].tolist()
    alone = run(part.matrix, n_components=embedding.shape[1]).embedding.numpy()
    np.testing.assert_array_equal(embedding[others].astype(np.float32), alone)


def test_callbacks_and_given_starts_have_all_cells():
    shapes, start = [], np.random.default_rng(2).normal(size=(N, 2)).astype(np.float32)
    with pytest.warns(UserWarning, match="no neighbors"):
        result = embed(
            some_matrix(),
            changed(tsne(), init=start, max_iter=1, lr=1e-12),
            callbacks=[lambda i: shapes.append(i.embedding)],
        )
    others = np.delete(np.arange(N), ALONE)
    np.testing.assert_allclose(result.embedding[others], start[others], atol=1e-6)
    np.testing.assert_array_equal(shapes[-1], result.embedding)


@pytest.mark.parametrize("kind", ["graph", "matrix"])
def test_rows_without_entries_are_isolated_whatever_the_source(kind):
    indices = torch.stack([(torch.arange(N) + step) % N for step in (1, 2, 3)], 1).int()
    indices[[5, 70]] = -1
    indices[(indices == 5) | (indices == 70)] = -1
    order = (indices < 0).int().argsort(dim=1, stable=True)  # padding to the end
    indices = indices.gather(1, order)
    graph = KnnGraph(indices, torch.where(indices < 0, torch.inf, 1.0))
    source = graph
    if kind == "matrix":
        from sc_nembed.engine.affinity import UniformAffinity

        source = UniformAffinity()(graph)
    with pytest.warns(UserWarning, match="^2 cells have no neighbors"):
        embedding = run(source).embedding
    radius = (embedding - embedding[[i for i in range(N) if i not in (5, 70)]].mean(0)).norm(dim=1)
    assert radius.topk(2).indices.sort().values.tolist() == [5, 70]


def test_cells_listed_by_others_are_not_isolated():
    """An edge in one direction is enough."""
    indices = torch.stack([(torch.arange(N) + step) % N for step in (1, 2, 3)], 1).int()
    indices[5] = -1
    graph = KnnGraph(indices, torch.where(indices < 0, torch.inf, 1.0))
    assert torch.isfinite(run(graph).embedding).all()  # a warning would be an error here


def test_no_isolated_cells_no_change():
    matrix = some_matrix(alone=[])
    part = participants(matrix)
    assert part.matrix is matrix
    positions = torch.randn(N, 2)
    assert part.complete(positions, N) is positions


@pytest.mark.parametrize("kind", ["graph", "matrix"])
def test_all_isolated_raises(kind):
    none = torch.zeros(0, dtype=torch.int32), torch.zeros(0)
    if kind == "graph":
        source = KnnGraph(torch.full((N, 3), -1, dtype=torch.int32), torch.full((N, 3), torch.inf))
    else:
        source = AffinityMatrix(torch.zeros(N + 1, dtype=torch.int64), *none, N, N, 0, torch.zeros(N), 0.0)
    with pytest.raises(ValueError, match="No cell has a neighbor"):
        run(source)
