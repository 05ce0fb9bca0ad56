"""The documents as a site, with search; a link that leads nowhere is an error.

sphinx-build -W -c docs/site . ../site
"""

import shutil
from pathlib import Path

from pygments.lexers import TextLexer

project = "Tabular regression, reproducible"
html_title = project
extensions = ["myst_parser"]
html_theme = "furo"
root_doc = "README"
include_patterns = ["*.md", "data/*.md", "docs/*.md"]
myst_heading_anchors = 4
NAVIGATION = {
    "Begin": ("docs/tutorial", "docs/everyday-uses", "docs/own-file", "docs/tune"),
    "Trust": ("docs/honest-scores", "docs/findings", "docs/prove-a-score"),
    "Run": ("docs/into-service", "docs/cluster", "docs/environments-and-ci"),
    "Look up": ("docs/reference", "docs/errors", "data/README", "docs/faq", "docs/limits", "docs/comparison"),
    "Develop": ("CONTRIBUTING", "docs/architecture", "docs/decisions", "CHANGELOG"),
}


def add_navigation(app, docname, source):
    """Append the table of contents to the README, which shows none on a forge."""
    if docname == root_doc:
        for caption, pages in NAVIGATION.items():
            source[0] += "\n\n```{toctree}\n:hidden:\n:caption: " + caption + "\n\n" + "\n".join(pages) + "\n```\n"


def add_index(app, exception):
    """Make the README the page that a server shows for the folder."""
    if not exception:
        shutil.copy(Path(app.outdir, "README.html"), Path(app.outdir, "index.html"))


def setup(app):
    """Register what changes the sources; the drawing stays a text, because its script would come from the web."""
    app.add_lexer("mermaid", TextLexer)
    app.connect("source-read", add_navigation)
    app.connect("build-finished", add_index)
