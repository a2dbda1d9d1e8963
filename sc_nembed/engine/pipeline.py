"""`embed`: the way from features, a graph or affinities to an embedding. A table of contents; each stage is a module.

neighbors -> affinity -> init -> terms -> optimize
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from . import backend, race, radial_sum, reductions
from .affinity import EntropicAffinity, InputAffinity
from .callbacks import Callback, progress_bar
from .config import EmbeddingConfig
from .features import checked_features
from .graph import AffinityMatrix, KnnGraph
from .initialization import start_positions
from .isolated import participants
from .loop import Rules, RunState
from .neighbors import EXACT_CELLS, nearest_neighbors
from .optimizer import resolve_optimizer, resolve_scheduler
from .result import EmbeddingResult, effective
from .terms import Attraction, Objective, Partition
from .world import SERIAL

MIN_CELLS = 5
STAGES = ("neighbors", "affinity", "init", "optimize", "total")
Source = Tensor | KnnGraph | AffinityMatrix


def embed(
    source: Source,
    config: EmbeddingConfig,
    *,
    features: Tensor | None = None,
    callbacks: Sequence[Callback] = (),
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

    Raises
    ------
    ValueError
        For bad input (NaN, constant data, fewer than 5 cells, ...) and when the optimization diverges.
    """
    device = backend.resolve_device(config.device)
    resolved, seconds = {"device": str(device)}, dict.fromkeys(STAGES, 0.0)
    with backend.session(backend.resolve_n_jobs(config.n_jobs)), _timed(seconds, "total"):
        source, features = _checked(source, features, config)
        affinity, k = _input_affinity(config, source)
        graph = source
        if k:
            with _timed(seconds, "neighbors"):
                metric, resolved["neighbors"] = config.metric or "euclidean", _search(config, source, device)
                graph = nearest_neighbors(source.to(device), k, metric=metric, method=resolved["neighbors"])
        matrix = graph
        if affinity is not None:
            with _timed(seconds, "affinity"):
                matrix = affinity(graph)
        if matrix.n_rows != _n_obs(source):
            raise ValueError(f"The precomputed affinity is of {matrix.n_rows} cells, but there are {_n_obs(source)}.")
        taking_part = participants(matrix)
        matrix, features = taking_part.matrix, taking_part.of(features)
        with _timed(seconds, "init"):
            start, scaling, init = _start(config, _n_obs(source), matrix, features, taking_part.members)
        with _timed(seconds, "optimize"):
            raced = _races(config, source, features)
            schedule = config.schedule(config, matrix, raced)
            objective, offset = _objective(matrix, config, device, resolved)
            rules = _rules(config, objective, offset or 0.0, schedule.longest_path())
            rules = replace(rules, complete=lambda positions: taking_part.complete(positions, _n_obs(source)))
            with progress_bar(schedule.all_steps(), config.verbose) as bar:
                rules = replace(rules, callbacks=(bar, *callbacks))
                state = RunState(start.to(device), (start - start.double().mean(0).float()).to(device))
                state, path, branch = race.run(state, rules, schedule, features)
        embedding = rules.complete(state.positions)
    last = state.history[-1]
    return EmbeddingResult(
        embedding=embedding,
        n_iter=state.step,
        stop_reason=state.stop_reason,
        history={name: np.array([row[name] for row in state.history]) for name in last},
        kl_divergence=None if offset is None else last["attraction"] + last["repulsion"] + offset,
        seconds=seconds,
        resolved=resolved | ({"branch": branch} if raced else {}),
        config=effective(config, affinity, graph, path, raced, init=init, init_scaling=scaling),
        n_edges=matrix.n_edges,
    )


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - begin


def _n_obs(source: Source) -> int:
    if isinstance(source, Tensor):
        return source.shape[0]
    return source.n_obs if isinstance(source, KnnGraph) else source.n_rows


def _checked(source: Source, features: Tensor | None, config: EmbeddingConfig) -> tuple[Source, Tensor | None]:
    if _n_obs(source) < MIN_CELLS:
        raise ValueError(f"An embedding needs at least {MIN_CELLS} cells; got {_n_obs(source)}.")
    if isinstance(source, Tensor):
        source = features = checked_features(source, config.metric)
    elif features is not None:
        features = checked_features(features, None)
        if features.shape[0] != _n_obs(source):
            raise ValueError(f"`features` has {features.shape[0]} rows, but the source has {_n_obs(source)} cells.")
    return source, features


def _input_affinity(config: EmbeddingConfig, source: Source) -> tuple[InputAffinity | None, int]:
    """The input affinity, and the number of other cells to search for: 0 where nothing is searched."""
    searching, n_obs = isinstance(source, Tensor), _n_obs(source)
    if config.backend is not None and not searching:
        raise ValueError(
            f"`backend={config.backend!r}` has no effect: it searches neighbors, and these are given. Drop it."
        )
    if isinstance(source, AffinityMatrix):
        return None, 0
    affinity = config.input_affinity(searching=searching, n_obs=n_obs)
    k = affinity.n_neighbors(n_obs) if searching else 0
    if not k or not isinstance(affinity, EntropicAffinity):
        return affinity, k
    if config.n_neighbors is not None:
        k = min(config.n_neighbors, n_obs) - 1
    largest = max(affinity.perplexities)
    if 3 * largest - k < 1:
        return affinity, k
    lowered = [max(1.0, min(value, k / 3)) for value in affinity.perplexities]
    if config.perplexity is not None or config.affinity_in is not None:
        warnings.warn(
            f"The perplexity is lowered from {largest:g} to {max(lowered):g}, a third of the {k} neighbors per cell.",
            UserWarning,
            stacklevel=3,
        )
    return EntropicAffinity(lowered if len(lowered) > 1 else lowered[0]), k


def _search(config: EmbeddingConfig, features: Tensor, device: torch.device) -> str:
    if config.backend is not None:
        return config.backend
    return "torch" if features.shape[0] <= EXACT_CELLS or device.type == "cuda" else "faiss"


def _start(
    config: EmbeddingConfig, n_obs: int, matrix: AffinityMatrix, features: Tensor | None, members: Tensor | None
):
    init, scaling = config.init, config.init_scaling
    if isinstance(init, str):
        scaling = config.named_init_scaling if scaling is None else scaling
    else:
        init = torch.as_tensor(init)
        if init.shape != (n_obs, config.n_components):
            raise ValueError(f"`init` must have the shape {(n_obs, config.n_components)}; got {tuple(init.shape)}.")
        if not torch.isfinite(init).all():
            raise ValueError("`init` has NaN or infinite values.")
        if members is not None:
            init = init[members]
    start, used = start_positions(
        init, scaling, features=features, matrix=matrix, n_components=config.n_components, seed=config.random_state
    )
    return start, scaling, used


def _races(config: EmbeddingConfig, source: Source, features: Tensor | None) -> bool:
    """Whether two early phases are raced: by default for a representation whose schedule nobody touched."""
    if config.race is False:
        return False
    touched = {
        "optimizer": config.optimizer != "auto",
        "scheduler": config.scheduler not in (None, "none"),
        "max_iter": config.max_iter is not None,
        "early_exaggeration_coeff": config.early_exaggeration_coeff is not None,
        "early_exaggeration_iter": config.early_exaggeration_iter is not None,
        "exaggeration": config.exaggeration is not None,
    }
    given = [name for name, is_given in touched.items() if is_given]
    if config.race is None:
        return isinstance(source, Tensor) and not given
    if given:
        raise ValueError(f"`race=True` has schedules of its own and cannot be combined with {given}.")
    if features is None:
        raise ValueError("`race=True` compares distances in a representation, and there is none; drop it.")
    return True


def _objective(
    matrix: AffinityMatrix, config: EmbeddingConfig, device: torch.device, resolved: dict[str, str]
) -> tuple[Objective, float | None]:
    """The terms, and the constant Σ P log P where P and Q are distributions (else None)."""
    output, matrix = config.output_affinity(), matrix.to(device)
    resolved["radial_sum"] = radial_sum.choose(matrix.n_rows, config.n_components)
    plan = radial_sum.RADIAL_SUMS[resolved["radial_sum"]](
        output.kernel,
        n_components=config.n_components,
        tolerance=config.tolerance,
        device=device,
        dtype=torch.float32,
        world=SERIAL,
    )
    objective = {"attraction": Attraction(matrix, output.kernel), "repulsion": Partition(plan, matrix.total)}
    return objective, -reductions.entropy(matrix.weights) if abs(matrix.total - 1) < 1e-6 else None


def _rules(config: EmbeddingConfig, objective: Objective, offset: float, max_iter: int) -> Rules:
    return Rules(
        objective,
        resolve_optimizer(config.optimizer, config.optimizer_kwargs),
        strength={"attraction": 1.0, "repulsion": float(config.repulsion_strength)},
        offset=offset,
        max_iter=max_iter,
        check_interval=config.check_interval,
        min_grad_norm=config.min_grad_norm,
        scheduler=resolve_scheduler(config.scheduler, config.scheduler_kwargs),
        scheduler_kwargs=config.scheduler_kwargs,
        interruptible=backend.in_ipython(),
    )
