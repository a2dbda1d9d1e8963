"""What of the data a run reads: the one reader of `affinity_in`, `perplexity`, `n_neighbors` and `metric`.

`check` says what can be said without the cells, `resolve` is asked once for the source at hand, before anything is
computed. Doors that look for a source ask the other functions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ..compute.checks import no_effect
from ..neighbors import METRICS
from ._bandwidth import MAGICAffinity, SelfTuningAffinity
from ._doubly_stochastic import DoublyStochasticQuadraticAffinity, SinkhornAffinity
from ._graph import EntropicAffinity
from ._named import AFFINITIES, NAMES, OF_NEIGHBORS, OF_PERPLEXITY
from ._pacmap import PACMAPAffinity
from ._phate import PHATEAffinity
from ._precomputed import PrecomputedAffinity
from ._symmetric_entropic import SymmetricEntropicAffinity

if TYPE_CHECKING:
    from ..config import EmbeddingConfig
    from . import InputAffinity

SEARCH = ("perplexity", "n_neighbors", "metric")  # what asks for a new search
SMALLEST_PERPLEXITY = 2.0  # of few cells, where nothing is asked for
WEIGHTS = "weights"  # a method's `graph_affinity` that stands for the graph's own
MANY_CELLS = 200_000  # with more, "entropic" gives way to "uniform" where nothing is asked for
# affinities with parameters that the record has no other place for
OF_PARAMETERS = {
    DoublyStochasticQuadraticAffinity, MAGICAffinity, PHATEAffinity, SelfTuningAffinity, SinkhornAffinity,
    AFFINITIES["normalized_gaussian"], AFFINITIES["normalized_student"],
}  # fmt: skip


class Start(Protocol):
    """What a run starts from; `n_held` is None for features, the neighbors of each cell a graph holds, 0 for P."""

    @property
    def n_obs(self) -> int: ...

    @property
    def n_held(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Request:
    """What is read.

    Attributes
    ----------
    affinity
        The input affinity; None where the source is P itself.
    k
        Other cells of each cell that are searched, or kept of a graph; 0 where no graph is read.
    used
        What took effect, for the record.
    notes
        What the user should know.
    """

    affinity: InputAffinity | None
    k: int
    used: dict[str, Any]
    notes: tuple[str, ...] = ()


def check(config: EmbeddingConfig) -> None:
    """Names that do not exist, and parameters that have no effect, whatever the source."""
    given, name, method = config.affinity_in, _name(config), config.method
    if name is not None and name not in AFFINITIES:
        raise ValueError(f"Unknown `affinity_in` {given!r}; available: {sorted(AFFINITIES)}.")
    if config.metric is not None and config.metric not in METRICS:
        raise ValueError(f"Unknown `metric` {config.metric!r}; available: {list(METRICS)}.")
    if method.matrix != "dense" and (name == "phate" or type(given) is PHATEAffinity):
        raise ValueError(only_matched(f"`affinity_in={given!r}`", method.name))
    if config.perplexity is None:
        return
    EntropicAffinity(config.perplexity)
    if given is None and method.search_affinity not in OF_PERPLEXITY:
        no_effect(
            "perplexity",
            f"with method={method.name!r}, whose input affinity is {method.search_affinity!r}",
            "Use `n_neighbors`, or `affinity_in='entropic'`.",
        )


def only_matched(what: str, method: str) -> str:
    """What is wrong with a dense or negative affinity in a method that sums over edges and kernels."""
    return (
        f"{what} is dense and negative, which method={method!r} cannot take. Use method='affinity_matcher', or another "
        "affinity."
    )


def asked(config: EmbeddingConfig, names: Iterable[str] = SEARCH) -> list[str]:
    """Those of the parameters that are given."""
    return [name for name in names if getattr(config, name) is not None]


def takes_weights(config: EmbeddingConfig) -> bool:
    """Whether a graph's weights are P themselves: where the method says so and nothing else is asked for."""
    usual = config.affinity_in is None or _name(config) == config.method.search_affinity
    return config.method.graph_affinity == WEIGHTS and usual and config.n_neighbors is None


def check_finished(config: EmbeddingConfig, graph: str) -> None:
    """A finished graph is not searched."""
    if config.metric is not None:
        no_effect(f"metric={config.metric!r}", f"on {graph}, which is finished", "Drop it, or name `use_rep`.")


def check_weights_alone(config: EmbeddingConfig, label: str) -> None:
    """A graph without distances has a pattern alone."""
    names = [f"`{name}`" for name in asked(config, ("perplexity", "n_neighbors"))]
    if config.affinity_in is not None and _name(config) != "uniform":
        names.append(f"`affinity_in={config.affinity_in!r}`")
    if names:
        raise ValueError(
            f"{' and '.join(names)} needs distances, and this graph has only the weights {label}; drop it, or name "
            "`use_rep`."
        )


def check_given(config: EmbeddingConfig, label: str) -> None:
    """Affinities that are there already leave nothing to choose."""
    names = asked(config)
    is_other = config.affinity_in is not None and _name(config) != "precomputed"
    if is_other and type(config.affinity_in) is not PrecomputedAffinity:
        names.append(f"affinity_in={config.affinity_in!r}")
    for name in names:
        no_effect(name, f"here: {label} gives the affinities themselves")


def resolve(config: EmbeddingConfig, source: Start) -> Request:
    """The input affinity and the number of neighbors for a source."""
    if source.n_held == 0:
        for name in asked(config, ("perplexity", "n_neighbors")):
            no_effect(name, "here: the source gives the affinities themselves")
        return Request(None, 0, {})
    made = _of_features(config, source.n_obs) if source.n_held is None else _of_graph(config, source)
    affinity, k, notes = made
    n_neighbors = _n_used(affinity, k)
    used = {"affinity_in": _recorded(affinity, n_neighbors), "n_neighbors": n_neighbors}
    if type(affinity) in (EntropicAffinity, SymmetricEntropicAffinity):
        used["perplexity"] = affinity.perplexity
    return Request(affinity, k, used, notes)


def _name(config: EmbeddingConfig) -> str | None:
    return config.affinity_in.lower() if isinstance(config.affinity_in, str) else None


def _is_made(config: EmbeddingConfig) -> bool:
    """Whether the affinity is given as a value, which holds its own parameters."""
    return config.affinity_in is not None and not isinstance(config.affinity_in, str)


def _of_features(config: EmbeddingConfig, n_obs: int) -> tuple[InputAffinity, int, tuple[str, ...]]:
    affinity = _made(config, _usual_of_features(config, n_obs), n_obs)
    k = affinity.n_neighbors(n_obs)
    if type(affinity) is SymmetricEntropicAffinity and config.perplexity is None and config.affinity_in is None:
        return SymmetricEntropicAffinity(min(affinity.perplexity, max(k / 3, SMALLEST_PERPLEXITY))), k, ()
    if type(affinity) is EntropicAffinity:
        return _fitting(affinity, config, k, n_obs)
    return affinity, k, ()


def _of_graph(config: EmbeddingConfig, source: Start) -> tuple[InputAffinity, int, tuple[str, ...]]:
    k = source.n_held
    if config.n_neighbors is not None:
        k = config.n_neighbors - 1
        if k > source.n_held:
            raise ValueError(
                f"`n_neighbors={config.n_neighbors}` counts the cell itself, but the graph holds {source.n_held} "
                f"others per cell. Make the graph with more neighbors, or ask for at most {source.n_held + 1}."
            )
    usual = config.method.graph_affinity
    if config.perplexity is not None:
        usual = "entropic"
    elif usual == WEIGHTS:  # which this graph has none of
        usual = config.method.search_affinity
    return _made(config, usual, source.n_obs, k), k, ()


def _usual_of_features(config: EmbeddingConfig, n_obs: int) -> str:
    usual = config.method.search_affinity
    if config.perplexity is not None:
        return usual
    many = usual == "entropic" and n_obs > MANY_CELLS
    return "uniform" if many or (usual in OF_PERPLEXITY and config.n_neighbors is not None) else usual


def _made(config: EmbeddingConfig, usual: str, n_obs: int, n_held: int | None = None) -> InputAffinity:
    """The affinity that is asked for, else the usual one, with what is asked for put in; of a graph `n_held` count."""
    if _is_made(config):
        for name in asked(config, ("perplexity", "n_neighbors") if n_held is None else ("perplexity",)):
            no_effect(name, f"here: `affinity_in` is {config.affinity_in!r}, which holds its own parameters")
        return config.affinity_in
    name = _name(config) or usual
    if name == "precomputed":
        raise ValueError(
            "`affinity_in='precomputed'` needs a matrix: pass `obsp=` to the AnnData function, or "
            "PrecomputedAffinity(P)."
        )
    if name not in (*OF_NEIGHBORS, "entropic") and config.n_neighbors is not None and n_held is None:
        no_effect("n_neighbors", f"with `affinity_in={name!r}`, which is of all pairs")
    if name in OF_PERPLEXITY:
        return AFFINITIES[name](config.method.perplexity if config.perplexity is None else config.perplexity)
    if config.perplexity is not None:
        no_effect("perplexity", f"with `affinity_in={name!r}`; it belongs to {list(OF_PERPLEXITY)}")
    if name == "pacmap" and config.n_neighbors is None:
        return PACMAPAffinity(min(_pacmap_neighbors(n_obs), n_held or n_obs))
    if config.n_neighbors is None or (n_held is not None and name != "pacmap"):  # a graph was cut to them
        return AFFINITIES[name]()
    return OF_NEIGHBORS[name](min(config.n_neighbors, n_obs))


def _fitting(
    affinity: EntropicAffinity, config: EmbeddingConfig, k: int, n_obs: int
) -> tuple[EntropicAffinity, int, tuple[str, ...]]:
    """Perplexities lowered to a third of the neighbors there are."""
    if config.n_neighbors is not None:
        k = min(config.n_neighbors, n_obs) - 1
    largest = max(affinity.perplexities)
    if 3 * largest - k < 1:
        return affinity, k, ()
    lowered = [max(1.0, min(value, k / 3)) for value in affinity.perplexities]
    is_asked = config.perplexity is not None or _is_made(config)
    note = (f"The perplexity is lowered from {largest:g} to {max(lowered):g}, a third of the {k} neighbors per cell.",)
    return EntropicAffinity(lowered if len(lowered) > 1 else lowered[0]), k, note if is_asked else ()


def _pacmap_neighbors(n_obs: int) -> int:
    """Near pairs of a cell in PaCMAP: 10, above 10 000 cells 15 more for each power of ten, of few cells fewer."""
    k = 10 if n_obs <= 10_000 else round(10 + 15 * (math.log10(n_obs) - 4))
    return max(1, min(k, int(n_obs / 3.5)))  # half as many mid-near and twice as many far pairs are other cells


def _n_used(affinity: InputAffinity, k: int) -> int | None:
    """Neighbors of each cell that P is made of, the cell itself counted."""
    if k == 0:
        return None
    return min(affinity.k, k) + 1 if type(affinity) is PACMAPAffinity else k + 1


def _recorded(affinity: InputAffinity, n_neighbors: int | None) -> InputAffinity | str:
    """An affinity's name where that says all; one that has parameters of its own, or is somebody else's, itself."""
    name = NAMES.get(type(affinity))
    if name is None or type(affinity) not in OF_PARAMETERS:
        return name or affinity
    usual = [type(affinity)()]
    if name in OF_NEIGHBORS and n_neighbors is not None:
        usual.append(OF_NEIGHBORS[name](n_neighbors))
    return name if affinity in usual else affinity
