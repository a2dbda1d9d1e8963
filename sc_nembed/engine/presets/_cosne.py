"""CO-SNE: t-SNE in the Poincaré ball."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from ..cells import DENSE_CELLS, Cells
from ..compute import reductions
from ..compute.checks import check_not_negative, check_positive
from ..config import EmbeddingConfig
from ..optimize.riemannian_adam import RiemannianAdam
from ..optimize.schedule import Phase, Ramp, Schedule
from ..poincare import LARGEST_DISTANCE
from ..space import POINCARE_BALL
from ..terms import HyperbolicAttraction, HyperbolicPartition, NormTerm
from . import phases
from .method import Inputs, Method, Options, Problem, Sums, attraction_and_repulsion
from .normalized import divergence_offset

USUAL_DISTANCE = 2.0  # from the origin, of the root mean square norm


@dataclass(frozen=True, slots=True)
class COSNEOptions(Options):
    """Options of CO-SNE.

    Attributes
    ----------
    gamma
        Scale of the Cauchy kernel 1 / (1 + d² / gamma²), in hyperbolic distances.
    norm_strength
        Weight of the norm term; `learning_rate_for_h_loss` in the authors' code and in TorchDR. 0 leaves it out.
    norm_scale
        Distance from the origin for a norm of 1 of the features; 1 takes them as they are, as TorchDR does. None: their
        root mean square norm is a distance of 2, whatever their unit.
    """

    gamma: float = 0.5
    norm_strength: float = 0.01
    norm_scale: float | None = None

    def __post_init__(self) -> None:
        check_positive("gamma", self.gamma)
        check_not_negative("norm_strength", self.norm_strength)
        if self.norm_scale is not None:
            check_positive("norm_scale", self.norm_scale)

    @property
    def needs(self) -> dict[str, str]:
        why = "compares norms of features (a term that `norm_strength=0` leaves out)"
        return {"features": why} if self.norm_strength else {}


def schedule(config: EmbeddingConfig, cells: Cells) -> Schedule:
    """A fifth of the steps at exaggeration 4, which sorts a random start; then the rate falls from 0.1 to 0.01."""
    n_steps = config.max_iter or 500
    n_early, early = phases.early_part(config, n_steps, n_steps // 5, 4.0)
    late, falling = phases.late_coeff(config), Ramp(0.1, 0.01, "geometric")
    return Schedule((
        phases.of_phases(
            Phase("early exaggeration", n_early, phases.weights(config, early), phases.rate_of(config, 0.1)),
            Phase("final", n_steps - n_early, phases.weights(config, late), phases.rate_of(config, falling)),
        ),
    ))  # fmt: skip


def problem(config: EmbeddingConfig, inputs: Inputs, sums: Sums) -> Problem:
    """Attraction along P, the partition over all pairs, and the norms of the features."""
    options, matrix, counts = config.options, inputs.matrix, inputs.counts
    objective = {
        "attraction": HyperbolicAttraction(matrix, options.gamma),
        "repulsion": HyperbolicPartition(options.gamma, matrix.total, counts),
    }
    strength = attraction_and_repulsion(config)
    if options.norm_strength:
        objective["norm"] = NormTerm(_sq_norms(inputs, options.norm_scale), counts)
        strength["norm"] = float(options.norm_strength)
    return Problem(objective, strength, divergence_offset(inputs))


def _sq_norms(inputs: Inputs, scale: float | None) -> Tensor:
    """‖x‖² (n,), scaled."""
    sq_norms = inputs.raw.to(inputs.matrix.weights.device).double().square().sum(1)
    usual = math.sqrt(reductions.total(sq_norms) / len(sq_norms))
    if scale is None:
        return sq_norms * (USUAL_DISTANCE / max(usual, 1e-30)) ** 2
    if usual * scale > LARGEST_DISTANCE:
        raise ValueError(
            f"The features have a root mean square norm of {usual:g}, and `norm_scale={scale:g}` makes that a distance "
            f"of {usual * scale:.3g} from the origin, beyond the {LARGEST_DISTANCE:.3g} of the ball in float32. Lower "
            "`norm_scale`, or leave it at None."
        )
    return sq_norms * scale**2


METHOD = Method(
    "cosne",
    problem,
    schedule,
    options=COSNEOptions,
    space=POINCARE_BALL,
    start_size=1.0,
    optimizer=RiemannianAdam(),
    most_cells=DENSE_CELLS,
    refuses=dict.fromkeys(("affinity_out", "kwargs_affinity_out"), "has a kernel of its own")
    | {
        "optimizer": "embeds in the unit ball, which other optimizers than 'auto', Riemannian Adam, would leave",
        "encoder": "embeds in the unit ball, where an encoder cannot be kept",
        "density": "has no edges to attract along in a plane",
    },
)


def cosne() -> EmbeddingConfig:
    """CO-SNE (Guo, Guo & Yu 2022): t-SNE in the Poincaré ball, with a term for the norms of the features."""
    return EmbeddingConfig(METHOD, init="hyperbolic")
