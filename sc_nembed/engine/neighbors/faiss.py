"""Search by faiss on the CPU (Douze et al. 2024): a flat index up to 20 000 cells, above that an inverted file.

The inverted file has 2√n lists (4√n above 200 000 cells) and looks into as many of them as a sample of 400 cells needs,
whose exact neighbors are found first: until .98 of them are found where at most 30 are wanted, .95 of more, and .94
above 200 000 cells. So the recall is that one, whatever the data, within the error of the sample;
`benchmarks/accuracy.py` measures it. Cells are searched list by list: the points of a list then come from the cache.
"""

from __future__ import annotations

import logging

import numpy as np
import torch
from torch import Tensor

from .. import backend

FLAT_CELLS = 20_000
MANY_CELLS = 200_000
N_SAMPLED = 400
PROBES = (4, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256)
TRAINING_POINTS_PER_LIST = 39  # what faiss asks for
TRAINING_ROUNDS = 10
BLOCK = 1 << 16  # cells searched at once

logger = logging.getLogger(__name__)


def search(features: Tensor, k: int) -> Tensor:
    """Candidates (n, k + 1) int32; −1 where the lists looked into hold fewer."""
    import faiss

    points = backend.as_array(features.cpu())
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(backend.openmp_threads())
    try:
        n_wanted = min(k + 1, len(points))
        found = _flat(points, n_wanted) if len(points) <= FLAT_CELLS else _inverted(points, n_wanted)
    finally:
        faiss.omp_set_num_threads(before)
    return torch.from_numpy(found).to(features.device)


def _flat(points: np.ndarray, n_wanted: int) -> np.ndarray:
    import faiss

    return faiss.knn(points, points, n_wanted)[1].astype(np.int32)


def _inverted(points: np.ndarray, n_wanted: int) -> np.ndarray:
    import faiss

    n, n_features = points.shape
    n_lists = int((2 if n <= MANY_CELLS else 4) * np.sqrt(n))
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(n_features), n_features, n_lists, faiss.METRIC_L2)
    index.cp.seed, index.cp.niter, index.cp.max_points_per_centroid = 1, TRAINING_ROUNDS, TRAINING_POINTS_PER_LIST
    index.train(points)
    index.add(points)
    index.nprobe = _probes_needed(index, points, n_wanted)
    sq_dist, lists = index.quantizer.search(points, index.nprobe)
    found, order = np.empty((n, n_wanted), np.int32), np.argsort(lists[:, 0], kind="stable")
    for rows in np.split(order, range(BLOCK, n, BLOCK)):
        found[rows] = index.search_preassigned(points[rows], n_wanted, lists[rows], sq_dist[rows])[1]
    return found


def _probes_needed(index, points: np.ndarray, n_wanted: int) -> int:
    """Lists to look into for the recall that is promised; all of them where no smaller number reaches it."""
    import faiss

    target = 0.94 if len(points) > MANY_CELLS else 0.98 if n_wanted <= 31 else 0.95
    sample = points[np.random.default_rng(0).choice(len(points), min(N_SAMPLED, len(points)), replace=False)]
    exact = faiss.knn(sample, points, n_wanted)[0][:, -1:]
    for n_probes in (*(n for n in PROBES if n < index.nlist), index.nlist):
        index.nprobe = n_probes
        # by distance, not by index: of equal ones any will do
        recall = float((index.search(sample, n_wanted)[0] <= exact * (1 + 1e-4)).mean())
        if recall >= target:
            break
    logger.debug("inverted file: %d of %d lists, recall %.3f", n_probes, index.nlist, recall)
    return n_probes
