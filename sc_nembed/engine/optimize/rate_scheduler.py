"""Learning-rate schedulers of torch, for one phase of a run with any optimizer."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from .named import below, numbers_of, prefixed, tensors_of_numbers
from .optimizer import check_names, torch_class
from .protocol import Optimizer, StepOptions
from .schedule import Setting
from .torch_optimizer import take_tensors, tensors_of_torch


def resolve_scheduler(scheduler: Any, kwargs: dict[str, Any] | None) -> type | None:
    """The class of a learning-rate scheduler from its name or itself; None for "none"."""
    if scheduler is None or scheduler == "none":
        return None
    module = torch.optim.lr_scheduler
    factory = torch_class(scheduler, module, module.LRScheduler, "scheduler", ["none"])
    check_names("scheduler_kwargs", dict(kwargs or {}), factory)
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

    def changed(self, options: StepOptions) -> StepOptions:
        """The rate of the next step, and the momentum where the optimizer is torch's and has one."""
        group = self._stand_in.param_groups[0]
        return replace(options, **{name: group[name] for name in self._names if name in group})

    def advance(self) -> None:
        """One step of the run is done."""
        self._stand_in.step()
        if not self._waits_for_loss:
            self._scheduler.step()

    def seen(self, loss: float) -> RateScheduler:
        """A check is done; ReduceLROnPlateau goes by its loss."""
        if not self._waits_for_loss:
            return self
        found = self.copied()
        found._scheduler.step(loss)
        return found

    def copied(self) -> RateScheduler:
        """One that no step of this one changes."""
        return copy.deepcopy(self)

    def to_tensors(self) -> dict[str, Tensor]:
        """The numbers of the scheduler and of its stand-in; all else is as it was made."""
        own = tensors_of_numbers(vars(self._scheduler))
        return prefixed("scheduler", own) | prefixed("stand_in", tensors_of_torch(self._stand_in))

    def with_tensors(self, tensors: Mapping[str, Tensor]) -> RateScheduler:
        """One, made as this one, that goes on from `to_tensors`."""
        vars(self._scheduler).update(numbers_of(below("scheduler", tensors)))
        take_tensors(self._stand_in, below("stand_in", tensors))
        return self
