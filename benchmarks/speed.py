"""Claim: sc_nembed is many times as fast as the tools there are, at no cost in quality. One row of the table per claim.

| row | what | against |
|---|---|---|
| optimization | the steps alone, from one P and start, 45 000 cells, perplexity 30 | openTSNE (FFT) |
| whole | from the representation to the embedding, the same cells | openTSNE |
| manifolds | the same | manifolds-rs (FFT, HNSW, 750 steps) |
| graph, graph150k | t-SNE of scanpy's graph of 15 neighbors, 45 000 and 150 000 cells | `sc.tl.umap` of it |
| umap | UMAP of that graph, 45 000 cells | `sc.tl.umap` |
| step | one step at a million points and 17 million entries of P, and the error of its forces | openTSNE (FFT) |
| million | a million cells from the representation, in a fresh process: seconds and peak memory | none |
| first | 2 700 cells in a fresh process without compiled code, imports included | umap-learn |
| torchdr | t-SNE and UMAP of 10 000 cells | TorchDR |

The tools take turns, after a small run of each; the table shows the median and the range. KL divergences are exact
(float64, all pairs), against the P used or, of whole runs, the P of exact neighbors. Each row is kept in
results/.cache_speed.json; once all rows are there, results/speed.md is written from it.

    export SC_NEMBED_DATA=folder
    pip install manifolds-rs                                 # beside the extra "test"
    python benchmarks/speed.py                               # all rows, an hour
    python benchmarks/speed.py --only step,million           # these rows; in a process each, nothing warms another
    python benchmarks/speed.py --table                       # runs nothing, writes the table of what is kept
    python benchmarks/speed.py --shrink 20 --repeats 1       # a try with a 20th of the cells; nothing is kept
"""

from __future__ import annotations

import _common as common
import _speed_rows as rows
import _speed_table as table

ROWS = {
    "optimization": rows.optimization,
    "whole": rows.whole,
    "manifolds": rows.against_manifolds,
    "graph": rows.graph,
    "graph150k": rows.large_graph,
    "umap": rows.umap,
    "step": rows.step,
    "million": rows.million,
    "first": rows.first,
    "torchdr": rows.against_torchdr,
}
N_REPEATS, N_LONG, N_JOBS = 3, 1, 2


def parsed():
    parser = common.arguments(__doc__)
    parser.set_defaults(jobs=N_JOBS)
    parser.add_argument("--only", default=",".join(ROWS), help="comma-separated rows; default: all")
    parser.add_argument("--repeats", type=int, default=N_REPEATS, help="runs of each tool")
    parser.add_argument("--long-repeats", type=int, default=N_LONG, help="runs of the peers that take minutes")
    parser.add_argument("--shrink", type=int, default=1, help="divide all numbers of cells by this: a try")
    parser.add_argument("--table", action="store_true", help="measure nothing; write the table of what is kept")
    options = parser.parse_args()
    options.only = [] if options.table else options.only.split(",")
    unknown = set(options.only) - set(ROWS)
    if unknown:
        parser.error(f"unknown rows {sorted(unknown)}; available: {list(ROWS)}")
    return options


def main() -> None:
    options = parsed()
    complete = options.shrink == 1 and options.repeats >= N_REPEATS
    measured = {}
    for name in options.only:
        about = table.circumstances(options)  # before the row makes the machine busy itself
        measured[name] = about | ROWS[name](options)
        table.show(name, measured[name])
        if complete:
            table.keep(name, measured[name])
    kept = table.kept() if complete else measured
    missing = [name for name in ROWS if name not in kept]
    if complete and missing:
        print(f"The table is written once all rows are there; missing: {missing}.")
        return
    output = options.output or (common.RESULTS / "speed.md" if complete else None)
    common.report(
        "Speed" if complete else "Speed, a try", table.page({name: kept[name] for name in ROWS if name in kept}), output
    )


if __name__ == "__main__":
    main()
