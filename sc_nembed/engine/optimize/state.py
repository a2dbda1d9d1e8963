"""What a run is: `Rules`, which stay the same, and `RunState`, which a step is a function of.

A state can be handed over as named numpy arrays and taken back in another process. Arrays hold what changes; what is
given (P, plans of sums, the schedule) is made again by the same call of `embed`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from ..terms import Objective
from ..view import View
from ..world import SERIAL, World
from .named import array_of, below, prefixed, tensors_of
from .protocol import Optimizer
from .rate_scheduler import RateScheduler
from .schedule import Schedule, Setting, n_steps, unroll

if TYPE_CHECKING:
    from ..presets.method import Problem
    from .callbacks import Callback


@dataclass(frozen=True, slots=True)
class Rules:
    """What stays the same during a run."""

    problem: Problem
    optimizer: Optimizer
    max_iter: int
    check_interval: int
    min_grad_norm: float
    scheduler: type | None = None
    scheduler_kwargs: dict[str, Any] | None = None
    max_grad_norm: float | None = None  # gradients longer than this are shortened to it
    callbacks: tuple[Callback, ...] = ()
    complete: Callable[[Tensor], Tensor] = lambda positions: positions  # adds the cells that take no part
    world: World = SERIAL  # a state has the rows of this process
    interruptible: bool = False  # the first Ctrl-C ends the run and keeps the embedding
    fused: tuple[str, Callable[..., Any]] | None = None  # a term, and the optimizer's step in its pass: see `optimize`

    def scheduler_of(self, setting: Setting) -> RateScheduler | None:
        """The scheduler at the beginning of a phase."""
        if self.scheduler is None:
            return None
        return RateScheduler(self.scheduler, self.scheduler_kwargs, self.optimizer, setting)


@dataclass(frozen=True, slots=True)
class RunState:
    """Everything a run is. `optimize` copies it on entry, so that two runs can go on from one state.

    Attributes
    ----------
    positions, start
        (n, d) where the cells are, and the centred start, which an anchor pulls to.
    step
        Steps done, which is also the place in the schedule's path.
    optimizer, scheduler
        Their states; None before the first step.
    terms, terms_step
        The terms as they were last, and the step that they are those of; None and -1 before the first.
    damping
        Factor on the rate, halved whenever the run explodes.
    rate
        Of the last step.
    start_losses
        What an explosion is measured by.
    history
        A row for each check.
    stop_reason
        Why the run ended; None while it goes on.
    branch, finished, decided
        Of a race: the label of the branch, the states that branches before it ended with, and whether the race is over
        and this the branch kept.
    """

    positions: Tensor
    start: Tensor
    step: int = 0
    optimizer: Any = None
    scheduler: RateScheduler | None = None
    terms: Objective | None = None
    terms_step: int = -1
    damping: float = 1.0
    rate: float = math.nan
    start_losses: tuple[float, float] = (math.nan, math.nan)
    history: tuple[dict[str, float], ...] = ()
    stop_reason: str | None = None
    branch: str = ""
    finished: tuple[RunState, ...] = ()
    decided: bool = False

    def copied(self, optimizer: Optimizer) -> RunState:
        """The same state, whose optimizer and scheduler no step of this one changes."""
        kept = None if self.optimizer is None else optimizer.copy(self.optimizer)
        scheduler = None if self.scheduler is None else self.scheduler.copied()
        return replace(self, optimizer=kept, scheduler=scheduler)  # no step moves positions in place

    @property
    def is_checked(self) -> bool:
        """Whether the last row of the history is that of this step."""
        return bool(self.history) and self.history[-1]["iteration"] == self.step

    def to_arrays(self, optimizer: Optimizer) -> dict[str, np.ndarray]:
        """The state after a step as named arrays; numbers and strings are 0-d."""
        names = ("step", "terms_step", "damping", "rate", "start_losses", "branch", "decided")
        arrays = {name: np.array(getattr(self, name)) for name in names}
        columns = {name: np.array([row[name] for row in self.history]) for name in (self.history or ({},))[0]}
        tensors = {"positions": self.positions, "start": self.start}
        tensors |= prefixed("optimizer", optimizer.to_tensors(self.optimizer))
        if self.scheduler is not None:
            tensors |= prefixed("scheduler", self.scheduler.to_tensors())
        for name, term in self.terms.items():
            tensors |= prefixed(f"terms/{name}", term.carried())
        arrays |= {name: array_of(tensor) for name, tensor in tensors.items()} | prefixed("history", columns)
        for place, state in enumerate(self.finished):
            arrays |= prefixed(f"finished/{place}", state.to_arrays(optimizer))
        return arrays

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, np.ndarray], begun: RunState, rules: Rules, schedule: Schedule
    ) -> RunState:
        """The state that these arrays were made of; `begun` is where a run with these rules and schedule begins.

        Raises
        ------
        ValueError
            For arrays of another run.
        """
        _check_fit(arrays, begun, schedule)
        tensors, step, terms_step = tensors_of(arrays), int(arrays["step"]), int(arrays["terms_step"])
        positions, branch = tensors["positions"].to(begun.positions.device), str(arrays["branch"])
        view = View.of_rows(positions, rules.world)
        last = unroll(schedule.path(branch), rules.problem.strength)[step - 1]
        first = unroll((last.phase,), rules.problem.strength)[0]  # of the phase, when torch's objects were made
        scheduler = rules.scheduler_of(first)
        columns, n_finished = below("history", arrays), len(schedule.branches)
        finished = [below(f"finished/{place}", arrays) for place in range(n_finished)]
        return cls(
            positions,
            tensors["start"].to(positions.device),
            step=step,
            optimizer=rules.optimizer.from_tensors(below("optimizer", tensors), positions, first),
            scheduler=None if scheduler is None else scheduler.with_tensors(below("scheduler", tensors)),
            terms=_terms(rules.problem.objective, below("terms", tensors), view, terms_step),
            terms_step=terms_step,
            damping=float(arrays["damping"]),
            rate=float(arrays["rate"]),
            start_losses=tuple(arrays["start_losses"].tolist()),
            history=_rows({name: column.tolist() for name, column in columns.items()}),
            branch=branch,
            finished=tuple(cls.from_arrays(part, begun, rules, schedule) for part in finished if part),
            decided=bool(arrays["decided"]),
        )


def _terms(objective: Objective, tensors: Mapping[str, Tensor], view: View, step: int) -> Objective:
    """The terms of a step: what `at_step` finds and is not carried follows from the step alone."""
    found = {}
    for name, term in objective.items():
        own = {key: tensor.to(view.mine.device) for key, tensor in below(name, tensors).items()}
        found[name] = term.with_carried(own).at_step(view, step).with_carried(own)
    return found


def _rows(columns: dict[str, list[float]]) -> tuple[dict[str, float], ...]:
    return tuple(dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))


def _check_fit(arrays: Mapping[str, np.ndarray], begun: RunState, schedule: Schedule) -> None:
    """Refuse arrays of another run."""
    missing = sorted({"positions", "start", "step", "terms_step", "branch", "decided"} - set(arrays))
    if missing:
        raise ValueError(f"`carried` lacks {missing}; hand over all arrays of `StepInfo.carried`.")
    wanted, given = array_of(begun.positions), arrays["positions"]
    if (wanted.shape, wanted.dtype) != (given.shape, given.dtype):
        raise ValueError(
            f"`carried` has positions of shape {given.shape} and type {given.dtype}, this run has {wanted.shape} and "
            f"{wanted.dtype}. Go on with the call that it comes from."
        )
    branch, done = str(arrays["branch"]), int(arrays["step"])
    if branch not in schedule.labels or not 0 < done <= n_steps(schedule.path(branch)):
        raise ValueError(
            f"`carried` was made after {done} steps{f' of branch {branch}' if branch else ''}, and this run has no "
            "such place. Go on with the call that it comes from."
        )
