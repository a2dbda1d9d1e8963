"""Attraction along P, and the repulsion that the normalization of the output affinity asks for: t-SNE, SNE, ..."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .. import radial_sum
from ..compute import reductions
from ..compute.checks import check_number
from ..config import EmbeddingConfig
from ..graph import AffinityMatrix
from ..kernel import Gaussian
from ..output_affinity import CallableAffinity, OutputAffinity
from ..terms import Attraction, Autograd, Mass, Objective, Partition, RowPartition, SinkhornPartition
from .method import Inputs, Options, Problem, Sums, attraction_and_repulsion

# cells up to which SNE sums exactly, by number of dimensions: its embeddings are small, and so are their grids
EXACT_ROWS = {1: 1_000, 2: 2_000, 3: 5_000}


@dataclass(frozen=True, slots=True)
class GridOptions(Options):
    """`tolerance` is the relative error of the forces on the grid; None: by the number of cells."""

    tolerance: float | None = None

    def __post_init__(self) -> None:
        check_tolerance(self.tolerance)


def check_tolerance(tolerance: float | None) -> None:
    if tolerance is not None:
        check_number("tolerance", tolerance, "a relative error between 0 and 1", lambda value: 0 < value < 1)


def divergence_offset(inputs: Inputs) -> float | None:
    """Σ P log P where P is a distribution over pairs of single cells."""
    sums_to_one = abs(inputs.matrix.total - 1) < 1e-6
    return -reductions.entropy(inputs.matrix.weights) if sums_to_one and inputs.counts is None else None


def by_normalization(config: EmbeddingConfig, inputs: Inputs, sums: Sums) -> Problem:
    """Attraction along P, and the repulsion that the normalization of the output affinity asks for."""
    matrix, output, strength = inputs.matrix, config.output_affinity(), attraction_and_repulsion(config)
    if output.is_dense:
        return Problem(_of_callable(output, matrix), strength, divergence_offset(inputs))
    repulsion = REPULSIONS[output.normalization](output, inputs, sums, config.options.tolerance)
    objective = {"attraction": Attraction(matrix, output.kernel), "repulsion": repulsion}
    are_distributions = output.normalization in ("all", "sinkhorn")
    return Problem(objective, strength, divergence_offset(inputs) if are_distributions else None)


def _by_row(output: OutputAffinity, inputs: Inputs, sums: Sums, tolerance: float | None) -> RowPartition:
    name, kernel, matrix = sums.choose(EXACT_ROWS), output.kernel, inputs.matrix
    is_keops = name == "keops"
    plan = None if name == "torch" else sums.plan(name, kernel, tolerance, torch.float64 if is_keops else None)
    return RowPartition(kernel, matrix.row_mass, matrix.total, plan, inputs.counts, exact=is_keops)


def _over_all(output: OutputAffinity, inputs: Inputs, sums: Sums, tolerance: float | None) -> Partition:
    return Partition(sums.plan(sums.choose(), output.kernel, tolerance), inputs.matrix.total, inputs.counts)


def _unnormalised(output: OutputAffinity, inputs: Inputs, sums: Sums, tolerance: float | None) -> Mass:
    return Mass(sums.plan(sums.choose(), output.kernel, tolerance), inputs.matrix.total, inputs.counts)


def _by_sinkhorn(output: OutputAffinity, inputs: Inputs, sums: Sums, tolerance: float | None) -> SinkhornPartition:
    plan = sums.plan(_evaluation(output, sums), output.kernel, tolerance)
    return SinkhornPartition(plan, inputs.matrix.row_sums(), inputs.counts)


REPULSIONS = {"all": _over_all, "row": _by_row, "sinkhorn": _by_sinkhorn, None: _unnormalised}


def _evaluation(output: OutputAffinity, sums: Sums) -> str:
    """The radial sum; exact for the logarithms of sums of Gaussians, which a grid cannot tell from 0 far from cells."""
    if not isinstance(output.kernel, Gaussian):
        return sums.choose()
    if sums.n_obs > radial_sum.EXACT_LIMIT:
        raise ValueError(
            "A Gaussian with normalization='sinkhorn' needs exact sums over all pairs, which is sensible up to "
            f"{radial_sum.EXACT_LIMIT} cells; got {sums.n_obs}. Use a Student kernel, or fewer cells."
        )
    return sums.choose(dict.fromkeys((1, 2, 3), radial_sum.EXACT_LIMIT))


def _of_callable(output: CallableAffinity, matrix: AffinityMatrix) -> Objective:
    rows = matrix.rows()
    columns = matrix.indices.long()

    def attraction(positions: Tensor) -> Tensor:
        return -(matrix.weights * output.log_kernel(positions)[rows, columns]).sum()

    def repulsion(positions: Tensor) -> Tensor:
        return matrix.total * output.log_kernel(positions).flatten().logsumexp(0)

    return {"attraction": Autograd(attraction), "repulsion": Autograd(repulsion)}
