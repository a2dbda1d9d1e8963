"""Input affinities by their names, with the parameters of a run put in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
OF_PERPLEXITY = ("entropic", "symmetric_entropic")
OF_NEIGHBORS: dict[str, Callable[[int], InputAffinity]] = {  # of a number of neighbors with the cell itself counted
    "magic": lambda counted: MAGICAffinity(n_nearest=counted - 1),
    "pacmap": lambda counted: PACMAPAffinity(counted - 1),
    "self_tuning": lambda counted: SelfTuningAffinity(n_nearest=counted - 1),
    "uniform": lambda counted: UniformAffinity(counted - 1),
    "umap": UMAPAffinity,
}


def named_affinity(
    name: str, perplexity: float | Sequence[float] | None, n_neighbors: int | None, *, searching: bool, n_obs: int
) -> InputAffinity:
    """The affinity of a name, for a new search or a finished graph, with what was asked for.

    Raises
    ------
    ValueError
        For a parameter that it does not have, and "precomputed", which needs its matrix.
    """
    if name == "precomputed":
        raise ValueError(
            "`affinity_in='precomputed'` needs a matrix: pass `obsp=` to the AnnData function, or "
            "PrecomputedAffinity(P)."
        )
    if name not in OF_PERPLEXITY and perplexity is not None:
        raise ValueError(
            f"`perplexity` has no effect with `affinity_in={name!r}`; it belongs to {list(OF_PERPLEXITY)}."
        )
    if name in OF_PERPLEXITY and perplexity is not None:
        return AFFINITIES[name](perplexity)
    if n_neighbors is None or not searching or name == "entropic":  # a graph was cut to them, entropic searches them
        return AFFINITIES[name]()
    if name not in OF_NEIGHBORS:
        raise ValueError(f"`n_neighbors` has no effect with `affinity_in={name!r}`, which is of all pairs.")
    return OF_NEIGHBORS[name](min(n_neighbors, n_obs))
