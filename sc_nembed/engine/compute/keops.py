"""KeOps (Charlier et al. 2021): compiled reductions over all pairs whose memory is linear in the number of cells.

A reduction is a function of tensors that builds a formula of LazyTensors and reduces it. `compiled` compiles one, which
takes seconds the first time ever: KeOps keeps what it compiled in ~/.cache, or in the folder that the environment
variable KEOPS_CACHE_FOLDER names. `evaluate` evaluates one on the session's threads. A row is added up by one thread,
so the result has the same bits for any number of them.

pykeops is imported at the first use and kept silent; its settings are left as they were.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from threadpoolctl import ThreadpoolController
from torch import Tensor

from . import backend

LARGEST_NUMBER = 1 << 24  # KeOps numbers rows in the type of its arguments; float32 has all whole numbers up to here
VERBOSE = "PYKEOPS_VERBOSE", "KEOPS_VERBOSE"
MISSING = (
    "backend='keops' needs pykeops, which cannot be imported: {}. Install it by `pip install pykeops`, or by "
    "`conda install -c conda-forge pykeops`; it runs on Linux and macOS."
)
NOT_COMPILED = (
    "KeOps compiles every formula at its first use, and this failed. C++ compiler: {}. It needs g++ or clang++ in PATH "
    "or in the environment variable CXX, and the headers of Python: `apt install build-essential python3-dev` or "
    "`conda install -c conda-forge cxx-compiler`, and then a new Python process. What the compiler says is shown by "
    "`pykeops.test_torch_bindings()`."
)
_lock = threading.RLock()
_libraries: ThreadpoolController | None = None  # None: pykeops is not loaded


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.RLock()  # a thread that did not survive the fork may have held it


if sys.platform != "win32":  # nothing forks there
    os.register_at_fork(after_in_child=_after_fork_in_child)


def compiled(reduction: Callable[..., Tensor], *tensors: Tensor) -> Callable[..., Tensor]:
    """`reduction`, compiled for tensors like these; their first rows are enough.

    Raises
    ------
    ImportError
        Where pykeops is not installed.
    RuntimeError
        Where there is no C++ compiler, or none that works.
    """
    global _libraries
    with _session(), _one_process():
        try:
            reduction(*(tensor[:2] for tensor in tensors))
        except (ImportError, OSError) as error:  # of the library that should have been compiled
            raise RuntimeError(NOT_COMPILED.format(_compiler() or "none found")) from error
        _libraries = ThreadpoolController()  # the first formula has brought an OpenMP library
    return reduction


def evaluate(reduction: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """`reduction(*tensors)`, which should be compiled."""
    with _session():
        return reduction(*(tensor.contiguous() for tensor in tensors))


def place(tensor: Tensor) -> str:
    """What KeOps calls the device of a tensor; by itself it would take those of the CPU to a GPU."""
    return "CPU" if tensor.device.type == "cpu" else "GPU"


@contextlib.contextmanager
def _session() -> Iterator[None]:
    """pykeops loaded and silent, on the session's threads, for one Python thread at a time: two would compile a formula
    into the same file.
    """
    with _lock:
        _load()
        import keopscore
        import pykeops

        before = pykeops.verbose, keopscore.verbose
        pykeops.set_verbose(False)
        try:
            with _libraries.limit(limits=backend.openmp_threads(), user_api="openmp"):
                yield
        finally:
            pykeops.verbose, keopscore.verbose = before


def _load() -> None:
    global _libraries
    if _libraries is not None:
        return
    before = {name: os.environ.get(name) for name in VERBOSE}
    loaded = "pykeops" in sys.modules
    os.environ.update(dict.fromkeys(VERBOSE, "0"))  # it greets at import
    try:
        import pykeops.torch
    except ImportError as error:
        raise ImportError(MISSING.format(error)) from error
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    if not loaded:
        import keopscore

        pykeops.verbose = before["PYKEOPS_VERBOSE"] != "0"
        keopscore.verbose = "0" not in before.values()
    _libraries = ThreadpoolController()


def _compiler() -> str | None:
    """The C++ compiler in the order in which KeOps looks for one."""
    names = os.environ.get("CXX", ""), *(("clang++",) if sys.platform == "darwin" else ()), "g++"
    return next(filter(None, map(shutil.which, names)), None)


@contextlib.contextmanager
def _one_process() -> Iterator[None]:
    """Processes that share a cache folder compile one after the other: none loads a file that is half written."""
    import fcntl

    import pykeops

    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # a folder without locks, or one that is only read
            file = stack.enter_context(Path(pykeops.get_build_folder(), "sc_nembed.lock").open("w"))
            fcntl.flock(file, fcntl.LOCK_EX)
            stack.callback(fcntl.flock, file, fcntl.LOCK_UN)  # a child forked meanwhile has the file open, too
        yield
