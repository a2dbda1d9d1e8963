"""Claim: the methods of TorchDR are ten times as fast here, step for step; PaCMAP is as fast as that of its authors.

TSNE, UMAP, InfoTSNE, LargeVis of 10 000 cells, 200 steps each, from the representation, neighbors included; TorchDR's
200 steps are on the line through 10 and 30 of them, with the backend that is fastest. PaCMAP and LocalMAP of 50 000
cells against the package `pacmap`, defaults on both sides, the same number of neighbors. The tools take turns; medians.

    export SC_NEMBED_DATA=folder
    python benchmarks/family_speed.py               # writes benchmarks/results/family_speed.md
    python benchmarks/family_speed.py --only PACMAP,LocalMAP
    python benchmarks/family_speed.py --shrink 10 --repeats 1    # a try; nothing is written
"""

from __future__ import annotations

from functools import partial

import _common as common
import _peers as peers
import numpy as np
from _speed_rows import Timed, ours, size, take_turns
from _speed_table import HEADER, versus

import sc_nembed as ne

N_TORCHDR, N_PACMAP, N_STEPS = 10_000, 50_000, 200
OF_TORCHDR, OF_PACMAP = ("TSNE", "UMAP", "InfoTSNE", "LargeVis"), {"PACMAP": "PaCMAP", "LocalMAP": "LocalMAP"}
SAME = {"LargeVis": {"perplexity": 30}}  # where the defaults differ: those of TorchDR
BAR_TORCHDR, BAR_PACMAP = 10, 1


def run_ours(name: str, features: np.ndarray, options, **given) -> Timed:
    adata = common.as_adata(features)
    return ours(adata, ne.tl.neighbor_embedding, options.jobs, "X_ne", use_rep="X_pca", method=name, **given)


def against_torchdr(name: str, options) -> list[str]:
    features = common.cells(size(N_TORCHDR, options), options.data)
    mine = partial(run_ours, name, features, options, max_iter=N_STEPS, **SAME.get(name, {}))
    mine()
    backend = peers.torchdr_backend(name, features, options.jobs, (None, "faiss"), device="cpu")

    def theirs() -> Timed:
        settings = {"backend": backend, "device": "cpu"}
        return features, peers.torchdr_extrapolated(name, features, options.jobs, N_STEPS, **settings)

    peer = f"TorchDR (backend={backend}; {peers.FEW} and {peers.MORE} steps extrapolated)"
    runs = take_turns({name: mine, peer: theirs}, options.repeats, 1)
    what = f"{name}, {common.grouped(len(features))} cells, {N_STEPS} steps"
    return versus(what, runs[name][1], peer, runs[peer][1], BAR_TORCHDR)


def against_pacmap(name: str, options) -> list[str]:
    import pacmap

    features = common.cells(size(N_PACMAP, options), options.data)
    mine = partial(run_ours, name, features, options)
    mine()
    adata = common.as_adata(features[:1500])
    ne.tl.neighbor_embedding(adata, method=name, use_rep="X_pca")
    n_neighbors = round(10 + 15 * max(0.0, np.log10(len(features)) - 4))

    def theirs() -> Timed:
        model = getattr(pacmap, OF_PACMAP[name])(n_neighbors=n_neighbors, random_state=0)
        return common.timed(lambda: np.asarray(model.fit_transform(features.copy())))

    pacmap.PaCMAP(random_state=0).fit_transform(features[:1500].copy())  # compiles
    runs = take_turns({name: mine, "pacmap": theirs}, options.repeats, options.repeats)
    what = f"{name}, {common.grouped(len(features))} cells, {n_neighbors} neighbors"
    return versus(what, runs[name][1], "pacmap", runs["pacmap"][1], BAR_PACMAP)


ROWS = dict.fromkeys(OF_TORCHDR, against_torchdr) | dict.fromkeys(OF_PACMAP, against_pacmap)


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--only", default=",".join(ROWS), help="comma-separated; default: all")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--shrink", type=int, default=1, help="divide all numbers of cells by this: a try")
    options, machine = parser.parse_args(), common.machine()
    names = options.only.split(",")
    if set(names) - set(ROWS):
        parser.error(f"unknown {sorted(set(names) - set(ROWS))}; available: {list(ROWS)}")
    lines = [ROWS[name](name, options) for name in names]
    complete = names == list(ROWS) and options.shrink == 1 and options.repeats >= 3
    about = (
        f"sc_nembed at state {common.source_state()}. Machine: {machine} at the start. {options.jobs} threads. "
        f"Versions: {common.versions('torchdr', 'pacmap')}."
    )
    output = options.output or (common.RESULTS / "family_speed.md" if complete else None)
    common.report("Speed of the family", [about, common.markdown_table(HEADER[:-1], lines)], output)


if __name__ == "__main__":
    main()
