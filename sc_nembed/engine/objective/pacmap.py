"""PaCMAP and LocalMAP: pulls between near and mid-near pairs, a push between far ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..compute.checks import check_not_negative, check_positive
from ..config import EmbeddingConfig
from ..neighbors import unit_rows
from ..terms import PairSum, nearby_pair_sum, partners
from ..terms.pair_potential import LocalPull, Pull, Push
from .problem import Inputs, Problem, Sums

USUAL_STEPS = (100, 100, 250)
NEAR, MID_NEAR, FAR = Pull(10.0), Pull(10_000.0), Push()


@dataclass(frozen=True, slots=True)
class PACMAPOptions:
    """Mid-near and far pairs for each near pair of a cell."""

    MN_ratio: float = 0.5
    FP_ratio: float = 2.0

    def __post_init__(self) -> None:
        check_not_negative("MN_ratio", self.MN_ratio)
        check_positive("FP_ratio", self.FP_ratio)


@dataclass(frozen=True, slots=True)
class LocalMAPOptions:
    """The same, and the distance in the embedding up to which far pairs are drawn anew."""

    MN_ratio: float = 0.5
    FP_ratio: float = 2.0
    low_dist_thres: float = 10.0

    def __post_init__(self) -> None:
        PACMAPOptions(self.MN_ratio, self.FP_ratio)
        check_positive("low_dist_thres", self.low_dist_thres)


def pacmap_steps(config: EmbeddingConfig) -> tuple[int, int, int]:
    """Steps of the three phases: 100, 100 and 250, or the same shares of `max_iter`."""
    if config.max_iter is None:
        return USUAL_STEPS
    early = round(config.max_iter * USUAL_STEPS[0] / sum(USUAL_STEPS))
    return early, early, config.max_iter - 2 * early


def pacmap(config: EmbeddingConfig, inputs: Inputs, sums: Sums) -> Problem:
    """The sum of d / (10 + d) over near pairs, d / (10000 + d) over mid-near, 1 / (1 + d) over far ones.

    d = 1 + ‖zᵢ − zⱼ‖². The loss is that of the last phase, without mid-near pairs.
    """
    near, mid_near, far = _pairs(config, inputs, sums.device)
    objective = {"near": near, "mid_near": mid_near, "far": PairSum(partners.both_ends(far), FAR)}
    strength = {"near": 1.0, "mid_near": 0.0, "far": float(config.repulsion_strength)}
    return Problem(objective, strength, bounded=True)


def localmap(config: EmbeddingConfig, inputs: Inputs, sums: Sums) -> Problem:
    """PaCMAP, but in the last phase near pairs pull with another force, and far pairs are drawn anew nearby."""
    near, mid_near, far = _pairs(config, inputs, sums.device)
    max_distance, (first, second, _) = config.of_method.low_dist_thres, pacmap_steps(config)
    far = nearby_pair_sum(far, FAR, inputs.matrix, max_distance, first + second, config.random_state)
    local = PairSum(near.pairs, LocalPull(NEAR.scale, max_distance / 2))
    objective = {"near": near, "mid_near": mid_near, "local_near": local, "far": far}
    strength = {"near": 0.0, "mid_near": 0.0, "local_near": 1.0, "far": float(config.repulsion_strength)}
    return Problem(objective, strength, bounded=True)


def _pairs(config: EmbeddingConfig, inputs: Inputs, device: torch.device) -> tuple[PairSum, PairSum, Tensor]:
    """The terms of near and mid-near pairs, and the far partners (n, k)."""
    if config.process_duplicates:
        raise ValueError(
            f"`process_duplicates` has no effect with method={config.method!r}, whose pairs are drawn cell by cell."
        )
    n_near, options = inputs.matrix.n_edges / inputs.matrix.n_rows, config.of_method
    features = unit_rows(inputs.features) if config.metric == "cosine" else inputs.features
    mid_near = partners.mid_near(features, round(n_near * options.MN_ratio), config.random_state)
    far = partners.far(inputs.matrix, max(1, round(n_near * options.FP_ratio)), config.random_state)
    near = partners.near(inputs.matrix)
    return PairSum(near, NEAR), PairSum(partners.both_ends(mid_near).to(device), MID_NEAR), far.to(device)
