"""Terms: their gradient against finite differences and autograd, their values against brute force."""

import numpy as np
import pytest
import torch

from sc_nembed.engine.affinity import PrecomputedAffinity, UMAPAffinity
from sc_nembed.engine.graph import KnnGraph
from sc_nembed.engine.kernel import StudentT
from sc_nembed.engine.optimizer import weighted_sum
from sc_nembed.engine.radial_sum import RADIAL_SUMS
from sc_nembed.engine.terms import Attraction, Partition
from sc_nembed.engine.world import SERIAL

from . import _truth

N = 50
DOFS = (0.5, 1.0, 2.7)
WEIGHTS = {"attraction": 7.3, "repulsion": 1.9}  # exaggeration, repulsion strength


def some_matrix(n: int = N, seed: int = 0, density: float = 0.3):
    rng = np.random.default_rng(seed)
    weights = rng.uniform(size=(n, n)) * (rng.uniform(size=(n, n)) < density)
    return PrecomputedAffinity(weights)()


def some_positions(n_components: int, n: int = N, scale: float = 2.0) -> torch.Tensor:
    return torch.from_numpy(scale * np.random.default_rng(1).normal(size=(n, n_components)))


def objective(matrix, dof: float = 1.0, *, name: str = "torch", n_components: int = 2, dtype=torch.float64):
    kernel = StudentT(dof)
    plan = RADIAL_SUMS[name](
        kernel, n_components=n_components, tolerance=None, device=torch.device("cpu"), dtype=dtype, world=SERIAL
    )
    return {"attraction": Attraction(matrix, kernel), "repulsion": Partition(plan, matrix.total)}


def forces(terms, positions):
    return {name: term(positions, value=True) for name, term in terms.items()}


def gradient(terms, positions):
    return weighted_sum([(WEIGHTS[name], force) for name, force in forces(terms, positions).items()])[0]


@pytest.mark.parametrize("dof", DOFS)
@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_gradient_equals_finite_differences(n_components, dof):
    matrix, positions, step = some_matrix(), some_positions(n_components), 1e-5
    affinity, expected = _truth.dense(matrix), np.empty((N, n_components))

    def loss(point):
        return _truth.loss(affinity, point, dof=dof, exaggeration=WEIGHTS["attraction"], strength=WEIGHTS["repulsion"])

    for entry in np.ndindex(expected.shape):
        moved = np.zeros_like(expected)
        moved[entry] = step
        expected[entry] = (loss(positions.numpy() + moved) - loss(positions.numpy() - moved)) / (2 * step)
    found = gradient(objective(matrix, dof, n_components=n_components), positions)
    assert _truth.relative(found, expected) <= 1e-6


@pytest.mark.parametrize("dof", DOFS)
@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_gradient_equals_autograd(n_components, dof):
    matrix = some_matrix()
    positions = some_positions(n_components).requires_grad_()
    sq_dist = (positions[:, None] - positions[None]).square().sum(2)
    log_q = -(dof + 1) / 2 * torch.log1p(sq_dist / dof)
    partition = log_q.masked_fill(torch.eye(N, dtype=torch.bool), -torch.inf).exp().sum()
    attraction = -(torch.from_numpy(_truth.dense(matrix)) * log_q).sum()
    loss = WEIGHTS["attraction"] * attraction + WEIGHTS["repulsion"] * matrix.total * partition.log()
    (expected,) = torch.autograd.grad(loss, positions)
    found = gradient(objective(matrix, dof, n_components=n_components), positions.detach())
    assert _truth.relative(found, expected) <= 1e-12


@pytest.mark.parametrize("dof", DOFS)
@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_values_equal_brute_force(n_components, dof):
    matrix, positions = some_matrix(), some_positions(n_components)
    affinity = _truth.dense(matrix)
    found = {
        name: float(f.value) for name, f in forces(objective(matrix, dof, n_components=n_components), positions).items()
    }
    both = _truth.loss(affinity, positions, dof=dof)
    attraction = both - _truth.loss(affinity, positions, dof=dof, exaggeration=0)
    assert found["attraction"] == pytest.approx(attraction, rel=1e-12)
    # the float32 weights add up to `total` within their rounding
    assert found["repulsion"] == pytest.approx((both - attraction) / affinity.sum(), rel=1e-12)


@pytest.mark.parametrize("dof", DOFS)
@pytest.mark.parametrize("n_components", [1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_curvature_is_positive_and_as_documented(dtype, n_components, dof):
    matrix, positions = some_matrix(), some_positions(n_components).to(dtype)
    found = forces(objective(matrix, dof, n_components=n_components, dtype=dtype), positions)
    slope = 0.5 * (dof + 1) / (dof + _truth.sq_distances(positions, positions))
    expected = 4 * (_truth.dense(matrix) * slope).sum(1)
    assert _truth.relative(found["attraction"].curvature, expected) <= 1e-6
    assert found["repulsion"].curvature.tolist() == pytest.approx([0.8 / N], rel=1e-6)
    assert all((force.curvature > 0).all() for force in found.values())


def test_curvature_bounds_the_attraction_along_any_direction():
    """Dividing by it cannot overshoot: the step it gives does not raise the attraction of one cell that moves alone."""
    matrix, positions = some_matrix(), some_positions(2, scale=0.5)
    affinity = _truth.dense(matrix)
    term = objective(matrix)["attraction"]
    force = term(positions, value=True)
    attraction = lambda z: -(affinity * np.log(_truth.student(_truth.sq_distances(z, z)))).sum()  # noqa: E731
    for cell in range(N):
        moved = positions.clone()
        moved[cell] -= force.gradient[cell] / force.curvature[cell]
        assert attraction(moved) <= attraction(positions)


@pytest.mark.parametrize("name", RADIAL_SUMS)
def test_total_weighs_the_partition_of_affinities_that_do_not_sum_to_one(name):
    rng = np.random.default_rng(0)
    indices = np.stack([rng.choice(np.delete(np.arange(N), i), 8, replace=False) for i in range(N)])
    graph = KnnGraph(
        torch.from_numpy(indices.astype(np.int32)),
        torch.from_numpy(np.sort(rng.uniform(1, 2, (N, 8))).astype(np.float32)),
    )
    matrix, positions = UMAPAffinity(9)(graph), some_positions(2)
    assert matrix.total > 2
    force = objective(matrix, name=name)["repulsion"](positions, value=True)
    mass, push = _truth.radial_sum(positions, positions, 0)
    assert float(force.value) == pytest.approx(matrix.total * np.log(mass.sum()), rel=1e-4)
    assert _truth.relative(force.gradient, 4 * matrix.total * push / mass.sum()) <= 1e-2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_value_is_left_out_unless_asked_for(dtype):
    terms = objective(some_matrix(), dtype=dtype)
    for term in terms.values():
        without, with_value = (term(some_positions(2).to(dtype), value=asked) for asked in (False, True))
        assert without.value is None
        assert with_value.value.ndim == 0
        assert torch.equal(without.gradient, with_value.gradient)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_terms_leave_positions_as_they_are(dtype):
    positions = some_positions(2).to(dtype)
    before = positions.clone()
    forces(objective(some_matrix(), dtype=dtype), positions)
    assert torch.equal(positions, before)


def test_kernel_without_degrees_of_freedom_raises():
    with pytest.raises(ValueError, match="dof"):
        StudentT(0.0)
