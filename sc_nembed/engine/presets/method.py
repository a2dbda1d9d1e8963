"""What a method is: a value of the choices that make it, and what it shares with the others.

A method is one file of this folder: its `Method`, the options that are its own, its schedule where that is not one of
`phases`, the problem it minimises, and the function that returns its preset, an `EmbeddingConfig`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from .. import radial_sum
from ..graph import AffinityMatrix, DenseAffinity
from ..optimize.optimizer import PreconditionedNesterov
from ..optimize.protocol import Optimizer
from ..optimize.schedule import Schedule
from ..space import FLAT, Space
from ..terms import Objective
from ..world import SERIAL

if TYPE_CHECKING:
    from ..cells import Cells
    from ..config import EmbeddingConfig


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a method's own; a method without any has this type itself.

    Attributes
    ----------
    needs, refuses
        As of `Method`, where they depend on an option: properties of a subclass.
    """

    needs: ClassVar[Mapping[str, str]] = {}
    refuses: ClassVar[Mapping[str, str]] = {}

    def values(self) -> dict[str, Any]:
        """The options by name, as they are."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


def accept(config: EmbeddingConfig) -> None:
    """Nothing to object to."""


@dataclass(frozen=True)
class Method:
    """What makes a method; what a user can wish for is in `EmbeddingConfig`.

    Attributes
    ----------
    name
        As users write it.
    problem
        From the configuration and P to what is minimised.
    schedule
        From the configuration and the cells to the phases of a run.
    options
        Type of its own options, a subclass of `Options`.
    output_options
        Arguments of its output affinity that are options too.
    affinity_out
        Its usual output affinity; None for a loss without one.
    search_affinity
        Its usual input affinity for a representation.
    graph_affinity
        The same for a finished graph; "weights": the graph's own, which are P as they are, where it has any and no
        number of neighbors is asked for.
    perplexity
        The usual one.
    matrix
        Which P the loss takes: "symmetric", "directed" (as its paper defines it), or "dense" (directed, of all pairs).
    space
        Where positions lie.
    start_size
        Standard deviation of the first column of a named start, or "range", or a function of the configuration and P.
    optimizer
        What `optimizer="auto"` is.
    pull, density
        Usual strengths of a reference, and of `density=True`.
    most_cells
        Cells above which the method refuses, or None.
    needs
        What it needs beside P, and what for: {"features": "draws pairs by ..."}.
    refuses
        Parameters that have no effect, and why: {"exaggeration": "knows no exaggeration"}.
    check
        Raises where the configuration does not suit the method in another way.
    """

    name: str
    problem: Callable[[EmbeddingConfig, Inputs, Sums], Problem]
    schedule: Callable[[EmbeddingConfig, Cells], Schedule]
    options: type[Options] = Options
    output_options: tuple[str, ...] = ()
    affinity_out: Any = None
    search_affinity: str = "entropic"
    graph_affinity: str = "uniform"
    perplexity: float = 30.0
    matrix: str = "symmetric"
    space: Space = FLAT
    start_size: float | str | Callable[[EmbeddingConfig, AffinityMatrix], float] = 1e-4
    optimizer: Optimizer = field(default_factory=PreconditionedNesterov)
    pull: float = 0.003
    density: float = 0.1
    most_cells: int | None = None
    needs: Mapping[str, str] = field(default_factory=dict)
    refuses: Mapping[str, str] = field(default_factory=dict)
    check: Callable[[EmbeddingConfig], None] = accept

    @property
    def option_names(self) -> tuple[str, ...]:
        return (*self.output_options, *(item.name for item in fields(self.options)))


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a method is given of the cells.

    Attributes
    ----------
    matrix
        P, on the device of the run.
    features
        (n, d) float32 on the CPU; None where there is no representation.
    counts
        (n,) number of cells that each row stands for; None where it is one each.
    raw
        (n, d) features as they were given, not centred.
    """

    matrix: AffinityMatrix | DenseAffinity
    features: Tensor | None = None
    counts: Tensor | None = None
    raw: Tensor | None = None


@dataclass(frozen=True)
class Problem:
    """What is minimised.

    Attributes
    ----------
    objective
        The terms by name.
    strength
        The weight of each term in the loss, at exaggeration 1.
    offset
        Σ P log P where P and Q are distributions over all pairs, so that the loss is their divergence; else None.
    optimizer
        One that belongs to the method, instead of the configuration's; else None.
    bounded
        Whether the loss has an upper bound, so that a large one is no explosion.
    added
        Terms that the method does not have of itself.
    late
        Terms that act at the end alone, and in what share of the steps.
    edges
        Those along which cells attract each other, where they are not those of P as it was given.
    """

    objective: Objective
    strength: dict[str, float]
    offset: float | None = None
    optimizer: Optimizer | None = None
    bounded: bool = False
    added: tuple[str, ...] = ()
    late: dict[str, float] = field(default_factory=dict)
    edges: AffinityMatrix | None = None


@dataclass(frozen=True)
class Sums:
    """Makes the plans of radial sums of a run, and notes which evaluation was chosen."""

    backend: str | None
    n_components: int
    n_obs: int
    device: torch.device
    dtype: torch.dtype
    chosen: dict[str, str] = field(default_factory=dict)

    def choose(self, exact_cells: Mapping[int, int] = radial_sum.EXACT_CELLS) -> str:
        """The evaluation by name."""
        if self.backend == "keops":
            self.chosen["radial_sum"] = "keops"
        else:
            self.chosen["radial_sum"] = radial_sum.choose(self.n_obs, self.n_components, exact_cells=exact_cells)
        return self.chosen["radial_sum"]

    def plan(
        self,
        name: str,
        potential: radial_sum.Potential,
        tolerance: float | None = None,
        dtype: torch.dtype | None = None,
    ) -> radial_sum.Plan:
        return radial_sum.RADIAL_SUMS[name](
            potential, n_components=self.n_components, tolerance=tolerance, device=self.device,
            dtype=dtype or self.dtype, world=SERIAL,
        )  # fmt: skip


def attraction_and_repulsion(config: EmbeddingConfig) -> dict[str, float]:
    """The strengths of a loss of two terms."""
    return {"attraction": 1.0, "repulsion": float(config.repulsion_strength)}
