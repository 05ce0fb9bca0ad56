"""HTML reports: one self-contained file each."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from workflow.formatting import number

MAX_LINE_CHARACTERS = 80  # of a table cell; longer texts are wrapped


@dataclass(frozen=True)
class Section:
    """A heading with its content.

    Attributes:
        title: the heading.
        text: a paragraph.
        table: shown as `html_table` formats it.
        pictures: PNG files, as bytes.
        code: commands to copy.
    """

    title: str
    text: str = ""
    table: pd.DataFrame | None = None
    pictures: tuple[bytes, ...] = ()
    code: str = ""


def page(
    title: str, summary: str, sections: list[Section], warning: str = "", addresses: Mapping[str, str] | None = None
) -> str:
    """Return the HTML of a page: all text is escaped, and nothing is loaded from elsewhere.

    Args:
        title: of the page.
        summary: a sentence or two under the title.
        sections: in their order.
        warning: shown above the summary, if there is one.
        addresses: pages to link to, by name.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["base64"] = lambda picture: base64.b64encode(picture).decode()
    environment.filters["table"] = html_table
    return environment.get_template("report.html").render(
        title=title, summary=summary, sections=sections, warning=warning, addresses=addresses or {}
    )


def html_table(table: pd.DataFrame) -> Markup:
    """Return a table as HTML: texts are escaped, numbers formatted, and `Markup` values kept as they are."""

    def format_value(value: object) -> object:
        if isinstance(value, int | np.integer) and not isinstance(value, bool):
            return f"{value:,}"
        if not isinstance(value, str) or isinstance(value, Markup):
            return value
        return (
            Markup('<span class="long">{}</span>').format(value) if len(value) > MAX_LINE_CHARACTERS else escape(value)
        )

    cells = table.map(format_value)
    cells.columns = [escape(str(name)) for name in table.columns]
    return Markup(cells.to_html(index=False, border=0, float_format=number, na_rep="–", escape=False))


def markdown_table(table: pd.DataFrame) -> str:
    """Return a table of texts as Markdown."""
    lines = [list(table.columns), ["---"] * table.shape[1], *table.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
