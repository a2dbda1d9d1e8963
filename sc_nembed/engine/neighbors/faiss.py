"""Search by faiss on the CPU (Douze et al. 2024): a flat index up to 20 000 cells, above that an inverted file.

The inverted file has √n lists and looks into 16 of them. Recall on mass-cytometry cells in 29 dimensions: .999 of 15
and .996 of 90 neighbors at 45 000 cells, .998 and .994 at 112 000; expect less where the data have no clusters.
`benchmarks/accuracy.py` measures it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .. import backend

FLAT_CELLS = 20_000
N_PROBE = 16
TRAINING_POINTS_PER_LIST = 64


def search(features: Tensor, k: int) -> Tensor:
    """Candidates (n, k + 1) int64; −1 where the lists looked into hold fewer."""
    import faiss

    points = backend.as_array(features.cpu())
    n, n_features = points.shape
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(backend.openmp_threads())
    try:
        if n <= FLAT_CELLS:
            index = faiss.IndexFlatL2(n_features)
        else:
            n_lists = int(np.sqrt(n))
            index = faiss.IndexIVFFlat(faiss.IndexFlatL2(n_features), n_features, n_lists, faiss.METRIC_L2)
            index.cp.seed, index.cp.max_points_per_centroid = 1, TRAINING_POINTS_PER_LIST
            index.nprobe = N_PROBE
            index.train(points)
        index.add(points)
        _, found = index.search(points, min(k + 1, n))
    finally:
        faiss.omp_set_num_threads(before)
    return torch.from_numpy(found).to(features.device)
