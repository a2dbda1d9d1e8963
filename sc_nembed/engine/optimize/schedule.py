"""Schedules as values: phases of steps, each with its weights, rate and momentum, all computed before the loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

LABELS = "ABCDEFGH"  # of branches that are raced


@dataclass(frozen=True, slots=True)
class Ramp:
    """A value that goes from `first` to `last`, both included; a ramp of one step is `last`."""

    first: float
    last: float
    kind: str = "linear"  # or "geometric"

    def values(self, n_steps: int) -> np.ndarray:
        if n_steps == 1:
            return np.array([self.last], float)
        space = np.geomspace if self.kind == "geometric" else np.linspace
        return space(self.first, self.last, n_steps)


@dataclass(frozen=True, slots=True)
class Late:
    """0, but `value` in the last `n_last` steps of a phase."""

    value: float
    n_last: int

    def values(self, n_steps: int) -> np.ndarray:
        return np.where(np.arange(n_steps) >= n_steps - self.n_last, self.value, 0.0)


def values(value: float | Ramp | Late, n_steps: int) -> np.ndarray:
    """The value of every step of a phase, (n_steps,)."""
    return np.full(n_steps, float(value)) if isinstance(value, int | float) else value.values(n_steps)


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of steps.

    Attributes
    ----------
    name
        Shown by the progress bar and handed to callbacks.
    n_steps
        Number of steps.
    weights
        Weight of each term of the objective; the exaggeration is the weight of "attraction". A term that is not named
        has its weight in the loss.
    learning_rate
        Rate handed to the optimizer.
    momentum
        Momentum, or None where the optimizer has its own.
    anchor
        After each step Z += anchor · (αI − Z), I the centred start and α = ⟨Z, I⟩ / ⟨I, I⟩; the velocity stays.
    """

    name: str
    n_steps: int
    weights: dict[str, float | Ramp | Late]
    learning_rate: float | Ramp
    momentum: float | None = None
    anchor: float = 0.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """Branches that are raced from one start, and what follows on the better one; one branch is no race."""

    branches: tuple[tuple[Phase, ...], ...]
    finish: tuple[Phase, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """Of the branches; the only one has none."""
        return ("",) if len(self.branches) == 1 else tuple(LABELS[: len(self.branches)])

    def branch(self, label: str) -> tuple[Phase, ...]:
        """The phases of a branch."""
        return self.branches[self.labels.index(label)]

    def path(self, label: str) -> tuple[Phase, ...]:
        """The phases of a branch and the finish."""
        return self.branch(label) + self.finish

    def longest_path(self) -> int:
        """Steps of the longest path through the schedule."""
        return max(n_steps(branch) for branch in self.branches) + n_steps(self.finish)

    def all_steps(self) -> int:
        """Steps of all branches and the finish."""
        return sum(n_steps(branch) for branch in self.branches) + n_steps(self.finish)

    def late(self, name: str, weight: float, share: float) -> Schedule:
        """The same schedule where a term acts in the last steps alone: a share of the longest path, on every path."""
        n_late = round(share * self.longest_path())
        n_before = max(0, n_late - n_steps(self.finish))
        branches = tuple(_late(branch, name, weight, n_before) for branch in self.branches)
        return Schedule(branches, _late(self.finish, name, weight, n_late))


def _late(phases: tuple[Phase, ...], name: str, weight: float, n_late: int) -> tuple[Phase, ...]:
    """Phases that name a term's weight: `weight` in the last `n_late` steps, 0 before."""
    found = []
    for phase in reversed(phases):
        here = min(phase.n_steps, n_late)
        found.append(replace(phase, weights=phase.weights | {name: Late(weight, here)}))
        n_late -= here
    return tuple(reversed(found))


def n_steps(phases: tuple[Phase, ...]) -> int:
    return sum(phase.n_steps for phase in phases)


@dataclass(frozen=True, slots=True)
class Setting:
    """What one step is done with."""

    phase: Phase
    first: bool  # the first step of its phase
    weights: dict[str, float]
    learning_rate: float
    momentum: float | None


def unroll(phases: tuple[Phase, ...], usual: Mapping[str, float] = MappingProxyType({})) -> list[Setting]:
    """The setting of every step of some phases, in order; `usual` are weights of terms where a phase names none."""
    settings = []
    for phase in phases:
        weights = {name: values(weight, phase.n_steps) for name, weight in ({**usual} | phase.weights).items()}
        rates = values(phase.learning_rate, phase.n_steps)
        settings += [
            Setting(phase, i == 0, {name: float(w[i]) for name, w in weights.items()}, float(rates[i]), phase.momentum)
            for i in range(phase.n_steps)
        ]
    return settings


def exaggeration(setting: Setting) -> float:
    """The weight of the attraction; 1 for an objective without one."""
    return setting.weights.get("attraction", 1.0)
