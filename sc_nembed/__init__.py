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
    "COSNE": "estimator", "InfoTSNE": "estimator", "LargeVis": "estimator", "NCTSNE": "estimator",
    "NegTSNE": "estimator", "LocalMAP": "estimator", "PACMAP": "estimator", "SNE": "estimator", "TSNE": "estimator",
    "TSNEkhorn": "estimator", "UMAP": "estimator",
    "DoublyStochasticQuadraticAffinity": "engine.affinity", "EntropicAffinity": "engine.affinity",
    "MAGICAffinity": "engine.affinity", "NormalizedGaussianAffinity": "engine.affinity",
    "NormalizedStudentAffinity": "engine.affinity", "PACMAPAffinity": "engine.affinity",
    "PHATEAffinity": "engine.affinity", "PrecomputedAffinity": "engine.affinity",
    "SelfTuningAffinity": "engine.affinity", "SinkhornAffinity": "engine.affinity",
    "SymmetricEntropicAffinity": "engine.affinity", "UMAPAffinity": "engine.affinity",
    "UniformAffinity": "engine.affinity",
    "GaussianAffinity": "engine.output_affinity", "NegativeDistanceAffinity": "engine.output_affinity",
    "OutputAffinity": "engine.output_affinity", "RationalAffinity": "engine.output_affinity",
    "StudentAffinity": "engine.output_affinity",
}  # fmt: skip
__getattr__, __dir__, __all__ = attach(__name__, _NAMES, extra=("__version__",))
