"""What bounds each stage of a t-SNE on the CPU, and how near the stage comes to that bound.

The machine is measured first: bytes streamed per second (a large array copied), positions gathered per second (8 bytes
each, at the places the edges ask for), and floating-point operations per second of transforms (torch's, of lines as
long as the grid's, from the cache) and of products of matrices as thin as the features. Then each stage runs by itself,
at 45 000 cells of the mass-cytometry set and at a million of their copies, and its work is divided by the rate of what
it uses most. A stage at 100 % could only be made faster by doing less. The search does less than look at all pairs.

Last, what threads cost that have nothing to do: the CPU seconds of whole embeddings by one thread (those of the process
and those of the thread that calls), by two, in the half second after these, and by two while three other programs keep
the cores busy, where a thread that waits in a loop would show.

    export SC_NEMBED_DATA=folder
    python benchmarks/bounds.py     # writes benchmarks/results/bounds.md
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import _common as common
import numpy as np
import torch
from numba import njit

import sc_nembed as ne
from sc_nembed.engine import presets
from sc_nembed.engine.affinity import EntropicAffinity, UniformAffinity
from sc_nembed.engine.cells.features import checked_features
from sc_nembed.engine.cells.morton import MANY_CELLS, morton_order
from sc_nembed.engine.compute import backend
from sc_nembed.engine.fused import on_grid
from sc_nembed.engine.graph import AffinityMatrix
from sc_nembed.engine.kernel import StudentT
from sc_nembed.engine.neighbors import nearest_neighbors
from sc_nembed.engine.pipeline import embed
from sc_nembed.engine.radial_sum import _convolve, fft
from sc_nembed.engine.terms import Attraction, Force
from sc_nembed.engine.world import SERIAL

REPEATS = 15
FEATURES = 30


@dataclass(frozen=True)
class Rates:
    """Of this machine, all threads together."""

    stream: float  # bytes/s
    product: float  # operations/s


def seconds(run: Callable[[], object], repeats: int = REPEATS) -> float:
    """Median after a first run."""
    run()
    taken = []
    for _ in range(repeats):
        begin = time.perf_counter()
        run()
        taken.append(time.perf_counter() - begin)
    return float(np.median(taken))


def in_parallel(function: Callable[[int], object], n_jobs: int) -> Callable[[], None]:
    """A function of the number of a thread, on each thread of the engine."""
    return lambda: backend.parallel(lambda chunk, begin, end: function(chunk), backend.chunk_bounds(n_jobs, 1))


@njit(nogil=True)
def _copy(source, target):
    for i in range(source.shape[0]):
        target[i] = source[i]


@njit(nogil=True)
def _gathered(values, places):
    total = np.uint64(0)
    for i in range(places.shape[0]):
        total += values[places[i]]
    return total


def measured(n_jobs: int) -> Rates:
    large = [np.zeros(1 << 24, np.float32) for _ in range(2 * n_jobs)]
    copied = seconds(in_parallel(lambda c: _copy(large[2 * c], large[2 * c + 1]), n_jobs))
    left, right = torch.randn(1024, FEATURES), torch.randn(FEATURES, 1024)
    multiplied = seconds(in_parallel(lambda c: [left @ right for _ in range(50)], n_jobs))
    return Rates(
        stream=n_jobs * 2 * large[0].nbytes / copied,
        product=n_jobs * 50 * 2 * 1024 * 1024 * FEATURES / multiplied,
    )


def transform_rate(length: int, n_jobs: int) -> float:
    """Operations/s of complex transforms, of as many lines together as suits the cache best."""
    rates = []
    for n_lines in (4, 8, 16, 32):
        lines = torch.randn(n_lines, length, dtype=torch.complex64)
        taken = seconds(in_parallel(lambda c, lines=lines: [torch.fft.fft(lines) for _ in range(20)], n_jobs))
        rates.append(n_jobs * 20 * n_lines * _operations(length) / taken)
    return max(rates)


def _operations(length: int) -> float:
    """Of a complex transform of one line, as they are usually counted."""
    return 5 * length * np.log2(length)


def gather_rate(n_points: int, places: np.ndarray, n_jobs: int) -> float:
    """Positions/s in the order in which the edges ask for them."""
    values = np.zeros(n_points, np.uint64)
    parts = np.array_split(places[: 1 << 24].astype(np.uint32), n_jobs)
    return min(len(places), 1 << 24) / seconds(in_parallel(lambda c: _gathered(values, parts[c]), n_jobs))


def stages(matrix: AffinityMatrix, positions: torch.Tensor, rates: Rates, n_jobs: int) -> list[list[str]]:
    """Those of one step, at the positions of a finished embedding."""
    n, edges = matrix.n_rows, matrix.n_edges
    attraction, plan = (
        Attraction(matrix, StudentT()),
        fft.make(
            StudentT(), n_components=2, tolerance=None, device=positions.device, dtype=torch.float32, world=SERIAL
        ),
    )
    other, velocity = Force(torch.zeros_like(positions), None, torch.full((1,), 0.8 / n)), torch.zeros_like(positions)
    places = gather_rate(n, matrix.indices.numpy(), n_jobs)
    stored = 4 + (2 if n <= 65_536 else 4)
    whole = [
        _row(
            "attraction and step", f"{edges / 1e6:.1f} M edges", "gathers of positions", edges / places,
            seconds(lambda: attraction.move(positions, velocity, 1.0, 1.0, other, 1e-3, 0.9, 0.5)),
        ),
        _row(
            "the same", f"{(stored * edges + 64 * n) / 1e6:.0f} MB", "bytes streamed",
            (stored * edges + 64 * n) / rates.stream, None,
        ),
    ]  # fmt: skip
    lower, upper = fft.bounding_box(positions)
    spacing, nodes = fft.grid_shape(upper - lower, fft.coarsest_spacing(StudentT(), n, None, 2))
    kind, ones = plan.influence(spacing, nodes), torch.ones(n)
    n_columns, n_rows = kind.padded[1], kind.padded[0]
    transforms = 2 * (nodes[0] * _operations(n_columns) / 2 + (n_columns // 2 + 1) * _operations(n_rows))
    transformed = transform_rate(n_rows, n_jobs)
    grids = on_grid.spread(positions, ones, lower, spacing, nodes, plan._buffers)
    field = plan.field(positions)
    return [
        *whole,
        _row(
            "spread", f"{n / 1e6:.2f} M points", "16 additions to the grid each, from the cache", None,
            seconds(lambda: on_grid.spread(positions, ones, lower, spacing, nodes, plan._buffers)),
        ),
        _row(
            "convolution", f"{nodes[0]} × {nodes[1]} nodes, {transforms / 1e6:.0f} M operations", "transforms",
            transforms / transformed, seconds(lambda: _convolve.of_grids(grids, kind, plan._buffers)),
        ),
        _row(
            "gather", f"{n / 1e6:.2f} M points", "16 nodes each, from the cache", None,
            seconds(lambda: field(positions, 0)),
        ),
    ]  # fmt: skip


def _row(stage: str, work: str, bound_by: str, bound: float | None, taken: float | None) -> list[str]:
    shown = ["" if value is None else f"{1e3 * value:.2f}" for value in (bound, taken)]
    share = "" if bound is None or taken is None or bound > taken else f"{100 * bound / taken:.0f} %"
    return [stage, work, bound_by, *shown, share]


def searched(features: torch.Tensor, k: int, rates: Rates) -> tuple[list[list[str]], AffinityMatrix]:
    n, d = features.shape
    begin = time.perf_counter()
    graph = nearest_neighbors(features, k, method="faiss")
    taken = time.perf_counter() - begin
    affinity = EntropicAffinity(k / 3) if k > 15 else UniformAffinity(k)
    rows = [
        _row(
            f"neighbors, k = {k}", f"{2e-9 * n * n * d:.0f} G operations if all pairs were looked at",
            "products of thin matrices: what all pairs would take", 2 * n * n * d / rates.product, taken,
        ),
    ]  # fmt: skip
    taken, matrix = seconds(lambda: affinity(graph), 3), affinity(graph)
    moved = n * k * (8 + 4 + 16 + 8) + 16 * matrix.n_edges
    rows.append(_row("P, symmetrised", f"{moved / 1e6:.0f} MB", "bytes streamed", moved / rates.stream, taken))
    return rows, matrix


def of_size(n: int, k: int, rates: Rates, options) -> str:
    features = checked_features(torch.from_numpy(common.cells(n, options.data)), None)
    if n > MANY_CELLS:  # as the engine does with so many
        features = features[morton_order(features[:, :2])].contiguous()
    rows, matrix = searched(features, k, rates)
    positions = embed(matrix, presets.tsne(), features=features).embedding
    rows += stages(matrix, positions, rates, options.jobs)
    header = ["stage", "work", "bounded by", "bound, ms", "measured, ms", "bound / measured"]
    return f"## {n} cells, {k} neighbors\n\n" + common.markdown_table(header, rows)


BUSY = "print(flush=True)\nwhile True: pass"


@contextlib.contextmanager
def busy_programs(n_programs: int) -> Iterator[None]:
    others = [subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE) for _ in range(n_programs)]
    try:
        for other in others:
            other.stdout.readline()  # it has begun
        yield
    finally:
        for other in others:
            other.kill()
            other.communicate()


def cpu_seconds(run: Callable[[], object], repeats: int = 5) -> np.ndarray:
    """Of all threads, of the one that calls, and of all in the half second after it; medians after a first run."""
    run()
    taken = []
    for _ in range(repeats):
        clocks = time.process_time(), time.thread_time()
        run()
        spent = time.process_time() - clocks[0], time.thread_time() - clocks[1]
        ended = time.process_time()
        time.sleep(0.5)
        taken.append((*spent, time.process_time() - ended))
    return np.median(taken, 0)


def waiting(options) -> str:
    """What threads cost that wait for others or have nothing to do."""
    cases = [
        ("t-SNE, the usual run", 700, partial(ne.TSNE)),
        ("t-SNE on the grid, 20 steps", 6000, partial(ne.TSNE, max_iter=20)),
        ("t-SNE, inverted file, 20 steps", 20_011, partial(ne.TSNE, max_iter=20, n_neighbors=15)),
        ("UMAP, 20 steps", 6000, partial(ne.UMAP, max_iter=20)),
        ("UMAP, sampled, 20 steps", 6000, partial(ne.UMAP, max_iter=20, repulsion="sampled")),
        ("SNE, 20 steps", 700, partial(ne.SNE, max_iter=20)),
    ]
    rows = []
    for name, n, kind in cases:
        features = common.cells(n, options.data)
        one, two = (partial(kind(n_jobs=n_jobs).fit, features) for n_jobs in (1, 2))
        alone, together = cpu_seconds(one), cpu_seconds(two)
        with busy_programs(3):
            beside = cpu_seconds(two)
        shown = (alone[0], alone[1], together[0], together[2], beside[0])
        rows.append([name, str(n), *(f"{value:.3f}" for value in shown)])
    header = ["embedding", "cells", "one thread", "its caller", "two threads", "½ s after", "two, cores busy"]
    return "## Threads that wait, in CPU seconds\n\n" + common.markdown_table(header, rows)


def main() -> None:
    options = common.arguments(__doc__).parse_args()
    described = common.machine()
    with backend.session(options.jobs):
        rates = measured(options.jobs)
        pages = [of_size(45_000, 90, rates, options), of_size(1_000_000, 15, rates, options)]
    pages.append(waiting(options))
    rated = (
        f"Rates, {options.jobs} threads: {rates.stream / 1e9:.1f} GB/s streamed, {rates.product / 1e9:.0f} G "
        "operations/s of products of thin matrices; of transforms and of gathers for each size by itself."
    )
    paragraphs = [f"Machine: {described} at the start.", f"Versions: {common.versions()}.", rated, *pages]
    common.report("What bounds each stage", paragraphs, options.output or common.RESULTS / "bounds.md")


if __name__ == "__main__":
    main()
