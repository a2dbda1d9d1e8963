"""The phases of each method, functions of a configuration and P; `benchmarks/quality.py` measures what they reach."""

from __future__ import annotations

import warnings
from dataclasses import replace

import torch

from .config import EmbeddingConfig
from .graph import AffinityMatrix
from .objective import n_epochs, pacmap_steps
from .optimize.optimizer import auto_rate
from .optimize.schedule import Phase, Ramp, Schedule

LAST_RATE = Ramp(2.0, 1.0)  # from 3, short runs of small sets at low perplexity are chaotic
MANY_NEGATIVES = 50


def of_tsne(config: EmbeddingConfig, matrix: AffinityMatrix, race: bool) -> Schedule:
    """The phases of t-SNE: a race of two early phases, a single schedule, or the usual one of other optimizers."""
    if race:
        return _raced(config)
    if config.is_automatic:
        return Schedule((_preconditioned(config),))
    return Schedule((_standard(config, matrix),))


def of_sne(config: EmbeddingConfig, matrix: AffinityMatrix, race: bool) -> Schedule:
    """t-SNE's single schedule with less momentum: with 0.98, 45 000 cells swing past their lowest loss."""
    if config.is_automatic:
        return Schedule((_preconditioned(config, momentum=0.95),))
    return Schedule((_standard(config, matrix),))


def of_contrast(config: EmbeddingConfig, matrix: AffinityMatrix, race: bool) -> Schedule:
    """t-SNE's single schedule, or that of drawn pairs."""
    return of_tsne(config, matrix, race) if config.of_method.repulsion == "expected" else of_drawn(config, matrix, race)


def of_drawn(config: EmbeddingConfig, matrix: AffinityMatrix, race: bool) -> Schedule:
    """More steps than t-SNE, less momentum and a rate that falls to nothing, since draws are noise.

    500 steps of momentum 0.8 for fewer than 50 negatives, else 200 of 0.95. Nothing is exaggerated by default.
    """
    if not config.is_automatic:
        return Schedule((_standard(config, matrix),))
    n_steps, momentum = (500, 0.8) if config.of_method.n_negatives < MANY_NEGATIVES else (200, 0.95)
    exaggerated = config.early_exaggeration_coeff not in (None, 1)
    n_early = config.early_exaggeration_iter if exaggerated else config.early_exaggeration_iter or 0
    config = replace(config, max_iter=config.max_iter or n_steps, early_exaggeration_iter=n_early)
    return Schedule((_preconditioned(config, momentum=momentum, rate=Ramp(1.0, 0.01)),))


def of_cosne(config: EmbeddingConfig, matrix: AffinityMatrix, race: bool) -> Schedule:
    """A fifth of the steps at exaggeration 4, which sorts a random start; then the rate falls from 0.1 to 0.01."""
    n_steps = config.max_iter or 500
    n_early = n_steps // 5 if config.early_exaggeration_iter is None else _early_iter(config, n_steps)
    early, late = _early_coeff(config, 4.0), _late(config)
    phases = (
        Phase("early exaggeration", n_early, _weights(config, early), _rate(config, 0.1)),
        Phase("final", n_steps - n_early, _weights(config, late), _rate(config, Ramp(0.1, 0.01, "geometric"))),
    )
    return Schedule((tuple(phase for phase in phases if phase.n_steps),))


def plain(config: EmbeddingConfig, matrix: AffinityMatrix, race: bool) -> Schedule:
    """One phase, one weight: for losses that know no exaggeration."""
    _check_no_exaggeration(config)
    if config.repulsion_strength != 1:
        raise ValueError(f"`repulsion_strength` has no effect with method={config.method!r}, whose loss is one term.")
    automatic = auto_rate(matrix.n_rows, 1.0) if _is_scaled(config) else 1.0
    momentum = 0.8 if _takes_momentum(config) else None
    return Schedule((((Phase("matching", config.max_iter, {"loss": 1.0}, _rate(config, automatic), momentum)),),))


def of_pacmap(config: EmbeddingConfig, matrix: AffinityMatrix, race: bool) -> Schedule:
    """Global arrangement, transition, local structure: 100, 100 and 250 steps (Wang et al. 2021), or such shares."""
    return _three_phases(config, {"near": 1.0})


def of_localmap(config: EmbeddingConfig, matrix: AffinityMatrix, race: bool) -> Schedule:
    """PaCMAP's, with the local pull in the last phase (Wang et al. 2024)."""
    return _three_phases(config, {"near": 0.0, "local_near": 1.0})


def _three_phases(config: EmbeddingConfig, last: dict[str, float]) -> Schedule:
    """The weight of mid-near pairs falls from 1000 on a line that reaches 3 with the second phase."""
    _check_no_exaggeration(config)
    first, second, third = pacmap_steps(config)
    usual = {"far": float(config.repulsion_strength)} | dict.fromkeys(last, 0.0)
    falling = Ramp(1000.0, 1000.0 + (3.0 - 1000.0) * (first - 1) / max(first, 1))
    rate, momentum = _rate(config, 1.0), 0.8 if _takes_momentum(config) else None
    phases = (
        Phase("global arrangement", first, usual | {"near": 2.0, "mid_near": falling}, rate, momentum),
        Phase("transition", second, usual | {"near": 3.0, "mid_near": 3.0}, rate, momentum),
        Phase("local structure", third, usual | last | {"mid_near": 0.0}, rate, momentum),
    )
    return Schedule((tuple(phase for phase in phases if phase.n_steps),))


def of_umap(config: EmbeddingConfig, matrix: AffinityMatrix, race: bool) -> Schedule:
    """100 steps at the rate 1, or epochs at a rate that falls from 1 to 0; by default nothing is exaggerated.

    More steps find no better neighborhoods, but drift away from the global arrangement of the start.
    """
    usual = config if config.early_exaggeration_iter else replace(config, early_exaggeration_iter=0)
    if not config.is_automatic:
        return Schedule((_standard(usual, matrix),))
    sampled = config.repulsion == "sampled"
    n_steps = n_epochs(config, matrix.n_rows) if sampled else (config.max_iter or 100)
    if not sampled:
        return Schedule((_two_momenta(usual, n_steps, 1.0, 0.8, 0.95),))
    n_early = _early_iter(usual, n_steps)
    return Schedule((_epochs(config, n_steps, n_early, _early_coeff(usual, 4.0), _late(config)),))


def of_force_atlas2(config: EmbeddingConfig, matrix: AffinityMatrix, race: bool) -> Schedule:
    """150 steps at the rate 2/3, by default without exaggeration.

    The attraction is a quadratic form whose eigenvalues over the degrees are at most 2, whatever the graph (Chung
    1997), so that at this rate no momentum below 1 lets its steps grow. At the rate 1 cells of real graphs tremble.
    Only pairs of cells without any other neighbor, whose repulsion is as stiff, come to rest at lower rates alone.
    """
    usual = config if config.early_exaggeration_iter else replace(config, early_exaggeration_iter=0)
    if not config.is_automatic:
        return Schedule((_standard(usual, replace(matrix, total=1.0)),))
    return Schedule((_two_momenta(usual, 150 if config.max_iter is None else config.max_iter, 2 / 3, 0.9, 0.97),))


def _two_momenta(config: EmbeddingConfig, n_steps: int, rate: float, first: float, last: float) -> tuple[Phase, ...]:
    """One rate, and one momentum for a fifth of the steps and another after; exaggerated where that is asked for."""
    n_early = _early_iter(config, n_steps)
    early, late, rate = _early_coeff(config, 4.0), _late(config), _rate(config, rate)
    n_spread = max(n_early, n_steps // 5)
    phases = (
        Phase("early exaggeration", n_early, _weights(config, early), rate, first),
        Phase("spreading", n_spread - n_early, _weights(config, late), rate, first),
        Phase("final", n_steps - n_spread, _weights(config, late), rate, last),
    )
    return tuple(phase for phase in phases if phase.n_steps)


def _epochs(config: EmbeddingConfig, n_steps: int, n_early: int, early: float, late: float) -> tuple[Phase, ...]:
    first = 1.0 if config.lr == "auto" else float(config.lr)
    rates = [first * (1 - done / n_steps) for done in range(n_steps)]
    phases = []
    for name, begin, end, coeff in (("early exaggeration", 0, n_early, early), ("epochs", n_early, n_steps, late)):
        if end > begin:
            phases.append(Phase(name, end - begin, _weights(config, coeff), Ramp(rates[begin], rates[end - 1])))
    return tuple(phases)


def _check_no_exaggeration(config: EmbeddingConfig) -> None:
    for name in ("early_exaggeration_coeff", "early_exaggeration_iter", "exaggeration"):
        if getattr(config, name) not in (None, 0):
            raise ValueError(f"`{name}` has no effect with method={config.method!r}, which knows no exaggeration.")


def _weights(config: EmbeddingConfig, exaggeration: float | Ramp) -> dict[str, float | Ramp]:
    return {"attraction": exaggeration, "repulsion": float(config.repulsion_strength)}


def _late(config: EmbeddingConfig) -> float:
    return 1.0 if config.exaggeration is None else float(config.exaggeration)


def _rate(config: EmbeddingConfig, automatic: float | Ramp) -> float | Ramp:
    return automatic if config.lr == "auto" else float(config.lr)


def _preconditioned(
    config: EmbeddingConfig, momentum: float | None = None, rate: Ramp = LAST_RATE
) -> tuple[Phase, ...]:
    """15 % of the steps at the early exaggeration, 15 % down from it, the rest at the late one.

    `rate` is that of the last phase.
    """
    n_steps = 150 if config.max_iter is None else config.max_iter
    early, late = _early_coeff(config, 4.0), _late(config)
    n_early = 2 * int(0.15 * n_steps) if config.early_exaggeration_iter is None else _early_iter(config, n_steps)
    constant, ramp = (n_early + 1) // 2, n_early // 2
    # each of these steps is exaggerated: the ramp stops one step before it arrives
    down = Ramp(early, early * (late / early) ** ((ramp - 1) / max(ramp, 1)), "geometric")
    if momentum is None:
        momentum = 0.99 if n_steps <= 120 else 0.98
    phases = (
        Phase("early exaggeration", constant, _weights(config, early), _rate(config, 1.0), 0.90),
        Phase("annealing", ramp, _weights(config, down), _rate(config, 1.0), min(momentum, 0.95)),
        Phase("final", n_steps - constant - ramp, _weights(config, late), _rate(config, rate), momentum),
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
    scaled, sgd = _is_scaled(config), _takes_momentum(config)
    phases = []
    for name, count, coeff, momentum in (
        ("early exaggeration", n_early, _early_coeff(config, 12.0), 0.5),
        ("final", n_steps - n_early, _late(config), 0.8),
    ):
        rate = _rate(config, auto_rate(matrix.n_rows, coeff) / matrix.total if scaled else 1.0)
        phases.append(Phase(name, count, _weights(config, coeff), rate, momentum if sgd else None))
    return tuple(phase for phase in phases if phase.n_steps)


def _is_scaled(config: EmbeddingConfig) -> bool:
    """Whether the automatic rate grows with the number of cells."""
    return config.optimizer in ("DeltaBarDelta", "SGD", torch.optim.SGD)


def _takes_momentum(config: EmbeddingConfig) -> bool:
    """Whether the phases choose the momentum."""
    return config.optimizer in ("SGD", torch.optim.SGD) and config.optimizer_kwargs in (None, "auto")


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
