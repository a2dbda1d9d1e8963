"""The tutorials run from top to bottom, and are committed with what they print and draw."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parent.parent / "tutorials"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.mark.tutorial
@pytest.mark.usefixtures("data_dir")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_tutorial_runs(path, tmp_path, monkeypatch):
    # the data come from the folder: no network is needed, and what a download left in the user's cache is not used
    monkeypatch.setenv("SC_NEMBED_CACHE", str(tmp_path))
    monkeypatch.setenv("SC_NEMBED_DATA", os.path.abspath(os.environ["SC_NEMBED_DATA"]))
    monkeypatch.setenv("https_proxy", "http://localhost:9")
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    said = [output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [text for text in said if "Warning" in text or "Traceback" in text]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_tutorial_is_committed_with_its_outputs(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert any("image/png" in output.get("data", {}) for cell in cells for output in cell.outputs)
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]


def test_there_is_a_tutorial():
    assert NOTEBOOKS
