"""Where the input of an embedding comes from: the rules of section «Input» of `tl.neighbor_embedding`, in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from anndata import AnnData
from torch import Tensor

from .. import _keys
from ..engine.affinity import PrecomputedAffinity, request
from ..engine.compute import backend
from ..engine.config import EmbeddingConfig
from ..engine.graph import AffinityMatrix, KnnGraph
from .graph import read_distances, read_pattern
from .representation import representation


@dataclass(frozen=True)
class Source:
    """What is embedded.

    Attributes
    ----------
    data
        Features, a graph or affinities: the type says where the engine starts.
    features
        For the start by PCA where `data` is a graph; None where there are none.
    record
        For `uns[key]["input"]`.
    said
        For the log.
    affinity_in
        What kind of affinities `data` already is.
    names
        Slots that were read, which a result must not overwrite.
    """

    data: Tensor | KnnGraph | AffinityMatrix
    features: Tensor | None
    record: dict[str, Any]
    said: str
    affinity_in: str | None = None
    names: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Named:
    """What a caller names as the source; None where it does not."""

    use_rep: str | None = None
    n_pcs: int | None = None
    neighbors_key: str | None = None
    obsp: str | None = None

    def given(self) -> dict[str, Any]:
        """Those that are not None."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


def find_source(adata: AnnData, config: EmbeddingConfig, named: Named) -> Source:
    """The input of a call.

    Raises
    ------
    ValueError, KeyError
        For two sources at once, a source that does not exist, and parameters that have no effect with it.
    """
    with backend.session(config.n_jobs):
        return _found(adata, config, named)


def _found(adata: AnnData, config: EmbeddingConfig, named: Named) -> Source:
    given = list(named.given())
    is_matrix = isinstance(config.affinity_in, PrecomputedAffinity)
    given += ["affinity_in"] if is_matrix else []
    if len(set(given) - {"n_pcs"}) > 1 or ("n_pcs" in given and set(given) - {"n_pcs", "use_rep"}):
        raise ValueError(
            f"{_listed(given)} name two sources; give one of `use_rep` (with `n_pcs`), `neighbors_key`, `obsp`."
        )
    if is_matrix:
        matrix = config.affinity_in.matrix
        return _matrix(adata, config, matrix, "affinity_in", {"kind": "matrix", "name": "affinity_in"})
    if named.obsp is not None:
        return _obsp(adata, config, named.obsp)
    if named.neighbors_key is not None:
        return _graph(adata, config, named.neighbors_key, _neighbors_record(adata, named.neighbors_key))
    if given:
        return _representation(adata, named.use_rep, named.n_pcs, "")
    return _default(adata, config)


def _default(adata: AnnData, config: EmbeddingConfig) -> Source:
    """Nothing was named: the stored graph, unless a search is asked for; then what it was built from; else the PCA."""
    search = request.asked(config)
    record = adata.uns.get(_keys.NEIGHBORS)
    if not isinstance(record, Mapping) or not any(
        _matrix_name(adata, _keys.NEIGHBORS, record, kind) for kind in _KINDS
    ):
        return _representation(adata, None, None, "")
    if not search:
        return _graph(adata, config, _keys.NEIGHBORS, record)
    use_rep, n_pcs = _built_from(record)
    return _representation(adata, use_rep, n_pcs, f" (a new search for {_listed(search)}, not the stored graph)")


def _representation(adata: AnnData, use_rep: str | None, n_pcs: int | None, why: str) -> Source:
    features, name = representation(adata, use_rep, n_pcs)
    record = {"kind": "representation", "name": name, "n_features": int(features.shape[1])}
    columns = "" if n_pcs in (None, 0) else f", first {n_pcs} columns"
    return Source(features, None, record, f"neighbors searched in {name}{columns}{why}", names={name})


_KINDS = {"distances": _keys.distances_of, "connectivities": _keys.connectivities_of}


def _neighbors_record(adata: AnnData, key: str) -> Mapping[str, Any]:
    if key in adata.uns and isinstance(adata.uns[key], Mapping):
        return adata.uns[key]
    available = [
        name
        for name, record in adata.uns.items()
        if isinstance(record, Mapping) and any(_matrix_name(adata, name, record, k) for k in _KINDS)
    ]
    raise KeyError(
        f"Did not find `.uns[{key!r}]`. Run `sc.pp.neighbors(adata, key_added={key!r})` first; available: {available}."
    )


def _matrix_name(adata: AnnData, key: str, record: Mapping[str, Any], kind: str) -> str | None:
    """Name in `obsp` of one of a graph's matrices; where the record has no name for it, the usual one."""
    name = str(record.get(f"{kind}_key", _KINDS[kind](key)))
    return name if name in adata.obsp else None


def _graph(adata: AnnData, config: EmbeddingConfig, key: str, record: Mapping[str, Any]) -> Source:
    request.check_finished(config, f"the graph {key!r}")
    distances, weights = (_matrix_name(adata, key, record, kind) for kind in _KINDS)
    verbatim = weights is not None and request.takes_weights(config)
    name = weights if verbatim else distances or weights
    if name is None:
        wanted = [_KINDS[kind](key) for kind in _KINDS]
        raise KeyError(
            f"`.uns[{key!r}]` names no matrix in `.obsp`; expected one of {wanted}, available: {list(adata.obsp)}."
        )
    label = f"`.obsp[{name!r}]`"
    kind = None
    if verbatim:
        data, kind = _weights(adata.obsp[name], label, adata.n_obs, normalize=False), "umap"
    elif distances:
        data = read_distances(adata.obsp[name], label, n_obs=adata.n_obs)
    else:
        request.check_weights_alone(config, label)
        data, kind = read_pattern(adata.obsp[name], label, n_obs=adata.n_obs), "uniform"
    features, start = _start_features(adata, config, record)
    about = {"kind": "graph", "neighbors_key": key, "matrix": name} | start
    said = f"the neighbor graph {key!r} ({label})"
    return Source(data, features, about, said, affinity_in=kind, names={key, name, *start.values()})


def _weights(matrix: Any, label: str, n_obs: int, *, normalize: bool = True, symmetric: bool = True) -> AffinityMatrix:
    if matrix.shape != (n_obs, n_obs):
        raise ValueError(f"{label} must be a matrix of {n_obs} by {n_obs} cells; got shape {tuple(matrix.shape)}.")
    try:
        return PrecomputedAffinity(matrix, normalize)(symmetric=symmetric)
    except ValueError as error:
        raise ValueError(f"{label}: {error}") from error


def _obsp(adata: AnnData, config: EmbeddingConfig, name: str) -> Source:
    if name not in adata.obsp:
        raise KeyError(f"Did not find `.obsp[{name!r}]`; available: {list(adata.obsp)}.")
    return _matrix(adata, config, adata.obsp[name], f"`.obsp[{name!r}]`", {"kind": "matrix", "obsp": name})


def _matrix(adata: AnnData, config: EmbeddingConfig, matrix: Any, label: str, record: dict[str, str]) -> Source:
    request.check_given(config, label)
    data = _weights(matrix, label, adata.n_obs, symmetric=config.method.matrix == "symmetric")
    neighbors = adata.uns.get(_keys.NEIGHBORS)
    features, start = _start_features(adata, config, neighbors if isinstance(neighbors, Mapping) else {})
    names = set(record.values()) | set(start.values())
    return Source(data, features, record | start, f"the weights {label}", affinity_in="precomputed", names=names)


def _start_features(
    adata: AnnData, config: EmbeddingConfig, record: Mapping[str, Any]
) -> tuple[Tensor | None, dict[str, str]]:
    """Features for a start by PCA, a race, radii or a method that reads them: what the graph was built from, else
    `X_pca`, else none.
    """
    wants = config.needs or config.encoder is not None or config.per_cell
    if not wants and not (isinstance(config.init, str) and config.init == "pca"):
        return None, {}
    for use_rep, n_pcs in dict.fromkeys([_built_from(record), (_keys.PCA, None)]):
        if use_rep in adata.obsm:
            features, name = representation(adata, use_rep, n_pcs)
            return features, {"init": name}
    return None, {}


def _built_from(record: Mapping[str, Any]) -> tuple[str | None, int | None]:
    """The representation and number of columns a graph says it was built from."""
    params = record.get("params", {})
    params = params if isinstance(params, Mapping) else {}
    use_rep, n_pcs = params.get("use_rep"), params.get("n_pcs")
    return (None if use_rep is None else str(use_rep)), (None if n_pcs is None else int(n_pcs))


def _listed(names: list[str]) -> str:
    return " and ".join(f"`{name}`" for name in names)
