"""KeOps: every potential and the neighbors against the torch entries; compilers, threads, processes and memory."""

import json
import stat
import sys
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
    features = cloud(300, 50)
    ours, theirs = (nearest_neighbors(features, 15, method=name) for name in ("keops", "torch"))
    assert torch.equal(ours.indices, theirs.indices)
    assert torch.equal(ours.distances, theirs.distances)
    assert KNN["keops"](features, 7).shape == (300, 8)
    assert KNN["keops"](features[:5], 15).shape == (5, 5)


def test_threads_change_no_bit():
    features, sources, made = cloud(300, 50), cloud(300), plan("keops", StudentT(1.0))
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


# --- what only a fresh interpreter can answer: one, that forks a child for each question before pykeops is imported ---

PROGRAM = """
import json, os, resource, sys, torch
from concurrent.futures import ThreadPoolExecutor
from sc_nembed.engine.compute import backend, keops
from sc_nembed.engine.kernel import StudentT
from sc_nembed.engine.neighbors import KNN
from sc_nembed.engine.radial_sum import RADIAL_SUMS
from sc_nembed.engine.world import SERIAL
folder = sys.argv[1]
points = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))

def plan():
    options = dict(n_components=2, tolerance=None, device=torch.device("cpu"), dtype=torch.float32, world=SERIAL)
    return RADIAL_SUMS["keops"](StudentT(1.0), **options)

def begun(question):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(writer, 1)
        status = 1
        try:
            question()
            status = 0
        finally:
            sys.stdout.flush()
            os._exit(status)
    os.close(writer)
    return child, reader

def ended(child, reader):
    said = os.fdopen(reader).read()
    assert os.waitpid(child, 0)[1] == 0, said
    return said.splitlines()

def with_settings(of_user):
    if of_user:
        import pykeops
        pykeops.set_verbose(False)
    print("pykeops" in sys.modules)
    plan()
    import keopscore, pykeops
    print(pykeops.verbose, keopscore.verbose, [name for name in os.environ if "KEOPS_VERBOSE" in name])

def with_errors(*uses):
    for use in uses:
        try:
            use()
        except (ImportError, RuntimeError) as error:
            print(error)

def without_pykeops():
    sys.modules["pykeops"] = None
    with_errors(plan, lambda: KNN["keops"](torch.rand(30, 4), 5))

def with_compiler(path):
    os.environ.update(PATH="", CXX=path, KEOPS_CACHE_FOLDER=f"{folder}/none")
    with_errors(plan, plan)

def by_two_threads():
    os.environ["KEOPS_CACHE_FOLDER"] = f"{folder}/shared"
    with ThreadPoolExecutor(2) as pool:
        print(*pool.map(lambda _: plan()(points, points, 0)[0].sum().item(), range(2)))

def again(mass, push):
    with backend.session(2):
        found = plan()(points, points, 0)
    print(torch.equal(mass, found[0]) and torch.equal(push, found[1]))

def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
def megabytes():
    features, many, made = torch.randn(20_000, 20), torch.randn(20_000, 2), plan()
    before = peak()
    with backend.session(2):
        mass, _ = made(many, many, 0)
        found = KNN["keops"](features, 15)
    assert mass.isfinite().all() and found.shape == (20_000, 16)
    return peak() - before

answers = {
    "settings": ended(*begun(lambda: with_settings(False))),
    "settings of the user": ended(*begun(lambda: with_settings(True))),
    "without pykeops": ended(*begun(without_pykeops)),
    "without compiler": ended(*begun(lambda: with_compiler(""))),
    "broken compiler": ended(*begun(lambda: with_compiler(f"{folder}/broken"))),
}
processes = [begun(by_two_threads) for _ in range(2)]
answers["at once"] = [ended(*process) for process in processes]
with backend.session(2):
    sums = plan()(points, points, 0)
answers["forked"] = ended(*begun(lambda: again(*sums)))
answers["megabytes"] = megabytes()
print(json.dumps(answers))
"""
forks = pytest.mark.skipif(sys.platform == "win32", reason="nothing forks there")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With a compiler that fails."""
    folder = tmp_path_factory.mktemp("keops")
    broken = folder / "broken"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(broken.stat().st_mode | stat.S_IXUSR)
    return folder


@pytest.fixture(scope="module")
def answers(python, folder):
    return json.loads(python(f"import sys; sys.argv[1:] = [{str(folder)!r}]\n{PROGRAM}", timeout=600))


@forks
def test_forked_child_uses_what_its_parent_compiled(answers):
    assert answers["forked"] == ["True"]


@forks
def test_pykeops_is_imported_at_first_use_and_its_settings_are_left(answers):
    """Those of a user who imported it before, and its own where we do; we print nothing."""
    assert answers["settings"] == ["False", "True True []"]
    assert answers["settings of the user"][-2:] == ["True", "False False []"]  # pykeops greets who imports it


@forks
def test_missing_pykeops_says_what_to_install(answers):
    assert len(answers["without pykeops"]) == 2
    assert all("pip install pykeops" in line and "conda-forge pykeops" in line for line in answers["without pykeops"])


@forks
@pytest.mark.parametrize("kind", ["without", "broken"])
def test_missing_compiler_says_what_to_install(answers, folder, kind):
    said = answers[f"{kind} compiler"]
    assert len(said) == 2
    for line in said:
        assert f"C++ compiler: {'none found' if kind == 'without' else folder / 'broken'}" in line
        assert all(word in line for word in ("g++", "clang++", "conda-forge cxx-compiler", "build-essential"))


@forks
def test_threads_and_processes_compile_one_formula_once(answers, folder):
    """Two threads in each of two processes, and an empty cache; nothing else is printed."""
    points = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
    sums = {float(word) for lines in answers["at once"] for line in lines for word in line.split()}
    assert len(sums) == 1
    assert sums.pop() == pytest.approx(_truth.radial_sum(points, points, 0)[0].sum(), rel=1e-5)
    assert len(list((folder / "shared").rglob("*.so"))) == 1


@forks
def test_memory_is_linear_in_the_cells(answers):
    """20 000 cells, whose pairs are 1.6 GB in single precision; ru_maxrss is in kB, in bytes on macOS."""
    assert answers["megabytes"] < 200
