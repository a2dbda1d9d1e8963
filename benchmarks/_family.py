"""The methods of `quality.py`: how each is called, and how its reference implementation is."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anndata
import numpy as np
import torch

import sc_nembed as ne

N_SEEDS = 3
MANY_SEEDS = 12  # of methods whose recall spreads by .005 from seed to seed, half of what the bar is
DENSE_SETS = ("snareseq", "paul15")  # of TorchDR, whose methods take minutes there and hours beyond
Peer = Callable[[np.ndarray, int], np.ndarray]


@dataclass(frozen=True)
class Method:
    """A line of the table for each set.

    Attributes
    ----------
    options
        Of `tl.neighbor_embedding`.
    peer, run
        The name of the reference implementation, and its run from features and a seed.
    dense
        Its peer takes minutes: `DENSE_SETS`, one seed.
    scale
        The representation is divided by it, for both.
    n_seeds
        Runs of ours, and of the peer where it is not dense.
    """

    options: dict[str, Any]
    peer: str
    run: Peer
    dense: bool = False
    scale: float = 1.0
    n_seeds: int = N_SEEDS


def ours(features: np.ndarray, options: dict[str, Any], seed: int, n_jobs: int) -> tuple[np.ndarray, dict]:
    """Embedding, and the record of the run."""
    adata = anndata.AnnData(shape=(len(features), 0), obsm={"X_pca": features})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        ne.tl.neighbor_embedding(adata, use_rep="X_pca", random_state=seed, n_jobs=n_jobs, verbose=False, **options)
    return adata.obsm["X_ne"], adata.uns["ne"]


def opentsne(**options: Any) -> Peer:
    def run(features: np.ndarray, seed: int) -> np.ndarray:
        import openTSNE

        return np.asarray(openTSNE.TSNE(perplexity=30, n_jobs=2, random_state=seed, **options).fit(features))

    return run


def umap_learn(**options: Any) -> Peer:
    def run(features: np.ndarray, seed: int) -> np.ndarray:
        import umap

        return umap.UMAP(min_dist=0.5, random_state=seed, n_jobs=1, **options).fit_transform(features)

    return run


def torchdr(name: str, **options: Any) -> Peer:
    def run(features: np.ndarray, seed: int) -> np.ndarray:
        import torchdr

        model = getattr(torchdr, name)(random_state=seed, device="cpu", backend=None, **options)
        return model.fit_transform(torch.from_numpy(features)).detach().numpy()

    return run


def contrastive_ne(mode: str) -> Peer:
    """With the optimiser of its paper (Damrich et al. 2023): batches of 1 024 edges, a rate that falls from 1 to 0."""

    def run(features: np.ndarray, seed: int) -> np.ndarray:
        import cne

        model = cne.CNE(
            loss_mode=mode, k=15, seed=seed, optimizer="sgd", momentum=0.0, learning_rate=1.0, batch_size=1024,
            n_epochs=200,
        )  # fmt: skip
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return np.asarray(model.fit_transform(features))

    return run


def pacmap(name: str) -> Peer:
    def run(features: np.ndarray, seed: int) -> np.ndarray:
        import pacmap

        return np.asarray(getattr(pacmap, name)(random_state=seed).fit_transform(features.copy()))

    return run


def force_atlas2(features: np.ndarray, seed: int) -> np.ndarray:
    """`scanpy.tl.draw_graph` from the same PCA start as ours."""
    import scanpy as sc

    adata = anndata.AnnData(shape=(len(features), 0), obsm={"X_pca": features})
    sc.pp.neighbors(adata, n_neighbors=15, use_rep="X_pca", random_state=seed)
    sc.tl.draw_graph(adata, layout="fa", init_pos="X_pca", random_state=seed)
    return adata.obsm["X_draw_graph_fa"]


METHODS = {
    "t-SNE": Method({"method": "tsne"}, "openTSNE", opentsne()),
    "t-SNE, dof 0.5": Method({"method": "tsne", "dof": 0.5}, "openTSNE", opentsne(dof=0.5)),
    "t-SNE, exaggeration 4": Method({"method": "tsne", "exaggeration": 4.0}, "openTSNE", opentsne(exaggeration=4.0)),
    "SNE": Method({"method": "sne"}, "TorchDR", torchdr("SNE", lr=10.0), dense=True),
    "TSNEkhorn": Method({"method": "tsnekhorn"}, "TorchDR", torchdr("TSNEkhorn", min_grad_norm=0.0), dense=True),
    "CO-SNE": Method(
        {"method": "cosne"},
        "TorchDR",
        torchdr("COSNE", lr=0.1, max_iter=500, learning_rate_for_h_loss=0.01, gamma=0.5),
        dense=True,
        scale=100.0,
    ),
    "UMAP": Method({"method": "umap"}, "umap-learn", umap_learn()),
    "UMAP, densities": Method({"method": "umap", "density": True}, "umap-learn", umap_learn(densmap=True)),
    "Neg-t-SNE": Method({"method": "neg_tsne"}, "contrastive-ne", contrastive_ne("neg")),
    "NC-t-SNE": Method({"method": "nc_tsne"}, "contrastive-ne", contrastive_ne("nce")),
    "InfoNC-t-SNE, 15 neighbors, 5 negatives": Method(
        {"method": "info_tsne", "n_neighbors": 15, "n_negatives": 5}, "contrastive-ne", contrastive_ne("infonce")
    ),
    "InfoTSNE": Method({"method": "info_tsne"}, "TorchDR", torchdr("InfoTSNE"), dense=True),
    "LargeVis": Method({"method": "largevis"}, "TorchDR", torchdr("LargeVis"), dense=True),
    "PaCMAP": Method({"method": "pacmap"}, "pacmap", pacmap("PaCMAP"), n_seeds=MANY_SEEDS),
    "LocalMAP": Method({"method": "localmap"}, "pacmap", pacmap("LocalMAP"), n_seeds=MANY_SEEDS),
    "ForceAtlas2": Method({"method": "force_atlas2"}, "scanpy, fa2", force_atlas2),
}
