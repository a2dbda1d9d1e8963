"""`tl.tsne`: the same call with scanpy's slots, so that `sc.pl.tsne` works unchanged."""

from __future__ import annotations

from typing import Any

from anndata import AnnData

from .. import _keys
from ._neighbor_embedding import neighbor_embedding


def tsne(adata: AnnData, *, key_added: str | None = None, **kwargs: Any) -> AnnData | None:
    """t-SNE, written where scanpy writes it.

    Parameters
    ----------
    adata
        Annotated data matrix.
    key_added
        Write `.obsm[key_added]` and `.uns[key_added]` instead.
    **kwargs
        Any parameter of `sc_nembed.tl.neighbor_embedding` but `method`.

    Returns
    -------
    None, or the copy where `copy=True`. Sets `.obsm["X_tsne"]`, (n_obs, n_components) float32, and `.uns["tsne"]`; a
    result of scanpy there is replaced, as scanpy would. See `neighbor_embedding` for what the record holds and for
    errors.
    """
    slots = _keys.TSNE if key_added is None else key_added
    return neighbor_embedding(adata, method="tsne", key_added=slots, **kwargs)
