"""Presets: functions that return an `EmbeddingConfig`. What a method does by default is decided here.

What all methods share are the defaults of the config's fields. `benchmarks/quality.py` measures what the schedules of
t-SNE reach.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import torch

from .affinity import EntropicAffinity, UniformAffinity
from .config import EmbeddingConfig
from .graph import AffinityMatrix
from .optimizer import auto_rate
from .output_affinity import StudentAffinity
from .schedule import Phase, Ramp, Schedule


def tsne() -> EmbeddingConfig:
    """t-SNE (van der Maaten & Hinton 2008) with the preconditioned Nesterov optimizer and its schedules.

    Perplexity 30 for a representation; a finished graph is read uniformly (Böhm et al. 2022). PCA start of standard
    deviation 1e-4 (Kobak & Berens 2019).
    """
    return EmbeddingConfig(
        method="tsne",
        affinity_out=StudentAffinity(),
        search_affinity=EntropicAffinity(30.0),
        graph_affinity=UniformAffinity(),
        schedule=tsne_schedule,
        options=("dof", "race", "tolerance"),
    )


METHODS = {"tsne": tsne}


def resolve_method(method: str | EmbeddingConfig) -> EmbeddingConfig:
    """The preset of a name, whatever its case and hyphens; a config is returned as it is."""
    if isinstance(method, EmbeddingConfig):
        return method
    if isinstance(method, str) and method.lower().replace("-", "").replace("_", "") in METHODS:
        return METHODS[method.lower().replace("-", "").replace("_", "")]()
    raise ValueError(f"Unknown `method` {method!r}; available: {sorted(METHODS)}, or an EmbeddingConfig.")


def with_options(config: EmbeddingConfig, options: dict[str, Any]) -> EmbeddingConfig:
    """The config with options of its method under the names users know.

    Raises
    ------
    TypeError
        For an unknown option; lists those of the method.
    """
    unknown = sorted(set(options) - set(config.options))
    if unknown:
        raise TypeError(f"Unknown option {unknown} of method {config.method!r}; available: {sorted(config.options)}.")
    values = {name: value for name, value in options.items() if value is not None}
    if "dof" in values:
        kwargs = dict(config.kwargs_affinity_out or {})
        values["kwargs_affinity_out"] = kwargs | {"dof": values.pop("dof")}
    return replace(config, **values)


def tsne_schedule(config: EmbeddingConfig, matrix: AffinityMatrix, race: bool) -> Schedule:
    """The phases of t-SNE: a race of two early phases, a single schedule, or the usual one of other optimizers."""
    if race:
        return _raced(config)
    if config.optimizer == "auto":
        return Schedule((_preconditioned(config),))
    return Schedule((_standard(config, matrix),))


def _weights(config: EmbeddingConfig, exaggeration: float | Ramp) -> dict[str, float | Ramp]:
    return {"attraction": exaggeration, "repulsion": float(config.repulsion_strength)}


def _late(config: EmbeddingConfig) -> float:
    return 1.0 if config.exaggeration is None else float(config.exaggeration)


def _rate(config: EmbeddingConfig, automatic: float | Ramp) -> float | Ramp:
    return automatic if config.lr == "auto" else float(config.lr)


def _preconditioned(config: EmbeddingConfig) -> tuple[Phase, ...]:
    """15 % of the steps at the early exaggeration, 15 % down from it, the rest at the late one.

    The last rate falls from 2: from 3, short runs of small sets at low perplexity are chaotic.
    """
    n_steps = 150 if config.max_iter is None else config.max_iter
    early, late = _early_coeff(config, 4.0), _late(config)
    n_early = 2 * int(0.15 * n_steps) if config.early_exaggeration_iter is None else _early_iter(config, n_steps)
    constant, ramp = (n_early + 1) // 2, n_early // 2
    # each of these steps is exaggerated: the ramp stops one step before it arrives
    down = Ramp(early, early * (late / early) ** ((ramp - 1) / max(ramp, 1)), "geometric")
    momentum = 0.99 if n_steps <= 120 else 0.98
    phases = (
        Phase("early exaggeration", constant, _weights(config, early), _rate(config, 1.0), 0.90),
        Phase("annealing", ramp, _weights(config, down), _rate(config, 1.0), 0.95),
        Phase("final", n_steps - constant - ramp, _weights(config, late), _rate(config, Ramp(2.0, 1.0)), momentum),
    )
    return tuple(phase for phase in phases if phase.n_steps)


def _raced(config: EmbeddingConfig) -> Schedule:
    """Two early phases whose global arrangements complement each other; the better one is finished.

    (A) short, pulled towards the start, (B) long and free. The rate of the last 135 steps falls from 2 to 1.
    """
    down, last = Ramp(12.0, 1.0, "geometric"), 134
    settle = Phase("settling", 20, _weights(config, 1.0), _rate(config, Ramp(2.0, 2.0 - 19 / last)), 0.98)
    pulled = (
        Phase("early exaggeration", 30, _weights(config, 12.0), _rate(config, 1.0), 0.90, anchor=0.1),
        Phase("annealing", 20, _weights(config, down), _rate(config, 1.0), 0.95, anchor=0.1),
        settle,
    )
    free = (
        Phase("early exaggeration", 100, _weights(config, 12.0), _rate(config, 1.0), 0.95),
        Phase("annealing", 15, _weights(config, down), _rate(config, 1.0), 0.95),
        settle,
    )
    finish = Phase("final", 115, _weights(config, 1.0), _rate(config, Ramp(2.0 - 20 / last, 1.0)), 0.98)
    return Schedule((pulled, free), (finish,))


def _standard(config: EmbeddingConfig, matrix: AffinityMatrix) -> tuple[Phase, ...]:
    """A third of the steps at exaggeration 12, the rest without: 250 and 500, as in openTSNE and scikit-learn."""
    n_steps = 750 if config.max_iter is None else config.max_iter
    default = round(n_steps / 3)
    n_early = default if config.early_exaggeration_iter is None else _early_iter(config, n_steps)
    scaled = config.optimizer in ("DeltaBarDelta", "SGD", torch.optim.SGD)
    sgd = config.optimizer in ("SGD", torch.optim.SGD) and (
        config.optimizer_kwargs is None or config.optimizer_kwargs == "auto"
    )
    phases = []
    for name, count, coeff, momentum in (
        ("early exaggeration", n_early, _early_coeff(config, 12.0), 0.5),
        ("final", n_steps - n_early, _late(config), 0.8),
    ):
        rate = _rate(config, auto_rate(matrix.n_rows, coeff) / matrix.total if scaled else 1.0)
        phases.append(Phase(name, count, _weights(config, coeff), rate, momentum if sgd else None))
    return tuple(phase for phase in phases if phase.n_steps)


def _early_coeff(config: EmbeddingConfig, default: float) -> float:
    coeff = config.early_exaggeration_coeff
    if coeff is not None and coeff != 1 and config.early_exaggeration_iter == 0:
        warnings.warn(
            f"`early_exaggeration_coeff={coeff}` has no effect: `early_exaggeration_iter` is 0.",
            UserWarning,
            stacklevel=2,
        )
    return default if coeff is None else float(coeff)


def _early_iter(config: EmbeddingConfig, n_steps: int) -> int:
    asked = config.early_exaggeration_iter
    if asked > n_steps:
        warnings.warn(
            f"`early_exaggeration_iter={asked}` is cut to {n_steps}: early exaggeration cannot outlast `max_iter`.",
            UserWarning,
            stacklevel=2,
        )
    return min(asked, n_steps)
