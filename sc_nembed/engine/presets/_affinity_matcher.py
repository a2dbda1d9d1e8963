"""A loss between dense matrices, by autograd."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..cells import Cells
from ..config import EmbeddingConfig
from ..optimize.optimizer import auto_rate
from ..optimize.schedule import Phase, Schedule
from ..output_affinity import NegativeDistanceAffinity, StudentAffinity
from ..terms import Autograd
from . import phases
from .losses import LOSSES, resolve_loss, square_difference
from .method import Inputs, Method, Options, Problem, Sums


@dataclass(frozen=True, slots=True)
class MatcherOptions(Options):
    """`loss_fn` is a name of `losses.LOSSES` or a function of P and log Q, `kwargs_loss` are its arguments."""

    loss_fn: Any = "square_loss"
    kwargs_loss: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        resolve_loss(self.loss_fn, self.kwargs_loss)


def check(config: EmbeddingConfig) -> None:
    """Losses by their names take logarithms, but for the square loss."""
    loss = config.options.loss_fn
    if config.output_affinity() == NegativeDistanceAffinity() and loss in LOSSES and loss != "square_loss":
        raise ValueError(
            f"`loss_fn={loss!r}` takes logarithms, which negative distances do not have. Use 'square_loss', or a "
            "function of P and Q."
        )


def matching(config: EmbeddingConfig, inputs: Inputs, sums: Sums) -> Problem:
    """A loss between P as it is defined and Q, both dense; of Q itself where it has no logarithm."""
    options, output = config.options, config.output_affinity()
    loss, of_positions = resolve_loss(options.loss_fn, options.kwargs_loss), None
    p = inputs.matrix.to_dense().to(sums.dtype)
    if output == NegativeDistanceAffinity():
        loss, of_positions = square_difference if options.loss_fn == "square_loss" else loss, output.matrix
    elif options.loss_fn in LOSSES and options.loss_fn != "square_loss" and (p < 0).any():
        raise ValueError(
            f"`loss_fn={options.loss_fn!r}` is of an affinity that is not negative, and this one has negative entries. "
            "Use 'square_loss', or a function of P and log Q."
        )
    of_positions = of_positions or output.log_matrix
    return Problem({"loss": Autograd(lambda positions: loss(p, of_positions(positions)))}, {"loss": 1.0})


def schedule(config: EmbeddingConfig, cells: Cells) -> Schedule:
    """One phase, one weight."""
    automatic = auto_rate(cells.matrix.n_rows, 1.0) if phases.is_scaled(config) else 1.0
    momentum = 0.8 if phases.takes_momentum(config) else None
    rate = phases.rate_of(config, automatic)
    return Schedule(((Phase("matching", config.max_iter, {"loss": 1.0}, rate, momentum),),))


METHOD = Method(
    "affinity_matcher",
    matching,
    schedule,
    options=MatcherOptions,
    affinity_out=StudentAffinity(),
    matrix="dense",
    refuses=phases.NO_EXAGGERATION | {"repulsion_strength": "has a loss of one term"},
    check=check,
)


def affinity_matcher() -> EmbeddingConfig:
    """A loss between P as it is defined and Q, both dense: what the class `AffinityMatcher` starts from."""
    return EmbeddingConfig(METHOD, optimizer="Adam", lr=1.0, max_iter=1000)
