"""The package itself: light import, public names, the demo."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PUBLIC = {
    "sc_nembed": [
        "AffinityMatcher",
        "COSNE",
        "ForceAtlas2",
        "InfoTSNE",
        "LargeVis",
        "LocalMAP",
        "NCTSNE",
        "NegTSNE",
        "NeighborEmbedding",
        "PACMAP",
        "SNE",
        "TSNE",
        "TSNEkhorn",
        "UMAP",
        "datasets",
        "get",
        "pl",
        "pp",
        "tl",
    ],
    "sc_nembed.datasets": ["snareseq"],
    "sc_nembed.tl": ["neighbor_embedding", "tsne", "umap"],
    "sc_nembed.pl": ["embedding", "loss"],
}
PUBLIC |= {"sc_nembed.get": ["history"]}


def test_import_is_light_and_has_no_side_effects(python):
    program = (
        "import json, logging, os, sys, warnings\n"
        "def state(): return [str(f) for f in warnings.filters], dict(os.environ), len(logging.root.handlers)\n"
        "before = state()\n"
        "import sc_nembed, sc_nembed.tl, sc_nembed.pl, sc_nembed.pp, sc_nembed.get\n"
        "heavy = {'torch', 'faiss', 'pykeops', 'numba', 'scanpy', 'anndata', 'matplotlib', 'sklearn'} & "
        "set(sys.modules)\n"
        "print(json.dumps([before == state(), sorted(heavy)]))"
    )
    assert json.loads(python(program)) == [True, []]


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_can_be_had_twice(module):
    imported = importlib.import_module(module)
    assert set(PUBLIC[module]) <= set(dir(imported))
    for name in PUBLIC[module]:
        assert getattr(imported, name) is getattr(imported, name)
        assert callable(getattr(imported, name)) or module == "sc_nembed"
    with pytest.raises(AttributeError, match="available"):
        imported.nothing_of_that_name  # noqa: B018


@pytest.mark.parametrize("module", [name for name in PUBLIC if name != "sc_nembed"])
def test_public_functions_say_what_they_take_and_give(module):
    imported = importlib.import_module(module)
    for name in PUBLIC[module]:
        documented = getattr(imported, name).__doc__
        assert all(section in documented for section in ("Parameters\n", "Returns\n"))


def test_demo_writes_pictures_data_and_a_table(tmp_path):
    run = subprocess.run(
        [sys.executable, ROOT / "tutorials" / "demo.py", tmp_path],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    for word in ("input used", "cells", "edges", "seconds, total", "KL divergence", "kNN recall", str(tmp_path)):
        assert word in run.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"embedding.png", "loss.png", "pbmc68k_reduced.h5ad"}
