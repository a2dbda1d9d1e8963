"""What the benchmarks share: the data, the affinities, the start, the peers, exact measures, the machine."""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import os
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anndata
import numpy as np
import openTSNE
import scanpy as sc
import scipy.sparse as sp
import torch
from scipy.spatial.distance import cdist
from scipy.stats import mode, spearmanr
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE as ScikitTSNE
from sklearn.neighbors import NearestNeighbors

import sc_nembed as ne
from sc_nembed.engine import presets
from sc_nembed.engine.affinity import EntropicAffinity, InputAffinity
from sc_nembed.engine.compute.backend import available_cores
from sc_nembed.engine.configure import configured
from sc_nembed.engine.graph import AffinityMatrix, KnnGraph
from sc_nembed.engine.pipeline import EmbeddingResult, embed

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("sc-nembed", "openTSNE", "scikit-learn", "numpy", "torch", "numba", "faiss-cpu", "scanpy", "anndata")
BUILT_IN = "pbmc68k_reduced"  # ships inside scanpy
CYTOF, N_CYTOF = "cytof_pbmc_112k", 111_690
JITTER = 0.05  # of each dimension's standard deviation
PERPLEXITY = 30.0
N_NEAREST = 10
N_PAIRS, PAIRS_SEED = 20_000, 1  # the engine's race of early phases uses seed 0


def arguments(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", default=os.environ.get("SC_NEMBED_DATA"), help="folder of the data sets; default: $SC_NEMBED_DATA"
    )
    parser.add_argument("--jobs", type=int, default=available_cores(), help="threads of every tool; default: all cores")
    parser.add_argument(
        "--output", type=Path, help="where to write the table; default: results/, for a complete run only"
    )
    return parser


def load(name: str, folder: str | None) -> anndata.AnnData:
    """A data set of the folder, or the one that ships inside scanpy."""
    if name == BUILT_IN:
        return sc.datasets.pbmc68k_reduced()
    if folder is None:
        raise SystemExit(f"{name} needs the data folder: set SC_NEMBED_DATA or give --data.")
    return anndata.read_h5ad(Path(folder) / f"{name}.h5ad")


def representation(adata: anndata.AnnData) -> np.ndarray:
    return np.ascontiguousarray(adata.obsm["X_pca"], dtype=np.float32)


def cells(n_cells: int, folder: str | None, n_real: int = N_CYTOF) -> np.ndarray:
    """The first cells of the mass-cytometry set, shuffled, since it is ordered by population, (n_cells, 29) float32.

    Beyond `n_real` they are copies of these, one round after the other, with noise of 5 % of each dimension's standard
    deviation.
    """
    everything = representation(load(CYTOF, folder))
    real = everything[np.random.default_rng(0).permutation(len(everything))[:n_real]]
    found = real[np.arange(n_cells) % len(real)]
    copies = found[len(real) :]
    copies += JITTER * real.std(0) * np.random.default_rng(1).standard_normal(copies.shape, np.float32)
    return found


def with_graph(features: np.ndarray) -> anndata.AnnData:
    """The cells with scanpy's graph of 15 neighbors, searched by `pp.FaissNeighbors`."""
    adata = as_adata(features)
    sc.pp.neighbors(adata, n_neighbors=15, use_rep="X_pca", transformer=ne.pp.FaissNeighbors(n_neighbors=15))
    return adata


def as_adata(features: np.ndarray) -> anndata.AnnData:
    return anndata.AnnData(shape=(len(features), 0), obsm={"X_pca": features})


def timed(call: Callable[[], object]) -> tuple[object, float]:
    """What a call returns, and its seconds."""
    begin = time.perf_counter()
    found = call()
    return found, time.perf_counter() - begin


def pca_start(features: np.ndarray, seed: int | None = None) -> np.ndarray:
    """Two principal components of standard deviation 1e-4, (n, 2) float32; with a seed, 1 % of noise is added."""
    start = PCA(2, svd_solver="full").fit_transform(features.astype(np.float64))
    start *= 1e-4 / start[:, 0].std()
    if seed is not None:
        start += 1e-6 * np.random.default_rng(seed).normal(size=start.shape)
    return np.ascontiguousarray(start, dtype=np.float32)


@dataclass(frozen=True)
class Recorded:
    """An input affinity that also keeps the P it made: the peers are given the very P that the engine's run used."""

    affinity: InputAffinity
    matrices: list[AffinityMatrix] = field(default_factory=list)

    def n_neighbors(self, n_obs: int) -> int:
        return self.affinity.n_neighbors(n_obs)

    def __call__(self, graph: KnnGraph, features: torch.Tensor | None = None) -> AffinityMatrix:
        self.matrices.append(self.affinity(graph, features))
        return self.matrices[-1]

    def __str__(self) -> str:
        return "entropic"  # as the run's record shall name it


def entropic(n_obs: int) -> EntropicAffinity:
    """Perplexity 30, lowered where there are too few cells for 90 neighbors."""
    return EntropicAffinity(min(PERPLEXITY, (n_obs - 1) / 3))


def as_csr(matrix: AffinityMatrix) -> sp.csr_matrix:
    """P in float64, its sum 1 to float64's precision, as openTSNE and scikit-learn want it."""
    weights = matrix.weights.double().numpy()
    return sp.csr_matrix(
        (weights / weights.sum(), matrix.indices.numpy(), matrix.indptr.numpy()), shape=(matrix.n_rows, matrix.n_cols)
    )


def run_ours(
    features: np.ndarray, start: np.ndarray, n_jobs: int, race: bool | None = None
) -> tuple[EmbeddingResult, sp.csr_matrix]:
    """The default t-SNE from the features and a given start, and the P it used."""
    recorded = Recorded(entropic(len(features)))
    given = {"init": start, "affinity_in": recorded, "race": race, "device": "cpu", "n_jobs": n_jobs}
    config = configured(presets.tsne(), given)
    return embed(torch.from_numpy(features), config), as_csr(recorded.matrices[0])


def run_opentsne(
    affinities: sp.csr_matrix, start: np.ndarray, n_jobs: int, **options: object
) -> tuple[np.ndarray, float]:
    """The default 250 + 500 steps of openTSNE from P and a start: the embedding, and seconds."""
    model = openTSNE.TSNE(n_jobs=n_jobs, random_state=0, **options)
    given = openTSNE.affinity.PrecomputedAffinities(affinities, normalize=False)
    begin = time.perf_counter()
    embedding = model.fit(affinities=given, initialization=start.astype(np.float64))
    return np.asarray(embedding), time.perf_counter() - begin


def run_scikit(affinities: sp.csr_matrix, start: np.ndarray) -> tuple[np.ndarray, float]:
    """The default 1 000 steps of scikit-learn from P and a start: the embedding, and seconds.

    It takes no P; what its `fit` does once it has one is `_tsne`, with this learning rate. It uses all cores.
    """
    model = ScikitTSNE(random_state=0)
    # numpy's maximum, as there: a float64, which makes the steps float64 too
    model.learning_rate_ = np.maximum(len(start) / model.early_exaggeration / 4, 50)
    given = affinities.copy()  # exaggerated in place
    begin = time.perf_counter()
    embedding = model._tsne(given, 1, len(start), X_embedded=start.copy())
    return embedding, time.perf_counter() - begin


def same_affinities(first: sp.csr_matrix, second: sp.csr_matrix) -> bool:
    """Whether two P agree within the errors of float32: both sum to 1, so their distance is between 0 and 2."""
    return abs(first - second).sum() < 1e-5


def exact_kl(affinities: sp.csr_matrix, embedding: np.ndarray) -> float:
    """KL(P ‖ Q) in float64 over all pairs, block by block; i = j is left out."""
    points = np.asarray(embedding, np.float64)
    partition = -float(len(points))  # the pairs i = i
    for begin in range(0, len(points), 512):
        block = cdist(points[begin : begin + 512], points, "sqeuclidean")
        block += 1
        partition += np.reciprocal(block, out=block).sum()
    pairs = affinities.tocoo()
    weights = pairs.data[pairs.data > 0]
    difference = (points[pairs.row] - points[pairs.col])[pairs.data > 0]
    log_kernel = -np.log1p((difference**2).sum(1))
    return float((weights * (np.log(weights) - log_kernel)).sum() + weights.sum() * np.log(partition))


def nearest(points: np.ndarray) -> np.ndarray:
    """The 10 nearest other cells of every cell, (n, 10)."""
    return NearestNeighbors(n_neighbors=N_NEAREST, n_jobs=-1).fit(points).kneighbors(return_distance=False)


def recall(true: np.ndarray, found: np.ndarray) -> float:
    """Mean share of a cell's true nearest neighbors that are among the found ones."""
    return float((true[:, :, None] == found[:, None, :]).any(2).mean())


def vote_accuracy(labels: np.ndarray, neighbors: np.ndarray) -> float:
    """Share of the cells whose label is the most frequent one of their neighbors; the cell itself has no vote."""
    return float((mode(labels[neighbors], axis=1).mode == labels).mean())


def distance_correlation(features: np.ndarray, embedding: np.ndarray) -> float:
    """Spearman's correlation of the distances of 20 000 fixed random pairs."""
    left, right = np.random.default_rng(PAIRS_SEED).integers(len(features), size=(2, N_PAIRS))
    distances = (
        np.linalg.norm(points[left].astype(np.float64) - points[right], axis=1) for points in (features, embedding)
    )
    return float(spearmanr(*distances).statistic)


def machine() -> str:
    """Cores, processor, memory and how busy the machine was."""
    return f"{hardware()}, load average {os.getloadavg()[0]:.1f}"


def hardware() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{available_cores()} cores of {_processor()}, {memory:.0f} GiB memory"


def source_state() -> str:
    """A short name of the state of sc_nembed's source, which the version does not tell."""
    folder, digest = Path(ne.__file__).parent, hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()[:10]


def _processor() -> str:
    described = Path("/proc/cpuinfo")
    lines = described.read_text().splitlines() if described.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def versions(*more: str) -> str:
    """Of Python, of the packages all benchmarks use, and of `more` where they are installed."""
    installed = [name for name in more if any(importlib.metadata.distributions(name=name))]
    found = [f"{name} {importlib.metadata.version(name)}" for name in (*PACKAGES, *installed)]
    return ", ".join([f"Python {platform.python_version()}", *found])


def grouped(number: int) -> str:
    """45 000."""
    return f"{number:,}".replace(",", " ")


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def report(title: str, paragraphs: Sequence[str], path: Path | None) -> None:
    """Print a page and, where there is a path, write it."""
    text = "\n\n".join([f"# {title}", *paragraphs]) + "\n"
    print("\n" + text)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
