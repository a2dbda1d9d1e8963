"""Claim: time per step grows no faster than n^1.05 from 10 000 to a million cells, and memory in proportion to them.

Cells of the mass-cytometry set, shuffled; beyond its 111 690 cells they are copies with 5 % of noise. Each size has a
process of its own, for its peak memory, with compiled code at hand: the default call from `obsm["X_pca"]`. Another
process, which has embedded 6 000 cells before, runs `race=False`: its seconds of optimization, divided by its steps,
are the time per step.

    export SC_NEMBED_DATA=folder
    python benchmarks/scaling.py                        # writes benchmarks/results/scaling.md and scaling.png
    python benchmarks/scaling.py --sizes 3000,6000      # a try
"""

from __future__ import annotations

from pathlib import Path

import _common as common
import matplotlib.pyplot as plt
import numpy as np
from _child import in_fresh_process
from matplotlib.ticker import LogLocator

from sc_nembed.engine.compute import memory

SIZES = (3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
STAGES = ("neighbors", "affinity", "init", "optimize")
WARM_SIZES = (3_000, 21_000)  # the exact methods' and the approximate ones'
WARM_STEP = 6_000  # above 3 500 cells the forces are summed on a grid
FIT_FROM, MOST = 10_000, 1.05
Runs = dict[int, dict]


def measured(n_cells: int, options) -> dict:
    """What the default call took, with the milliseconds of a step from a second call."""
    features = common.cells(n_cells, options.data)
    found = in_fresh_process("sc_nembed", features, n_jobs=options.jobs)
    single = in_fresh_process("sc_nembed", features, n_jobs=options.jobs, race=False, warm=WARM_STEP)
    found["step"] = 1000 * single["stages"]["optimize"] / single["n_iter"]
    found["per_cell"] = (found["peak"] - found["before"]) * 2**20 / n_cells
    found["estimated"] = found["before"] + memory.estimated(*features.shape, found["n_neighbors"] - 1) / 2**30
    print(f"{n_cells} cells: {found}", flush=True)
    return found


def exponent(runs: Runs) -> tuple[float, float]:
    """b and log a of the least-squares fit of a · n^b to the time of a step, in logarithms, from 10 000 cells on."""
    sizes = [n for n in runs if n >= FIT_FROM]
    if len(sizes) < 2:
        return np.nan, np.nan
    slope, offset = np.polyfit(np.log(sizes), np.log([runs[n]["step"] for n in sizes]), 1)
    return float(slope), float(offset)


def table(runs: Runs) -> str:
    header = [
        "cells",
        "call s",
        *(f"{stage} s" for stage in STAGES),
        "ms per step",
        "peak GiB",
        "estimated",
        "KiB per cell",
    ]
    rows = [
        [common.grouped(n), f"{run['seconds']:.2f}", *(f"{run['stages'][stage]:.2f}" for stage in STAGES),
         f"{run['step']:.2f}", f"{run['peak']:.2f}", f"{run['estimated']:.2f}", f"{run['per_cell']:.2f}"]
        for n, run in runs.items()
    ]  # fmt: skip
    return common.markdown_table(header, rows)


def picture(runs: Runs, path: Path) -> None:
    """Seconds of each stage, milliseconds of a step, and peak memory against the number of cells."""
    sizes = list(runs)
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
    left.loglog(sizes, [run["seconds"] for run in runs.values()], "k.-", label="call")
    for stage in STAGES:
        left.loglog(sizes, [max(run["stages"][stage], 1e-3) for run in runs.values()], ".-", label=stage)
    left.legend(loc="upper left")
    left.set(title="Seconds", xlabel="cells")
    middle.loglog(sizes, [run["step"] for run in runs.values()], "k.", label="measured")
    slope, offset = exponent(runs)
    if np.isfinite(slope):
        fitted = np.array([n for n in sizes if n >= FIT_FROM])
        middle.loglog(fitted, np.exp(offset) * fitted**slope, "-", label=f"~ n^{slope:.2f}")
    middle.legend()
    middle.set(title="Milliseconds per step", xlabel="cells")
    right.semilogx(sizes, [run["peak"] for run in runs.values()], "k.-", label="peak")
    right.semilogx(sizes, [run["estimated"] for run in runs.values()], "x", label="estimated before")
    right.semilogx(sizes, [run["before"] for run in runs.values()], ".--", label="before the call")
    right.legend()
    right.set(title="GiB of memory", xlabel="cells", ylim=(0, None))
    for ax in (left, middle, right):
        ax.set_xticks(sizes, [f"{n / 1e6:g}M" if n >= 1e6 else f"{n / 1e3:g}k" for n in sizes])
        ax.minorticks_off()
        ax.grid(alpha=0.3)
    for ax, steps in ((left, (1,)), (middle, (1, 2, 5))):
        ax.yaxis.set_major_locator(LogLocator(subs=steps))
        ax.yaxis.set_major_formatter("{x:g}")
    left.set_ylim(top=500)  # room for the legend
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def explanation(runs: Runs, options) -> str:
    slope, _ = exponent(runs)
    (less, one), (more, other) = [(n, run["step"]) for n, run in runs.items()][-2:]
    last = np.log(other / one) / np.log(more / less)
    verdict = f"n^{slope:.3f}, {'pass' if slope <= MOST else 'FAIL'}" if np.isfinite(slope) else "not fitted"
    return (
        f"t-SNE from X_pca by the default call, {common.CYTOF}, shuffled; from {common.grouped(common.N_CYTOF)} cells "
        f"on copies with 5 % of noise. A fresh process per size, compiled code at hand, {options.jobs} threads. ms per "
        "step: of another run with `race=False`, optimization over steps. peak: resident memory of the whole process; "
        "estimated: what the call refuses by, on top of what the process had. "
        "KiB per cell: what it grew by during the call, of few cells mostly code that is loaded. Time per step from "
        f"10 000 cells on, by least squares in logarithms: **{verdict}** (bar: ≤ n^{MOST}). Above "
        "200 000 cells each has 15 neighbors instead of 91 and nothing is raced, where the curves bend; between the "
        f"last two sizes: n^{last:.2f}."
    )


def parsed():
    parser = common.arguments(__doc__)
    parser.add_argument("--sizes", help="comma-separated numbers of cells: a try")
    options = parser.parse_args()
    complete = options.sizes is None
    options.sizes = [int(n) for n in options.sizes.split(",")] if options.sizes else list(SIZES)
    options.output = options.output or (common.RESULTS / "scaling.md" if complete else None)
    return options


def main() -> None:
    options, machine = parsed(), common.machine()  # asked before we make it busy ourselves
    for n_cells in WARM_SIZES:
        in_fresh_process("sc_nembed", common.cells(n_cells, options.data))
    runs = {n_cells: measured(n_cells, options) for n_cells in options.sizes}
    paragraphs = [
        explanation(runs, options),
        table(runs),
        f"Machine: {machine} at the start. Versions: {common.versions()}.",
        f"State of sc_nembed's source: {common.source_state()}.",
    ]
    common.report("Scaling", paragraphs, options.output)
    picture(runs, options.output.with_suffix(".png") if options.output else Path("build/scaling.png"))


if __name__ == "__main__":
    main()
