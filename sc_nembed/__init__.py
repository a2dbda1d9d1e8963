"""Neighbor embeddings (t-SNE and relatives) of single cells, straight from AnnData.

>>> import scanpy as sc, sc_nembed as ne
>>> adata = sc.datasets.pbmc68k_reduced()
>>> ne.tl.neighbor_embedding(adata)  # reuses the neighbors of sc.pp.neighbors
>>> ne.pl.loss(adata)
>>> ne.pl.embedding(adata, color="bulk_labels")
"""

from ._lazy import attach

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = attach(__name__, {"get": None, "pl": None, "tl": None}, extra=("__version__",))
