"""Sphinx builds the documents as HTML: ``make docs``. The source directory is the root of the repository."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "audiohookd"
root_doc = "docs/index"
# Not every .rst file of the tree: an environment in .venv has many.
include_patterns = ["*.rst", "docs/*.rst"]
exclude_patterns = [".*", "audiohookd", "bench", "build", "findings", "plugins", "tests", "var"]
extensions = ["sphinx.ext.autodoc", "diagrams", "repository_links", "zope_interfaces"]
# Literal blocks are shell commands, logs, JSON and diagrams: without a language no highlighter can be wrong.
highlight_language = "none"
# The date of a build would make each build differ.
html_last_updated_fmt = None
html_show_copyright = False
html_theme = "alabaster"
html_theme_options = {"page_width": "1280px", "body_max_width": "none", "globaltoc_maxdepth": 1}
html_copy_source = False
autodoc_member_order = "bysource"
# As in the source: the value of a constant can be a whole audio file.
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "undoc-members": True, "show-inheritance": True}
