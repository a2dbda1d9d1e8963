"""Independent truths in numpy float64: everything over all pairs, nothing shared with the package."""

import numpy as np
from scipy.spatial.distance import cdist


def sq_distances(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """By differences, (n, m) float64."""
    return cdist(np.asarray(left, float), np.asarray(right, float), "sqeuclidean")


def student(sq_dist: np.ndarray, dof: float = 1.0) -> np.ndarray:
    base = 1 + sq_dist / dof
    return 1 / base if dof == 1 else base ** (-(dof + 1) / 2)


def radial_sum(targets, sources, first, *, weights=None, dof=1.0) -> tuple[np.ndarray, np.ndarray]:
    """Student mass (m,) and push (m, d) of all sources on the targets, in blocks of rows."""
    targets, sources = np.asarray(targets, float), np.asarray(sources, float)
    weights = np.ones(len(sources)) if weights is None else np.asarray(weights, float)
    mass, push = np.empty(len(targets)), np.empty(targets.shape)
    for begin in range(0, len(targets), 500):
        block = targets[begin : begin + 500]
        sq_dist = sq_distances(block, sources)
        value = student(sq_dist, dof) * weights
        if first is not None:
            rows = np.arange(len(block))
            value[rows, first + begin + rows] = 0
        slope = value * (-0.5 * (dof + 1)) / (dof + sq_dist)
        mass[begin : begin + 500] = value.sum(1)
        push[begin : begin + 500] = slope.sum(1)[:, None] * block - slope @ sources
    return mass, push


def dense(matrix) -> np.ndarray:
    """An AffinityMatrix as (n, n) float64; a neighbor listed twice counts twice."""
    indptr, indices, weights = (part.numpy() for part in (matrix.indptr, matrix.indices, matrix.weights))
    full = np.zeros((matrix.n_rows, matrix.n_cols))
    np.add.at(full, (np.repeat(np.arange(matrix.n_rows), np.diff(indptr)), indices), weights.astype(float))
    return full


def loss(affinity: np.ndarray, positions, *, dof=1.0, exaggeration=1.0, strength=1.0) -> float:
    """− λ Σ P log q + ρ (Σ P) log Σ q over i ≠ j."""
    kernel = student(sq_distances(positions, positions), dof)
    np.fill_diagonal(kernel, 1.0)  # log 1 = 0
    attraction = -(affinity * np.log(kernel)).sum()
    return exaggeration * attraction + strength * affinity.sum() * np.log(kernel.sum() - len(kernel))


def kl(affinity: np.ndarray, positions, *, dof=1.0) -> float:
    """KL divergence of P and Q."""
    present = affinity[affinity > 0]
    return loss(affinity, positions, dof=dof) + (present * np.log(present)).sum()


def sparse_kl(matrix, positions) -> float:
    """The same from an AffinityMatrix and Student kernels of dof 1, in memory for many cells."""
    indptr, columns, weights = (part.numpy() for part in (matrix.indptr, matrix.indices, matrix.weights.double()))
    positions = np.asarray(positions, float)
    rows = np.repeat(np.arange(matrix.n_rows), np.diff(indptr))
    sq_dist = ((positions[rows] - positions[columns]) ** 2).sum(1)
    mass, _ = radial_sum(positions, positions, 0)
    return float((weights * (np.log1p(sq_dist) + np.log(weights))).sum() + np.log(mass.sum()))


def relative(found, expected) -> float:
    """Norm of the difference over the norm of the truth."""
    found, expected = np.asarray(found, float), np.asarray(expected, float)
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
