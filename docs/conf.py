"""Sphinx configuration."""

import importlib.metadata

project = "sc_nembed"
author = "the sc_nembed developers"
copyright = "2026, the sc_nembed developers"
release = importlib.metadata.version("sc-nembed")

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax", "myst_parser"]
autodoc_typehints = "none"  # signatures of this width are read in the text
napoleon_google_docstring = False
napoleon_use_rtype = False
myst_enable_extensions = ["dollarmath"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "sc_nembed"
