"""How `make docs` builds the pages."""

project = "ringleader"
author = "the ringleader developers"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
exclude_patterns = ["requirements.txt"]
autodoc_member_order = "bysource"
autodoc_typehints = "none"
myst_heading_anchors = 3
