"""What the docstrings say about accuracy: forces on the grid, recall of faiss, DeltaBarDelta against openTSNE.

    SC_NEMBED_DATA=folder python benchmarks/accuracy.py          # writes benchmarks/results/accuracy.md

(1) Relative errors of the grid sum against the exact one, in the default spacing and with a tolerance, with those of
openTSNE's default. (2) Recall of the inverted file. (3) The exact KL divergence after openTSNE's 250 + 500 steps with
our DeltaBarDelta and with openTSNE itself, from one P and one start. These runs are chaotic, so no single difference
means much: the three starts are shown one by one.
"""

from __future__ import annotations

from dataclasses import replace

import _common as common
import numpy as np
import torch
from openTSNE import _tsne

from sc_nembed.engine import presets
from sc_nembed.engine.cells.features import checked_features
from sc_nembed.engine.compute import backend
from sc_nembed.engine.kernel import StudentT
from sc_nembed.engine.neighbors import nearest_neighbors
from sc_nembed.engine.pipeline import embed
from sc_nembed.engine.radial_sum import RADIAL_SUMS
from sc_nembed.engine.world import SERIAL

N_POINTS, TOLERANCE = 4_000, 1e-2
SPANS = {1: (1e-4, 5, 150, 1500), 2: (1e-4, 5, 60, 150), 3: (1e-4, 5, 60)}  # by number of dimensions
CYTOF, RECALL_CELLS, RECALL_NEIGHBORS, N_QUERIES = "cytof_pbmc_112k", (45_000, 111_690), (15, 90), 500
PARITY_SETS = ("pbmc68k_reduced", "snareseq", "pbmc3k_pca", "pbmc4k", "cbmc_citeseq", "cortex_snareseq")


def clouds(n_components: int) -> dict[str, np.ndarray]:
    """Point sets whose longest side is 1, (n, n_components) float64."""
    rng, shape = np.random.default_rng(0), (N_POINTS, n_components)
    centers = rng.normal(size=(20, n_components))[rng.integers(0, 20, N_POINTS)] * 4
    sets = {"uniform": rng.uniform(size=shape), "clusters": centers + rng.normal(size=shape) * 0.5}
    return {name: (points - points.min(0)) / np.ptp(points, axis=0).max() for name, points in sets.items()}


def sums(name: str, points: np.ndarray, dtype: torch.dtype, tolerance: float | None = None) -> list[np.ndarray]:
    """Mass and push of every point, by a radial sum."""
    options = {"tolerance": tolerance, "device": torch.device("cpu"), "dtype": dtype, "world": SERIAL}
    plan = RADIAL_SUMS[name](StudentT(), n_components=points.shape[1], **options)
    positions = torch.from_numpy(points).to(dtype)
    return [values.double().numpy() for values in plan(positions, positions, 0)]


def relative(found: np.ndarray, true: np.ndarray) -> float:
    return float(np.linalg.norm(found - true) / np.linalg.norm(true))


def opentsne_force(points: np.ndarray) -> np.ndarray:
    """openTSNE's unnormalised repulsion with its default grid, in 1-D and 2-D, signed as our push."""
    options = {"n_interpolation_points": 3, "min_num_intervals": 50, "ints_in_interval": 1, "dof": 1}
    if points.shape[1] == 1:
        gradient = np.zeros(len(points))
        return (gradient * _tsne.estimate_negative_gradient_fft_1d(points[:, 0].copy(), gradient, **options))[:, None]
    gradient = np.zeros_like(points)
    return gradient * _tsne.estimate_negative_gradient_fft_2d(points.copy(), gradient, **options)


def grid_rows() -> list[list[str]]:
    rows = []
    for n_components, spans in SPANS.items():
        rows += _grid_rows(n_components, spans)
    return rows


def _grid_rows(n_components: int, spans: tuple[float, ...]) -> list[list[str]]:
    rows = []
    for name, cloud in clouds(n_components).items():
        for span in spans:
            points = np.ascontiguousarray(cloud * span)
            mass, push = sums("torch", points, torch.float64)
            ours, asked = sums("fft", points, torch.float32), sums("fft", points, torch.float32, TOLERANCE)
            errors = [relative(ours[1], push), relative(ours[0], mass), relative(asked[1], push)]
            if n_components < 3:
                theirs = opentsne_force(points)
                errors.append(min(relative(theirs, push), relative(-theirs, push)))
            shown = [f"{error:.1e}" for error in errors] + [""] * (n_components == 3)
            rows.append([f"{n_components}-D", name, f"{span:g}", *shown])
    return rows


def recall_rows(folder: str | None) -> list[list[str]]:
    features = common.representation(common.load(CYTOF, folder))
    order, rows = np.random.default_rng(0).permutation(len(features)), []
    for n_cells in RECALL_CELLS:
        points = checked_features(torch.from_numpy(features[order[:n_cells]]), "euclidean")
        queries = np.random.default_rng(1).choice(n_cells, N_QUERIES, replace=False)
        distances = torch.cdist(points[queries], points)
        distances[torch.arange(N_QUERIES), torch.from_numpy(queries)] = torch.inf
        for k in RECALL_NEIGHBORS:
            true = distances.topk(k, largest=False).indices.numpy()
            with backend.session(backend.available_cores()):
                found = nearest_neighbors(points, k, method="faiss").indices.numpy()[queries]
            share = np.mean([np.isin(a, b).mean() for a, b in zip(true, found, strict=True)])
            rows.append([f"{n_cells}", f"{k}", f"{share:.4f}"])
    return rows


def parity_rows(folder: str | None, n_jobs: int) -> list[list[str]]:
    rows = []
    for name in PARITY_SETS:
        features = common.representation(common.load(name, folder))
        for seed in (None, 0, 1):
            start, recorded = common.pca_start(features, seed), common.Recorded(common.entropic(len(features)))
            config = replace(presets.tsne(), affinity_in=recorded, init=start, optimizer="DeltaBarDelta")
            ours = embed(torch.from_numpy(features), config).embedding.numpy()
            affinities = common.as_csr(recorded.matrices[0])
            theirs, _ = common.run_opentsne(affinities, start, n_jobs)
            one, other = common.exact_kl(affinities, ours), common.exact_kl(affinities, theirs)
            seed = "as it is" if seed is None else f"disturbed, seed {seed}"
            rows.append([name, seed, f"{one:.4f}", f"{other:.4f}", f"{100 * (one / other - 1):+.2f} %"])
    return rows


def main() -> None:
    options = common.arguments(__doc__).parse_args()
    sections = {
        "Forces on the grid": (
            ["in", "points", "span", "force", "mass", "force, tolerance=1e-2", "force, openTSNE"],
            grid_rows(),
        ),
        "Recall of the inverted file": (["cells", "neighbors", "recall"], recall_rows(options.data)),
        "DeltaBarDelta, 750 steps, KL": (
            ["set", "start", "sc_nembed", "openTSNE", "difference"],
            parity_rows(options.data, options.jobs),
        ),
    }
    paragraphs = [f"Machine: {common.machine()}.", f"Versions: {common.versions()}."]
    for title, (header, rows) in sections.items():
        paragraphs += [f"**{title}**", common.markdown_table(header, rows)]
    common.report("Accuracy", paragraphs, options.output or common.RESULTS / "accuracy.md")


if __name__ == "__main__":
    main()
