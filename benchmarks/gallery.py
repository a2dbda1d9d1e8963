"""The pictures of the documentation: every method, some affinities and both added terms on the same 2 638 blood cells.

export SC_NEMBED_DATA=folder
python benchmarks/gallery.py              # all; writes docs/_static/gallery/*.png
python benchmarks/gallery.py contrastive  # one of them
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import _common as common
import anndata
import matplotlib.pyplot as plt
import numpy as np

import sc_nembed as ne

FOLDER = Path(__file__).parent.parent / "docs" / "_static" / "gallery"
SET, LABEL = "pbmc3k_pca", "louvain"
WIDTH, N_COLUMNS = 3.0, 4  # inches of a panel
Panels = dict[str, dict[str, Any]]
GALLERIES: dict[str, Panels] = {
    "normalized": {
        "t-SNE": {"method": "tsne"},
        "t-SNE, dof=0.5": {"method": "tsne", "dof": 0.5},
        "t-SNE, exaggeration=4": {"method": "tsne", "exaggeration": 4.0},
        "SNE": {"method": "sne"},
        "TSNEkhorn": {"method": "tsnekhorn"},
        "CO-SNE": {"method": "cosne"},
    },
    "contrastive": {
        "UMAP": {"method": "umap"},
        "Neg-t-SNE": {"method": "neg_tsne"},
        "Neg-t-SNE, Z_bar=100 n": {"method": "neg_tsne", "Z_bar": 263_800.0},
        "NC-t-SNE": {"method": "nc_tsne"},
        "InfoTSNE": {"method": "info_tsne"},
        "LargeVis": {"method": "largevis"},
    },
    "forces": {
        "PaCMAP": {"method": "pacmap"},
        "LocalMAP": {"method": "localmap"},
        "ForceAtlas2": {"method": "force_atlas2"},
        "ForceAtlas2, gravity=20": {"method": "force_atlas2", "gravity": 20.0},
    },
    "affinities": {
        "entropic, perplexity 30": {},
        "entropic, perplexity 10 and 100": {"perplexity": [10, 100]},
        "uniform": {"affinity_in": "uniform"},
        "umap": {"affinity_in": "umap"},
        "self_tuning": {"affinity_in": "self_tuning"},
        "magic": {"affinity_in": "magic"},
        "pacmap": {"affinity_in": "pacmap"},
        "symmetric_entropic": {"affinity_in": "symmetric_entropic"},
        "sinkhorn, eps=30": {"affinity_in": ne.SinkhornAffinity(eps=30.0)},
        "doubly stochastic, quadratic, eps=500": {"affinity_in": ne.DoublyStochasticQuadraticAffinity(eps=500.0)},
        "phate, matched": {
            "method": "affinity_matcher", "affinity_in": ne.PHATEAffinity(t=20), "affinity_out": "negative_distance",
        },
    },
    "terms": {
        "t-SNE": {"method": "tsne"},
        "t-SNE, reference=two PCs": {"method": "tsne", "reference": "pcs"},
        "the same, strength 0.1": {"method": "tsne", "reference": "pcs", "reference_strength": 0.1},
        "t-SNE, density=0.5": {"method": "tsne", "density": 0.5},
        "UMAP": {"method": "umap"},
        "UMAP, density=True": {"method": "umap", "density": True},
    },
}  # fmt: skip


def embedding(features: np.ndarray, options: dict[str, Any]) -> np.ndarray:
    adata = anndata.AnnData(shape=(len(features), 0), obsm={"X_pca": features, "pcs": features[:, :2]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        ne.tl.neighbor_embedding(adata, use_rep="X_pca", verbose=False, **options)
    return adata.obsm["X_ne"]


def draw(panels: Panels, features: np.ndarray, labels: np.ndarray, path: Path) -> None:
    n_rows = -(-len(panels) // N_COLUMNS)
    figure, axes = plt.subplots(
        n_rows, N_COLUMNS, figsize=(N_COLUMNS * WIDTH, n_rows * (WIDTH + 0.25)), squeeze=False, layout="constrained"
    )
    colors = plt.colormaps["tab10"](labels)
    for ax, (title, options) in zip(axes.flat, panels.items(), strict=False):
        points, seconds = common.timed(lambda options=options: embedding(features, options))
        print(f"{title}: {seconds:.1f} s", flush=True)
        ax.scatter(*points.T, c=colors, s=2, linewidths=0)
        ax.set_title(title, fontsize=10)
        ax.set_aspect("equal", adjustable="datalim")
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    wanted = sys.argv[1:] or list(GALLERIES)
    unknown = sorted(set(wanted) - set(GALLERIES))
    if unknown:
        raise SystemExit(f"unknown {unknown}; available: {list(GALLERIES)}")
    adata = common.load(SET, common.arguments(__doc__).parse_args([]).data)
    features, labels = common.representation(adata), adata.obs[LABEL].cat.codes.to_numpy()
    for name in wanted:
        draw(GALLERIES[name], features, labels, FOLDER / f"{name}.png")


if __name__ == "__main__":
    main()
