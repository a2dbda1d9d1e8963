"""Sphinx configuration."""

import importlib.metadata
import re
import shutil
from pathlib import Path

HERE = Path(__file__).parent
NOTEBOOKS = HERE.parent / "tutorials"
COPIES = HERE / "_tutorials"  # Sphinx reads nothing outside its source folder
STUBS = HERE / "_generated"  # by autosummary, one page a name

project = "sc_nembed"
author = "the sc_nembed developers"
copyright = "2026, the sc_nembed developers"
release = importlib.metadata.version("sc-nembed")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]

default_role = "literal"  # docstrings write code in single backticks
autodoc_typehints = "none"  # signatures of this width are read in the text
napoleon_custom_sections = [("Attributes", "params_style")]  # several names in one entry, as for parameters
napoleon_google_docstring = False
napoleon_use_param = False  # parameters that are explained together stay together
napoleon_use_rtype = False
smartquotes_action = "D"  # dashes; quotes are code
python_maximum_signature_line_length = 80

myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # notebooks show the outputs they were committed with
nb_merge_streams = True

html_theme = "sphinx_book_theme"
html_title = "sc_nembed"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_theme_options = {
    "home_page_in_toc": True,
    "navbar_persistent": [],  # the sidebar has the search field
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
}


def prepare(*_):
    """Copy the notebooks of `tutorials/` to where Sphinx finds them, and forget pages of names that are gone."""
    for folder in (COPIES, STUBS):
        shutil.rmtree(folder, ignore_errors=True)
    COPIES.mkdir()
    for path in NOTEBOOKS.glob("*.ipynb"):
        shutil.copy2(path, COPIES)


def as_list_tables(app, what, name, obj, options, lines):
    """Turn the Markdown tables of docstrings into those of reStructuredText."""
    found, table = [], []
    for line in [*lines, ""]:
        if line.startswith("|") and line.endswith("|"):
            table.append([cell.strip() for cell in line.strip("|").split(" | ")])
            continue
        if table:
            found += [".. list-table::", "   :header-rows: 1", ""]
            rows = [row for row in table if not re.fullmatch(r"[-|: ]+", "|".join(row))]
            found += [f"   {'* ' if i == 0 else '  '}- {cell}" for row in rows for i, cell in enumerate(row)]
            found.append("")
        table = []
        found.append(line)
    lines[:] = found


def setup(app):
    app.connect("config-inited", prepare)
    app.connect("autodoc-process-docstring", as_list_tables)
