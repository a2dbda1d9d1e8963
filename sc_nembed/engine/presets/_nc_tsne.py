"""t-SNE's kernel by noise-contrastive estimation."""

from __future__ import annotations

from ..config import EmbeddingConfig
from ..output_affinity import StudentAffinity
from ..terms import NCE, Attraction, Edges
from .contrast import EACH_BY_ITSELF, DrawnOptions, check_output, drawn_schedule, of_two, pairs_of
from .method import Inputs, Method, Problem, Sums


def problem(config: EmbeddingConfig, inputs: Inputs, sums: Sums) -> Problem:
    """−Σ P log q, and the rest of noise-contrastive estimation, whose noise is learned."""
    edges, pairs = Edges(inputs.matrix, config.output_affinity().kernel), pairs_of(config, inputs, sums)
    row_mass = inputs.matrix.row_mass * (config.options.n_negatives / pairs.n_negatives)
    return of_two(config, Attraction(edges.matrix, edges.kernel), NCE(edges, row_mass, pairs))


METHOD = Method(
    "nc_tsne",
    problem,
    drawn_schedule,
    options=DrawnOptions,
    affinity_out=StudentAffinity(normalization=None),
    search_affinity="uniform",
    start_size=1.0,
    refuses=EACH_BY_ITSELF,
    check=check_output,
)


def nc_tsne() -> EmbeddingConfig:
    """t-SNE's kernel by noise-contrastive estimation, as in NCVis (Artemenkov & Panov 2020; Damrich et al. 2023).

    The defaults are those of contrastive-ne: 15 neighbors, uniform; 5 negatives are drawn for each cell in each step;
    the partition is learned. The start has the standard deviation 1, and nothing is exaggerated.
    """
    return EmbeddingConfig(METHOD)
