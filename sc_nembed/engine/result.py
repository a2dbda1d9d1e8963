"""What a run gives back: the embedding, how it was found, and the configuration that took effect."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from .affinity import (
    AFFINITIES,
    EntropicAffinity,
    InputAffinity,
    PACMAPAffinity,
    PrecomputedAffinity,
    SymmetricEntropicAffinity,
    UMAPAffinity,
    UniformAffinity,
)
from .affinity._named import OF_NEIGHBORS
from .compute import backend
from .config import EmbeddingConfig
from .optimize.loop import exaggeration
from .optimize.schedule import Phase, unroll
from .output_affinity import describe

OF_PERPLEXITY = (EntropicAffinity, SymmetricEntropicAffinity)
# all that they were made with is a perplexity, a number of neighbors or a matrix, which the record has
TOLD_BY_NAME = (*OF_PERPLEXITY, PACMAPAffinity, PrecomputedAffinity, UMAPAffinity, UniformAffinity)


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
        The configuration with the values that took effect.
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
    n_edges: int
    per_cell: dict[str, Tensor] = field(default_factory=dict)
    encoder: torch.nn.Module | None = None


def effective(
    config: EmbeddingConfig,
    affinity: InputAffinity | None,
    n_neighbors: int | None,
    path: tuple[Phase, ...],
    raced: bool,
    *,
    init: str,
    init_scaling: float | str | None,
) -> EmbeddingConfig:
    """The configuration with the values that took effect."""
    exaggerations = [exaggeration(setting) for setting in unroll(path)]
    late = 1.0 if config.exaggeration is None else float(config.exaggeration)
    early = [value for value in exaggerations if value != late]
    given = config.affinity_out, config.kwargs_affinity_out
    out_name, out_kwargs = describe(*given) if config.has_output else (None, None)
    return replace(
        config,
        affinity_in=_recorded(affinity, n_neighbors),
        perplexity=affinity.perplexity if isinstance(affinity, OF_PERPLEXITY) else None,
        n_neighbors=n_neighbors,
        max_iter=len(exaggerations),
        early_exaggeration_coeff=early[0] if early else None,
        early_exaggeration_iter=len(early),
        exaggeration=late,
        affinity_out=out_name,
        kwargs_affinity_out=out_kwargs,
        device=str(backend.resolve_device(config.device)),
        n_jobs=backend.resolve_n_jobs(config.n_jobs),
        init=config.init if init in ("array", "encoder") else init,
        init_scaling=init_scaling,
        race=raced,
        reference_strength=config.pull_strength,
        density=config.density_strength,
    )


def _recorded(affinity: InputAffinity | None, n_neighbors: int | None) -> InputAffinity | str | None:
    """An affinity's name where that says all; one that has parameters of its own, or is somebody else's, itself."""
    name = {kind: name for name, kind in AFFINITIES.items()}.get(type(affinity))
    if name is None or isinstance(affinity, TOLD_BY_NAME):
        return name or affinity
    usual = [type(affinity)()]
    if name in OF_NEIGHBORS and n_neighbors is not None:
        usual.append(OF_NEIGHBORS[name](n_neighbors))
    return name if affinity in usual else affinity
