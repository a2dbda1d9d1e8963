"""Schedules: the phases of t-SNE, ramps, and what early exaggeration covers."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from _configs import changed
from sc_nembed.engine.graph import AffinityMatrix
from sc_nembed.engine.optimize.schedule import Phase, Ramp, n_steps, unroll, values
from sc_nembed.engine.presets import resolve_method, tsne
from sc_nembed.engine.presets._tsne import raced
from sc_nembed.engine.presets._tsne import schedule as tsne_schedule


def matrix_of(n_obs: int, total: float = 1.0) -> AffinityMatrix:
    """As much of a matrix as a schedule reads."""
    none = torch.zeros(0, dtype=torch.int32), torch.zeros(0)
    return AffinityMatrix(torch.zeros(n_obs + 1, dtype=torch.int64), *none, n_obs, n_obs, 0, torch.zeros(n_obs), total)


def settings(config, n_obs: int = 1000, *, total: float = 1.0, race: bool = False, branch: int = 0):
    cells = SimpleNamespace(matrix=matrix_of(n_obs, total), searched=False)
    schedule = raced(config) if race else tsne_schedule(config, cells)
    return unroll(schedule.branches[branch] + schedule.finish)


def exaggeration(config, **kwargs) -> np.ndarray:
    return np.array([setting.weights["attraction"] for setting in settings(config, **kwargs)])


@pytest.mark.parametrize(
    ("ramp", "count", "expected"),
    [
        (Ramp(2.0, 1.0), 5, [2, 1.75, 1.5, 1.25, 1]),
        (Ramp(8.0, 1.0, "geometric"), 4, [8, 4, 2, 1]),
        (Ramp(8.0, 1.0, "geometric"), 1, [1]),
        (Ramp(2.0, 1.0), 1, [1]),
        (Ramp(2.0, 1.0), 0, []),
        (3.0, 3, [3, 3, 3]),
    ],
)
def test_ramp_includes_both_ends(ramp, count, expected):
    np.testing.assert_allclose(values(ramp, count), expected)


def test_unrolled_phases_are_their_steps_in_order():
    phases = (
        Phase("a", 3, {"attraction": Ramp(4.0, 1.0, "geometric"), "repulsion": 0.5}, Ramp(1.0, 0.0), 0.9),
        Phase("b", 2, {"attraction": 1.0, "repulsion": 0.5}, 7.0),
    )
    steps = unroll(phases)
    assert [s.phase.name for s in steps] == ["a"] * 3 + ["b"] * 2
    assert [s.first for s in steps] == [True, False, False, True, False]
    assert [s.weights["attraction"] for s in steps] == pytest.approx([4, 2, 1, 1, 1])
    assert [s.learning_rate for s in steps] == [1.0, 0.5, 0.0, 7.0, 7.0]
    assert [s.momentum for s in steps] == [0.9] * 3 + [None] * 2
    assert n_steps(phases) == len(steps) == 5


@pytest.mark.parametrize(("total", "early"), [(150, 22), (100, 15), (200, 30), (37, 5), (7, 1), (6, 0), (1, 0)])
def test_preconditioned_phases_are_fifteen_percent_twice_and_the_rest(total, early):
    steps = settings(changed(tsne(), max_iter=total))
    names = [step.phase.name for step in steps]
    assert len(steps) == total
    assert names == ["early exaggeration"] * early + ["annealing"] * early + ["final"] * (total - 2 * early)
    lam = np.array([step.weights["attraction"] for step in steps])
    np.testing.assert_allclose(lam[:early], 4)
    if early > 1:
        np.testing.assert_allclose(lam[early : 2 * early], np.geomspace(4, 1, early + 1)[:-1])
    np.testing.assert_allclose(lam[2 * early :], 1)
    short = total <= 120
    momenta = {"early exaggeration": 0.9, "annealing": 0.95, "final": 0.99 if short else 0.98}
    assert [step.momentum for step in steps] == [momenta[name] for name in names]
    rates = np.array([step.learning_rate for step in steps])
    np.testing.assert_allclose(rates[: 2 * early], 1)
    n_final = total - 2 * early
    np.testing.assert_allclose(rates[2 * early :], np.linspace(2, 1, n_final) if n_final > 1 else [1])


def test_default_has_150_steps():
    assert len(settings(tsne())) == 150


@pytest.mark.parametrize("optimizer", ["auto", "Adam", "SGD", "DeltaBarDelta", torch.optim.RMSprop])
@pytest.mark.parametrize("asked", [0, 1, 2, 20, 59, 60])
def test_early_exaggeration_covers_exactly_the_steps_asked_for(optimizer, asked):
    lam = exaggeration(changed(tsne(), optimizer=optimizer, max_iter=60, early_exaggeration_iter=asked))
    assert len(lam) == 60
    assert (lam > 1).sum() == asked
    assert (lam[:asked] > 1).all()


@pytest.mark.parametrize("optimizer", ["Adam", "SGD", "DeltaBarDelta"])
def test_early_exaggeration_of_other_optimizers_is_constant(optimizer):
    lam = exaggeration(changed(tsne(), optimizer=optimizer))
    np.testing.assert_array_equal(lam, [12.0] * 250 + [1.0] * 500)
    lam = exaggeration(
        changed(tsne(), optimizer=optimizer, max_iter=300, early_exaggeration_coeff=5.0, exaggeration=2.0)
    )
    np.testing.assert_array_equal(lam, [5.0] * 100 + [2.0] * 200)


@pytest.mark.parametrize("optimizer", ["auto", "Adam"])
def test_early_exaggeration_longer_than_the_run_is_cut_with_a_warning(optimizer):
    with pytest.warns(UserWarning, match=r"`early_exaggeration_iter=500` is cut to 40"):
        lam = exaggeration(changed(tsne(), optimizer=optimizer, max_iter=40, early_exaggeration_iter=500))
    assert len(lam) == 40


def test_coefficient_without_early_steps_warns():
    with pytest.warns(UserWarning, match=r"`early_exaggeration_coeff=6.0` has no effect"):
        exaggeration(changed(tsne(), early_exaggeration_coeff=6.0, early_exaggeration_iter=0))


def test_late_exaggeration_is_where_the_ramp_ends_and_stays():
    lam = exaggeration(changed(tsne(), early_exaggeration_coeff=8.0, exaggeration=2.0))
    np.testing.assert_allclose(lam[:22], 8)
    np.testing.assert_allclose(lam[22:44], np.geomspace(8, 2, 23)[:-1])
    np.testing.assert_allclose(lam[44:], 2)


@pytest.mark.parametrize("optimizer", ["auto", "Adam"])
def test_repulsion_strength_weighs_every_step(optimizer):
    steps = settings(changed(tsne(), optimizer=optimizer, repulsion_strength=0.3))
    assert {step.weights["repulsion"] for step in steps} == {0.3}


@pytest.mark.parametrize("optimizer", ["auto", "Adam", "SGD"])
def test_a_rate_given_as_a_number_is_constant(optimizer):
    assert {step.learning_rate for step in settings(changed(tsne(), optimizer=optimizer, lr=0.7))} == {0.7}


@pytest.mark.parametrize(
    ("optimizer", "rates"),
    [("Adam", {1.0}), ("SGD", {48_000 / 48, 12_000.0}), ("DeltaBarDelta", {48_000 / 48, 12_000.0})],
)
def test_automatic_rates_of_other_optimizers(optimizer, rates):
    config = changed(tsne(), optimizer=optimizer)
    assert {step.learning_rate for step in settings(config, n_obs=48_000)} == rates


@pytest.mark.parametrize("optimizer", ["SGD", "DeltaBarDelta"])
def test_automatic_rates_of_plain_gradients_belong_to_a_sum_of_one(optimizer):
    """The gradient of an affinity that sums to 40 is 40 times as large."""
    config = changed(tsne(), optimizer=optimizer)
    assert {step.learning_rate for step in settings(config, n_obs=48_000, total=40.0)} == {1000 / 40, 12_000 / 40}


def test_raced_branches_are_a_short_pulled_and_a_long_free_one():
    schedule = raced(tsne())
    assert [n_steps(branch) for branch in schedule.branches] == [70, 135]
    assert n_steps(schedule.finish) == 115
    assert (schedule.longest_path(), schedule.all_steps()) == (250, 320)
    for branch, anchor, constant, ramp in ((0, 0.1, 30, 20), (1, 0.0, 100, 15)):
        steps = settings(tsne(), race=True, branch=branch)
        lam = exaggeration(tsne(), race=True, branch=branch)
        np.testing.assert_allclose(lam[:constant], 12)
        np.testing.assert_allclose(lam[constant : constant + ramp], np.geomspace(12, 1, ramp))
        np.testing.assert_allclose(lam[constant + ramp :], 1)
        assert [step.phase.anchor for step in steps] == [anchor] * (constant + ramp) + [0.0] * 135
        # settling and the finish share one ramp of the rate
        np.testing.assert_allclose([step.learning_rate for step in steps[-135:]], np.linspace(2, 1, 135))
        assert {step.momentum for step in steps[-135:]} == {0.98}


@pytest.mark.parametrize("name", ["tsne", "t-SNE", "TSNE", "t_sne"])
def test_methods_are_found_whatever_their_spelling(name):
    assert resolve_method(name).method.name == "tsne"


def test_config_is_its_own_method():
    config = changed(tsne(), max_iter=7)
    assert resolve_method(config) is config


@pytest.mark.parametrize("name", ["foo", 3, None])
def test_unknown_method_lists_what_there_is(name):
    with pytest.raises(ValueError, match=r"available: .*affinity_matcher.*umap"):
        resolve_method(name)
