"""Losses between an input affinity P and the logarithm of an output affinity Q, both (n, n), summed over i ≠ j.

| name | loss |
|---|---|
| square_loss | Σ (P − Q)² |
| cross_entropy_loss | −Σ P log Q |
| binary_cross_entropy_loss | −Σ P log Q + (1 − P) log(1 − Q) |
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..compute.checks import refuse_unknown


def square_difference(p: Tensor, q: Tensor) -> Tensor:
    return (p - q).square().sum()


def square_loss(p: Tensor, log_q: Tensor) -> Tensor:
    return square_difference(p, log_q.exp())


def cross_entropy_loss(p: Tensor, log_q: Tensor) -> Tensor:
    return -(p * log_q.masked_fill(p == 0, 0.0)).sum()


def binary_cross_entropy_loss(p: Tensor, log_q: Tensor, *, negative_weight: float = 1.0, eps: float = 1e-4) -> Tensor:
    """`negative_weight` multiplies the second part, whose 1 − Q, 0 where cells meet, is (1 − Q + eps) / (1 + eps)."""
    apart = ~torch.eye(p.shape[0], dtype=torch.bool, device=p.device)
    p, log_q = p[apart], log_q[apart]
    log_rest = ((-torch.expm1(log_q) + eps) / (1 + eps)).log()
    return -(p * log_q + negative_weight * (1 - p) * log_rest).sum()


LOSSES = {function.__name__: function for function in (square_loss, cross_entropy_loss, binary_cross_entropy_loss)}


def resolve_loss(loss_fn: Any, kwargs: dict[str, Any] | None) -> Callable[[Tensor, Tensor], Tensor]:
    """A loss by its name, or a function loss(P, log_Q, **kwargs), with its arguments put in.

    Raises
    ------
    ValueError, TypeError
        For an unknown name, something that cannot be called, and arguments it does not have.
    """
    if isinstance(loss_fn, str):
        if loss_fn not in LOSSES:
            raise ValueError(f"Unknown `loss_fn` {loss_fn!r}; available: {sorted(LOSSES)}, or a function.")
        loss_fn = LOSSES[loss_fn]
    if not callable(loss_fn):
        raise TypeError(f"`loss_fn` must be one of {sorted(LOSSES)} or a function loss(P, log_Q); got {loss_fn!r}.")
    kwargs = dict(kwargs or {})
    parameters = inspect.signature(loss_fn).parameters
    if not any(item.kind is item.VAR_KEYWORD for item in parameters.values()):
        refuse_unknown("`kwargs_loss`", kwargs, list(parameters)[2:])
    return lambda p, log_q: loss_fn(p, log_q, **kwargs)
