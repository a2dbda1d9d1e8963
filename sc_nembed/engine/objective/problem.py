"""What is minimised, and what the functions that say so share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .. import radial_sum
from ..config import EmbeddingConfig
from ..graph import AffinityMatrix, DenseAffinity
from ..optimize.optimizer import Optimizer
from ..terms import Objective
from ..world import SERIAL

DENSE_CELLS = 10_000  # cells above which a loss over dense matrices is refused: several of 400 MB each


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a method is given of the cells.

    Attributes
    ----------
    matrix
        P, on the device of the run.
    features
        (n, d) float32 on the CPU; None where there is no representation.
    counts
        (n,) number of cells that each row stands for; None where it is one each.
    raw
        (n, d) features as they were given, not centred.
    """

    matrix: AffinityMatrix | DenseAffinity
    features: Tensor | None = None
    counts: Tensor | None = None
    raw: Tensor | None = None


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
    bounded
        Whether the loss has an upper bound, so that a large one is no explosion.
    added
        Terms that the method does not have of itself.
    late
        Terms that act at the end alone, and in what share of the steps.
    """

    objective: Objective
    strength: dict[str, float]
    offset: float | None = None
    optimizer: Optimizer | None = None
    bounded: bool = False
    added: tuple[str, ...] = ()
    late: dict[str, float] = field(default_factory=dict)


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


Terms = Callable[[EmbeddingConfig, Inputs, Sums], Problem]


def check_dense(matrix: AffinityMatrix | DenseAffinity) -> None:
    """Refuse what is too large for matrices of cells by cells."""
    if matrix.n_rows > DENSE_CELLS:
        gigabytes = 4 * matrix.n_rows**2 / 1e9
        raise ValueError(
            f"This loss needs matrices of {matrix.n_rows} by {matrix.n_rows} cells, {gigabytes:.1f} GB each; it is "
            f"limited to {DENSE_CELLS} cells. Use an output affinity of the package with NeighborEmbedding, or fewer "
            "cells."
        )
