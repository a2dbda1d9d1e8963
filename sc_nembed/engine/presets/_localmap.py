"""LocalMAP: PaCMAP with another last phase."""

from __future__ import annotations

from dataclasses import dataclass

from ..cells import Cells
from ..compute.checks import check_positive
from ..config import EmbeddingConfig
from ..optimize.schedule import Schedule
from ..terms import PairSum, nearby_pair_sum
from ..terms.pair_potential import LocalPull
from ._pacmap import FAR, NEAR, OF_PAIRS, PACMAPOptions, pairs_of, steps_of, three_phases
from .method import Inputs, Method, Problem, Sums


@dataclass(frozen=True, slots=True)
class LocalMAPOptions(PACMAPOptions):
    """As PaCMAP's, and the distance in the embedding up to which far pairs are drawn anew."""

    low_dist_thres: float = 10.0

    def __post_init__(self) -> None:
        PACMAPOptions.__post_init__(self)
        check_positive("low_dist_thres", self.low_dist_thres)


def schedule(config: EmbeddingConfig, cells: Cells) -> Schedule:
    """PaCMAP's, with the local pull in the last phase (Wang et al. 2024)."""
    return three_phases(config, {"near": 0.0, "local_near": 1.0})


def problem(config: EmbeddingConfig, inputs: Inputs, sums: Sums) -> Problem:
    """PaCMAP, but in the last phase near pairs pull with another force, and far pairs are drawn anew nearby."""
    near, mid_near, partners = pairs_of(config, inputs, sums.device)
    max_distance, (first, second, _) = config.options.low_dist_thres, steps_of(config)
    far = nearby_pair_sum(partners, FAR, inputs.matrix, max_distance, first + second, config.random_state)
    local = PairSum(near.pairs, LocalPull(NEAR.scale, max_distance / 2))
    objective = {"near": near, "mid_near": mid_near, "local_near": local, "far": far}
    strength = {"near": 0.0, "mid_near": 0.0, "local_near": 1.0, "far": float(config.repulsion_strength)}
    return Problem(objective, strength, bounded=True)


METHOD = Method("localmap", problem, schedule, options=LocalMAPOptions, **OF_PAIRS)


def localmap() -> EmbeddingConfig:
    """LocalMAP (Wang et al. 2024): PaCMAP whose last phase pulls harder on near pairs at hand, and pushes nearby ones.

    In that phase far pairs are drawn anew every ten steps, among cells within `low_dist_thres` in the embedding; the
    pull is multiplied by half of that over the distance.
    """
    return EmbeddingConfig(METHOD)
