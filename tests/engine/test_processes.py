"""The engine beside others: in workers and forked children, and with few cores.

What waiting and idle threads cost is measured by `benchmarks/bounds.py`.
"""

import hashlib
import inspect
import json
import multiprocessing
import os
import sys
import threading
from functools import partial

import anndata as ad
import joblib
import numpy as np
import pytest
import torch
from joblib.externals.loky import get_reusable_executor

import sc_nembed as ne
from _cells import with_graph
from sc_nembed.engine.compute import backend

forks = pytest.mark.skipif(sys.platform == "win32", reason="nothing forks there")
pins = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be assigned there")
GRID, FAISS = 6007, 20_011  # cells for the sums on the grid, and for the inverted file


def clusters(n, n_features=12):
    rng = np.random.default_rng(0)
    code = rng.integers(0, 50, n)
    return (rng.normal(size=(50, n_features))[code] + 0.4 * rng.normal(size=(n, n_features))).astype(np.float32)


def bits(embedding):
    return hashlib.sha256(np.ascontiguousarray(embedding).tobytes()).hexdigest()[:12]


# --- workers ---


@pytest.fixture(scope="module")
def tasks(pbmc):
    """Embeddings by name, to be called without arguments in any process."""
    grid = ad.AnnData(obsm={"X_pca": clusters(GRID)})
    many = ad.AnnData(obsm={"X_pca": clusters(FAISS)})
    quick = {"max_iter": 20, "n_jobs": 2, "copy": True}
    return {
        "array": partial(ne.TSNE(n_jobs=2).fit_transform, pbmc.numpy()),
        "representation, faiss": partial(ne.tl.neighbor_embedding, many, n_neighbors=15, key_added="z", **quick),
        "graph": partial(
            ne.tl.tsne, with_graph(grid), neighbors_key="neighbors", init="random", key_added="z", **quick
        ),
        "weights": partial(ne.tl.umap, with_graph(grid), obsp="connectivities", key_added="z", **quick),
    }


@pytest.fixture(scope="module")
def expected(tasks):
    """The bits of their parent."""
    return named(tasks, [task() for task in tasks.values()])


def named(tasks, results):
    return {
        name: bits(result.obsm["z"] if isinstance(result, ad.AnnData) else result)
        for name, result in zip(tasks, results, strict=True)
    }


def in_spawned_workers(tasks):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        answers = [pool.apply_async(task) for task in tasks]
        return [answer.get(timeout=100) for answer in answers]


def in_loky_workers(tasks):
    """With everything but the smallest arrays in shared memory that cannot be written to."""
    try:
        return joblib.Parallel(n_jobs=2, backend="loky", max_nbytes=1000, timeout=100)(
            joblib.delayed(task)() for task in tasks
        )
    finally:
        get_reusable_executor().shutdown(wait=True, kill_workers=True)


@pytest.mark.parametrize("run", [in_spawned_workers, in_loky_workers])
def test_two_workers_give_the_bits_of_their_parent(tasks, expected, run):
    """At once, so that the threads of each wait for cores that the other keeps busy."""
    twice = run([task for task in tasks.values() for _ in range(2)])  # neighbors in the list run at once
    for found in (named(tasks, twice[::2]), named(tasks, twice[1::2])):
        assert [name for name in tasks if found[name] != expected[name]] == []


# --- one fresh interpreter, whose threads are known ---

PROGRAM = f"""
import hashlib, json, multiprocessing, os, signal, sys, threading
import numpy as np
import anndata as ad
import sc_nembed as ne
from sc_nembed.engine.compute import backend
GRID, FAISS = {GRID}, {FAISS}
{inspect.getsource(clusters)}
{inspect.getsource(bits)}
small, grid, many = clusters(700, 50), clusters(GRID), ad.AnnData(obsm={{"X_pca": clusters(FAISS)}})
def searched(**more):
    return ne.tl.neighbor_embedding(many, copy=True, n_neighbors=15, max_iter=10, n_jobs=2, **more).obsm["X_ne"]
RUNS = {{
    "race": lambda **more: ne.TSNE(n_jobs=2, **more).fit_transform(small),
    "grid": lambda: ne.TSNE(n_jobs=2, max_iter=20).fit_transform(grid),
    "faiss": searched,
    "UMAP": lambda: ne.UMAP(n_jobs=2, max_iter=20).fit_transform(grid),
    "UMAP sampled": lambda: ne.UMAP(n_jobs=2, repulsion="sampled", max_iter=20).fit_transform(grid),
    "SNE": lambda: ne.SNE(n_jobs=2, max_iter=20).fit_transform(small),
}}
expected = {{name: bits(run()) for name, run in RUNS.items()}}

def call(name): return bits(RUNS[name]())
def differing_in_a_pool():
    with multiprocessing.get_context("fork").Pool(2, initializer=signal.alarm, initargs=(100,)) as pool:
        found = pool.map_async(call, RUNS, chunksize=1).get(timeout=100)
    return [name for name, value in zip(RUNS, found) if value != expected[name]]

def beside_a_thread(name):
    run, found, begun, stopped = RUNS[name], [], threading.Event(), threading.Event()
    def embed_on():
        while not stopped.is_set():
            found.append(bits(run(callbacks=lambda info: begun.set())))
    thread = threading.Thread(target=embed_on)
    thread.start()
    begun.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        os._exit(0 if bits(run()) == expected[name] else 1)
    status = os.waitpid(child, 0)[1]
    stopped.set()
    thread.join()
    return status, set(found) == {{expected[name]}}

def counts(): return [backend.available_cores(), backend.resolve_n_jobs(None), backend.resolve_n_jobs(-1)]
def of_cores():
    os.environ.pop("SLURM_CPUS_PER_TASK", None)
    cores, found = sorted(os.sched_getaffinity(0)), [counts()]
    for n in (2, 1):
        os.sched_setaffinity(0, cores[:n])
        found.append(counts())
        os.environ["SLURM_CPUS_PER_TASK"] = "1" if n == 2 else "100000"
        found.append(counts())
        del os.environ["SLURM_CPUS_PER_TASK"]
    return found

print(json.dumps({{
    "pool": differing_in_a_pool(),
    "thread": {{name: beside_a_thread(name) for name in ("race", "faiss")}},
    "cores": of_cores() if hasattr(os, "sched_setaffinity") else None,
}}))
"""


@pytest.fixture(scope="module")
def answers(python):
    return json.loads(python(PROGRAM, timeout=300))


@forks
def test_pool_of_forked_workers_gives_the_bits_of_their_parent(answers):
    """Their parent has used every library before, so that their threads are lost."""
    assert answers["pool"] == []


@forks
def test_child_forked_while_a_thread_embeds_gives_the_same_bits(answers):
    """The thread that holds the engine's lock, and the pool that works for it, do not exist in the child."""
    assert answers["thread"] == {"race": [0, True], "faiss": [0, True]}


# --- cores ---


@pins
def test_smaller_of_affinity_and_allocation_limits_the_cores(answers):
    of_all, of_two, of_two_allocated_one, of_one, of_one_allocated_many = answers["cores"]
    assert of_all == [min(len(os.sched_getaffinity(0)), of_all[0])] * 3  # a quota may give less
    assert of_two == [min(2, of_all[0])] * 3
    assert of_two_allocated_one == of_one == of_one_allocated_many == [1] * 3


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_session_leaves_one_thread_to_torch_and_as_many_as_asked_for_to_faiss(n_jobs):
    """What one thread is said to be: the caller and no other."""
    with backend.session(n_jobs):
        assert torch.get_num_threads() == 1
        assert backend.openmp_threads() == n_jobs
        seen = []
        backend.parallel(lambda *_: seen.append(threading.get_ident()), backend.chunk_bounds(100, 1))
    assert len(seen) == 100
    assert len(set(seen)) <= n_jobs
    assert n_jobs > 1 or set(seen) == {threading.get_ident()}


@pytest.mark.parametrize(
    ("allocated", "limit"), [("1", 1), ("2", 2), ("100000", None), ("", None), ("2(x3)", None), ("-1", None)]
)
def test_allocation_of_slurm_limits_the_cores_and_never_adds_any(monkeypatch, allocated, limit):
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    without = backend.available_cores()
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", allocated)
    assert backend.available_cores() == (without if limit is None else min(limit, without))
    assert backend.resolve_n_jobs(None) == backend.available_cores()
