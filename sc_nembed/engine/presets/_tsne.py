"""t-SNE: one sum of Student kernels over all pairs."""

from __future__ import annotations

from dataclasses import dataclass

from ..affinity.request import MANY_CELLS
from ..cells import Cells
from ..config import EmbeddingConfig
from ..optimize.schedule import Phase, Ramp, Schedule
from ..output_affinity import StudentAffinity
from . import phases
from .method import Method, Options
from .normalized import by_normalization, check_tolerance


@dataclass(frozen=True, slots=True)
class TSNEOptions(Options):
    """Options of t-SNE.

    Attributes
    ----------
    race
        Whether two early phases are raced, see `raced`. None: for a representation of at most 200 000 cells whose
        schedule nobody touched.
    tolerance
        Relative error of the forces on the grid; None: by the number of cells.
    """

    race: bool | None = None
    tolerance: float | None = None

    def __post_init__(self) -> None:
        check_tolerance(self.tolerance)

    @property
    def needs(self) -> dict[str, str]:
        return {"features": "compares distances in a representation (`race=True`)"} if self.race else {}


def schedule(config: EmbeddingConfig, cells: Cells) -> Schedule:
    """A race of two early phases, a single schedule, or the usual one of other optimizers."""
    return raced(config) if _races(config, cells) else phases.single(config, cells)


def _races(config: EmbeddingConfig, cells: Cells) -> bool:
    if config.options.race is not None:
        return config.options.race
    return cells.searched and cells.given.source.n_obs <= MANY_CELLS and not _touched(config)


def _touched(config: EmbeddingConfig) -> list[str]:
    """What was asked for that a race decides itself."""
    names = ("max_iter", "early_exaggeration_coeff", "early_exaggeration_iter", "exaggeration")
    given = [name for name in names if getattr(config, name) is not None]
    given += [] if config.is_automatic else ["optimizer"]
    return given + ([] if config.scheduler in (None, "none") else ["scheduler"])


def check(config: EmbeddingConfig) -> None:
    if config.options.race and _touched(config):
        raise ValueError(f"`race=True` has schedules of its own and cannot be combined with {_touched(config)}.")


def raced(config: EmbeddingConfig) -> Schedule:
    """Two early phases whose global arrangements complement each other; the better one is finished.

    (A) short, pulled towards the start, (B) long and free. The rate of the last 135 steps falls from 2 to 1.
    """
    down, last = Ramp(12.0, 1.0, "geometric"), 134
    full, falling, plain = (phases.weights(config, coeff) for coeff in (12.0, down, 1.0))
    rate = phases.rate_of(config, 1.0)
    settle = Phase("settling", 20, plain, phases.rate_of(config, Ramp(2.0, 2.0 - 19 / last)), 0.98)
    pulled = (
        Phase("early exaggeration", 30, full, rate, 0.90, anchor=0.1),
        Phase("annealing", 20, falling, rate, 0.95, anchor=0.1),
        settle,
    )
    free = (
        Phase("early exaggeration", 100, full, rate, 0.95),
        Phase("annealing", 15, falling, rate, 0.95),
        settle,
    )
    finish = Phase("final", 115, plain, phases.rate_of(config, Ramp(2.0 - 20 / last, 1.0)), 0.98)
    return Schedule((pulled, free), (finish,))


METHOD = Method(
    "tsne",
    by_normalization,
    schedule,
    options=TSNEOptions,
    output_options=("dof",),
    affinity_out=StudentAffinity(),
    check=check,
)


def tsne() -> EmbeddingConfig:
    """t-SNE (van der Maaten & Hinton 2008) with the preconditioned Nesterov optimizer and its schedules.

    Perplexity 30 for a representation; one of more than 200 000 cells, and a finished graph, is read uniformly, 15
    neighbors each (Böhm et al. 2022). PCA start of standard deviation 1e-4 (Kobak & Berens 2019).
    """
    return EmbeddingConfig(METHOD)
