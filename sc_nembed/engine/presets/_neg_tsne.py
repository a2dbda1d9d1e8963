"""t-SNE's kernel by negative sampling."""

from __future__ import annotations

from dataclasses import dataclass

from ..compute.checks import check_positive
from ..config import EmbeddingConfig
from ..kernel import NoiseRepulsion, Rational
from ..output_affinity import StudentAffinity
from ..terms import Attraction
from .contrast import ContrastOptions, check_output, contrast, schedule
from .method import Inputs, Method, Problem, Sums


@dataclass(frozen=True, slots=True)
class NegTSNEOptions(ContrastOptions):
    """As `ContrastOptions`; `Z_bar` is the constant that q is divided by, None for the one that makes noise 1."""

    Z_bar: float | None = None

    def __post_init__(self) -> None:
        ContrastOptions.__post_init__(self)
        if self.Z_bar is not None:
            check_positive("Z_bar", self.Z_bar)

    def noise(self, n_obs: int) -> float:
        """How often noise shows a pair, in the unit of q."""
        return 1.0 if self.Z_bar is None else self.n_negatives * self.Z_bar / n_obs**2


def problem(config: EmbeddingConfig, inputs: Inputs, sums: Sums) -> Problem:
    """−Σ P log(q / (q + noise)) and the repulsion from noise, q Student's kernel."""
    noise = config.options.noise(inputs.matrix.n_rows)
    attraction = Attraction(inputs.matrix, Rational(noise / (1 + noise), 1.0))
    return contrast(config, attraction, NoiseRepulsion(noise), inputs, sums)


METHOD = Method(
    "neg_tsne",
    problem,
    schedule,
    options=NegTSNEOptions,
    affinity_out=StudentAffinity(normalization=None),
    search_affinity="uniform",
    check=check_output,
)


def neg_tsne() -> EmbeddingConfig:
    """t-SNE's kernel by negative sampling (Damrich et al. 2023), with the defaults of contrastive-ne.

    15 neighbors, uniform; 5 negatives for each cell. By default all pairs stand for the negatives, in the mean over all
    draws, with `repulsion="sampled"` they are drawn. The estimator is q / (q + 1), whose embeddings are like UMAP's;
    with `Z_bar` it is q / (q + 5 Z_bar / n²), which at 100 n is like t-SNE's.
    """
    return EmbeddingConfig(METHOD)
