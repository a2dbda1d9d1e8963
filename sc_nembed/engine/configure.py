"""From arguments to a configuration: the one place where both doors have them decided.

Aliases, options of the method, arrays for `init` and `reference` and seeds are settled here; what remains wrong is said
by `config_rules` when the configuration is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .affinity import as_affinity
from .compute.checks import finite_rows, refuse_unknown
from .compute.counter_rng import seed_of
from .config import EmbeddingConfig

ALIASES = {
    "learning_rate": "lr", "early_exaggeration": "early_exaggeration_coeff", "rng": "random_state",
}  # fmt: skip
LAYOUTS = ("init", "reference")
WISHES = tuple(item.name for item in fields(EmbeddingConfig) if item.name not in ("method", "options"))


class NotGiven:
    """The default of a parameter for which None would mean something; it shows what it stands for."""

    def __init__(self, meaning: object) -> None:
        self.meaning = meaning

    def __repr__(self) -> str:
        return repr(self.meaning)


USUAL_SEED = NotGiven(0)


def configured(preset: EmbeddingConfig, given: Mapping[str, Any], n_obs: int | None = None) -> EmbeddingConfig:
    """A preset with what was given put over it.

    Parameters
    ----------
    preset
        What a function of `engine.presets` returns.
    given
        Values by the names or aliases of parameters and options of the method. None means what the preset says, but
        for `random_state`, where it asks for a seed of chance.
    n_obs
        Number of cells, where it is known: layouts are then checked.

    Raises
    ------
    TypeError
        For names that do not exist, and for both names of one parameter.
    ValueError
        For wrong values; see `config_rules`.
    """
    wishes = without_aliases(given)
    if "random_state" in wishes:
        wishes["random_state"] = seed_of(wishes["random_state"])
    wishes = {name: value for name, value in wishes.items() if value is not None}
    options = {name: wishes.pop(name) for name in list(wishes) if name not in WISHES}
    refuse_unknown("option", options, preset.method.option_names, f" of method {preset.method.name!r}")
    of_output = {name: options.pop(name) for name in preset.method.output_options if name in options}
    if of_output:
        others = wishes.get("kwargs_affinity_out", preset.kwargs_affinity_out) or {}
        wishes["kwargs_affinity_out"] = {**others, **of_output}
    if "affinity_in" in wishes:
        wishes["affinity_in"] = as_affinity(wishes["affinity_in"])
    wishes |= {name: as_layout(wishes[name]) for name in LAYOUTS if name in wishes}
    config = replace(preset, **wishes, options=replace(preset.options, **options))
    return config if n_obs is None else for_cells(config, n_obs)


def without_aliases(given: Mapping[str, Any]) -> dict[str, Any]:
    """What was given, under the usual names; both names of one parameter are refused."""
    named = {name: value for name, value in given.items() if not isinstance(value, NotGiven)}
    for alias, name in ALIASES.items():
        if alias not in named:
            continue
        if named.get(name) is not None:
            raise TypeError(f"`{alias}` is another name of `{name}`; give one of them.")
        named[name] = named.pop(alias)
    return named


def as_layout(given: Any) -> Any:
    """A name as it is, anything else as a float32 tensor of its own; the user's array is never written to."""
    if isinstance(given, str):
        return given
    array = given.detach().cpu().numpy() if isinstance(given, Tensor) else given
    return torch.from_numpy(np.array(array, dtype=np.float32, order="C"))


def for_cells(config: EmbeddingConfig, n_obs: int) -> EmbeddingConfig:
    """The configuration with layouts of so many cells.

    Raises
    ------
    ValueError
        For a layout of another shape, or one with NaN or infinite values.
    """
    shape, layouts = (n_obs, config.n_components), {}
    for name in LAYOUTS:
        layout = as_layout(getattr(config, name)) if getattr(config, name) is not None else None
        if layout is None or isinstance(layout, str):
            continue
        if tuple(layout.shape) != shape:
            hint = f" Take its first columns, array[:, :{shape[1]}]?" if tuple(layout.shape[:1]) == shape[:1] else ""
            raise ValueError(
                f"`{name}` must have the shape (cells, n_components) = {shape}; got {tuple(layout.shape)}.{hint}"
            )
        finite_rows(layout.numpy(), f"`{name}`")
        layouts[name] = layout
    return replace(config, **layouts) if layouts else config
