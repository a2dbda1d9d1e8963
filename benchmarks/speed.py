"""Claim: 45 000 cells are optimized 20 times, and embedded from their PCA 10 times, as fast as by openTSNE, at least.

45 000 cells of the mass-cytometry set, perplexity 30, two threads, CPU. (1) The optimization alone: sc_nembed with its
race of early phases (the default) and without, openTSNE's 250 + 500 steps with its interpolation (FFT), all from one
start and from the P of sc_nembed's own run. (2) The whole from `obsm["X_pca"]`: `sc_nembed.tl.neighbor_embedding`
against `openTSNE.TSNE`, with their defaults. The tools take turns, after a small run of each; the table shows the
median and the range. The KL divergences are exact (float64, all pairs): in (1) against the P used, in (2) against the P
of exact neighbors.

    export SC_NEMBED_DATA=folder
    python benchmarks/speed.py                              # writes benchmarks/results/speed.md
    python benchmarks/speed.py --cells 12000 --repeats 1    # a try
"""

from __future__ import annotations

import time
from collections.abc import Callable

import _common as common
import anndata
import numpy as np
import openTSNE
import scipy.sparse as sp
import torch

import sc_nembed as ne
from sc_nembed.engine.features import checked_features
from sc_nembed.engine.neighbors import nearest_neighbors

SET, N_CELLS, N_REPEATS, N_JOBS = "cytof_pbmc_112k", 45_000, 3, 2
WARM_CELLS = 21_000  # above the sizes where either tool changes its method
OPTIMIZATION_BAR, WHOLE_BAR = 20.0, 10.0
Timed = tuple[np.ndarray, float]  # an embedding and seconds


def features_of(options) -> np.ndarray:
    """The first cells of the shuffled set: its rows are ordered by population."""
    everything = common.representation(common.load(SET, options.data))
    order = np.random.default_rng(0).permutation(len(everything))
    return everything[order[: options.cells]]


def take_turns(tools: dict[str, Callable[[], Timed]], n_repeats: int) -> dict[str, tuple[np.ndarray, list[float]]]:
    """The last embedding of each tool and the seconds of all its runs; taking turns, all meet the same weather."""
    seconds: dict[str, list[float]] = {name: [] for name in tools}
    embeddings = {}
    for repeat in range(n_repeats):
        for name, run in tools.items():
            embeddings[name], taken = run()
            seconds[name].append(taken)
            print(f"{name}, run {repeat + 1} of {n_repeats}: {taken:.2f} s", flush=True)
    return {name: (embeddings[name], seconds[name]) for name in tools}


def optimizations(features: np.ndarray, options) -> list[list[str]]:
    start = common.pca_start(features)
    affinities = common.run_ours(features, start, options.jobs)[1]

    def ours(race: bool | None) -> Timed:
        result, used = common.run_ours(features, start, options.jobs, race)
        if not common.same_affinities(used, affinities):
            raise SystemExit("The P of two runs differ, so the optimizations cannot be compared.")
        return result.embedding.numpy(), result.seconds["optimize"]

    runs = take_turns(
        {
            "optimization, default": lambda: ours(None),
            "optimization, race=False": lambda: ours(False),
            "openTSNE": lambda: common.run_opentsne(affinities, start, options.jobs, negative_gradient_method="fft"),
        },
        options.repeats,
    )
    return rows(runs, affinities, OPTIMIZATION_BAR)


def wholes(features: np.ndarray, options) -> list[list[str]]:
    runs = take_turns(
        {
            "whole, from X_pca": lambda: our_whole(features, options.jobs),
            "openTSNE": lambda: opentsne_whole(features, options.jobs),
        },
        options.repeats,
    )
    return rows(runs, exact_affinities(features), WHOLE_BAR)


def our_whole(features: np.ndarray, n_jobs: int) -> Timed:
    adata = anndata.AnnData(shape=(len(features), 0), obsm={"X_pca": features})
    begin = time.perf_counter()
    ne.tl.neighbor_embedding(adata, use_rep="X_pca", device="cpu", n_jobs=n_jobs)
    return adata.obsm["X_ne"], time.perf_counter() - begin


def opentsne_whole(features: np.ndarray, n_jobs: int) -> Timed:
    begin = time.perf_counter()
    embedding = openTSNE.TSNE(perplexity=common.PERPLEXITY, n_jobs=n_jobs, random_state=0).fit(features)
    return np.asarray(embedding), time.perf_counter() - begin


def exact_affinities(features: np.ndarray) -> sp.csr_matrix:
    """P of exact neighbors: a judge that neither tool's approximate search is party to."""
    affinity = common.entropic(len(features))
    points = checked_features(torch.from_numpy(features), None)
    return common.as_csr(affinity(nearest_neighbors(points, affinity.n_neighbors(len(features)), method="torch")))


def rows(runs: dict[str, tuple[np.ndarray, list[float]]], affinities: sp.csr_matrix, bar: float) -> list[list[str]]:
    """A row for each of our variants against openTSNE."""
    peer, peer_seconds = runs.pop("openTSNE")
    peer_kl = common.exact_kl(affinities, peer)
    found = []
    for name, (embedding, seconds) in runs.items():
        ratio, kl = np.median(peer_seconds) / np.median(seconds), common.exact_kl(affinities, embedding)
        passed = "pass" if ratio >= bar and kl <= peer_kl else "FAIL"
        found.append(
            [name, spread(seconds), spread(peer_seconds), f"{ratio:.1f}", f"{kl:.4f}", f"{peer_kl:.4f}",
             f"ratio ≥ {bar:g}, KL not above", passed]
        )  # fmt: skip
    return found


def spread(seconds: list[float]) -> str:
    return f"{np.median(seconds):.2f} ({min(seconds):.2f} – {max(seconds):.2f})"


def warm_up(features: np.ndarray, options) -> None:
    """Compilation, caches and first touches are not what is compared."""
    few = features[:WARM_CELLS]
    start = common.pca_start(few)
    common.run_ours(few, start, options.jobs)
    our_whole(few, options.jobs)
    openTSNE.TSNE(early_exaggeration_iter=5, n_iter=5, n_jobs=options.jobs, negative_gradient_method="fft").fit(few)


def parsed():
    parser = common.arguments(__doc__)
    parser.set_defaults(jobs=N_JOBS)
    parser.add_argument("--cells", type=int, default=N_CELLS)
    parser.add_argument("--repeats", type=int, default=N_REPEATS)
    options = parser.parse_args()
    complete = options.cells == N_CELLS and options.repeats >= N_REPEATS
    options.output = options.output or (common.RESULTS / "speed.md" if complete else None)
    return options


def main() -> None:
    options = parsed()
    features = features_of(options)
    described = common.machine()  # before we make it busy ourselves
    warm_up(features, options)
    found = [*optimizations(features, options), *wholes(features, options)]
    header = ["what", "sc_nembed s", "openTSNE s", "ratio", "KL sc_nembed", "KL openTSNE", "bar", "verdict"]
    explanation = (
        f"{len(features)} cells of {SET}, {features.shape[1]} dimensions, perplexity 30, {options.jobs} threads each. "
        f"Seconds: median of {options.repeats} (smallest – largest). KL: exact."
    )
    paragraphs = [
        explanation,
        f"Machine: {described} at the start.",
        f"Versions: {common.versions()}.",
        common.markdown_table(header, found),
    ]
    common.report("Speed", paragraphs, options.output)


if __name__ == "__main__":
    main()
