"""Stretches of schedules that methods share; `benchmarks/quality.py` measures what they reach.

A schedule is a function of a configuration and the cells. With `optimizer="auto"` it is a method's own; any other
optimizer takes `standard`, the phases of openTSNE and scikit-learn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from ..compute.notes import note
from ..optimize.optimizer import auto_rate
from ..optimize.schedule import Phase, Ramp, Schedule, exaggeration, unroll

if TYPE_CHECKING:
    from ..cells import Cells
    from ..config import EmbeddingConfig

LAST_RATE = Ramp(2.0, 1.0)  # from 3, short runs of small sets at low perplexity are chaotic
NO_EXAGGERATION = dict.fromkeys(
    ("early_exaggeration_coeff", "early_exaggeration_iter", "exaggeration"), "knows no exaggeration"
)


def single(config: EmbeddingConfig, cells: Cells) -> Schedule:
    """One schedule of 150 steps, or the usual one of other optimizers."""
    return Schedule((preconditioned(config) if config.is_automatic else standard(config, cells),))


def of_phases(*phases: Phase) -> tuple[Phase, ...]:
    """Those that have a step."""
    return tuple(phase for phase in phases if phase.n_steps)


def preconditioned(
    config: EmbeddingConfig,
    *,
    n_steps: int = 150,
    usual_early: int | None = None,
    momentum: float | None = None,
    rate: Ramp = LAST_RATE,
) -> tuple[Phase, ...]:
    """15 % of the steps at the early exaggeration, 15 % down from it, the rest at the late one.

    `n_steps` are the usual ones, `usual_early` of them exaggerated; `rate` is that of the last phase.
    """
    n_steps = config.max_iter or n_steps
    n_early, early = early_part(config, n_steps, 2 * int(0.15 * n_steps) if usual_early is None else usual_early, 4.0)
    late = late_coeff(config)
    constant, ramp = (n_early + 1) // 2, n_early // 2
    # each of these steps is exaggerated: the ramp stops one step before it arrives
    down = Ramp(early, early * (late / early) ** ((ramp - 1) / max(ramp, 1)), "geometric")
    if momentum is None:
        momentum = 0.99 if n_steps <= 120 else 0.98
    return of_phases(
        Phase("early exaggeration", constant, weights(config, early), rate_of(config, 1.0), 0.90),
        Phase("annealing", ramp, weights(config, down), rate_of(config, 1.0), min(momentum, 0.95)),
        Phase("final", n_steps - constant - ramp, weights(config, late), rate_of(config, rate), momentum),
    )


def two_momenta(config: EmbeddingConfig, n_steps: int, rate: float, first: float, last: float) -> tuple[Phase, ...]:
    """One rate, and one momentum for a fifth of the steps and another after; exaggerated where that is asked for."""
    n_steps = config.max_iter or n_steps
    n_early, early = early_part(config, n_steps, 0, 4.0)
    late, rate = late_coeff(config), rate_of(config, rate)
    n_spread = max(n_early, n_steps // 5)
    return of_phases(
        Phase("early exaggeration", n_early, weights(config, early), rate, first),
        Phase("spreading", n_spread - n_early, weights(config, late), rate, first),
        Phase("final", n_steps - n_spread, weights(config, late), rate, last),
    )


def standard(
    config: EmbeddingConfig, cells: Cells, *, usual_early: int | None = None, total: float | None = None
) -> tuple[Phase, ...]:
    """A third of the steps at exaggeration 12, the rest without: 250 and 500, as in openTSNE and scikit-learn.

    `total` is the sum of P where the loss does not take it as it is; automatic rates are divided by it.
    """
    n_steps, total = config.max_iter or 750, cells.matrix.total if total is None else total
    n_early, early = early_part(config, n_steps, round(n_steps / 3) if usual_early is None else usual_early, 12.0)
    sgd = takes_momentum(config)
    phases = []
    for name, count, coeff, momentum in (
        ("early exaggeration", n_early, early, 0.5),
        ("final", n_steps - n_early, late_coeff(config), 0.8),
    ):
        automatic = auto_rate(cells.matrix.n_rows, coeff) / total if is_scaled(config) else 1.0
        rate = rate_of(config, automatic)
        phases.append(Phase(name, count, weights(config, coeff), rate, momentum if sgd else None))
    return of_phases(*phases)


def is_scaled(config: EmbeddingConfig) -> bool:
    """Whether the automatic rate grows with the number of cells."""
    return config.optimizer in ("DeltaBarDelta", "SGD", torch.optim.SGD)


def takes_momentum(config: EmbeddingConfig) -> bool:
    """Whether the phases choose the momentum."""
    return config.optimizer in ("SGD", torch.optim.SGD) and config.optimizer_kwargs in (None, "auto")


def weights(config: EmbeddingConfig, exaggeration: float | Ramp) -> dict[str, float | Ramp]:
    return {"attraction": exaggeration, "repulsion": float(config.repulsion_strength)}


def late_coeff(config: EmbeddingConfig) -> float:
    return 1.0 if config.exaggeration is None else float(config.exaggeration)


def early_part(config: EmbeddingConfig, n_steps: int, usual_iter: int, usual_coeff: float) -> tuple[int, float]:
    """Steps that are exaggerated, and their λ."""
    coeff, n_early = config.early_exaggeration_coeff, config.early_exaggeration_iter
    n_early = usual_iter if n_early is None else n_early
    if coeff not in (None, 1) and n_early == 0:
        note(f"`early_exaggeration_coeff={coeff}` has no effect: `early_exaggeration_iter` is 0.")
    if n_early > n_steps:
        note(f"`early_exaggeration_iter={n_early}` is cut to {n_steps}: early exaggeration cannot outlast `max_iter`.")
    return min(n_early, n_steps), usual_coeff if coeff is None else float(coeff)


def rate_of(config: EmbeddingConfig, automatic: float | Ramp) -> float | Ramp:
    return automatic if config.lr == "auto" else float(config.lr)


def used_exaggeration(config: EmbeddingConfig, path: tuple[Phase, ...]) -> dict[str, Any]:
    """What stands in the record: the early λ, its number of steps, and the late one."""
    if "exaggeration" in config.method.refuses:
        return {}
    late = late_coeff(config)
    early = [weight for weight in map(exaggeration, unroll(path)) if weight != late]
    used = {"early_exaggeration_iter": len(early), "exaggeration": late}
    return used | ({"early_exaggeration_coeff": early[0]} if early else {})
