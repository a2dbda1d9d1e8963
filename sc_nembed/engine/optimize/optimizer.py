"""Optimizers: how the weighted forces of one step move the positions.

| name | step |
|---|---|
| auto | gradient divided by curvature, Nesterov momentum, a limit on the step (`PreconditionedNesterov`) |
| DeltaBarDelta | momentum and per-coordinate gains (Jacobs 1988), as in openTSNE (`DeltaBarDelta`) |
| any class of torch.optim | that optimizer, made anew at each phase (`TorchOptimizer`) |

Each is a frozen recipe; its state is a value of its own: `start` makes it, `step` returns the new positions and state.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ..compute import backend
from ..compute.reductions import bounding_box
from ..fused import update as fused_update
from ..terms import Attraction, Force, Objective, Term
from .schedule import Setting

WeightedForces = list[tuple[float, Force | Term]]  # a term where the optimizer spares its force
FUSED_ROWS = 8192  # rows of a range
# base classes; LBFGS evaluates the objective many times a step, SparseAdam wants sparse gradients, two hold schedulers
UNUSABLE = {"Optimizer", "LRScheduler", "LBFGS", "SparseAdam", "ChainedScheduler", "SequentialLR"}


class Optimizer(Protocol):
    """A recipe for a step. `options` holds "lr" and "momentum" (None where the optimizer has its own)."""

    def spares(self, objective: Objective, positions: Tensor) -> Collection[str]:
        """Names of the terms whose forces a step does without: it is given the terms themselves."""

    def start(self, positions: Tensor, setting: Setting, state: Any) -> Any:
        """The state at the beginning of a phase, given the one of the phase before (None at first)."""

    def step(self, positions: Tensor, forces: WeightedForces, state: Any, options: dict) -> tuple[Tensor, Any]:
        """New positions and state; the positions given stay as they are."""

    def copy(self, state: Any) -> Any: ...

    def stand_in(self, setting: Setting) -> tuple[torch.optim.Optimizer, tuple[str, ...]]:
        """An optimizer of torch for a scheduler to act on, and the names of its options that `step` is then given."""


def rate_only(setting: Setting) -> tuple[torch.optim.Optimizer, tuple[str, ...]]:
    """The stand-in of optimizers that take nothing but a rate from a scheduler."""
    return torch.optim.SGD([torch.zeros(1)], lr=setting.learning_rate), ("lr",)


def weighted_sum(forces: WeightedForces) -> tuple[Tensor, Tensor]:
    """Σ weight · gradient (n, d) and Σ weight · curvature (n,) of the forces of a step, 0 of those without one."""
    shape = forces[0][1].gradient.shape
    gradient = forces[0][1].gradient.new_zeros(shape)
    curvature = gradient.new_zeros(shape[0])
    for weight, force in forces:
        gradient.add_(force.gradient, alpha=weight)
        if force.curvature is not None:
            curvature.add_(force.curvature, alpha=weight)
    return gradient, curvature


@dataclass(frozen=True, slots=True)
class PreconditionedNesterov:
    """Degree-preconditioned Nesterov momentum, a Jacobi relative of the Laplacian direction (Vladymyrov &
    Carreira-Perpiñán 2012).

    With sᵢ = rate / curvatureᵢ:  u ← m·u − sᵢgᵢ, |uᵢ| ≤ max(max_step, max_step_span · longest side);  z ← z + m·u −
    sᵢgᵢ. The positions are the look-ahead point. The rate is dimensionless, about 1.
    """

    max_step: float = 0.5
    max_step_span: float = 0.03

    def spares(self, objective, positions):
        name, term = next(iter(objective.items()))
        return (name,) if len(objective) > 1 and isinstance(term, Attraction) and term.moves(positions) else ()

    def start(self, positions, setting, state):
        if state is not None:
            return state  # the velocity lives through phases
        return torch.zeros_like(positions), longest_side(*bounding_box(positions))

    def step(self, positions, forces, state, options):
        velocity, span = state
        max_step = max(self.max_step, self.max_step_span * span)
        move = self._fused if backend.is_fused(positions) else self._plain
        return move(positions, velocity, forces, options["lr"], options["momentum"], max_step)

    @staticmethod
    def _fused(positions, velocity, forces, rate, momentum, max_step):
        (weight, force), *others = forces
        if not isinstance(force, Attraction) and (force.curvature is None or force.curvature.shape[0] == 1):
            (weight, force), others = _as_one(forces), []
        other_weight, other = _as_one(others) if others else (0.0, force)
        if isinstance(force, Attraction):
            moved, moving, sides = force.move(
                positions, velocity, weight, other_weight, other, rate, momentum, max_step
            )
        else:
            bounds = backend.chunk_bounds(positions.shape[0], FUSED_ROWS)
            moved, moving = torch.empty(positions.shape), torch.empty(positions.shape)
            sides = np.empty((len(bounds), 2, positions.shape[1]), np.float32)
            backend.parallel(
                fused_update.nesterov, bounds, backend.flat(positions), backend.flat(velocity),
                np.float32(weight), backend.flat(force.gradient), backend.as_array(force.curvature),
                np.float32(other_weight), backend.flat(other.gradient), backend.as_array(other.curvature),
                np.float32(rate), np.float32(momentum), np.float32(max_step), backend.flat(moved),
                backend.flat(moving), sides,
            )  # fmt: skip
        return moved, (moving, longest_side(sides[:, 0].min(0), sides[:, 1].max(0)))

    @staticmethod
    def _plain(positions, velocity, forces, rate, momentum, max_step):
        gradient, curvature = weighted_sum(forces)
        move = gradient * (rate / curvature)[:, None]
        velocity = momentum * velocity - move
        length = velocity.norm(dim=1, keepdim=True)
        velocity = torch.where(length > max_step, velocity * (max_step / length), velocity)
        positions = positions + momentum * velocity - move
        return positions, (velocity, longest_side(*bounding_box(positions)))

    def copy(self, state):
        return state  # no step changes it

    def stand_in(self, setting):
        return rate_only(setting)


def _as_one(forces: WeightedForces) -> tuple[float, Force]:
    """Weight and force that stand for several; alone, one with a curvature stands for itself."""
    if len(forces) == 1 and forces[0][1].curvature is not None:
        return forces[0]
    gradient, curvature = weighted_sum(forces)
    return 1.0, Force(gradient, None, curvature)


def longest_side(lower: np.ndarray, upper: np.ndarray) -> float:
    """Longest side of a box."""
    return float((upper - lower).max())


@dataclass(frozen=True, slots=True)
class DeltaBarDelta:
    """Momentum with one gain per coordinate (Jacobs 1988), a limit on the step, and centring, as in openTSNE 1.0.

    The rate belongs to the true gradient, with its factor 4: n / (4 λ) is openTSNE's n / λ.
    """

    momentum: float = 0.8
    min_gain: float = 0.01
    max_step: float = 5.0

    def spares(self, objective, positions):
        return ()

    def start(self, positions, setting, state):
        return (torch.zeros_like(positions), torch.ones_like(positions)) if state is None else state

    def step(self, positions, forces, state, options):
        gradient, _ = weighted_sum(forces)
        moved, gains = state
        flipped = moved.sign() != gradient.sign()
        gains = torch.where(flipped, gains + 0.2, gains * 0.8 + self.min_gain)
        moved = self.momentum * moved - options["lr"] * gains * gradient
        length = moved.norm(dim=1, keepdim=True)
        moved = torch.where(length > self.max_step, moved * (self.max_step / length), moved)
        positions = positions + moved
        return positions - positions.double().mean(0).to(positions.dtype), (moved, gains)

    def copy(self, state):
        return state  # no step changes it

    def stand_in(self, setting):
        return rate_only(setting)


@dataclass(frozen=True, slots=True)
class TorchOptimizer:
    """Any optimizer of torch; its state is the torch object, made anew at the beginning of each phase."""

    factory: type[torch.optim.Optimizer]
    kwargs: tuple[tuple[str, Any], ...] = ()

    def spares(self, objective, positions):
        return ()

    def make(self, parameters: Iterable[torch.nn.Parameter], setting: Setting) -> torch.optim.Optimizer:
        kwargs = dict(self.kwargs)
        if setting.momentum is not None:
            kwargs["momentum"] = setting.momentum
        return self.factory(parameters, lr=setting.learning_rate, **kwargs)

    def start(self, positions, setting, state):
        return self.make([torch.nn.Parameter(positions.clone())], setting)

    def step(self, positions, forces, state, options):
        group = state.param_groups[0]
        group.update({name: value for name, value in options.items() if value is not None})
        (parameter,) = group["params"]
        with torch.no_grad():
            parameter.copy_(positions)
        parameter.grad, _ = weighted_sum(forces)
        state.step()
        return parameter.detach().clone(), state

    def copy(self, state):
        return copy.deepcopy(state)

    def stand_in(self, setting):
        return self.make([torch.nn.Parameter(torch.zeros(1))], setting), ("lr", "momentum", "betas")


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
    unknown = sorted(set(kwargs) - set(known))
    if unknown:
        raise TypeError(f"Unknown `{name}` {unknown} for {factory.__name__}; available: {known}.")


def with_options(optimizer: Optimizer, kwargs: dict[str, Any] | str | None) -> Optimizer:
    """One of our own optimizers with other values of its fields."""
    options = {} if kwargs is None or isinstance(kwargs, str) else dict(kwargs)
    known = list(type(optimizer).__dataclass_fields__)
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise TypeError(f"Unknown `optimizer_kwargs` {unknown} for {type(optimizer).__name__}; available: {known}.")
    return replace(optimizer, **options)


def auto_rate(n_obs: int, exaggeration: float) -> float:
    """max(n / λ / 4, 50), for the true gradient of a P of sum 1 (Belkina et al. 2019; the 4 as in scikit-learn)."""
    return max(n_obs / exaggeration / 4, 50.0)
