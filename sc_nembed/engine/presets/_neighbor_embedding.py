"""Any pair of affinities."""

from __future__ import annotations

from ..config import EmbeddingConfig
from ..output_affinity import StudentAffinity
from . import phases
from .method import Method
from .normalized import GridOptions, by_normalization

METHOD = Method(
    "neighbor_embedding", by_normalization, phases.single, options=GridOptions, affinity_out=StudentAffinity()
)


def neighbor_embedding() -> EmbeddingConfig:
    """Any input and output affinity, nothing chosen: what the class `NeighborEmbedding` starts from."""
    return EmbeddingConfig(METHOD)
