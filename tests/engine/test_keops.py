"""KeOps: every potential and the neighbors against the torch entries; compilers, threads, processes and memory."""

import os
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import torch
from threadpoolctl import threadpool_info

from sc_nembed.engine.compute import backend, keops
from sc_nembed.engine.kernel import Gaussian, Rational, RationalRepulsion, StudentT
from sc_nembed.engine.neighbors import KNN, nearest_neighbors
from sc_nembed.engine.radial_sum import RADIAL_SUMS
from sc_nembed.engine.world import SERIAL

from . import _truth

UMAP = RationalRepulsion(1.577, 0.895)
# a formula is compiled for seconds where the cache has none, so these are few
KERNELS = [StudentT(1.0), StudentT(0.5), Gaussian(1.3), Rational(1.577, 0.895), UMAP]
PRELUDE = """
import os, sys, torch
from sc_nembed.engine.compute import backend, keops
from sc_nembed.engine.kernel import StudentT
from sc_nembed.engine.neighbors import KNN
from sc_nembed.engine.radial_sum import RADIAL_SUMS
from sc_nembed.engine.world import SERIAL
def plan():
    options = dict(n_components=2, tolerance=None, device=torch.device("cpu"), dtype=torch.float32, world=SERIAL)
    return RADIAL_SUMS["keops"](StudentT(1.0), **options)
"""


@dataclass(frozen=True)
class Inverse:
    """A potential that is infinite at 0."""

    def value(self, sq_dist):
        return 1 / sq_dist

    def slope(self, sq_dist):
        return -1 / (sq_dist * sq_dist)


def plan(name, potential, n_components=2, dtype=torch.float32):
    return RADIAL_SUMS[name](
        potential, n_components=n_components, tolerance=None, device=torch.device("cpu"), dtype=dtype, world=SERIAL
    )


def cloud(n, n_components=2, dtype=torch.float32, seed=0):
    return 3 * torch.randn(n, n_components, generator=torch.Generator().manual_seed(seed)).to(dtype)


def assert_equal_sums(potential, n_components, dtype, tolerance):
    sources, others, weights = cloud(300, n_components, dtype), cloud(130, n_components, dtype, 1), torch.rand(300)
    ours, theirs = (plan(name, potential, n_components, dtype) for name in ("keops", "torch"))
    for targets, first in ((sources, 0), (sources[90:210], 90), (others, None)):
        for some in (None, weights.to(dtype)):
            for found, expected in zip(
                ours.field(sources, some)(targets, first), theirs(targets, sources, first, some), strict=True
            ):
                assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
                assert _truth.relative(found, expected) <= tolerance


@pytest.mark.parametrize("potential", KERNELS, ids=str)
def test_sums_equal_torch(potential):
    assert_equal_sums(potential, 2, torch.float32, 1e-5)


def test_sums_in_double_precision_equal_torch():
    """KeOps computes powers in single precision, whatever its arguments."""
    assert_equal_sums(UMAP, 2, torch.float64, 1e-12)


def test_own_source_is_left_out_where_the_potential_is_infinite():
    """In 1-D; a product with 0 would be NaN."""
    assert_equal_sums(Inverse(), 1, torch.float32, 1e-5)


def test_own_source_is_left_out_and_not_subtracted():
    """The other sources add up to 1e-8 of it."""
    sources = 1e4 * cloud(300)
    found = plan("keops", StudentT(1.0))(sources, sources, 0)
    for got, truth in zip(found, _truth.radial_sum(sources, sources, 0), strict=True):
        assert _truth.relative(got, truth) <= 1e-5


def test_more_rows_than_single_precision_counts(monkeypatch):
    sources = cloud(300)
    expected = plan("torch", UMAP)(sources, sources, 0)
    monkeypatch.setattr(keops, "LARGEST_NUMBER", 200)
    for found, sums in zip(plan("keops", UMAP)(sources, sources, 0), expected, strict=True):
        assert found.dtype == torch.float32
        assert _truth.relative(found, sums) <= 1e-5


def test_neighbors_equal_torch():
    features = cloud(300, 20)
    ours, theirs = (nearest_neighbors(features, 15, method=name) for name in ("keops", "torch"))
    assert torch.equal(ours.indices, theirs.indices)
    assert torch.equal(ours.distances, theirs.distances)
    assert KNN["keops"](features, 7).shape == (300, 8)
    assert KNN["keops"](features[:5], 15).shape == (5, 5)


def test_threads_change_no_bit():
    features, sources, made = cloud(300, 20), cloud(300), plan("keops", StudentT(1.0))
    found = []
    for n_jobs in (1, 2, 3):
        with backend.session(n_jobs):
            found.append((KNN["keops"](features, 15), *made(sources, sources, 0)))
    for again in found[1:]:
        assert all(torch.equal(one, other) for one, other in zip(found[0], again, strict=True))


def test_evaluation_uses_the_threads_of_the_session():
    plan("keops", StudentT(1.0))
    threads = lambda: {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "openmp"}  # noqa: E731
    before = threads()
    for n_jobs in (1, 2, 3):
        with backend.session(n_jobs):
            assert keops.evaluate(threads) == {n_jobs}
    assert threads() == before


@pytest.mark.skipif(sys.platform == "win32", reason="nothing forks there")
def test_forked_child_uses_what_its_parent_compiled(python):
    code = """
made, points = plan(), torch.randn(2000, 2)
with backend.session(2):
    mass, push = made(points, points, 0)
child = os.fork()
if child == 0:
    with backend.session(2):
        again = plan()(points, points, 0)
    print(torch.equal(mass, again[0]) and torch.equal(push, again[1]), flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""
    assert python(PRELUDE + code, timeout=90) == "True"


@pytest.mark.parametrize("user", [False, True], ids=["ours", "the user's"])
def test_pykeops_is_imported_at_first_use_and_its_settings_are_left(python, user):
    """Those of a user who imported it before, and its own where we do; we print nothing."""
    code = f"""
if {user}:
    import pykeops
    pykeops.set_verbose(False)
print("pykeops" in sys.modules)
plan()
import keopscore, pykeops
print(pykeops.verbose, keopscore.verbose, [name for name in os.environ if "KEOPS_VERBOSE" in name])
"""
    said = python(PRELUDE + code).splitlines()
    assert said[-2:] == [f"{user}", f"{not user} {not user} []"]
    assert user or len(said) == 2  # pykeops greets a user who imports it


def test_missing_pykeops_says_what_to_install(python):
    code = """
sys.modules["pykeops"] = None
for use in (plan, lambda: KNN["keops"](torch.rand(30, 4), 5)):
    try:
        use()
    except ImportError as error:
        print(error)
"""
    said = python(PRELUDE + code).splitlines()
    assert len(said) == 2
    assert all("pip install pykeops" in line and "conda-forge pykeops" in line for line in said)


@pytest.mark.parametrize("compiler", ["none", "broken"])
def test_missing_compiler_says_what_to_install(python, tmp_path, compiler):
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(broken.stat().st_mode | stat.S_IXUSR)
    code = f"""
import os
os.environ.update(PATH="", CXX={str(broken) if compiler == "broken" else ""!r}, KEOPS_CACHE_FOLDER={str(tmp_path)!r})
{PRELUDE}
for _ in range(2):
    try:
        plan()
    except RuntimeError as error:
        print(error)
"""
    said = python(code).splitlines()
    assert len(said) == 2
    for line in said:
        assert f"C++ compiler: {'none found' if compiler == 'none' else broken}" in line
        assert all(word in line for word in ("g++", "clang++", "conda-forge cxx-compiler", "build-essential"))


def test_threads_and_processes_compile_one_formula_once(python, tmp_path):
    """Two threads in each of two processes, and an empty cache; nothing else is printed."""
    code = f"""
import os
os.environ["KEOPS_CACHE_FOLDER"] = {str(tmp_path)!r}
{PRELUDE}
from concurrent.futures import ThreadPoolExecutor
points = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
with ThreadPoolExecutor(2) as pool:
    sums = list(pool.map(lambda _: plan()(points, points, 0)[0].sum().item(), range(2)))
print(*sums)
"""
    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(python, [code, code]))
    points = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
    sums = {float(word) for line in said for word in line.split()}
    assert len(sums) == 1
    assert sums.pop() == pytest.approx(_truth.radial_sum(points, points, 0)[0].sum(), rel=1e-5)
    assert len([name for _, _, files in os.walk(tmp_path) for name in files if name.endswith(".so")]) == 1


@pytest.mark.slow
def test_memory_is_linear_in_the_cells(python):
    """60 000 cells, whose pairs are 14 GB in single precision; ru_maxrss is in kB, in bytes on macOS."""
    code = """
import resource
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
features, points, made = torch.randn(60_000, 20), torch.randn(60_000, 2), plan()
before = peak()
with backend.session(2):
    mass, _ = made(points, points, 0)
    found = KNN["keops"](features, 15)
assert mass.isfinite().all() and found.shape == (60_000, 16)
print(peak() - before)
"""
    assert float(python(PRELUDE + code, timeout=600)) < 500
