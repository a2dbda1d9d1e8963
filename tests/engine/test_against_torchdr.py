"""Input affinities against those of TorchDR, another implementation, on the same cells; it computes in float64 here.

Every comparison is the L1 norm of the difference of dense matrices over that of TorchDR's. `UniformAffinity` and
`PrecomputedAffinity` have no counterpart there.
"""

import warnings

import numpy as np
import pytest
import torch

from sc_nembed.engine.affinity import (
    DoublyStochasticQuadraticAffinity,
    EntropicAffinity,
    InputAffinity,
    MAGICAffinity,
    NormalizedGaussianAffinity,
    NormalizedStudentAffinity,
    PACMAPAffinity,
    PHATEAffinity,
    SelfTuningAffinity,
    SinkhornAffinity,
    SymmetricEntropicAffinity,
    UMAPAffinity,
)
from sc_nembed.engine.compute import backend
from sc_nembed.engine.neighbors import nearest_neighbors

from . import _truth

with warnings.catch_warnings():  # torchdr and what it imports, about themselves
    warnings.simplefilter("ignore")
    torchdr = pytest.importorskip("torchdr")

pytestmark = pytest.mark.filterwarnings("ignore:::torch.*")
DIMENSIONS = {"all": (0, 1), "row": 1, None: None}  # what TorchDR calls our `normalization`


@pytest.fixture(scope="module")
def points(pbmc) -> torch.Tensor:
    return pbmc[:200].contiguous()


def ours(affinity: InputAffinity, points: torch.Tensor, *, symmetric: bool) -> np.ndarray:
    graph = nearest_neighbors(points, affinity.n_neighbors(len(points)))
    return _truth.dense(affinity(graph, symmetric=symmetric))


def listed(found: tuple[torch.Tensor, torch.Tensor]) -> np.ndarray:
    """TorchDR's rows of values and columns, −1 where there is none, as a dense matrix."""
    values, columns = (part.numpy() for part in found)
    full, (rows, places) = np.zeros((len(values), len(values))), np.nonzero(columns >= 0)
    np.add.at(full, (rows, columns[rows, places]), values[rows, places])
    return full


def hollow(full: np.ndarray, normalization: str | None) -> np.ndarray:
    """Without the diagonal, normalised over the rest."""
    full = full - np.diag(full.diagonal())
    if normalization == "row":
        return full / (full.sum(1, keepdims=True) * len(full))
    return full if normalization is None else full / full.sum()


def difference(found: np.ndarray, theirs: np.ndarray) -> float:
    value = np.abs(found - theirs).sum() / np.abs(theirs).sum()
    print(f"{value:.1e}")
    return value


@pytest.mark.parametrize("perplexity", [5, 30])
def test_entropic(points, perplexity):
    theirs = torchdr.EntropicAffinity(perplexity=perplexity)(points.double())
    found = ours(EntropicAffinity(perplexity), points, symmetric=False)  # theirs is not symmetrised
    assert difference(found, listed(theirs)) <= 5e-6


@pytest.mark.parametrize("n_neighbors", [5, 15, 50])
def test_umap(points, n_neighbors):
    # its default are squared distances; UMAP is defined by distances as they are
    theirs = torchdr.UMAPAffinity(n_neighbors=n_neighbors, metric="euclidean")(points.double())
    found = ours(UMAPAffinity(n_neighbors), points, symmetric=True)
    assert difference(found, listed(theirs)) <= 1e-5  # both search σ until Σ is within 1e-5


@pytest.mark.parametrize("normalization", DIMENSIONS)
@pytest.mark.parametrize("sigma", [1.0, 100.0])
def test_normalized_gaussian(points, sigma, normalization):
    theirs = torchdr.NormalizedGaussianAffinity(sigma=sigma, normalization_dim=DIMENSIONS[normalization])
    found = ours(NormalizedGaussianAffinity(sigma, normalization), points, symmetric=False)  # nor is this one
    assert difference(found, theirs(points.double()).numpy()) <= 2e-6


@pytest.mark.parametrize("normalization", DIMENSIONS)
@pytest.mark.parametrize("dof", [0.1, 1.0, 5.0])
def test_normalized_student(points, dof, normalization):
    theirs = torchdr.NormalizedStudentAffinity(degrees_of_freedom=dof, normalization_dim=DIMENSIONS[normalization])
    found = ours(NormalizedStudentAffinity(dof, normalization), points, symmetric=False)
    # its diagonal is a squared distance of 1e12, so the kernel of it stays: 1e-12 at dof 1, 7e-8 at dof 0.1
    assert difference(found, hollow(theirs(points.double()).numpy(), normalization)) <= 1e-6


@pytest.mark.parametrize("perplexity", [30, 100])
def test_symmetric_entropic(points, perplexity):
    # its defaults (500 steps of Adam from μ = ε = 1) end 34 % and 44 % away; 5000 steps converge on points whose mean
    # squared distance is 1, a unit that changes nothing in P
    unit = float(np.sqrt(_truth.sq_distances(points, points).mean()))
    solver = torchdr.SymmetricEntropicAffinity(perplexity=perplexity, tol=1e-7, max_iter=5000)
    with backend.torch_threads(1):  # faster: the matrices are small
        theirs = solver(points.double() / unit).numpy()
    assert np.abs(200 * theirs.sum(1) - 1).max() <= 1e-5
    found = ours(SymmetricEntropicAffinity(perplexity), points, symmetric=True)
    assert difference(found, theirs) <= 2e-5


def worst_row(full: np.ndarray) -> float:
    return float(np.abs(len(full) * full.sum(1) - 1).max())


@pytest.mark.parametrize(("base_kernel", "eps"), [("gaussian", 30.0), ("gaussian", 300.0), ("student", 0.3)])
def test_sinkhorn(points, base_kernel, eps):
    # its default is 1000 iterations; with the student kernel its diagonal is exp(−27.6 / eps), small at this eps alone
    solver = torchdr.SinkhornAffinity(eps=eps, base_kernel=base_kernel, tol=1e-9, max_iter=20_000)
    theirs = solver(points.double()).numpy()
    assert worst_row(theirs) <= 1e-6
    assert difference(ours(SinkhornAffinity(eps, base_kernel), points, symmetric=True), theirs) <= 2e-6


def test_sinkhorn_of_torchdr_does_not_reach_a_small_eps(points):
    """After its 1000 iterations rows are off by more than 1 in 1000, of ours by less than 1 in 100 000."""
    assert worst_row(torchdr.SinkhornAffinity(eps=3.0)(points.double()).numpy()) > 1e-3
    assert worst_row(ours(SinkhornAffinity(3.0), points, symmetric=True)) <= 1e-5


@pytest.mark.parametrize(("base_kernel", "eps"), [("gaussian", 10.0), ("student", 10.0), ("student", 100.0)])
def test_doubly_stochastic_quadratic(points, base_kernel, eps):
    # eps at which its 1000 steps of Adam converge; the duals have another unit, P has not
    theirs = torchdr.DoublyStochasticQuadraticAffinity(eps=eps, base_kernel=base_kernel)(points.double()).numpy()
    assert worst_row(theirs) <= 1e-5
    found = ours(DoublyStochasticQuadraticAffinity(eps, base_kernel), points, symmetric=True)
    assert difference(found, theirs) <= 1e-5


def test_doubly_stochastic_quadratic_of_torchdr_does_not_reach_a_large_eps(points):
    theirs = torchdr.DoublyStochasticQuadraticAffinity(eps=1000.0)(points.double()).numpy()
    assert worst_row(theirs) > 1e-2
    assert worst_row(ours(DoublyStochasticQuadraticAffinity(1000.0), points, symmetric=True)) <= 1e-5


def test_self_tuning_of_torchdr_takes_the_square_of_the_width(points):
    """Its σ is the k-th smallest squared distance, so that the unit of the data counts: at a tenth of it P is another
    one. That of the paper is a distance; given the same σ, formulas agree."""
    sq_dist = _truth.sq_distances(points, points)
    square = np.sort(sq_dist, axis=1)[:, 7]

    def formula(sigma):
        return hollow(np.exp(-sq_dist / (sigma[:, None] * sigma)), "all")

    theirs = torchdr.SelfTuningAffinity()
    assert difference(formula(square), theirs(points.double()).numpy()) <= 1e-6
    assert difference(theirs(points.double() / 10).numpy(), theirs(points.double()).numpy()) > 0.5
    affinity = SelfTuningAffinity(n_nearest="all")
    assert difference(ours(affinity, points, symmetric=False), formula(np.sqrt(square))) <= 2e-6
    scaled = ours(affinity, points / 10, symmetric=False)
    assert difference(scaled, ours(affinity, points, symmetric=False)) <= 2e-5


def test_magic(points):
    theirs = torchdr.MAGICAffinity()(points.double()).numpy() / 200  # its rows sum to 1, of all pairs
    assert difference(ours(MAGICAffinity(n_nearest="all"), points, symmetric=False), theirs) <= 2e-6


@pytest.mark.parametrize("k", [5, 10])
def test_pacmap(points, k):
    _, theirs = torchdr.PACMAPAffinity(n_neighbors=k)(points.double())
    found = PACMAPAffinity(k)(nearest_neighbors(points, k + 50), symmetric=False)
    np.testing.assert_array_equal(found.indices.reshape(200, k), theirs)


@pytest.mark.parametrize(("alpha", "t", "tolerance"), [(10.0, 5, 3e-4), (40.0, 20, 3e-4)])
def test_phate(points, alpha, t, tolerance):
    # it counts the cell itself among its k, keeps all values of its kernel and adds nothing to Pᵗ
    theirs = torchdr.PHATEAffinity(k=6, alpha=alpha, t=t)(points.double()).numpy()
    affinity = PHATEAffinity(5, alpha, t)
    found = affinity(nearest_neighbors(points, 199)).values.numpy()
    assert difference(found, theirs) <= tolerance
