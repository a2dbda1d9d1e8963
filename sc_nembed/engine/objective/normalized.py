"""Attraction along P, and the repulsion that the normalization of the output affinity asks for: t-SNE, SNE, ..."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import radial_sum
from ..compute import reductions
from ..config import EmbeddingConfig
from ..graph import AffinityMatrix
from ..kernel import Gaussian
from ..output_affinity import CallableAffinity, OutputAffinity
from ..terms import Attraction, Autograd, Mass, Objective, Partition, RowPartition, SinkhornPartition
from .problem import Inputs, Problem, Sums, check_dense

# cells up to which SNE sums exactly, by number of dimensions: its embeddings are small, and so are their grids
EXACT_ROWS = {1: 1_000, 2: 2_000, 3: 5_000}


def by_normalization(config: EmbeddingConfig, inputs: Inputs, sums: Sums) -> Problem:
    """Attraction along P, and the repulsion that the normalization of the output affinity asks for."""
    matrix, counts, output = inputs.matrix, inputs.counts, config.output_affinity()
    strength = {"attraction": 1.0, "repulsion": float(config.repulsion_strength)}
    sums_to_one = abs(matrix.total - 1) < 1e-6
    divergence = -reductions.entropy(matrix.weights) if sums_to_one and counts is None else None
    if isinstance(output, CallableAffinity):
        return Problem(_of_callable(output, matrix), strength, divergence)
    kernel = output.kernel
    if output.normalization == "row":
        name = sums.choose(EXACT_ROWS)
        plan = None if name == "torch" else sums.plan(name, kernel, torch.float64 if name == "keops" else None)
        repulsion = RowPartition(kernel, matrix.row_mass, matrix.total, plan, counts, exact=name == "keops")
        return Problem({"attraction": Attraction(matrix, kernel), "repulsion": repulsion}, strength)
    plan = sums.plan(_evaluation(output, sums), kernel)
    if output.normalization is None:
        return Problem(
            {"attraction": Attraction(matrix, kernel), "repulsion": Mass(plan, matrix.total, counts)}, strength
        )
    if output.normalization == "sinkhorn":
        repulsion = SinkhornPartition(plan, matrix.row_sums(), counts)
    else:
        repulsion = Partition(plan, matrix.total, counts)
    return Problem({"attraction": Attraction(matrix, kernel), "repulsion": repulsion}, strength, divergence)


def _evaluation(output: OutputAffinity, sums: Sums) -> str:
    """The radial sum; exact for the logarithms of sums of Gaussians, which a grid cannot tell from 0 far from cells."""
    if output.normalization != "sinkhorn" or not isinstance(output.kernel, Gaussian):
        return sums.choose()
    if sums.n_obs > radial_sum.EXACT_LIMIT:
        raise ValueError(
            "A Gaussian with normalization='sinkhorn' needs exact sums over all pairs, which is sensible up to "
            f"{radial_sum.EXACT_LIMIT} cells; got {sums.n_obs}. Use a Student kernel, or fewer cells."
        )
    return sums.choose(dict.fromkeys((1, 2, 3), radial_sum.EXACT_LIMIT))


def _of_callable(output: CallableAffinity, matrix: AffinityMatrix) -> Objective:
    check_dense(matrix)
    rows = matrix.rows()
    columns = matrix.indices.long()

    def attraction(positions: Tensor) -> Tensor:
        return -(matrix.weights * output.log_kernel(positions)[rows, columns]).sum()

    def repulsion(positions: Tensor) -> Tensor:
        return matrix.total * output.log_kernel(positions).flatten().logsumexp(0)

    return {"attraction": Autograd(attraction), "repulsion": Autograd(repulsion)}
