"""An encoder, a torch module from features to positions, that is optimised instead of the positions themselves."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from .optimizer import TorchOptimizer, weighted_sum


@dataclass(frozen=True)
class EncoderOptimizer:
    """A torch optimizer of the encoder's parameters; the positions are what it makes of `features`, (n, d).

    The state is (module, torch optimizer); each copy of it has a module of its own.
    """

    module: torch.nn.Module
    features: Tensor
    recipe: TorchOptimizer

    needs_forces = True

    def start(self, positions, setting, state):
        module = copy.deepcopy(self.module) if state is None else state[0]
        return module, self.recipe.make(module.parameters(), setting)

    def step(self, positions, forces, state, options):
        module, optimizer = state
        optimizer.param_groups[0].update({name: value for name, value in options.items() if value is not None})
        gradient, _ = weighted_sum(forces)
        optimizer.zero_grad()
        with torch.enable_grad():
            made = module(self.features)
            made.backward(gradient.to(made.dtype))
        optimizer.step()
        return encoded(module, self.features).to(positions.dtype), state

    def copy(self, state):
        module, optimizer = copy.deepcopy(state)  # together, so that the copy's parameters are its optimizer's
        return module, optimizer

    def stand_in(self, setting):
        return self.recipe.stand_in(setting)


def encoded(module: torch.nn.Module, features: Tensor) -> Tensor:
    """What a module makes of features, without its graph; a batch normalisation in it keeps a record of them."""
    with torch.no_grad():
        return module(features).detach().clone()


def as_input(module: torch.nn.Module, features: Tensor) -> Tensor:
    """Features in the type of the module's parameters."""
    return features.to(next(module.parameters()).dtype)


def check_encoder(module: torch.nn.Module, features: Tensor | None, n_components: int) -> None:
    """Say what does not fit.

    Raises
    ------
    TypeError, ValueError
        For something that is no module or has no parameters, without features, and for a wrong shape of what it makes.
    """
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"`encoder` must be a torch.nn.Module; got {type(module).__name__}.")
    if features is None:
        raise ValueError("`encoder` maps features to positions, and the source has none; name a representation.")
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise ValueError("`encoder` has no parameters that could be optimised.")
    try:
        shape = tuple(encoded(copy.deepcopy(module), as_input(module, features[:2])).shape)
    except RuntimeError as error:
        raise ValueError(f"`encoder` cannot take the {features.shape[1]} features of a cell: {error}") from error
    if shape != (2, n_components):
        raise ValueError(f"`encoder` must give (cells, n_components), here (2, {n_components}); it gave {shape}.")
