"""What `speed.py` measures: one function per row, from its options to the lines of the table and the bits."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable

import _common as common
import _disc
import _peers as peers
import anndata
import numpy as np
import openTSNE
import scipy.sparse as sp
import torch
from _child import in_fresh_process
from _speed_table import Quality, versus, within
from accuracy import opentsne_force, relative, sums

import sc_nembed as ne
from sc_nembed.engine.cells.features import checked_features
from sc_nembed.engine.neighbors import nearest_neighbors

N_CELLS, N_LARGE, N_MILLION, N_SMALL, N_TORCHDR = 45_000, 150_000, 1_000_000, 2_700, 10_000
N_REAL_LARGE = 100_000
LEAST = 1_500  # cells of a shrunken row
WARM_CELLS = 21_000  # above the sizes where a tool changes its method
N_TARGETS, OUR_STEPS, THEIR_STEPS = 2_000, (10, 60), (1, 5)
PEAK_GIB, MILLION_SECONDS = 2.5, 45
THREADS = (1, 2, 8)
Timed = tuple[np.ndarray, float]  # an embedding and seconds


def size(n_cells: int, options) -> int:
    return max(LEAST, n_cells // options.shrink)


def take_turns(tools: dict[str, Callable[[], Timed]], n_repeats: int, n_peer: int | None = None):
    """The last embedding and the seconds of all runs of each tool; taking turns, all meet the same weather.

    The last tool is the peer; where it takes minutes, it runs in the first `n_peer` turns only.
    """
    seconds: dict[str, list[float]] = {name: [] for name in tools}
    embeddings, last = {}, list(tools)[-1]
    for repeat in range(max(n_repeats, n_peer or 0)):
        for name, run in tools.items():
            if repeat >= (n_repeats if name != last or n_peer is None else n_peer):
                continue
            embeddings[name], taken = run()
            seconds[name].append(taken)
            print(f"{name}, run {repeat + 1}: {taken:.3f} s", flush=True)
    return {name: (embeddings[name], seconds[name]) for name in tools}


def bits(run: Callable[[int], np.ndarray]) -> dict[str, str]:
    """The first digits of the SHA-256 of what `run` returns for each number of threads."""
    return {str(n): hashlib.sha256(np.ascontiguousarray(run(n)).tobytes()).hexdigest()[:12] for n in THREADS}


def bits_of_processes(features: np.ndarray) -> dict[str, str]:
    """As `bits`, of the default call in processes of its own."""
    return {str(n): in_fresh_process("sc_nembed", features, n_jobs=n)["bits"] for n in THREADS}


def ours(adata: anndata.AnnData, function: Callable, n_jobs: int, key: str, **options) -> Timed:
    """AnnData in, AnnData out."""
    seconds = common.timed(lambda: function(adata, device="cpu", n_jobs=n_jobs, **options))[1]
    return adata.obsm[key].copy(), seconds


def our_whole(features: np.ndarray, n_jobs: int) -> Timed:
    return ours(common.as_adata(features), ne.tl.neighbor_embedding, n_jobs, "X_ne", use_rep="X_pca")


def optimization(options) -> dict:
    features = common.cells(size(N_CELLS, options), options.data)
    warm_up(features, options)
    start = common.pca_start(features)
    affinities = common.run_ours(features, start, options.jobs)[1]

    def run(race: bool | None, n_jobs: int) -> Timed:
        result, used = common.run_ours(features, start, n_jobs, race)
        if not common.same_affinities(used, affinities):
            raise SystemExit("The P of two runs differ, so the optimizations cannot be compared.")
        return result.embedding.numpy(), result.seconds["optimize"]

    ways = {"raced": (None, 22), "race=False": (False, 45)}
    tools = {name: lambda race=race: run(race, options.jobs) for name, (race, _) in ways.items()}
    tools["openTSNE"] = lambda: common.run_opentsne(affinities, start, options.jobs, negative_gradient_method="fft")
    runs = take_turns(tools, options.repeats)
    what = f"t-SNE's optimization, {common.grouped(len(features))} cells, {{}}"
    return {
        "lines": [against_kl(what.format(name), runs, name, affinities, bar) for name, (_, bar) in ways.items()],
        "bits": {what.format(name): bits(lambda n, race=race: run(race, n)[0]) for name, (race, _) in ways.items()},
    }


def warm_up(features: np.ndarray, options) -> None:
    """Compilation, caches and first touches are not what is compared."""
    few = features[:WARM_CELLS]
    common.run_ours(few, common.pca_start(few), options.jobs)
    our_whole(few, options.jobs)
    openTSNE.TSNE(early_exaggeration_iter=5, n_iter=5, n_jobs=options.jobs, negative_gradient_method="fft").fit(few)


def against_kl(what: str, runs: dict, name: str, affinities: sp.csr_matrix, bar: float) -> list[str]:
    """A line with the exact KL of both; the peer is the last of the runs."""
    peer = list(runs)[-1]
    (embedding, seconds), (other, others) = runs[name], runs[peer]
    quality = Quality("KL", common.exact_kl(affinities, embedding), common.exact_kl(affinities, other))
    return versus(what, seconds, peer, others, bar, quality)


def exact_affinities(features: np.ndarray) -> sp.csr_matrix:
    """P of exact neighbors: a judge that no tool's approximate search is party to."""
    affinity = common.entropic(len(features))
    points = checked_features(torch.from_numpy(features), None)
    return common.as_csr(affinity(nearest_neighbors(points, affinity.n_neighbors(len(features)), method="torch")))


def whole(options) -> dict:
    return _whole(options, "openTSNE", peers.opentsne, bar=20, with_bits=True)


def against_manifolds(options) -> dict:
    return _whole(options, "manifolds-rs", peers.manifolds, bar=3.7, with_bits=False)


def _whole(options, peer: str, run: Callable[[np.ndarray, int], Timed], *, bar: float, with_bits: bool) -> dict:
    features = common.cells(size(N_CELLS, options), options.data)
    warm_up(features, options)
    run(features[:LEAST], options.jobs)
    tools = {"whole": lambda: our_whole(features, options.jobs), peer: lambda: run(features, options.jobs)}
    runs = take_turns(tools, options.repeats)
    what = f"t-SNE from X_pca, {common.grouped(len(features))} cells"
    return {
        "lines": [against_kl(what, runs, "whole", exact_affinities(features), bar)],
        "bits": {what: bits(lambda n: our_whole(features, n)[0])} if with_bits else {},
    }


def graph(options) -> dict:
    features = common.cells(size(N_CELLS, options), options.data)
    return _graph(options, features, "", bar=30, n_peer=options.repeats)


def large_graph(options) -> dict:
    n_cells, n_real = size(N_LARGE, options), size(N_REAL_LARGE, options)
    features = common.cells(n_cells, options.data, n_real=min(n_real, n_cells))
    copies = f" (from {common.grouped(n_real)} on copies with 5 % of noise)"
    return _graph(options, features, copies, bar=40, n_peer=options.long_repeats)


def _graph(options, features: np.ndarray, copies: str, *, bar: float, n_peer: int) -> dict:
    runs, run = on_graph(features, ne.tl.neighbor_embedding, "X_ne", options, n_peer)
    what = f"t-SNE of a graph of 15 neighbors, {common.grouped(len(features))} cells{copies}"
    (_, seconds), (_, others) = runs.values()
    line = versus(what, seconds, "sc.tl.umap (fixed seed: one thread)", others, bar)
    return {"lines": [line], "bits": {what: bits(lambda n: run(n)[0])}}


def on_graph(features: np.ndarray, function: Callable, key: str, options, n_peer: int):
    """Runs of ours and of `sc.tl.umap` on one graph, and a function that does ours again."""
    small, adata = common.with_graph(features[:LEAST]), common.with_graph(features)
    peers.scanpy_umap(small)
    ours(small, function, options.jobs, key)
    ours(adata, function, options.jobs, key)  # few cells do not reach all that is compiled
    tools = {key: lambda: ours(adata, function, options.jobs, key), "scanpy": lambda: peers.scanpy_umap(adata)}
    return take_turns(tools, options.repeats, n_peer), lambda n: ours(adata, function, n, key)


def umap(options) -> dict:
    features = common.cells(size(N_CELLS, options), options.data)
    runs, run = on_graph(features, ne.tl.umap, "X_umap", options, options.repeats)
    known = common.nearest(features)
    (embedding, seconds), (other, others) = runs.values()
    found = [common.recall(known, common.nearest(points)) for points in (embedding, other)]
    quality = Quality("recall", *found, larger_is_better=True)
    what = f"UMAP of a graph of 15 neighbors, {common.grouped(len(features))} cells"
    line = versus(what, seconds, "sc.tl.umap (fixed seed: one thread)", others, 25, quality)
    return {"lines": [line], "bits": {what: bits(lambda n: run(n)[0])}}


def step(options) -> dict:
    _disc.our_step(_disc.links(_disc.disc(WARM_CELLS), options.jobs), _disc.disc(WARM_CELLS), options.jobs, 1, 11)
    points = _disc.disc(size(N_MILLION, options))
    matrix, wide = _disc.links(points, options.jobs), points.astype(np.float64)
    affinities = common.as_csr(matrix)

    def theirs() -> Timed:
        return wide, peers.opentsne_step(affinities, wide, options.jobs, *THEIR_STEPS)

    tools = {"step": lambda: _disc.our_step(matrix, points, options.jobs, *OUR_STEPS), "openTSNE": theirs}
    runs = take_turns(tools, options.repeats)
    n_entries = f"{matrix.n_edges / 1e6:.1f} million entries of P"
    what = f"a step of t-SNE, {common.grouped(len(points))} points in a disc, {n_entries}"
    spans = " → ".join(f"{np.ptp(found, axis=0).max():.0f}" for found in (points, runs["step"][0]))
    line = versus(
        what, runs["step"][1], "openTSNE", runs["openTSNE"][1], 80, force_errors(wide), unit="ms", also=f"span {spans}"
    )
    return {"lines": [line], "bits": {what: bits(lambda n: _disc.our_step(matrix, points, n, *OUR_STEPS)[0])}}


def force_errors(points: np.ndarray) -> Quality:
    """Of the repulsion at random points, relative to the exact one."""
    targets = np.random.default_rng(2).choice(len(points), min(N_TARGETS, len(points)), replace=False)
    true = _disc.exact_push(points, targets)
    mine, other = sums("fft", points, torch.float32)[1][targets], opentsne_force(points)[targets]
    errors = relative(mine, true), min(relative(other, true), relative(-other, true))
    return Quality("force error", *errors, digits=".1e")


def million(options) -> dict:
    features = common.cells(size(N_MILLION, options), options.data)
    in_fresh_process("sc_nembed", features[:WARM_CELLS])  # compiles
    found = [in_fresh_process("sc_nembed", features) for _ in range(options.repeats)]
    stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in found[-1]["stages"].items())
    what = f"t-SNE from X_pca, {common.grouped(len(features))} cells (from {common.grouped(common.N_CYTOF)} on copies "
    what += "with 5 % of noise), fresh process, all cores"
    seconds, peaks = [run["seconds"] for run in found], [run["peak"] for run in found]
    same = bits_of_processes(features)
    return {"lines": [within(what, seconds, MILLION_SECONDS, peaks, PEAK_GIB, stages)], "bits": {what: same}}


def first(options) -> dict:
    """Processes that find no compiled code, and the next ones, which do; imports included."""
    features = common.representation(common.load("paul15", options.data))[: size(N_SMALL, options)]
    features = np.ascontiguousarray(features)
    seconds: dict[str, list[float]] = {}
    for _ in range(options.repeats):
        for tool in ("sc_nembed", "umap-learn"):
            with tempfile.TemporaryDirectory() as empty:
                for which in ("first", "second"):
                    found = in_fresh_process(tool, features, {"NUMBA_CACHE_DIR": empty})
                    seconds.setdefault(f"{tool}, {which}", []).append(found["process"])
                    print(f"{tool}, {which} process: {found['process']:.2f} s", flush=True)
    again = " : ".join(f"{np.median(seconds[f'{tool}, second']):.2f} s" for tool in ("sc_nembed", "umap-learn"))
    what = f"first embedding of {common.grouped(len(features))} cells after an installation, the whole process"
    line = versus(
        what, seconds["sc_nembed, first"], "umap-learn", seconds["umap-learn, first"], 4, also=f"next process {again}"
    )
    return {"lines": [line], "bits": {what: bits_of_processes(features)}}


def against_torchdr(options) -> dict:
    features = common.cells(size(N_TORCHDR, options), options.data)
    lines, same = [], {}
    for name, function, key in (("TSNE", ne.tl.tsne, "X_tsne"), ("UMAP", ne.tl.umap, "X_umap")):
        backend = peers.torchdr_backend(name, features, options.jobs, (None, "faiss"), device="cpu")
        run = _ours_of(features, function, key)
        run(options.jobs)
        peer, theirs = _torchdr(name, features, options.jobs, backend)
        runs = take_turns(
            {name: lambda run=run: run(options.jobs), peer: theirs}, options.repeats, options.long_repeats
        )
        what = f"{name} from X_pca, {common.grouped(len(features))} cells"
        lines.append(versus(what, runs[name][1], peer, runs[peer][1], 50))
        same[what] = bits(lambda n, run=run: run(n)[0])
    return {"lines": lines, "bits": same}


def _ours_of(features: np.ndarray, function: Callable, key: str) -> Callable[[int], Timed]:
    return lambda n: ours(common.as_adata(features), function, n, key, use_rep="X_pca")


def _torchdr(name: str, features: np.ndarray, n_jobs: int, backend: str | None) -> tuple[str, Callable[[], Timed]]:
    """How TorchDR's run is called, and the run; its t-SNE takes minutes and is extrapolated from few steps."""
    options = {"backend": backend, "device": "cpu"}
    if name == "UMAP":
        return f"TorchDR (backend={backend})", lambda: peers.torchdr_run(name, features, n_jobs, **options)

    def extrapolated() -> Timed:
        return features, peers.torchdr_extrapolated(name, features, n_jobs, **options)

    said = f"{peers.FEW} and {peers.MORE} steps extrapolated to {peers.default_steps(name)}"
    return f"TorchDR (backend={backend}; {said})", extrapolated
