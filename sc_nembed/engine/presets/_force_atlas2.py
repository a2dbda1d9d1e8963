"""ForceAtlas2 (Jacomy et al. 2014), the layout of graphs that `scanpy.tl.draw_graph` makes.

With w the weights of the edges, hᵢ the number of edges of cell i, k the scaling ratio and g the gravity, its forces are

    attraction  wᵢⱼ d        repulsion  k (hᵢ + 1) (hⱼ + 1) / d        gravity  g (hᵢ + 1), towards the origin

the gradients of three energies. All are multiplied by 4 / Σ w, so that the attraction is −Σ P log q of a P of sum 1
with a Gaussian q: a common factor moves no minimum, and lengths stay those of ForceAtlas2. Among t-SNEs it is like one
with an exaggeration of about 30 (Böhm et al. 2022).

How large a layout gets is known beforehand. At the minimum scaling it changes nothing, so that, where gravity is weak,
Σ P d² = k M² / Σ w, with M = Σ (hᵢ + 1). The root of that is the length of an edge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ..cells import Cells
from ..compute.checks import check_not_negative, check_positive
from ..config import EmbeddingConfig
from ..graph import AffinityMatrix
from ..kernel import Gaussian, LogRepulsion
from ..optimize.optimizer import PreconditionedNesterov
from ..optimize.schedule import Schedule
from ..output_affinity import GaussianAffinity, OutputAffinity
from ..terms import Attraction, Gravity, WeightedMass
from . import phases
from .method import Inputs, Method, Options, Problem, Sums, attraction_and_repulsion

SOFTENING = 0.05  # lengths of an edge / √n; the nearest two cells of a layout are about 1 apart
START = 3.0  # standard deviation of the start in lengths of an edge; layouts end with 4 to 7
# cells up to which sums are exact, by number of dimensions: the grid of a layout is larger than that of a t-SNE
EXACT_CELLS = {1: 1_000, 2: 5_000, 3: 40_000}


@dataclass(frozen=True, slots=True)
class ForceAtlas2Options(Options):
    """Strengths of the repulsion and of the pull towards the origin, as in ForceAtlas2."""

    scaling_ratio: float = 2.0
    gravity: float = 1.0

    def __post_init__(self) -> None:
        check_positive("scaling_ratio", self.scaling_ratio)
        check_not_negative("gravity", self.gravity)


def problem(config: EmbeddingConfig, inputs: Inputs, sums: Sums) -> Problem:
    """The three energies; the largest weight of an edge is taken as 1, as it is in UMAP's connectivities."""
    matrix = inputs.matrix
    options, masses = config.options, (matrix.degrees() + 1).to(sums.dtype)
    softening = SOFTENING * edge_length(config, matrix) / math.sqrt(matrix.n_rows)
    scale = 4 / _total_weight(matrix)
    matrix = _as_distribution(matrix)
    plan = sums.plan(sums.choose(EXACT_CELLS), LogRepulsion(softening))
    objective = {
        "attraction": Attraction(matrix, Gaussian()),
        "repulsion": WeightedMass(plan, masses * math.sqrt(scale * options.scaling_ratio / 2), matrix.total),
        "gravity": Gravity(masses * (scale * options.gravity), softening),
    }
    return Problem(objective, attraction_and_repulsion(config) | {"gravity": 1.0}, edges=matrix)


def edge_length(config: EmbeddingConfig, matrix: AffinityMatrix) -> float:
    """Root mean square of the lengths of edges that a layout without gravity ends with."""
    total_mass = matrix.n_edges + matrix.n_rows
    return total_mass * math.sqrt(config.options.scaling_ratio / _total_weight(matrix))


def start_size(config: EmbeddingConfig, matrix: AffinityMatrix) -> float:
    """Standard deviation of the first column of a start: small against the layout, so that it unfolds."""
    return START * edge_length(config, matrix)


def _total_weight(matrix: AffinityMatrix) -> float:
    """Σ w over both directions of each edge, the largest weight 1."""
    return matrix.total / float(matrix.weights.max())


def _as_distribution(matrix: AffinityMatrix) -> AffinityMatrix:
    parts = {name: getattr(matrix, name) / matrix.total for name in ("weights", "row_mass")}
    return replace(matrix, **parts, total=1.0)


def schedule(config: EmbeddingConfig, cells: Cells) -> Schedule:
    """150 steps at the rate 2/3, by default without exaggeration.

    The attraction is a quadratic form whose eigenvalues over the degrees are at most 2, whatever the graph (Chung
    1997), so that at this rate no momentum below 1 lets its steps grow. At the rate 1 cells of real graphs tremble.
    Only pairs of cells without any other neighbor, whose repulsion is as stiff, come to rest at lower rates alone.
    """
    if not config.is_automatic:
        return Schedule((phases.standard(config, cells, usual_early=0, total=1.0),))
    return Schedule((phases.two_momenta(config, 150, 2 / 3, 0.9, 0.97),))


def check(config: EmbeddingConfig) -> None:
    if config.output_affinity() != OutputAffinity(Gaussian(), None):
        raise ValueError(
            f"method='force_atlas2' has forces of its own; got `affinity_out={config.affinity_out!r}`, "
            f"`kwargs_affinity_out={config.kwargs_affinity_out!r}`. Choose another method for it."
        )


METHOD = Method(
    "force_atlas2",
    problem,
    schedule,
    options=ForceAtlas2Options,
    affinity_out=GaussianAffinity(normalization=None),
    search_affinity="umap",
    graph_affinity="weights",
    start_size=start_size,
    optimizer=PreconditionedNesterov(max_step=0.0, max_step_span=0.1),
    refuses={"process_duplicates": "weighs a cell by its edges"},
    check=check,
)


def force_atlas2() -> EmbeddingConfig:
    """ForceAtlas2 (Jacomy et al. 2014) with the defaults of `scanpy.tl.draw_graph`, and its lengths.

    Of a finished graph the connectivities are taken as they are; of a representation UMAP's affinities of 15 neighbors.
    The start is scaled to what the graph says of the size of its layout.
    """
    return EmbeddingConfig(METHOD)
