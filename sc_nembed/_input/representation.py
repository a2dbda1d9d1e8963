"""Representations of cells: entries of `obsm`, `X`, or a PCA of it made on the way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from anndata import AnnData
from torch import Tensor

from .. import _keys
from ..engine.compute.checks import no_effect
from ..engine.compute.notes import note

DEFAULT_PCS = 50


def representation(adata: AnnData, use_rep: str | None, n_pcs: int | None) -> tuple[Tensor, str]:
    """Features (n, d) by the rules of `tl.neighbor_embedding`, and what they are called.

    `use_rep` names an entry of `obsm` or "X"; `n_pcs` takes the first columns, and alone those of `X_pca`, which is
    made on the way where it is missing; `n_pcs=0` means `X`.

    Raises
    ------
    KeyError
        Where the representation does not exist; lists those that do.
    ValueError
        Where `n_pcs` does not fit it.
    """
    if n_pcs is not None and (isinstance(n_pcs, bool) or int(n_pcs) != n_pcs or n_pcs < 0):
        raise ValueError(f"`n_pcs` must be a non-negative integer; got {n_pcs!r}.")
    if use_rep == "X" and n_pcs:
        no_effect(f"n_pcs={n_pcs}", "with use_rep='X', which means X itself, not its PCA", "Drop one of them.")
    if use_rep == "X" or (use_rep is None and n_pcs == 0):
        return _tensor(_x(adata), "X"), "X"
    if use_rep is None and _keys.PCA not in adata.obsm:
        return _pca(adata, n_pcs)
    name = use_rep or _keys.PCA
    if not isinstance(name, str) or name not in adata.obsm:
        raise KeyError(f"Did not find `.obsm[{name!r}]`; available: {[*adata.obsm, 'X']}.")
    features = _tensor(adata.obsm[name], name)
    if n_pcs is None:
        return features, name
    if n_pcs == 0:
        raise ValueError(f"`n_pcs=0` means X itself and cannot be combined with use_rep={name!r}; drop one of them.")
    if n_pcs > features.shape[1]:
        raise ValueError(f"`n_pcs={n_pcs}` is more than `.obsm[{name!r}]` has: {features.shape[1]} columns.")
    return features[:, :n_pcs], name


def _x(adata: AnnData) -> Any:
    if adata.isbacked:
        raise ValueError(
            "X lies in a file (backed mode) and is not read; use a representation in `obsm`, or adata.to_memory()."
        )
    if adata.X is None:
        raise ValueError(f"There is no X and no representation was named; pass `use_rep`, one of {list(adata.obsm)}.")
    return adata.X


def _tensor(values: Any, name: str) -> Tensor:
    """Any two-dimensional container of numbers as a dense tensor; float32 stays, anything else becomes float64."""
    if isinstance(values, pd.DataFrame):
        values = values.to_numpy()
    elif sp.issparse(values):
        values = values.toarray()
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} must hold numbers; got dtype {array.dtype}.")
    if array.dtype != np.float32:
        array = array.astype(np.float64)
    return torch.from_numpy(np.array(array, order="C"))


def _pca(adata: AnnData, n_pcs: int | None) -> tuple[Tensor, str]:
    """Scanpy's PCA of X on a copy, single-threaded so that its bits do not depend on threads."""
    import scanpy as sc
    from sklearn import config_context
    from threadpoolctl import threadpool_limits

    x = (
        sp.csr_matrix(_x(adata), dtype=np.float32)
        if sp.issparse(_x(adata))
        else _tensor(_x(adata), "X").float().numpy()
    )
    _check_for_pca(x)
    var = adata.var[["highly_variable"]] if "highly_variable" in adata.var else pd.DataFrame(index=adata.var_names)
    scratch = AnnData(x, var=var.copy())
    n_used = int(var["highly_variable"].sum()) if "highly_variable" in var else adata.n_vars
    possible = min(adata.n_obs, n_used) - 1
    if (n_pcs or 1) > possible:
        raise ValueError(
            f"`n_pcs={n_pcs or 1}` is more than a PCA of {adata.n_obs} cells and {n_used} variables can give: "
            f"{possible}."
        )
    n_comps = min(DEFAULT_PCS, possible) if n_pcs is None else n_pcs
    note(
        f"There is no `.obsm['X_pca']`: a PCA of X with {n_comps} components was made for this call. "
        "Run `sc.pp.pca(adata)` to keep one."
    )
    with config_context(transform_output="default"), threadpool_limits(1):
        sc.pp.pca(scratch, n_comps=n_comps)
    return _tensor(scratch.obsm[_keys.PCA], "the PCA of X"), f"PCA of X ({n_comps} components)"


def _check_for_pca(x: np.ndarray | sp.csr_matrix) -> None:
    bad = ~np.isfinite(x.data if sp.issparse(x) else x)
    if bad.any():
        rows = (
            np.unique(np.repeat(np.arange(x.shape[0]), np.diff(x.indptr))[bad])
            if sp.issparse(x)
            else np.flatnonzero(bad.any(1))
        )
        raise ValueError(
            f"X has NaN or infinite values in {rows.size} cells, the first in row {rows[0]}; clean it, or pass "
            "`use_rep`."
        )
    if x.shape[0] and abs(x.max(axis=0) - x.min(axis=0)).max() == 0:
        raise ValueError("All cells are equal in X, so there is nothing to embed.")
