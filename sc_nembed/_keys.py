"""Names of the slots of an AnnData, decided once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

PACKAGE = "sc_nembed"
NEIGHBORS = "neighbors"
PCA = "X_pca"


@dataclass(frozen=True, slots=True)
class Slots:
    """Where a result is kept, `obsm[obsm]` and `uns[uns]`, and whether it replaces what somebody else has written."""

    obsm: str
    uns: str
    replaces: bool = False


DEFAULT = Slots("X_ne", "ne")
TSNE = Slots("X_tsne", "tsne", replaces=True)
UMAP = Slots("X_umap", "umap", replaces=True)


def slots(key_added: str | Slots | None) -> Slots:
    """The slots of a new result.

    Raises
    ------
    TypeError, ValueError
        For a key that is no string, is empty, or holds "/", at which a file would split it in two.
    """
    if isinstance(key_added, Slots):
        return key_added
    if key_added is None:
        return DEFAULT
    if not isinstance(key_added, str):
        raise TypeError(f"`key_added` must be a string or None; got {type(key_added).__name__}.")
    if not key_added or "/" in key_added:
        raise ValueError(
            f"`key_added` must not be empty or contain '/', which splits a key when it is written; got {key_added!r}."
        )
    return Slots(key_added, key_added)


def columns(slots: Slots, names: Iterable[str]) -> dict[str, str]:
    """Columns of `obs` for values of cells."""
    return {name: f"{slots.uns}_{name}" for name in names}


def is_ours(record: Any) -> bool:
    """Whether a record of `uns` was written by this package."""
    return isinstance(record, Mapping) and isinstance(record.get("versions"), Mapping) and PACKAGE in record["versions"]


def distances_of(neighbors_key: str) -> str:
    """The usual name of the distances in `obsp`."""
    return "distances" if neighbors_key == NEIGHBORS else f"{neighbors_key}_distances"


def connectivities_of(neighbors_key: str) -> str:
    """The usual name of the connectivities in `obsp`."""
    return "connectivities" if neighbors_key == NEIGHBORS else f"{neighbors_key}_connectivities"


def result_of(adata: Any, key: str) -> Slots:
    """The slots of an existing result, found by its key with or without "X_".

    Raises
    ------
    KeyError
        Where there is none.
    """
    bare = key.removeprefix("X_")
    for uns in dict.fromkeys((key, bare, f"X_{bare}")):
        if uns in adata.uns and is_ours(adata.uns[uns]):
            for obsm in dict.fromkeys((uns, f"X_{uns}")):
                if obsm in adata.obsm:
                    return Slots(obsm, uns)
    available = [name for name in adata.uns if is_ours(adata.uns[name])]
    raise KeyError(
        f"Did not find a result of sc_nembed under {key!r}. Run `sc_nembed.tl.neighbor_embedding(adata)` first; "
        f"available: {available}."
    )
