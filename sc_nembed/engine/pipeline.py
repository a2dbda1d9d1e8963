"""`embed`: the way from features, a graph or affinities to an embedding. A table of contents; each stage is a module.

neighbors -> affinity -> init -> terms -> optimize
"""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from . import objective
from .affinity import EntropicAffinity, InputAffinity, PACMAPAffinity, SymmetricEntropicAffinity
from .cells import Cells, Given, Source, cells_of, checked, n_obs_of, processes_duplicates
from .compute import backend, memory
from .config import EmbeddingConfig
from .graph import AffinityMatrix, KnnGraph
from .initialization import start_positions
from .neighbors import default_method, nearest_neighbors
from .optimize import race
from .optimize.callbacks import Callback, progress_bar
from .optimize.encoder import EncoderOptimizer, encoded
from .optimize.rate_scheduler import resolve_scheduler
from .optimize.state import Rules, RunState
from .poincare import start_in_ball
from .result import EmbeddingResult, effective
from .terms import Density

SMALLEST_PERPLEXITY = 2.0  # of few cells, where nothing is asked for
STAGES = ("neighbors", "affinity", "init", "optimize", "total")


def embed(
    source: Source,
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
    with backend.session(backend.resolve_n_jobs(config.n_jobs)), _timed(seconds, "total"):
        config = _with_known_optimizer(config)
        given = checked(source, features, config)
        affinity, k = _input_affinity(config, given.source)
        _check_size(config, given, k)
        graph = given.source
        if k:
            with _timed(seconds, "neighbors"):
                metric = config.metric or "euclidean"
                resolved["neighbors"] = config.backend or default_method(graph.shape[0], device)
                graph = nearest_neighbors(graph.to(device), k, metric=metric, method=resolved["neighbors"])
        with _timed(seconds, "affinity" if affinity is not None else None):
            cells = cells_of(config, given, affinity, graph)
        n_neighbors = _neighbors_used(affinity, graph)
        del graph  # one that was searched here is as large as P
        with _timed(seconds, "init"):
            start, scaling, init = _start(config, cells)
            start = start.to(device, config.dtype)
        with _timed(seconds, "optimize"):
            raced = _races(config, given.source, cells.features)
            schedule = config.schedule(config, cells.matrix, raced)
            problem = _problem(config, cells, start, resolved, searched=k > 0)
            for name, share in problem.late.items():
                schedule = schedule.late(name, problem.strength[name], share)
            rules = _rules(config, cells, problem, schedule.longest_path())
            with progress_bar(schedule.all_steps(), config.verbose) as bar:
                rules = replace(rules, callbacks=(bar, *callbacks))
                state = RunState(start, start - start.double().mean(0).to(start.dtype))
                state, path, branch = race.run(state, rules, schedule, cells.features, carried)
        embedding, per_cell = cells.complete(state.positions), _per_cell(problem, cells, state.positions)
    last, offset = state.history[-1], problem.offset
    config = replace(config, process_duplicates=processes_duplicates(config, given.source))
    return EmbeddingResult(
        embedding=embedding,
        n_iter=state.step,
        stop_reason=state.stop_reason,
        history={name: np.array([row[name] for row in state.history]) for name in last},
        kl_divergence=None if offset is None else last["attraction"] + last["repulsion"] + offset,
        seconds=seconds,
        resolved=resolved | ({"branch": branch} if raced else {}),
        config=effective(config, affinity, n_neighbors, path, raced, init=init, init_scaling=scaling),
        n_edges=cells.matrix.n_edges,
        per_cell=per_cell,
        encoder=None if config.encoder is None else state.optimizer[0],
    )


@contextmanager
def _timed(seconds: dict[str, float], stage: str | None) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    if stage is not None:
        seconds[stage] = time.perf_counter() - begin


def _with_known_optimizer(config: EmbeddingConfig) -> EmbeddingConfig:
    """Adam for "auto" where cells have no curvature of their own, at 0.001 for an encoder's parameters."""
    if not (config.encoder is not None or config.is_dense) or not config.is_automatic:
        return config
    lr = 1e-3 if config.lr == "auto" and config.encoder is not None else config.lr
    return replace(config, optimizer="Adam", lr=lr)


def _input_affinity(config: EmbeddingConfig, source: Source) -> tuple[InputAffinity | None, int]:
    """The input affinity, and the number of other cells to search for: 0 where nothing is searched."""
    searching, n_obs = isinstance(source, Tensor), n_obs_of(source)
    if isinstance(source, AffinityMatrix):
        return None, 0
    n_held = source.n_neighbors if isinstance(source, KnnGraph) else None
    affinity = config.input_affinity(searching=searching, n_obs=n_obs, n_held=n_held)
    k = affinity.n_neighbors(n_obs) if searching else 0
    if isinstance(affinity, SymmetricEntropicAffinity) and config.perplexity is None and config.affinity_in is None:
        return SymmetricEntropicAffinity(min(affinity.perplexity, max(k / 3, SMALLEST_PERPLEXITY))), k
    if not k or not isinstance(affinity, EntropicAffinity):
        return affinity, k
    if config.n_neighbors is not None:
        k = min(config.n_neighbors, n_obs) - 1
    largest = max(affinity.perplexities)
    if 3 * largest - k < 1:
        return affinity, k
    lowered = [max(1.0, min(value, k / 3)) for value in affinity.perplexities]
    if config.perplexity is not None or isinstance(config.affinity_in, EntropicAffinity):
        warnings.warn(
            f"The perplexity is lowered from {largest:g} to {max(lowered):g}, a third of the {k} neighbors per cell.",
            UserWarning,
            stacklevel=3,
        )
    return EntropicAffinity(lowered if len(lowered) > 1 else lowered[0]), k


def _neighbors_used(affinity: InputAffinity | None, graph: Source) -> int | None:
    """Neighbors of each cell that P was made of, the cell itself counted."""
    if not isinstance(graph, KnnGraph):
        return None
    chosen = affinity.k if isinstance(affinity, PACMAPAffinity) else graph.n_neighbors
    return min(chosen, graph.n_neighbors) + 1


def _check_size(config: EmbeddingConfig, given: Given, k: int) -> None:
    """Refuse what will not fit before anything is searched; k is the number of neighbors to search."""
    source = given.source
    if isinstance(source, KnnGraph):
        k = source.n_neighbors
    elif isinstance(source, AffinityMatrix):
        k = -(-source.n_edges // max(1, source.n_rows))
    n_features = 0 if given.features is None else given.features.shape[1]
    memory.check(n_obs_of(source), n_features, k, config.n_components)


def _check_backend(config: EmbeddingConfig, chosen: dict[str, str], *, searched: bool) -> None:
    """Refuse a backend that had nothing to do."""
    if config.backend is None or searched or (config.backend == "keops" and chosen):
        return
    raise ValueError(
        f"`backend={config.backend!r}` has no effect in this call: no neighbors are searched"
        f"{'' if config.backend == 'faiss' else ' and no sums over all pairs are evaluated'}. Drop it."
    )


def _start(config: EmbeddingConfig, cells: Cells) -> tuple[Tensor, float | str | None, str]:
    """Starting positions, how they were scaled, and the name of the start that was used."""
    if config.encoder is not None:
        return encoded(copy.deepcopy(config.encoder), cells.raw, config.random_state), None, "encoder"
    init, scaling = config.init, config.init_scaling
    if isinstance(init, str):
        usual = config.named_init_scaling
        if scaling is None:
            scaling = usual(config, cells.matrix) if callable(usual) else usual
    else:
        init, shape = torch.as_tensor(init), (cells.given.n_cells, config.n_components)
        if init.shape != shape:
            raise ValueError(f"`init` must have the shape {shape}; got {tuple(init.shape)}.")
        if not torch.isfinite(init).all():
            raise ValueError("`init` has NaN or infinite values.")
        init = cells.of(init)
    start, used = (start_in_ball if config.in_ball else start_positions)(
        init, scaling, features=cells.features, matrix=cells.matrix, n_components=config.n_components,
        seed=config.random_state,
    )  # fmt: skip
    return start, scaling, used


def _problem(
    config: EmbeddingConfig, cells: Cells, start: Tensor, resolved: dict[str, str], *, searched: bool
) -> objective.Problem:
    """What is minimised, with an encoder's optimizer where there is one."""
    counts = None if cells.counts is None else cells.counts.to(start)
    inputs = objective.Inputs(cells.matrix.to(start.device), cells.features, counts, cells.raw)
    sums = objective.Sums(config, cells.matrix.n_rows, start.device, config.dtype)
    problem = config.terms(config, inputs, sums)
    problem = objective.with_additions(problem, config, cells, start)
    _check_backend(config, sums.chosen, searched=searched)
    resolved |= sums.chosen
    if config.encoder is None:
        return problem
    module = copy.deepcopy(config.encoder).to(start.device)
    optimizer = EncoderOptimizer(module, cells.raw.to(start.device), config.resolved_optimizer(), config.random_state)
    return replace(problem, optimizer=optimizer)


def _per_cell(problem: objective.Problem, cells: Cells, positions: Tensor) -> dict[str, Tensor]:
    """Local radii, where the problem knows them."""
    density = problem.objective.get("density")
    if not isinstance(density, Density):
        return {}
    radii = {"rad_orig": density.log_radius, "rad_emb": density.log_radii(positions)}
    return {name: cells.spread(values.float()) for name, values in radii.items()}


def _races(config: EmbeddingConfig, source: Source, features: Tensor | None) -> bool:
    """Whether two early phases are raced: by default for a representation whose schedule nobody touched."""
    if config.race is False or "race" not in config.options:
        return False
    touched = {
        "optimizer": not config.is_automatic,
        "scheduler": config.scheduler not in (None, "none"),
        "max_iter": config.max_iter is not None,
        "early_exaggeration_coeff": config.early_exaggeration_coeff is not None,
        "early_exaggeration_iter": config.early_exaggeration_iter is not None,
        "exaggeration": config.exaggeration is not None,
    }
    given = [name for name, is_given in touched.items() if is_given]
    if config.race is None:
        return isinstance(source, Tensor) and not given and source.shape[0] <= config.entropic_cells
    if given:
        raise ValueError(f"`race=True` has schedules of its own and cannot be combined with {given}.")
    if features is None:
        raise ValueError("`race=True` compares distances in a representation, and there is none; drop it.")
    return True


def _rules(config: EmbeddingConfig, cells: Cells, problem: objective.Problem, max_iter: int) -> Rules:
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
