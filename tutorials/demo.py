"""The shortest way from cells to an embedding: python tutorials/demo.py [folder]."""

import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import numpy as np
import scanpy as sc
from sklearn.neighbors import NearestNeighbors

import sc_nembed as ne


def neighbor_recall(high: np.ndarray, low: np.ndarray, k: int = 10) -> float:
    """Share of the k nearest neighbors in `high` that are among the k nearest in `low`."""
    before, after = (NearestNeighbors(n_neighbors=k).fit(x).kneighbors(return_distance=False) for x in (high, low))
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(before, after, strict=True)]))


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    adata = sc.datasets.pbmc68k_reduced()
    ne.tl.neighbor_embedding(adata)
    ne.tl.neighbor_embedding(adata, use_rep="X_pca", perplexity=30, key_added="tsne_pca")

    axes = ne.pl.loss(adata, key=["ne", "tsne_pca"], show=False)
    axes.get_figure().savefig(folder / "loss.png", dpi=150)
    axes = ne.pl.embedding(adata, color="bulk_labels", title="pbmc68k_reduced", show=False)
    axes.get_figure().savefig(folder / "embedding.png", dpi=150, bbox_inches="tight")
    adata.write_h5ad(folder / "pbmc68k_reduced.h5ad")

    for key, obsm in {"ne": "X_ne", "tsne_pca": "tsne_pca"}.items():
        record = adata.uns[key]
        source, final = record["input"], record["final"]
        used = (
            f"graph uns[{source['neighbors_key']!r}]"
            if source["kind"] == "graph"
            else f"representation {source['name']}"
        )
        rows = {
            "input used": used,
            "cells": adata.n_obs,
            "edges": final["n_edges"],
            **{f"seconds, {stage}": f"{seconds:.3f}" for stage, seconds in final["seconds"].items()},
            "steps": final["n_iter"],
            "KL divergence": f"{final['kl_divergence']:.4f}",
            "kNN recall (k = 10)": f"{neighbor_recall(adata.obsm['X_pca'], adata.obsm[obsm]):.3f}",
        }
        print(f"\nobsm[{obsm!r}]")
        for name, value in rows.items():
            print(f"  {name:<20} {value}")
    print("\nwritten:", *(str(path) for path in sorted(folder.iterdir())), sep="\n  ")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/demo"))
