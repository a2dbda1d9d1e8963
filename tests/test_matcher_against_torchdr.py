"""The affinity matcher against TorchDR's on blood cells, from the same P and start."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import sc_nembed as ne
from sc_nembed.engine.affinity import EntropicAffinity
from sc_nembed.engine.neighbors import nearest_neighbors

STEPS = 30


@pytest.fixture(scope="module")
def affinity(pbmc):
    """The entropic P as it is defined, (300, 300) float64, sum 1."""
    features = pbmc[:300]
    graph = nearest_neighbors(features - features.mean(0), 90)
    return EntropicAffinity(30)(graph, symmetric=False).to_dense().double()


@pytest.fixture(scope="module")
def start(affinity):
    return torch.from_numpy(np.random.default_rng(0).normal(size=(len(affinity), 2)))


def divergence(affinity, positions, *, itself):
    """−Σ P log Q of the row-normalised Gaussian of sum 1, with or without i = j in the sums of the rows."""
    log_q = -(positions[:, None] - positions[None]).square().sum(2)
    sums = log_q if itself else log_q.masked_fill(torch.eye(len(log_q), dtype=torch.bool), -torch.inf)
    n = len(log_q)
    return float(-(affinity * log_q).sum() + sums.logsumexp(1).sum() / n + np.log(n))


@pytest.mark.parametrize("lr", [1.0, 0.1])
def test_matcher_finds_what_torchdr_finds(affinity, start, lr):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torchdr = pytest.importorskip("torchdr")
        theirs = torchdr.AffinityMatcher(
            affinity_in="precomputed",
            affinity_out=torchdr.NormalizedGaussianAffinity(normalization_dim=1, zero_diag=True),
            loss_fn="cross_entropy_loss",
            init=start.clone(),
            lr=lr,
            max_iter=STEPS,
            min_grad_norm=0.0,
        ).fit_transform(affinity.clone())
    ours = ne.AffinityMatcher(
        "precomputed",
        ne.GaussianAffinity(normalization="row"),
        loss_fn="cross_entropy_loss",
        init=start,
        lr=lr,
        max_iter=STEPS,
    ).fit(affinity)
    found, expected = (divergence(affinity, points.detach(), itself=False) for points in (ours.embedding_, theirs))
    assert found == pytest.approx(ours.history_["loss"][-1], abs=1e-6)
    assert found == pytest.approx(expected, rel=1e-2)  # 1e-6 is found; steps of Adam may drift apart elsewhere


def test_sne_of_torchdr_counts_a_cell_as_its_own_neighbor(affinity, start):
    """So its loss of a layout is above ours by what i = j adds to the sums of the rows, and by nothing else."""
    fit = ne.NeighborEmbedding(
        ne.PrecomputedAffinity(affinity),
        ne.GaussianAffinity(normalization="row"),
        optimizer="Adam",
        init=start,
        max_iter=STEPS,
    ).fit(torch.zeros(len(affinity), 1, dtype=torch.float64) + torch.arange(len(affinity))[:, None])
    points = fit.embedding_
    ours = divergence(affinity, points, itself=False) - np.log(len(affinity))
    assert fit.history_["loss"][-1] == pytest.approx(ours, abs=1e-5)
    assert divergence(affinity, points, itself=True) > divergence(affinity, points, itself=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torchdr = pytest.importorskip("torchdr")
        state = SimpleNamespace(embedding_=points, n_samples_in_=len(points), backend=None)
        theirs = float(torchdr.SNE._compute_repulsive_loss(state))
    attraction = float((affinity * torch.cdist(points, points).square()).sum())
    found = divergence(affinity, points, itself=True) - np.log(len(affinity))
    assert attraction + theirs == pytest.approx(found, abs=1e-8)
