"""What every term makes of a view: new cells beside fixed ones by brute force, and shards against the whole."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, is_dataclass, replace

import numpy as np
import pytest
import torch

from sc_nembed.engine.affinity import PrecomputedAffinity
from sc_nembed.engine.affinity._symmetrize import directed
from sc_nembed.engine.graph import AffinityMatrix
from sc_nembed.engine.kernel import Gaussian, NoiseRepulsion, Rational, RationalRepulsion, StudentT
from sc_nembed.engine.optimize.loop import optimize
from sc_nembed.engine.optimize.optimizer import resolve_optimizer
from sc_nembed.engine.optimize.schedule import Phase
from sc_nembed.engine.optimize.state import Rules, RunState
from sc_nembed.engine.presets.method import Problem
from sc_nembed.engine.radial_sum import RADIAL_SUMS
from sc_nembed.engine.terms import (
    NCE,
    Attraction,
    Autograd,
    Density,
    DrawnContrast,
    Edges,
    ExpectedContrast,
    ExpectedRepulsion,
    Force,
    Gravity,
    HyperbolicAttraction,
    HyperbolicPartition,
    InfoNCE,
    Mass,
    NormTerm,
    PairSum,
    Partition,
    Reference,
    RowPartition,
    SinkhornPartition,
    Term,
    WeightedMass,
    nearby_pair_sum,
    partners,
)  # fmt: skip
from sc_nembed.engine.terms.circle import drawn_pairs
from sc_nembed.engine.terms.pair_potential import LocalPull, Pull, Push
from sc_nembed.engine.view import View
from sc_nembed.engine.world import SERIAL

from . import _truth

N, M, BETWEEN = 90, 14, 37  # fixed cells, new cells, where a shard ends
CPU = torch.device("cpu")
DTYPES = {"fused": torch.float32, "plain": torch.float64}
RNG = np.random.default_rng(0)
FIXED, NEW = (RNG.normal(scale=2.0, size=(n, 2)).astype(np.float32) for n in (N, M))
BALL, NEW_BALL = (0.25 * points / np.abs(points).max() for points in (FIXED, NEW))
COUNTS = RNG.integers(1, 4, N).astype(np.float32)
PER_ROW, PER_NEW = (RNG.uniform(0.5, 2, n).astype(np.float32) for n in (N, M))
WEIGHTS = RNG.uniform(size=(N, N)) * (RNG.uniform(size=(N, N)) < 0.2)
SPARSE = (RNG.uniform(0.1, 1, size=(M, N)) * (RNG.uniform(size=(M, N)) < 0.3)).astype(np.float32)
SCALES = RNG.normal(scale=0.3, size=N).astype(np.float32)
UMAP, GAUSSIAN = Rational(1.5, 0.9, clip=4.0), Gaussian(3.0)
MATRIX, KEY = PrecomputedAffinity(WEIGHTS)(), 5


def rectangle(weights: np.ndarray = SPARSE):
    """New cells beside the fixed ones."""
    rows, columns = np.nonzero(weights)
    indptr = np.concatenate([[0], np.bincount(rows, minlength=len(weights)).cumsum()])
    return directed(indptr, columns.astype(np.int32), weights[rows, columns], n_fixed=N, normalize=False)


def plan(potential, dtype, name="torch"):
    return RADIAL_SUMS[name](potential, n_components=2, tolerance=None, device=CPU, dtype=dtype, world=SERIAL)


def tensor(values, dtype) -> torch.Tensor:
    return torch.from_numpy(np.asarray(values)).to(dtype)


# --- the terms: one of the fit's cells, and one of the new ones, with the loss that the new ones feel ---


@dataclass(frozen=True)
class Case:
    """`fit` and `new` make the term for a dtype; `felt` is what new cells feel, its value the second result.

    A loss counts every pair of a new cell and a fixed one at both ends, the value at the end of the new one.
    """

    fit: Callable[[torch.dtype], Term]
    new: Callable[[torch.dtype], Term] | None = None
    felt: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]] | None = None
    in_ball: bool = False
    same_bits: bool = True  # of shards and whole: no sum over all rows
    refuses: str | None = None  # new cells


def between(new: torch.Tensor, fixed=FIXED) -> torch.Tensor:
    """Squared distances, (M, N)."""
    return (new[:, None] - torch.from_numpy(np.asarray(fixed, float))[None]).square().sum(2)


def twice(value: Callable[[torch.Tensor], torch.Tensor]) -> Callable:
    """The loss of pairs that stand at both ends, and its value."""
    return lambda new: (2 * value(new), value(new))


P = torch.from_numpy(SPARSE.astype(float))
TOTAL = float(P.sum())
R = torch.from_numpy(PER_NEW.astype(float))
C = torch.from_numpy(COUNTS.astype(float))


def along_edges(kernel):
    return twice(lambda new: -(P * kernel.log_value(between(new))).sum())


def of_the_partition(kernel):
    return twice(lambda new: 0.7 * (kernel.value(between(new)) * C).sum().log())


def of_rows(kernel):
    return twice(lambda new: (R * (kernel.value(between(new)) * C).sum(1).log()).sum())


def drawn_by_new(n_negatives: int) -> torch.Tensor:
    """The fixed cells that new ones draw: those after a place of the circle, (M, m)."""
    pairs = drawn_pairs(N, n_negatives, KEY, CPU)
    return pairs.drawn_by(View(torch.zeros(M, 2), torch.zeros(N, 2), None), torch.arange(M))


def of_drawn(potential):
    def value(new):
        sq_dist = between(new).gather(1, drawn_by_new(6))
        return (R[:, None] * potential.value(sq_dist)).sum()

    return twice(value)


def of_info_nce(with_positive: bool):
    def value(new):
        q = StudentT().value(between(new))
        negatives = q.gather(1, drawn_by_new(6)).sum(1)
        if with_positive:
            return (P * (q + negatives[:, None]).log()).sum()
        return (P.sum(1).float() * negatives.log()).sum()  # sums of rows are kept in float32

    return twice(value)


def of_nce(new):
    noise, q = np.exp(-1.3), StudentT().value(between(new))
    others = q.gather(1, drawn_by_new(6))
    return (P * (q + noise).log()).sum() + (R[:, None] * (1 + others / noise).log()).sum()


def of_expected_repulsion(new):
    """Only the end of the cell itself, as UMAP's."""
    value = (R * 3.0 / C.sum() * (RationalRepulsion(1.5, 0.9).value(between(new)) * C).sum(1)).sum()
    return value, value


def of_sinkhorn(new):
    """With the f that make the rows sum to r; the derivative by them is 0."""
    f = torch.from_numpy(SCALES.astype(float)).exp()
    mass = (StudentT().value(between(new)) * f * C).sum(1)
    own = R.log() - mass.log()
    value = ((own.exp() * mass) - R * (2 * own + 1)).sum()
    return 2 * (own.detach().exp() * mass).sum(), value


def hyperbolic(new):
    """Squared distances in the ball."""
    room, rooms = 1 - new.square().sum(1), torch.from_numpy(1 - (BALL.astype(float) ** 2).sum(1))
    root = (between(new, BALL) / (room[:, None] * rooms)).sqrt()
    return 4 * root.asinh().square()


def of_norms(new):
    length = 2 * new.norm(dim=1).atanh()
    value = (R - length.square()).square().mean()
    return value, value


def of_gravity(new):
    value = (R * (new.square().sum(1) + 0.1**2).sqrt()).sum()
    return value, value


def of_density(new):
    """The correlation among the new cells, whose radii the fixed ones do not share."""
    q, sq_dist = UMAP.value(between(new)) * (P > 0), between(new)
    radius = (1e-8 + (q * sq_dist).sum(1) / q.sum(1)).log()
    standard = (R - R.mean()) / (R - R.mean()).square().mean().sqrt()
    centred = radius - radius.mean()
    value = -(standard * centred).mean() / (centred.square().mean() + 0.1).sqrt()
    return value, value


def of_pairs(potential):
    """A pair counts once; half of it is the new cell's."""
    loss = lambda new: (P * potential.value(between(new))).sum()  # noqa: E731
    return lambda new: (loss(new), loss(new) / 2)


def of_nearby(new):
    """Before the first draw: the partners that were given."""
    loss = Push().value(between(new).gather(1, torch.from_numpy(TABLE[:M].astype(int)))).sum()
    return loss, loss / 2


TABLE = np.stack([RNG.choice(N, 5, replace=False) for _ in range(N)]).astype(np.int32)


def new_nearby(dtype):
    total = PairSum(partners.one_end(torch.from_numpy(TABLE[:M]), N), Push())
    made = nearby_pair_sum(torch.from_numpy(TABLE), Push(), MATRIX, 3.0, 0, KEY)
    return replace(made, total=total, partners=torch.from_numpy(TABLE[:M]), matrix=rectangle())


def contrast(dtype, counts=None, row_mass=PER_ROW):
    return ExpectedContrast(plan(NoiseRepulsion(0.4), dtype), tensor(row_mass, dtype), 1.0, 3.0, counts)


def row_partition(kernel, dtype, row_mass=PER_ROW, name=None):
    made = None if name is None else plan(kernel, dtype, name)
    return RowPartition(kernel, tensor(row_mass, dtype), 1.0, made, tensor(COUNTS, dtype))


def edges_of_all() -> Edges:
    return Edges(MATRIX, StudentT())


def edges_of_new() -> Edges:
    return Edges(rectangle(), StudentT())


def pairs_of_step():
    return drawn_pairs(N, 6, KEY, CPU)


CASES = (
    {
        f"attraction {type(kernel).__name__}": Case(
            lambda dtype, kernel=kernel: Attraction(MATRIX, kernel),
            lambda dtype, kernel=kernel: Attraction(rectangle(), kernel),
            along_edges(kernel),
        )
        for kernel in (StudentT(0.6), GAUSSIAN, UMAP)
    }
    | {
        "partition": Case(
            lambda dtype: Partition(plan(StudentT(), dtype), 0.7, tensor(COUNTS, dtype)),
            lambda dtype: Partition(plan(StudentT(), dtype), 0.7, tensor(COUNTS, dtype)),
            of_the_partition(StudentT()),
            same_bits=False,
        ),
        "partition on a grid": Case(
            lambda dtype: Partition(plan(StudentT(), dtype, "fft"), 0.7),
            same_bits=False,
        ),
        "mass": Case(
            lambda dtype: Mass(plan(GAUSSIAN, dtype), 0.7, tensor(COUNTS, dtype)),
            lambda dtype: Mass(plan(GAUSSIAN, dtype), 0.7, tensor(COUNTS, dtype)),
            twice(lambda new: (GAUSSIAN.value(between(new)) * C).sum()),
        ),
        "weighted mass": Case(
            lambda dtype: WeightedMass(plan(StudentT(), dtype), tensor(PER_ROW, dtype), 0.7),
            lambda dtype: WeightedMass(plan(StudentT(), dtype), tensor(PER_ROW, dtype), 0.7, tensor(PER_NEW, dtype)),
            twice(lambda new: (R[:, None] * StudentT().value(between(new)) * torch.from_numpy(PER_ROW)).sum()),
        ),
        "row partition": Case(
            lambda dtype: row_partition(GAUSSIAN, dtype),
            lambda dtype: row_partition(GAUSSIAN, dtype, PER_NEW),
            of_rows(GAUSSIAN),
        ),
        "row partition of another kernel": Case(
            lambda dtype: row_partition(UMAP, dtype),
            lambda dtype: row_partition(UMAP, dtype, PER_NEW),
            of_rows(UMAP),
            same_bits=False,  # the plain sums over a block depend on its size
        ),
        "row partition by a plan": Case(
            lambda dtype: row_partition(StudentT(), dtype, name="torch"),
            lambda dtype: row_partition(StudentT(), dtype, PER_NEW, "torch"),
            of_rows(StudentT()),
            same_bits=False,
        ),
        "sinkhorn": Case(
            lambda dtype: SinkhornPartition(plan(StudentT(), dtype), tensor(PER_ROW, dtype), tensor(COUNTS, dtype)),
            lambda dtype: SinkhornPartition(
                plan(StudentT(), dtype), tensor(PER_NEW, dtype), tensor(COUNTS, dtype), tensor(SCALES, dtype)
            ),
            of_sinkhorn,
            same_bits=False,
        ),
        "expected repulsion": Case(
            lambda dtype: ExpectedRepulsion(plan(UMAP, dtype), tensor(PER_ROW, dtype), 3.0, tensor(COUNTS, dtype)),
            lambda dtype: ExpectedRepulsion(
                plan(RationalRepulsion(1.5, 0.9), dtype), tensor(PER_NEW, dtype), 3.0, tensor(COUNTS, dtype)
            ),
            of_expected_repulsion,
        ),
        "expected contrast": Case(
            lambda dtype: contrast(dtype, tensor(COUNTS, dtype)),
            lambda dtype: contrast(dtype, tensor(COUNTS, dtype), PER_NEW),
            twice(lambda new: (R[:, None] * NoiseRepulsion(0.4).value(between(new)) * C).sum() * 3.0 / C.sum()),
        ),
        "expected contrast of even rows": Case(lambda dtype: contrast(dtype, row_mass=np.ones(N, np.float32))),
        "drawn contrast": Case(
            lambda dtype: DrawnContrast(NoiseRepulsion(0.4), tensor(PER_ROW, dtype), 1.0, pairs_of_step()),
            lambda dtype: DrawnContrast(NoiseRepulsion(0.4), tensor(PER_NEW, dtype), 1.0, pairs_of_step()),
            of_drawn(NoiseRepulsion(0.4)),
        ),
        "InfoNCE": Case(
            lambda dtype: InfoNCE(edges_of_all(), pairs_of_step()),
            lambda dtype: InfoNCE(edges_of_new(), pairs_of_step()),
            of_info_nce(True),
        ),
        "InfoNCE of negatives": Case(
            lambda dtype: InfoNCE(edges_of_all(), pairs_of_step(), with_positive=False),
            lambda dtype: InfoNCE(edges_of_new(), pairs_of_step(), with_positive=False),
            of_info_nce(False),
            same_bits=False,  # the sums of a shard's rows of P are differences of other running sums
        ),
        "NCE": Case(
            lambda dtype: NCE(edges_of_all(), tensor(PER_ROW, dtype), pairs_of_step(), -1.3),
            lambda dtype: NCE(edges_of_new(), tensor(PER_NEW, dtype), pairs_of_step(), -1.3),
            twice(of_nce),
            same_bits=False,
        ),
        "density": Case(
            lambda dtype: Density(MATRIX, UMAP, tensor(PER_ROW, torch.float64)),
            lambda dtype: Density(rectangle(), UMAP, tensor(PER_NEW, torch.float64)),
            of_density,
            same_bits=False,
        ),
        "gravity": Case(
            lambda dtype: Gravity(tensor(PER_ROW, dtype), 0.1),
            lambda dtype: Gravity(tensor(PER_NEW, dtype), 0.1),
            of_gravity,
        ),
        "hyperbolic attraction": Case(
            lambda dtype: HyperbolicAttraction(MATRIX, 0.5),
            lambda dtype: HyperbolicAttraction(rectangle(), 0.5),
            twice(lambda new: (P * (1 + hyperbolic(new) / 0.25).log()).sum()),
            in_ball=True,
        ),
        "hyperbolic partition": Case(
            lambda dtype: HyperbolicPartition(0.5, 0.7, tensor(COUNTS, dtype)),
            lambda dtype: HyperbolicPartition(0.5, 0.7, tensor(COUNTS, dtype)),
            twice(lambda new: 0.7 * (C / (1 + hyperbolic(new) / 0.25)).sum().log()),
            in_ball=True,
            same_bits=False,
        ),
        "norms": Case(
            lambda dtype: NormTerm(tensor(PER_ROW, dtype), tensor(COUNTS, dtype)),
            lambda dtype: NormTerm(tensor(PER_NEW, dtype), tensor(COUNTS, dtype)),
            of_norms,
            in_ball=True,
        ),
        "nearby pairs": Case(
            lambda dtype: nearby_pair_sum(torch.from_numpy(TABLE), Push(), MATRIX, 3.0, 0, KEY), new_nearby, of_nearby
        ),
        "autograd": Case(lambda dtype: Autograd(lambda z: z.square().sum() + z[0] @ z[5]), refuses="function of all"),
        "reference": Case(
            lambda dtype: Reference(tensor(FIXED[::-1].copy(), dtype), counts=tensor(COUNTS, dtype)),
            same_bits=False,
            refuses="new cells",
        ),
    }
    | {
        f"pairs {type(potential).__name__}": Case(
            lambda dtype, potential=potential: PairSum(MATRIX, potential),
            lambda dtype, potential=potential: PairSum(rectangle(), potential),
            of_pairs(potential),
        )
        for potential in (Pull(), Push(), LocalPull())
    }
)


def positions_of(case: Case, dtype) -> tuple[torch.Tensor, torch.Tensor]:
    fixed, new = (BALL, NEW_BALL) if case.in_ball else (FIXED, NEW)
    return tensor(fixed, dtype), tensor(new, dtype)


def test_table_holds_every_term():
    """A new term is tested, or this says that it is not."""
    tested = {type(case.fit(torch.float32)) for case in CASES.values()}
    known = set()
    for term in Term.__subclasses__():
        if term.__module__.startswith("sc_nembed"):
            known.add(term)
    assert known == tested


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.felt])
def test_new_cells_feel_what_brute_force_says(name, dtype):
    """In float64, by autograd of a loss that knows nothing of the package's sums."""
    case = CASES[name]
    fixed, new = positions_of(case, dtype)
    force = case.new(dtype)(View(new, fixed, None), value=True)
    leaf = new.double().requires_grad_()
    loss, value = case.felt(leaf)
    (gradient,) = torch.autograd.grad(loss, leaf)
    assert _truth.relative(force.gradient, gradient) <= (1e-10 if dtype == torch.float64 else 2e-5)
    assert float(force.value) == pytest.approx(float(value.detach()), rel=1e-6 if dtype == torch.float64 else 2e-5)
    assert force.curvature is None or force.curvature.shape in ((M,), (1,))
    assert force.curvature is None or (force.curvature >= 0).all()


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.refuses])
def test_terms_that_know_no_new_cells_say_why(name):
    case = CASES[name]
    fixed, new = positions_of(case, torch.float64)
    with pytest.raises(ValueError, match=case.refuses):
        case.fit(torch.float64)(View(new, fixed, None), value=False)


def test_new_cells_of_sinkhorn_and_weights_need_those_of_the_fit():
    fixed, new = positions_of(CASES["sinkhorn"], torch.float64)
    for name, match in (("sinkhorn", "log_scale"), ("weighted mass", "new_weights")):
        with pytest.raises(ValueError, match=match):
            CASES[name].fit(torch.float64)(View(new, fixed, None), value=False)


class Threads:
    """Two processes, played by threads that meet at a barrier."""

    def __init__(self, bounds: list[tuple[int, int]]) -> None:
        self.bounds, self.barrier, self.given = bounds, threading.Barrier(len(bounds), timeout=60), {}

    def of(self, which: int) -> "OneOf":
        return OneOf(self, which)

    def all(self, which: int, given: torch.Tensor) -> list[torch.Tensor]:
        self.given[which] = given
        self.barrier.wait()
        found = [self.given[other] for other in range(len(self.bounds))]
        self.barrier.wait()
        return found


@dataclass(frozen=True)
class OneOf:
    threads: Threads
    which: int

    def rows(self, n: int) -> tuple[int, int]:
        assert n == self.threads.bounds[-1][1]
        return self.threads.bounds[self.which]

    def sum(self, given: torch.Tensor) -> torch.Tensor:
        return sum(self.threads.all(self.which, given))

    def gather(self, given: torch.Tensor) -> torch.Tensor:
        return torch.cat(self.threads.all(self.which, given))


def by_shards(make: Callable[[], Term], positions: torch.Tensor, steps: tuple[int, ...]) -> list[Force]:
    bounds = [(0, BETWEEN), (BETWEEN, len(positions))]
    threads = Threads(bounds)

    def one(which: int) -> Force:
        begin, end = bounds[which]
        term, view = make().shard(begin, end), View(positions[begin:end], positions, begin, threads.of(which))
        for step in steps:
            term = term.at_step(view, step)
        return term(view, value=True)

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, range(2)))


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_shards_put_together_are_the_whole(name, dtype):
    """After two steps, so that what a term carries is shared, too."""
    case, steps = CASES[name], (0, 11)
    positions, _ = positions_of(case, dtype)
    whole, view = case.fit(dtype), View.whole(positions)
    for step in steps:
        whole = whole.at_step(view, step)
    expected, found = whole(view, value=True), by_shards(lambda: case.fit(dtype), positions, steps)
    together = torch.cat([force.gradient for force in found])
    if case.same_bits and dtype == torch.float32:
        assert torch.equal(together, expected.gradient)
    assert _truth.relative(together, expected.gradient) <= 1e-6
    values = [float(force.value) for force in found]
    value = values[0] if whole.of_all_rows else sum(values)
    assert value == pytest.approx(float(expected.value), rel=1e-6)
    if whole.of_all_rows:
        assert values[1] == values[0]
    if expected.curvature is not None:
        rows = [force.curvature.expand(len(force.gradient)) for force in found]
        assert _truth.relative(torch.cat(rows), expected.curvature.expand(len(positions))) <= 1e-6


def end_of_run(optimizer: str, world) -> tuple[torch.Tensor, tuple]:
    """The rows of a process after a few steps of t-SNE, and what its checks have seen."""
    positions, bounds = tensor(FIXED, torch.float32), world.rows(N)
    mine = slice(*bounds)
    plan = RADIAL_SUMS["torch"](
        StudentT(), n_components=2, tolerance=None, device=torch.device("cpu"), dtype=torch.float32, world=world
    )
    terms = {
        "repulsion": Partition(plan, MATRIX.total),
        "attraction": Attraction(MATRIX, StudentT()).shard(*bounds),
        "reference": Reference(positions.roll(1, 1) - positions.roll(1, 1).mean(0)),
    }
    rules = Rules(
        Problem(terms, dict.fromkeys(terms, 1.0)), resolve_optimizer(optimizer, None), max_iter=12, check_interval=4,
        min_grad_norm=0.0, max_grad_norm=0.3, world=world,
    )  # fmt: skip
    rate, momentum = (1.0, 0.8) if optimizer == "auto" else (0.05, None)
    phases = tuple(Phase(str(anchor), 6, {"attraction": 2.0}, rate, momentum, anchor) for anchor in (0.1, 0.0))
    state = optimize(RunState(positions[mine].clone(), positions[mine].clone()), rules, phases)
    return state.positions, state.history


@pytest.mark.parametrize("optimizer", ["auto", "DeltaBarDelta", "Adam", "SGD"])
def test_a_run_of_two_shards_is_that_of_one_process(optimizer):
    """But for the order in which sums over all cells are added up."""
    expected, history = end_of_run(optimizer, SERIAL)
    threads = Threads([(0, BETWEEN), (BETWEEN, N)])
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda which: end_of_run(optimizer, threads.of(which)), range(2)))
    assert _truth.relative(torch.cat([positions for positions, _ in found]), expected) <= 1e-4
    assert _truth.relative(expected, tensor(FIXED, torch.float32)) > 1e-3
    assert found[0][1] == found[1][1]
    for row, truth in zip(found[0][1], history, strict=True):
        assert row == pytest.approx(truth, rel=1e-4)


def test_partners_of_new_cells_are_near_others_that_are_not_neighbors():
    """By hand: each is a fixed cell within the distance, of the draws of the new cell's number."""
    fixed, new = tensor(FIXED, torch.float32), tensor(NEW, torch.float32)
    for dtype in DTYPES.values():
        view = View(new.to(dtype), fixed.to(dtype), None)
        term = new_nearby(dtype).at_step(view, 11)
        table, neighbors = term.partners.numpy(), _truth.dense(rectangle()) > 0
        changed = table != TABLE[:M]
        assert changed.mean() > 0.9
        rows, places = changed.nonzero()
        assert not neighbors[rows, table[rows, places]].any()
        apart = _truth.sq_distances(NEW, FIXED)[rows, table[rows, places]]
        assert (apart <= 9).all()
        np.testing.assert_array_equal(term.total.pairs.to_dense().sum(1), 5)
        assert term.total.pairs.first_row is None


def test_a_batch_is_refused_where_a_term_needs_every_row():
    positions = tensor(FIXED, torch.float32)
    view = View(positions[:BETWEEN], positions, 0)
    with pytest.raises(ValueError, match="needs a number of every row"):
        CASES["partition"].fit(torch.float32)(view, value=False)
    alone = CASES["gravity"].fit(torch.float32)(view, value=True)
    whole = CASES["gravity"].fit(torch.float32)(View.whole(positions), value=True)
    assert torch.equal(alone.gradient, whole.gradient[:BETWEEN])


def test_a_shard_of_a_matrix_is_its_rows():
    shards = [MATRIX.shard(0, BETWEEN), MATRIX.shard(BETWEEN, N)]
    assert [shard.first_row for shard in shards] == [0, BETWEEN]
    np.testing.assert_array_equal(np.concatenate([shard.to_dense() for shard in shards]), MATRIX.to_dense())
    assert [shard.to_dense().shape for shard in shards] == [(BETWEEN, N), (N - BETWEEN, N)]
    assert torch.equal(torch.cat([shard.row_mass for shard in shards]), MATRIX.row_mass)
    again = shards[1].shard(3, 7)
    assert (again.first_row, again.total) == (BETWEEN + 3, MATRIX.total)
    np.testing.assert_array_equal(again.to_dense(), MATRIX.to_dense()[BETWEEN + 3 : BETWEEN + 7])


def test_a_rectangle_has_its_own_rows_and_the_fixed_columns():
    matrix = rectangle()
    assert (matrix.n_rows, matrix.n_cols, matrix.first_row) == (M, N, None)
    np.testing.assert_array_equal(matrix.to_dense(), SPARSE)
    np.testing.assert_allclose(matrix.row_mass, SPARSE.sum(1, dtype=float), rtol=1e-6)
    assert matrix.shard(2, 5).first_row is None
    with pytest.raises(ValueError, match="first_row"):
        replace(matrix, first_row=N)


ASKS_THE_HOST = {
    "partition on a grid": "the box of the points says how large the grid is",
    "expected contrast": "whether the rows are even, once a run",
    "expected contrast of even rows": "the same",
    "NCE": "the noise is a number of the potential",
}


def without_data(found):
    """The same with tensors that have shapes alone: to read a number of one is an error."""
    if isinstance(found, torch.Tensor | AffinityMatrix):
        return found.to(torch.device("meta"))
    if not is_dataclass(found):
        return found
    return replace(found, **{field.name: without_data(getattr(found, field.name)) for field in fields(found)})


@pytest.mark.parametrize("which", ["fit", "new"])
@pytest.mark.parametrize("name", [name for name in CASES if name not in ASKS_THE_HOST])
def test_plain_steps_read_no_number_from_the_device(name, which):
    case = CASES[name]
    if which == "new" and case.new is None:
        pytest.skip("takes no new cells")
    fixed, new = (points.to("meta") for points in positions_of(case, torch.float32))
    view = View.whole(fixed) if which == "fit" else View(new, fixed, None)
    term = without_data((case.fit if which == "fit" else case.new)(torch.float32))
    for step in (0, 11):
        term = term.at_step(view, step)
    force = term(view, value=True)
    assert force.gradient.shape == view.mine.shape
    assert force.gradient.device.type == force.value.device.type == "meta"


def test_few_new_cells_beside_many_fixed_ones_have_long_indices():
    """The columns say how many bytes an index takes: the last of 70 000 is not the last but 65 536."""
    fixed = np.zeros((70_000, 2), np.float32)
    fixed[-1] = 5.0
    matrix = directed(
        np.array([0, 1]), np.array([69_999], np.int32), np.ones(1, np.float32), n_fixed=len(fixed), normalize=False
    )
    view = View(torch.zeros(1, 2), torch.from_numpy(fixed), None)
    force = Attraction(matrix, StudentT())(view, value=True)
    assert float(force.value) == pytest.approx(np.log(51.0), rel=1e-6)
