"""SNE: Gaussian kernels, each row a distribution."""

from __future__ import annotations

from ..cells import Cells
from ..config import EmbeddingConfig
from ..optimize.schedule import Schedule
from ..output_affinity import GaussianAffinity
from . import phases
from .method import Method
from .normalized import GridOptions, by_normalization


def schedule(config: EmbeddingConfig, cells: Cells) -> Schedule:
    """t-SNE's single schedule with less momentum: with 0.98, 45 000 cells swing past their lowest loss."""
    if config.is_automatic:
        return Schedule((phases.preconditioned(config, momentum=0.95),))
    return Schedule((phases.standard(config, cells),))


METHOD = Method(
    "sne",
    by_normalization,
    schedule,
    options=GridOptions,
    output_options=("sigma",),
    affinity_out=GaussianAffinity(normalization="row"),
)


def sne() -> EmbeddingConfig:
    """SNE (Hinton & Roweis 2002): Gaussian output affinities, each row a distribution; otherwise as t-SNE.

    The loss is Σ −P log q + Σᵢ rᵢ log Σⱼ qᵢⱼ with P of sum 1, so that rᵢ = 1/n.
    """
    return EmbeddingConfig(METHOD)
