"""PaCMAP: pulls between near and mid-near pairs, a push between far ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..cells import Cells
from ..compute.checks import check_not_negative, check_positive
from ..config import EmbeddingConfig
from ..neighbors import unit_rows
from ..optimize.adam import Adam
from ..optimize.schedule import Phase, Ramp, Schedule
from ..terms import PairSum, partners
from ..terms.pair_potential import Pull, Push
from . import phases
from .method import Inputs, Method, Options, Problem, Sums

USUAL_STEPS = (100, 100, 250)
NEAR, MID_NEAR, FAR = Pull(10.0), Pull(10_000.0), Push()


@dataclass(frozen=True, slots=True)
class PACMAPOptions(Options):
    """Mid-near and far pairs for each near pair of a cell."""

    MN_ratio: float = 0.5
    FP_ratio: float = 2.0

    def __post_init__(self) -> None:
        check_not_negative("MN_ratio", self.MN_ratio)
        check_positive("FP_ratio", self.FP_ratio)


def schedule(config: EmbeddingConfig, cells: Cells) -> Schedule:
    """Global arrangement, transition, local structure: 100, 100 and 250 steps (Wang et al. 2021), or such shares."""
    return three_phases(config, {"near": 1.0})


def steps_of(config: EmbeddingConfig) -> tuple[int, int, int]:
    """Steps of the three phases: 100, 100 and 250, or the same shares of `max_iter`."""
    if config.max_iter is None:
        return USUAL_STEPS
    early = round(config.max_iter * USUAL_STEPS[0] / sum(USUAL_STEPS))
    return early, early, config.max_iter - 2 * early


def three_phases(config: EmbeddingConfig, last: dict[str, float]) -> Schedule:
    """The weight of mid-near pairs falls from 1000 on a line that reaches 3 with the second phase."""
    first, second, third = steps_of(config)
    usual = {"far": float(config.repulsion_strength)} | dict.fromkeys(last, 0.0)
    falling = Ramp(1000.0, 1000.0 + (3.0 - 1000.0) * (first - 1) / max(first, 1))
    rate, momentum = phases.rate_of(config, 1.0), 0.8 if phases.takes_momentum(config) else None
    return Schedule((
        phases.of_phases(
            Phase("global arrangement", first, usual | {"near": 2.0, "mid_near": falling}, rate, momentum),
            Phase("transition", second, usual | {"near": 3.0, "mid_near": 3.0}, rate, momentum),
            Phase("local structure", third, usual | last | {"mid_near": 0.0}, rate, momentum),
        ),
    ))  # fmt: skip


def problem(config: EmbeddingConfig, inputs: Inputs, sums: Sums) -> Problem:
    """The sum of d / (10 + d) over near pairs, d / (10000 + d) over mid-near, 1 / (1 + d) over far ones.

    d = 1 + ‖zᵢ − zⱼ‖². The loss is that of the last phase, without mid-near pairs.
    """
    near, mid_near, far = pairs_of(config, inputs, sums.device)
    objective = {"near": near, "mid_near": mid_near, "far": PairSum(partners.both_ends(far), FAR)}
    strength = {"near": 1.0, "mid_near": 0.0, "far": float(config.repulsion_strength)}
    return Problem(objective, strength, bounded=True)


def pairs_of(config: EmbeddingConfig, inputs: Inputs, device: torch.device) -> tuple[PairSum, PairSum, Tensor]:
    """The terms of near and mid-near pairs, and the far partners (n, k)."""
    n_near, options, seed = inputs.matrix.n_edges / inputs.matrix.n_rows, config.options, config.random_state
    features = unit_rows(inputs.features) if config.metric == "cosine" else inputs.features
    mid_near = partners.mid_near(features, round(n_near * options.MN_ratio), seed)
    far = partners.far(inputs.matrix, max(1, round(n_near * options.FP_ratio)), seed)
    near = partners.near(inputs.matrix)
    return PairSum(near, NEAR), PairSum(partners.both_ends(mid_near).to(device), MID_NEAR), far.to(device)


OF_PAIRS: Mapping[str, Any] = {  # what PaCMAP and LocalMAP have in common
    "search_affinity": "pacmap",
    "graph_affinity": "pacmap",
    "matrix": "directed",
    "optimizer": Adam(),
    "needs": {"features": "draws pairs by distances in a representation"},
    "refuses": phases.NO_EXAGGERATION
    | dict.fromkeys(("affinity_out", "kwargs_affinity_out"), "has a loss without an output affinity")
    | {"process_duplicates": "draws pairs cell by cell", "density": "has no edges to attract along"},
}

METHOD = Method("pacmap", problem, schedule, options=PACMAPOptions, **OF_PAIRS)


def pacmap() -> EmbeddingConfig:
    """PaCMAP (Wang et al. 2021): pulls between near and mid-near pairs, a push between far ones; three phases, by Adam.

    11 neighbors, the cell itself counted, up to 10 000 cells, and 15 more for each power of ten above; `MN_ratio`
    mid-near and `FP_ratio` far pairs for each of them. Needs a representation, whose scale does not matter. The code of
    the authors first scales it to a range of 1, and takes 100 principal components where it has more variables; this
    does neither. `max_iter` steps are shared out between the phases as 100, 100 and 250 are.
    """
    return EmbeddingConfig(METHOD)
