"""UMAP, by its effective loss or by sampling."""

from __future__ import annotations

from dataclasses import replace

import torch

from ..compute import reductions
from ..config import EmbeddingConfig
from ..graph import AffinityMatrix
from ..kernel import Rational, RationalRepulsion
from ..optimize.sampled import SampledEpochs
from ..output_affinity import OutputAffinity
from ..terms import Attraction, ExpectedRepulsion
from .problem import Inputs, Problem, Sums

NEVER_EXACT = {1: 0, 2: 0, 3: 0}  # by number of dimensions: embeddings are small, and a pair is costly


def umap(config: EmbeddingConfig, inputs: Inputs, sums: Sums) -> Problem:
    """UMAP: edges too weak to be sampled once are dropped, and the largest weight is 1."""
    matrix = _strong_edges(inputs.matrix, n_epochs(config, inputs.matrix.n_rows))
    output = config.output_affinity()
    if not isinstance(output, OutputAffinity) or not isinstance(output.kernel, Rational) or output.normalization:
        raise ValueError(
            f"method='umap' has an output affinity of its own, 'rational' without normalization; got "
            f"`affinity_out={config.affinity_out!r}`. Choose another method for it."
        )
    a, b = output.kernel.a, output.kernel.b
    kernel, potential = Rational(a, b, clip=4.0), RationalRepulsion(a, b)
    plan = sums.plan(sums.choose(NEVER_EXACT), potential)
    degree = matrix.row_sums().to(sums.dtype)
    objective = {
        "attraction": Attraction(matrix, kernel),
        "repulsion": ExpectedRepulsion(plan, degree, float(config.negative_sample_rate), inputs.counts),
    }
    strength = {"attraction": 1.0, "repulsion": float(config.repulsion_strength)}
    if config.repulsion != "sampled":
        return Problem(objective, strength)
    negatives = config.negative_sample_rate
    optimizer = SampledEpochs(matrix, kernel, potential, negatives, config.exclude_neighbors, config.random_state)
    return Problem(objective, strength, optimizer=optimizer)


def n_epochs(config: EmbeddingConfig, n_obs: int) -> int:
    """Epochs of sampled UMAP, which also say what edges are dropped: 500 up to 10 000 cells, else 200."""
    if config.repulsion == "sampled" and config.max_iter is not None:
        return config.max_iter
    return 500 if n_obs <= 10_000 else 200


def _strong_edges(matrix: AffinityMatrix, epochs: int) -> AffinityMatrix:
    weights = matrix.weights / matrix.weights.max()
    kept = weights >= 1 / epochs
    before = torch.cat([kept.new_zeros(1, dtype=torch.int64), kept.cumsum(0)])
    weights = weights[kept]
    return replace(
        matrix, indptr=before[matrix.indptr], indices=matrix.indices[kept], weights=weights,
        total=float(reductions.total(weights)),
    )  # fmt: skip
