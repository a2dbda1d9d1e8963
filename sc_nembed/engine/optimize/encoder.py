"""An encoder, a torch module from features to positions, that is optimised instead of the positions themselves."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..compute.counter_rng import key_of
from ..world import SERIAL
from .named import below, prefixed
from .protocol import Optimizer, weighted_sum
from .torch_optimizer import TorchOptimizer, take_tensors, tensors_of_torch


@dataclass(frozen=True)
class EncoderOptimizer(Optimizer):
    """A torch optimizer of the encoder's parameters; the positions are what it makes of `features`, (n, d).

    The state is (module, torch optimizer, steps done); each copy of it has a module of its own. What a module draws, as
    dropout does, follows from the seed and the step.
    """

    module: torch.nn.Module
    features: Tensor
    recipe: TorchOptimizer
    seed: int

    def start(self, positions, setting, state, world=SERIAL):
        module, done = (copy.deepcopy(self.module), 0) if state is None else (state[0], state[2])
        return module, self.recipe.make(module.parameters(), setting), done

    def step(self, positions, forces, state, options):
        module, optimizer, done = state
        optimizer.param_groups[0].update(options.of_torch())
        gradient, _ = weighted_sum(forces)
        optimizer.zero_grad()
        with torch.enable_grad(), _drawing(self.features, self.seed, done):
            made = module(self.features)
            made.backward(gradient.to(made.dtype))
        optimizer.step()
        made = encoded(module, self.features, self.seed, done + 1)
        return made.to(positions.dtype), (module, optimizer, done + 1)

    def copy(self, state):
        return copy.deepcopy(state)  # together, so that the copy's parameters are its optimizer's

    def stand_in(self, setting):
        return self.recipe.stand_in(setting)

    def to_tensors(self, state):
        module, optimizer, done = state
        kept = prefixed("module", _values(module)) | prefixed("optimizer", tensors_of_torch(optimizer))
        return kept | {"done": torch.tensor(done)}

    def from_tensors(self, tensors, positions, setting):
        module = copy.deepcopy(self.module)
        with torch.no_grad():
            for name, value in _values(module).items():
                value.copy_(tensors[f"module/{name}"])
        optimizer = self.recipe.make(module.parameters(), setting)
        take_tensors(optimizer, below("optimizer", tensors))
        return module, optimizer, int(tensors["done"])


def _values(module: torch.nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers of a module by name, those too that its own `state_dict` leaves out."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


@contextlib.contextmanager
def _drawing(features: Tensor, seed: int, step: int) -> Iterator[None]:
    """torch's generators at a state of this step's own, and as they were afterwards."""
    devices = [features.device] if features.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(key_of(seed, step) >> 1)
        for device in devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(key_of(seed, step) >> 1)
        yield


def encoded(module: torch.nn.Module, features: Tensor, seed: int = 0, step: int = 0) -> Tensor:
    """What a module makes of features, without its graph; a batch normalisation in it keeps a record of them."""
    with torch.no_grad(), _drawing(features, seed, step):
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
