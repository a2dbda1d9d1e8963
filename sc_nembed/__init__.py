"""Neighbor embeddings (t-SNE and relatives) of single cells, straight from AnnData.

>>> import scanpy as sc, sc_nembed as ne
>>> adata = sc.datasets.pbmc68k_reduced()
>>> ne.tl.neighbor_embedding(adata)  # reuses the neighbors of sc.pp.neighbors
>>> ne.pl.loss(adata)
>>> ne.pl.embedding(adata, color="bulk_labels")
"""

from ._lazy import attach

__version__ = "0.1.0"
_MODULES = ("datasets", "get", "pl", "pp", "tl")
_CLASSES = (
    "AffinityMatcher", "COSNE", "ForceAtlas2", "InfoTSNE", "LargeVis", "LocalMAP", "NCTSNE", "NegTSNE",
    "NeighborEmbedding", "PACMAP", "SNE", "TSNE", "TSNEkhorn", "UMAP",
)  # fmt: skip
_INPUT = (
    "DoublyStochasticQuadraticAffinity", "EntropicAffinity", "MAGICAffinity", "NormalizedGaussianAffinity",
    "NormalizedStudentAffinity", "PACMAPAffinity", "PHATEAffinity", "PrecomputedAffinity", "SelfTuningAffinity",
    "SinkhornAffinity", "SymmetricEntropicAffinity", "UMAPAffinity", "UniformAffinity",
)  # fmt: skip
_OUTPUT = (
    "GaussianAffinity", "NegativeDistanceAffinity", "OutputAffinity", "RationalAffinity", "StudentAffinity",
)  # fmt: skip
_NAMES = dict.fromkeys(_MODULES) | dict.fromkeys(_CLASSES, "estimator")
_NAMES |= dict.fromkeys(_INPUT, "engine.affinity") | dict.fromkeys(_OUTPUT, "engine.output_affinity")
__getattr__, __dir__, __all__ = attach(__name__, _NAMES, extra=("__version__",))
