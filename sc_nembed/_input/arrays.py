"""What users hand over as arrays, as the engine wants it."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

SPARSE = ("csr", "csc", "coo")  # what scikit-learn's checks let through, too


def as_tensor(X: Any) -> torch.Tensor:
    """A tensor as it is; a dense copy of anything else."""
    return X if isinstance(X, torch.Tensor) else torch.from_numpy(X.toarray() if sp.issparse(X) else np.array(X))
