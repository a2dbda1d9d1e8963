"""Code in the documentation: every block after a line `<!-- run -->`, page by page, in one namespace."""

import re
import warnings
from pathlib import Path

import matplotlib as mpl
import pytest

DOCS = Path(__file__).parent.parent / "docs"
BLOCK = re.compile(r"^<!-- run -->\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = {
    path.relative_to(DOCS).as_posix(): BLOCK.findall(path.read_text(encoding="utf-8"))
    for path in sorted(DOCS.rglob("*.md"))
    if not path.relative_to(DOCS).parts[0].startswith("_")
}
RUN = {name: blocks for name, blocks in PAGES.items() if blocks}


def run_page(name: str) -> dict:
    """Run the marked blocks of a page of docs/ one after the other; what they define."""
    namespace: dict = {"__name__": name.removesuffix(".md")}
    for number, block in enumerate(PAGES[name], start=1):
        exec(compile(block, f"{name}, block {number}", "exec"), namespace)
    return namespace


@pytest.mark.parametrize("name", RUN)
def test_marked_blocks_of_a_page_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mpl.use("Agg")
    with warnings.catch_warnings():  # anndata on the age of the file of the built-in data set
        warnings.filterwarnings("ignore", module="(anndata|scanpy|legacy_api_wrap).*")
        run_page(name)


def test_every_mark_is_before_a_block():
    for name, blocks in PAGES.items():
        assert (DOCS / name).read_text(encoding="utf-8").count("<!-- run -->") == len(blocks), name
    assert "affinities.md" in RUN


def test_own_affinity_of_the_page_is_what_it_says():
    """The number of shared neighbors over k, by sets."""
    import numpy as np
    import torch

    from engine import _truth
    from sc_nembed.engine.neighbors import nearest_neighbors

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="(anndata|scanpy|legacy_api_wrap).*")
        affinity = run_page("affinities.md")["SharedNeighborAffinity"](5)
    graph = nearest_neighbors(torch.from_numpy(np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)), 5)
    listed = [{*row.tolist()} for row in graph.indices]
    shared = np.array([[len(mine & theirs) for theirs in listed] for mine in listed], float)
    np.fill_diagonal(shared, 0)
    np.testing.assert_allclose(_truth.dense(affinity(graph)), shared / shared.sum(), rtol=1e-5)
