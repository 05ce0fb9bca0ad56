"""HTML reports: one self-contained file each."""

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup

from workflow.data.findings import Finding
from workflow.formatting import number

MAX_LINE_CHARACTERS = 80  # of a table cell; longer texts are wrapped
NUMBER = re.compile(r"[-−+]?\d[\d,.]*(e[-+]?\d+)?(\s([\d\s,.%±()–−+e-]|to)*)?|–?")  # such as 30.3 ± 5.4, or 1 to 5


@dataclass(frozen=True)
class Picture:
    """A PNG file, and what it shows in words, for those who cannot see it."""

    png: bytes
    alt: str


@dataclass(frozen=True)
class Section:
    """A heading with its content.

    Attributes:
        title: the heading.
        text: a paragraph.
        table: shown as `html_table` formats it.
        pictures: under the table.
        code: commands to copy.
    """

    title: str
    text: str = ""
    table: pd.DataFrame | None = None
    pictures: tuple[Picture, ...] = ()
    code: str = ""


@dataclass(frozen=True)
class Page:
    """A page: all text is escaped, and nothing is loaded from elsewhere.

    Attributes:
        title: of the page.
        summary: a sentence or two under the title.
        sections: in their order.
        findings: the warnings among them are shown above the summary.
        warning: another one, shown there too.
        addresses: pages to link to, by name.
    """

    title: str
    summary: str
    sections: Sequence[Section]
    findings: Sequence[Finding] = ()
    warning: str = ""
    addresses: Mapping[str, str] = field(default_factory=dict)

    def html(self) -> str:
        """Return the page as HTML."""
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(Path(__file__).parent),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters["base64"] = lambda picture: base64.b64encode(picture).decode()
        environment.filters["table"] = html_table
        warnings = [str(finding) for finding in self.findings if finding.is_warning]
        warnings += [self.warning] if self.warning else []
        return environment.get_template("report.html").render(page=self, warnings=warnings)

    def json(self) -> str:
        """Return the page as JSON, without pictures: for a program, or another page."""
        sections = [
            {"title": each.title, "text": each.text, "code": each.code, "table": records(each.table)}
            for each in self.sections
        ]
        content = {
            "title": self.title,
            "summary": self.summary,
            "warning": self.warning,
            "findings": [finding.to_json() for finding in self.findings],
            "sections": [{key: value for key, value in section.items() if value} for section in sections],
            "addresses": dict(self.addresses),
        }
        return json.dumps(content, indent=2, ensure_ascii=False)

    def save(self, path: Path) -> None:
        """Write the page to an HTML file, and as JSON beside it."""
        path.write_text(self.html(), encoding="utf-8")
        path.with_suffix(".json").write_text(self.json(), encoding="utf-8")


def records(table: pd.DataFrame | None) -> list[dict[str, Any]]:
    """Return the rows of a table as JSON values; drawings are left out."""
    if table is None:
        return []
    plain = table.loc[:, ~table.map(lambda value: isinstance(value, Markup)).any().astype(bool)]
    return json.loads(plain.to_json(orient="records", date_format="iso"))


def html_table(table: pd.DataFrame, caption: str) -> Markup:
    """Return a table as HTML: texts are escaped, numbers formatted, and `Markup` values kept as they are."""
    classes = [Markup(' class="text"') if is_text(values) else "" for _, values in table.items()]
    head = html_row('<th scope="col"{}>{}</th>', classes, map(str, table.columns))
    rows = [
        html_row("<td{}>{}</td>", classes, map(cell, row))
        for row in table.astype(object).itertuples(index=False, name=None)
    ]
    return Markup("<table><caption>{}</caption><thead>{}</thead>\n<tbody>\n{}</tbody></table>").format(
        caption, head, Markup("").join(rows)
    )


def html_row(form: str, classes: Sequence[str], contents: Iterable[object]) -> Markup:
    """Return a row of a table; `form` is that of a cell, for its class and its content."""
    cells = (Markup(form).format(*each) for each in zip(classes, contents, strict=True))
    return Markup("<tr>{}</tr>\n").format(Markup("").join(cells))


def is_text(values: pd.Series) -> bool:
    """Return whether a column of a table has texts that are not numbers: (rows,)."""
    return any(isinstance(each, str) and not isinstance(each, Markup) and not NUMBER.fullmatch(each) for each in values)


def cell(value: object) -> object:
    """Return a value as a table shows it."""
    if isinstance(value, str):
        long = len(value) > MAX_LINE_CHARACTERS and not isinstance(value, Markup)
        return Markup('<span class="long">{}</span>').format(value) if long else value
    if value is None or pd.isna(value):
        return "–"
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return f"{value:,}"
    return number(float(value)) if isinstance(value, float | np.floating) else value


def markdown_table(table: pd.DataFrame) -> str:
    """Return a table of texts as Markdown."""
    lines = [list(table.columns), ["---"] * table.shape[1], *table.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
