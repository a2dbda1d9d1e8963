"""Features as the engine wants them: finite, centred, float32."""

from __future__ import annotations

import torch
from torch import Tensor


def checked_features(features: Tensor, metric: str | None) -> Tensor:
    """A centred float32 copy of (n, d) features on the CPU; with `metric="cosine"`, whose angles have an origin, not
    centred.

    The mean is taken off in float64, so that coordinates far from the origin keep their differences.

    Raises
    ------
    ValueError
        For a wrong number of dimensions, NaN or infinite values, or cells that are all equal.
    """
    if features.ndim != 2 or features.shape[1] == 0:
        raise ValueError(f"Features must be a matrix of cells by variables; got shape {tuple(features.shape)}.")
    features = features.detach().cpu()
    if features.dtype != torch.float32:
        features = features.double()
    bad = ~torch.isfinite(features).all(1)
    if bad.any():
        first = int(bad.nonzero()[0, 0])
        raise ValueError(
            f"The representation has NaN or infinite values in {int(bad.sum())} cells, the first in row {first}."
        )
    if features.shape[0] > 1 and bool((features == features[0]).all()):
        raise ValueError("All cells are equal in this representation, so there is nothing to embed.")
    if metric == "cosine":
        return features.float().contiguous()
    return (features - features.double().mean(0).to(features.dtype)).float().contiguous()
