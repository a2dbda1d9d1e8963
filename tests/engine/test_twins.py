"""Every compiled twin in `TWINS` against the plain function of its name, in float64: a new line is tested by this."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from sc_nembed.engine.affinity import PrecomputedAffinity
from sc_nembed.engine.affinity._symmetrize import directed
from sc_nembed.engine.compute import backend, twins
from sc_nembed.engine.compute.twins import TWINS, compiled_twin, twin
from sc_nembed.engine.kernel import (
    Gaussian,
    LogRepulsion,
    NoiseRepulsion,
    Rational,
    RationalRepulsion,
    StudentT,
)  # fmt: skip
from sc_nembed.engine.neighbors import nearest_neighbors
from sc_nembed.engine.optimize.sampled import SampledEpochs
from sc_nembed.engine.radial_sum import RADIAL_SUMS
from sc_nembed.engine.radial_sum import _convolve as convolve
from sc_nembed.engine.radial_sum._influence import influence
from sc_nembed.engine.terms import Force
from sc_nembed.engine.terms.circle import drawn_pairs
from sc_nembed.engine.terms.pair_potential import LocalPull, Pull, Push
from sc_nembed.engine.view import View
from sc_nembed.engine.world import SERIAL

from . import _truth

N, M = 700, 60
CPU = torch.device("cpu")
INSTANCES = {
    StudentT: (StudentT(), StudentT(0.6)),
    Gaussian: (Gaussian(3.0),),
    Rational: (Rational(1.5, 0.9, clip=4.0),),
    RationalRepulsion: (RationalRepulsion(1.5, 0.9),),
    NoiseRepulsion: (NoiseRepulsion(0.4),),
    LogRepulsion: (LogRepulsion(0.1),),
    Pull: (Pull(),),
    Push: (Push(),),
    LocalPull: (LocalPull(),),
}
RNG = np.random.default_rng(0)
WEIGHTS = RNG.uniform(size=(N, N)) * (RNG.uniform(size=(N, N)) < 0.02)
MATRIX = PrecomputedAffinity(WEIGHTS)()
NEW_WEIGHTS = (RNG.uniform(0.1, 1, (M, N)) * (RNG.uniform(size=(M, N)) < 0.05)).astype(np.float32)
PARTNERS = torch.from_numpy(np.stack([RNG.choice(N, 5, replace=False) for _ in range(N)]).astype(np.int32))


@pytest.fixture(params=[1, 3], ids=["1 thread", "3 threads"], autouse=True)
def session(request):
    with backend.session(request.param):
        yield


def numbers(n: int, d: int | None, dtype, seed: int, scale: float = 2.0) -> torch.Tensor:
    """The same in both precisions; positive where `d` is None."""
    rng = np.random.default_rng(seed)
    made = rng.normal(scale=scale, size=(n, d)) if d else rng.uniform(0.5, 2, n)
    return torch.from_numpy(made.astype(np.float32)).to(dtype)


def rectangle():
    rows, columns = np.nonzero(NEW_WEIGHTS)
    indptr = np.concatenate([[0], np.bincount(rows, minlength=M).cumsum()])
    return directed(indptr, columns.astype(np.int32), NEW_WEIGHTS[rows, columns], n_fixed=N, normalize=False)


def views(d: int, dtype, scale: float = 2.0) -> dict[str, View]:
    z, new = numbers(N, d, dtype, 1, scale), numbers(M, d, dtype, 2, scale)
    return {"whole": View.whole(z), "shard": View(z[200:431], z, 200), "new": View(new, z, None)}


def matrix_of(which: str):
    return {"whole": MATRIX, "shard": MATRIX.shard(200, 431), "new": rectangle()}[which]


def in_ball(d: int, dtype) -> dict[str, View]:
    return {name: view.map(lambda z: 0.9 * z / 10) for name, view in views(d, dtype).items()}


def along_edges(*more: Callable) -> Callable:
    """Arguments (matrix, kernel, view, ...) for every view."""

    def made(kernel, d, dtype):
        for which, view in views(d, dtype).items():
            yield view.mine, (matrix_of(which), kernel, view, *(each(view, dtype) for each in more))

    return made


def of_rows(seed: int) -> Callable:
    return lambda view, dtype: numbers(len(view.mine), None, dtype, seed)


def of_everyone(seed: int) -> Callable:
    return lambda view, dtype: numbers(len(view.everyone), None, dtype, seed)


def with_step(kernel, d, dtype):
    z, velocity, other = (numbers(N, d, dtype, seed) for seed in (1, 3, 4))
    for curvature in (numbers(N, None, dtype, 5), numbers(1, None, dtype, 5)):
        yield z, (MATRIX, kernel, z, velocity, 1.5, 0.3, other, curvature, 1.3, 0.9, 2.0)


def drawn(*more: Callable) -> Callable:
    def made(kernel, d, dtype):
        for view in views(d, dtype).values():
            pairs = drawn_pairs(N, 9, 3, CPU).at_step(18)
            yield view.mine, (pairs, kernel, view, *(each(view, dtype) for each in more))

    return made


def hyperbolic_edges(kernel, d, dtype):
    for which, view in in_ball(d, dtype).items():
        yield view.mine, (matrix_of(which), view, 0.5)


def hyperbolic_sums(kernel, d, dtype):
    for view in in_ball(d, dtype).values():
        yield view.mine, (view, numbers(N, None, dtype, 3), 0.5)


def of_all_rows(view: View, dtype) -> torch.Tensor:
    return numbers(view.n_rows, None, dtype, 7)


def row_partition(kernel, d, dtype):
    for which, view in views(d, dtype).items():
        if which != "shard":  # which needs the other rows
            counts = numbers(N, None, dtype, 4).mul(2).round()
            yield view.mine, (kernel, view, of_all_rows(view, dtype), counts)


def nearby(kernel, d, dtype):
    for which, view in views(d, dtype).items():
        yield view.mine, (PARTNERS[: len(view.mine)], matrix_of(which), view, 9.0, 12345, 100)


def mirrored(kernel, d, dtype):
    yield PARTNERS, (PARTNERS,)


def exact_sum(kernel, d, dtype):
    for view in views(d, dtype).values():
        weights = numbers(N, None, dtype, 4)
        yield view.mine, (kernel, view.mine, view.everyone, weights, view.first)


def nesterov(kernel, d, dtype):
    """Of forces of which one has a curvature for each cell, none has, or two have."""
    z, velocity = (numbers(N, d, dtype, seed) for seed in (1, 3))
    each, flat = numbers(N, None, dtype, 5), numbers(1, None, dtype, 5)
    force = {name: Force(numbers(N, d, dtype, seed), None, curvature) for seed, (name, curvature) in enumerate(
        {"each": each, "flat": flat, "none": None}.items())}  # fmt: skip
    for names in (("each", "flat"), ("flat", "each", "none"), ("each", "each"), ("flat",), ("each",)):
        forces = [(1.5 - 0.4 * place, force[name]) for place, name in enumerate(names)]
        yield z, (z, velocity, forces, 1.3, 0.9, torch.tensor(2.0, dtype=torch.float64))


def adam(kernel, d, dtype):
    z, gradient, mean = (numbers(N, d, dtype, seed) for seed in (1, 3, 4))
    yield z, (z, gradient, mean, numbers(N, d, dtype, 5).square(), (0.9, 0.999), 1e-7, 0.3)


def sampled_epoch(kernel, d, dtype):
    z = numbers(N, d, dtype, 1, 8.0)  # far from each other: near pairs lose digits
    for exclude in (False, True):
        epochs = SampledEpochs(MATRIX, Rational(1.5, 0.9, clip=4.0), RationalRepulsion(1.5, 0.9), 3, exclude, 7)
        epochs = replace(epochs, matrix=replace(MATRIX, weights=MATRIX.weights / MATRIX.weights.max()))
        yield z, (epochs, z, 5, 12345, 1.0, 0.7, 0.1)


NODES, SPACING = (48, 64, 80), 0.6


def on_a_grid(kernel, d, dtype):
    z, nodes = numbers(N, d, dtype, 1), NODES[-d:]
    kind = influence(StudentT(), SPACING, nodes, CPU, dtype)
    yield z, (z, numbers(N, None, dtype, 4), np.full(d, -14.0), SPACING, nodes, kind, convolve.Buffers())


def off_a_grid(kernel, d, dtype):
    """Both read one potential, that of the plan in float64."""
    z, weights = numbers(N, d, torch.float64, 1), numbers(N, None, torch.float64, 4)
    plan = RADIAL_SUMS["fft"](StudentT(), n_components=d, tolerance=None, device=CPU, dtype=torch.float64, world=SERIAL)
    field = plan.field(z, weights)
    field = replace(
        field,
        potential=field.potential.to(dtype),
        influence=replace(field.influence, felt=field.influence.felt.to(dtype)),
    )
    z, weights = z.to(dtype), weights.to(dtype)
    yield z, (z, weights, field)
    yield z, (z[20:90], None, field)


def candidates(kernel, d, dtype):
    z = numbers(N, d, dtype, 1)
    yield z, (z, nearest_neighbors(z.float(), 25, method="torch").indices.flip(1).contiguous(), 12)


# arguments by name, dimensions where the table names none, and how far apart the two may be
ARGUMENTS: dict[str, tuple[Callable, tuple[int, ...], float]] = {
    "attraction": (along_edges(lambda view, dtype: True), (1, 2, 3, 4), 1e-5),
    "attraction in one pass": (along_edges(), (), 1e-5),
    "attraction and step": (with_step, (), 1e-5),
    "pair sum": (along_edges(lambda view, dtype: True), (1, 2, 3, 4), 1e-5),
    "denominators": (along_edges(of_rows(3), of_everyone(4)), (1, 2, 3, 4), 1e-5),
    "logs of denominators": (along_edges(of_rows(3)), (1, 2, 3, 4), 1e-5),
    "radii": (along_edges(), (1, 2, 3, 4), 1e-5),
    "forces of radii": (along_edges(of_rows(3), of_rows(4), of_everyone(5), of_everyone(6)), (1, 2, 3, 4), 1e-5),
    "masses of drawn pairs": (drawn(), (), 1e-5),
    "pushes of drawn pairs": (drawn(of_all_rows), (), 1e-5),
    "hyperbolic attraction": (hyperbolic_edges, (), 1e-5),
    "hyperbolic sums": (hyperbolic_sums, (), 1e-5),
    "row partition": (row_partition, (), 1e-5),
    "nearby partners": (nearby, (1, 2, 3, 4), 0),
    "mirrored pairs": (mirrored, (5,), 0),
    "exact sum": (exact_sum, (), 1e-5),
    "potential on a grid": (on_a_grid, (1, 2, 3), 1e-5),
    "reading of a grid": (off_a_grid, (1, 2, 3), 3e-4),
    "nesterov": (nesterov, (1, 2, 3, 4), 1e-5),
    "adam": (adam, (1, 2, 5), 1e-5),
    "sampled epoch": (sampled_epoch, (1, 2, 3, 4), 1e-4),
    "nearest candidates": (candidates, (2, 5), 1e-6),
}
COMPILED = {key: entry for key, entry in TWINS.items() if key[1:] != twins.PLAIN}


def cases():
    for (name, device, dtype), entry in COMPILED.items():
        known = (None,) if entry.kernels is None else twins._named(entry.kernels)
        kernels = [one for kind in known for one in (INSTANCES[kind] if isinstance(kind, type) else (kind,))]
        for kernel in kernels:
            for d in entry.dimensions or ARGUMENTS[name][1]:
                yield pytest.param(name, device, dtype, kernel, d, id=f"{name}-{device}-{kernel}-{d}")


def as_tensors(found) -> list[torch.Tensor]:
    return [torch.as_tensor(part) for part in (found if isinstance(found, tuple) else (found,)) if part is not None]


def compared(name: str, found: list[torch.Tensor], expected: list[torch.Tensor]):
    """The parts that have one order; sides of ranges are put together, and pairs of a row are sorted."""
    if name == "attraction and step":
        found[2] = torch.stack([found[2][:, 0].amin(0), found[2][:, 1].amax(0)])[None]
    if name == "mirrored pairs":
        rows = torch.repeat_interleave(torch.arange(N), expected[0].diff())
        found[1], expected[1] = ((rows * N + part).sort().values for part in (found[1], expected[1]))
    return zip(found, expected, strict=True)


def test_every_name_has_a_plain_function_and_arguments():
    names = {name for name, *_ in TWINS}
    assert {name for name, *rest in TWINS if tuple(rest) == twins.PLAIN} == names == set(ARGUMENTS)
    assert all(callable(twins._named(entry.function)) for entry in TWINS.values())


@pytest.mark.parametrize(("name", "device", "dtype", "kernel", "d"), list(cases()))
def test_compiled_twin_equals_plain(name, device, dtype, kernel, d):
    if device != "cpu" and not torch.cuda.is_available():
        pytest.skip(f"no {device} here")
    arguments, _, tolerance = ARGUMENTS[name]
    floating = dtype if dtype.is_floating_point else torch.float32
    single = list(arguments(kernel, d, floating))
    double = list(arguments(kernel, d, torch.float64))
    for (tensor, given), (_, exact) in zip(single, double, strict=True):
        function = compiled_twin(name, tensor.to(device), kernel)
        assert function is twins._named(TWINS[(name, device, dtype)].function)
        plain = twins._named(TWINS[(name, *twins.PLAIN)].function)
        found, expected = as_tensors(function(*given)), as_tensors(plain(*exact))
        for part, truth in compared(name, found, expected):
            assert part.shape == truth.shape
            assert part.dtype.is_floating_point == truth.dtype.is_floating_point
            if tolerance == 0:
                assert (part == truth).all()
            else:
                assert _truth.relative(part, truth) <= tolerance


class Bell:
    """A kernel of a user's own: q(u) = 1 / (1 + u)²."""

    def log_value(self, sq_dist):
        return -2 * (1 + sq_dist).log()

    def log_slope(self, sq_dist):
        return -2 / (1 + sq_dist)

    def value(self, sq_dist):
        return 1 / (1 + sq_dist) ** 2

    def slope(self, sq_dist):
        return -2 / (1 + sq_dist) ** 3


@pytest.mark.parametrize("name", sorted({name for (name, *_), entry in COMPILED.items() if entry.kernels}))
def test_kernel_that_nobody_compiled_takes_the_plain_function(name):
    plain = twins._named(TWINS[(name, *twins.PLAIN)].function)
    assert twin(name, torch.zeros(3, 2), Bell()) is plain
    assert twin(name, torch.zeros(3, 2, dtype=torch.float64), StudentT()) is plain
    assert compiled_twin(name, torch.zeros(3, 2), Bell()) is None
