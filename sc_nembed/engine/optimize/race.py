"""The race of early phases: from one start, each branch to its end; the better global arrangement goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from torch import Tensor

from .loop import optimize
from .schedule import Phase, Schedule, n_steps
from .state import Rules, RunState

N_PAIRS = 20_000


def run(
    begun: RunState, rules: Rules, schedule: Schedule, features: Tensor | None,
    carried: Mapping[str, np.ndarray] | None = None,
) -> tuple[RunState, tuple[Phase, ...], str]:  # fmt: skip
    """The final state, the phases of the path that led to it and the label of its branch.

    Features are needed where there is something to race. With `carried`, the arrays of a state of this run, it goes on
    from there.
    """
    state = begun if carried is None else RunState.from_arrays(dict(carried), begun, rules, schedule)
    if len(schedule.branches) > 1 and not state.decided:
        state = _raced(state, begun, rules, schedule, features)
        if state.stop_reason is not None:  # somebody ended the run
            return state, schedule.branch(state.branch), state.branch
    path = schedule.path(state.branch)
    return optimize(state, replace(rules, max_iter=n_steps(path)), path), path, state.branch


def _raced(state: RunState, begun: RunState, rules: Rules, schedule: Schedule, features: Tensor) -> RunState:
    """The state that the better branch ends with, or one that somebody ended; `state` may be amidst a branch."""
    finished = list(state.finished)
    for label in schedule.labels[len(finished) :]:
        if state.branch != label:
            state = replace(begun, branch=label, finished=tuple(finished))
        state = optimize(state, rules, schedule.branch(label), final=False)
        if state.stop_reason is not None:
            return state
        finished.append(replace(state, finished=()))
    scores = [distance_correlation(features, branch.positions) for branch in finished]
    return replace(finished[int(np.argmax(scores))], decided=True)  # the first of equals


def distance_correlation(features: Tensor, positions: Tensor) -> float:
    """Spearman's correlation of distances in the features and in the embedding, over 20 000 fixed random pairs."""
    left, right = np.random.default_rng(0).integers(features.shape[0], size=(2, N_PAIRS))
    distances = []
    for points in (features.cpu().numpy(), positions.cpu().numpy()):
        difference = points[left].astype(np.float64) - points[right]
        distances.append(_ranks((difference * difference).sum(1)))
    one, other = (ranks - ranks.mean() for ranks in distances)
    return float((one * other).sum() / np.sqrt((one * one).sum() * (other * other).sum()))


def _ranks(values: np.ndarray) -> np.ndarray:
    """From 1, equal values sharing the mean of theirs; importing scipy.stats for it would take half a second."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (counts.cumsum() - (counts - 1) / 2)[place]
