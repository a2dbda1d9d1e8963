"""Hashes of the embeddings of every method by every route, to tell whether a change of the code changed a bit.

    python benchmarks/bits.py > before.txt      # at one commit
    python benchmarks/bits.py before.txt        # at another: lists what differs, and counts

Every line is a route, a number of threads and the first digits of a SHA-256 of the coordinates. The bits of one
processor are not those of another.
"""

from __future__ import annotations

import hashlib
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import scanpy as sc
import torch
from anndata import AnnData

import sc_nembed as ne

METHODS = (
    "tsne", "sne", "tsnekhorn", "cosne", "umap", "largevis", "neg_tsne", "nc_tsne", "info_tsne", "pacmap", "localmap",
    "force_atlas2", "neighbor_embedding", "affinity_matcher",
)  # fmt: skip
CLASSES = {
    "tsne": ne.TSNE, "sne": ne.SNE, "tsnekhorn": ne.TSNEkhorn, "cosne": ne.COSNE, "umap": ne.UMAP,
    "largevis": ne.LargeVis, "neg_tsne": ne.NegTSNE, "nc_tsne": ne.NCTSNE, "info_tsne": ne.InfoTSNE,
    "pacmap": ne.PACMAP, "localmap": ne.LocalMAP, "force_atlas2": ne.ForceAtlas2,
}  # fmt: skip
VARIANTS = {
    "umap sampled": {"method": "umap", "repulsion": "sampled", "max_iter": 100},
    "umap sampled without neighbors": {
        "method": "umap", "repulsion": "sampled", "exclude_neighbors": True, "max_iter": 50
    },
    "largevis sampled": {"method": "largevis", "repulsion": "sampled", "max_iter": 100},
    "neg_tsne sampled": {"method": "neg_tsne", "repulsion": "sampled", "max_iter": 100},
    "info_tsne alone": {"method": "info_tsne", "with_positive": False, "max_iter": 60},
    "tsne duplicates": {"process_duplicates": True},
    "tsne no race": {"race": False},
    "tsne 1-D": {"n_components": 1},
    "tsne 3-D": {"n_components": 3},
    "tsne 4-D": {"n_components": 4, "max_iter": 60},
    "tsne dof": {"dof": 0.5},
    "tsne perplexities": {"perplexity": [5, 30]},
    "tsne cosine": {"metric": "cosine"},
    "tsne exaggerated": {"exaggeration": 4},
    "tsne SGD": {"optimizer": "SGD", "max_iter": 150},
    "tsne SGD LinearLR": {"optimizer": "SGD", "scheduler": "LinearLR", "max_iter": 150},
    "tsne Adam": {"optimizer": "Adam", "max_iter": 150, "lr": 0.1},
    "tsne DeltaBarDelta": {"optimizer": "DeltaBarDelta", "max_iter": 150},
    "tsne shortened": {"max_grad_norm": 1e-3, "max_iter": 100},
    "tsne reference": {"reference": "X_umap"},
    "tsne density": {"density": True},
    "umap density": {"method": "umap", "density": True},
    "umap reference": {"method": "umap", "reference": "X_umap"},
    "umap SGD": {"method": "umap", "optimizer": "SGD", "lr": 0.1, "max_iter": 100},
    "tsne gaussian": {"affinity_out": "gaussian"},
    "tsne gaussian by row": {"affinity_out": "gaussian", "kwargs_affinity_out": {"normalization": "row"}},
    "tsne rational": {"affinity_out": "rational", "kwargs_affinity_out": {"normalization": "all"}},
    "tsne unnormalised": {"kwargs_affinity_out": {"normalization": "none"}, "max_iter": 60},
    "tsne self_tuning": {"affinity_in": "self_tuning"},
    "tsne magic": {"affinity_in": "magic"},
    "tsne sinkhorn": {"affinity_in": "sinkhorn"},
    "tsne symmetric_entropic": {"affinity_in": "symmetric_entropic"},
    "tsne random": {"init": "random"},
    "tsne spectral": {"init": "spectral"},
    "tsne obsm": {"init": "X_umap"},
    "matcher phate": {"method": "affinity_matcher", "affinity_in": "phate", "affinity_out": "negative_distance"},
    "pacmap cosine": {"method": "pacmap", "metric": "cosine"},
}  # fmt: skip


def embedded(adata: AnnData, **arguments: object) -> np.ndarray:
    ne.tl.neighbor_embedding(adata, key_added="k", verbose=False, **arguments)
    return adata.obsm["k"]


def encoder() -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(50, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2))


def routes() -> Iterator[tuple[str, Callable[[int], np.ndarray]]]:
    adata = sc.datasets.pbmc68k_reduced()
    adata.obsm["X_twice"] = adata.obsm["X_pca"][np.arange(adata.n_obs) // 2]
    with_holes = adata.copy()
    for name in ("distances", "connectivities"):
        matrix = with_holes.obsp[name].tolil()
        matrix[:7], matrix[:, :7] = 0, 0
        with_holes.obsp[name] = matrix.tocsr()
    few = {"affinity_matcher": {"max_iter": 100}, "neighbor_embedding": {"affinity_in": None}}
    sources = {"representation": {"use_rep": "X_pca"}, "graph": {}, "obsp": {"obsp": "connectivities"}}
    for method in METHODS:
        for route, source in sources.items():
            call = {"method": method} | source | few.get(method, {})
            if method == "cosne":
                call |= {"norm_strength": 0} if route == "obsp" else {"max_iter": 200}
            yield f"{method} {route}", lambda jobs, call=call: embedded(adata, n_jobs=jobs, **call)
        if method in CLASSES:
            kind = CLASSES[method]
            yield f"{method} class", lambda jobs, kind=kind: kind(n_jobs=jobs).fit_transform(adata.obsm["X_pca"])
    for name, options in VARIANTS.items():
        rep = "X_twice" if "duplicates" in name else "X_pca"
        call = {"use_rep": rep} | options
        yield name, lambda jobs, call=call: embedded(adata, n_jobs=jobs, **call)
    yield "tsne graph race", lambda jobs: embedded(adata, race=True, n_jobs=jobs)
    yield "tsne graph perplexity", lambda jobs: embedded(adata, neighbors_key="neighbors", perplexity=4, n_jobs=jobs)
    yield "tsne holes", lambda jobs: embedded(with_holes, n_jobs=jobs)
    yield "umap holes", lambda jobs: embedded(with_holes, method="umap", n_jobs=jobs)
    yield "tsne encoder", lambda jobs: embedded(adata, use_rep="X_pca", encoder=encoder(), max_iter=60, n_jobs=jobs)
    wide = adata.obsm["X_pca"].astype(np.float64)
    yield "tsne float64", lambda jobs: ne.TSNE(n_jobs=jobs, max_iter=100).fit_transform(torch.from_numpy(wide)).numpy()
    rng = np.random.default_rng(0)
    points = (rng.normal(size=(6_000, 20)) + 4 * rng.normal(size=(12, 20))[rng.integers(12, size=6_000)]).astype("f4")
    many = AnnData(obsm={"X_pca": points})
    for method in ("tsne", "sne", "tsnekhorn", "umap", "largevis", "neg_tsne", "pacmap", "force_atlas2"):
        call = {"method": method, "use_rep": "X_pca", "max_iter": 60}
        if method == "tsnekhorn":
            call["n_neighbors"] = 15
        yield f"{method} on a grid", lambda jobs, call=call: embedded(many, n_jobs=jobs, **call)
    yield "tsne on a grid in 3-D", lambda jobs: ne.TSNE(n_components=1, max_iter=60, n_jobs=jobs).fit_transform(points)
    more = np.concatenate([points + rng.normal(size=points.shape).astype("f4") for _ in range(35)])[:, :8].copy()
    yield "tsne of many", lambda jobs: ne.TSNE(max_iter=20, n_jobs=jobs).fit_transform(more)
    yield "umap of many", lambda jobs: ne.UMAP(max_iter=20, n_jobs=jobs).fit_transform(more[:50_000])


def main() -> None:
    known = {}
    for line in Path(sys.argv[1]).read_text().splitlines() if len(sys.argv) > 1 else ():
        route, digits = line.rsplit(" ", 1)
        known[route] = digits
    differing, missing = [], []
    for name, run in routes():
        for n_jobs in (1, 2):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    digits = hashlib.sha256(np.ascontiguousarray(run(n_jobs)).tobytes()).hexdigest()[:16]
                except Exception as error:  # also what went wrong is compared
                    digits = f"{type(error).__name__}:{str(error)[:60]!r}".replace(" ", "_")
            route = f"{name}, {n_jobs} threads:"
            print(route, digits, flush=True)
            if known and route not in known:
                missing.append(route)
            elif known.get(route, digits) != digits:
                differing.append(route)
    if known:
        print(f"{len(known)} hashes: {len(differing)} differ, {len(missing)} are new", *differing, *missing, sep="\n  ")


if __name__ == "__main__":
    main()
