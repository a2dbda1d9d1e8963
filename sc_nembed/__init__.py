"""Neighbor embeddings (t-SNE and relatives) of single cells, straight from AnnData.

>>> import scanpy as sc, sc_nembed as ne
>>> adata = sc.datasets.pbmc68k_reduced()
>>> ne.tl.neighbor_embedding(adata)  # reuses the neighbors of sc.pp.neighbors
>>> ne.pl.loss(adata)
>>> ne.pl.embedding(adata, color="bulk_labels")
"""

from ._lazy import attach

__version__ = "0.1.0"
_NAMES = {
    "datasets": None, "get": None, "pl": None, "pp": None, "tl": None,
    "AffinityMatcher": "estimator", "NeighborEmbedding": "estimator",
    "ForceAtlas2": "estimator", "SNE": "estimator", "TSNE": "estimator", "UMAP": "estimator",
    "EntropicAffinity": "engine.affinity", "NormalizedGaussianAffinity": "engine.affinity",
    "NormalizedStudentAffinity": "engine.affinity", "PrecomputedAffinity": "engine.affinity",
    "SymmetricEntropicAffinity": "engine.affinity", "UMAPAffinity": "engine.affinity",
    "UniformAffinity": "engine.affinity",
    "GaussianAffinity": "engine.output_affinity", "OutputAffinity": "engine.output_affinity",
    "RationalAffinity": "engine.output_affinity", "StudentAffinity": "engine.output_affinity",
}  # fmt: skip
__getattr__, __dir__, __all__ = attach(__name__, _NAMES, extra=("__version__",))
