"""`embed`: the way from features, a graph or affinities to an embedding. A table of contents; each stage is a module.

neighbors -> affinity -> init -> terms -> optimize
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .affinity import request as requests
from .affinity.request import Request, Start
from .cells import Cells, Given, cells_of, checked
from .compute import backend, memory
from .compute.notes import note
from .config import EmbeddingConfig
from .config_rules import check_backend
from .configure import for_cells
from .graph import AffinityMatrix, KnnGraph
from .neighbors import default_method, nearest_neighbors
from .optimize import race
from .optimize.callbacks import Callback, progress_bar
from .optimize.encoder import EncoderOptimizer, encoded
from .optimize.rate_scheduler import resolve_scheduler
from .optimize.schedule import n_steps
from .optimize.state import Rules, RunState
from .presets.extra_terms import with_additions
from .presets.method import Inputs, Problem, Sums
from .presets.phases import used_exaggeration
from .record import record
from .result import EmbeddingResult

STAGES = ("neighbors", "affinity", "init", "optimize", "total")


def embed(
    source: Tensor | KnnGraph | AffinityMatrix,
    config: EmbeddingConfig,
    *,
    features: Tensor | None = None,
    callbacks: Sequence[Callback] = (),
    carried: Mapping[str, np.ndarray] | None = None,
) -> EmbeddingResult:
    """Embed cells, starting from whatever is there: features, a neighbor graph, or affinities.

    Parameters
    ----------
    source
        Features (n, d), whose neighbors are searched; a `KnnGraph`, which skips the search; an `AffinityMatrix`, which
        skips the affinities too.
    config
        What to do; see `engine.presets`.
    features
        (n, d) features for `init="pca"` and for the race of early phases, where the source is a graph.
    callbacks
        Called with a `StepInfo` at each check; one that returns True ends the run.
    carried
        `StepInfo.carried` of a run of the same call, to go on from there: with the same bits as without the stop.

    Raises
    ------
    ValueError
        For bad input (NaN, constant data, fewer than 5 cells, ...) and when the optimization diverges.
    MemoryError
        Before anything is computed, where it would take more memory than there is.
    """
    device = backend.resolve_device(config.device)
    resolved, seconds = {"device": str(device)}, dict.fromkeys(STAGES, 0.0)
    with backend.session(config.n_jobs) as n_jobs, _timed(seconds, "total"):
        asked, config = config, for_cells(_with_known_optimizer(config), len(source))
        given = checked(source, features, config)
        request = requests.resolve(config, given.source)
        for message in request.notes:
            note(message)
        _check_memory(config, given, request)
        with _timed(seconds, "neighbors", given.source.n_held is None and request.k > 0):
            graph = _graph(config, given.source, request, device, resolved)
        with _timed(seconds, "affinity", request.affinity is not None):
            cells = cells_of(config, given, request, graph)
        del graph  # one that was searched here is as large as P
        with _timed(seconds, "init"):
            start, of_start = _start(config, cells)
            start = start.to(device, config.dtype)
        with _timed(seconds, "optimize"):
            run = _optimized(config, cells, start, resolved, callbacks, carried)
        embedding, per_cell = cells.complete(run.state.positions), _per_cell(config, run, cells)
    history = run.state.history
    settled = {"device": str(device), "n_jobs": n_jobs, "process_duplicates": given.merges}
    return EmbeddingResult(
        embedding=embedding,
        n_iter=run.state.step,
        stop_reason=run.state.stop_reason,
        history={name: np.array([row[name] for row in history]) for name in history[-1]},
        kl_divergence=_divergence(run.problem, history[-1]),
        seconds=seconds,
        resolved=resolved,
        config=asked,
        used=record(config, **(request.used | of_start | run.used | settled)),
        n_edges=cells.matrix.n_edges,
        per_cell=per_cell,
        encoder=None if config.encoder is None else run.state.optimizer[0],
    )


@contextmanager
def _timed(seconds: dict[str, float], stage: str, counts: bool = True) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    if counts:
        seconds[stage] = time.perf_counter() - begin


def _with_known_optimizer(config: EmbeddingConfig) -> EmbeddingConfig:
    """Adam for "auto" where cells have no curvature of their own, at 0.001 for an encoder's parameters."""
    if not (config.encoder is not None or config.is_dense) or not config.is_automatic:
        return config
    lr = 1e-3 if config.lr == "auto" and config.encoder is not None else config.lr
    return replace(config, optimizer="Adam", lr=lr)


def _check_memory(config: EmbeddingConfig, given: Given, request: Request) -> None:
    """Refuse what will not fit before anything is searched."""
    k = request.k
    if given.source.n_held == 0:
        k = -(-given.source.n_edges // max(1, given.source.n_obs))
    n_features = 0 if given.features is None else given.features.shape[1]
    memory.check(given.source.n_obs, n_features, k, config.n_components)


def _graph(
    config: EmbeddingConfig, source: Start, request: Request, device: torch.device, resolved: dict[str, str]
) -> Start:
    """The neighbors that P is made of: searched, or kept of those that are given."""
    if source.n_held is not None:
        return source.nearest(request.k) if request.k else source
    if not request.k:
        return source
    resolved["neighbors"] = config.backend or default_method(source.n_obs, device)
    metric = config.metric or "euclidean"
    return nearest_neighbors(source.values.to(device), request.k, metric=metric, method=resolved["neighbors"])


def _start(config: EmbeddingConfig, cells: Cells) -> tuple[Tensor, dict[str, Any]]:
    """Starting positions; by what name and how they were scaled."""
    if config.encoder is not None:
        return encoded(copy.deepcopy(config.encoder), cells.raw, config.random_state), {"init": "encoder"}
    init, scaling = config.init, config.init_scaling
    if not isinstance(init, str):
        init = cells.select(init)
    elif scaling is None:
        scaling = config.method.start_size
        scaling = scaling(config, cells.matrix) if callable(scaling) else scaling
    start, used = config.method.space.start(
        init, scaling, features=cells.features, matrix=cells.matrix, n_components=config.n_components,
        seed=config.random_state,
    )  # fmt: skip
    return start, {"init": used, "init_scaling": scaling}


def _problem(config: EmbeddingConfig, cells: Cells, start: Tensor, resolved: dict[str, str]) -> Problem:
    """What is minimised, with an encoder's optimizer where there is one."""
    counts = None if cells.counts is None else cells.counts.to(start)
    inputs = Inputs(cells.matrix.to(start.device), cells.features, counts, cells.raw)
    sums = Sums(config.backend, config.n_components, cells.matrix.n_rows, start.device, config.dtype)
    problem = with_additions(config.method.problem(config, inputs, sums), config, cells, start)
    resolved |= sums.chosen
    check_backend(config, resolved)
    if config.encoder is None:
        return problem
    module = copy.deepcopy(config.encoder).to(start.device)
    optimizer = EncoderOptimizer(module, cells.raw.to(start.device), config.resolved_optimizer(), config.random_state)
    return replace(problem, optimizer=optimizer)


class _Run(NamedTuple):
    """What was minimised, how it ended, and what was used."""

    problem: Problem
    state: RunState
    used: dict[str, Any]


def _optimized(
    config: EmbeddingConfig, cells: Cells, start: Tensor, resolved: dict[str, str], callbacks: Sequence[Callback],
    carried: Mapping[str, np.ndarray] | None,
) -> _Run:  # fmt: skip
    schedule, problem = config.method.schedule(config, cells), _problem(config, cells, start, resolved)
    for name, share in problem.late.items():
        schedule = schedule.late(name, problem.strength[name], share)
    rules = _rules(config, cells, problem, schedule.longest_path())
    with progress_bar(schedule.all_steps(), config.verbose) as bar:
        rules = replace(rules, callbacks=(bar, *callbacks))
        begun = RunState(start, start - start.double().mean(0).to(start.dtype))
        state, path, branch = race.run(begun, rules, schedule, cells.features, carried)
    resolved |= {"branch": branch} if branch else {}
    used = used_exaggeration(config, path) | {"max_iter": n_steps(path)}
    return _Run(problem, state, used | ({"race": bool(branch)} if "race" in config.method.option_names else {}))


def _divergence(problem: Problem, last: dict[str, float]) -> float | None:
    """That of P and Q, where both are distributions."""
    return None if problem.offset is None else last["attraction"] + last["repulsion"] + problem.offset


def _per_cell(config: EmbeddingConfig, run: _Run, cells: Cells) -> dict[str, Tensor]:
    """Local radii, where they are asked for."""
    if not config.per_cell:
        return {}
    density = run.problem.objective["density"]
    radii = zip(config.per_cell, (density.log_radius, density.log_radii(run.state.positions)), strict=True)
    return {name: cells.spread(values.float()) for name, values in radii}


def _rules(config: EmbeddingConfig, cells: Cells, problem: Problem, max_iter: int) -> Rules:
    return Rules(
        problem,
        problem.optimizer or config.resolved_optimizer(),
        max_iter=max_iter,
        check_interval=config.check_interval,
        min_grad_norm=config.min_grad_norm,
        max_grad_norm=config.max_grad_norm,
        scheduler=resolve_scheduler(config.scheduler, config.scheduler_kwargs),
        scheduler_kwargs=config.scheduler_kwargs,
        complete=cells.complete,
        interruptible=backend.in_ipython(),
    )
