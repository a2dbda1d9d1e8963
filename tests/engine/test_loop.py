"""The loop: what callbacks see, how runs end, and that its numbers are those of the positions."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from _configs import changed
from sc_nembed.engine.affinity import EntropicAffinity, UMAPAffinity
from sc_nembed.engine.compute import backend
from sc_nembed.engine.graph import KnnGraph
from sc_nembed.engine.kernel import StudentT
from sc_nembed.engine.neighbors import nearest_neighbors
from sc_nembed.engine.optimize.loop import MAX_HALVINGS, advance, optimize
from sc_nembed.engine.optimize.optimizer import PreconditionedNesterov, resolve_optimizer
from sc_nembed.engine.optimize.protocol import StepOptions
from sc_nembed.engine.optimize.schedule import Phase, Ramp, Schedule, unroll
from sc_nembed.engine.optimize.state import Rules, RunState
from sc_nembed.engine.pipeline import embed
from sc_nembed.engine.presets import normalized as objective_of_runs
from sc_nembed.engine.presets import tsne
from sc_nembed.engine.presets.method import Problem
from sc_nembed.engine.radial_sum import RADIAL_SUMS
from sc_nembed.engine.terms import Attraction, Force, Partition, Term
from sc_nembed.engine.view import View
from sc_nembed.engine.world import SERIAL

from . import _truth

N = 250


@pytest.fixture(scope="module")
def matrix(pbmc):
    return EntropicAffinity(10)(nearest_neighbors(pbmc[:N], 30))


@pytest.fixture(scope="module")
def affinity(matrix):
    return _truth.dense(matrix)


def run(matrix, *callbacks, **changes):
    config = changed(tsne(), max_iter=57, init="random", n_jobs=1)
    return embed(matrix, changed(config, **changes), callbacks=callbacks)


class Recorder(list):
    """A callback that keeps every StepInfo together with the embedding of that moment."""

    def __call__(self, info):
        self.append((info, info.embedding))


@pytest.mark.parametrize("optimizer", ["auto", "DeltaBarDelta", "Adam"])
@pytest.mark.parametrize(
    ("interval", "max_iter", "checks"),
    [
        (10, 57, [1, 10, 20, 30, 40, 50, 57]),
        (10, 30, [1, 10, 20, 30]),
        (1, 4, [1, 2, 3, 4]),
        (100, 5, [1, 5]),
        (10, 1, [1]),
        (3, 7, [1, 3, 6, 7]),
    ],
)
def test_checks_are_at_the_first_every_tenth_and_the_last_step(matrix, optimizer, interval, max_iter, checks):
    seen = Recorder()
    result = run(matrix, seen, optimizer=optimizer, check_interval=interval, max_iter=max_iter)
    assert [info.iteration for info, _ in seen] == checks
    assert result.history["iteration"].tolist() == checks
    assert result.n_iter == max_iter
    assert result.stop_reason == "max_iter"
    assert {info.max_iter for info, _ in seen} == {max_iter}


@pytest.mark.parametrize("strength", [1.0, 0.4])
@pytest.mark.parametrize("dof", [1.0, 0.6])
@pytest.mark.parametrize("optimizer", ["auto", "DeltaBarDelta", "Adam"])
def test_loss_and_gradient_norm_are_those_of_the_embedding(matrix, affinity, optimizer, dof, strength):
    seen = Recorder()
    run(
        matrix, seen, optimizer=optimizer, kwargs_affinity_out={"dof": dof}, repulsion_strength=strength,
        early_exaggeration_iter=20,
    )  # fmt: skip
    constant = (affinity[affinity > 0] * np.log(affinity[affinity > 0])).sum()
    for info, embedding in seen:
        assert info.loss == pytest.approx(
            _truth.loss(affinity, embedding, dof=dof, strength=strength) + constant, rel=1e-5
        )
        gradient = _gradient(affinity, embedding.astype(float), dof, info.exaggeration, strength)
        assert info.grad_norm == pytest.approx(np.linalg.norm(gradient), rel=1e-4)


def _gradient(affinity, positions, dof, exaggeration, strength):
    sq_dist = _truth.sq_distances(positions, positions)
    slope = (dof + 1) / 2 / (dof + sq_dist)
    kernel = _truth.student(sq_dist, dof) * (1 - np.eye(len(positions)))
    pull = 4 * slope * (exaggeration * affinity - strength * kernel / kernel.sum())
    return pull.sum(1)[:, None] * positions - pull @ positions


def test_history_is_what_callbacks_saw(matrix):
    seen = Recorder()
    result = run(matrix, seen)
    names = {"iteration": "iteration", "loss": "loss", "grad_norm": "grad_norm", "lr": "learning_rate"}
    for column, attribute in (names | {"exaggeration": "exaggeration"}).items():
        np.testing.assert_array_equal(result.history[column], [getattr(info, attribute) for info, _ in seen])
    assert {len(column) for column in result.history.values()} == {len(seen)}
    np.testing.assert_array_equal(result.embedding.numpy(), seen[-1][1])
    assert [info.phase for info, _ in seen] == ["early exaggeration"] + ["annealing"] + [
        "final"
    ] * 5  # ends at 8 and 16


def test_terms_are_stored_unweighted(matrix, affinity):
    history = run(matrix, repulsion_strength=0.4).history
    constant = (affinity[affinity > 0] * np.log(affinity[affinity > 0])).sum()
    np.testing.assert_allclose(
        history["loss"], history["attraction"] + 0.4 * history["repulsion"] + constant, rtol=1e-6
    )


@pytest.mark.parametrize("optimizer", ["auto", "DeltaBarDelta", "Adam", "SGD"])
@pytest.mark.parametrize("asked", [0, 1, 12, 30])
def test_exaggeration_is_above_one_for_exactly_the_steps_asked_for(matrix, optimizer, asked):
    history = run(matrix, optimizer=optimizer, early_exaggeration_iter=asked, max_iter=30, check_interval=1).history
    assert len(history["iteration"]) == 30
    assert (history["exaggeration"] > 1).sum() == asked
    assert (history["exaggeration"][:asked] > 1).all()


def test_true_stops_and_every_callback_is_still_called(matrix):
    seen = Recorder()
    result = run(matrix, lambda info: info.iteration >= 20, seen)
    assert result.stop_reason == "callback"
    assert result.n_iter == 20
    assert [info.iteration for info, _ in seen] == [1, 10, 20]
    np.testing.assert_array_equal(result.embedding.numpy(), seen[-1][1])


@pytest.mark.parametrize("answer", [None, False, 0])
def test_other_answers_go_on(matrix, answer):
    assert run(matrix, lambda info: answer).n_iter == 57


def test_exceptions_of_callbacks_propagate(matrix):
    def broken(info):
        raise LookupError("of the user")

    with pytest.raises(LookupError, match="of the user"):
        run(matrix, broken)
    assert run(matrix).n_iter == 57  # nothing is left locked


def test_embedding_of_a_step_is_a_copy(matrix):
    def spoil(info):
        info.embedding[:] = np.nan

    assert torch.equal(run(matrix, spoil).embedding, run(matrix).embedding)


@pytest.mark.parametrize("interval", [1, 7, 10])
@pytest.mark.parametrize("optimizer", ["auto", "DeltaBarDelta", "Adam"])
def test_checks_do_not_change_the_run(matrix, optimizer, interval):
    expected = run(matrix, optimizer=optimizer, check_interval=1000).embedding
    assert torch.equal(run(matrix, Recorder(), optimizer=optimizer, check_interval=interval).embedding, expected)


@pytest.mark.parametrize("early", [0, 25])
def test_small_gradient_stops_where_nothing_is_exaggerated(matrix, early):
    result = run(matrix, min_grad_norm=1e9, early_exaggeration_iter=early)
    assert result.stop_reason == "min_grad_norm"
    assert result.n_iter == (30 if early else 10)  # the start is no result
    assert run(matrix, min_grad_norm=0.0).stop_reason == "max_iter"


def test_final_loss_is_the_kl_divergence_of_the_embedding(matrix, affinity):
    result = run(matrix, max_iter=150)
    expected = _truth.kl(affinity, result.embedding.numpy())
    assert result.history["loss"][-1] == pytest.approx(expected, rel=1e-5)
    assert result.kl_divergence == pytest.approx(expected, rel=1e-5)


def test_kl_divergence_ignores_the_repulsion_strength(matrix, affinity):
    result = run(matrix, repulsion_strength=0.5)
    assert result.kl_divergence == pytest.approx(_truth.kl(affinity, result.embedding.numpy()), rel=1e-5)


def test_affinities_that_are_no_distribution_have_no_kl_divergence(pbmc):
    graph = nearest_neighbors(pbmc[:N], 14)
    matrix = UMAPAffinity(15)(graph)
    result = run(matrix)
    assert result.kl_divergence is None
    assert result.history["loss"][-1] == pytest.approx(
        _truth.loss(_truth.dense(matrix), result.embedding.numpy()), rel=1e-5
    )


@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_one_step_works(matrix, n_components):
    result = run(matrix, max_iter=1, n_components=n_components)
    assert result.n_iter == len(result.history["loss"]) == 1
    assert result.embedding.shape == (N, n_components)
    assert torch.isfinite(result.embedding).all()


# --- diverging runs ---


def objective(matrix, dtype=torch.float32):
    plan = RADIAL_SUMS["torch"](
        StudentT(), n_components=2, tolerance=None, device=torch.device("cpu"), dtype=dtype, world=SERIAL
    )
    return {"attraction": Attraction(matrix, StudentT()), "repulsion": Partition(plan, matrix.total)}


def rules(terms, **changes) -> Rules:
    problem = Problem(terms, dict.fromkeys(terms, 1.0))
    base = Rules(problem, PreconditionedNesterov(), max_iter=40, check_interval=10, min_grad_norm=0.0)
    return replace(base, **changes)


def phases(n_steps: int = 40, rate=1.0, momentum: float | None = 0.9) -> tuple[Phase, ...]:
    return (Phase("final", n_steps, {"attraction": 1.0, "repulsion": 1.0}, rate, momentum),)


def some_state(dtype=torch.float32, scale=1e-2) -> RunState:
    start = torch.from_numpy(scale * np.random.default_rng(0).normal(size=(N, 2))).to(dtype)
    return RunState(start.clone(), start - start.mean(0))


class Explodes(Term):
    """A term whose value is not finite at certain calls; what it pushes is harmless."""

    def __init__(self, term, at, value=np.inf):
        self.term, self.failing, self.value, self.calls = term, set(at), value, 0

    def __call__(self, view, *, value):
        self.calls += 1
        force = self.term(view, value=value)
        return (
            Force(force.gradient, torch.tensor(self.value), force.curvature)
            if value and self.calls in self.failing
            else force
        )


@pytest.mark.parametrize("bad", [np.inf, np.nan, 1e6])
def test_explosion_goes_back_to_the_last_check_with_half_the_rate(matrix, bad):
    terms = objective(matrix)
    plain = optimize(some_state(), rules(objective(matrix)), phases())
    # calls: one per step; the check at step 30 is the 31st evaluation
    terms["repulsion"] = Explodes(terms["repulsion"], at=[31], value=bad)
    seen = []
    state = optimize(some_state(), rules(terms, callbacks=(lambda info: seen.append(info.iteration),)), phases())
    rows = list(state.history)
    assert [row["iteration"] for row in rows] == [1, 10, 20, 30, 40] == seen
    assert [row["lr"] for row in rows] == [1, 1, 1, 0.5, 0.5]
    assert rows[:3] == list(plain.history[:3])
    assert (state.step, state.damping) == (40, 0.5)


def test_run_that_keeps_exploding_raises(matrix):
    terms = objective(matrix)
    terms["repulsion"] = Explodes(terms["repulsion"], at=range(15, 1000))
    with pytest.raises(ValueError, match=f"diverged.*halved {MAX_HALVINGS} times.*`lr`"):
        optimize(some_state(), rules(terms), phases())


def test_run_that_explodes_at_once_raises_or_recovers(matrix):
    terms = objective(matrix)
    terms["repulsion"] = Explodes(terms["repulsion"], at=[2, 4])  # the first check, twice
    state = optimize(some_state(), rules(terms), phases())
    assert state.damping == 0.25
    assert state.history[0]["lr"] == 0.25
    terms["repulsion"] = Explodes(terms["repulsion"], at=range(1000))
    with pytest.raises(ValueError, match="diverged"):
        optimize(some_state(), rules(terms), phases())


@pytest.mark.parametrize("optimizer", ["DeltaBarDelta", "Adam", "SGD"])
def test_going_back_restores_the_optimizer(matrix, optimizer):
    """The same path by hand: 20 steps at the full rate, then, from what the optimizer was there, 20 at half of it."""
    made, momentum = resolve_optimizer(optimizer, None), 0.9 if optimizer == "SGD" else None
    terms, path = objective(matrix), phases(40, 1.0, momentum)
    terms["repulsion"] = Explodes(terms["repulsion"], at=[31])
    exploded = optimize(some_state(), rules(terms, optimizer=made), path)
    first = optimize(some_state(), rules(objective(matrix), optimizer=made), phases(20, 1.0, momentum), final=False)
    expected, kept = first.positions.clone(), made.copy(first.optimizer)
    for _ in range(20):
        forces = [(1.0, term(View.whole(expected), value=False)) for term in objective(matrix).values()]
        expected, kept = made.step(expected, forces, kept, StepOptions(0.5, momentum))
    torch.testing.assert_close(exploded.positions, expected, rtol=1e-5, atol=1e-6)


def test_scheduler_goes_back_with_the_run(matrix):
    """The factor of ExponentialLR at a step does not depend on how often the run had to repeat it."""
    terms = objective(matrix)
    terms["repulsion"] = Explodes(terms["repulsion"], at=[31])
    scheduler = {"scheduler": torch.optim.lr_scheduler.ExponentialLR, "scheduler_kwargs": {"gamma": 0.95}}
    state = optimize(some_state(), rules(terms, **scheduler), phases())
    rates = [row["lr"] for row in state.history]
    assert rates == pytest.approx([1, 0.95**9, 0.95**19, 0.95**29 / 2, 0.95**39 / 2], rel=1e-6)


@pytest.mark.parametrize("optimizer", ["auto", "Adam"])
def test_a_run_that_went_back_is_gone_on_with_at_half_the_rate(matrix, optimizer):
    kept, schedule = {}, Schedule((phases(momentum=0.9 if optimizer == "auto" else None),))
    terms, made = objective(matrix), {"optimizer": resolve_optimizer(optimizer, None)}
    terms["repulsion"] = Explodes(terms["repulsion"], at=[31])

    def carry(info):
        kept[info.iteration] = info.carried

    exploded = optimize(some_state(), rules(terms, callbacks=(carry,), **made), schedule.path(""))
    again = rules(objective(matrix), **made)
    state = RunState.from_arrays(kept[30], some_state(), again, schedule)
    assert (state.step, state.damping) == (30, 0.5)
    found = optimize(state, again, schedule.path(""))
    assert torch.equal(found.positions, exploded.positions)
    assert found.history == exploded.history


@pytest.mark.parametrize("rate", [1e6, 1e12, 1e20, 1e30])
def test_absurd_rate_raises_or_ends_finite(matrix, rate):
    try:
        result = run(matrix, optimizer="SGD", lr=rate)
    except ValueError as error:
        said, finite = str(error), True
    else:
        said, finite = (
            "diverged",
            bool(torch.isfinite(result.embedding).all() and np.isfinite(result.history["loss"]).all()),
        )
    assert finite
    assert "diverged" in said


@pytest.fixture(scope="module")
def outcomes_on_the_grid(python):
    """What absurd rates come to; in a process of its own, since NaN must not reach a kernel without bounds checks."""
    code = """
import torch
from dataclasses import replace
from sc_nembed.engine.graph import KnnGraph
from sc_nembed.engine.pipeline import embed
from sc_nembed.engine.presets import tsne
from sc_nembed.engine.presets.method import Problem
n = 6000
ring = (torch.arange(n)[:, None] + torch.tensor([1, 2, 3])) % n
graph = KnnGraph(ring.int(), torch.ones(n, 3))
config = replace(tsne(), init="random", max_iter=4, check_interval=4, early_exaggeration_iter=0)
for optimizer, rate in (("SGD", 1e20), ("DeltaBarDelta", 1e38)):
    try:
        loss = embed(graph, replace(config, optimizer=optimizer, lr=rate)).history["loss"][-1]
    except ValueError as error:
        loss = "diverged" if "diverged" in str(error) else error
    print(f"{optimizer}|{loss}")
"""
    return dict(line.split("|") for line in python(code).splitlines())


@pytest.mark.parametrize("optimizer", ["SGD", "DeltaBarDelta"])
def test_absurd_rate_on_the_grid_raises_or_ends_with_a_possible_loss(outcomes_on_the_grid, optimizer):
    """All cells in one place have a KL divergence of 6.7; a run that leaves that far behind has exploded."""
    loss = outcomes_on_the_grid[optimizer]
    assert loss == "diverged" or float(loss) < 2 * 6.7 + 10


# --- a step in the pass of a term ---


class Counts(Attraction):
    """An attraction that counts the steps that are done in its pass, and the evaluations."""

    calls: ClassVar[list] = []

    def fused_step(self, name, positions):
        step = super().fused_step(name, positions)

        def counted(*given):
            self.calls.append("step")
            return step(*given)

        return counted

    def __call__(self, *given, **options):
        self.calls.append("force")
        return super().__call__(*given, **options)


@pytest.mark.parametrize("interval", [3, 100])
@pytest.mark.parametrize("turned", [False, True])
def test_step_is_done_in_the_pass_of_the_attraction_wherever_it_stands(matrix, turned, interval):
    expected = optimize(some_state(), rules(objective(matrix)), phases(12))
    terms, calls = objective(matrix), Counts.calls
    terms["attraction"] = Counts(matrix, StudentT())
    calls.clear()
    found = optimize(
        some_state(), rules(dict(reversed(terms.items())) if turned else terms, check_interval=interval), phases(12)
    )
    assert calls == ["step"] * 12
    assert torch.equal(found.positions, expected.positions)


def test_a_term_that_acts_alone_is_stepped_with_as_any(matrix):
    """With and without checks in between: a force that was looked at may have other last bits."""
    path = (replace(phases(9, 0.1)[0], weights={"attraction": 1.0, "repulsion": 0.0}),)
    made = rules(objective(matrix))
    one, other = (
        optimize(some_state(), replace(made, check_interval=interval), path).positions for interval in (1, 100)
    )
    assert torch.equal(one, other)
    assert not torch.equal(one, some_state().positions)


class Elsewhere(Term):
    """A force on the meta device, which refuses whatever the host would have to wait for."""

    def __call__(self, view, *, value):
        return Force(torch.empty_like(view.mine), None, torch.empty_like(view.mine[:, 0]))


@pytest.mark.parametrize("optimizer", ["auto", "DeltaBarDelta", "Adam", "SGD"])
def test_a_step_asks_the_host_for_nothing(optimizer):
    start = torch.empty(N, 2, device="meta")
    terms = {"attraction": Elsewhere(), "repulsion": Elsewhere()}
    made = rules(terms, optimizer=resolve_optimizer(optimizer, None), max_grad_norm=1.0)
    path = (replace(phases(2, momentum=0.9 if optimizer in ("auto", "SGD") else None)[0], anchor=0.1),)
    state = RunState(start, start, terms=terms)
    for setting in unroll(path):
        state = advance(state, made, setting, None)
    assert state.positions.shape == start.shape
    assert state.positions.device.type == "meta"


# --- Ctrl-C ---


class Interrupts(Term):
    """A term that raises KeyboardInterrupt at certain calls."""

    def __init__(self, term, at):
        self.term, self.failing, self.calls = term, set(at), 0

    def __call__(self, view, *, value):
        self.calls += 1
        if self.calls in self.failing:
            raise KeyboardInterrupt
        return self.term(view, value=value)


@pytest.fixture
def interrupted_at(monkeypatch):
    """Have the attraction raise KeyboardInterrupt at certain evaluations of an `embed`."""

    def arm(*at, ipython=True):
        monkeypatch.setattr(backend, "in_ipython", lambda: ipython)
        monkeypatch.setattr(objective_of_runs, "Attraction", lambda *args: Interrupts(Attraction(*args), at))

    return arm


@pytest.mark.parametrize("at", [2, 25, 41, 57, 58])
def test_interrupt_in_ipython_keeps_the_embedding(matrix, affinity, interrupted_at, at):
    interrupted_at(at)
    with pytest.warns(UserWarning, match=f"Interrupted after {at - 1} of 57 steps"):
        result = run(matrix)
    assert (result.stop_reason, result.n_iter) == ("interrupted", at - 1)
    assert result.history["iteration"][-1] == at - 1
    assert len(set(result.history["iteration"])) == len(result.history["iteration"])
    assert result.history["loss"][-1] == pytest.approx(_truth.kl(affinity, result.embedding.numpy()), rel=1e-5)


def test_interrupt_in_a_callback_keeps_the_embedding(matrix, monkeypatch):
    def impatient(info):
        if info.iteration == 20:
            raise KeyboardInterrupt

    monkeypatch.setattr(backend, "in_ipython", lambda: True)
    with pytest.warns(UserWarning, match="Interrupted after 20"):
        result = run(matrix, impatient)
    assert result.history["iteration"].tolist() == [1, 10, 20]


def test_interrupt_outside_of_ipython_propagates(matrix, interrupted_at):
    interrupted_at(25, ipython=False)
    with pytest.raises(KeyboardInterrupt):
        run(matrix)


def test_interrupt_before_the_first_step_propagates(matrix, interrupted_at):
    interrupted_at(1)
    with pytest.raises(KeyboardInterrupt):
        run(matrix)


@pytest.mark.filterwarnings("ignore:Interrupted after 24")
def test_second_interrupt_propagates(matrix, interrupted_at):
    interrupted_at(25, 26)
    with pytest.raises(KeyboardInterrupt):
        run(matrix)


def test_interrupt_of_a_race_keeps_the_branch_that_ran(pbmc, interrupted_at):
    interrupted_at(100)  # branch A has 70 steps
    with pytest.warns(UserWarning, match="Interrupted after"):
        result = embed(pbmc[:N], changed(tsne(), perplexity=10.0, n_jobs=1))
    assert result.stop_reason == "interrupted"
    assert result.history["iteration"][-1] == result.n_iter
    assert torch.isfinite(result.embedding).all()


# --- runs as values ---


@pytest.mark.parametrize("optimizer", ["auto", "DeltaBarDelta", "Adam"])
def test_two_runs_go_on_from_one_state(matrix, optimizer):
    """`optimize` copies the state on entry, so a branch neither disturbs the other nor the state itself."""
    made, momentum = rules(objective(matrix), optimizer=resolve_optimizer(optimizer, None)), None
    if optimizer == "auto":
        momentum = 0.9
    state = optimize(some_state(), made, phases(15, 1.0, momentum), final=False)
    before = state.positions.clone()
    one, two = (optimize(state, made, phases(25, 1.0, momentum)) for _ in range(2))
    assert torch.equal(state.positions, before)
    assert torch.equal(one.positions, two.positions)
    assert [dict(row) for row in one.history] == [dict(row) for row in two.history]


def test_a_run_in_two_calls_is_the_run_in_one(matrix):
    made = rules(objective(matrix))
    whole = optimize(some_state(), made, (*phases(15), *phases(25)))
    parts = optimize(optimize(some_state(), made, phases(15), final=False), made, (*phases(15), *phases(25)))
    assert torch.equal(whole.positions, parts.positions)
    assert whole.history == parts.history


def test_start_is_not_moved(matrix):
    state = some_state()
    before = state.positions.clone()
    optimize(state, rules(objective(matrix)), phases(5))
    assert torch.equal(state.positions, before)


def test_anchor_pulls_to_the_scaled_start(matrix):
    anchored = (replace(phases(1, 1e-12)[0], anchor=0.25),)
    state = some_state(torch.float64, scale=1.0)
    turned = replace(state, positions=state.start @ torch.tensor([[0.6, 0.8], [-0.8, 0.6]], dtype=torch.float64))
    result = optimize(turned, rules(objective(matrix, torch.float64)), anchored)
    z, start = turned.positions, turned.start
    scale = (z * start).sum() / (start * start).sum()
    torch.testing.assert_close(result.positions, 0.75 * z + 0.25 * scale * start, rtol=1e-9, atol=1e-9)


def test_precisions_agree_over_a_run(matrix):
    """The plain torch functions in float64 and the fused ones in float32 walk the same way, until chaos sets in."""
    ramp = (Phase("early", 30, {"attraction": Ramp(4.0, 1.0, "geometric"), "repulsion": 1.0}, 1.0, 0.9),)
    with backend.session(1):
        single, double = (
            optimize(some_state(dtype), rules(objective(matrix, dtype)), ramp)
            for dtype in (torch.float32, torch.float64)
        )
    assert _truth.relative(single.positions, double.positions) <= 1e-3


def test_padding_of_a_graph_does_not_matter(pbmc):
    graph = nearest_neighbors(pbmc[:N], 14)
    wider = KnnGraph(
        torch.nn.functional.pad(graph.indices, (0, 3), value=-1),
        torch.nn.functional.pad(graph.distances, (0, 3), value=torch.inf),
    )
    assert torch.equal(run(graph).embedding, run(wider).embedding)
