"""Methods that tell neighbors from other cells, drawn or all of them."""

from __future__ import annotations

from .. import objective, phases
from ..config import EmbeddingConfig
from ..objective.contrastive import ContrastOptions, InfoNCEOptions, NCEOptions, NegativeSamplingOptions
from ..optimize.optimizer import PreconditionedNesterov
from ..output_affinity import RationalAffinity, StudentAffinity


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


def nc_tsne() -> EmbeddingConfig:
    """t-SNE's kernel by noise-contrastive estimation, as in NCVis (Artemenkov & Panov 2020; Damrich et al. 2023).

    The defaults are those of contrastive-ne: 15 neighbors, uniform; 5 negatives are drawn for each cell in each step;
    the partition is learned. The start has the standard deviation 1, and nothing is exaggerated.
    """
    return EmbeddingConfig(
        method="nc_tsne",
        affinity_out=StudentAffinity(normalization=None),
        search_affinity="uniform",
        schedule=phases.of_drawn,
        named_init_scaling=1.0,
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
        named_init_scaling=1.0,
        terms=objective.info_nce,
        of_method=InfoNCEOptions(),
    )
