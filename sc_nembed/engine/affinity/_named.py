"""Input affinities by their names; how a run's parameters are put into them is decided in `request`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ._all_pairs import NormalizedGaussianAffinity, NormalizedStudentAffinity
from ._bandwidth import MAGICAffinity, SelfTuningAffinity
from ._doubly_stochastic import DoublyStochasticQuadraticAffinity, SinkhornAffinity
from ._graph import EntropicAffinity, UMAPAffinity, UniformAffinity
from ._pacmap import PACMAPAffinity
from ._phate import PHATEAffinity
from ._precomputed import PrecomputedAffinity
from ._symmetric_entropic import SymmetricEntropicAffinity

if TYPE_CHECKING:
    from . import InputAffinity

AFFINITIES = {
    "doubly_stochastic_quadratic": DoublyStochasticQuadraticAffinity,
    "entropic": EntropicAffinity,
    "magic": MAGICAffinity,
    "normalized_gaussian": NormalizedGaussianAffinity,
    "normalized_student": NormalizedStudentAffinity,
    "pacmap": PACMAPAffinity,
    "phate": PHATEAffinity,
    "precomputed": PrecomputedAffinity,
    "self_tuning": SelfTuningAffinity,
    "sinkhorn": SinkhornAffinity,
    "symmetric_entropic": SymmetricEntropicAffinity,
    "umap": UMAPAffinity,
    "uniform": UniformAffinity,
}
NAMES = {kind: name for name, kind in AFFINITIES.items()}
OF_PERPLEXITY = ("entropic", "symmetric_entropic")
OF_NEIGHBORS: dict[str, Callable[[int], InputAffinity]] = {  # of a number of neighbors with the cell itself counted
    "magic": lambda counted: MAGICAffinity(n_nearest=counted - 1),
    "pacmap": lambda counted: PACMAPAffinity(counted - 1),
    "self_tuning": lambda counted: SelfTuningAffinity(n_nearest=counted - 1),
    "uniform": lambda counted: UniformAffinity(counted - 1),
    "umap": UMAPAffinity,
}
