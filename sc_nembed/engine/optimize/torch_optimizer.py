"""Optimizers of torch, and what of theirs changes from step to step."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..world import SERIAL
from .named import below, numbers_of, prefixed, tensors_of_numbers
from .protocol import Optimizer, weighted_sum
from .schedule import Setting


@dataclass(frozen=True, slots=True)
class TorchOptimizer(Optimizer):
    """Any optimizer of torch; its state is the torch object, made anew at the beginning of each phase."""

    factory: type[torch.optim.Optimizer]
    kwargs: tuple[tuple[str, Any], ...] = ()

    def make(self, parameters: Iterable[torch.nn.Parameter], setting: Setting) -> torch.optim.Optimizer:
        kwargs = dict(self.kwargs)
        if setting.momentum is not None:
            kwargs["momentum"] = setting.momentum
        return self.factory(parameters, lr=setting.learning_rate, **kwargs)

    def start(self, positions, setting, state, world=SERIAL):
        return self.make([torch.nn.Parameter(positions.clone())], setting)

    def step(self, positions, forces, state, options):
        group = state.param_groups[0]
        group.update(options.of_torch())
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

    def to_tensors(self, state):
        return tensors_of_torch(state)

    def from_tensors(self, tensors, positions, setting):
        made = self.make([torch.nn.Parameter(positions.clone())], setting)
        take_tensors(made, tensors)
        return made


def tensors_of_torch(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What an optimizer of torch keeps of each parameter, tensors and plain numbers, and the numbers of its groups."""
    found = {}
    for place, group in enumerate(optimizer.param_groups):
        found |= prefixed(f"group/{place}", tensors_of_numbers(group))
        for which, parameter in enumerate(group["params"]):
            kept, name = optimizer.state.get(parameter, {}), f"{place}/{which}"
            found |= prefixed(f"number/{name}", tensors_of_numbers(kept))
            found |= prefixed(f"tensor/{name}", {key: part for key, part in kept.items() if torch.is_tensor(part)})
    return found


def take_tensors(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Have a new optimizer of torch go on from `tensors_of_torch`; its own way back would change types of some."""
    for place, group in enumerate(optimizer.param_groups):
        group.update(numbers_of(below(f"group/{place}", tensors)))
        for which, parameter in enumerate(group["params"]):
            kept, name = numbers_of(below(f"number/{place}/{which}", tensors)), f"{place}/{which}"
            for key, part in below(f"tensor/{name}", tensors).items():
                kept[key] = part.clone() if key == "step" else part.to(parameter.device)  # steps are counted on the CPU
            if kept:
                optimizer.state[parameter] = kept
