"""The only loop: evaluate the terms, look at them at checks, let the optimizer move the positions.

A check happens after the first step, after every `check_interval` steps and after the last. Its loss and gradient norm
belong to the positions it reports, the learning rate and exaggeration to the step that led there. A loss that is not
finite or explodes takes the run back to the last good check with half the rate; after five halvings it gives up.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from ..compute import reductions
from ..terms import Attraction, Force, Objective
from ..view import View
from .callbacks import Callback, StepInfo
from .optimizer import Optimizer, WeightedForces, weighted_sum
from .rate_scheduler import RateScheduler
from .schedule import Phase, Setting, unroll

MAX_HALVINGS = 5


@dataclass(frozen=True, slots=True)
class Rules:
    """What stays the same during a run."""

    objective: Objective
    optimizer: Optimizer
    strength: dict[str, float]  # weight of each term in the loss, at exaggeration 1, and where a phase names none
    offset: float  # added to the loss: Σ P log P where P and Q are distributions
    max_iter: int
    check_interval: int
    min_grad_norm: float
    added: tuple[str, ...] = ()  # terms that the method does not have of itself
    scheduler: type | None = None
    scheduler_kwargs: dict[str, Any] | None = None
    max_grad_norm: float | None = None  # gradients longer than this are shortened to it
    callbacks: tuple[Callback, ...] = ()
    complete: Callable[[Tensor], Tensor] = lambda positions: positions  # adds the cells that take no part
    bounded: bool = False  # the loss has an upper bound: a large one is no explosion
    interruptible: bool = False  # the first Ctrl-C ends the run and keeps the embedding


@dataclass(frozen=True, slots=True)
class RunState:
    """Everything a run is. `optimize` copies it on entry, so that two runs can go on from one state."""

    positions: Tensor  # (n, d)
    start: Tensor  # (n, d) centred, what an anchor pulls to
    optimizer: Any = None
    scheduler: RateScheduler | None = None
    step: int = 0
    damping: float = 1.0  # factor on the rate, halved whenever the run explodes
    terms: Objective | None = None  # as they were last; at first those of the rules
    setting: Setting | None = None  # of the last step, and the rate it was done with
    rate: float = math.nan
    start_losses: tuple[float, float] = (math.nan, math.nan)  # what an explosion is measured by
    history: tuple[dict[str, float], ...] = ()
    stop_reason: str | None = None

    def copied(self, optimizer: Optimizer) -> RunState:
        kept = None if self.optimizer is None else optimizer.copy(self.optimizer)
        scheduler = copy.deepcopy(self.scheduler)
        return replace(self, optimizer=kept, scheduler=scheduler)  # no step moves positions in place


def optimize(
    state: RunState, rules: Rules, phases: tuple[Phase, ...], *, final: bool = True, label: str = ""
) -> RunState:
    """Do all steps of some phases; `final` says that no others follow, so that the last positions are checked too."""
    run = _Run(state.copied(rules.optimizer), rules, label)
    try:
        return run.through(unroll(phases, rules.strength), final)
    except KeyboardInterrupt:
        if not rules.interruptible or run.state.step == 0:
            raise
    warnings.warn(
        f"Interrupted after {run.state.step} of {rules.max_iter} steps; the embedding of that step is kept.",
        UserWarning,
        stacklevel=2,
    )
    run.check(run.looked_at())
    return replace(run.state, stop_reason="interrupted")


class _Run:
    """One call of `optimize`, and where it stands."""

    def __init__(self, state: RunState, rules: Rules, label: str) -> None:
        self.state, self.rules, self.label = state, rules, label
        self.last_weights: dict[str, float] | None = None  # of the objective that is minimised in the end

    def through(self, settings: list[Setting], final: bool) -> RunState:
        if final and settings:
            self.last_weights = settings[-1].weights
        good, index = (self.state.copied(self.rules.optimizer), 0), 0
        while True:
            last = index == len(settings)
            if last and not final:
                return self.state
            check = self._is_due(last)
            self._advance_terms()
            forces = self.looked_at() if check or self.state.step == 0 else None
            if self.state.step == 0:
                self.state = replace(self.state, start_losses=self._losses(forces))
            if check:
                if not self.check(forces):
                    index = self._go_back(*good)
                    continue
                good = self.state.copied(self.rules.optimizer), index
                reason = self._stop_reason()
                if reason or last:
                    return replace(self.state, stop_reason=reason or "max_iter")
            self._step(settings[index], forces)
            index += 1

    def _advance_terms(self) -> None:
        state = self.state
        terms, view = self.rules.objective if state.terms is None else state.terms, View.whole(state.positions)
        self.state = replace(state, terms={name: term.at(view, state.step) for name, term in terms.items()})

    def looked_at(self) -> dict[str, Force]:
        """Every force, with its value; an attraction that no step takes from here is found in one pass."""
        view, spared, found = View.whole(self.state.positions), self._spared(), {}
        for name, term in self.state.terms.items():
            in_one_pass = name in spared and isinstance(term, Attraction)
            found[name] = term.look(view) if in_one_pass else term(view, value=True)
        return found

    def _spared(self) -> Collection[str]:
        """Terms that the optimizer evaluates by itself."""
        rules = self.rules
        return () if rules.max_grad_norm else rules.optimizer.spares(self.state.terms, self.state.positions)

    def check(self, forces: dict[str, Force]) -> bool:
        """Add a row to the history, unless the run has exploded."""
        state, losses = self.state, self._losses(forces)
        loss = losses[0]
        gradient, _ = weighted_sum([(state.setting.weights[name], force) for name, force in forces.items()])
        grad_norm = reductions.norm(gradient)
        far = [now > 2 * abs(start) + 10 for now, start in zip(losses, state.start_losses, strict=True)]
        exploded = not self.rules.bounded and all(far)
        if not math.isfinite(loss) or not math.isfinite(grad_norm) or exploded:
            return False
        row = {"iteration": state.step, "loss": loss, "grad_norm": grad_norm, "lr": state.rate}
        row |= {"exaggeration": exaggeration(state.setting)}
        row |= {name: float(force.value) for name, force in forces.items()}
        kept = state.history[:-1] if state.history and state.history[-1]["iteration"] == state.step else state.history
        self.state = replace(state, history=(*kept, row))
        return True

    def _losses(self, forces: dict[str, Force]) -> tuple[float, float]:
        """The objective at exaggeration 1, and the method's own part of it.

        Added terms may be next to nothing at the start, or cancel the others there; strong ones outweigh them later.
        """
        values = {name: self.rules.strength[name] * float(force.value) for name, force in forces.items()}
        own = sum(value for name, value in values.items() if name not in self.rules.added)
        return sum(values.values()) + self.rules.offset, own + self.rules.offset

    def _is_due(self, last: bool) -> bool:
        done, history = self.state.step, self.state.history
        if done == 0 or (history and history[-1]["iteration"] == done and not last):
            return False
        return last or done == 1 or done % self.rules.check_interval == 0

    def _go_back(self, good: RunState, index: int) -> int:
        damping = self.state.damping / 2
        if damping < 0.5**MAX_HALVINGS:
            raise ValueError(
                f"The embedding diverged: near step {self.state.step} its loss was not finite or exploded, also after "
                f"the learning rate had been halved {MAX_HALVINGS} times. Lower `lr`, or choose another `init`."
            )
        self.state = replace(good.copied(self.rules.optimizer), damping=damping)
        return index

    def _stop_reason(self) -> str | None:
        row, positions = self.state.history[-1], self.state.positions
        info = StepInfo(
            row,
            max_iter=self.rules.max_iter,
            phase=self.label + self.state.setting.phase.name,
            positions=lambda: self.rules.complete(positions),
        )
        answers = [callback(info) for callback in self.rules.callbacks]
        if any(answers):
            return "callback"
        if self.state.scheduler is not None:
            self.state.scheduler.see(row["loss"])
        # a small gradient ends the run only where nothing is exaggerated any more, and the start is no result
        final = self.state.setting.weights == self.last_weights and self.state.step > 1
        converged = final and row["grad_norm"] < self.rules.min_grad_norm
        return "min_grad_norm" if converged else None

    def _weighted(self, setting: Setting, forces: dict[str, Force] | None) -> WeightedForces:
        """Weight and force of each term, or the term itself; where the gradients are too long together, shortened."""
        view, spared, weighted = View.whole(self.state.positions), self._spared(), []
        for name, term in self.state.terms.items():
            if setting.weights[name] == 0:
                continue
            given = term if name in spared else forces[name] if forces else term(view, value=False)
            weighted.append((setting.weights[name], given))
        if self.rules.max_grad_norm is None:
            return weighted
        length = reductions.norm(weighted_sum(weighted)[0])
        share = min(1.0, self.rules.max_grad_norm / max(length, 1e-30))
        return [(weight, replace(force, gradient=force.gradient * share)) for weight, force in weighted]

    def _step(self, setting: Setting, forces: dict[str, Force] | None) -> None:
        state, optimizer = self.state, self.rules.optimizer
        kept, scheduler = state.optimizer, state.scheduler
        if setting.first or kept is None:
            kept = optimizer.start(state.positions, setting, kept)
            if self.rules.scheduler is not None:
                scheduler = RateScheduler(self.rules.scheduler, self.rules.scheduler_kwargs, optimizer, setting)
        options = {"lr": setting.learning_rate, "momentum": setting.momentum}
        if scheduler is not None:
            options |= scheduler.options()
        options["lr"] *= state.damping
        weighted = self._weighted(setting, forces)
        positions, kept = optimizer.step(state.positions, weighted, kept, options)
        if setting.phase.anchor:
            positions = _pulled(positions, state.start, setting.phase.anchor)
        if scheduler is not None:
            scheduler.advance()
        step, rate = state.step + 1, options["lr"]
        self.state = replace(
            state, positions=positions, optimizer=kept, scheduler=scheduler, step=step, setting=setting, rate=rate
        )


def exaggeration(setting: Setting) -> float:
    """The weight of the attraction; 1 for an objective without one."""
    return setting.weights.get("attraction", 1.0)


def _pulled(positions: Tensor, start: Tensor, anchor: float) -> Tensor:
    """Z + anchor · (αI − Z), α the scale at which the start I fits Z best."""
    scale = reductions.dot(positions, start) / reductions.dot(start, start)
    return positions.mul_(1 - anchor).add_(start, alpha=anchor * scale)
