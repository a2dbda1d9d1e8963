"""Devices, threads and optional libraries: the one place where they are resolved.

Hot loops on the CPU are serial numba functions over a range of rows that release the GIL; `parallel` hands fixed ranges
of rows to a small pool of Python threads. Which thread computes a range never changes what is computed or in which
order it is added up, so the result has the same bits for any number of threads. The pool sleeps when idle (no spinning
OpenMP team), is rebuilt in a forked child, and any number of Python threads may use the engine: one lock serialises
them.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

BACKENDS = ("faiss", "keops")
_lock = threading.RLock()
_n_jobs = 1
_forked = False
_pools: dict[int, ThreadPoolExecutor] = {}


def _after_fork_in_child() -> None:
    global _lock, _forked
    _lock, _forked = threading.RLock(), True
    _pools.clear()  # its threads did not survive the fork


if sys.platform != "win32":  # nothing forks there
    os.register_at_fork(after_in_child=_after_fork_in_child)


def available_cores() -> int:
    """Cores this process may use: CPU affinity, the cgroup's quota and SLURM's allocation, whichever is smallest."""
    limits = [len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1]
    quota_file = Path("/sys/fs/cgroup/cpu.max")
    if quota_file.exists():
        quota, period = quota_file.read_text().split()[:2]
        if quota != "max":
            limits.append(max(1, round(int(quota) / int(period))))
    slurm = os.environ.get("SLURM_CPUS_PER_TASK", "")
    if slurm.isdigit():
        limits.append(max(1, int(slurm)))
    return min(limits)


def available_memory() -> int | None:
    """Bytes this process may still take: what the machine has free and the cgroup leaves; None where nobody says."""
    limits = []
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        limits += [int(line.split()[1]) * 1024 for line in meminfo.read_text().splitlines() if "MemAvailable" in line]
    group = Path("/sys/fs/cgroup")
    limit = group / "memory.max"
    if limit.exists() and limit.read_text().strip() != "max":
        statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        used = int((group / "memory.current").read_text()) - int(statistics["inactive_file"])  # files can be dropped
        limits.append(max(0, int(limit.read_text()) - used))
    return min(limits, default=None)


def resolve_n_jobs(n_jobs: int | None) -> int:
    """Number of threads for a request in scikit-learn's convention (-1: all cores, -2: all but one)."""
    if n_jobs is None:
        return available_cores()
    if isinstance(n_jobs, bool) or int(n_jobs) != n_jobs or n_jobs == 0:
        raise ValueError(f"`n_jobs` must be a positive integer, -1 for all cores, or None; got {n_jobs!r}.")
    n_jobs = int(n_jobs)
    return n_jobs if n_jobs > 0 else max(1, available_cores() + 1 + n_jobs)


def resolve_device(device: str | torch.device) -> torch.device:
    """The torch device for a request; "auto" is cuda if present, else cpu."""
    if str(device) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"Unknown `device` {device!r}: expected 'auto', 'cpu', 'cuda' or 'cuda:<index>'.") from error
    if resolved.type not in ("cpu", "cuda"):
        raise ValueError(f"`device` {device!r} is not supported: expected 'auto', 'cpu', 'cuda' or 'cuda:<index>'.")
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"`device={str(device)!r}` was asked for, but torch finds no CUDA device. Use device='cpu'.")
    return resolved


@contextlib.contextmanager
def session(n_jobs: int | None) -> Iterator[int]:
    """Hold the engine's lock and use as many threads as are asked for, see `resolve_n_jobs`; yields their number.

    torch itself gets one: its OpenMP team would spin between two calls and take a core from the pool. Functions that
    live off torch's own threads ask for them with `torch_threads`.
    """
    global _n_jobs
    n_threads = resolve_n_jobs(n_jobs)
    with _lock, torch_threads(1), _little_garbage():
        before, _n_jobs = _n_jobs, n_threads
        try:
            yield n_threads
        finally:
            _n_jobs = before


@contextlib.contextmanager
def _little_garbage() -> Iterator[None]:
    """Let the garbage collector leave out what was there before, or it goes through all of it again and again while
    kernels are compiled.
    """
    if gc.get_freeze_count():  # somebody does so already
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextlib.contextmanager
def torch_threads(n_threads: int) -> Iterator[None]:
    """Let torch use that many threads, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def current_n_jobs() -> int:
    """Threads the running session may use."""
    return _n_jobs


def openmp_threads() -> int:
    """Threads for a library with an OpenMP team: one in a forked child, where waiting for the team never ends."""
    return 1 if _forked else _n_jobs


def chunk_bounds(n_rows: int, rows_per_chunk: int) -> list[tuple[int, int]]:
    """Row ranges of about equal length; they depend on the number of rows alone."""
    n_chunks = max(1, -(-n_rows // rows_per_chunk))
    edges = [n_rows * i // n_chunks for i in range(n_chunks + 1)]
    return list(itertools.pairwise(edges))


def parallel(kernel: Callable, bounds: list[tuple[int, int]], *args: object) -> None:
    """Call `kernel(chunk, begin, end, *args)` for every range of rows, on the session's threads.

    The kernel has to release the GIL and write only to its own rows or to its own entry `chunk` of a buffer.
    """
    n_workers = min(_n_jobs, len(bounds))
    if n_workers == 1:
        for chunk, (begin, end) in enumerate(bounds):
            kernel(chunk, begin, end, *args)
        return
    queue = iter(enumerate(bounds))

    def work() -> None:
        for chunk, (begin, end) in queue:  # next() of an enumerate is atomic under the GIL
            kernel(chunk, begin, end, *args)

    if n_workers not in _pools:
        _pools[n_workers] = ThreadPoolExecutor(n_workers - 1, thread_name_prefix="sc_nembed")
    futures = [_pools[n_workers].submit(work) for _ in range(n_workers - 1)]
    try:
        work()
    finally:
        for future in futures:
            future.result()


def as_array(tensor: Tensor) -> np.ndarray:
    """The memory of a CPU tensor as a C-contiguous numpy array."""
    return np.ascontiguousarray(tensor.detach().numpy())


def flat(tensor: Tensor) -> np.ndarray:
    """The memory of a CPU tensor as an array of one dimension; a write to it reaches a tensor that is contiguous."""
    return as_array(tensor).reshape(-1)


def in_ipython() -> bool:
    """Whether an interactive IPython session or notebook runs us."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None
