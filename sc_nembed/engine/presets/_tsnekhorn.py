"""TSNEkhorn: t-SNE between doubly stochastic affinities."""

from __future__ import annotations

from ..config import EmbeddingConfig
from ..output_affinity import StudentAffinity
from . import phases
from .method import Method
from .normalized import GridOptions, by_normalization

METHOD = Method(
    "tsnekhorn",
    by_normalization,
    phases.single,
    options=GridOptions,
    output_options=("dof",),
    affinity_out=StudentAffinity(normalization="sinkhorn"),
    search_affinity="symmetric_entropic",
)


def tsnekhorn() -> EmbeddingConfig:
    """TSNEkhorn (Van Assel et al. 2023): the rows of Q sum to those of P, both doubly stochastic; otherwise as t-SNE.

    Of a representation P is the symmetric entropic affinity, perplexity 30, up to 10 000 cells. A finished graph is
    read as by t-SNE; the rows of its P, and so those of Q, are not all equal.
    """
    return EmbeddingConfig(METHOD)
