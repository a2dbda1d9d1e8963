"""The estimate of memory, and the refusal of what will not fit."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from sc_nembed.engine import presets
from sc_nembed.engine.compute import backend, memory
from sc_nembed.engine.graph import KnnGraph
from sc_nembed.engine.pipeline import embed


def ring(n: int, k: int) -> KnnGraph:
    indices = (torch.arange(n)[:, None] + torch.arange(1, k + 1)) % n
    return KnnGraph(indices.int(), torch.ones(n, k))


def test_a_run_that_does_not_fit_is_refused_before_it_begins(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 10**6)
    monkeypatch.setattr(
        "sc_nembed.engine.pipeline.nearest_neighbors", lambda *given, **options: pytest.fail("searched")
    )
    features = torch.from_numpy(np.random.default_rng(0).normal(size=(500, 10)).astype(np.float32))
    with pytest.raises(MemoryError, match=r"500 cells with 90 neighbors.* GB, and 0\.0 GB are free\. Lower"):
        embed(features, presets.tsne())
    with pytest.raises(MemoryError, match="500 cells with 7 neighbors"):
        embed(ring(500, 7), presets.tsne())


def test_nothing_is_refused_where_nobody_knows_what_is_free(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: None)
    memory.check(10**9, 50, 90)


def test_exact_sums_of_too_many_cells_are_refused_before_the_search(monkeypatch):
    monkeypatch.setattr(
        "sc_nembed.engine.pipeline.nearest_neighbors", lambda *given, **options: pytest.fail("searched")
    )
    with pytest.raises(ValueError, match="51000 cells in 4 dimension"):
        embed(torch.rand(51_000, 4), replace(presets.tsne(), n_components=4))


def test_available_memory_is_what_the_machine_has_at_most():
    available = backend.available_memory()
    assert 0 < available <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


PEAK = """
import sys, numpy as np, torch
from dataclasses import replace
from pathlib import Path
from sc_nembed.engine import presets
from sc_nembed.engine.pipeline import embed
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
rng = np.random.default_rng(0)
def cells(n):
    centers = 10 * rng.normal(size=(50, 30))
    return torch.from_numpy((centers[rng.integers(50, size=n)] + rng.normal(size=(n, 30))).astype("f"))
config = replace(presets.tsne(), max_iter=20)
embed(cells(6000), config)  # what is loaded once
given = cells(int(sys.argv[1]))
Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is held
before = peak()
embed(given, config)
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_estimate_covers_the_peak_and_is_not_far_above_it():
    n = 60_000
    found = subprocess.run([sys.executable, "-c", PEAK, str(n)], capture_output=True, text=True, check=True)
    assert 0.4 * memory.estimated(n, 30, 90) < int(found.stdout) < memory.estimated(n, 30, 90)


GRID_PEAK = """
import torch
from pathlib import Path
from sc_nembed.engine.compute import backend
from sc_nembed.engine.kernel import StudentT
from sc_nembed.engine.radial_sum import RADIAL_SUMS
from sc_nembed.engine.world import SERIAL
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
options = dict(n_components=3, tolerance=None, device=torch.device("cpu"), dtype=torch.float32, world=SERIAL)
points = torch.rand(20_000, 3)
with backend.session(2):
    plan = RADIAL_SUMS["fft"](StudentT(), **options)
    plan(points, points, 0)  # what is loaded once
    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    plan(500 * points, 500 * points, 0)
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_estimate_covers_the_largest_grid_in_three_dimensions():
    found = subprocess.run([sys.executable, "-c", GRID_PEAK], capture_output=True, text=True, check=True)
    assert 0.4 * memory.GRID_3D < int(found.stdout) < memory.GRID_3D
    assert memory.estimated(1000, 50, 90, 3) > memory.estimated(1000, 50, 90, 2)
