"""From a configuration and P to what is minimised: one function for each family of methods, named by its preset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from . import radial_sum, reductions
from .config import EmbeddingConfig
from .graph import AffinityMatrix
from .kernel import Rational, RationalRepulsion
from .matching import resolve_loss
from .optimizer import Optimizer
from .output_affinity import CallableAffinity, OutputAffinity
from .sampled import SampledEpochs
from .terms import Attraction, Autograd, ExpectedRepulsion, Mass, Objective, Partition, RowPartition
from .world import SERIAL

# by number of dimensions, as `radial_sum.EXACT_CELLS`: SNE's embeddings, and so its grids, are small; those of UMAP are
# smaller, and its potential is costly for each pair
EXACT_ROWS = {1: 1_000, 2: 2_000, 3: 5_000}
NEVER_EXACT = {1: 0, 2: 0, 3: 0}
DENSE_CELLS = 10_000  # cells above which a loss over dense matrices is refused: several of 400 MB each


@dataclass(frozen=True)
class Problem:
    """What is minimised.

    Attributes
    ----------
    objective
        The terms by name.
    strength
        The weight of each term in the loss, at exaggeration 1.
    offset
        Σ P log P where P and Q are distributions over all pairs, so that the loss is their divergence; else None.
    optimizer
        One that belongs to the method, instead of the configuration's; else None.
    """

    objective: Objective
    strength: dict[str, float]
    offset: float | None = None
    optimizer: Optimizer | None = None


@dataclass(frozen=True)
class Sums:
    """Makes the plans of radial sums of a run, and notes which evaluation was chosen."""

    config: EmbeddingConfig
    n_obs: int
    device: torch.device
    dtype: torch.dtype
    chosen: dict[str, str] = field(default_factory=dict)

    def choose(self, exact_cells: Mapping[int, int] = radial_sum.EXACT_CELLS) -> str:
        self.chosen["radial_sum"] = name = (
            "keops"
            if self.config.backend == "keops"
            else radial_sum.choose(self.n_obs, self.config.n_components, exact_cells=exact_cells)
        )
        return name

    def plan(self, name: str, potential: radial_sum.Potential, dtype: torch.dtype | None = None) -> radial_sum.Plan:
        return radial_sum.RADIAL_SUMS[name](
            potential, n_components=self.config.n_components, tolerance=self.config.tolerance, device=self.device,
            dtype=dtype or self.dtype, world=SERIAL,
        )  # fmt: skip


Terms = Callable[[EmbeddingConfig, AffinityMatrix, "Tensor | None", Sums], Problem]


def by_normalization(config: EmbeddingConfig, matrix: AffinityMatrix, counts: Tensor | None, sums: Sums) -> Problem:
    """Attraction along P, and the repulsion that the normalization of the output affinity asks for."""
    output = config.output_affinity()
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
    plan = sums.plan(sums.choose(), kernel)
    if output.normalization is None:
        return Problem(
            {"attraction": Attraction(matrix, kernel), "repulsion": Mass(plan, matrix.total, counts)}, strength
        )
    repulsion = Partition(plan, matrix.total, counts)
    return Problem({"attraction": Attraction(matrix, kernel), "repulsion": repulsion}, strength, divergence)


def umap(config: EmbeddingConfig, matrix: AffinityMatrix, counts: Tensor | None, sums: Sums) -> Problem:
    """UMAP: edges too weak to be sampled once are dropped, and the largest weight is 1."""
    matrix = _strong_edges(matrix, n_epochs(config, matrix.n_rows))
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
        "repulsion": ExpectedRepulsion(plan, degree, float(config.negative_sample_rate), counts),
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


def matching(config: EmbeddingConfig, matrix: AffinityMatrix, counts: Tensor | None, sums: Sums) -> Problem:
    """A loss between P as it is defined and Q, both dense."""
    _check_dense(matrix)
    output, loss = config.output_affinity(), resolve_loss(config.loss_fn, config.kwargs_loss)
    p = matrix.to_dense().to(sums.dtype)
    return Problem({"loss": Autograd(lambda positions: loss(p, output.log_matrix(positions)))}, {"loss": 1.0})


def _of_callable(output: CallableAffinity, matrix: AffinityMatrix) -> Objective:
    _check_dense(matrix)
    rows = torch.repeat_interleave(torch.arange(matrix.n_rows, device=matrix.indptr.device), matrix.degrees())
    columns = matrix.indices.long()

    def attraction(positions: Tensor) -> Tensor:
        return -(matrix.weights * output.log_kernel(positions)[rows, columns]).sum()

    def repulsion(positions: Tensor) -> Tensor:
        return matrix.total * output.log_kernel(positions).flatten().logsumexp(0)

    return {"attraction": Autograd(attraction), "repulsion": Autograd(repulsion)}


def _check_dense(matrix: AffinityMatrix) -> None:
    if matrix.n_rows > DENSE_CELLS:
        gigabytes = 4 * matrix.n_rows**2 / 1e9
        raise ValueError(
            f"This loss needs matrices of {matrix.n_rows} by {matrix.n_rows} cells, {gigabytes:.1f} GB each; it is "
            f"limited to {DENSE_CELLS} cells. Use an output affinity of the package with NeighborEmbedding, or fewer "
            "cells."
        )
