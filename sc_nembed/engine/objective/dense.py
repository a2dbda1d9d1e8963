"""Losses over dense matrices, by autograd."""

from __future__ import annotations

from ..config import EmbeddingConfig
from ..matching import resolve_loss
from ..terms import Autograd
from .problem import Inputs, Problem, Sums, check_dense


def matching(config: EmbeddingConfig, inputs: Inputs, sums: Sums) -> Problem:
    """A loss between P as it is defined and Q, both dense."""
    check_dense(inputs.matrix)
    output, loss = config.output_affinity(), resolve_loss(config.loss_fn, config.kwargs_loss)
    p = inputs.matrix.to_dense().to(sums.dtype)
    return Problem({"loss": Autograd(lambda positions: loss(p, output.log_matrix(positions)))}, {"loss": 1.0})
