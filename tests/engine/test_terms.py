"""Terms: their gradient against finite differences and autograd, their values against brute force."""

import numpy as np
import pytest
import torch

from sc_nembed.engine.affinity import PrecomputedAffinity, UMAPAffinity
from sc_nembed.engine.graph import KnnGraph
from sc_nembed.engine.kernel import Gaussian, Rational, RationalRepulsion, StudentT
from sc_nembed.engine.optimize.protocol import weighted_sum
from sc_nembed.engine.radial_sum import RADIAL_SUMS
from sc_nembed.engine.radial_sum import _spacing as spacings
from sc_nembed.engine.terms import Attraction, Autograd, ExpectedRepulsion, Mass, Partition, RowPartition
from sc_nembed.engine.view import View
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
    return {name: term(View.whole(positions), value=True) for name, term in terms.items()}


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
    force = term(View.whole(positions), value=True)
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
    force = objective(matrix, name=name)["repulsion"](View.whole(positions), value=True)
    mass, push = _truth.radial_sum(positions, positions, 0)
    assert float(force.value) == pytest.approx(matrix.total * np.log(mass.sum()), rel=1e-4)
    assert _truth.relative(force.gradient, 4 * matrix.total * push / mass.sum()) <= 1e-2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_value_is_left_out_unless_asked_for(dtype):
    terms = objective(some_matrix(), dtype=dtype)
    for term in terms.values():
        without, with_value = (term(View.whole(some_positions(2).to(dtype)), value=asked) for asked in (False, True))
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


# --- every kernel with every repulsion ---

# kernel, and log q as a function of the squared distance
KERNELS = {
    "student 0.5": (StudentT(0.5), lambda u: -0.75 * torch.log1p(u / 0.5)),
    "student 1": (StudentT(), lambda u: -torch.log1p(u)),
    "gaussian 1": (Gaussian(), lambda u: -u),
    "gaussian 2.5": (Gaussian(2.5), lambda u: -u / 2.5),
    "rational 0.9": (Rational(1.577, 0.895), lambda u: -torch.log1p(1.577 * u**0.895)),
    "rational 1.3": (Rational(0.583, 1.334), lambda u: -torch.log1p(0.583 * u**1.334)),
}
# of log q, whose diagonal is empty, and the masses of the rows
REPULSIONS = {
    "all": lambda log_q, row_mass: row_mass.sum() * log_q.flatten().logsumexp(0),
    "row": lambda log_q, row_mass: (row_mass * log_q.logsumexp(1)).sum(),
    "none": lambda log_q, row_mass: log_q.exp().sum(),
}
every_kernel = pytest.mark.parametrize("kernel", KERNELS)
every_repulsion = pytest.mark.parametrize("kind", REPULSIONS)
with_and_without_counts = pytest.mark.parametrize("counted", [False, True], ids=["distinct", "duplicates"])
PRECISIONS = [torch.float32, torch.float64]


def plan_of(potential, dtype, n_components: int = 2, name: str = "torch"):
    return RADIAL_SUMS[name](
        potential, n_components=n_components, tolerance=None, device=torch.device("cpu"), dtype=dtype, world=SERIAL
    )


def some_masses(n: int, counted: bool = False) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Masses of the rows of P, of which one is 0, and how many cells each row stands for."""
    rng = np.random.default_rng(5)
    row_mass = rng.uniform(0.5, 1.5, n) / n
    row_mass[3] = 0
    return torch.from_numpy(row_mass), torch.from_numpy(rng.integers(1, 5, n).astype(float)) if counted else None


def repulsion(kind, kernel, row_mass, counts, dtype=torch.float64, n_components: int = 2):
    kernel, total = KERNELS[kernel][0], float(row_mass.sum())
    counts = None if counts is None else counts.to(dtype)
    if kind == "row":
        return RowPartition(kernel, row_mass.to(dtype), total, None, counts)
    return {"all": Partition, "none": Mass}[kind](plan_of(kernel, dtype, n_components), total, counts)


def repeated(counts, n: int) -> torch.Tensor:
    """The row that each cell is a copy of."""
    return torch.arange(n) if counts is None else torch.arange(n).repeat_interleave(counts.long())


def true_repulsion(kind, kernel, positions, row_mass, counts):
    """Value and gradient by autograd, of all copies one by one; those of one row are at distance 0, where q is 1."""
    leaf = positions.double().requires_grad_()
    row = repeated(counts, len(leaf))
    twins = row[:, None] == row
    sq_dist = (leaf[row][:, None] - leaf[row]).square().sum(2)
    log_q = KERNELS[kernel][1](torch.where(twins, 1.0, sq_dist)).masked_fill(twins, 0.0)
    log_q = log_q.masked_fill(torch.eye(len(row), dtype=torch.bool), -torch.inf)
    each = row_mass if counts is None else row_mass / counts
    value = REPULSIONS[kind](log_q, each[row])
    return value.detach(), torch.autograd.grad(value, leaf)[0]


@with_and_without_counts
@every_kernel
@every_repulsion
@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_repulsion_equals_brute_force_and_autograd(n_components, kind, kernel, counted):
    positions, (row_mass, counts) = some_positions(n_components), some_masses(N, counted)
    force = repulsion(kind, kernel, row_mass, counts, n_components=n_components)(View.whole(positions), value=True)
    value, gradient = true_repulsion(kind, kernel, positions, row_mass, counts)
    assert float(force.value) == pytest.approx(float(value), rel=1e-10)
    assert _truth.relative(force.gradient, gradient) <= 1e-10


@with_and_without_counts
@every_kernel
@every_repulsion
def test_repulsion_is_the_gradient_of_its_own_value(kind, kernel, counted):
    """By finite differences along three directions."""
    positions, step = some_positions(2), 1e-5
    term = repulsion(kind, kernel, *some_masses(N, counted))
    force = term(View.whole(positions), value=False)
    for direction in torch.from_numpy(np.random.default_rng(7).normal(size=(3, N, 2))):
        ends = (term(View.whole(positions + sign * step * direction), value=True).value for sign in (1, -1))
        expected = float(next(ends) - next(ends)) / (2 * step)
        assert float((force.gradient * direction).sum()) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@every_kernel
@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_attraction_equals_autograd(n_components, kernel):
    matrix, leaf = some_matrix(), some_positions(n_components).requires_grad_()
    affinity, (kernel, log_q) = torch.from_numpy(_truth.dense(matrix)), KERNELS[kernel]
    itself = torch.eye(N, dtype=torch.bool)
    sq_dist = torch.where(itself, 1.0, (leaf[:, None] - leaf).square().sum(2))
    value = -(affinity * log_q(sq_dist).masked_fill(itself, 0.0)).sum()
    (gradient,) = torch.autograd.grad(value, leaf)
    force = Attraction(matrix, kernel)(View.whole(leaf.detach()), value=True)
    assert float(force.value) == pytest.approx(float(value.detach()), rel=1e-12)
    assert _truth.relative(force.gradient, gradient) <= 1e-12


def test_attraction_is_the_clipped_force_of_each_edge_added_up():
    matrix, positions = some_matrix(), some_positions(2, scale=0.2)
    force = Attraction(matrix, Rational(100.0, 1.0, clip=4.0))(View.whole(positions), value=False)
    difference = positions.numpy()[:, None] - positions.numpy()
    distance = np.linalg.norm(difference, axis=2) + np.eye(N)
    strength = np.minimum(200 * distance / (1 + 100 * distance**2), 4)  # −2 r d log q / du
    assert (strength == 4).any()
    pulls = (_truth.dense(matrix) * strength / distance)[:, :, None] * difference
    assert _truth.relative(force.gradient, 2 * pulls.sum(1)) <= 1e-12


@with_and_without_counts
@every_kernel
@every_repulsion
@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_fused_repulsion_equals_plain(n_components, kind, kernel, counted):
    """float32, through the numba twins, against torch in float64."""
    cloud, (row_mass, counts) = some_positions(n_components, 300).float(), some_masses(300, counted)
    single, double = (
        repulsion(kind, kernel, row_mass, counts, dtype, n_components)(View.whole(cloud.to(dtype)), value=True)
        for dtype in PRECISIONS
    )
    assert (single.gradient.dtype, single.gradient.shape) == (torch.float32, cloud.shape)
    assert _truth.relative(single.gradient, double.gradient) <= 1e-5
    assert float(single.value) == pytest.approx(float(double.value), rel=1e-5)
    assert _truth.relative(single.curvature, double.curvature) <= 1e-5


@pytest.mark.parametrize(
    "kernel", [*(kernel for kernel, _ in KERNELS.values()), Rational(100.0, 1.0, clip=4.0)], ids=str
)
@pytest.mark.parametrize("n_components", [1, 2, 3, 4])
def test_fused_attraction_equals_plain(n_components, kernel):
    term, cloud = Attraction(some_matrix(300, density=0.05), kernel), some_positions(n_components, 300).float()
    cloud[7] = cloud[8] = cloud[9]
    single, double = (term(View.whole(cloud.to(dtype)), value=True) for dtype in PRECISIONS)
    for part in ("gradient", "curvature", "value"):
        assert _truth.relative(getattr(single, part), getattr(double, part)) <= 1e-5, part


@with_and_without_counts
@pytest.mark.parametrize("kernel", ["gaussian 1", "gaussian 2.5"])
@pytest.mark.parametrize("n_components", [1, 2, 3])
@pytest.mark.parametrize("dtype", PRECISIONS, ids=["float32", "float64"])
def test_rows_of_cells_far_from_all_others_are_right(dtype, n_components, kernel, counted):
    """One cell 40 units away, where exp(−1600) is 0 also in float64, and two, near each other, on the other side."""
    cloud, (row_mass, counts) = some_positions(n_components, 200, scale=0.7).float(), some_masses(200, counted)
    cloud[11:14, 0] = torch.tensor([40.0, -40.0, -40.5])
    if counted:
        counts[11:14] = torch.tensor([1.0, 1.0, 3.0])
    force = repulsion("row", kernel, row_mass, counts, dtype, n_components)(View.whole(cloud.to(dtype)), value=True)
    value, gradient = true_repulsion("row", kernel, cloud, row_mass, counts)
    tolerance = (
        1e-3 if dtype == torch.float32 else 1e-10
    )  # 1600 in float32 is a number to 1e-4, its exponential to 2e-4
    assert float(force.value) == pytest.approx(float(value), rel=1e-3 * tolerance)
    near = [i for i in range(200) if i not in (11, 12, 13)]
    for cells in ([11], [12], [13], near):
        assert _truth.relative(force.gradient[cells], gradient[cells]) <= tolerance


@every_kernel
@every_repulsion
@pytest.mark.parametrize("dtype", PRECISIONS, ids=["float32", "float64"])
def test_counts_stand_for_repeated_rows(dtype, kind, kernel):
    """At one place each: the same value, and the sum of the gradients and curvatures over the copies."""
    positions, (row_mass, counts) = some_positions(2).to(dtype), some_masses(N, counted=True)
    row = repeated(counts, N)
    merged = repulsion(kind, kernel, row_mass, counts, dtype)(View.whole(positions), value=True)
    apart = repulsion(kind, kernel, (row_mass / counts)[row], None, dtype)(View.whole(positions[row]), value=True)
    tolerance = 1e-6 if dtype == torch.float64 else 2e-5  # q(0) of the rational kernel is 1 to 1e-7
    assert float(merged.value) == pytest.approx(float(apart.value), rel=tolerance)
    gradient = torch.zeros_like(positions).index_add_(0, row, apart.gradient)
    assert _truth.relative(merged.gradient, gradient) <= tolerance
    curvature = merged.curvature.new_zeros(N).index_add_(0, row, apart.curvature.expand(len(row)))
    assert _truth.relative(merged.curvature, curvature) <= tolerance


NEAR = {1: 2.0, 2: 2.0, 3: 1.0}  # so that no Gaussian sum is too small


@with_and_without_counts
@every_kernel
@pytest.mark.parametrize("n_components", [1, 2, 3])
@pytest.mark.parametrize(("name", "tolerance"), [("torch", 1e-12), ("fft", 1.5e-2)])
def test_rows_by_radial_sums_equal_rows_by_logarithms(name, tolerance, n_components, kernel, counted):
    """Where no sum is too small for the grid."""
    kernel, positions = KERNELS[kernel][0], some_positions(n_components, 400, scale=NEAR[n_components])
    row_mass, counts = some_masses(400, counted)
    by_logarithms, by_plan = (
        RowPartition(kernel, row_mass, 1.0, plan, counts)(View.whole(positions), value=True)
        for plan in (None, plan_of(kernel, torch.float64, n_components, name=name))
    )
    assert _truth.relative(by_plan.gradient, by_logarithms.gradient) <= tolerance
    assert float(by_plan.value) == pytest.approx(float(by_logarithms.value), rel=max(1e-12, 1e-2 * tolerance))


@pytest.mark.parametrize("name", ["torch", "fft"])
@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_rows_too_small_for_a_radial_sum_stay_finite_and_leave_the_others_right(name, n_components):
    positions, (row_mass, _) = some_positions(n_components, 400, scale=NEAR[n_components]).float(), some_masses(400)
    positions[11] = 40.0 * torch.eye(n_components)[0]
    kernel = Gaussian()
    by_logarithms, by_plan = (
        RowPartition(kernel, row_mass.float(), 1.0, plan)(View.whole(positions), value=True)
        for plan in (None, plan_of(kernel, torch.float32, n_components, name=name))
    )
    assert torch.isfinite(by_plan.gradient).all()
    assert torch.isfinite(by_plan.value)
    central = positions.norm(dim=1) < 2
    assert central.sum() > 100
    assert _truth.relative(by_plan.gradient[central], by_logarithms.gradient[central]) <= 1e-2


def test_curvature_of_a_sum_that_is_not_normalised_grows_with_it():
    positions, (row_mass, counts) = some_positions(2), some_masses(N, counted=True)
    for given in (None, counts):
        force = repulsion("none", "student 1", row_mass, given)(View.whole(positions), value=False)
        weights = np.ones(N) if given is None else given.numpy()
        mass, _ = _truth.radial_sum(positions, positions, 0, weights=weights)
        expected = 4 * weights * (mass + weights - 1) + 0.8 * float(row_mass.sum()) * weights / weights.sum()
        np.testing.assert_allclose(force.curvature, expected, rtol=1e-12)


def test_any_differentiable_function_is_a_term():
    positions = some_positions(2)
    term = Autograd(lambda z: (z**3).sum())
    force = term(View.whole(positions), value=True)
    torch.testing.assert_close(force.gradient, 3 * positions**2)
    assert float(force.value) == pytest.approx(float((positions**3).sum()))
    assert not force.value.requires_grad
    assert not positions.requires_grad
    assert force.curvature is None
    with torch.no_grad():
        assert term(View.whole(positions), value=False).value is None


# --- UMAP ---

UMAPS = [(1.577, 0.895), (0.583, 1.334)]  # min_dist 0.1 and 0.5
every_umap = pytest.mark.parametrize(("a", "b"), UMAPS)
RATE = 3.0


def some_degrees(n: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(8).uniform(1, 6, n))


def umap_sums(a: float, b: float, positions, weights) -> tuple[np.ndarray, np.ndarray]:
    """Of all others: Σⱼ wⱼ (−log(1 − qᵢⱼ)) (n,) and its force (n, d): at most 4 for a pair, and linear up to 0.01."""
    radius, core = np.linspace(1e-3, 2, 400_001), 0.01
    edge = radius[2 * b / (radius * (1 + a * radius ** (2 * b))) >= 4].max()  # to 5e-6
    difference = np.asarray(positions)[:, None] - np.asarray(positions)
    distance = np.linalg.norm(difference, axis=2) + 1e9 * np.eye(len(difference))
    value = np.log1p(1 / (a * np.maximum(distance, edge) ** (2 * b)))
    value += 4 * np.maximum(edge - np.maximum(distance, core), 0) + 2 / core * np.maximum(core**2 - distance**2, 0)
    force = np.minimum(2 * b / (distance * (1 + a * distance ** (2 * b))), 4 * np.minimum(distance / core, 1))
    np.fill_diagonal(value, 0)
    np.fill_diagonal(force, 0)
    return value @ weights, ((force * weights / distance)[:, :, None] * difference).sum(1)


def spread_out(n: int, scale: float) -> torch.Tensor:
    """As an embedding by UMAP is: no two cells in one place."""
    side = int(np.ceil(np.sqrt(n)))
    lattice = np.stack(np.meshgrid(np.arange(side), np.arange(side)), 2).reshape(-1, 2)[:n] - side / 2
    return torch.from_numpy(scale * (lattice + np.random.default_rng(2).uniform(-0.35, 0.35, (n, 2))))


@with_and_without_counts
@every_umap
@pytest.mark.parametrize(
    ("name", "dtype", "tolerance", "value_tolerance"),
    [
        ("torch", torch.float64, 1e-6, 1e-6),
        ("torch", torch.float32, 1e-5, 1e-5),
        # the grid smooths the corner at the clip distance, near which a few pairs of each cell lie
        ("fft", torch.float64, 0.1, 1e-3),
        ("fft", torch.float32, 0.1, 1e-3),
    ],
)
@pytest.mark.parametrize(("n", "scale"), [(60, 0.4), (900, 0.4), (900, 1.5)])
def test_expected_repulsion_equals_brute_force(n, scale, name, dtype, tolerance, value_tolerance, a, b, counted):
    positions, degree, (_, counts) = spread_out(n, scale), some_degrees(n), some_masses(n, counted)
    plan = plan_of(RationalRepulsion(a, b), dtype, name=name)
    term = ExpectedRepulsion(plan, degree.to(dtype), RATE, None if counts is None else counts.to(dtype))
    force = term(View.whole(positions.to(dtype)), value=True)
    weights = np.ones(n) if counts is None else counts.numpy()
    value, push = umap_sums(a, b, positions, weights)
    per_cell = degree.numpy() * RATE / weights.sum()
    assert float(force.value) == pytest.approx(per_cell @ value, rel=value_tolerance)
    # a gradient: the cell moves against it
    assert _truth.relative(force.gradient, -per_cell[:, None] * push) <= tolerance
    np.testing.assert_allclose(force.curvature, degree * RATE / 5, rtol=1e-6)


@every_umap
@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_expected_repulsion_of_any_positions_in_any_dimension(n_components, a, b):
    positions, degree = some_positions(n_components), some_degrees(N)
    positions[7:10] = positions[7] + torch.tensor([[0.0], [0.004], [0.02]])
    value, push = umap_sums(a, b, positions, np.ones(N))
    for dtype in PRECISIONS:
        plan = plan_of(RationalRepulsion(a, b), dtype, n_components)
        force = ExpectedRepulsion(plan, degree.to(dtype), RATE)(View.whole(positions.to(dtype)), value=True)
        assert _truth.relative(force.gradient, -(degree.numpy() * RATE / N)[:, None] * push) <= 1e-5
        assert float(force.value) == pytest.approx(degree.numpy() * RATE / N @ value, rel=1e-5)


@every_umap
def test_force_of_umap_is_half_the_gradient_of_its_value_only_where_degrees_are_equal(a, b):
    """It is not the gradient: the value counts a pair with the degrees of both cells, each cell moves by its own."""
    n, step, plan = 12, 1e-6, plan_of(RationalRepulsion(a, b), torch.float64)
    positions = spread_out(n, 0.6)

    def gradient_of(term):
        expected = torch.empty_like(positions)
        for entry in np.ndindex(tuple(positions.shape)):
            moved = torch.zeros_like(positions)
            moved[entry] = step
            ends = [term(View.whole(positions + sign * moved), value=True).value for sign in (1, -1)]
            expected[entry] = (ends[0] - ends[1]) / (2 * step)
        return expected

    equal = ExpectedRepulsion(plan, torch.full((n,), 4.0, dtype=torch.float64), RATE)
    assert _truth.relative(2 * equal(View.whole(positions), value=False).gradient, gradient_of(equal)) <= 1e-6
    different = ExpectedRepulsion(plan, some_degrees(n), RATE)
    assert _truth.relative(2 * different(View.whole(positions), value=False).gradient, gradient_of(different)) > 0.1


@pytest.mark.parametrize("dtype", PRECISIONS, ids=["float32", "float64"])
def test_counts_of_umap_stand_for_repeated_rows(dtype):
    """The force on all copies together; the value leaves out what copies at one place cost each other, a constant."""
    potential, positions, (_, counts) = RationalRepulsion(*UMAPS[0]), spread_out(N, 0.6).to(dtype), some_masses(N, True)
    row, degree, plan = repeated(counts, N), some_degrees(N), plan_of(RationalRepulsion(*UMAPS[0]), dtype)
    merged = ExpectedRepulsion(plan, degree.to(dtype), RATE, counts.to(dtype))(View.whole(positions), value=True)
    apart = ExpectedRepulsion(plan, (degree / counts)[row].to(dtype), RATE)(View.whole(positions[row]), value=True)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    gradient = torch.zeros_like(positions).index_add_(0, row, apart.gradient)
    assert _truth.relative(merged.gradient, gradient) <= tolerance
    at_zero = float(potential.value(torch.zeros(1, dtype=torch.float64)))
    constant = float((degree * RATE / counts.sum() * (counts - 1)).sum()) * at_zero
    assert float(merged.value) + constant == pytest.approx(float(apart.value), rel=tolerance)


@every_umap
@pytest.mark.parametrize("n", [100, 30_000])
@pytest.mark.parametrize("tolerance", [None, 1e-3])
@pytest.mark.parametrize(("n_components", "share"), [(1, 0.03), (2, 0.35), (3, 0.5)])
def test_spacing_for_umap_follows_its_corner_alone(n_components, share, tolerance, n, a, b):
    potential = RationalRepulsion(a, b)
    spacing = spacings.coarsest_spacing(potential, n, tolerance, n_components)
    assert spacing == pytest.approx(share * potential.clip_distance)
    assert spacing < spacings.default_spacing(n, n_components)


@pytest.mark.parametrize(
    ("kernel", "width"),
    [
        (StudentT(), 1.0),
        (StudentT(4.0), 1.0),  # √1.6: wider kernels get no wider grid
        (StudentT(0.25), 0.4**0.5),  # √(2 dof / (dof + 1))
        (Gaussian(), 1.0),
        (Gaussian(0.25), 0.5),
        (Rational(4.0, 1.0), 0.5),
        (Rational(0.583, 1.334), 1.0),
    ],
    ids=str,
)
def test_spacing_for_other_kernels_follows_their_width(kernel, width):
    largest = 0.35 if isinstance(kernel, Gaussian) else 1.0
    for n, tolerance in ((1000, None), (30_000, None), (1000, 1e-2), (30_000, 1e-2)):
        for d in (1, 2, 3):
            spacing = spacings.default_spacing(n, d) if tolerance is None else spacings.spacing_for(tolerance, d)
            found = spacings.coarsest_spacing(kernel, n, tolerance, d)
            assert found == pytest.approx(min(spacing, largest) * width)
