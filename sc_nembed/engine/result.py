"""What a run gives back: the embedding, how it was found, and what took effect."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .config import EmbeddingConfig


@dataclass(frozen=True, slots=True)
class EmbeddingResult:
    """What a run found and how.

    Attributes
    ----------
    embedding
        (n, n_components) float32 on the device of the run.
    n_iter, stop_reason
        Steps of the path kept; "max_iter", "min_grad_norm", "callback" or "interrupted".
    history
        Equal-length arrays: iteration, loss, grad_norm, lr, exaggeration, and the unweighted value of each term.
    kl_divergence
        Of the embedding, where P and Q are distributions; else None.
    seconds
        Of the stages neighbors, affinity, init, optimize, and total; 0.0 where a stage was skipped.
    resolved
        What was chosen where there was a choice: device, neighbors, radial_sum, branch.
    config
        The configuration as it was given: `embed` does the same with it again.
    used
        The values of all parameters that took effect, as a file can hold them.
    n_edges
        Entries of the symmetric P.
    per_cell
        Values of cells by name, (n,) float32 each, NaN of cells that take no part. With `density`, "rad_orig" and
        "rad_emb": log local radii in the data and in the embedding.
    encoder
        The trained encoder, where there is one; the given one is left as it was.
    """

    embedding: Tensor  # (n, n_components)
    n_iter: int
    stop_reason: str
    history: dict[str, np.ndarray]
    kl_divergence: float | None
    seconds: dict[str, float]
    resolved: dict[str, str]
    config: EmbeddingConfig
    used: dict[str, Any]
    n_edges: int
    per_cell: dict[str, Tensor] = field(default_factory=dict)
    encoder: torch.nn.Module | None = None
