"""Features as the engine wants them: finite, centred, float32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..compute.checks import finite_rows


@dataclass(frozen=True, slots=True)
class Features:
    """A representation whose neighbors are to be searched.

    Attributes
    ----------
    values
        (n, d) float32, as `checked_features` gives them.
    """

    n_held: ClassVar[None] = None
    values: Tensor

    @property
    def n_obs(self) -> int:
        return self.values.shape[0]


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
    finite_rows(features.numpy(), "The representation")
    if features.shape[0] > 1 and bool((features == features[0]).all()):
        raise ValueError("All cells are equal in this representation, so there is nothing to embed.")
    return centred(features, origin_of(features, metric))


def origin_of(features: Tensor, metric: str | None) -> Tensor:
    """What is taken off features, (d,) of their type: their mean; for "cosine", whose angles have an origin, 0."""
    mean = features.double().mean(0)
    return (torch.zeros_like(mean) if metric == "cosine" else mean).to(features.dtype)


def centred(features: Tensor, origin: Tensor) -> Tensor:
    """(m, d) float32, in the frame of the features that have this origin."""
    return (features - origin).float().contiguous()
