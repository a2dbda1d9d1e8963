"""Sinkhorn's scaling of a dense matrix, differentiable: exp(fᵢ + fⱼ + log qᵢⱼ) with rows of sum 1/n.

The f are found without derivatives. With R = n Q, whose rows sum to 1, they answer a change of log q by
(I + R) df = −Σⱼ Rᵢⱼ d log qᵢⱼ; both systems are solved by the same damped iteration.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}  # of the logarithms of the row sums
MAX_ITERATIONS = 1000


def scaled(log_q: Tensor) -> Tensor:
    """Log Q, (n, n), of a symmetric `log_q` that is −inf on the diagonal."""
    log_scale = _Scaling.apply(log_q)
    return log_q + log_scale[:, None] + log_scale[None, :]


class _Scaling(torch.autograd.Function):
    """f (n,) of log q (n, n)."""

    @staticmethod
    def forward(ctx, log_q):
        target = -math.log(log_q.shape[0])
        nearest = -0.5 * log_q.amax(1)  # with it no row underflows
        values = (log_q + nearest[:, None] + nearest[None, :]).exp()
        tiny = torch.finfo(log_q.dtype).tiny
        scale = torch.zeros_like(nearest)
        for _ in range(MAX_ITERATIONS):
            missing = target - scale - (values @ scale.exp()).clamp_min(tiny).log()
            scale = scale + 0.5 * missing
            if float(missing.abs().max()) < TOLERANCE[log_q.dtype]:
                break
        ctx.save_for_backward(values * (scale[:, None] + scale[None, :] - target).exp())
        return scale + nearest

    @staticmethod
    def backward(ctx, gradient):
        (rows,) = ctx.saved_tensors
        answer = gradient / 2
        for _ in range(MAX_ITERATIONS):
            missing = gradient - answer - rows @ answer
            answer = answer + 0.5 * missing
            if float(missing.abs().max()) <= TOLERANCE[gradient.dtype] * float(gradient.abs().max()):
                break
        return -answer[:, None] * rows
