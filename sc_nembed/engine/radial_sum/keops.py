"""Exact sums by KeOps: one compiled reduction per potential, whose memory is linear in the cells, on any device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ..compute import keops


@dataclass(frozen=True)
class KeopsField:
    """Fixed sources; the formula counts them by their numbers."""

    sums: Callable[..., Tensor]
    sources: Tensor  # (m, d)
    numbers: Tensor  # (m, 1)
    weights: Tensor  # (m, 1)

    def __call__(self, targets: Tensor, first: int | None) -> tuple[Tensor, Tensor]:
        own = torch.arange(targets.shape[0]).add(first) if first is not None else torch.full((targets.shape[0],), -1)
        both = keops.evaluate(
            self.sums, targets.to(self.sources), own[:, None].to(self.sources), self.sources, self.numbers, self.weights
        ).to(targets)
        return both[:, 0].contiguous(), both[:, 1:].contiguous()


@dataclass(frozen=True)
class KeopsSum:
    """A plan of sums by KeOps: a compiled reduction."""

    sums: Callable[..., Tensor]

    def field(self, sources: Tensor, weights: Tensor | None = None) -> KeopsField:
        m = sources.shape[0]
        if m > keops.LARGEST_NUMBER:
            sources = sources.double()
        numbers = torch.arange(m, device=sources.device)[:, None].to(sources)
        weights = sources.new_ones(m) if weights is None else weights.to(sources)
        return KeopsField(self.sums, sources, numbers, weights[:, None])

    def __call__(self, targets, sources, first, weights=None):
        return self.field(sources, weights)(targets, first)


def make(potential, *, n_components, tolerance, device, dtype, world) -> KeopsSum:
    """Compile the sums of any potential that is a formula of LazyTensors; they do not depend on `tolerance`."""
    points, column = (torch.zeros(1, columns, device=device, dtype=dtype) for columns in (n_components, 1))
    return KeopsSum(keops.compiled(partial(_sums, potential), points, column, points, column, column))


def _sums(potential, targets: Tensor, own: Tensor, sources: Tensor, numbers: Tensor, weights: Tensor) -> Tensor:
    """Mass and push, (n, 1 + d). A target's own source has weight 0, at a distance where any potential is finite."""
    from pykeops.torch import Vi, Vj

    other = ((Vi(own) - Vj(numbers)).square() - 0.5).step()  # 1, and 0 for a target's own source
    difference = Vi(targets) - Vj(sources)
    sq_dist = (difference * difference).sum(-1) + (1 - other)
    weight = other * Vj(weights)
    both = (potential.value(sq_dist) * weight).concat(potential.slope(sq_dist) * weight * difference)
    return both.sum(1, backend=keops.place(targets))
