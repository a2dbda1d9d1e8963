"""How `speed.py` and `gpu.py` call the other tools. Each is imported where it is called: none is needed for another."""

from __future__ import annotations

import os
from collections.abc import Sequence

import _common as common
import anndata
import numpy as np
import openTSNE
import scanpy as sc
import scipy.sparse as sp
import torch

FEW, MORE = 10, 30  # steps that a run is extrapolated from


def opentsne(features: np.ndarray, n_jobs: int) -> tuple[np.ndarray, float]:
    """openTSNE's defaults, from the features."""
    model = openTSNE.TSNE(perplexity=common.PERPLEXITY, n_jobs=n_jobs, random_state=0)
    embedding, seconds = common.timed(lambda: model.fit(features))
    return np.asarray(embedding), seconds


def opentsne_step(affinities: sp.csr_matrix, points: np.ndarray, n_jobs: int, few: int, more: int) -> float:
    """Seconds of one step with interpolation: the difference of two runs, so that the error at the end cancels out.

    The rate is a hundredth of the default: the span shall stay as it is.
    """
    given = openTSNE.affinity.PrecomputedAffinities(affinities, normalize=False)
    embedding = openTSNE.TSNEEmbedding(points, given, negative_gradient_method="fft", n_jobs=n_jobs)
    seconds = [common.timed(lambda n=n: embedding.optimize(n, learning_rate=len(points) / 100))[1] for n in (few, more)]
    return (seconds[1] - seconds[0]) / (more - few)


def manifolds(features: np.ndarray, n_jobs: int) -> tuple[np.ndarray, float]:
    """manifolds-rs with its interpolation (FFT), its graph search (HNSW) and openTSNE's number of steps."""
    os.environ["RAYON_NUM_THREADS"] = str(n_jobs)  # read once, when its pool of threads is made
    import manifolds_rs

    if manifolds_rs.num_threads() != n_jobs:
        raise SystemExit(f"manifolds-rs has {manifolds_rs.num_threads()} threads; it should have {n_jobs}.")
    model = manifolds_rs.TSNE(approx="fft", ann="hnsw", n_epochs=750, perplexity=common.PERPLEXITY)
    return common.timed(lambda: model.fit_transform(features))


def scanpy_umap(adata: anndata.AnnData) -> tuple[np.ndarray, float]:
    """`sc.tl.umap` of the graph that is there; its seed is fixed by default, and so it runs on one thread."""
    seconds = common.timed(lambda: sc.tl.umap(adata, random_state=0))[1]
    return adata.obsm["X_umap"].copy(), seconds


def torchdr_run(name: str, features: np.ndarray, n_jobs: int, **options) -> tuple[np.ndarray, float]:
    """`torchdr.TSNE` or `torchdr.UMAP`, with the defaults but for `options`."""
    import torchdr

    torch.set_num_threads(n_jobs)
    model = getattr(torchdr, name)(random_state=0, **options)
    return common.timed(lambda: np.asarray(model.fit_transform(features)))


def torchdr_backend(name: str, features: np.ndarray, n_jobs: int, backends: Sequence[str | None], **options):
    """The backend whose first steps are fastest; one that fails, for lack of memory or of a library, is out."""
    seconds = {}
    for backend in backends:
        try:
            torchdr_run(name, features[:1000], n_jobs, backend=backend, max_iter=FEW, **options)  # compiles
            seconds[backend] = torchdr_run(name, features, n_jobs, backend=backend, max_iter=MORE, **options)[1]
        except Exception as error:
            print(f"torchdr.{name} with backend={backend!r}: {type(error).__name__}: {str(error)[:200]}", flush=True)
    if not seconds:
        raise SystemExit(f"torchdr.{name} works with none of {list(backends)}.")
    print(f"torchdr.{name}, {MORE} steps: {seconds}", flush=True)
    return min(seconds, key=seconds.get)


def default_steps(name: str) -> int:
    import torchdr

    return getattr(torchdr, name)().max_iter


def torchdr_extrapolated(name: str, features: np.ndarray, n_jobs: int, n_steps: int | None = None, **options) -> float:
    """Seconds of a number of steps, the default one where it is None, on the line through 10 and 30 steps."""
    few, more = (torchdr_run(name, features, n_jobs, max_iter=n, **options)[1] for n in (FEW, MORE))
    return more + (more - few) / (MORE - FEW) * ((n_steps or default_steps(name)) - MORE)
