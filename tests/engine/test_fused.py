"""The numba twins in float32 against the plain torch functions in float64, kernel by kernel."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from llvmlite.binding import get_host_cpu_features
from numba import njit

from sc_nembed.engine.affinity import UniformAffinity
from sc_nembed.engine.compute import backend, reductions
from sc_nembed.engine.fused import FAST, on_grid
from sc_nembed.engine.fused import affinity as fused_affinity
from sc_nembed.engine.fused import grid as fused_grid
from sc_nembed.engine.fused import grid_1d as fused_grid_1d
from sc_nembed.engine.fused import grid_3d as fused_grid_3d
from sc_nembed.engine.fused import step as fused_step
from sc_nembed.engine.fused import update as fused_update
from sc_nembed.engine.fused.elementary import exp_of, log_of
from sc_nembed.engine.fused.kernels import shape_of, tabulated
from sc_nembed.engine.fused.packing import unsigned
from sc_nembed.engine.graph import KnnGraph
from sc_nembed.engine.kernel import Gaussian, Rational, RationalRepulsion, StudentT
from sc_nembed.engine.neighbors import KNN, nearest_neighbors
from sc_nembed.engine.optimize.optimizer import PreconditionedNesterov
from sc_nembed.engine.optimize.protocol import StepOptions
from sc_nembed.engine.radial_sum import RADIAL_SUMS
from sc_nembed.engine.radial_sum import _convolve as convolve
from sc_nembed.engine.radial_sum import _splines as splines
from sc_nembed.engine.terms import Attraction, Force, Partition
from sc_nembed.engine.view import View
from sc_nembed.engine.world import SERIAL

from . import _truth
from ._plain import only_plain

CPU = torch.device("cpu")
SCALE = {1: 10.0, 2: 10.0, 3: 2.0}  # of the points on a grid


@pytest.fixture(params=[1, 3], ids=["1 thread", "3 threads"], autouse=True)
def session(request):
    with backend.session(request.param):
        yield


def points(n: int, n_components: int, dtype, seed: int = 0, scale: float = 10.0) -> torch.Tensor:
    """The same numbers in both precisions."""
    cloud = scale * np.random.default_rng(seed).normal(size=(n, n_components))
    return torch.from_numpy(cloud.astype(np.float32)).to(dtype)


def ring_matrix(n: int):
    """Every cell and six others, near and far along a ring, with different weights by symmetrising."""
    steps = torch.tensor([1, 2, 5, n // 7, n // 3, n // 2 - 1])
    indices = (torch.arange(n)[:, None] + steps) % n
    return UniformAffinity()(KnnGraph(indices.int(), torch.ones(n, 6)))


def plan(name: str, dtype, n_components: int = 2, dof: float = 1.0):
    return RADIAL_SUMS[name](
        StudentT(dof), n_components=n_components, tolerance=None, device=CPU, dtype=dtype, world=SERIAL
    )


def attraction(dtype, n, n_components, dof):
    return _of(Attraction(ring_matrix(n), StudentT(dof))(View.whole(points(n, n_components, dtype)), value=True))


def repulsion(dtype, n, n_components, dof):
    return _of(
        Partition(plan("torch", dtype, n_components, dof), 1.0)(View.whole(points(n, n_components, dtype)), value=True)
    )


def repulsion_on_the_grid(dtype, n, n_components, dof):
    cloud = points(n, n_components, dtype, scale=SCALE[n_components])
    return _of(Partition(plan("fft", dtype, n_components, dof), 1.0)(View.whole(cloud), value=True))


def _of(force: Force) -> dict[str, torch.Tensor]:
    return {"gradient": force.gradient, "value": force.value, "curvature": force.curvature}


def exact_sum(dtype, n, n_components, dof):
    sources, weights = points(n, n_components, dtype), points(n, 1, dtype, 3)[:, 0].abs()
    mass, push = plan("torch", dtype, n_components, dof)(points(50, n_components, dtype, 9), sources, None, weights)
    return {"mass": mass, "push": push}


def spread(dtype, n, n_components, dof):
    cloud, weights = points(n, n_components, dtype), points(n, 1, dtype, 3)[:, 0].abs()
    low, nodes = np.array([-60.0, -61.0, -62.0])[:n_components], (60, 62, 64)[-n_components:]
    if dtype == torch.float64:
        return {"grid": splines.spread(cloud, weights, low, 2.1, nodes)}
    buffers = convolve.Buffers()
    for n_grids in (2, on_grid.MAX_GRIDS):
        buffers.get("grids", (n_grids, *nodes)).fill_(torch.nan)
    return {"grid": on_grid.spread(cloud, weights, low, 2.1, nodes, buffers).sum(0)}


def gather(dtype, n, n_components, dof):
    """Both read one potential, that of the plan in float64."""
    cloud = points(n, n_components, torch.float64, scale=SCALE[n_components])
    weights = points(n, 1, torch.float64, 3)[:, 0].abs()
    field = plan("fft", torch.float64, n_components, dof).field(cloud, weights)
    if dtype == torch.float64:
        mass, push = field(cloud, 0)
    else:
        single = replace(
            field,
            potential=field.potential.float(),
            influence=replace(field.influence, felt=field.influence.felt.float()),
        )
        mass, push = on_grid.reading(cloud.float(), weights.float(), single)
    return {"mass": mass, "push": push}


def nesterov_step(dtype, n, n_components, dof):
    """Two steps, of one force and of two; the limit acts on some cells."""
    positions, optimizer = points(n, n_components, dtype), PreconditionedNesterov()
    one = Force(points(n, n_components, dtype, 2), None, points(n, 1, dtype, 3)[:, 0].abs() + 5)
    two = Force(points(n, n_components, dtype, 4), None, torch.full((1,), 0.5, dtype=dtype))
    state = optimizer.start(positions, None, None)
    for forces in ([(1.5, one)], [(1.5, one), (0.3, two)]):
        positions, state = optimizer.step(positions, forces, state, StepOptions(1.3, 0.9))
    velocity, span = state
    return {"positions": positions, "velocity": velocity, "span": span}


def step_with_attraction(dtype, n, n_components, dof):
    """A step with each kernel; float32 in 2-D takes one pass for forces and step."""
    positions, optimizer = points(n, n_components, dtype), PreconditionedNesterov(max_step=0.1, max_step_span=1e-4)
    two = Force(points(n, n_components, dtype, 4), None, torch.full((1,), 0.5, dtype=dtype))
    state = optimizer.start(positions, None, None)
    for kernel in (StudentT(dof), Gaussian(dof), Rational(1.5, 0.9)):
        term, options = Attraction(ring_matrix(n), kernel), StepOptions(1.3, 0.9)
        move = term.fused_step("nesterov", positions)
        assert (move is not None) == (dtype == torch.float32 and n_components == 2)
        assert term.fused_step("another", positions) is None
        if move:
            positions, state = optimizer.step_within(move, 1.5, positions, [(0.3, two)], state, options)
        else:
            forces = [(1.5, term(View.whole(positions), value=False)), (0.3, two)]
            positions, state = optimizer.step(positions, forces, state, options)
    velocity, span = state
    return {"positions": positions, "velocity": velocity, "span": span}


def box(dtype, n, n_components, dof):
    lower, upper = reductions.bounding_box(points(n, n_components, dtype))
    return {"lower": torch.from_numpy(lower), "upper": torch.from_numpy(upper)}


# function, tolerance, dimensions it works in
KERNELS = {
    "attraction": (attraction, 1e-5, (1, 2, 3, 4)),
    "repulsion": (repulsion, 1e-5, (1, 2, 3)),
    "repulsion on the grid": (repulsion_on_the_grid, 1e-4, (1, 2, 3)),
    "exact sum": (exact_sum, 1e-5, (1, 2, 3)),
    "spread": (spread, 1e-5, (1, 2, 3)),
    "gather": (gather, 1e-4, (1, 2)),
    "gather in 3-D": (gather, 3e-4, (3,)),  # what a point feels of itself is more of what it reads
    "nesterov": (nesterov_step, 1e-6, (1, 2, 3)),
    "step with attraction": (step_with_attraction, 1e-5, (2, 3)),
    "bounding box": (box, 0, (1, 2, 3)),
}
TABLE = [(name, d) for name, (_, _, dimensions) in KERNELS.items() for d in dimensions]


@pytest.mark.parametrize("dof", [1.0, 0.6, 4.0])
@pytest.mark.parametrize("n", [20, 1500])
@pytest.mark.parametrize(("name", "n_components"), TABLE)
def test_fused_equals_plain(name, n_components, n, dof):
    function, tolerance, _ = KERNELS[name]
    single, double = (function(dtype, n, n_components, dof) for dtype in (torch.float32, torch.float64))
    for part, expected in double.items():
        assert single[part].shape == expected.shape
        assert _truth.relative(single[part], expected) <= tolerance, part


@pytest.mark.parametrize("n", [65_536, 65_537, 70_000])
@pytest.mark.parametrize("n_components", [2, 3])
def test_attraction_of_more_cells_than_two_bytes_count(n, n_components):
    single, double = (attraction(dtype, n, n_components, 1.0) for dtype in (torch.float32, torch.float64))
    for part, expected in double.items():
        assert _truth.relative(single[part], expected) <= 1e-5, part


@pytest.mark.parametrize("n", [1, 2, 257, 65_535, 65_536, 65_537, 200_000])
def test_reductions_cover_every_row(n):
    """Around the borders of their ranges."""
    cloud = points(n, 2, torch.float32)
    cloud[-1] = torch.tensor([500.0, -700.0])
    lower, upper = reductions.bounding_box(cloud)
    assert (lower.tolist(), upper.tolist()) == (cloud.amin(0).tolist(), cloud.amax(0).tolist())
    assert reductions.dot(cloud, cloud) == pytest.approx(float(cloud.double().square().sum()), rel=1e-9)
    assert float(reductions.total(cloud[:, 0].contiguous())) == pytest.approx(
        float(cloud[:, 0].double().sum()), rel=1e-9
    )


@pytest.mark.parametrize("perplexity", [2.0, 10.0, 30.0])
def test_entropic_equals_bisection(perplexity):
    rng = np.random.default_rng(0)
    distances = np.sort(rng.uniform(0.1, 1, (300, 1)) * np.sqrt(rng.chisquare(5, (300, 90))), 1).astype(np.float32)
    weights = np.full(distances.shape, 0.5, np.float32)  # a share is added to what is there
    backend.parallel(
        fused_affinity.entropic, backend.chunk_bounds(300, 64), distances, perplexity, np.float32(0.25), weights
    )
    rows = 4 * (weights.astype(float) - 0.5)
    np.testing.assert_allclose(rows.sum(1), 1, rtol=1e-5)
    entropy = -(np.where(rows > 1e-7, rows, 1) * np.log(np.where(rows > 1e-7, rows, 1))).sum(1)
    np.testing.assert_allclose(np.exp(entropy), perplexity, rtol=1e-3)
    # a Gaussian: the log of the weights is linear in the squared distance
    for row, distance in zip(rows[::50], distances[::50].astype(float), strict=True):
        large = row > 1e-4
        slope, offset = np.polyfit(distance[large] ** 2, np.log(row[large]), 1)
        assert slope < 0
        np.testing.assert_allclose(np.log(row[large]), offset + slope * distance[large] ** 2, atol=2e-2)


@pytest.mark.parametrize(
    ("name", "k"), [(name, k) for name in KNN for k in (1, 15, 40) if name != "keops" or k == 15]
)  # KeOps compiles each k for seconds
def test_sorting_of_candidates_equals_plain(pbmc, name, k, monkeypatch):
    """The plain version runs where a tensor is not fused."""
    with_kernel = nearest_neighbors(pbmc, k, method=name)
    only_plain(monkeypatch)
    plain = nearest_neighbors(pbmc, k, method=name)
    assert (plain.indices.dtype, plain.distances.dtype) == (torch.int32, torch.float32)
    torch.testing.assert_close(with_kernel.distances, plain.distances, rtol=1e-5, atol=1e-6)
    assert (with_kernel.indices == plain.indices).float().mean() > 0.999


def test_logarithm_above_one_is_as_accurate_as_documented():
    values = np.concatenate([np.float32(1) + np.geomspace(1e-7, 1, 5000), np.geomspace(1, 3e38, 20_000)]).astype(
        np.float32
    )
    found = np.array([log_of(value) for value in values], float)
    expected = np.log(values.astype(float))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("which", ["pull", "push"])
def test_tables_of_the_rational_kernel_are_as_accurate_as_documented(which):
    kernel = Rational(1.577, 0.895, clip=4.0) if which == "pull" else RationalRepulsion(1.577, 0.895)
    distance = np.geomspace(2e-4, 1e4, 300_000).astype(np.float32)
    for kink in [] if which == "pull" else [0.01, kernel.clip_distance]:
        distance = distance[np.abs(distance / kink - 1) > 2**-8]
    sq_dist = torch.from_numpy(distance).square()
    exact = -(kernel.log_slope if which == "pull" else kernel.slope)(sq_dist.double())
    found = np.empty(len(sq_dist), np.float32)
    _read(sq_dist.numpy(), shape_of(kernel), found)
    np.testing.assert_allclose(found, exact, rtol=1.2e-5)


@njit
def _read(sq_dist, shape, found):
    for i in range(len(sq_dist)):
        found[i] = tabulated(sq_dist[i], shape)


def test_exponential_below_zero_is_as_accurate_as_documented():
    values = -np.concatenate([[0.0], np.geomspace(1e-7, 86, 20_000)]).astype(np.float32)
    found = np.array([exp_of(value) for value in values], float)
    np.testing.assert_allclose(found, np.exp(values.astype(float)), rtol=1e-5)
    near = values > -1
    np.testing.assert_allclose(found[near], np.exp(values[near].astype(float)), rtol=1e-6)
    assert exp_of(np.float32(-1000)) < 1e-37


LOOPS = {
    "gather 1-D": fused_grid_1d.gather,
    "gather 2-D": fused_grid.gather,
    "gather 3-D": fused_grid_3d.gather,
    "spread 2-D": fused_grid.spread,
    "spread 3-D": fused_grid_3d.spread,
    "nesterov": fused_update.nesterov,
} | {f"step {kind}": kernel for kind, kernel in fused_step.STEPS.items()}


@pytest.mark.parametrize("session", [1], indirect=True)
@pytest.mark.parametrize("name", LOOPS)
def test_loops_do_not_compare_addresses(name):
    """A loop that does, before it takes many cells at once, rounds differently where arrays happen to lie close."""
    n, single = 100, np.float32
    floats, points, row = np.ones(64 * n, "f"), np.full(3 * n, 5, "f"), np.ones(n, "f")
    indptr, indices, weights = unsigned(ring_matrix(n))
    options = single(1), single(1), single(1), floats, floats, np.empty((1, 2, 2), "f")
    what, d = name[:6], int(name[7]) if name.endswith("-D") else 2
    cube = np.ones((20,) * d, "f")
    arguments = {
        "gather": (points, row, row[:d], single(1), cube, floats, single(0), single(n), row, floats),
        "spread": (points, row, row[:d], single(1), cube[None]),
        "nester": (points, floats, single(1), floats, row, single(1), floats, row, *options),
    }
    step = (
        indptr,
        indices,
        weights,
        points[: 2 * n].view(np.uint64),
        np.ones(9, "f"),
        points,
        floats,
        single(1),
        single(1),
    )
    compiled = njit(nogil=True, fastmath=FAST, error_model="numpy")(LOOPS[name].py_func)  # what is cached shows no code
    compiled(0, 0, n, *arguments.get(what, (*step, floats, row, *options)))
    (code,) = compiled.inspect_llvm().values()
    assert "memcheck" not in code
    assert "vector.body" in code or not get_host_cpu_features().get("avx512f")  # gathers do not pay everywhere
