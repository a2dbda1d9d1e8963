"""InfoNCE with t-SNE's kernel."""

from __future__ import annotations

from dataclasses import dataclass

from ..config import EmbeddingConfig
from ..output_affinity import StudentAffinity
from ..terms import Attraction, Edges, InfoNCE
from .contrast import EACH_BY_ITSELF, check_negatives, check_output, drawn_schedule, of_two, pairs_of
from .method import Inputs, Method, Options, Problem, Sums


@dataclass(frozen=True, slots=True)
class InfoTSNEOptions(Options):
    """`n_negatives` cells are drawn for each cell in each step; the denominator holds the positive or it does not."""

    n_negatives: int = 300
    with_positive: bool = True

    def __post_init__(self) -> None:
        check_negatives(self.n_negatives)


def problem(config: EmbeddingConfig, inputs: Inputs, sums: Sums) -> Problem:
    """−Σ P log q, and the logarithms of InfoNCE's denominators."""
    edges = Edges(inputs.matrix, config.output_affinity().kernel)
    repulsion = InfoNCE(edges, pairs_of(config, inputs, sums), config.options.with_positive)
    return of_two(config, Attraction(edges.matrix, edges.kernel), repulsion)


def check(config: EmbeddingConfig) -> None:
    check_output(config, only_student=False)


METHOD = Method(
    "info_tsne",
    problem,
    drawn_schedule,
    options=InfoTSNEOptions,
    affinity_out=StudentAffinity(normalization=None),
    start_size=1.0,
    refuses=EACH_BY_ITSELF,
    check=check,
)


def info_tsne() -> EmbeddingConfig:
    """InfoNCE with t-SNE's kernel (Damrich et al. 2023), with the perplexity of 30 and the 300 negatives of TorchDR.

    By default the denominator holds the positive and the negatives, as in the paper and in contrastive-ne; with
    `with_positive=False` the negatives alone, as in TorchDR. With all other cells as negatives and without the positive
    it is SNE with t-SNE's kernel.
    """
    return EmbeddingConfig(METHOD)
