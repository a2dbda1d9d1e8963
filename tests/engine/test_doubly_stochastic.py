"""Doubly stochastic affinities: row sums, the conditions of their optimum, and another solver of the same problem."""

import warnings

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from sc_nembed.engine.affinity import DoublyStochasticQuadraticAffinity, SinkhornAffinity, _scaling
from sc_nembed.engine.graph import KnnGraph
from sc_nembed.engine.neighbors import nearest_neighbors

from . import _truth

KINDS = {"sinkhorn": SinkhornAffinity, "quadratic": DoublyStochasticQuadraticAffinity}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
both_kernels = pytest.mark.parametrize("base_kernel", ["gaussian", "student"])


def all_pairs(points) -> KnnGraph:
    points = torch.as_tensor(np.asarray(points, np.float32))
    return nearest_neighbors(points, len(points) - 1)


def costs(points, base_kernel: str) -> np.ndarray:
    sq_dist = _truth.sq_distances(points, points)
    return sq_dist if base_kernel == "gaussian" else np.log1p(sq_dist)


def worst_row(full: np.ndarray) -> float:
    """The largest relative error of the sum of a row or column."""
    return max(np.abs(len(full) * full.sum(axis) - 1).max() for axis in (0, 1))


@every_kind
@both_kernels
@pytest.mark.parametrize("eps", [0.01, 0.1, 1.0, 10.0, 100.0, 1000.0, 1e5])
@pytest.mark.parametrize("n", [200, 700])
def test_rows_and_columns_sum_to_one_nth(pbmc, kind, base_kernel, eps, n):
    """From near matchings, each cell with one other, to nearly equal weights."""
    matrix = kind(eps, base_kernel)(all_pairs(pbmc[:n]))
    full = _truth.dense(matrix)
    print(f"{worst_row(full):.1e}, {matrix.n_edges / n:.1f} entries in a row")
    assert worst_row(full) <= 2e-6
    assert full.sum() == pytest.approx(1, rel=1e-6)
    assert not full.diagonal().any()
    assert np.array_equal(full, full.T)
    np.testing.assert_allclose(matrix.row_mass, 1 / n, rtol=1e-6)


@every_kind
@pytest.mark.parametrize("eps", [1.0, 30.0])
def test_rows_of_measured_cells_sum_to_one_nth(real_features, kind, eps):
    features = real_features("snareseq")[:600]
    assert worst_row(_truth.dense(kind(eps)(all_pairs(features - features.mean(0))))) <= 2e-6


@both_kernels
@pytest.mark.parametrize("eps", [20.0, 50.0])
def test_sinkhorn_equals_its_fixed_point(pbmc, base_kernel, eps):
    cost = costs(pbmc[:60], base_kernel) / eps
    np.fill_diagonal(cost, np.inf)
    kernel, scale = np.exp(-cost), np.ones(60)
    for _ in range(20_000):
        scale = np.sqrt(scale / (kernel @ scale))
    expected = scale[:, None] * kernel * scale / 60
    assert worst_row(expected) <= 1e-9
    found = _truth.dense(SinkhornAffinity(eps, base_kernel)(all_pairs(pbmc[:60])))
    assert np.abs(found - expected).sum() <= 1e-5


@pytest.mark.parametrize(("base_kernel", "eps"), [("gaussian", 30.0), ("gaussian", 1000.0), ("student", 3.0)])
def test_quadratic_equals_a_projection(pbmc, base_kernel, eps):
    """Of all non-negative hollow matrices with row sums 1, it is the one nearest to −C / ε; found by another solver."""
    n, cost = 60, costs(pbmc[:60], base_kernel) / eps
    np.fill_diagonal(cost, np.inf)

    def dual(f):
        positive = np.maximum(f[:, None] + f - cost, 0)
        return 0.25 * (positive**2).sum() - f.sum(), positive.sum(1) - 1

    start = np.full(n, 0.5 * np.median(cost))
    found = minimize(dual, start, jac=True, method="L-BFGS-B", options={"maxiter": 10**5, "ftol": 0, "gtol": 1e-10})
    expected = np.maximum(found.x[:, None] + found.x - cost, 0) / n
    assert worst_row(expected) <= 1e-7
    assert np.abs(_truth.dense(KINDS["quadratic"](eps, base_kernel)(all_pairs(pbmc[:n]))) - expected).sum() <= 1e-5


def test_quadratic_stores_positive_entries_alone_and_more_with_a_larger_eps(pbmc):
    graph = all_pairs(pbmc[:200])
    sizes = [DoublyStochasticQuadraticAffinity(eps)(graph) for eps in (1.0, 100.0, 1e4)]
    assert all((matrix.weights > 0).all() for matrix in sizes)
    assert sizes[0].n_edges < 3 * 200 < 5 * sizes[1].n_edges < sizes[2].n_edges * 2 < 2 * 200 * 199


def clumps() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    cloud = rng.normal(size=(60, 3))
    return {
        "a cell far away": np.concatenate([cloud, [[300.0, 0, 0]]]),
        "three far away": np.concatenate([cloud, [[300.0, 0, 0], [301, 0, 0], [-5000, 0, 0]]]),
        "pairs of equal cells": np.repeat(10 * rng.normal(size=(50, 3)), 2, axis=0),
        "half of them equal": np.concatenate([cloud, np.repeat(cloud[:1], 60, axis=0)]),
        "tight clump and scattered cells": np.concatenate([0.01 * cloud, 100 * rng.normal(size=(5, 3))]),
        "two clumps": np.concatenate([cloud, cloud[:7] + 1000]),
        "three cells": np.array([[0.0, 0], [0, 0], [9, 0]]),
        "all equal": np.ones((20, 2)),
        "lattice": np.stack(np.meshgrid(np.arange(9.0), np.arange(9.0)), -1).reshape(-1, 2),
    }


@every_kind
@both_kernels
@pytest.mark.parametrize("eps", [0.1, 10.0, 1000.0])
@pytest.mark.parametrize("case", clumps())
def test_clumped_cells_meet_the_conditions(kind, base_kernel, eps, case):
    assert worst_row(_truth.dense(kind(eps, base_kernel)(all_pairs(clumps()[case])))) <= 2e-6


@every_kind
@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_eps_has_the_unit_of_squared_distances(pbmc, kind, scale):
    graph = all_pairs(pbmc[:150])
    scaled = KnnGraph(graph.indices, graph.distances * scale)
    here, there = _truth.dense(kind(50.0)(graph)), _truth.dense(kind(50.0 * scale**2)(scaled))
    assert np.abs(here - there).sum() <= 2e-5


@every_kind
def test_what_was_reached_is_said(pbmc, kind, monkeypatch):
    graph = all_pairs(pbmc[:60])
    monkeypatch.setattr(_scaling, "STEPS", 1)
    monkeypatch.setattr(_scaling, "SWEEPS", 1)
    with pytest.warns(UserWarning, match=r"eps=1 did not converge: row sums are off by up to .*Raise `eps`"):
        matrix = kind(1.0)(graph)
    assert np.isfinite(_truth.dense(matrix)).all()
    monkeypatch.undo()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kind(1.0)(graph)


@every_kind
def test_an_eps_beyond_the_digits_of_a_float_is_refused(pbmc, kind):
    with pytest.raises(ValueError, match=r"`eps=1e-12` is too small for costs of up to"):
        kind(1e-12)(all_pairs(pbmc[:60]))


@every_kind
def test_parameters_without_a_meaning_are_refused(kind):
    for eps in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="`eps` must be a positive finite number"):
            kind(eps)
    with pytest.raises(ValueError, match=r"`base_kernel` must be one of \['gaussian', 'student'\]; got 'cauchy'"):
        kind(1.0, "cauchy")
