"""Tools: compute embeddings and write them into an AnnData."""

from .._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__, {"neighbor_embedding": "_neighbor_embedding", "tsne": "_tsne", "umap": "_umap"}
)
