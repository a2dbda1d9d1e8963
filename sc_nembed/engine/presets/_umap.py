"""UMAP, by its effective loss or by sampling."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from ..cells import Cells
from ..compute import reductions
from ..compute.checks import check_number, no_effect
from ..config import EmbeddingConfig
from ..graph import AffinityMatrix
from ..kernel import Rational, RationalRepulsion
from ..optimize.optimizer import PreconditionedNesterov
from ..optimize.sampled import SampledEpochs
from ..optimize.schedule import Phase, Ramp, Schedule
from ..output_affinity import RationalAffinity
from ..terms import Attraction, ExpectedRepulsion
from . import phases
from .contrast import check_repulsion
from .method import Inputs, Method, Options, Problem, Sums, attraction_and_repulsion

NEVER_EXACT = {1: 0, 2: 0, 3: 0}  # by number of dimensions: embeddings are small, and a pair is costly
OF_STEPS = (
    "optimizer", "optimizer_kwargs", "encoder", "process_duplicates", "max_grad_norm", "backend", "reference",
    "reference_strength", "density",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class UMAPOptions(Options):
    """Options of UMAP.

    Attributes
    ----------
    repulsion
        "expected", the mean over all draws, or "sampled".
    negative_sample_rate
        Cells drawn for each edge that is sampled, or their number in the mean.
    exclude_neighbors
        Whether a neighbor is never drawn.
    """

    repulsion: str = "expected"
    negative_sample_rate: int = 5
    exclude_neighbors: bool = False

    def __post_init__(self) -> None:
        check_repulsion(self.repulsion)
        wanted = "an integer of at least 1"
        check_number("negative_sample_rate", self.negative_sample_rate, wanted, lambda value: value >= 1, whole=True)
        if self.exclude_neighbors and not self.is_sampled:
            no_effect("exclude_neighbors", "without `repulsion='sampled'`: nothing is drawn")

    @property
    def is_sampled(self) -> bool:
        return self.repulsion == "sampled"

    @property
    def refuses(self) -> dict[str, str]:
        why = "takes epochs as steps of their own where `repulsion='sampled'`"
        return dict.fromkeys(OF_STEPS, why) if self.is_sampled else {}


def schedule(config: EmbeddingConfig, cells: Cells) -> Schedule:
    """100 steps at the rate 1, or epochs at a rate that falls from 1 to 0; by default nothing is exaggerated.

    More steps find no better neighborhoods, but drift away from the global arrangement of the start.
    """
    if not config.is_automatic:
        return Schedule((phases.standard(config, cells, usual_early=0),))
    if config.options.is_sampled:
        return Schedule((_epochs(config, n_epochs(config, cells.matrix.n_rows)),))
    return Schedule((phases.two_momenta(config, 100, 1.0, 0.8, 0.95),))


def _epochs(config: EmbeddingConfig, n_steps: int) -> tuple[Phase, ...]:
    first = 1.0 if config.lr == "auto" else float(config.lr)
    rates = [first * (1 - done / n_steps) for done in range(n_steps)]
    n_early, early = phases.early_part(config, n_steps, 0, 4.0)
    stretches = (
        ("early exaggeration", 0, n_early, early), ("epochs", n_early, n_steps, phases.late_coeff(config))
    )  # fmt: skip
    return tuple(
        Phase(name, end - begin, phases.weights(config, coeff), Ramp(rates[begin], rates[end - 1]))
        for name, begin, end, coeff in stretches
        if end > begin
    )


def n_epochs(config: EmbeddingConfig, n_obs: int) -> int:
    """Epochs of sampled UMAP, which also say what edges are dropped: 500 up to 10 000 cells, else 200."""
    if config.options.is_sampled and config.max_iter is not None:
        return config.max_iter
    return 500 if n_obs <= 10_000 else 200


def problem(config: EmbeddingConfig, inputs: Inputs, sums: Sums) -> Problem:
    """Edges too weak to be sampled once are dropped, and the largest weight is 1."""
    options, kernel = config.options, config.output_affinity().kernel
    matrix = _strong_edges(inputs.matrix, n_epochs(config, inputs.matrix.n_rows))
    kernel, potential = Rational(kernel.a, kernel.b, clip=4.0), RationalRepulsion(kernel.a, kernel.b)
    plan = sums.plan(sums.choose(NEVER_EXACT), potential)
    degree, rate = matrix.row_mass.to(sums.dtype), options.negative_sample_rate
    objective = {
        "attraction": Attraction(matrix, kernel),
        "repulsion": ExpectedRepulsion(plan, degree, float(rate), inputs.counts),
    }
    optimizer = None
    if options.is_sampled:
        optimizer = SampledEpochs(matrix, kernel, potential, rate, options.exclude_neighbors, config.random_state)
    return Problem(objective, attraction_and_repulsion(config), optimizer=optimizer, edges=matrix)


def _strong_edges(matrix: AffinityMatrix, epochs: int) -> AffinityMatrix:
    """Edges that are sampled at least once; what is left is symmetric, and the masses of its rows are their sums."""
    weights = matrix.weights / matrix.weights.max()
    kept = weights >= 1 / epochs
    before = torch.cat([kept.new_zeros(1, dtype=torch.int64), kept.cumsum(0)])
    weights = weights[kept]
    strong = replace(
        matrix, indptr=before[matrix.indptr], indices=matrix.indices[kept], weights=weights,
        total=float(reductions.total(weights)),
    )  # fmt: skip
    return replace(strong, row_mass=strong.row_sums())


def check(config: EmbeddingConfig) -> None:
    output = config.output_affinity()
    if output.is_dense or type(output.kernel) is not Rational or output.normalization:
        raise ValueError(
            f"method='umap' has an output affinity of its own, 'rational' without normalization; got "
            f"`affinity_out={config.affinity_out!r}`. Choose another method for it."
        )


METHOD = Method(
    "umap",
    problem,
    schedule,
    options=UMAPOptions,
    output_options=("min_dist", "spread", "a", "b"),
    affinity_out=RationalAffinity(),
    search_affinity="umap",
    graph_affinity="weights",
    start_size="range",
    optimizer=PreconditionedNesterov(max_step=0.5, max_step_span=0.0),
    pull=0.01,
    density=2.0,
    check=check,
)


def umap() -> EmbeddingConfig:
    """UMAP (McInnes et al. 2018); by default without sampling, by its effective loss (Damrich & Hamprecht 2021).

    15 neighbors, the cell itself counted, `min_dist` 0.5 and `spread` 1, as in scanpy. Of a finished graph the
    connectivities are taken as they are. The start is scaled to a largest coordinate of 10, as in umap-learn.
    `repulsion="sampled"` draws `negative_sample_rate` cells for each edge it samples, 500 epochs up to 10 000 cells and
    200 above, as umap-learn does.
    """
    return EmbeddingConfig(METHOD)
