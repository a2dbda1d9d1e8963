"""Radial sums: every entry of RADIAL_SUMS against brute force, and the grid's error against openTSNE's."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from sc_nembed.engine import radial_sum
from sc_nembed.engine.compute import backend
from sc_nembed.engine.kernel import Gaussian, LogRepulsion, RationalRepulsion, StudentT
from sc_nembed.engine.radial_sum import RADIAL_SUMS, fft
from sc_nembed.engine.radial_sum import _convolve as convolve
from sc_nembed.engine.radial_sum import _spacing as spacings
from sc_nembed.engine.radial_sum import _splines as splines
from sc_nembed.engine.radial_sum._influence import influence
from sc_nembed.engine.world import SERIAL

from . import _truth

N = 4000
SPANS = (1e-4, 5.0, 60.0, 150.0)
SHAPES = ("uniform", "gaussian", "clusters")


def plan(name, n_components=2, dtype=torch.float32, *, dof=1.0, tolerance=None, potential=None):
    return RADIAL_SUMS[name](
        potential or StudentT(dof),
        n_components=n_components,
        tolerance=tolerance,
        device=torch.device("cpu"),
        dtype=dtype,
        world=SERIAL,
    )


def points(shape: str, n: int, n_components: int, span: float, seed: int = 0) -> np.ndarray:
    """float32 numbers, so that both precisions sum the same points; the longest side is `span`."""
    rng = np.random.default_rng(seed)
    if shape == "uniform":
        cloud = rng.uniform(size=(n, n_components))
    elif shape == "gaussian":
        cloud = rng.normal(size=(n, n_components))
    else:
        cloud = 4 * rng.normal(size=(20, n_components))[rng.integers(0, 20, n)] + 0.5 * rng.normal(
            size=(n, n_components)
        )
    cloud -= cloud.min(0)
    return (cloud * (span / cloud.max())).astype(np.float32).astype(float)


# what is summed: targets as a slice of the sources (first) or a cloud of their own (None), with or without weights
CASES = {
    "all": (slice(None), 0, False),
    "weights": (slice(None), 0, True),
    "first rows": (slice(0, 150), 0, False),
    "rows from 90 on": (slice(90, 300), 90, True),
    "disjoint": (points("gaussian", 130, 3, 25.0, seed=7), None, False),
    "disjoint, outside": (points("gaussian", 130, 3, 80.0, seed=8) - 20, None, True),
}
# (mass, push); the grid's is its default error, with room for the narrower dof = 0.5; the bars are below
GRID = (3e-4, 2e-2)
TOLERANCES = {
    "torch": {torch.float32: (1e-6, 1e-5), torch.float64: (1e-13, 1e-12)},
    "fft": {torch.float32: GRID, torch.float64: GRID},
    "keops": {torch.float32: (1e-6, 1e-5), torch.float64: (1e-13, 1e-12)},
}
DIMENSIONS = {"torch": (1, 2, 3, 4), "fft": (1, 2, 3), "keops": (2, 3)}
ENTRIES = [(name, d) for name in RADIAL_SUMS for d in DIMENSIONS[name]]
GRIDS = [(name, d) for name, d in ENTRIES if d == 2 or name == "fft"]
DTYPES = (torch.float32, torch.float64)
# those of KeOps are few, since it compiles each for seconds; see also test_keops.py
OF_KEOPS = [(2, 1.0, DTYPES[0]), (2, 1.0, DTYPES[1]), (2, 0.5, DTYPES[0]), (3, 3.0, DTYPES[0])]
SUMS = [
    (name, d, dof, dtype)
    for name, d in ENTRIES
    for dof in (1.0, 0.5, 3.0)
    for dtype in DTYPES
    if name != "keops" or (d, dof, dtype) in OF_KEOPS
]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("name", "n_components", "dof", "dtype"), SUMS, ids=str)
def test_sum_equals_brute_force(name, n_components, case, dof, dtype):
    targets, first, weighted = CASES[case]
    scale = 0.15 if (name, n_components) == ("fft", 3) else 1.0  # a grid of seconds otherwise
    sources = scale * points("clusters", 400, max(3, n_components), 40.0)[:, :n_components]
    if first is None:
        if n_components > targets.shape[1]:
            targets = np.hstack([targets, targets[:, :1]])
        targets = scale * targets[:, :n_components]
    else:
        targets = sources[targets]
    weights = np.random.default_rng(1).uniform(0.1, 3, 400).astype(np.float32) if weighted else None
    found = plan(name, n_components, dtype, dof=dof)(
        torch.tensor(targets, dtype=dtype),
        torch.tensor(sources, dtype=dtype),
        first,
        None if weights is None else torch.tensor(weights, dtype=dtype),
    )
    expected = _truth.radial_sum(targets, sources, first, weights=weights, dof=dof)
    for got, truth, tolerance in zip(found, expected, TOLERANCES[name][dtype], strict=True):
        assert got.dtype == dtype
        assert _truth.relative(got, truth) <= tolerance


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(("name", "n_components"), GRIDS)
def test_field_equals_plan_and_survives_later_sums(name, n_components, dtype):
    made = plan(name, n_components, dtype)
    sources, others = (torch.tensor(points("clusters", 500, n_components, span), dtype=dtype) for span in (20.0, 19.0))
    field = made.field(sources)
    mass, push = field(sources, 0)
    at_once = made(sources, sources, 0)
    made(others, others, 0)  # the plan's buffers now hold something else
    again = field(sources, 0)
    for found in (at_once, again):
        assert torch.equal(found[0], mass)
        assert torch.equal(found[1], push)
    some = field(sources[40:70], 40)
    torch.testing.assert_close(some[0], mass[40:70], rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(some[1], push[40:70], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "n_components"), GRIDS)
def test_field_read_outside_of_its_box_equals_brute_force(name, n_components):
    scale = 0.3 if n_components == 3 else 1.0
    sources = scale * points("clusters", 500, n_components, 40.0)
    targets = scale * (points("uniform", 200, n_components, 90.0, seed=3) - 30)
    field = plan(name, n_components, torch.float64).field(torch.tensor(sources))
    inside = torch.tensor(sources[:50] + 0.01)
    before = field(inside, None)
    found = field(torch.tensor(targets), None)
    for got, truth in zip(found, _truth.radial_sum(targets, sources, None), strict=True):
        assert _truth.relative(got, truth) <= 5e-3
    assert all(torch.equal(a, b) for a, b in zip(before, field(inside, None), strict=True))


@pytest.mark.parametrize(("name", "n_components"), GRIDS)
def test_push_is_half_the_gradient_of_mass(name, n_components):
    sources = torch.tensor(points("clusters", 300, n_components, 15.0))
    targets = torch.tensor(points("uniform", 50, n_components, 12.0, seed=5) + 1)
    field = plan(name, n_components, torch.float64).field(sources)
    _, push = field(targets, None)
    for axis, step in enumerate(1e-6 * torch.eye(n_components, dtype=torch.float64)):
        slope = (field(targets + step, None)[0] - field(targets - step, None)[0]) / 2e-6
        assert _truth.relative(push[:, axis], slope / 2) <= 1e-7


@pytest.fixture(scope="module", params=SHAPES)
def shape_and_truths(request):
    """Points of each span, their exact sums, and the force error of openTSNE's default on them."""
    from openTSNE import _tsne

    table = {}
    for span in SPANS:
        cloud = points(request.param, N, 2, span)
        mass, push = _truth.radial_sum(cloud, cloud, 0)
        theirs = np.zeros_like(cloud)
        total = _tsne.estimate_negative_gradient_fft_2d(
            np.ascontiguousarray(cloud),
            theirs,
            n_interpolation_points=3,
            min_num_intervals=50,
            ints_in_interval=1,
            dof=1,
        )
        error = min(_truth.relative(sign * theirs * total, push) for sign in (1, -1))  # whichever sign it counts in
        table[span] = cloud, mass, push, error
    return request.param, table


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("span", SPANS)
def test_grid_is_no_worse_than_openTSNE(shape_and_truths, span, dtype):
    cloud, mass, push, theirs = shape_and_truths[1][span]
    positions = torch.tensor(cloud, dtype=dtype)
    found_mass, found_push = plan("fft", dtype=dtype)(positions, positions, 0)
    ours, mass_error = _truth.relative(found_push, push), _truth.relative(found_mass, mass)
    print(
        f"{shape_and_truths[0]} {span:g} {dtype}: force {ours:.1e}, openTSNE {theirs:.1e}, mass {mass_error:.1e}",
    )
    # at 1e-4 all forces vanish but for the rounding of a float32 grid; 2.4e-2 is openTSNE's error at a usual span
    assert ours <= (2.4e-2 if span < 1 else max(1e-3, theirs))
    assert mass_error <= 1e-4


@pytest.mark.parametrize("span", [1e-4, 5.0, 60.0, 150.0])
def test_both_precisions_of_the_grid_agree(shape_and_truths, span):
    cloud = shape_and_truths[1][span][0]
    single, double = (
        plan("fft", dtype=dtype)(*[torch.tensor(cloud, dtype=dtype)] * 2, 0) for dtype in (torch.float32, torch.float64)
    )
    assert _truth.relative(single[0], double[0]) <= 1e-6
    assert _truth.relative(single[1], double[1]) <= (1e-3 if span < 1 else 1e-4)


@pytest.mark.parametrize("tolerance", [3e-2, 1e-2, 1e-3])
@pytest.mark.parametrize("span", [5.0, 60.0, 150.0])
def test_tolerance_is_met(shape_and_truths, span, tolerance):
    cloud, _, push, _ = shape_and_truths[1][span]
    positions = torch.tensor(cloud, dtype=torch.float32)
    assert _truth.relative(plan("fft", tolerance=tolerance)(positions, positions, 0)[1], push) <= tolerance


@pytest.mark.parametrize("dof", [0.5, 0.8, 3.0])
@pytest.mark.parametrize("tolerance", [1e-2, 1e-3])
def test_tolerance_is_met_for_any_dof(dof, tolerance):
    cloud = points("uniform", 3000, 2, 120.0)
    positions = torch.tensor(cloud, dtype=torch.float32)
    _, push = _truth.radial_sum(cloud, cloud, 0, dof=dof)
    assert _truth.relative(plan("fft", tolerance=tolerance, dof=dof)(positions, positions, 0)[1], push) <= tolerance


@pytest.mark.parametrize("tolerance", [0, 1.5, -1])
def test_tolerance_out_of_range_raises(tolerance):
    positions = torch.rand(30, 2)
    with pytest.raises(ValueError, match="tolerance"):
        plan("fft", tolerance=tolerance)(positions, positions, 0)


# --- other dimensions ---

# (spans, largest errors of force and mass there) on 4 000 points, as the table in `fft` has them
BARS = {1: {1e-4: 1e-4, 5.0: 1e-3, 150.0: 2e-3, 1500.0: 2e-3}, 3: {1e-4: 1e-4, 5.0: 3e-3, 60.0: 5e-3}}


@pytest.mark.parametrize("shape", ["uniform", "clusters"])
@pytest.mark.parametrize(("n_components", "span"), [(d, span) for d, bars in BARS.items() for span in bars])
def test_grid_in_other_dimensions_is_near_the_exact_sum(n_components, span, shape):
    cloud = points(shape, N, n_components, span)
    positions = torch.tensor(cloud, dtype=torch.float32)
    mass, push = _truth.radial_sum(cloud, cloud, 0)
    found_mass, found_push = plan("fft", n_components)(positions, positions, 0)
    errors = _truth.relative(found_push, push), _truth.relative(found_mass, mass)
    print(f"{n_components}-D {shape} {span:g}: force {errors[0]:.1e}, mass {errors[1]:.1e}")
    assert errors[0] <= BARS[n_components][span]
    assert errors[1] <= 1e-4


POTENTIALS = {
    "student 0.5": (StudentT(0.5), {1: 5e-3, 3: 1e-2}),
    "student 3": (StudentT(3.0), {1: 5e-3, 3: 1e-2}),
    "gaussian": (Gaussian(), {1: 5e-3, 3: 1e-2}),
    "gaussian 0.3": (Gaussian(0.3), {1: 5e-3, 3: 1e-2}),
    "umap 0.1": (RationalRepulsion(1.577, 0.895), {1: 3e-2, 3: 3e-2}),
    "umap 0.5": (RationalRepulsion(0.583, 1.334), {1: 3e-2, 3: 3e-2}),
}


@pytest.mark.parametrize("shape", ["uniform", "clusters"])
@pytest.mark.parametrize("potential", POTENTIALS)
@pytest.mark.parametrize(("n_components", "span"), [(1, 30.0), (3, 12.0)])
def test_grid_in_other_dimensions_takes_every_potential(n_components, span, potential, shape):
    potential, bars = POTENTIALS[potential]
    positions = torch.tensor(points(shape, 2000, n_components, span), dtype=torch.float32)
    mass, push = plan("torch", n_components, torch.float64, potential=potential)(*[positions.double()] * 2, 0)
    found_mass, found_push = plan("fft", n_components, potential=potential)(positions, positions, 0)
    assert _truth.relative(found_push, push) <= bars[n_components]
    assert _truth.relative(found_mass, mass) <= 2e-3


@pytest.mark.parametrize(("n_components", "span"), [(1, 5.0), (1, 150.0), (1, 1500.0), (3, 5.0), (3, 15.0)])
@pytest.mark.parametrize("tolerance", [3e-2, 1e-2, 1e-3])
@pytest.mark.parametrize("dof", [0.5, 1.0])
def test_tolerance_is_met_in_other_dimensions(n_components, span, tolerance, dof):
    cloud = points("uniform", 1000, n_components, span)
    positions = torch.tensor(cloud, dtype=torch.float32)
    _, push = _truth.radial_sum(cloud, cloud, 0, dof=dof)
    found = plan("fft", n_components, tolerance=tolerance, dof=dof)(positions, positions, 0)[1]
    assert _truth.relative(found, push) <= tolerance


@pytest.mark.parametrize(
    "extent", [[1e5], [3e7], [150.0, 150.0, 150.0], [400.0, 200.0, 300.0], [1e4, 1.0, 1.0], [1e9] * 3]
)
@pytest.mark.parametrize("coarsest", [0.1, 0.7])
def test_grid_covers_its_box_within_its_largest_size(extent, coarsest):
    spacing, nodes = spacings.grid_shape(np.array(extent), coarsest)
    for side, count in zip(extent, nodes[::-1], strict=True):
        assert side / spacing + 5 <= count
    assert np.prod(nodes) <= (spacings.MAX_CELLS[1] + 2**17 if len(extent) == 1 else 1 << 23)
    assert spacing >= coarsest


@pytest.mark.parametrize("n_components", [1, 3])
def test_sums_in_other_dimensions_have_the_same_bits_for_any_number_of_threads(n_components):
    positions = torch.tensor(points("clusters", 9001, n_components, 20.0), dtype=torch.float32)
    found = []
    for n_jobs in (1, 2, 8):
        with backend.session(n_jobs):
            found.append(plan("fft", n_components)(positions, positions, 0))
    for mass, push in found[1:]:
        assert torch.equal(mass, found[0][0])
        assert torch.equal(push, found[0][1])


# what a run can come across
CLOUDS = {
    "line": np.linspace(0, 30, 500)[:, None] * [1.0, 0.0, 0.0],
    "two points": np.array([[0.0, 0.0, 0.0], [3.0, 1.0, 0.5]]),
    "off origin": points("clusters", 500, 3, 15.0) + np.array([4096.0, -8192.0, 2048.0]),
    "an outlier": np.vstack([points("clusters", 500, 3, 15.0), [[200.0, 200.0, 1.0]]]),
}


@pytest.mark.parametrize(("name", "n_components"), GRIDS)
@pytest.mark.parametrize("cloud", CLOUDS)
def test_unusual_clouds_keep_mass_and_push_finite_and_near(name, n_components, cloud):
    positions = CLOUDS[cloud][:, :n_components].astype(np.float32)
    found = plan(name, n_components)(torch.tensor(positions), torch.tensor(positions), 0)
    mass, push = _truth.radial_sum(positions, positions, 0)
    assert _truth.relative(found[0], mass) <= 1e-3
    assert _truth.relative(found[1], push) <= 5e-2


@pytest.mark.parametrize("n_components", [2, 3])
def test_grid_beyond_its_cap_stays_finite_and_bounded(n_components, monkeypatch):
    monkeypatch.setattr(spacings, "MAX_NODES", 1 << 17 if n_components == 3 else 1 << 23)  # for the time it takes
    positions = torch.tensor(
        points("uniform", 2000, n_components, 20_000.0), dtype=torch.float32
    )  # cells of 10 and more: coarser than the kernel
    mass, push = plan("fft", n_components)(positions, positions, 0)
    assert torch.isfinite(push).all()
    assert 0 < float(mass.sum()) < 2000


@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_tolerance_that_a_wide_box_does_not_allow_is_said_once(n_components, monkeypatch):
    monkeypatch.setattr(spacings, "MAX_NODES", 1 << 12)
    monkeypatch.setattr(spacings, "MAX_CELLS", dict.fromkeys((1, 2, 3), 50))
    positions = torch.tensor(points("uniform", 300, n_components, 200.0), dtype=torch.float32)
    plan("fft", n_components)(positions, positions, 0)
    made = plan("fft", n_components, tolerance=1e-2)
    with pytest.warns(UserWarning, match=r"too wide for `tolerance`=0\.01"):
        made(positions, positions, 0)
    made(positions, positions, 0)


def test_large_influence_functions_are_kept_by_their_plan_alone(monkeypatch):
    monkeypatch.setattr(fft, "MAX_CACHED", 1000)
    made, other = plan("fft", 3), plan("fft", 3)
    kind = made.influence(0.123, (32, 32, 32))
    assert made.influence(0.123, (32, 32, 32)) is kind
    assert other.influence(0.123, (32, 32, 32)) is not kind
    assert not [key for key in fft._influences if key[1] == 0.123]


ODD_POSITIONS = {
    "coincident": "torch.full((300, D), 0.25)",
    "smallest floats": "torch.rand(300, D) * 1e-42",
    "largest floats": "torch.where(torch.arange(300)[:, None] % 2 == 0, 3e38, -3e38) * torch.ones(300, D)",
    "one NaN": "torch.where(torch.arange(300)[:, None] == 7, torch.nan, torch.rand(300, D))",
    "all NaN": "torch.full((300, D), torch.nan)",
    "one inf": "torch.where(torch.arange(300)[:, None] == 7, torch.inf, torch.rand(300, D))",
}


@pytest.fixture(scope="module")
def outcomes(python):
    """What comes out of odd positions, each in a child: a kernel without bounds checks takes its process down."""
    code = """
import os, torch
torch.set_num_threads(1)  # its threads would not survive the forks
from sc_nembed.engine.radial_sum import RADIAL_SUMS
from sc_nembed.engine.kernel import StudentT
from sc_nembed.engine.world import SERIAL
def outcome(make, positions):
    options = dict(n_components=D, tolerance=None, device=torch.device("cpu"), dtype=torch.float32, world=SERIAL)
    try:
        mass, push = make(StudentT(), **options)(positions, positions, 0)
    except ValueError:
        return "refused"
    right = abs(mass - 299).max() < 1e-2 and abs(push).max() < 1e-2
    return "right" if right else "finite" if mass.isfinite().all() else "not finite"
"""
    for name, n_components in GRIDS:
        # the first one so that the children have it compiled
        code += f'D = {n_components}\noutcome(RADIAL_SUMS["{name}"], torch.rand(300, D))\n'
        for odd, positions in ODD_POSITIONS.items():
            code += f"""
child = os.fork()
if child == 0:
    print("{name}|{n_components}|{odd}|" + outcome(RADIAL_SUMS["{name}"], {positions}), flush=True)
    os._exit(0)
if os.waitpid(child, 0)[1]:
    print("{name}|{n_components}|{odd}|crash", flush=True)
"""
    lines = (line.split("|") for line in python(code).splitlines())
    return {(name, int(n_components), odd): said for name, n_components, odd, said in lines}


@pytest.mark.parametrize("odd", ODD_POSITIONS)
@pytest.mark.parametrize(("name", "n_components"), GRIDS)
def test_odd_positions_do_not_crash(name, n_components, odd, outcomes):
    said = outcomes[name, n_components, odd]
    if odd in ("coincident", "smallest floats"):
        assert said == "right"
    elif odd == "largest floats":
        assert said in ("finite", "refused", "not finite")
    else:
        assert said in ("refused", "not finite")


def test_grid_in_four_dimensions_raises():
    with pytest.raises(ValueError, match="1 to 3 dimensions"):
        plan("fft", 4)


@pytest.mark.parametrize(
    ("n_obs", "n_components", "name"),
    [
        (700, 2, "torch"),
        (45_000, 2, "fft"),
        (20_000, 3, "torch"),
        (110_000, 3, "fft"),
        (700, 1, "torch"),
        (2_000, 1, "fft"),
        (1_000_000, 1, "fft"),
        (50_000, 4, "torch"),
    ],
)
def test_choice_is_exact_where_that_is_cheaper_or_the_only_one(n_obs, n_components, name):
    assert radial_sum.choose(n_obs, n_components) == name


def test_choice_refuses_exact_sums_of_too_many_cells():
    with pytest.raises(ValueError, match="n_components=1, 2 or 3"):
        radial_sum.choose(100_000, 4)


@pytest.mark.parametrize("spacing", [0.3, 0.7])
@pytest.mark.parametrize("nodes", [(40,), (32, 40), (32, 40, 36)], ids=["1-D", "2-D", "3-D"])
def test_what_a_point_is_said_to_feel_of_itself_is_what_the_grid_makes_it_feel(nodes, spacing):
    """One point at a time, anywhere within a grid cell: what it reads of the potential it made."""
    n_components, lower = len(nodes), np.zeros(len(nodes))
    kind = influence(StudentT(), spacing, nodes, torch.device("cpu"), torch.float64)
    read, said = [], []
    for place in np.random.default_rng(0).uniform(10, 11, (40 if n_components < 3 else 8, n_components)):
        point, one = torch.from_numpy(place[None] * spacing), torch.ones(1, dtype=torch.float64)
        potential = convolve.on_any_device(splines.spread(point, one, lower, spacing, nodes), kind)
        grid = (lower, spacing, potential, kind.felt, kind.shift)
        both, alone = (torch.cat([m[:, None], p], 1) for m, p in (
            splines.gather(point, own, *grid, 1.0) for own in (None, one)
        ))  # fmt: skip
        without_shift = torch.tensor([[kind.shift] + [0.0] * n_components])
        read.append(both - without_shift)
        said.append(both - alone - without_shift)
    read, said = torch.cat(read), torch.cat(said)
    assert (read[:, 1:].abs() > 1e-4).any()
    assert _truth.relative(said[:, :1], read[:, :1]) < 1e-12
    assert _truth.relative(said[:, 1:], read[:, 1:]) < 1e-9


# --- kernels of a user's own ---


@dataclass(frozen=True)
class Bell:
    """q(u) = 1 / (1 + u / width²)², which says nothing of a grid."""

    width: float = 1.0

    def value(self, sq_dist):
        return 1 / (1 + sq_dist / self.width**2) ** 2

    def slope(self, sq_dist):
        return -2 / self.width**2 / (1 + sq_dist / self.width**2) ** 3


@dataclass(frozen=True)
class FineBell(Bell):
    """One that asks for a grid of its own."""

    def grid_spacing(self, usual, n_obs, n_components):
        return 0.11 * usual

    def resolved(self, spacing):
        return self


@pytest.mark.parametrize("n_components", [1, 2])
@pytest.mark.parametrize("potential", [Bell(), Bell(0.4), Bell(3.0), FineBell()], ids=str)
def test_grid_of_a_kernel_of_a_users_own_is_as_fine_as_it_is_narrow(potential, n_components):
    cloud = points("clusters", 1000, n_components, 30.0)
    share = min(1.0, potential.width / 2**0.5)  # √(q / |dq/du|) at 0
    usual = spacings.default_spacing(1000, n_components)
    expected = 0.11 * usual if isinstance(potential, FineBell) else share * usual
    assert spacings.coarsest_spacing(potential, 1000, None, n_components) == pytest.approx(expected)
    sq_dist = _truth.sq_distances(cloud, cloud)
    value, slope = potential.value(sq_dist), potential.slope(sq_dist)
    for of_pairs in (value, slope):
        np.fill_diagonal(of_pairs, 0)
    z = torch.from_numpy(cloud).float()
    mass, push = plan("fft", n_components, potential=potential)(z, z, 0)
    assert _truth.relative(mass, value.sum(1)) <= 1e-3
    assert _truth.relative(push, slope.sum(1)[:, None] * cloud - slope @ cloud) <= 3e-2


def test_softening_of_a_logarithmic_kernel_is_what_a_grid_can_show():
    assert LogRepulsion(0.1).resolved(10.0) == LogRepulsion(2.0)
    assert LogRepulsion(0.1).resolved(0.3) == LogRepulsion(0.1)
