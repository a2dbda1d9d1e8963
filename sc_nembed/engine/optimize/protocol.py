"""What an optimizer is, and what a step is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from ..terms import Force
from ..world import SERIAL, World
from .schedule import Setting

WeightedForces = list[tuple[float, Force]]


@dataclass(frozen=True, slots=True)
class StepOptions:
    """What one step is done with.

    Attributes
    ----------
    lr
        The rate.
    momentum, betas
        None where the optimizer has its own.
    weights
        Of the terms, by name; for an optimizer that takes no forces.
    world
        The processes that hold the other rows.
    """

    lr: float
    momentum: float | None = None
    betas: tuple[float, float] | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    world: World = SERIAL

    def of_torch(self) -> dict[str, Any]:
        """The options that are given, by their names in torch."""
        options = {"lr": self.lr, "momentum": self.momentum, "betas": self.betas}
        return {name: value for name, value in options.items() if value is not None}


class Optimizer(Protocol):
    """A recipe for a step.

    `takes_forces` is False where a step does without: it is handed none, and none are evaluated for it. `fused_as` is
    what `Term.fused_step` knows the step by, where a term may do it in its own pass; `parts` names those of the state.
    """

    takes_forces: ClassVar[bool] = True
    fused_as: ClassVar[str | None] = None
    parts: ClassVar[tuple[str, ...]] = ()

    def start(self, positions: Tensor, setting: Setting, state: Any, world: World = SERIAL) -> Any:
        """The state at the beginning of a phase, given the one of the phase before (None at first)."""

    def step(self, positions: Tensor, forces: WeightedForces, state: Any, options: StepOptions) -> tuple[Tensor, Any]:
        """New positions and state; the positions given stay as they are."""

    def step_within(
        self, move: Callable[..., Any], weight: float, positions: Tensor, forces: WeightedForces, state: Any,
        options: StepOptions,
    ) -> tuple[Tensor, Any]:  # fmt: skip
        """`step` in the pass of a term with this weight, by what its `fused_step` gave; `forces` are the others."""
        raise NotImplementedError

    def copy(self, state: Any) -> Any:
        """A state that no step of the given one changes; most make a new one in each step."""
        return state

    def stand_in(self, setting: Setting) -> tuple[torch.optim.Optimizer, tuple[str, ...]]:
        """An optimizer of torch for a scheduler to act on, and the names of its options that `step` is then given."""
        return torch.optim.SGD([torch.zeros(1)], lr=setting.learning_rate), ("lr",)

    def to_tensors(self, state: Any) -> dict[str, Tensor]:
        """The state as named tensors; numbers are 0-d."""
        return {name: torch.as_tensor(part) for name, part in zip(self.parts, state, strict=True)}

    def from_tensors(self, tensors: Mapping[str, Tensor], positions: Tensor, setting: Setting) -> Any:
        """The inverse of `to_tensors`, for these positions; `setting` is that of the first step of the phase."""
        found = (tensors[name] for name in self.parts)
        return tuple(_count_or_tensor(part, positions.device) for part in found)


def _count_or_tensor(part: Tensor, device: torch.device) -> int | Tensor:
    return part.to(device) if part.is_floating_point() else int(part)


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


def as_one(forces: WeightedForces) -> tuple[float, Force]:
    """Weight and force that stand for several; alone, one with a curvature stands for itself."""
    return forces[0] if len(forces) == 1 and forces[0][1].curvature is not None else _summed(forces)


def _summed(forces: WeightedForces) -> tuple[float, Force]:
    gradient, curvature = weighted_sum(forces)
    return 1.0, Force(gradient, None, curvature)


def as_two(forces: WeightedForces) -> tuple[tuple[float, Force], tuple[float, Force]]:
    """A force with a curvature for each cell and the rest as one, of weight 0 where there is none."""
    each = [place for place, (_, force) in enumerate(forces) if _has_own_curvature(force)]
    first = forces[each[0]] if each else _summed(forces)
    others = [pair for place, pair in enumerate(forces) if each and place != each[0]]
    return first, as_one(others) if others else (0.0, first[1])


def _has_own_curvature(force: Force) -> bool:
    return force.curvature is not None and force.curvature.shape[0] > 1
