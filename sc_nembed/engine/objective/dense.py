"""Losses over dense matrices, by autograd."""

from __future__ import annotations

from ..config import EmbeddingConfig
from ..losses import resolve_loss, square_difference
from ..output_affinity import NegativeDistanceAffinity
from ..terms import Autograd
from .problem import Inputs, Problem, Sums, check_dense


def matching(config: EmbeddingConfig, inputs: Inputs, sums: Sums) -> Problem:
    """A loss between P as it is defined and Q, both dense; of Q itself where it has no logarithm."""
    check_dense(inputs.matrix)
    output, loss = config.output_affinity(), resolve_loss(config.loss_fn, config.kwargs_loss)
    p, of_positions = inputs.matrix.to_dense().to(sums.dtype), None
    if isinstance(output, NegativeDistanceAffinity):
        loss, of_positions = square_difference if config.loss_fn == "square_loss" else loss, output.matrix
    elif isinstance(config.loss_fn, str) and config.loss_fn != "square_loss" and (p < 0).any():
        raise ValueError(
            f"`loss_fn={config.loss_fn!r}` is of an affinity that is not negative, and this one has negative entries. "
            "Use 'square_loss', or a function of P and log Q."
        )
    of_positions = of_positions or output.log_matrix
    return Problem({"loss": Autograd(lambda positions: loss(p, of_positions(positions)))}, {"loss": 1.0})
