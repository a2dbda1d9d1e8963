"""Shared fixtures: the data set that ships inside scanpy, and the folder of larger ones where there is one."""

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(scope="session")
def pbmc() -> torch.Tensor:
    """50 principal components of 700 blood cells, (700, 50) float32."""
    import scanpy as sc

    with warnings.catch_warnings():  # anndata on the age of the file
        warnings.simplefilter("ignore")
        adata = sc.datasets.pbmc68k_reduced()
    return torch.from_numpy(np.array(adata.obsm["X_pca"], np.float32))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of h5ad files named by SC_NEMBED_DATA; what asks for it is skipped where there is none."""
    folder = os.environ.get("SC_NEMBED_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("SC_NEMBED_DATA does not name a folder of data sets")
    return Path(folder)


@pytest.fixture(scope="session")
def real_features(data_dir: Path) -> Callable[[str], torch.Tensor]:
    """`real_features(name)`: the representation X_pca of a data set of the folder, float32."""
    import anndata

    def load(name: str) -> torch.Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            adata = anndata.read_h5ad(data_dir / f"{name}.h5ad")
        return torch.from_numpy(np.array(adata.obsm["X_pca"], np.float32))

    return load


@pytest.fixture(scope="session")
def python() -> Callable[..., str]:
    """`python(code)`: what a fresh interpreter prints on running it; a crash fails the test alone, not the session."""

    def run(code: str, timeout: float = 120) -> str:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=timeout)
        assert done.returncode == 0, f"exit status {done.returncode}\n{done.stderr[-2000:]}"
        return done.stdout.strip()

    return run
