"""Presets: functions that return an `EmbeddingConfig`. What a method does by default is decided here.

What all methods share are the defaults of the config's fields; the schedules are in `engine.phases`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from . import objective, phases
from .config import EmbeddingConfig
from .objective.contrastive import ContrastOptions, InfoNCEOptions, NCEOptions, NegativeSamplingOptions
from .objective.force_atlas2 import ForceAtlas2Options
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
        schedule=phases.of_umap,
        terms=objective.umap,
        automatic=PreconditionedNesterov(max_step=0.5, max_step_span=0.0),
        options=("a", "b", "exclude_neighbors", "min_dist", "negative_sample_rate", "repulsion", "spread"),
    )


def neg_tsne() -> EmbeddingConfig:
    """t-SNE's kernel by negative sampling (Damrich et al. 2023), with the defaults of contrastive-ne.

    15 neighbors, uniform; 5 negatives for each cell. By default all pairs stand for the negatives, in the mean over all
    draws, with `repulsion="sampled"` they are drawn. The estimator is q / (q + 1), whose embeddings are like UMAP's;
    with `Z_bar` it is q / (q + 5 Z_bar / n²), which at 100 n is like t-SNE's.
    """
    return EmbeddingConfig(
        method="neg_tsne",
        affinity_out=StudentAffinity(normalization=None),
        search_affinity="uniform",
        schedule=phases.of_contrast,
        terms=objective.negative_sampling,
        of_method=NegativeSamplingOptions(),
        options=("tolerance",),
    )


def largevis() -> EmbeddingConfig:
    """LargeVis (Tang et al. 2016), its defaults: perplexity 50, 5 negatives, each of weight 7, forces of at most 5.

    The weight γ = 7 is the `repulsion_strength`. By default all pairs stand for the negatives, in the mean over all
    draws (uniform ones; LargeVis draws by degree to the power 0.75), with `repulsion="sampled"` they are drawn.
    """
    return EmbeddingConfig(
        method="largevis",
        affinity_out=StudentAffinity(normalization=None),
        repulsion_strength=7.0,
        usual_perplexity=50.0,
        schedule=phases.of_contrast,
        terms=objective.largevis,
        of_method=ContrastOptions(),
        options=("tolerance",),
    )


def nce() -> EmbeddingConfig:
    """t-SNE's kernel by noise-contrastive estimation, as NCVis (Artemenkov & Panov 2020), defaults of contrastive-ne.

    15 neighbors, uniform; 5 negatives are drawn for each cell in each step. The partition is learned.
    """
    return EmbeddingConfig(
        method="nce",
        affinity_out=StudentAffinity(normalization=None),
        search_affinity="uniform",
        schedule=phases.of_drawn,
        terms=objective.nce,
        of_method=NCEOptions(),
    )


def info_tsne() -> EmbeddingConfig:
    """InfoNCE with t-SNE's kernel (Damrich et al. 2023), with the perplexity of 30 and the 300 negatives of TorchDR.

    By default the denominator holds the positive and the negatives, as in the paper and in contrastive-ne; with
    `with_positive=False` the negatives alone, as in TorchDR. With all other cells as negatives and without the positive
    it is SNE with t-SNE's kernel.
    """
    return EmbeddingConfig(
        method="info_tsne",
        affinity_out=StudentAffinity(normalization=None),
        schedule=phases.of_drawn,
        terms=objective.info_nce,
        of_method=InfoNCEOptions(),
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


def force_atlas2() -> EmbeddingConfig:
    """ForceAtlas2 (Jacomy et al. 2014) with the defaults of `scanpy.tl.draw_graph`, and its lengths.

    Of a finished graph the connectivities are taken as they are; of a representation UMAP's affinities of 15 neighbors.
    The start is scaled to what the graph says of the size of its layout.
    """
    return EmbeddingConfig(
        method="force_atlas2",
        affinity_out=GaussianAffinity(normalization=None),
        search_affinity="umap",
        graph_affinity="umap",
        reads_weights=True,
        named_init_scaling=objective.start_size,
        schedule=phases.of_force_atlas2,
        terms=objective.force_atlas2,
        automatic=PreconditionedNesterov(max_step=0.0, max_step_span=0.1),
        of_method=ForceAtlas2Options(),
    )


METHODS = {
    "affinitymatcher": affinity_matcher,
    "forceatlas2": force_atlas2,
    "infotsne": info_tsne,
    "largevis": largevis,
    "nce": nce,
    "negtsne": neg_tsne,
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
