"""Starting positions: pure functions of the data and a seed, float32 tensors (n, n_components) on the CPU."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import ArpackError, eigsh
from threadpoolctl import threadpool_limits
from torch import Tensor

from .compute.notes import note
from .graph import AffinityMatrix, DenseAffinity

NAMES = ("pca", "spectral", "random", "normal", "hyperbolic")
RANGE = 10.0  # the largest coordinate that `init_scaling="range"` gives
FEW_FEATURES = 1000  # of them the principal components are eigenvectors of the covariance, all found at once
BLOCK = 1 << 16  # cells
SPREAD = 1e-2  # size of the noise that stands in for dimensions the data do not have


def pca(features: Tensor, n_components: int, seed: int) -> Tensor:
    """The first principal components; dimensions beyond the rank of the data are filled with little noise."""
    points = features.cpu().numpy()
    n_found = min(n_components, *points.shape)
    with threadpool_limits(1):  # a BLAS adds up in an order that depends on its threads
        if points.shape[1] <= FEW_FEATURES:
            found = _projected(points, n_found)
        else:
            from sklearn.decomposition import PCA

            found = PCA(n_found, random_state=seed).set_output(transform="default").fit_transform(points)
    start = _noise(points.shape[0], n_components, seed) * SPREAD * found[:, 0].std()
    varies = found.std(0) > 1e-6 * found[:, 0].std()
    start[:, :n_found][:, varies] = found[:, varies]
    return torch.from_numpy(start.astype(np.float32))


def _projected(points: np.ndarray, n_found: int) -> np.ndarray:
    """On the first eigenvectors of the covariance; importing scikit-learn would take longer than all else here.

    Signed as scikit-learn does: the largest entry of an eigenvector is positive.
    """
    mean = points.mean(0, dtype=np.float64)
    blocks = [slice(begin, begin + BLOCK) for begin in range(0, len(points), BLOCK)]
    centred = ((points[rows] - mean) for rows in blocks)
    covariance = sum(block.T @ block for block in centred)
    axes = np.linalg.eigh(covariance)[1][:, ::-1][:, :n_found]
    axes *= np.sign(axes[np.abs(axes).argmax(0), np.arange(n_found)])
    return np.concatenate([(points[rows] - mean) @ axes for rows in blocks])


def random(n_obs: int, n_components: int, seed: int) -> Tensor:
    """Standard normal."""
    return torch.from_numpy(_noise(n_obs, n_components, seed).astype(np.float32))


def hyperbolic(n_obs: int, n_components: int, seed: int) -> Tensor:
    """Standard normal tangent vectors at the origin of the Poincaré ball, carried into it by the exponential map."""
    tangent = _noise(n_obs, n_components, seed)
    length = np.linalg.norm(tangent, axis=1, keepdims=True)
    return torch.from_numpy((tangent * (np.tanh(length / 2) / length)).astype(np.float32))


def spectral(matrix: AffinityMatrix, n_components: int, seed: int) -> Tensor:
    """Eigenvectors of the normalised Laplacian of each connected component, the components set side by side.

    A component gets an area that grows with its number of cells, on a spiral around the largest; one too small for
    eigenvectors is random within it.

    Raises
    ------
    ArithmeticError
        Where the eigenvalue solver does not converge.
    """
    graph = sp.csr_matrix(
        (matrix.weights.cpu().double().numpy(), matrix.indices.cpu().numpy(), matrix.indptr.cpu().numpy()),
        shape=(matrix.n_rows, matrix.n_cols),
    )
    graph = (graph + graph.T) / 2  # P may be as it is defined
    n_pieces, piece = connected_components(graph, directed=False)
    sizes = np.bincount(piece)
    start = np.empty((matrix.n_rows, n_components))
    centers = _spiral(np.sqrt(np.sort(sizes)[::-1]), n_components)
    for rank, which in enumerate(np.argsort(-sizes, kind="stable")):
        members = np.flatnonzero(piece == which)
        inner = graph[members][:, members] if n_pieces > 1 else graph
        start[members] = centers[rank] + np.sqrt(members.size) * _eigenvectors(inner, n_components, seed)
    return torch.from_numpy(start.astype(np.float32))


def _eigenvectors(graph: sp.csr_matrix, n_components: int, seed: int) -> np.ndarray:
    """Coordinates within [−1, 1] of one connected component."""
    n = graph.shape[0]
    noise = _noise(n, n_components, seed)
    if n < n_components + 3:
        return noise / np.abs(noise).max()
    degree = np.asarray(graph.sum(1)).ravel()
    scale = sp.diags(1 / np.sqrt(degree))
    normalized = scale @ graph @ scale
    with threadpool_limits(1):
        if n < 200:
            vectors = np.linalg.eigh(normalized.toarray())[1][:, ::-1][:, : n_components + 1]
        else:
            try:
                found, vectors = eigsh(
                    normalized, k=n_components + 1, which="LA", tol=1e-4, maxiter=max(500, 5 * n_components),
                    ncv=max(2 * n_components + 3, 20), v0=np.sqrt(degree) + 1e-3 * _noise(n, 1, seed)[:, 0],
                )  # fmt: skip
            except ArpackError as error:
                raise ArithmeticError(str(error)) from error
            vectors = vectors[:, np.argsort(-found)]
    points = vectors[:, 1:] / np.sqrt(degree)[:, None]
    points -= points.mean(0)
    points *= np.sign(points[np.abs(points).argmax(0), np.arange(n_components)])
    return points / np.maximum(np.abs(points).max(0), 1e-30) + 1e-4 * noise


def _spiral(radii: np.ndarray, n_components: int) -> np.ndarray:
    """Centers of discs of falling radius: the first at the origin, the others around it; in 1-D side by side."""
    if n_components == 1:
        return (np.cumsum(2 * radii) - radii - radii[0])[:, None] * 1.1
    area = np.concatenate([[0], np.cumsum(radii**2)[:-1]])
    distance = np.sqrt(area) + np.where(np.arange(radii.size) > 0, 1.2 * radii, 0)
    angle = np.arange(radii.size) * np.pi * (3 - np.sqrt(5))
    centers = np.zeros((radii.size, n_components))
    centers[:, 0], centers[:, 1] = 1.5 * distance * np.cos(angle), 1.5 * distance * np.sin(angle)
    return centers


def start_positions(
    init: str | Tensor,
    scaling: float | str | None,
    *,
    features: Tensor | None,
    matrix: AffinityMatrix | DenseAffinity,
    n_components: int,
    seed: int,
) -> tuple[Tensor, str]:
    """Starting positions by name or as given, scaled; and the name of what was used.

    Named starts are centred and scaled so that the first column has the standard deviation `scaling`; given positions
    are scaled only where `scaling` is a number. "range" makes 10 the largest coordinate, "keep" scales nothing.
    """
    named = isinstance(init, str)
    if named:
        positions, used = _named(init, features, matrix, n_components, seed)
    else:
        positions, used = init.detach().cpu().float().clone(memory_format=torch.contiguous_format), "array"
    if scaling is None or scaling == "keep":
        return positions, used
    if named:
        positions = positions - positions.double().mean(0).float()
    if scaling == "range":
        positions = positions - positions.double().mean(0).float()
        spread, scaling = float(positions.abs().max()), RANGE
    else:
        spread = float(positions[:, 0].double().std(correction=0))
    if not spread > 0:
        raise ValueError(
            "The starting positions are all equal in their first column, so they cannot be scaled to `init_scaling`."
        )
    return positions * (float(scaling) / spread), used


def _named(
    init: str, features: Tensor | None, matrix: AffinityMatrix | DenseAffinity, n_components: int, seed: int
) -> tuple[Tensor, str]:
    if init == "pca" and features is not None:
        return pca(features, n_components, seed), "pca"
    if init == "hyperbolic":
        return hyperbolic(matrix.n_rows, n_components, seed), "hyperbolic"
    if init in ("random", "normal"):
        return random(matrix.n_rows, n_components, seed), "random"
    if isinstance(matrix, DenseAffinity):
        raise ValueError(
            f"`init={init!r}` has nothing to start from: a spectral start needs an affinity that is sparse and not "
            "negative, a start by PCA a representation. Use init='random', or an array."
        )
    try:
        return spectral(matrix, n_components, seed), "spectral"
    except ArithmeticError as error:
        instead = "pca" if features is not None else "random"
        note(f"The spectral start did not converge ({error}); starting from {instead} instead.")
        return _named(instead, features, matrix, n_components, seed)


def _noise(n_obs: int, n_components: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n_obs, n_components))
