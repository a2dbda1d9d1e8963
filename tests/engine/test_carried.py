"""A run that is stopped at a check and gone on with in a new process has the bits of one that was not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from _configs import changed
from sc_nembed.engine import presets
from sc_nembed.engine.pipeline import embed

from . import _runs


def where(info) -> str:
    """The place of a check: the label of a branch and the steps done."""
    label = info.phase[:3] if info.phase[1:3] == ": " else ""
    return f"{label}{info.iteration}"


@pytest.fixture(scope="module")
def runs(tmp_path_factory, python):
    """Results of every case without a stop, and those of a new process that went on from the middle."""
    folder, whole = tmp_path_factory.mktemp("runs"), {}
    for name in _runs.CASES:
        config, stop = _runs.config_and_stop(name)

        def carry(info, name=name, stop=stop):
            if where(info) == stop:
                np.savez(folder / f"{name}.carried.npz", **info.carried)

        whole[name] = _runs.found(embed(_runs.cells(), config, callbacks=[carry]))
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import _runs; _runs.go_on({str(folder)!r})"
    python(code)
    return folder, whole


@pytest.mark.parametrize("name", _runs.CASES)
def test_a_run_gone_on_with_in_a_new_process_has_the_same_bits(runs, name):
    folder, whole = runs
    with np.load(folder / f"{name}.ended.npz") as ended:
        assert set(ended) == set(whole[name])
        for key, expected in whole[name].items():
            np.testing.assert_array_equal(ended[key], expected, err_msg=key)


@pytest.mark.parametrize("name", _runs.CASES)
def test_carried_are_numbers_and_names_alone(runs, name):
    with np.load(runs[0] / f"{name}.carried.npz", allow_pickle=False) as arrays:
        kinds = {key: arrays[key].dtype.kind for key in arrays}
    assert set(kinds.values()) <= set("fibuU")
    assert [key for key, kind in kinds.items() if kind == "U" and not key.endswith("branch")] == []


def stopped_at(config, place: str):
    """The result of a run that a callback ends, and what it carries."""
    carried = {}

    def stop(info):
        if where(info) == place:
            carried.update(info.carried)
        return bool(carried)

    return embed(_runs.cells(), config, callbacks=[stop]), carried


@pytest.mark.parametrize("name", ["tsne, auto", "tsnekhorn, auto", "raced, B", "encoder, dropout", "plateau"])
def test_a_run_that_ends_at_the_check_carries_the_same(runs, name):
    config, place = _runs.config_and_stop(name)
    result, carried = stopped_at(config, place)
    assert result.stop_reason == "callback"
    with np.load(runs[0] / f"{name}.carried.npz") as expected:
        assert set(carried) == set(expected)
        for key in expected:
            np.testing.assert_array_equal(carried[key], expected[key], err_msg=key)


def test_what_is_carried_is_what_changes(runs):
    """What terms carry, by method; P and plans of sums are not among it."""
    terms = {}
    for method in presets.METHODS:
        with np.load(runs[0] / f"{method}, auto.carried.npz") as arrays:
            terms[method] = {key for key in arrays if key.startswith("terms/")}
    expected = {method: set() for method in presets.METHODS}
    expected |= {
        "tsnekhorn": {"terms/repulsion/log_scale"}, "nc_tsne": {"terms/repulsion/log_noise"},
        "localmap": {"terms/far/partners"},
    }  # fmt: skip
    assert terms == expected


def test_a_converged_run_is_not_gone_on_with():
    config = replace(_runs.config_and_stop("tsne, auto")[0], min_grad_norm=1e9, early_exaggeration_iter=4)
    kept = []
    whole = embed(_runs.cells(), config, callbacks=[lambda info: kept.append(info.carried)])
    again = embed(_runs.cells(), config, carried=kept[-1])
    assert (whole.stop_reason, whole.n_iter) == (again.stop_reason, again.n_iter) == ("min_grad_norm", 8)
    assert torch.equal(whole.embedding, again.embedding)


def test_carried_arrays_are_copies_and_stay_as_they_are():
    config, place = _runs.config_and_stop("tsne, Adam")
    expected, (_, carried) = embed(_runs.cells(), config).embedding, stopped_at(config, place)
    before = {key: array.copy() for key, array in carried.items()}
    for _ in range(2):
        assert torch.equal(embed(_runs.cells(), config, carried=carried).embedding, expected)
    for key, array in before.items():
        np.testing.assert_array_equal(carried[key], array)

    def spoil(info):
        for array in info.carried.values():
            if array.dtype.kind == "f":
                array[...] = np.nan

    assert torch.equal(embed(_runs.cells(), config, callbacks=[spoil]).embedding, expected)


def test_callbacks_of_a_run_gone_on_with_see_the_rest_alone():
    config, place = _runs.config_and_stop("raced, B")
    whole, rest = [], []
    _, carried = stopped_at(config, place)
    embed(_runs.cells(), config, callbacks=[lambda info: whole.append((where(info), info.loss))])
    embed(_runs.cells(), config, callbacks=[lambda info: rest.append((where(info), info.loss))], carried=carried)
    assert rest == whole[[name for name, _ in whole].index(place) + 1 :]


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("tsne, auto", {"n_components": 3}, r"positions of shape \(150, 2\)"),
        ("tsne, auto", {"dtype": torch.float64}, "float32"),
        ("tsne, auto", {"max_iter": 8}, "after 12 steps"),
        ("raced, B", {"race": False}, "of branch B"),
    ],
)
def test_arrays_of_another_run_are_refused(name, changes, message):
    config, place = _runs.config_and_stop(name)
    _, carried = stopped_at(config, place)
    with pytest.raises(ValueError, match=message):
        embed(_runs.cells(), changed(config, **changes), carried=carried)


def test_arrays_that_are_missing_are_named():
    config, _ = _runs.config_and_stop("tsne, auto")
    with pytest.raises(ValueError, match=r"lacks .*'step'"):
        embed(_runs.cells(), config, carried={"positions": np.zeros((_runs.N, 2), np.float32)})
