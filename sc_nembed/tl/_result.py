"""Results in an AnnData: which slots may be written, the record, the writing."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from anndata import AnnData, ImplicitModificationWarning

from .. import _compat, _keys
from .._input.source import Source
from ..engine.result import EmbeddingResult
from ..get._history import COLUMNS


def check_slots(adata: AnnData, slots: _keys.Slots, names: set[str], columns: Mapping[str, str]) -> None:
    """Refuse to overwrite the input, slots of these `names`, and what somebody else has written.

    `columns` are those of `.obs` to come.
    """
    if {slots.obsm, slots.uns} & names:
        raise ValueError(
            f"The result would overwrite its own input {sorted({slots.obsm, slots.uns} & names)}; choose "
            "another `key_added`."
        )
    others = [name for name in columns.values() if name in adata.obs and name not in _own_columns(adata, slots)]
    if others:
        raise ValueError(
            f"`.obs` has columns {others} that were not written by sc_nembed; rename or delete them, or choose another "
            "`key_added`."
        )
    if slots.replaces:
        return
    ours = slots.uns in adata.uns and _keys.is_ours(adata.uns[slots.uns])
    taken = [f".obsm[{slots.obsm!r}]"] if slots.obsm in adata.obsm else []
    taken += [f".uns[{slots.uns!r}]"] if slots.uns in adata.uns else []
    if taken and not ours:
        raise ValueError(
            f"{' and '.join(taken)} exists and was not written by sc_nembed; choose another `key_added`, or delete it."
        )


def record_of(result: EmbeddingResult, found: Source, named: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in `uns`; `named` are the slots that the call named."""
    params = result.used | named
    if found.affinity_in is not None:
        params["affinity_in"] = found.affinity_in
    params |= {f"used_{name}": value for name, value in result.resolved.items()}
    last = {name: values[-1] for name, values in result.history.items()}
    final = {"loss": float(last["loss"]), "n_iter": result.n_iter, "stop_reason": result.stop_reason}
    if result.kl_divergence is not None:
        final["kl_divergence"] = float(result.kl_divergence)
    final["n_edges"] = result.n_edges
    final["seconds"] = dict(result.seconds)
    return {
        "params": params,
        "input": found.record,
        "history": {name: np.asarray(result.history[name]) for name in COLUMNS},
        "final": final,
        "versions": _compat.versions(),
    }


def _own_columns(adata: AnnData, slots: _keys.Slots) -> list[str]:
    """Columns of `.obs` that the result in these slots has written."""
    record = adata.uns.get(slots.uns)
    return [str(name) for name in record.get("obs", {}).values()] if _keys.is_ours(record) else []


def write(
    adata: AnnData, slots: _keys.Slots, result: EmbeddingResult, record: dict[str, Any], columns: Mapping[str, str]
) -> None:
    """Coordinates, record, and `columns` of values of cells; those of the result before are removed."""
    embedding = np.array(result.embedding.cpu().numpy(), dtype=np.float32, order="C")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImplicitModificationWarning)  # a view becomes an AnnData of its own
        adata.obsm[slots.obsm] = embedding
    for name in _own_columns(adata, slots):
        if name in adata.obs:
            del adata.obs[name]
    for name, column in columns.items():
        adata.obs[column] = result.per_cell[name].cpu().numpy()
    adata.uns[slots.uns] = record | ({"obs": dict(columns)} if columns else {})
