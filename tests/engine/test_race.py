"""The race of early phases: both branches from one start, the one with the better global arrangement goes on."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import rankdata, spearmanr

from _configs import changed
from sc_nembed.engine.affinity import EntropicAffinity
from sc_nembed.engine.graph import KnnGraph
from sc_nembed.engine.kernel import StudentT
from sc_nembed.engine.neighbors import nearest_neighbors
from sc_nembed.engine.optimize import race
from sc_nembed.engine.optimize.loop import optimize
from sc_nembed.engine.optimize.optimizer import PreconditionedNesterov
from sc_nembed.engine.optimize.schedule import Phase, Schedule
from sc_nembed.engine.optimize.state import Rules, RunState
from sc_nembed.engine.pipeline import embed
from sc_nembed.engine.presets import tsne
from sc_nembed.engine.presets._tsne import raced
from sc_nembed.engine.presets.method import Problem
from sc_nembed.engine.radial_sum import RADIAL_SUMS
from sc_nembed.engine.terms import Attraction, Partition
from sc_nembed.engine.world import SERIAL

from . import _truth

N = 300


@pytest.fixture(scope="module")
def features(pbmc):
    return (pbmc[:N] - pbmc[:N].mean(0)).contiguous()


@pytest.fixture(scope="module")
def matrix(features):
    return EntropicAffinity(10)(nearest_neighbors(features, 30))


def rules(matrix, *callbacks) -> Rules:
    plan = RADIAL_SUMS["torch"](
        StudentT(), n_components=2, tolerance=None, device=torch.device("cpu"), dtype=torch.float32, world=SERIAL
    )
    terms = {"attraction": Attraction(matrix, StudentT()), "repulsion": Partition(plan, matrix.total)}
    return Rules(
        Problem(terms, dict.fromkeys(terms, 1.0)), PreconditionedNesterov(), max_iter=40, check_interval=5,
        min_grad_norm=0.0, callbacks=callbacks,
    )  # fmt: skip


def phase(name: str, n_steps: int, exaggeration: float, **options) -> Phase:
    return Phase(name, n_steps, {"attraction": exaggeration, "repulsion": 1.0}, 1.0, 0.9, **options)


# strong exaggeration contracts the groups and loses their arrangement: a correlation of .40 where the other has .54
GOOD, BAD = (phase("good", 12, 4.0),), (phase("bad", 30, 30.0),)
FINISH = (phase("finish", 20, 1.0),)


@pytest.fixture(scope="module")
def start(features):
    positions = 1e-4 * features[:, :2] / features[:, 0].std()
    return RunState(positions.contiguous(), positions - positions.mean(0))


def all_pairs_correlation(features, positions) -> float:
    pairs = np.triu_indices(N, 1)
    return spearmanr(
        *(np.sqrt(_truth.sq_distances(points, points))[pairs] for points in (features, positions))
    ).statistic


def test_distance_correlation_is_spearmans(features):
    for columns in (slice(0, 2), slice(10, 12)):
        positions = features[:, columns].contiguous()
        expected = all_pairs_correlation(features, positions)
        assert race.distance_correlation(features, positions) == pytest.approx(expected, abs=0.02)
    assert race.distance_correlation(features, features) == pytest.approx(1)


def test_ranks_of_equal_values_are_shared():
    values = np.random.default_rng(0).integers(0, 30, 100) / 7
    np.testing.assert_array_equal(race._ranks(values), rankdata(values))


@pytest.mark.parametrize("branches", [(GOOD, BAD), (BAD, GOOD)], ids=["first", "second"])
def test_branch_of_higher_correlation_goes_on(features, matrix, start, branches):
    made = rules(matrix)
    state, path, label = race.run(start, made, Schedule(branches, FINISH), features)
    alone = [optimize(start, made, branch, final=False) for branch in branches]
    scores = [all_pairs_correlation(features, run.positions) for run in alone]
    assert abs(scores[0] - scores[1]) > 0.05
    best = int(np.argmax(scores))
    assert (path, label) == (branches[best] + FINISH, "AB"[best])
    expected = optimize(alone[best], made, branches[best] + FINISH)
    assert torch.equal(state.positions, expected.positions)
    assert [row["iteration"] for row in state.history] == [row["iteration"] for row in expected.history]
    assert state.step == len(FINISH) * 20 + branches[best][0].n_steps


def test_both_branches_begin_at_one_start_and_are_both_seen(features, matrix, start):
    seen = []
    made = rules(matrix, lambda info: seen.append((info.phase, info.iteration, info.loss, info.embedding)))
    before = start.positions.clone()
    race.run(start, made, Schedule((GOOD, GOOD), FINISH), features)
    assert torch.equal(start.positions, before)
    one = [row for row in seen if row[0].startswith("A: ")]
    two = [row for row in seen if row[0].startswith("B: ")]
    assert [row[1] for row in one] == [row[1] for row in two] == [1, 5, 10]
    for a, b in zip(one, two, strict=True):
        assert a[2] == b[2]
        assert np.array_equal(a[3], b[3])
    assert {row[0] for row in seen} == {"A: good", "B: good", "finish"}


def test_tie_keeps_the_first(features, matrix, start):
    longer = (phase("longer", 12, 4.0),)  # the same steps under another name
    _, path, label = race.run(start, rules(matrix), Schedule((GOOD, longer), FINISH), features)
    assert (path, label) == (GOOD + FINISH, "A")


def test_single_branch_is_no_race(matrix, start):
    state, path, _ = race.run(start, rules(matrix), Schedule((GOOD,), FINISH), None)
    assert path == GOOD + FINISH
    assert torch.equal(state.positions, optimize(start, rules(matrix), GOOD + FINISH).positions)


def test_callback_that_stops_in_a_branch_ends_the_race(features, matrix, start):
    made = rules(matrix, lambda info: info.phase == "A: good" and info.iteration == 10)
    state, path, label = race.run(start, made, Schedule((GOOD, BAD), FINISH), features)
    assert (state.stop_reason, state.step, path, label) == ("callback", 10, GOOD, "A")


# --- through `embed` ---


def run(source, *callbacks, **changes):
    return embed(source, changed(tsne(), perplexity=10.0, n_jobs=2, **changes), callbacks=callbacks)


def test_history_is_that_of_the_branch_kept(features):
    seen = []
    result = run(features, lambda info: seen.append(info))
    lengths = {"A": 70, "B": 135}
    branch = result.resolved["branch"]
    kept = [info for info in seen if info.phase.startswith(f"{branch}: ") or ": " not in info.phase]
    assert {info.phase[:3] for info in seen} >= {"A: ", "B: "}
    assert result.n_iter == lengths[branch] + 115
    assert result.history["iteration"].tolist() == [info.iteration for info in kept]
    assert result.history["loss"].tolist() == [info.loss for info in kept]
    assert (np.diff(result.history["iteration"]) > 0).all()
    steps = result.history["exaggeration"]
    assert (steps[0], steps[-1]) == (12, 1)
    assert result.used["race"] is True
    assert result.used["max_iter"] == result.n_iter


def test_branch_kept_is_the_one_of_higher_correlation(features, matrix):
    result = embed(matrix, changed(tsne(), race=True, n_jobs=2), features=features)
    schedule = raced(tsne())
    start = embed(matrix, changed(tsne(), race=False, max_iter=1, lr=1e-12, n_jobs=2), features=features).embedding
    made = replace(rules(matrix), check_interval=1000)
    state = RunState(start, start - start.mean(0))
    scores = [
        all_pairs_correlation(features, optimize(state, made, branch, final=False).positions)
        for branch in schedule.branches
    ]
    assert abs(scores[0] - scores[1]) > 0.02  # else the pairs that are looked at decide
    assert result.resolved["branch"] == "AB"[int(np.argmax(scores))]


TOUCHED = {
    "optimizer": "Adam",
    "scheduler": "LinearLR",
    "max_iter": 30,
    "early_exaggeration_coeff": 6.0,
    "early_exaggeration_iter": 10,
    "exaggeration": 2.0,
}


@pytest.mark.parametrize("name", TOUCHED)
def test_race_gives_way_to_what_touches_its_schedules(features, name):
    changes = {"max_iter": 30} | {name: TOUCHED[name]}
    result = run(features, **changes)
    assert "branch" not in result.resolved
    assert result.used["race"] is False
    with pytest.raises(ValueError, match=rf"`race=True` .*'{name}'"):
        run(features, race=True, **{name: TOUCHED[name]})


def test_race_runs_by_default_on_features_alone(features, matrix):
    graph = nearest_neighbors(features, 14)
    assert "branch" in run(features).resolved
    config = changed(tsne(), n_jobs=2)
    for source in (graph, matrix):
        result = embed(source, config, features=features)
        assert "branch" not in result.resolved
        assert result.n_iter == 150
        assert "branch" in embed(source, changed(config, race=True), features=features).resolved
    assert "branch" not in run(features, race=False).resolved
    for scheduler in (None, "none"):
        assert "branch" in run(features, scheduler=scheduler).resolved


def test_race_without_features_raises(matrix):
    with pytest.raises(ValueError, match="representation"):
        embed(matrix, changed(tsne(), race=True))


def test_race_leaves_out_isolated_cells(features):
    graph = nearest_neighbors(features, 14)
    graph.indices[[3, 200]] = -1
    graph.distances[[3, 200]] = torch.inf
    others = torch.ones(N, dtype=torch.bool)
    others[[3, 200]] = False
    indices = graph.indices.masked_fill((graph.indices == 3) | (graph.indices == 200), -1)
    keep = [row[row >= 0][:10] for row in indices]  # no row lists them
    short = torch.stack([torch.nn.functional.pad(row, (0, 10 - len(row)), value=-1) for row in keep])
    distances = torch.where(short >= 0, 1.0, torch.inf)
    with pytest.warns(UserWarning, match="2 cells have no neighbors"):
        result = embed(KnnGraph(short, distances), changed(tsne(), race=True, n_jobs=2), features=features)
    assert "branch" in result.resolved
    assert result.embedding.shape == (N, 2)
