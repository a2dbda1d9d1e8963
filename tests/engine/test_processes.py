"""The engine beside others: in workers and forked children, on cores that are busy, and with few threads."""

import hashlib
import inspect
import json
import multiprocessing
import os
import sys
from functools import partial

import anndata as ad
import joblib
import numpy as np
import pytest
from joblib.externals.loky import get_reusable_executor

import sc_nembed as ne
from _cells import with_graph
from sc_nembed.engine.compute import backend

FORKS = pytest.mark.skipif(sys.platform == "win32", reason="nothing forks there")
PINS = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be assigned there")
GRID, FAISS = 6007, 20_011  # cells for the sums on the grid, and for the inverted file


def clusters(n, n_features=12):
    rng = np.random.default_rng(0)
    code = rng.integers(0, 50, n)
    return (rng.normal(size=(50, n_features))[code] + 0.4 * rng.normal(size=(n, n_features))).astype(np.float32)


def bits(embedding):
    return hashlib.sha256(np.ascontiguousarray(embedding).tobytes()).hexdigest()[:12]


# what every program of a fresh interpreter begins with
PRELUDE = f"""
import hashlib, json, multiprocessing, os, signal, subprocess, sys, threading, time
import numpy as np
import anndata as ad
import faiss
import sc_nembed as ne
ne.TSNE, ne.tl.neighbor_embedding  # imported here
GRID, FAISS = {GRID}, {FAISS}
{inspect.getsource(clusters)}
{inspect.getsource(bits)}
small, grid, many = clusters(700, 50), clusters(GRID), ad.AnnData(obsm={{"X_pca": clusters(FAISS)}})
def searched(n_jobs):
    options = dict(n_neighbors=15, max_iter=10, n_jobs=n_jobs)
    return ne.tl.neighbor_embedding(many, copy=True, **options).obsm["X_ne"]
RUNS = {{
    "race": lambda n_jobs: ne.TSNE(n_jobs=n_jobs).fit_transform(small),
    "grid": lambda n_jobs: ne.TSNE(n_jobs=n_jobs, max_iter=20).fit_transform(grid),
    "faiss": searched,
    "UMAP": lambda n_jobs: ne.UMAP(n_jobs=n_jobs, max_iter=20).fit_transform(grid),
    "UMAP sampled": lambda n_jobs: ne.UMAP(n_jobs=n_jobs, repulsion="sampled", max_iter=20).fit_transform(grid),
    "SNE": lambda n_jobs: ne.SNE(n_jobs=n_jobs, max_iter=20).fit_transform(small),
}}
"""
AT_REST = "the threads that linear algebra libraries start when they are loaded look for work for a while"
RUNS = ("race", "grid", "faiss", "UMAP", "UMAP sampled", "SNE")


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
def test_two_workers_give_the_bits_of_their_parent(tasks, run):
    def named(results):
        return {
            name: bits(result.obsm["z"] if isinstance(result, ad.AnnData) else result)
            for name, result in zip(tasks, results, strict=True)
        }

    expected = named(task() for task in tasks.values())
    twice = run([task for task in tasks.values() for _ in range(2)])  # neighbors in the list run at once
    for found in (named(twice[::2]), named(twice[1::2])):
        assert [name for name in tasks if found[name] != expected[name]] == []


@FORKS
def test_pool_of_forked_workers_gives_the_bits_of_their_parent(python):
    """Their parent has used every library before, so that their threads are lost."""
    code = f"""{PRELUDE}
expected = {{name: bits(run(2)) for name, run in RUNS.items()}}
def call(name): return bits(RUNS[name](2))
with multiprocessing.get_context("fork").Pool(2, initializer=signal.alarm, initargs=(60,)) as pool:
    found = pool.map_async(call, RUNS, chunksize=1).get(timeout=50)
print(json.dumps([name for name, value in zip(RUNS, found) if value != expected[name]]))
"""
    assert json.loads(python(code)) == []


@FORKS
def test_child_forked_while_a_thread_embeds_gives_the_same_bits(python):
    """The thread that holds the engine's lock, and the pool that works for it, do not exist in the child."""
    code = f"""{PRELUDE}
def outcomes(run):
    expected, found, stopped = bits(run(2)), [], threading.Event()
    def embed_on():
        while not stopped.is_set():
            found.append(bits(run(2)))
    thread = threading.Thread(target=embed_on)
    thread.start()
    time.sleep(0.1)
    child = os.fork()
    if child == 0:
        signal.alarm(25)
        os._exit(0 if bits(run(2)) == expected else 1)
    status = os.waitpid(child, 0)[1]
    stopped.set()
    thread.join()
    return status, set(found) == {{expected}}
print(json.dumps({{name: outcomes(RUNS[name]) for name in ("race", "faiss")}}))
"""
    assert json.loads(python(code)) == {"race": [0, True], "faiss": [0, True]}


# --- CPU time ---


@pytest.fixture(scope="module")
def spent(python):
    """CPU seconds by number of threads and run: of the process, of its main thread, of half a second after it."""
    code = f"""{PRELUDE}
time.sleep(0.5)  # {AT_REST}
def spent(run, n_jobs):
    process, thread = time.process_time(), time.thread_time()
    run(n_jobs)
    process, thread, after = time.process_time() - process, time.thread_time() - thread, time.process_time()
    time.sleep(0.5 if n_jobs == 2 else 0)
    return dict(process=process, thread=thread, after=time.process_time() - after)
found = {{n_jobs: {{name: spent(run, n_jobs) for name, run in RUNS.items()}} for n_jobs in (1, 2)}}
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    found["all of one"] = {{name: spent(RUNS[name], None) for name in ("grid", "faiss")}}
print(json.dumps(found))
"""
    return json.loads(python(code))


@pytest.mark.parametrize("name", RUNS)
def test_one_thread_is_the_caller_and_no_other(spent, name):
    seconds = spent["1"][name]
    assert seconds["process"] <= 1.05 * seconds["thread"] + 0.01


@PINS
@pytest.mark.parametrize("name", ["grid", "faiss"])
def test_all_cores_of_a_process_with_one_are_one_thread(spent, name):
    seconds = spent["all of one"][name]
    assert seconds["process"] <= 1.05 * seconds["thread"] + 0.01


def test_two_threads_share_the_work(spent):
    """So that what is said of one thread and of idle ones says something."""
    process, thread = (sum(seconds[key] for seconds in spent["2"].values()) for key in ("process", "thread"))
    assert process > 1.1 * thread


@pytest.mark.parametrize("name", RUNS)
def test_threads_sleep_once_an_embedding_is_done(spent, name):
    assert spent["2"][name]["after"] < 0.05


@pytest.fixture(scope="module")
def beside_others(python):
    """Bits and CPU seconds of runs on two cores: of one thread, of two, of two while three processes keep them busy."""
    busy = "import time; end = time.monotonic() + 60; print(flush=True)\nwhile time.monotonic() < end: pass"
    code = f"""{PRELUDE}
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
def measured(run, n_jobs):
    begin = time.process_time()
    found = bits(run(n_jobs))
    return found, time.process_time() - begin
def repeated(n_jobs, times=5):
    return {{name: [measured(RUNS[name], n_jobs) for _ in range(times)] for name in ("race", "grid")}}
repeated(2, 1)
one, two = repeated(1, 3), repeated(2)
others = [subprocess.Popen([sys.executable, "-c", {busy!r}], stdout=subprocess.PIPE) for _ in range(3)]
try:
    for other in others:
        other.stdout.readline()
    before = os.times().elapsed
    together = repeated(2)
    elapsed = os.times().elapsed - before
finally:
    for other in others:
        other.kill()
        other.communicate()
print(json.dumps([one, two, together, elapsed, os.times().children_user]))
"""
    one, two, together, elapsed, of_others = json.loads(python(code))
    if hasattr(os, "sched_setaffinity"):
        assert of_others > 0.5 * elapsed  # they did keep the cores busy
    return one, two, together


@pytest.mark.slow
@pytest.mark.parametrize("name", ["race", "grid"])
def test_busy_cores_do_not_change_the_bits(beside_others, name):
    assert len({found for runs in beside_others for found, _ in runs[name]}) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["race", "grid"])
def test_waiting_costs_no_cpu_time(beside_others, name):
    """A thread that waits in a loop shows beside one thread, if not beside two that wait as long without load."""
    one, two, together = (np.median([seconds for _, seconds in runs[name]]) for runs in beside_others)
    assert together <= 1.5 * two + 0.02
    assert max(two, together) <= 1.5 * one + 0.05


# --- cores ---


@PINS
def test_smaller_of_affinity_and_allocation_limits_the_cores(python, monkeypatch):
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    code = """
import json, os
from sc_nembed.engine.compute import backend
def counts(): return [backend.available_cores(), backend.resolve_n_jobs(None), backend.resolve_n_jobs(-1)]
cores, found = sorted(os.sched_getaffinity(0)), [counts()]
for n in (2, 1):
    os.sched_setaffinity(0, cores[:n])
    found.append(counts())
    os.environ["SLURM_CPUS_PER_TASK"] = "1" if n == 2 else "100000"
    found.append(counts())
    del os.environ["SLURM_CPUS_PER_TASK"]
print(json.dumps(found))
"""
    of_all, of_two, of_two_allocated_one, of_one, of_one_allocated_many = json.loads(python(code))
    assert of_all == [min(len(os.sched_getaffinity(0)), of_all[0])] * 3  # a quota may give less
    assert of_two == [min(2, of_all[0])] * 3
    assert of_two_allocated_one == of_one == of_one_allocated_many == [1] * 3


@pytest.mark.parametrize(
    ("allocated", "limit"), [("1", 1), ("2", 2), ("100000", None), ("", None), ("2(x3)", None), ("-1", None)]
)
def test_allocation_of_slurm_limits_the_cores_and_never_adds_any(monkeypatch, allocated, limit):
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    without = backend.available_cores()
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", allocated)
    assert backend.available_cores() == (without if limit is None else min(limit, without))
    assert backend.resolve_n_jobs(None) == backend.available_cores()
