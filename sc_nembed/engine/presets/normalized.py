"""Methods whose Q is normalised, and losses between any P and Q."""

from __future__ import annotations

from .. import objective, phases
from ..config import EmbeddingConfig
from ..optimize.riemannian_adam import RiemannianAdam
from ..output_affinity import GaussianAffinity, StudentAffinity


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


def tsnekhorn() -> EmbeddingConfig:
    """TSNEkhorn (Van Assel et al. 2023): the rows of Q sum to those of P, both doubly stochastic; otherwise as t-SNE.

    Of a representation P is the symmetric entropic affinity, perplexity 30, up to 10 000 cells. A finished graph is
    read as by t-SNE; the rows of its P, and so those of Q, are not all equal.
    """
    return EmbeddingConfig(
        method="tsnekhorn",
        affinity_out=StudentAffinity(normalization="sinkhorn"),
        search_affinity="symmetric_entropic",
        schedule=phases.of_tsne,
        terms=objective.by_normalization,
        options=("dof", "tolerance"),
    )


def cosne() -> EmbeddingConfig:
    """CO-SNE (Guo, Guo & Yu 2022): t-SNE in the Poincaré ball, with a term for the norms of the features."""
    return EmbeddingConfig(
        method="cosne",
        affinity_out=None,
        init="hyperbolic",
        named_init_scaling=1.0,
        has_output=False,
        in_ball=True,
        schedule=phases.of_cosne,
        terms=objective.cosne,
        automatic=RiemannianAdam(),
        of_method=objective.CosneOptions(),
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
        dense=True,
        schedule=phases.plain,
        terms=objective.matching,
        options=("kwargs_loss", "loss_fn"),
    )
