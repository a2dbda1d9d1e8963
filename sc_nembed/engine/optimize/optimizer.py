"""Optimizers: how the weighted forces of one step move the positions.

| name | step |
|---|---|
| auto | gradient divided by curvature, Nesterov momentum, a limit on the step (`PreconditionedNesterov`) |
| DeltaBarDelta | momentum and per-coordinate gains (Jacobs 1988), as in openTSNE (`DeltaBarDelta`) |
| any class of torch.optim | that optimizer, made anew at each phase (`TorchOptimizer`) |

Each is a frozen recipe; its state is a value of its own: `start` makes it, `step` returns the new positions and state.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from ..compute.checks import refuse_unknown
from ..compute.twins import twin
from ..world import SERIAL, World
from .measure import longest_side, mean, side_of
from .protocol import Optimizer, WeightedForces, as_one, weighted_sum
from .torch_optimizer import TorchOptimizer

# base classes; LBFGS evaluates the objective many times a step, SparseAdam wants sparse gradients, two hold schedulers
UNUSABLE = {"Optimizer", "LRScheduler", "LBFGS", "SparseAdam", "ChainedScheduler", "SequentialLR"}


@dataclass(frozen=True, slots=True)
class PreconditionedNesterov(Optimizer):
    """Degree-preconditioned Nesterov momentum, a Jacobi relative of the Laplacian direction (Vladymyrov &
    Carreira-Perpiñán 2012).

    With sᵢ = rate / curvatureᵢ:  u ← m·u − sᵢgᵢ, |uᵢ| ≤ max(max_step, max_step_span · longest side);  z ← z + m·u −
    sᵢgᵢ. The positions are the look-ahead point. The rate is dimensionless, about 1.
    """

    max_step: float = 0.5
    max_step_span: float = 0.03
    fused_as = "nesterov"
    parts = ("velocity", "span")

    def start(self, positions, setting, state, world=SERIAL):
        if state is not None:
            return state  # the velocity lives through phases
        return torch.zeros_like(positions), longest_side(positions, world)

    def step(self, positions, forces, state, options):
        velocity, span = state
        positions, velocity, span = twin("nesterov", positions)(
            positions, velocity, forces, options.lr, options.momentum, self._limit(span), options.world
        )
        return positions, (velocity, span)

    def step_within(self, move, weight, positions, forces, state, options):
        velocity, span = state
        other_weight, other = as_one(forces)
        moved, moving, sides = move(
            positions, velocity, weight, other_weight, other.gradient, other.curvature, options.lr, options.momentum,
            float(self._limit(span)),
        )  # fmt: skip
        return moved, (moving, side_of(sides))

    def _limit(self, span: Tensor) -> Tensor:
        wanted = self.max_step_span * span
        return torch.where(wanted > self.max_step, wanted, self.max_step)  # NaN is no limit


def plain_nesterov(
    positions: Tensor, velocity: Tensor, forces: WeightedForces, rate: float, momentum: float, max_step: Tensor,
    world: World = SERIAL,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """New positions and velocity, (m, d) each, and the longest side of the box that holds the positions of all."""
    gradient, curvature = weighted_sum(forces)
    move = gradient * (rate / curvature)[:, None]
    velocity = momentum * velocity - move
    length = velocity.norm(dim=1, keepdim=True)
    shrink = length.reciprocal() * max_step
    velocity = torch.where(length > max_step, velocity * shrink, velocity)
    positions = positions + momentum * velocity - move
    return positions, velocity, longest_side(positions, world)


@dataclass(frozen=True, slots=True)
class DeltaBarDelta(Optimizer):
    """Momentum with one gain per coordinate (Jacobs 1988), a limit on the step, and centring, as in openTSNE 1.0.

    The rate belongs to the true gradient, with its factor 4: n / (4 λ) is openTSNE's n / λ.
    """

    momentum: float = 0.8
    min_gain: float = 0.01
    max_step: float = 5.0
    parts = ("moved", "gains")

    def start(self, positions, setting, state, world=SERIAL):
        return (torch.zeros_like(positions), torch.ones_like(positions)) if state is None else state

    def step(self, positions, forces, state, options):
        gradient, _ = weighted_sum(forces)
        moved, gains = state
        flipped = moved.sign() != gradient.sign()
        gains = torch.where(flipped, gains + 0.2, gains * 0.8 + self.min_gain)
        moved = self.momentum * moved - options.lr * gains * gradient
        length = moved.norm(dim=1, keepdim=True)
        moved = torch.where(length > self.max_step, moved * (self.max_step / length), moved)
        positions = positions + moved
        return positions - mean(positions, options.world).to(positions.dtype), (moved, gains)


def resolve_optimizer(optimizer: Any, kwargs: dict[str, Any] | str | None) -> Optimizer:
    """An optimizer from "auto", "DeltaBarDelta", the name or class of a torch optimizer, with its arguments."""
    if isinstance(optimizer, str) and optimizer in OWN_OPTIMIZERS:
        return with_options(OWN_OPTIMIZERS[optimizer](), kwargs)
    options = {} if kwargs is None or isinstance(kwargs, str) else dict(kwargs)
    factory = torch_class(optimizer, torch.optim, torch.optim.Optimizer, "optimizer", sorted(OWN_OPTIMIZERS))
    if "lr" in options:
        raise TypeError("`optimizer_kwargs` must not contain 'lr'; pass `lr` itself.")
    check_names("optimizer_kwargs", options, factory)
    return TorchOptimizer(factory, tuple(options.items()))


OWN_OPTIMIZERS = {"auto": PreconditionedNesterov, "DeltaBarDelta": DeltaBarDelta}


def torch_class(given: Any, module: Any, base: type, name: str, extra: list[str]) -> type:
    """A class of a module of torch, from its name or itself."""
    kinds = {key: item for key, item in vars(module).items() if isinstance(item, type) and issubclass(item, base)}
    available = sorted(key for key in kinds if key not in UNUSABLE and not key.startswith("_"))
    found = given if isinstance(given, type) else kinds.get(given) if given in available else None
    if found is not None and issubclass(found, base) and found.__name__ not in UNUSABLE:
        return found
    raise ValueError(f"Unknown `{name}` {given!r}; available: {extra + available}, or a class.")


def check_names(name: str, kwargs: dict[str, Any], factory: type) -> None:
    """Refuse arguments that a class of torch does not have."""
    known = [key for key in inspect.signature(factory).parameters if key not in ("params", "lr", "optimizer")]
    refuse_unknown(f"`{name}`", kwargs, known, f" for {factory.__name__}")


def with_options(optimizer: Optimizer, kwargs: dict[str, Any] | str | None) -> Optimizer:
    """One of our own optimizers with other values of its fields."""
    options = {} if kwargs is None or isinstance(kwargs, str) else dict(kwargs)
    known = [item.name for item in fields(optimizer)]
    refuse_unknown("`optimizer_kwargs`", options, known, f" for {type(optimizer).__name__}")
    return replace(optimizer, **options)


def auto_rate(n_obs: int, exaggeration: float) -> float:
    """max(n / λ / 4, 50), for the true gradient of a P of sum 1 (Belkina et al. 2019; the 4 as in scikit-learn)."""
    return max(n_obs / exaggeration / 4, 50.0)
