"""Pages that a person would rather read than the numbers: one self-contained HTML file each."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup, escape

LONG = 80  # characters, from where on a cell of a table has several lines


@dataclass(frozen=True)
class Section:
    """A heading with what stands under it; pictures are the bytes of PNG files."""

    title: str
    text: str = ""
    table: pd.DataFrame | None = None
    pictures: tuple[bytes, ...] = ()
    code: str = ""


def page(
    title: str, lead: str, sections: list[Section], warning: str = "", addresses: Mapping[str, str] | None = None
) -> str:
    """The HTML of a page. All text is escaped; nothing is loaded from elsewhere.

    `addresses` are those that it links to, by what is there.
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
        title=title, lead=lead, sections=sections, warning=warning, addresses=addresses or {}
    )


def html_table(table: pd.DataFrame) -> Markup:
    """A table with its texts escaped, its numbers as a person writes them, and its pictures (Markup) as they are."""

    def written(value: object) -> object:
        if isinstance(value, int | np.integer) and not isinstance(value, bool):
            return f"{value:,}"
        if not isinstance(value, str) or isinstance(value, Markup):
            return value
        return Markup('<span class="long">{}</span>').format(value) if len(value) > LONG else escape(value)

    cells = table.map(written)
    cells.columns = [escape(str(name)) for name in table.columns]
    return Markup(cells.to_html(index=False, border=0, float_format=number, na_rep="–", escape=False))


def markdown_table(table: pd.DataFrame) -> str:
    """A table of texts in Markdown."""
    lines = [list(table.columns), ["---"] * table.shape[1], *table.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def percent(share: float, digits: int = 0) -> str:
    """A share as people read it, and nothing for none: 12 % / –."""
    return "–" if np.isnan(share) else f"{100 * share:.{digits}f} %"


def number(value: float) -> str:
    """Three significant digits, and large numbers whole: 12,300 / 1998 / 45.6 / 0.789."""
    if abs(value) >= 1000:
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.0f}"
    return f"{value:.3g}"
