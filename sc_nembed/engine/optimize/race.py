"""The race of early phases: from one start, each branch to its end; the better global arrangement goes on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch import Tensor

from .loop import Rules, RunState, optimize
from .schedule import Phase, Schedule, n_steps

N_PAIRS = 20_000
LABELS = "ABCDEFGH"  # of the branches


def run(
    state: RunState, rules: Rules, schedule: Schedule, features: Tensor | None
) -> tuple[RunState, tuple[Phase, ...], str]:
    """The final state, the phases of the path that led to it and the label of its branch.

    Features are needed where there is something to race.
    """
    if len(schedule.branches) == 1:
        path = schedule.branches[0] + schedule.finish
        return optimize(state, rules, path), path, ""
    results, scores = [], []
    for label, branch in zip(LABELS, schedule.branches, strict=False):
        result = optimize(state, rules, branch, final=False, label=f"{label}: ")
        if result.stop_reason is not None:  # somebody ended the run
            return result, branch, label
        results.append(result)
        scores.append(distance_correlation(features, result.positions))
    best = int(np.argmax(scores))  # the first of equals
    path = schedule.branches[best] + schedule.finish
    rules = replace(rules, max_iter=n_steps(path))
    return optimize(results[best], rules, schedule.finish), path, LABELS[best]


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
