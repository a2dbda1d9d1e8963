"""Claim: `density=True` correlates local radii as well as umap-learn's densMAP does, at no lower recall; and what a
`reference` trades.

Densities: Pearson's correlation of log local radii, here the mean squared distance to the 15 nearest cells, in the
data and in the embedding, computed by one code for both tools; neither minimises it. Recall of the 10 nearest
neighbors. umap-learn: 15 neighbors, `min_dist` 0.5 as in sc_nembed, `random_state=0`, and its other defaults.
References: t-SNE and UMAP pulled towards the first two principal components; Spearman's correlation of 20 000 pairwise
distances.

    export SC_NEMBED_DATA=folder
    python benchmarks/terms.py                # writes benchmarks/results/terms.md
    python benchmarks/terms.py --sets paul15
"""

from __future__ import annotations

import warnings

import _common as common
import numpy as np
import umap
from sklearn.neighbors import NearestNeighbors

import sc_nembed as ne

SETS = ("pbmc3k_pca", "paul15", "snareseq")
DENSITIES = {"tsne": (None, True, 0.2, 0.5, 1.0), "umap": (None, True)}
STRENGTHS = (None, 0.001, 0.003, 0.01, 0.03, 0.1, 1.0)
N_RADIUS = 15
SLACK = {"radii": 0.02, "recall": 0.005}


def log_radii(points: np.ndarray) -> np.ndarray:
    distances = NearestNeighbors(n_neighbors=N_RADIUS).fit(points).kneighbors()[0]
    return np.log((distances**2).mean(1) + 1e-12)


def embedded(features: np.ndarray, method: str, **given) -> np.ndarray:
    adata = common.as_adata(features)
    ne.tl.neighbor_embedding(adata, method=method, use_rep="X_pca", verbose=False, **given)
    return adata.obsm["X_ne"]


def densities(name: str, features: np.ndarray, jobs: int) -> list[list[str]]:
    """A row for each method and strength; MISS where densMAP is better by more than the slack."""
    found, known, radii = {}, common.nearest(features), log_radii(features)

    def look(label: str, points: np.ndarray, seconds: float) -> None:
        correlation = float(np.corrcoef(radii, log_radii(points))[0, 1])
        found[label] = {
            "radii": correlation,
            "recall": common.recall(known, common.nearest(points)),
            "seconds": seconds,
        }

    for densmap in (False, True):
        peer = umap.UMAP(densmap=densmap, n_neighbors=15, min_dist=0.5, random_state=0)
        look(
            "umap-learn, densMAP" if densmap else "umap-learn",
            *common.timed(lambda peer=peer: peer.fit_transform(features)),
        )
    for method, strengths in DENSITIES.items():
        for density in strengths:
            label = method if density is None else f"{method}, density={density}"
            look(label, *common.timed(lambda m=method, d=density: embedded(features, m, density=d, n_jobs=jobs)))
    peer, ours = found["umap-learn, densMAP"], found["umap, density=True"]
    missed = any(ours[measure] < peer[measure] - slack for measure, slack in SLACK.items())
    return [
        [
            name,
            label + (" MISS" if missed and of is ours else ""),
            f"{of['radii']:.3f}",
            f"{of['recall']:.3f}",
            f"{of['seconds']:.1f}",
        ]
        for label, of in found.items()
    ]


def references(name: str, features: np.ndarray, jobs: int) -> list[list[str]]:
    known, rows = common.nearest(features), []
    for method in ("tsne", "umap"):
        for strength in STRENGTHS:
            pull = {} if strength is None else {"reference": features[:, :2], "reference_strength": strength}
            points = embedded(features, method, n_jobs=jobs, **pull)
            recall, spearman = (
                common.recall(known, common.nearest(points)),
                common.distance_correlation(features, points),
            )
            rows.append(
                [name, method, "none" if strength is None else f"{strength:g}", f"{recall:.3f}", f"{spearman:.3f}"]
            )
    return rows


def main() -> None:
    warnings.simplefilter("ignore")
    parser = common.arguments(__doc__)
    parser.add_argument("--sets", help=f"comma-separated; available: {','.join(SETS)}")
    options = parser.parse_args()
    sets = options.sets.split(",") if options.sets else SETS
    of_density, of_reference = [], []
    for name in sets:
        features = common.representation(common.load(name, options.data))
        of_density += densities(name, features, options.jobs)
        of_reference += references(name, features, options.jobs)
    n_missed = sum("MISS" in cell for row in of_density for cell in row)
    paragraphs = [
        "Densities, bars of `umap, density=True` against densMAP: correlation of radii at most 0.02, recall at most "
        f"0.005 below. **{n_missed or 'None'} missed of {len(sets)}.** Seconds are of whole calls, the first of each "
        "tool with its compilation, and for orientation alone.",
        common.markdown_table(["set", "embedding", "radii", "recall", "seconds"], of_density),
        "References: the first two principal components.",
        common.markdown_table(["set", "method", "strength", "recall", "Spearman"], of_reference),
        f"Machine: {common.machine()}. {options.jobs} threads. Versions: {common.versions('umap-learn')}.",
    ]
    output = options.output or (None if options.sets else common.RESULTS / "terms.md")
    common.report("Terms on top of a method", paragraphs, output)


if __name__ == "__main__":
    main()
