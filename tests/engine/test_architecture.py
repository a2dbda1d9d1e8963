"""The engine knows tensors only, and stays in small files."""

import ast
import re
from pathlib import Path

import pytest

import sc_nembed.engine
from sc_nembed.engine.affinity import AFFINITIES
from sc_nembed.engine.neighbors import KNN
from sc_nembed.engine.radial_sum import RADIAL_SUMS

ENGINE = Path(sc_nembed.engine.__file__).parent
PACKAGE, ROOT = ENGINE.parent, ENGINE.parent.parent
FILES = sorted(ENGINE.rglob("*.py"))
NAMES = [str(path.relative_to(ENGINE)) for path in FILES]
BANNED = {"anndata", "scanpy", "pandas", "matplotlib"}


def test_engine_imports_neither_anndata_nor_plots(python):
    """Not where every file of it is imported, nor where it embeds."""
    modules = [f"sc_nembed.engine.{name[:-3].replace('/', '.')}".removesuffix(".__init__") for name in NAMES]
    code = f"""
import importlib, sys
import numpy as np
import torch
for name in {modules}: importlib.import_module(name)
from sc_nembed.engine.pipeline import embed
from sc_nembed.engine.presets import tsne
embed(torch.from_numpy(np.random.default_rng(0).normal(size=(60, 5))), tsne())
print(sorted({BANNED} & set(sys.modules)))
"""
    assert python(code) == "[]"


def test_engine_reaches_for_nothing_outside_of_it():
    """By relative imports; that no file names a banned package is ruff's to say."""
    for path in FILES:
        levels = [
            node.level for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.ImportFrom)
        ]
        assert max(levels, default=0) <= len(path.relative_to(ENGINE).parts), path.name


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_files_are_short_and_documented(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 300
    assert ast.get_docstring(ast.parse(text))
    assert not re.search(r"@[A-Z]+@", text), "a placeholder is left"


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_state_is_not_guessed(path):
    """Neither `hasattr` nor `getattr` with a default."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "hasattr"
            assert not (node.func.id == "getattr" and len(node.args) > 2)


def test_every_file_of_the_engine_stands_in_the_table_of_the_design():
    """By its own name or by that of its folder."""
    page = (ROOT / "docs/design.md").read_text(encoding="utf-8")
    table = [line.split("|")[1] for line in page.split("## Folders")[1].split("##")[0].splitlines() if "|" in line]
    named = set(re.findall(r"`([^`]+)`", " ".join(table)))
    told = {name.removeprefix("engine/") for name in named}
    assert {name for name in NAMES if name != "__init__.py" and not told & {name, name.split("/")[0] + "/"}} == set()
    paths = [name for name in named if not any((base / name).exists() for base in (ROOT, PACKAGE, ENGINE))]
    assert paths == []


def test_every_path_that_contributing_names_exists():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = re.findall(r"`([\w./]+(?:\.py|\.md|/))`", text)
    assert len(paths) > 20
    folders = (ROOT, PACKAGE, ENGINE, ENGINE / "presets")
    assert [path for path in paths if not any((folder / path).exists() for folder in folders)] == []


@pytest.mark.parametrize(
    ("registry", "package"), [(RADIAL_SUMS, "radial_sum"), (KNN, "neighbors"), (AFFINITIES, "affinity")], ids=str
)
def test_every_entry_of_a_registry_is_in_the_table_of_its_package(registry, package):
    documented = ast.get_docstring(ast.parse((ENGINE / package / "__init__.py").read_text(encoding="utf-8")))
    assert {name for name in registry if f"| {name} |" not in documented} == set()
