"""Methods that tell neighbors from cells drawn at random: negative sampling, LargeVis, NCE, InfoNCE."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..compute.checks import check_number, check_positive
from ..config import EmbeddingConfig
from ..graph import AffinityMatrix
from ..kernel import Kernel, NoiseRepulsion, Rational, RationalRepulsion, StudentT
from ..output_affinity import OutputAffinity
from ..terms import NCE, Attraction, DrawnContrast, Edges, ExpectedContrast, InfoNCE, Term
from ..terms.circle import DrawnPairs, drawn_pairs
from .problem import Inputs, Problem, Sums

LARGEVIS_CLIP = 5.0  # the largest force of a pair, as in LargeVis


@dataclass(frozen=True, slots=True)
class ContrastOptions:
    """`n_negatives` cells are drawn for each cell in each step ("sampled"), or all stand for them ("expected")."""

    n_negatives: int = 5
    repulsion: str = "expected"

    def __post_init__(self) -> None:
        _check_negatives(self.n_negatives)
        if self.repulsion not in ("expected", "sampled"):
            raise ValueError(f"Unknown `repulsion` {self.repulsion!r}; available: ['expected', 'sampled'].")


@dataclass(frozen=True, slots=True)
class NegativeSamplingOptions:
    """As `ContrastOptions`; `Z_bar` is the constant that q is divided by, None for the one that makes noise 1."""

    n_negatives: int = 5
    repulsion: str = "expected"
    Z_bar: float | None = None

    def __post_init__(self) -> None:
        ContrastOptions(self.n_negatives, self.repulsion)
        if self.Z_bar is not None:
            check_positive("Z_bar", self.Z_bar)

    def noise(self, n_obs: int) -> float:
        """How often noise shows a pair, in the unit of q."""
        return 1.0 if self.Z_bar is None else self.n_negatives * self.Z_bar / n_obs**2


@dataclass(frozen=True, slots=True)
class NCEOptions:
    """`n_negatives` cells are drawn for each cell in each step."""

    n_negatives: int = 5

    def __post_init__(self) -> None:
        _check_negatives(self.n_negatives)


@dataclass(frozen=True, slots=True)
class InfoNCEOptions:
    """`n_negatives` cells are drawn for each cell in each step; the denominator holds the positive or it does not."""

    n_negatives: int = 300
    with_positive: bool = True

    def __post_init__(self) -> None:
        _check_negatives(self.n_negatives)


def _check_negatives(n_negatives: int) -> None:
    check_number("n_negatives", n_negatives, "an integer of at least 1", lambda number: number >= 1, whole=True)


def negative_sampling(config: EmbeddingConfig, inputs: Inputs, sums: Sums) -> Problem:
    """−Σ P log(q / (q + noise)) and the repulsion from noise, q Student's kernel."""
    _kernel(config, only_student=True)
    noise = config.of_method.noise(inputs.matrix.n_rows)
    attraction = Attraction(inputs.matrix, Rational(noise / (1 + noise), 1.0))
    return _contrast(config, attraction, NoiseRepulsion(noise), inputs.counts, sums)


def largevis(config: EmbeddingConfig, inputs: Inputs, sums: Sums) -> Problem:
    """−Σ P log q and −log(1 − q) of pairs that are drawn, q Student's kernel."""
    kernel = _kernel(config, only_student=True)
    potential = RationalRepulsion(1.0, 1.0, LARGEVIS_CLIP / config.repulsion_strength)
    return _contrast(config, Attraction(inputs.matrix, kernel), potential, inputs.counts, sums)


def nce(config: EmbeddingConfig, inputs: Inputs, sums: Sums) -> Problem:
    """−Σ P log q, and the rest of noise-contrastive estimation, whose noise is learned."""
    matrix = inputs.matrix
    edges = Edges(matrix, _kernel(config, only_student=True))
    pairs = _pairs(config, matrix, sums)
    repulsion = NCE(edges, matrix.row_mass * (config.of_method.n_negatives / pairs.n_negatives), pairs)
    return _problem(config, Attraction(edges.matrix, edges.kernel), repulsion)


def info_nce(config: EmbeddingConfig, inputs: Inputs, sums: Sums) -> Problem:
    """−Σ P log q, and the logarithms of InfoNCE's denominators."""
    edges = Edges(inputs.matrix, _kernel(config))
    repulsion = InfoNCE(edges, _pairs(config, inputs.matrix, sums), config.of_method.with_positive)
    return _problem(config, Attraction(edges.matrix, edges.kernel), repulsion)


def _contrast(
    config: EmbeddingConfig, attraction: Attraction, potential: object, counts: Tensor | None, sums: Sums
) -> Problem:
    options, matrix = config.of_method, attraction.matrix
    if options.repulsion == "expected":
        plan = sums.plan(sums.choose(), potential)
        repulsion = ExpectedContrast(plan, matrix.row_mass, matrix.total, options.n_negatives, counts)
        return _problem(config, attraction, repulsion)
    pairs = _pairs(config, matrix, sums)
    row_mass = matrix.row_mass * (options.n_negatives / pairs.n_negatives)
    return _problem(config, attraction, DrawnContrast(potential, row_mass, matrix.total, pairs))


def _problem(config: EmbeddingConfig, attraction: Attraction, repulsion: Term) -> Problem:
    strength = {"attraction": 1.0, "repulsion": float(config.repulsion_strength)}
    return Problem({"attraction": attraction, "repulsion": repulsion}, strength)


def _pairs(config: EmbeddingConfig, matrix: AffinityMatrix, sums: Sums) -> DrawnPairs:
    if config.process_duplicates:
        raise ValueError("`process_duplicates` has no effect where cells are drawn: every cell is drawn by itself.")
    return drawn_pairs(matrix.n_rows, config.of_method.n_negatives, config.random_state, sums.device)


def _kernel(config: EmbeddingConfig, *, only_student: bool = False) -> Kernel:
    output = config.output_affinity()
    known = isinstance(output, OutputAffinity) and output.normalization is None
    if not known or (only_student and output.kernel != StudentT()):
        wanted = "'student' with dof 1" if only_student else "one of the package"
        raise ValueError(
            f"method={config.method!r} takes {wanted} as output affinity, without normalization; got "
            f"`affinity_out={config.affinity_out!r}`, `kwargs_affinity_out={config.kwargs_affinity_out!r}`."
        )
    return output.kernel
