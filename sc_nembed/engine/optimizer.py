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
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from . import backend
from .fused import update as fused
from .reductions import ROWS, bounding_box
from .schedule import Setting
from .terms.force import Force

WeightedForces = list[tuple[float, Force]]
# base classes; LBFGS evaluates the objective many times a step, SparseAdam wants sparse gradients, two hold schedulers
UNUSABLE = {"Optimizer", "LRScheduler", "LBFGS", "SparseAdam", "ChainedScheduler", "SequentialLR"}


class Optimizer(Protocol):
    """A recipe for a step. `options` holds "lr" and "momentum" (None where the optimizer has its own).

    One that sets `needs_forces` to False is given None for the force of each term except at checks.
    """

    needs_forces: bool

    def start(self, positions: Tensor, setting: Setting, state: Any) -> Any:
        """The state at the beginning of a phase, given the one of the phase before (None at first)."""

    def step(self, positions: Tensor, forces: WeightedForces, state: Any, options: dict) -> tuple[Tensor, Any]:
        """New positions and state; the positions may be moved in place."""

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
        if force.curvature is None:
            gradient.add_(force.gradient, alpha=weight)
        elif backend.is_fused(gradient):
            backend.parallel(
                fused.add_force, backend.chunk_bounds(shape[0], ROWS), np.float32(weight),
                backend.as_array(force.gradient), backend.as_array(force.curvature),
                gradient.numpy(), curvature.numpy(),
            )  # fmt: skip
        else:
            gradient.add_(force.gradient, alpha=weight)
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

    needs_forces = True

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
        if len(forces) == 2 and forces[0][1].curvature.shape[0] > 1:
            (weight, force), (other_weight, other) = forces
        else:
            gradient, curvature = weighted_sum(forces)
            weight, force = 1.0, Force(gradient, None, curvature)
            other_weight, other = 0.0, force
        bounds = backend.chunk_bounds(positions.shape[0], ROWS)
        sides = np.empty((len(bounds), 2, positions.shape[1]), np.float32)
        backend.parallel(
            fused.nesterov, bounds, positions.numpy(), velocity.numpy(),
            np.float32(weight), backend.as_array(force.gradient), backend.as_array(force.curvature),
            np.float32(other_weight), backend.as_array(other.gradient), backend.as_array(other.curvature),
            np.float32(rate), np.float32(momentum), np.float32(max_step), sides,
        )  # fmt: skip
        return positions, (velocity, longest_side(sides[:, 0].min(0), sides[:, 1].max(0)))

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
        return state[0].clone(), state[1]

    def stand_in(self, setting):
        return rate_only(setting)


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

    needs_forces = True

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
        return tuple(part.clone() for part in state)

    def stand_in(self, setting):
        return rate_only(setting)


@dataclass(frozen=True, slots=True)
class TorchOptimizer:
    """Any optimizer of torch; its state is the torch object, made anew at the beginning of each phase."""

    factory: type[torch.optim.Optimizer]
    kwargs: tuple[tuple[str, Any], ...] = ()

    needs_forces = True

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
    factory = _torch_class(optimizer, torch.optim, torch.optim.Optimizer, "optimizer", sorted(OWN_OPTIMIZERS))
    if "lr" in options:
        raise TypeError("`optimizer_kwargs` must not contain 'lr'; pass `lr` itself.")
    _check_names("optimizer_kwargs", options, factory)
    return TorchOptimizer(factory, tuple(options.items()))


OWN_OPTIMIZERS = {"auto": PreconditionedNesterov, "DeltaBarDelta": DeltaBarDelta}


def resolve_scheduler(scheduler: Any, kwargs: dict[str, Any] | None) -> type | None:
    """The class of a learning-rate scheduler from its name or itself; None for "none"."""
    if scheduler is None or scheduler == "none":
        return None
    module = torch.optim.lr_scheduler
    factory = _torch_class(scheduler, module, module.LRScheduler, "scheduler", ["none"])
    _check_names("scheduler_kwargs", dict(kwargs or {}), factory)
    needed = [name for name, item in inspect.signature(factory).parameters.items() if item.default is item.empty]
    missing = sorted(set(needed) - {"optimizer"} - set(kwargs or {}))
    if missing:
        raise TypeError(f"`scheduler={factory.__name__}` needs {missing} in `scheduler_kwargs`.")
    return factory


class RateScheduler:
    """A scheduler of torch for one phase. It acts on a stand-in, whose options the optimizer is then given."""

    def __init__(self, factory: type, kwargs: dict[str, Any] | None, optimizer: Optimizer, setting: Setting) -> None:
        kwargs = dict(kwargs or {})
        if factory is torch.optim.lr_scheduler.LinearLR and not kwargs:
            kwargs = {"start_factor": 1.0, "end_factor": 0.0, "total_iters": setting.phase.n_steps}
        self._stand_in, self._names = optimizer.stand_in(setting)
        self._scheduler = factory(self._stand_in, **kwargs)
        self._waits_for_loss = factory is torch.optim.lr_scheduler.ReduceLROnPlateau

    def options(self) -> dict[str, Any]:
        """The rate of the next step, and the momentum where the optimizer is torch's and has one."""
        group = self._stand_in.param_groups[0]
        return {name: group[name] for name in self._names if name in group}

    def advance(self) -> None:
        """One step of the run is done."""
        self._stand_in.step()
        if not self._waits_for_loss:
            self._scheduler.step()

    def see(self, loss: float) -> None:
        """A check is done; ReduceLROnPlateau goes by its loss."""
        if self._waits_for_loss:
            self._scheduler.step(loss)


def _torch_class(given: Any, module: Any, base: type, name: str, extra: list[str]) -> type:
    kinds = {key: item for key, item in vars(module).items() if isinstance(item, type) and issubclass(item, base)}
    available = sorted(key for key in kinds if key not in UNUSABLE and not key.startswith("_"))
    found = given if isinstance(given, type) else kinds.get(given) if given in available else None
    if found is not None and issubclass(found, base) and found.__name__ not in UNUSABLE:
        return found
    raise ValueError(f"Unknown `{name}` {given!r}; available: {extra + available}, or a class.")


def _check_names(name: str, kwargs: dict[str, Any], factory: type) -> None:
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
