"""Nearest neighbors of features.

| name | what |
|---|---|
| torch | exact, in blocks of rows, on any device |
| faiss | exact up to 20 000 cells, then an inverted file at the recall stated in `neighbors.faiss` |
| keops | exact, by differences, in memory linear in the cells, on any device; compiled on first use |

Every entry of `KNN` has the signature `search(features, k) -> candidates`: (n, d) float32 features whose euclidean
distances count, and up to k + 1 candidates per row, (n, k + 1) int32, possibly with the cell itself among them and −1
for none. What they have in common is here: metrics, exact distances of the candidates by differences, sorting, the cell
itself left out by identity. Where faiss is to be exact, cells for which its float32 has too few digits are searched
again in float64.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..compute import backend
from ..compute.twins import twin
from ..fused import affinity as fused_affinity
from ..graph import KnnGraph
from . import exact, faiss, keops

KNN = {"torch": exact.search, "faiss": faiss.search, "keops": keops.search}
METRICS = ("euclidean", "cosine")
FEW_CELLS = 4_000  # above, faiss is the default
DIGITS = 1e-4  # of a squared distance may be lost to rounding, where faiss searches exactly
ROWS = 1024


def nearest_neighbors(features: Tensor, k: int, *, metric: str = "euclidean", method: str = "torch") -> KnnGraph:
    """The k nearest other cells of every row of `features`, (n, d).

    Euclidean distances are computed from centred features, so that a large offset does not cancel their digits; cosine
    distances, 1 − cos, from differences of unit vectors, so that they are never negative.

    Raises
    ------
    ValueError
        For an unknown metric or method, and for `metric="cosine"` with rows that are all 0.
    """
    if metric not in METRICS:
        raise ValueError(f"Unknown `metric` {metric!r}; available: {list(METRICS)}.")
    if method not in KNN:
        raise ValueError(f"Unknown neighbor search {method!r}; available: {sorted(KNN)}.")
    points = unit_rows(features) if metric == "cosine" else features
    candidates = KNN[method](points, k)
    graph = _nearest_of(points, candidates, k)
    if method == "faiss" and points.shape[0] <= faiss.FLAT_CELLS:
        graph = _searched_again(graph, points, _doubtful(graph, points))
    if metric == "cosine":
        graph = KnnGraph(graph.indices, graph.distances.square() / 2)
    return graph


def nearest_of_fitted(fitted: Tensor, queries: Tensor, k: int, metric: str, itself: Tensor | None = None) -> KnnGraph:
    """The k nearest rows of `fitted` of every query, found exactly; without the row `itself`, (m,), where it is one."""
    if metric == "cosine":
        fitted, queries = unit_rows(fitted), unit_rows(queries)
    n = fitted.shape[0]
    candidates = exact.nearest(fitted, queries, k + (itself is not None))
    if itself is not None:
        candidates = candidates.masked_fill(candidates == itself[:, None].int(), -1)
    # behind the fitted rows, which search nothing, so that a pair has the same distance, to the bit, as in the graph
    unsought = candidates.new_full((n, candidates.shape[1]), -1)
    graph = _nearest_of(torch.cat([fitted, queries]), torch.cat([unsought, candidates]), k)
    distances = graph.distances[n:]
    return KnnGraph(graph.indices[n:], distances.square() / 2 if metric == "cosine" else distances)


def completed(graph: KnnGraph, features: Tensor, metric: str) -> KnnGraph:
    """The graph with exact neighbors in rows where the inverted lists held too few."""
    return _searched_again(graph, features, torch.nonzero(graph.indices[:, -1] < 0)[:, 0], metric)


def _doubtful(graph: KnnGraph, points: Tensor) -> Tensor:
    """Cells so far from the origin that float32 leaves ‖x‖² + ‖y‖² − 2⟨x, y⟩ few digits of distances around them."""
    lost = 2 * points.square().sum(1) * torch.finfo(torch.float32).eps
    return torch.nonzero(lost > DIGITS * graph.distances[:, -1].square())[:, 0]


def _searched_again(graph: KnnGraph, features: Tensor, rows: Tensor, metric: str = "euclidean") -> KnnGraph:
    """The graph with exact neighbors in some rows."""
    if len(rows):
        exactly = nearest_of_fitted(features, features[rows], graph.n_neighbors, metric, itself=rows)
        graph.indices[rows], graph.distances[rows] = exactly.indices, exactly.distances
    return graph


def default_method(n_obs: int, device: torch.device) -> str:
    """The search to use: exact for few cells and on CUDA, else faiss."""
    return "torch" if n_obs <= FEW_CELLS or device.type == "cuda" else "faiss"


def unit_rows(features: Tensor) -> Tensor:
    """Rows of length 1, whose squared distance is 2 (1 − cos)."""
    norms = features.double().norm(dim=1, keepdim=True)
    zero = torch.nonzero(norms[:, 0] == 0)[:, 0]
    if len(zero):
        raise ValueError(
            f"The cosine distance of cells whose values are all 0 is not defined: {len(zero)} such cells, the first "
            f"in row {int(zero[0])}. Remove them, or use metric='euclidean'."
        )
    return (features.double() / norms).to(features.dtype)


def _nearest_of(points: Tensor, candidates: Tensor, k: int) -> KnnGraph:
    return KnnGraph(*twin("nearest candidates", points)(points, candidates, k))


def plain_nearest(points: Tensor, candidates: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Indices (n, k) int32 and distances of the nearest of each row's candidates, without itself; −1 is none."""
    n, candidates = points.shape[0], candidates.long()
    distances = torch.cat([
        (points[rows][:, None] - points[candidates[rows].clamp_min(0)]).norm(dim=2)
        for rows in torch.arange(n, device=points.device).split(ROWS)
    ])  # fmt: skip
    itself = torch.arange(n, device=points.device)[:, None]
    distances = distances.masked_fill((candidates < 0) | (candidates == itself), torch.inf)
    distances, order = distances.sort(dim=1, stable=True)
    indices = candidates.gather(1, order).masked_fill(distances.isinf(), -1)
    return indices[:, :k].int().contiguous(), distances[:, :k].contiguous()


def from_csr(indptr: np.ndarray, indices: np.ndarray, distances: np.ndarray) -> KnnGraph:
    """A graph from CSR arrays of distances whose rows may be unsorted, of any length, and list a neighbor twice or the
    cell.

    Rows are sorted by distance; a neighbor listed twice counts once, at its smallest distance.
    """
    n = len(indptr) - 1
    longest = int(np.diff(indptr).max(initial=0))
    found = np.full((n, longest), -1, np.int32), np.full((n, longest), np.inf, np.float32)
    counts = np.zeros(n, np.int64)
    backend.parallel(
        fused_affinity.sorted_rows, backend.chunk_bounds(n, ROWS), indptr, indices, distances, *found, counts
    )
    k = int(counts.max(initial=0))
    return KnnGraph(*(torch.from_numpy(np.ascontiguousarray(array[:, :k])) for array in found))
