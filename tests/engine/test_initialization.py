"""Starting positions: against numpy's eigenvectors, and scaled as asked."""

import numpy as np
import pytest
import torch
from scipy.linalg import eigh

from _configs import changed
from sc_nembed.engine.affinity import EntropicAffinity, PrecomputedAffinity
from sc_nembed.engine.compute import backend
from sc_nembed.engine.initialization import NAMES, hyperbolic, pca, random, spectral, start_positions
from sc_nembed.engine.neighbors import nearest_neighbors
from sc_nembed.engine.pipeline import embed
from sc_nembed.engine.presets import sne, tsne, umap

from . import _truth


@pytest.fixture(scope="module")
def matrix(pbmc):
    return EntropicAffinity(15)(nearest_neighbors(pbmc, 45))


@pytest.fixture(scope="module")
def laplacian(matrix) -> np.ndarray:
    """The normalised Laplacian's first eigenvectors after the trivial one, divided by √degree."""
    affinity = _truth.dense(matrix)
    degree = affinity.sum(1)
    return (
        eigh(np.eye(700) - affinity / np.sqrt(np.outer(degree, degree)), subset_by_index=[1, 3])[1]
        / np.sqrt(degree)[:, None]
    )


def same_up_to_sign(found, expected) -> float:
    """Largest 1 − |correlation| over the columns."""
    pairs = zip(np.asarray(found, float).T, np.asarray(expected, float).T, strict=True)
    return max(1 - abs(np.corrcoef(a, b)[0, 1]) for a, b in pairs)


@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_pca_equals_singular_vectors(pbmc, n_components):
    centred = pbmc.double().numpy() - pbmc.double().numpy().mean(0)
    left, size, _ = np.linalg.svd(centred, full_matrices=False)
    found = pca(pbmc, n_components, 0)
    assert found.shape == (700, n_components)
    assert same_up_to_sign(found, (left * size)[:, :n_components]) <= 1e-5
    np.testing.assert_allclose(found.double().std(0, correction=0), size[:n_components] / np.sqrt(700), rtol=1e-4)


def test_pca_fills_missing_dimensions_with_little_noise(pbmc):
    line = torch.outer(torch.linspace(-1, 1, 50), torch.tensor([1.0, 2.0, -1.0]))  # rank 1
    found = pca(line, 3, 0)
    assert same_up_to_sign(found[:, :1], line[:, :1]) <= 1e-6
    sizes = found.std(0)
    assert (sizes[1:] > 0).all()
    assert (sizes[1:] < 0.05 * sizes[0]).all()
    assert pca(line[:, :1], 2, 0).shape == (50, 2)


@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_spectral_equals_the_eigenvectors_of_the_normalised_laplacian(matrix, laplacian, n_components):
    assert same_up_to_sign(spectral(matrix, n_components, 0), laplacian[:, :n_components]) <= 1e-3


@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_spectral_sets_components_side_by_side(n_components):
    """Four groups without a connection, the last of two cells only."""
    sizes = [300, 60, 30, 2]
    weights, begin = np.zeros((sum(sizes), sum(sizes))), 0
    rng = np.random.default_rng(0)
    groups = []
    for size in sizes:
        members = slice(begin, begin + size)
        points = rng.normal(size=(size, 3))
        weights[members, members] = np.exp(-_truth.sq_distances(points, points)) * (1 - np.eye(size))
        groups.append(members)
        begin += size
    start = spectral(PrecomputedAffinity(weights)(), n_components, 0).numpy()
    assert np.isfinite(start).all()
    centers = [start[members].mean(0) for members in groups]
    radii = [np.abs(start[members] - center).max() for members, center in zip(groups, centers, strict=True)]
    assert all(radius > 0 for radius in radii)
    for i in range(4):
        for j in range(i):
            assert np.linalg.norm(centers[i] - centers[j]) > 0.7 * max(radii[i], radii[j])


def test_random_is_standard_normal():
    found = random(20_000, 2, 3).numpy()
    np.testing.assert_allclose(found.mean(0), 0, atol=0.03)
    np.testing.assert_allclose(found.std(0), 1, atol=0.03)
    assert not np.array_equal(found, random(20_000, 2, 4).numpy())


@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_hyperbolic_is_in_the_unit_ball(matrix, n_components):
    """The exponential map at the origin of the Poincaré ball: normal vectors, their lengths r become tanh(r / 2)."""
    found, tangent = (make(20_000, n_components, 3).double() for make in (hyperbolic, random))
    length, before = found.norm(dim=1), tangent.norm(dim=1)
    assert float(length.max()) < 1
    torch.testing.assert_close(length, (before / 2).tanh(), rtol=1e-6, atol=0)
    torch.testing.assert_close(found / length[:, None], tangent / before[:, None], rtol=0, atol=1e-6)
    # hyperbolic distances from the origin, 2 artanh r, are those of the tangent vectors
    torch.testing.assert_close(2 * length.atanh(), before, rtol=1e-4, atol=1e-6)
    assert not torch.equal(found, hyperbolic(20_000, n_components, 4).double())
    kept, _ = start_positions("hyperbolic", "keep", features=None, matrix=matrix, n_components=n_components, seed=3)
    assert torch.equal(kept, hyperbolic(700, n_components, 3))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_range_makes_ten_the_largest_coordinate(pbmc, matrix, name, n_components):
    options = {"features": pbmc, "matrix": matrix, "n_components": n_components, "seed": 0}
    start, _ = start_positions(name, "range", **options)
    assert float(start.abs().max()) == pytest.approx(10, rel=1e-6)
    np.testing.assert_allclose(start.double().mean(0), 0, atol=1e-4)
    other, _ = start_positions(name, 3.0, **options)
    torch.testing.assert_close(start / start[:, 0].std(), other / other[:, 0].std(), rtol=1e-4, atol=1e-5)


def test_range_of_given_positions_centres_and_scales_them(matrix):
    given = torch.randn(700, 2, generator=torch.Generator().manual_seed(0)) + torch.tensor([100.0, -3.0])
    start, used = start_positions(given, "range", features=None, matrix=matrix, n_components=2, seed=0)
    centred = given.double() - given.double().mean(0)
    assert used == "array"
    torch.testing.assert_close(start.double(), 10 * centred / centred.abs().max(), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="all equal"):
        start_positions(torch.ones(700, 2), "range", features=None, matrix=matrix, n_components=2, seed=0)


def test_starts_of_umap_and_of_the_others_have_their_own_scale(matrix):
    for preset in (umap, tsne, sne):
        config, options = preset(), {"features": None, "matrix": matrix, "n_components": 2, "seed": 0}
        expected, _ = start_positions("random", config.method.start_size, **options)
        result = embed(matrix, changed(config, init="random", max_iter=1, lr=1e-12))
        assert _truth.relative(result.embedding, expected) <= 1e-3
        assert result.used["init_scaling"] == config.method.start_size
    assert umap().method.start_size != tsne().method.start_size == sne().method.start_size == 1e-4


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scaling", [1e-4, 3.0])
@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_named_starts_are_centred_and_scaled(pbmc, matrix, name, scaling, n_components):
    start, used = start_positions(name, scaling, features=pbmc, matrix=matrix, n_components=n_components, seed=0)
    assert used == ("random" if name == "normal" else name)
    assert (start.dtype, start.shape) == (torch.float32, (700, n_components))
    assert float(start[:, 0].double().std(correction=0)) == pytest.approx(scaling, rel=1e-4)
    np.testing.assert_allclose(start.double().mean(0) / scaling, 0, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n_jobs", [1, 3])
def test_named_starts_leave_the_global_generators(pbmc, matrix, name, n_jobs):
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    with backend.session(n_jobs):
        start_positions(name, 1.0, features=pbmc, matrix=matrix, n_components=2, seed=0)
    assert np.array_equal(np.random.get_state()[1], before[0])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])


def test_pca_without_features_becomes_spectral(matrix):
    start, used = start_positions("pca", 1.0, features=None, matrix=matrix, n_components=2, seed=0)
    assert used == "spectral"
    expected, _ = start_positions("spectral", 1.0, features=None, matrix=matrix, n_components=2, seed=0)
    assert torch.equal(start, expected)


@pytest.mark.parametrize("with_features", [True, False])
def test_spectral_that_does_not_converge_falls_back_with_a_warning(pbmc, matrix, monkeypatch, with_features):
    from scipy.sparse.linalg import ArpackNoConvergence

    from sc_nembed.engine import initialization

    def give_up(*args, **kwargs):
        raise ArpackNoConvergence("no convergence", np.empty(0), np.empty((0, 0)))

    monkeypatch.setattr(initialization, "eigsh", give_up)
    with pytest.warns(UserWarning, match="did not converge"):
        _, used = start_positions(
            "spectral", 1.0, features=pbmc if with_features else None, matrix=matrix, n_components=2, seed=0
        )
    assert used == ("pca" if with_features else "random")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
@pytest.mark.parametrize("scaling", [None, "keep"])
def test_given_positions_are_kept(matrix, dtype, scaling):
    given = (10 * torch.randn(700, 2, generator=torch.Generator().manual_seed(0))).to(dtype)
    before = given.clone()
    start, used = start_positions(given, scaling, features=None, matrix=matrix, n_components=2, seed=0)
    assert used == "array"
    assert torch.equal(start, given.float())
    start.zero_()
    assert torch.equal(given, before)  # a copy


def test_given_positions_are_scaled_when_asked(matrix):
    given = torch.randn(700, 2, generator=torch.Generator().manual_seed(0))
    start, _ = start_positions(given, 1e-2, features=None, matrix=matrix, n_components=2, seed=0)
    assert float(start[:, 0].double().std(correction=0)) == pytest.approx(1e-2, rel=1e-5)
    torch.testing.assert_close(start / start[0, 0], given / given[0, 0])  # the shape is kept


def test_equal_positions_cannot_be_scaled(matrix):
    with pytest.raises(ValueError, match="all equal"):
        start_positions(torch.ones(700, 2), 1.0, features=None, matrix=matrix, n_components=2, seed=0)


@pytest.mark.parametrize("container", [torch.from_numpy, np.asarray], ids=["tensor", "array"])
@pytest.mark.parametrize("scaling", [None, 1e-2])
def test_embedding_never_writes_to_the_start(matrix, container, scaling):
    given = np.random.default_rng(0).normal(size=(700, 2)).astype(np.float32)
    before = given.copy()
    embed(matrix, changed(tsne(), init=container(given), init_scaling=scaling, max_iter=5))
    assert np.array_equal(given, before)


BAD_STARTS = {
    "too few cells": (np.zeros((600, 2), np.float32), "700"),
    "too many cells": (np.zeros((701, 2), np.float32), "700"),
    "too many dimensions": (np.ones((700, 3), np.float32), "2"),
    "a vector": (np.zeros(700, np.float32), "2"),
    "NaN": (np.full((700, 2), np.nan, np.float32), "NaN|finite"),
}


@pytest.mark.parametrize("bad", BAD_STARTS)
def test_start_that_does_not_fit_raises(matrix, bad):
    start, message = BAD_STARTS[bad]
    with pytest.raises(ValueError, match=message):
        embed(matrix, changed(tsne(), init=start, max_iter=5))


@pytest.mark.parametrize("layout", ["fortran", "columns", "rows", "reversed"])
def test_memory_layout_of_the_start_does_not_matter(matrix, layout):
    given = np.random.default_rng(0).normal(size=(700, 2)).astype(np.float32)
    wide = np.zeros((1400, 6), np.float32)
    laid_out = {
        "fortran": np.asfortranarray(given),
        "columns": wide[:700, 1:5:2],
        "rows": wide[::2, :2],
        "reversed": np.ascontiguousarray(given[::-1])[::-1],
    }[layout]
    laid_out[:] = given
    if layout == "reversed":  # torch takes no negative strides
        laid_out = laid_out.copy()
    config = changed(tsne(), max_iter=10, n_jobs=1)
    result = embed(matrix, changed(config, init=torch.as_tensor(laid_out)))
    assert torch.equal(result.embedding, embed(matrix, changed(config, init=torch.from_numpy(given))).embedding)
    assert result.embedding.is_contiguous()
