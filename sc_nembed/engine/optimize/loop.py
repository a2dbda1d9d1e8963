"""The only loop: evaluate the terms, look at them at checks, let the optimizer move the positions.

A check happens after the first step, after every `check_interval` steps and after the last. Its loss and gradient norm
belong to the positions it reports, the learning rate and exaggeration to the step that led there. A loss that is not
finite or explodes takes the run back to the last good check with half the rate; after five halvings it gives up.

The loop is functions of a `RunState`. A step may use up the optimizer and the scheduler of the state it is given, which
can be objects of torch; so what is gone back to is a copy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..compute.notes import note
from ..terms import Force
from ..view import View
from ..world import SERIAL, World
from . import measure
from .callbacks import StepInfo
from .protocol import StepOptions, WeightedForces, weighted_sum
from .schedule import Phase, Setting, exaggeration, unroll
from .state import Rules, RunState

MAX_HALVINGS = 5
SHORTEST = 1e-30  # gradient that is not shortened


def optimize(state: RunState, rules: Rules, path: tuple[Phase, ...], *, final: bool = True) -> RunState:
    """Do the steps of a path that are not done yet; `final` says that no others follow, so that the last is checked."""
    settings, begun = unroll(path, rules.problem.strength), state.copied(rules.optimizer)
    rules = replace(rules, fused=_fused(rules, begun.positions))
    try:
        for state in _states(begun, rules, settings, final):  # noqa: B007 - the last one is wanted
            pass
    except KeyboardInterrupt:
        if not rules.interruptible or state.step == 0:
            raise
    else:
        return state
    note(f"Interrupted after {state.step} of {rules.max_iter} steps; the embedding of that step is kept.")
    checked = _checked(state, rules, settings[state.step - 1], _looked_at(state, rules))
    return replace(checked or state, stop_reason="interrupted")


def _fused(rules: Rules, positions: Tensor) -> tuple[str, Callable[..., Any]] | None:
    """The first term that does the optimizer's step in its own pass, where the gradients need not be known before."""
    if rules.optimizer.fused_as is None or rules.max_grad_norm is not None or rules.world is not SERIAL:
        return None
    terms, kind = rules.problem.objective, rules.optimizer.fused_as
    found = ((name, term.fused_step(kind, positions)) for name, term in terms.items())
    return next(((name, step) for name, step in found if step is not None), None)


def _states(state: RunState, rules: Rules, settings: list[Setting], final: bool) -> Iterator[RunState]:
    """Every state that the run goes through, the last one as it ends."""
    good = state
    while True:
        last = state.step == len(settings)
        if last and not final:
            return
        state = _with_terms(state, rules)
        yield state
        is_due = _is_due(state, rules, last)
        forces = _looked_at(state, rules) if is_due or state.is_checked or state.step == 0 else None
        if state.step == 0:
            state = replace(state, start_losses=_losses(rules, forces))
        if is_due:
            checked = _checked(state, rules, settings[state.step - 1], forces)
            if checked is None:
                state = _gone_back(state, good, rules)
                continue
            state = checked
            yield state
            good = state.copied(rules.optimizer)
        reason = _stop_reason(state, rules, settings, final, call=is_due)
        if reason or last:
            yield replace(state, stop_reason=reason or "max_iter")
            return
        state = advance(state, rules, settings[state.step], forces)
        yield state


def _with_terms(state: RunState, rules: Rules) -> RunState:
    """The state with the terms of its step; a term that goes on from step to step does so once for each."""
    if state.terms_step == state.step:
        return state
    terms = rules.problem.objective if state.terms is None else state.terms
    view = View.of_rows(state.positions, rules.world)
    terms = {name: term.at_step(view, state.step) for name, term in terms.items()}
    return replace(state, terms=terms, terms_step=state.step)


def _is_due(state: RunState, rules: Rules, last: bool) -> bool:
    if state.step == 0 or (state.is_checked and not last):
        return False
    return last or state.step == 1 or state.step % rules.check_interval == 0


def _looked_at(state: RunState, rules: Rules) -> dict[str, Force]:
    """Every force, with its value."""
    view, found = View.of_rows(state.positions, rules.world), {}
    fused, _ = rules.fused or (None, None)
    for name, term in state.terms.items():
        is_stepped_with = rules.optimizer.takes_forces and name != fused
        force = term(view, value=True) if is_stepped_with else term.with_value(view)
        found[name] = force if term.of_all_rows else replace(force, value=rules.world.sum(force.value))
    return found


def _checked(state: RunState, rules: Rules, setting: Setting, forces: dict[str, Force]) -> RunState | None:
    """The state with a new row in its history; None where the run has exploded. `setting` is of the last step."""
    losses = _losses(rules, forces)
    loss = losses[0]
    gradient, _ = weighted_sum([(setting.weights[name], force) for name, force in forces.items()])
    grad_norm = float(measure.length(gradient, rules.world))
    far = [now > 2 * abs(start) + 10 for now, start in zip(losses, state.start_losses, strict=True)]
    exploded = not rules.problem.bounded and all(far)
    if not math.isfinite(loss) or not math.isfinite(grad_norm) or exploded:
        return None
    row = {"iteration": state.step, "loss": loss, "grad_norm": grad_norm, "lr": state.rate}
    row |= {"exaggeration": exaggeration(setting)}
    row |= {name: float(force.value) for name, force in forces.items()}
    scheduler = None if state.scheduler is None else state.scheduler.seen(loss)
    kept = state.history[:-1] if state.is_checked else state.history
    return replace(state, history=(*kept, row), scheduler=scheduler)


def _losses(rules: Rules, forces: dict[str, Force]) -> tuple[float, float]:
    """The objective at exaggeration 1, and the method's own part of it.

    Added terms may be next to nothing at the start, or cancel the others there; strong ones outweigh them later.
    """
    problem = rules.problem
    values = {name: problem.strength[name] * float(force.value) for name, force in forces.items()}
    own, offset = sum(value for name, value in values.items() if name not in problem.added), problem.offset or 0.0
    return sum(values.values()) + offset, own + offset


def _gone_back(state: RunState, good: RunState, rules: Rules) -> RunState:
    damping = state.damping / 2
    if damping < 0.5**MAX_HALVINGS:
        raise ValueError(
            f"The embedding diverged: near step {state.step} its loss was not finite or exploded, also after "
            f"the learning rate had been halved {MAX_HALVINGS} times. Lower `lr`, or choose another `init`."
        )
    return replace(good.copied(rules.optimizer), damping=damping)


def _stop_reason(state: RunState, rules: Rules, settings: list[Setting], final: bool, *, call: bool) -> str | None:
    """Why the run ends here, if it does; callbacks are asked where `call`, which is at new checks."""
    if not state.is_checked:
        return None
    setting, row = settings[state.step - 1], state.history[-1]
    if call:
        info = StepInfo(
            row, max_iter=rules.max_iter, phase=_label(state) + setting.phase.name,
            positions=lambda: rules.complete(state.positions), carried=lambda: state.to_arrays(rules.optimizer),
        )  # fmt: skip
        answers = [callback(info) for callback in rules.callbacks]  # every one is asked
        if any(answers):
            return "callback"
    # a small gradient ends the run only where nothing is exaggerated any more, and the start is no result
    is_last_objective = final and setting.weights == settings[-1].weights and state.step > 1
    return "min_grad_norm" if is_last_objective and row["grad_norm"] < rules.min_grad_norm else None


def _label(state: RunState) -> str:
    """What the names of phases are preceded by while branches are raced."""
    return f"{state.branch}: " if state.branch and not state.decided else ""


def advance(state: RunState, rules: Rules, setting: Setting, forces: dict[str, Force] | None) -> RunState:
    """One step; `forces` where they are known already."""
    optimizer, kept, scheduler = rules.optimizer, state.optimizer, state.scheduler
    if setting.first or kept is None:
        kept, scheduler = optimizer.start(state.positions, setting, kept, rules.world), rules.scheduler_of(setting)
    options = StepOptions(setting.learning_rate, setting.momentum, weights=setting.weights, world=rules.world)
    if scheduler is not None:
        options = scheduler.changed(options)
    options = replace(options, lr=options.lr * state.damping)
    positions, kept = _stepped(state, rules, setting, forces, kept, options)
    if setting.phase.anchor:
        positions = _pulled(positions, state.start, setting.phase.anchor, rules.world)
    if scheduler is not None:
        scheduler.advance()
    return replace(
        state, positions=positions, optimizer=kept, scheduler=scheduler, step=state.step + 1, rate=options.lr
    )


def _stepped(
    state: RunState, rules: Rules, setting: Setting, forces: dict[str, Force] | None, kept: Any, options: StepOptions
) -> tuple[Tensor, Any]:
    """The optimizer's step, in the pass of the term that offers it where there is one that acts among others."""
    optimizer, positions = rules.optimizer, state.positions
    acting = [name for name in state.terms if setting.weights[name] != 0] if optimizer.takes_forces else []
    fused, move = rules.fused or (None, None)
    others = [name for name in acting if name != fused]
    if not others or len(others) == len(acting):
        return optimizer.step(positions, _weighted(state, rules, setting, forces, acting), kept, options)
    weighted = _weighted(state, rules, setting, forces, others)
    return optimizer.step_within(move, setting.weights[fused], positions, weighted, kept, options)


def _weighted(
    state: RunState, rules: Rules, setting: Setting, forces: dict[str, Force] | None, names: list[str]
) -> WeightedForces:
    """Weight and force of each of the terms; where the gradients are too long together, shortened."""
    fused, _ = rules.fused or (None, None)
    known = {name: force for name, force in (forces or {}).items() if name != fused}  # that one was only looked at
    view = View.of_rows(state.positions, rules.world)
    found = [known[name] if name in known else state.terms[name](view, value=False) for name in names]
    weighted = [(setting.weights[name], force) for name, force in zip(names, found, strict=True)]
    if rules.max_grad_norm is None or not weighted:
        return weighted
    length = measure.length(weighted_sum(weighted)[0], rules.world)
    share = (torch.full_like(length, rules.max_grad_norm) / length.clamp_min(SHORTEST)).clamp_max(1.0)
    return [(weight, replace(force, gradient=force.gradient * share)) for weight, force in weighted]


def _pulled(positions: Tensor, start: Tensor, anchor: float, world: World) -> Tensor:
    """Z + anchor · (αI − Z), α the scale at which the start I fits Z best."""
    scale = anchor * (measure.dot(positions, start, world) / measure.dot(start, start, world))
    if positions.device.type == "cpu":
        return positions.mul_(1 - anchor).add_(start, alpha=float(scale))
    return positions.mul_(1 - anchor).add_(start * scale)  # without waiting for the scale
