"""LargeVis."""

from __future__ import annotations

from ..config import EmbeddingConfig
from ..kernel import RationalRepulsion
from ..output_affinity import StudentAffinity
from ..terms import Attraction
from .contrast import ContrastOptions, check_output, contrast, schedule
from .method import Inputs, Method, Problem, Sums

CLIP = 5.0  # the largest force of a pair, as in LargeVis


def problem(config: EmbeddingConfig, inputs: Inputs, sums: Sums) -> Problem:
    """−Σ P log q and −log(1 − q) of pairs that are drawn, q Student's kernel."""
    potential = RationalRepulsion(1.0, 1.0, CLIP / config.repulsion_strength)
    return contrast(config, Attraction(inputs.matrix, config.output_affinity().kernel), potential, inputs, sums)


METHOD = Method(
    "largevis",
    problem,
    schedule,
    options=ContrastOptions,
    affinity_out=StudentAffinity(normalization=None),
    perplexity=50.0,
    check=check_output,
)


def largevis() -> EmbeddingConfig:
    """LargeVis (Tang et al. 2016), its defaults: perplexity 50, 5 negatives, each of weight 7, forces of at most 5.

    The weight γ = 7 is the `repulsion_strength`. By default all pairs stand for the negatives, in the mean over all
    draws (uniform ones; LargeVis draws by degree to the power 0.75), with `repulsion="sampled"` they are drawn.
    """
    return EmbeddingConfig(METHOD, repulsion_strength=7.0)
