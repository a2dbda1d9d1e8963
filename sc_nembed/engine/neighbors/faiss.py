"""Search by faiss on the CPU (Douze et al. 2024): a flat index up to 20 000 cells, above that an inverted file.

The inverted file has 2√n lists (4√n above 200 000 cells) and looks into as many of them as a sample of 384 cells needs,
whose exact neighbors are found first: until .985 of them are found where at most 30 are wanted, .95 of more, and .94
above 200 000 cells. So the recall is that one, whatever the data, within the error of the sample;
`benchmarks/accuracy.py` measures it. Cells are searched list by list: the points of a list then come from the cache.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from ..compute import backend

FLAT_CELLS = 20_000
MANY_CELLS = 200_000
N_SAMPLED = 384
PROBES = (4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 18, 20, 24, 28, 32, 40, 48, 64, 96, 128, 192, 256)
TRAINING_POINTS_PER_LIST = 39  # what faiss asks for
TRAINING_ROUNDS = 10
PIECE = 131_072  # numbers in the cells searched at once, at least: fewer are compared one by one, far more slowly
SAMPLE_ROWS = 64

MANY = 40  # neighbors from which faiss keeps the best of a list in a reservoir; a heap of 90 takes 1.25 times as long
logger = logging.getLogger(__name__)


def search(features: Tensor, k: int) -> Tensor:
    """Candidates (n, k + 1) int32; −1 where the lists looked into hold fewer.

    Pieces of fixed size are searched by the engine's threads, each with one thread of faiss and of its BLAS: rounding,
    and with it who is nearest of nearly equal ones, is then the same for any number of threads.
    """
    import faiss

    points = backend.as_array(features.cpu())
    before = faiss.omp_get_max_threads(), faiss.cvar.distance_compute_min_k_reservoir
    faiss.omp_set_num_threads(backend.openmp_threads())
    faiss.cvar.distance_compute_min_k_reservoir = MANY
    try:
        with threadpool_limits(1, user_api="blas"):
            n_wanted = min(k + 1, len(points))
            found = _flat(points, n_wanted) if len(points) <= FLAT_CELLS else _inverted(points, n_wanted)
    finally:
        faiss.omp_set_num_threads(before[0])
        faiss.cvar.distance_compute_min_k_reservoir = before[1]
    return torch.from_numpy(found).to(features.device)


def _in_pieces(n_rows: int, rows: int, of_piece: Callable[[int, int], None]) -> None:
    """Call a function for pieces of rows; each thread of the engine has one thread of faiss."""
    import faiss

    def work(chunk: int, begin: int, end: int) -> None:
        before = faiss.omp_get_max_threads()  # of this very thread
        faiss.omp_set_num_threads(1)
        try:
            of_piece(begin, end)
        finally:
            faiss.omp_set_num_threads(before)

    backend.parallel(work, backend.chunk_bounds(n_rows, rows))


def _rows(points: np.ndarray) -> int:
    """Cells of a piece: all of a size, and as many pieces as threads usually share evenly."""
    n_pieces = max(1, points.size // PIECE)
    n_pieces -= n_pieces % 8 if n_pieces > 8 else 0
    return -(-len(points) // n_pieces)


def _flat(points: np.ndarray, n_wanted: int) -> np.ndarray:
    import faiss

    found = np.empty((len(points), n_wanted), np.int32)

    def look(begin: int, end: int) -> None:
        found[begin:end] = faiss.knn(points[begin:end], points, n_wanted)[1]

    _in_pieces(len(points), _rows(points), look)
    return found


def _inverted(points: np.ndarray, n_wanted: int) -> np.ndarray:
    import faiss

    n, n_features = points.shape
    n_lists = int((2 if n <= MANY_CELLS else 4) * np.sqrt(n))
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(n_features), n_features, n_lists, faiss.METRIC_L2)
    index.cp.seed, index.cp.niter, index.cp.max_points_per_centroid = 1, TRAINING_ROUNDS, TRAINING_POINTS_PER_LIST
    index.train(points)
    lists, found = np.empty(n, np.int64), np.empty((n, n_wanted), np.int32)

    def assign(begin: int, end: int) -> None:
        lists[begin:end] = index.quantizer.search(points[begin:end], 1)[1][:, 0]

    _in_pieces(n, _rows(points), assign)
    index.add_core(n, faiss.swig_ptr(points), None, faiss.swig_ptr(lists))
    order = np.argsort(lists, kind="stable")
    index.nprobe = _probes_needed(index, points, n_wanted)

    def look(begin: int, end: int) -> None:
        rows = order[begin:end]
        found[rows] = index.search(points[rows], n_wanted)[1]

    _in_pieces(n, _rows(points), look)
    return found


def _probes_needed(index, points: np.ndarray, n_wanted: int) -> int:
    """Lists to look into for the recall that is promised; all of them where no smaller number reaches it."""
    import faiss

    target = 0.94 if len(points) > MANY_CELLS else 0.985 if n_wanted <= 31 else 0.95  # a sample errs by .005
    sample = points[np.random.default_rng(0).choice(len(points), min(N_SAMPLED, len(points)), replace=False)]
    exact, reached = np.empty((2, len(sample)), np.float32)

    def look(begin: int, end: int) -> None:
        exact[begin:end] = faiss.knn(sample[begin:end], points, n_wanted)[0][:, -1]

    def look_again(begin: int, end: int) -> None:  # by distance, not by index: of equal ones any will do
        near_enough = index.search(sample[begin:end], n_wanted)[0] <= exact[begin:end, None] * (1 + 1e-4)
        reached[begin:end] = (near_enough.sum(1) - 1) / (n_wanted - 1)  # a cell finds itself

    _in_pieces(len(sample), SAMPLE_ROWS, look)
    for n_probes in (*(n for n in PROBES if n < index.nlist), index.nlist):
        index.nprobe = n_probes
        _in_pieces(len(sample), SAMPLE_ROWS, look_again)
        if reached.mean() >= target:
            break
    logger.debug("inverted file: %d of %d lists, recall %.3f", n_probes, index.nlist, reached.mean())
    return n_probes
