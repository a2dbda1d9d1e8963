"""Claim: every method keeps neighbors and labels as well as its reference implementation does.

Four labelled sets, three seeds each, twelve of PaCMAP and LocalMAP, whose recall spreads more; all measures by the same
code: recall of the 10 nearest neighbors; accuracy of a label's vote among the 10 nearest others; silhouette of the
labels (5 000 cells at most); Spearman's correlation of 20 000 pairwise distances; the KL divergence of methods whose P
and Q are distributions over pairs, as recorded. TorchDR's dense methods take minutes: two sets, once.

    export SC_NEMBED_DATA=folder
    python benchmarks/quality.py                     # all; writes benchmarks/results/quality.md
    python benchmarks/quality.py --methods 'PaCMAP;LocalMAP' --sets snareseq
    python benchmarks/quality.py --keep-peers        # peers' measures of results/quality_peers.json where there are any

The peers' measures are kept in results/quality_peers.json.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

import _common as common
import numpy as np
from _family import DENSE_SETS, MANY_SEEDS, METHODS, N_SEEDS, Method, ours
from sklearn.metrics import silhouette_score
from tsne_quality import LABELS

SETS = ("snareseq", "pbmc3k_pca", "paul15", "cbmc_citeseq")
MEASURES = {"recall": ".3f", "accuracy": ".3f", "silhouette": ".3f", "spearman": ".3f", "seconds": ".1f"}
SLACK = {"recall": 0.01, "accuracy": 0.02}  # absolute
PEERS_FILE = common.RESULTS / "quality_peers.json"
N_SILHOUETTE = 5_000


@dataclass(frozen=True)
class Truth:
    """What embeddings of a set are compared with."""

    features: np.ndarray
    nearest: np.ndarray
    labels: np.ndarray

    def measures(self, embedding: np.ndarray, seconds: float) -> dict[str, float]:
        found = common.nearest(embedding)
        return {
            "recall": common.recall(self.nearest, found),
            "accuracy": common.vote_accuracy(self.labels, found),
            "silhouette": self._silhouette(embedding),
            "spearman": common.distance_correlation(self.features, embedding),
            "seconds": seconds,
        }

    def _silhouette(self, embedding: np.ndarray) -> float:
        n_shown = min(N_SILHOUETTE, len(self.labels))
        return float(silhouette_score(embedding, self.labels, sample_size=n_shown, random_state=0))


def truth(name: str, folder: str | None) -> Truth:
    adata = common.load(name, folder)
    features = common.representation(adata)
    return Truth(features, common.nearest(features), adata.obs[LABELS[name]].cat.codes.to_numpy())


def mean(rows: list[dict]) -> dict:
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def of_ours(known: Truth, method: Method, options) -> dict:
    rows = []
    for seed in range(method.n_seeds):
        (embedding, record), seconds = common.timed(
            lambda seed=seed: ours(known.features / np.float32(method.scale), method.options, seed, options.jobs)
        )
        row = known.measures(embedding, seconds)
        rows.append(row | {"kl": record["final"].get("kl_divergence", np.nan)})
    return mean(rows)


def of_peer(known: Truth, method: Method) -> dict:
    rows = []
    for seed in range(1 if method.dense else method.n_seeds):
        features = known.features / np.float32(method.scale)
        embedding, seconds = common.timed(lambda features=features, seed=seed: method.run(features, seed))
        rows.append(known.measures(embedding, seconds))
    return mean(rows)


def verdict(mine: dict, peer: dict) -> list[str]:
    """How far from the peer; MISS where that is too far below."""
    cells = []
    for name, slack in SLACK.items():
        gain = mine[name] - peer[name]
        cells.append(f"{gain:+.3f}" + (" MISS" if gain < -slack else ""))
    return cells


def line(name: str, of_set: str, mine: dict, peer: dict) -> list[str]:
    method = METHODS[name]
    numbers = [format(found[measure], digits) for found in (mine, peer) for measure, digits in MEASURES.items()]
    kl = "" if np.isnan(mine["kl"]) else format(mine["kl"], ".3f")
    return [name, of_set, method.peer, *verdict(mine, peer), kl, *numbers]


def table(lines: list[list[str]]) -> str:
    header = ["method", "set", "peer", "Δ recall", "Δ accuracy", "KL"]
    header += [f"{tool} {measure}" for tool in ("sc_nembed", "peer") for measure in (*MEASURES,)]
    return common.markdown_table(header, lines)


def explanation(lines: list[list[str]], options, machine: str, origins: set[str]) -> list[str]:
    n_missed = sum(cell.endswith("MISS") for row in lines for cell in row)
    return [
        f"Means over {N_SEEDS} seeds, {MANY_SEEDS} of PaCMAP and LocalMAP, one of TorchDR. Defaults on both sides, but "
        "for the number of neighbors where the method says so; UMAP with `min_dist=0.5` on both; contrastive-ne with "
        "the optimiser of its paper; of TorchDR SNE with a rate of 10 (its default ends in NaN on pbmc3k), TSNEkhorn "
        "without its stop by the norm of the gradient (which comes too early), CO-SNE with the settings of its "
        "example. Seconds are of the whole call, and orientation only.",
        f"Bars: recall at most 0.01, accuracy at most 0.02 below. **{n_missed or 'None'} missed of {2 * len(lines)}.**",
        f"sc_nembed at state {common.source_state()}. Machine: {machine} at the start. {options.jobs} threads.",
        f"Versions: {common.versions('umap-learn', 'torchdr', 'pacmap', 'contrastive-ne', 'fa2-modified')}.",
        *(f"Peers: measured on {origin}." for origin in sorted(origins)),
    ]


def parsed():
    parser = common.arguments(__doc__)
    parser.add_argument("--sets", help=f"comma-separated; default: {','.join(SETS)}; available: {','.join(LABELS)}")
    parser.add_argument("--methods", help=f"semicolon-separated; available: {'; '.join(METHODS)}")
    parser.add_argument("--keep-peers", action="store_true", help="do not run a peer that was measured before")
    options = parser.parse_args()
    complete = options.sets is None and options.methods is None
    options.sets = options.sets.split(",") if options.sets else list(SETS)
    options.methods = options.methods.split(";") if options.methods else list(METHODS)
    options.output = options.output or (common.RESULTS / "quality.md" if complete else None)
    unknown = (set(options.sets) - set(LABELS)) | (set(options.methods) - set(METHODS))
    if unknown:
        parser.error(f"unknown {sorted(unknown)}")
    return options


def main() -> None:
    options, machine = parsed(), common.machine()  # asked before we make it busy ourselves
    kept = json.loads(PEERS_FILE.read_text()) if PEERS_FILE.exists() else {}
    lines, origins = [], set()
    for name in options.methods:
        for of_set in options.sets:
            method = METHODS[name]
            if method.dense and of_set not in DENSE_SETS:
                continue
            known = truth(of_set, options.data)
            begin, key = time.perf_counter(), f"{name} | {of_set}"
            if key not in kept or not options.keep_peers:
                kept[key] = of_peer(known, method) | {"machine": common.hardware()}
                PEERS_FILE.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
            origins.add(kept[key]["machine"])
            lines.append(line(name, of_set, of_ours(known, method, options), kept[key]))
            print(f"{time.perf_counter() - begin:.0f} s; {lines[-1]}", flush=True)
    common.report(
        "Quality of the methods", [*explanation(lines, options, machine, origins), table(lines)], options.output
    )


if __name__ == "__main__":
    main()
