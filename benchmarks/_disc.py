"""A step of a million cells, without their data: points in a disc with links to points near them, as t-SNE leaves them.

The disc is 700 wide for a million points, as dense for fewer; each point is linked to 8.5 random ones at a distance of
about 4, and these links are symmetrised: 17 entries a row, as of a graph of 15 neighbors.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.sparse as sp
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

from sc_nembed.engine import presets
from sc_nembed.engine.affinity import PrecomputedAffinity
from sc_nembed.engine.configure import configured
from sc_nembed.engine.graph import AffinityMatrix
from sc_nembed.engine.pipeline import embed

WIDTH, N_POINTS, N_LINKS, NEAR = 700.0, 1_000_000, 8.5, 3.0
RATE = 0.01  # so low that a hundred steps leave the disc as it is


def disc(n: int) -> np.ndarray:
    """(n, 2) float32."""
    rng = np.random.default_rng(0)
    radius = WIDTH / 2 * np.sqrt(n / N_POINTS * rng.uniform(size=n))
    angle = rng.uniform(0, 2 * np.pi, n)
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle)]).astype(np.float32)


def links(points: np.ndarray, n_jobs: int) -> AffinityMatrix:
    """From each point to the points nearest to random places around it; all of one weight, then symmetrised."""
    rng, n = np.random.default_rng(1), len(points)
    rows = np.arange(int(N_LINKS * n)) % n
    places = points[rows] + rng.normal(scale=NEAR, size=(len(rows), 2))
    columns = KDTree(points).query(places, workers=n_jobs)[1]
    pattern = sp.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(n, n))
    pattern.data[:] = 1.0  # a link drawn twice counts once
    return PrecomputedAffinity(pattern)()


def our_step(matrix: AffinityMatrix, points: np.ndarray, n_jobs: int, few: int, more: int) -> tuple[np.ndarray, float]:
    """The points after `more` steps, and seconds of one step of the real loop, its checks included."""
    given = {"init": points, "init_scaling": "keep", "early_exaggeration_iter": 0, "race": False, "lr": RATE}
    config = configured(presets.tsne(), given | {"device": "cpu", "n_jobs": n_jobs})
    embed(matrix, replace(config, max_iter=1))  # compiles
    results = [embed(matrix, replace(config, max_iter=n)) for n in (few, more)]
    seconds = [result.seconds["optimize"] for result in results]
    return results[1].embedding.numpy(), (seconds[1] - seconds[0]) / (more - few)


def exact_push(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Unnormalised repulsion Σⱼ −(1 + d²)⁻² (zᵢ − zⱼ) of the rows `targets`, in float64 over all pairs."""
    found = np.empty((len(targets), 2))
    for begin in range(0, len(targets), 16):
        block = points[targets[begin : begin + 16]]
        weights = cdist(block, points, "sqeuclidean")
        weights += 1
        np.reciprocal(weights, out=weights)
        weights *= weights
        found[begin : begin + 16] = weights @ points - weights.sum(1)[:, None] * block
    return found
