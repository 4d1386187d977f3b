"""Sphinx: MyST pages, furo, both languages side by side, warnings as errors."""

from __future__ import annotations

import gezhi

project = "gezhi"
author = "The gezhi authors"
copyright = "the gezhi authors"
version = release = gezhi.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "gezhi 格致"
exclude_patterns = ["_build", "results"]
mathjax3_config = {"tex": {"tags": "none"}}
