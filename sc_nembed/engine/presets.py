"""Presets: functions that return an `EmbeddingConfig`. What a method does by default is decided here.

What all methods share are the defaults of the config's fields; the schedules are in `engine.phases`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from . import objective, phases
from .config import EmbeddingConfig
from .optimizer import PreconditionedNesterov
from .output_affinity import GaussianAffinity, RationalAffinity, StudentAffinity

OUTPUT_OPTIONS = ("dof", "sigma", "min_dist", "spread", "a", "b", "normalization")  # arguments of the output affinity


def tsne() -> EmbeddingConfig:
    """t-SNE (van der Maaten & Hinton 2008) with the preconditioned Nesterov optimizer and its schedules.

    Perplexity 30 for a representation; one of more than 200 000 cells, and a finished graph, is read uniformly, 15
    neighbors each (Böhm et al. 2022). PCA start of standard deviation 1e-4 (Kobak & Berens 2019).
    """
    return EmbeddingConfig(
        method="tsne",
        affinity_out=StudentAffinity(),
        schedule=phases.of_tsne,
        terms=objective.by_normalization,
        options=("dof", "race", "tolerance"),
    )


def sne() -> EmbeddingConfig:
    """SNE (Hinton & Roweis 2002): Gaussian output affinities, each row a distribution; otherwise as t-SNE.

    The loss is Σ −P log q + Σᵢ rᵢ log Σⱼ qᵢⱼ with P of sum 1, so that rᵢ = 1/n.
    """
    return EmbeddingConfig(
        method="sne",
        affinity_out=GaussianAffinity(normalization="row"),
        schedule=phases.of_sne,
        terms=objective.by_normalization,
        options=("sigma", "tolerance"),
    )


def umap() -> EmbeddingConfig:
    """UMAP (McInnes et al. 2018); by default without sampling, by its effective loss (Damrich & Hamprecht 2021).

    15 neighbors, the cell itself counted, `min_dist` 0.5 and `spread` 1, as in scanpy. Of a finished graph the
    connectivities are taken as they are. The start is scaled to a largest coordinate of 10, as in umap-learn.
    `repulsion="sampled"` draws `negative_sample_rate` cells for each edge it samples, 500 epochs up to 10 000 cells and
    200 above, as umap-learn does.
    """
    return EmbeddingConfig(
        method="umap",
        affinity_out=RationalAffinity(),
        search_affinity="umap",
        graph_affinity="umap",
        reads_weights=True,
        repulsion="expected",
        named_init_scaling="range",
        usual_density=2.0,
        usual_pull=0.01,
        schedule=phases.of_umap,
        terms=objective.umap,
        automatic=PreconditionedNesterov(max_step=0.5, max_step_span=0.0),
        options=("a", "b", "exclude_neighbors", "min_dist", "negative_sample_rate", "repulsion", "spread"),
    )


def neighbor_embedding() -> EmbeddingConfig:
    """Any input and output affinity, nothing chosen: what the class `NeighborEmbedding` starts from."""
    return EmbeddingConfig(
        method="neighbor_embedding",
        affinity_out=StudentAffinity(),
        schedule=phases.of_tsne,
        terms=objective.by_normalization,
        options=("tolerance",),
    )


def affinity_matcher() -> EmbeddingConfig:
    """A loss between P as it is defined and Q, both dense: what the class `AffinityMatcher` starts from."""
    return EmbeddingConfig(
        method="affinity_matcher",
        affinity_out=StudentAffinity(),
        optimizer="Adam",
        lr=1.0,
        max_iter=1000,
        symmetric=False,
        schedule=phases.plain,
        terms=objective.matching,
        options=("kwargs_loss", "loss_fn"),
    )


METHODS = {
    "affinitymatcher": affinity_matcher,
    "neighborembedding": neighbor_embedding,
    "sne": sne,
    "tsne": tsne,
    "umap": umap,
}


def resolve_method(method: str | EmbeddingConfig) -> EmbeddingConfig:
    """The preset of a name, whatever its case, hyphens and underscores; a config is returned as it is."""
    if isinstance(method, EmbeddingConfig):
        return method
    if isinstance(method, str) and method.lower().replace("-", "").replace("_", "") in METHODS:
        return METHODS[method.lower().replace("-", "").replace("_", "")]()
    available = [preset.__name__ for preset in METHODS.values()]
    raise ValueError(f"Unknown `method` {method!r}; available: {available}, or an EmbeddingConfig.")


def with_options(config: EmbeddingConfig, options: dict[str, Any]) -> EmbeddingConfig:
    """The config with options of its method under the names users know.

    Raises
    ------
    TypeError
        For an unknown option; lists those of the method.
    """
    unknown = sorted(set(options) - set(config.option_names))
    if unknown:
        available = sorted(config.option_names)
        raise TypeError(f"Unknown option {unknown} of method {config.method!r}; available: {available}.")
    values = {name: value for name, value in options.items() if value is not None}
    of_output = {name: values.pop(name) for name in OUTPUT_OPTIONS if name in values}
    own = {name: values.pop(name) for name in list(values) if name not in config.options}
    if own:
        values["of_method"] = replace(config.of_method, **own)
    if of_output:
        values["kwargs_affinity_out"] = dict(config.kwargs_affinity_out or {}) | of_output
    return replace(config, **values)
