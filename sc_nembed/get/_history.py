"""`get.history`: the course of an optimization as a table."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData

from .. import _keys

COLUMNS = ("iteration", "loss", "grad_norm", "lr", "exaggeration")


def history(adata: AnnData, key: str = "ne") -> pd.DataFrame:
    """The course of an optimization, one row per check.

    Parameters
    ----------
    adata
        Annotated data with a result of this package.
    key
        Name of the result, with or without `X_`.

    Returns
    -------
    Columns iteration (steps done, from 1), loss (the objective at exaggeration 1; for t-SNE the KL divergence in nats),
    grad_norm (Frobenius norm of the gradient), lr (learning rate of the step) and exaggeration.

    Raises
    ------
    KeyError
        Where there is no such result; lists those that exist.
    """
    record = adata.uns[_keys.result_of(adata, key).uns]["history"]
    return pd.DataFrame({name: np.asarray(record[name]) for name in COLUMNS})
