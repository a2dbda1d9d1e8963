"""What methods share that tell neighbors from cells drawn at random, or from the mean over all draws."""

from __future__ import annotations

from dataclasses import dataclass

from ..cells import Cells
from ..compute.checks import check_number
from ..config import EmbeddingConfig
from ..kernel import StudentT
from ..optimize.schedule import Ramp, Schedule
from ..terms import Attraction, DrawnContrast, ExpectedContrast, Term
from ..terms.circle import DrawnPairs, drawn_pairs
from . import phases
from .method import Inputs, Options, Problem, Sums, attraction_and_repulsion
from .normalized import check_tolerance

MANY_NEGATIVES = 50
EACH_BY_ITSELF = {"process_duplicates": "draws cells one by one, each by itself"}


@dataclass(frozen=True, slots=True)
class DrawnOptions(Options):
    """`n_negatives` cells are drawn for each cell in each step."""

    n_negatives: int = 5

    def __post_init__(self) -> None:
        check_negatives(self.n_negatives)


@dataclass(frozen=True, slots=True)
class ContrastOptions(Options):
    """`n_negatives` cells are drawn for each cell in each step ("sampled"), or all stand for them ("expected").

    `tolerance` is the relative error of the forces on the grid; None: by the number of cells.
    """

    n_negatives: int = 5
    repulsion: str = "expected"
    tolerance: float | None = None

    def __post_init__(self) -> None:
        check_negatives(self.n_negatives)
        check_repulsion(self.repulsion)
        check_tolerance(self.tolerance)

    @property
    def refuses(self) -> dict[str, str]:
        return EACH_BY_ITSELF if self.repulsion == "sampled" else {}


def check_negatives(n_negatives: int) -> None:
    check_number("n_negatives", n_negatives, "an integer of at least 1", lambda number: number >= 1, whole=True)


def check_repulsion(repulsion: str) -> None:
    if repulsion not in ("expected", "sampled"):
        raise ValueError(f"Unknown `repulsion` {repulsion!r}; available: ['expected', 'sampled'].")


def check_output(config: EmbeddingConfig, *, only_student: bool = True) -> None:
    """Contrasts are of a kernel without normalization, most of them of Student's."""
    output = config.output_affinity()
    known = not output.is_dense and output.normalization is None
    if not known or (only_student and output.kernel != StudentT()):
        wanted = "'student' with dof 1" if only_student else "one of the package"
        raise ValueError(
            f"method={config.method.name!r} takes {wanted} as output affinity, without normalization; got "
            f"`affinity_out={config.affinity_out!r}`, `kwargs_affinity_out={config.kwargs_affinity_out!r}`."
        )


def schedule(config: EmbeddingConfig, cells: Cells) -> Schedule:
    """t-SNE's single schedule, or that of drawn pairs."""
    return (phases.single if config.options.repulsion == "expected" else drawn_schedule)(config, cells)


def drawn_schedule(config: EmbeddingConfig, cells: Cells) -> Schedule:
    """More steps than t-SNE, less momentum and a rate that falls to nothing, since draws are noise.

    500 steps of momentum 0.8 for fewer than 50 negatives, else 200 of 0.95. Nothing is exaggerated by default.
    """
    if not config.is_automatic:
        return Schedule((phases.standard(config, cells),))
    n_steps, momentum = (500, 0.8) if config.options.n_negatives < MANY_NEGATIVES else (200, 0.95)
    usual_early = None if config.early_exaggeration_coeff not in (None, 1) else 0
    falling = Ramp(1.0, 0.01)
    return Schedule((
        phases.preconditioned(config, n_steps=n_steps, usual_early=usual_early, momentum=momentum, rate=falling),
    ))  # fmt: skip


def contrast(config: EmbeddingConfig, attraction: Attraction, potential: object, inputs: Inputs, sums: Sums) -> Problem:
    """An attraction, and the repulsion of a potential, of all pairs or of those that are drawn."""
    options, matrix = config.options, attraction.matrix
    if options.repulsion == "expected":
        plan = sums.plan(sums.choose(), potential, options.tolerance)
        repulsion = ExpectedContrast(plan, matrix.row_mass, matrix.total, options.n_negatives, inputs.counts)
        return of_two(config, attraction, repulsion)
    pairs = pairs_of(config, inputs, sums)
    row_mass = matrix.row_mass * (options.n_negatives / pairs.n_negatives)
    return of_two(config, attraction, DrawnContrast(potential, row_mass, matrix.total, pairs))


def of_two(config: EmbeddingConfig, attraction: Attraction, repulsion: Term) -> Problem:
    return Problem({"attraction": attraction, "repulsion": repulsion}, attraction_and_repulsion(config))


def pairs_of(config: EmbeddingConfig, inputs: Inputs, sums: Sums) -> DrawnPairs:
    return drawn_pairs(inputs.matrix.n_rows, config.options.n_negatives, config.random_state, sums.device)
