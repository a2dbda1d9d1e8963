"""Claim: on a CUDA device sc_nembed is faster than TorchDR and cuML on it, and embeds a million cells there.

t-SNE and UMAP of 10 000 and 50 000 cells by `device="cuda"`, TorchDR with the fastest of its backends, and cuML where
it is installed; all from the representation, with their defaults, after a small run of each; and t-SNE of a million
cells by sc_nembed alone. The cells are synthetic, a mixture of Gaussians. recall: of the 10 nearest neighbors of 1 000
cells. One run of each unless `--repeats` says otherwise, then medians.

    python benchmarks/gpu.py                                                 # writes benchmarks/results/gpu.md
    python benchmarks/gpu.py --device cpu --sizes 1000 --large 3000          # a try without a CUDA device
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import _common as common
import _peers as peers
import numpy as np
import torch

import sc_nembed as ne

SIZES, LARGE, N_REPEATS = (10_000, 50_000), 1_000_000, 1
N_DIMENSIONS, N_CLUSTERS, N_QUERIES, WARM_CELLS = 50, 40, 1_000, 2_000
BACKENDS = ("faiss", "keops", None)
FUNCTIONS = {"TSNE": (ne.tl.tsne, "X_tsne"), "UMAP": (ne.tl.umap, "X_umap")}
Timed = tuple[np.ndarray, float]  # an embedding and seconds


def mixture(n_cells: int) -> np.ndarray:
    """Clusters of different size and width in 50 dimensions of falling variance, (n_cells, 50) float32."""
    rng = np.random.default_rng(0)
    scales = 1 / np.sqrt(1 + np.arange(N_DIMENSIONS))
    centers = 4 * rng.normal(size=(N_CLUSTERS, N_DIMENSIONS)) * scales
    cluster = rng.choice(N_CLUSTERS, n_cells, p=rng.dirichlet(np.full(N_CLUSTERS, 2.0)))
    noise = rng.standard_normal((n_cells, N_DIMENSIONS), np.float32) * (scales * 2).astype(np.float32)
    return (centers[cluster] + noise * rng.uniform(0.5, 1.5, N_CLUSTERS)[cluster, None]).astype(np.float32)


def ours(name: str, features: np.ndarray, device: str) -> Timed:
    function, key = FUNCTIONS[name]
    adata = common.as_adata(features)
    seconds = common.timed(lambda: function(adata, use_rep="X_pca", device=device))[1]
    return adata.obsm[key], seconds


def cuml(name: str, features: np.ndarray) -> Timed:
    from cuml import manifold

    return common.timed(lambda: np.asarray(getattr(manifold, name)().fit_transform(features)))


def tools(name: str, features: np.ndarray, options) -> dict[str, Callable[[np.ndarray], Timed]]:
    """A function of the features for each tool; ours is the first."""
    backend = peers.torchdr_backend(name, features, options.jobs, BACKENDS, device=options.device)
    found = {
        "sc_nembed": lambda points: ours(name, points, options.device),
        f"TorchDR (backend={backend})": lambda points: peers.torchdr_run(
            name, points, options.jobs, backend=backend, device=options.device
        ),
    }
    if options.device == "cuda" and importlib.util.find_spec("cuml") is not None:
        found["cuML"] = lambda points: cuml(name, points)
    return found


def recall(features: np.ndarray, embedding: np.ndarray, device: str) -> float:
    """Share of the 10 nearest neighbors that are kept, of 1 000 cells."""
    queries = np.random.default_rng(1).choice(len(features), min(N_QUERIES, len(features)), replace=False)
    near = []
    for points in (features, embedding):
        points = torch.from_numpy(np.ascontiguousarray(points, np.float32)).to(device)
        distances = torch.cdist(points[queries], points, compute_mode="donot_use_mm_for_euclid_dist")
        distances[torch.arange(len(queries)), torch.from_numpy(queries)] = torch.inf
        near.append(distances.topk(common.N_NEAREST, largest=False).indices.cpu().numpy())
    return common.recall(*near)


def rows(name: str, n_cells: int, options) -> list[list[str]]:
    """A line for each tool; the ratio is of its seconds to ours."""
    features, found = mixture(n_cells), []
    for tool, run in tools(name, features, options).items():
        run(features[:WARM_CELLS])
        runs = [run(features) for _ in range(options.repeats)]
        seconds = float(np.median([taken for _, taken in runs]))
        found.append((tool, seconds, recall(features, runs[-1][0], options.device)))
        print(name, n_cells, found[-1], flush=True)
    first = found[0][1]
    return [
        [name, common.grouped(n_cells), tool, f"{seconds:.2f}", f"{seconds / first:.1f}", f"{share:.3f}"]
        for tool, seconds, share in found
    ]


def large_row(options) -> list[str]:
    features = mixture(options.large)
    ours("TSNE", features[:60_000], options.device)
    if options.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    embedding, seconds = ours("TSNE", features, options.device)
    tool = "sc_nembed"
    if options.device == "cuda":
        tool += f" (peak {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB of the device)"
    share = recall(features, embedding, options.device)
    return ["TSNE", common.grouped(options.large), tool, f"{seconds:.2f}", "1.0", f"{share:.3f}"]


def parsed():
    parser = common.arguments(__doc__)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--sizes", help="comma-separated numbers of cells: a try")
    parser.add_argument("--large", type=int, default=LARGE, help="cells of the run without peers")
    parser.add_argument("--repeats", type=int, default=N_REPEATS)
    options = parser.parse_args()
    complete = options.device == "cuda" and options.sizes is None and options.large == LARGE
    options.sizes = [int(n) for n in options.sizes.split(",")] if options.sizes else list(SIZES)
    options.output = options.output or (common.RESULTS / "gpu.md" if complete else None)
    return options


def main() -> None:
    options, machine = parsed(), common.machine()
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit(
            f"torch {torch.__version__} finds no CUDA device. This benchmark needs one, and a torch built for CUDA; "
            "`--device cpu --sizes 1000 --large 3000` tries the script without."
        )
    found = [line for name in FUNCTIONS for n_cells in options.sizes for line in rows(name, n_cells, options)]
    found.append(large_row(options))
    device = torch.cuda.get_device_name() if options.device == "cuda" else "no CUDA device, the CPU"
    paragraphs = [
        f"Synthetic cells, a mixture of {N_CLUSTERS} Gaussians in {N_DIMENSIONS} dimensions, from the representation, "
        "all tools with their defaults, which differ (UMAP: 15 neighbors and min_dist 0.5 here, 30 and 0.1 in TorchDR, "
        f"15 and 0.1 in cuML). Median of {options.repeats} after a small run. times ours: seconds over those of "
        "sc_nembed. recall: of the 10 nearest neighbors of 1 000 cells.",
        common.markdown_table(["method", "cells", "tool", "s", "times ours", "recall"], found),
        f"Device: {device}. Machine: {machine}. Versions: {common.versions('torchdr')}, CUDA {torch.version.cuda}.",
    ]
    common.report("On a CUDA device", paragraphs, options.output)


if __name__ == "__main__":
    main()
