"""The first call compiles, and no later one does: what is compiled, how often, and for which types."""

import gc
import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest

import sc_nembed as ne
from sc_nembed.engine.compute import backend

CELLS = """
rng = np.random.default_rng(0)
cells = (rng.normal(size=(20, 50))[rng.integers(0, 20, 2700)] + 0.4 * rng.normal(size=(2700, 50))).astype(np.float32)
"""
PRELUDE = f"""
import hashlib, json, sys
import numpy as np
import torch
import sc_nembed as ne
{CELLS}
"""
FIRST_CALLS = (("ne.TSNE",), ("ne.UMAP",), ("ne.TSNE", "ne.UMAP"))
HEAVY = ("scanpy", "sklearn", "scipy.stats", "scipy.optimize", "faiss", "pykeops", "matplotlib")


def embeddings(*kinds):
    """A piece of program that embeds, and keeps what was compiled for it and the bits of every embedding."""
    return f"""
from numba.core.event import install_recorder
with install_recorder("numba:compile") as recorder:
    made = [kind(n_jobs=2, max_iter=20).fit_transform(cells) for kind in ({", ".join(kinds)},)]
def named(begun): return f"{{begun['dispatcher'].py_func.__module__}}.{{begun['dispatcher'].__name__}}{{begun['args']}}"
compiled = [named(event.data) for _, event in recorder.buffer if event.is_start]
bits = [hashlib.sha256(embedding.tobytes()).hexdigest() for embedding in made if np.isfinite(embedding).all()]
"""


@pytest.fixture(scope="module")
def later_process(python):
    """What a fresh interpreter imports for a t-SNE, and compiles for what this one has embedded before."""
    code = f"""{PRELUDE}
import anndata
adata = anndata.AnnData(shape=(300, 0), obsm={{"X_pca": cells[:300]}})
ne.tl.neighbor_embedding(adata, max_iter=5, verbose=False)
imported = [name for name in {HEAVY} if name in sys.modules]
{embeddings("ne.TSNE", "ne.UMAP")}
print(json.dumps([imported, compiled, bits]))
"""
    here = {"np": np, "ne": ne, "hashlib": hashlib}
    exec(CELLS + embeddings("ne.TSNE", "ne.UMAP"), here)
    return *json.loads(python(code)), here["bits"]


def test_what_one_process_compiled_no_later_one_does(later_process):
    _, compiled, bits, expected = later_process
    assert compiled == []
    assert bits == expected
    assert len(bits) == 2


def test_a_tsne_imports_no_library_that_it_does_not_need(later_process):
    """Each of them would take tenths of a second."""
    assert later_process[0] == []


def started(code, cache):
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"NUMBA_CACHE_DIR": str(cache)},
    )


def finished(process):
    said, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors[-2000:]
    return json.loads(said)


@pytest.mark.nightly
def test_first_call_compiles_each_kernel_once_and_later_processes_none(tmp_path):
    """Two first calls at once share the empty cache, and the kernels of both are compiled after them."""
    programs = {kinds: PRELUDE + embeddings(*kinds) + "print(json.dumps([compiled, bits]))" for kinds in FIRST_CALLS}
    first = [started(programs[kinds], tmp_path) for kinds in FIRST_CALLS[:2]]
    first = [finished(process) for process in first]
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb[ci]")}
    assert {path.suffix for path in files} == {".nbc", ".nbi"}
    for compiled, bits in first:
        kernels = [name for name in compiled if name.startswith("sc_nembed.")]  # not numba's own
        assert len(kernels) == len(set(kernels)) > 0
        assert len(bits) == 1
    compiled, bits = finished(started(programs[FIRST_CALLS[2]], tmp_path))
    assert compiled == []
    assert bits == [*first[0][1], *first[1][1]]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb[ci]")} == files


@pytest.mark.nightly
def test_kernels_are_compiled_for_one_type_and_one_more_index_width(python):
    """Whatever the source looks like: each further type would be seconds of compilation in the middle of a session."""
    code = f"""{PRELUDE}
from dataclasses import replace
import scipy.sparse as sp
from sklearn.neighbors import kneighbors_graph
from sc_nembed.engine.affinity import EntropicAffinity
from sc_nembed.engine.graph import KnnGraph
from sc_nembed.engine.neighbors import from_csr, nearest_neighbors
from sc_nembed.engine.pipeline import embed
from sc_nembed.engine.configure import configured
from sc_nembed.engine.presets import sne, tsne, umap

small, frozen = cells[:700], cells[:500].copy()
frozen.flags.writeable = False
grid = np.repeat(cells, 2, 0) + 0.1 * rng.normal(size=(5400, 50))
distances = kneighbors_graph(small, 15, mode="distance")
distances.indptr, distances.indices = distances.indptr.astype(np.int64), distances.indices.astype(np.int64)
ring = (torch.arange(65_537)[:, None] + torch.tensor([1, 2, 5])) % 65_537
wide = KnnGraph(ring.int(), torch.ones(65_537, 3))
quick = dict(max_iter=5, n_jobs=2)

# representations of every layout and type
for X in (small, np.asfortranarray(small), small[::2], small[:, ::2], frozen, small.astype(np.float64),
          np.round(small).astype(int), sp.csr_matrix(small), small.tolist(), torch.from_numpy(small).T.contiguous().T):
    for kind in (ne.TSNE, ne.UMAP):
        kind(**quick).fit(X)
# sizes, dimensions, kernels, options
for kind in (ne.TSNE, ne.UMAP):
    for X in (small, grid):
        kind(**quick).fit(X)
    for n_components in (1, 3):
        kind(n_components=n_components, **quick).fit(small)
ne.TSNE(n_jobs=1).fit(small)
ne.TSNE(perplexity=10, dof=0.5, early_exaggeration=6, **quick).fit(small)
ne.TSNE(perplexity=[10, 20.0], process_duplicates=True, lr=1, **quick).fit(np.repeat(small, 2, 0))
ne.TSNE(optimizer="Adam", init=small[:, :2], **quick).fit(small)
ne.TSNE(n_neighbors=15, metric="cosine", init="random", backend="faiss", **quick).fit(small)
ne.UMAP(repulsion="sampled", negative_sample_rate=3, **quick).fit(small)
ne.UMAP(repulsion="sampled", exclude_neighbors=True, n_components=3, **quick).fit(small)
ne.TSNE(affinity_in="symmetric_entropic", **quick).fit(small)
ne.SNE(**quick).fit(small)
ne.SNE(**quick).fit(grid)
# graphs and affinities, narrow and wide
graphs = [
    nearest_neighbors(torch.from_numpy(small), 15),
    from_csr(distances.indptr, distances.indices.astype(np.int32), distances.data.astype(np.float32)),
    EntropicAffinity(5)(nearest_neighbors(torch.from_numpy(small), 15)),
    wide,
]
for preset in (tsne, umap, sne):
    for graph in graphs:
        embed(graph, replace(preset(), init="random", **quick))
embed(wide, configured(umap(), dict(repulsion="sampled", init="random", **quick)))
for weights in (distances, distances.astype(np.float32), distances.tocoo(), distances.toarray()):
    for kind in (ne.TSNE, ne.UMAP):
        kind(affinity_in="precomputed", init="random", **quick).fit(weights)

found = {{}}
for module in [module for name, module in sys.modules.items() if name.startswith("sc_nembed.engine")]:
    for kernel in vars(module).values():
        if getattr(kernel, "signatures", None):
            signatures = [[str(kind) for kind in signature] for signature in kernel.signatures]
            found[kernel.py_func.__module__.removeprefix("sc_nembed.engine.") + "." + kernel.__name__] = signatures
print(json.dumps(found))
"""
    found = json.loads(python(code, timeout=600))
    for name in ("affinity.entropic", "affinity.fuzzy", "affinity.fill_union", "affinity.sorted_rows", "umap.epoch_2d",
                 "exact_sum.student", "grid.gather", "update.nesterov", "attraction.force_any_d"):  # fmt: skip
        assert f"fused.{name}" in found
    several = {name: kinds for name, kinds in found.items() if len(kinds) > 1}
    for name, kinds in several.items():
        different = {frozenset(pair) for pair in zip(*kinds, strict=True) if len(set(pair)) > 1}
        assert different == {frozenset({"array(uint16, 1d, C)", "array(uint32, 1d, C)"})}, name
        assert len(kinds) == 2, name
    assert {f"fused.step.{kernel}" for kernel in ("student", "rational", "gaussian")} <= set(several)


@pytest.mark.parametrize("frozen_before", [False, True])
def test_garbage_collector_is_left_as_it_was(frozen_before):
    before = gc.get_freeze_count()
    assert before == 0
    if frozen_before:
        gc.freeze()
    kept = gc.get_freeze_count()
    try:
        with backend.session(1):
            assert gc.get_freeze_count() > 0
        assert gc.get_freeze_count() == kept
    finally:
        gc.unfreeze()
    assert gc.isenabled()
