"""CO-SNE: t-SNE in the Poincaré ball."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from ..compute import reductions
from ..compute.checks import check_not_negative, check_positive
from ..config import EmbeddingConfig
from ..poincare import LARGEST_DISTANCE
from ..terms import HyperbolicAttraction, HyperbolicPartition, NormTerm
from .problem import DENSE_CELLS, Inputs, Problem, Sums

USUAL_DISTANCE = 2.0  # from the origin, of the root mean square norm


@dataclass(frozen=True)
class CosneOptions:
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


def cosne(config: EmbeddingConfig, inputs: Inputs, sums: Sums) -> Problem:
    """Attraction along P, the partition over all pairs, and the norms of the features."""
    options, matrix, counts = config.of_method, inputs.matrix, inputs.counts
    if matrix.n_rows > DENSE_CELLS:
        raise ValueError(
            f"CO-SNE sums over all pairs of cells at each step, which is sensible up to {DENSE_CELLS} cells; got "
            f"{matrix.n_rows}. Use fewer cells, or method='tsne'."
        )
    objective = {
        "attraction": HyperbolicAttraction(matrix, options.gamma),
        "repulsion": HyperbolicPartition(options.gamma, matrix.total, counts),
    }
    strength = {"attraction": 1.0, "repulsion": float(config.repulsion_strength)}
    if options.norm_strength:
        objective["norm"] = NormTerm(_sq_norms(inputs, options.norm_scale), counts)
        strength["norm"] = float(options.norm_strength)
    sums_to_one = abs(matrix.total - 1) < 1e-6
    return Problem(objective, strength, -reductions.entropy(matrix.weights) if sums_to_one and counts is None else None)


def _sq_norms(inputs: Inputs, scale: float | None) -> Tensor:
    """‖x‖² (n,), scaled."""
    if inputs.raw is None:
        raise ValueError(
            "The norm term of method='cosne' needs the features of the cells, and the source has none: name a "
            "representation, or leave the term out with `norm_strength=0`."
        )
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
