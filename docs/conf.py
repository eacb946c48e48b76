"""Sphinx: these pages, and a reference made from the docstrings. ``make docs`` writes ``build/docs/index.html``."""

from importlib import import_module

# Names that are imported when somebody asks for them are asked for here, so that autodoc finds them.
for package in map(
    import_module, ("nas", "nas.search", "nas.compression", "nas.devices", "nas.export", "nas.testing")
):
    for name in package.__all__:
        getattr(package, name)

project = "nas"
copyright = "the authors of nas"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
source_suffix = {".md": "markdown"}
html_theme = "furo"
html_title = "nas"
myst_heading_anchors = 4  # a link to a heading below the fourth level would break
autodoc_typehints = "description"
autodoc_member_order = "bysource"
