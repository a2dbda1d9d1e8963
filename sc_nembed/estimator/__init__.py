"""scikit-learn's way to the same engine: parameters in, `embedding_` out. No computation happens here.

numpy in, numpy out; a torch tensor gives a tensor of its dtype on its device. `fit` sets `embedding_`, (n,
n_components), `n_iter_`, `history_` (a dict of arrays, one entry per check), `per_cell_` (a dict of arrays, one entry
per cell; with `density`, log local radii "rad_orig" and "rad_emb") and, with an encoder, `encoder_`.
"""

from __future__ import annotations

from ._general import AffinityMatcher, NeighborEmbedding
from ._methods import (
    COSNE,
    NCTSNE,
    PACMAP,
    SNE,
    TSNE,
    UMAP,
    ForceAtlas2,
    InfoTSNE,
    LargeVis,
    LocalMAP,
    NegTSNE,
    TSNEkhorn,
)

__all__ = [
    "COSNE", "NCTSNE", "PACMAP", "SNE", "TSNE", "UMAP", "AffinityMatcher", "ForceAtlas2", "InfoTSNE", "LargeVis",
    "LocalMAP", "NegTSNE", "NeighborEmbedding", "TSNEkhorn",
]  # fmt: skip
