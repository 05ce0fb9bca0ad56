"""The layout of a CSV file in which more stands than a header and rows: titles, comments, units, totals, notes.

What is not unmistakable is left as it is: only then is a file read differently from what its first line says.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HEAD_BYTES = 2**16  # of a file, which show its layout
TAIL_BYTES = 2**14  # which show what stands below its rows
MAX_LINES_BELOW = 20
DELIMITERS = ",;\t|"
MIN_REGULAR = 0.9  # fraction of the lines from the header on that have the same number of fields
MIN_NUMBERS = 0.9  # fraction of the values of a column of numbers or dates that begin like one
SHOWN_CHARACTERS = 60  # of a line in a note
SEPARATOR = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)  # first line, for Excel
COMMENT = re.compile(r"#(?!\s*[,;\t|])")  # not a column called #
LOGGER = ("TOA5", "TOACI1")  # first field of a data logger's file, whose names stand on the second line
VALUE = re.compile(r"[\s(+−$€£¥-]*[.,]?\d[\d.,'\s:/TZ+−-]*(?:[eE][+-]?\d+)?[^\d\s]{0,5}\)?")  # a number, date or time
YEAR = re.compile(r"(?:1[6-9]|20|21)\d\d")
BLANKS = {"", "-", "--", "?", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "none", "."}
METADATA = re.compile(r"[^:]+: .")
UNIT = re.compile(
    r"[°%µ²³/()\[\]€£$]|^(?:[kcmµ]?m|[kmµ]?g|s|h|min|[kh]?Pa|mbar|[km]?[VWAJ]|kWh|m?l|[kM]?Hz|K|C|F|deg ?[CF]?|pp[mb]|"
    r"u?mol|EUR|USD|GBP|CHF|years?|days?|hours?|Avg|Smp|Max|Min|Std|Tot|int|float|double|number|numeric)$",
    re.IGNORECASE,
)
TOTAL = re.compile(
    r"(?:(?:grand|sub|column)[ -]?)?(?:totals?|totale|sum|summe|gesamt|gesamtsumme|insgesamt|somme|total g[ée]n[ée]ral|"
    r"average|mean|mittelwert|durchschnitt|moyenne|promedio)\s*:?",
    re.IGNORECASE,
)
NOTE = re.compile(
    r"(?:(?:data )?sources?|notes?|remarks?|quellen?|hinweis|anmerkung(?:en)?|stand|fuentes?|notas?|remarques?|"
    r"fonti?|copyright|licen[cs]e|disclaimer|last updated|generated|exported|downloaded|created|end of)\b"
    r"|[©*†]|\(?\d+ rows?(?: selected| affected)?\)?$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Layout:
    """Where the rows of a CSV file stand.

    Attributes:
        names: of the columns.
        delimiter: between fields.
        start: offset of the first row, in bytes.
        end: offset of what stands below the rows.
        first_line: number of the line of the first row.
        commented: whether lines that begin with # are comments.
        notes: what was skipped, as sentences.
    """

    names: list[str]
    delimiter: str
    start: int
    end: int
    first_line: int
    commented: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Record:
    """The fields of a record, which is on the lines from `line` to before `end`, counted from 0."""

    line: int
    end: int
    cells: list[str]
    after_blank: bool = False

    @property
    def filled(self) -> list[str]:
        """Return the fields that are not empty."""
        return [cell for cell in self.cells if cell]


@dataclass(frozen=True)
class Grid:
    """The records at the beginning of a CSV file, as a delimiter divides them.

    Attributes:
        delimiter: between fields.
        records: blank lines not included.
        width: the number of fields that most records have.
        numeric: positions of the columns of numbers, dates or times.
    """

    delimiter: str
    records: list[Record]
    width: int = 0
    numeric: list[int] = field(default_factory=list)

    def regularity(self, start: int = 0) -> float:
        """Return the fraction of the records from `start` to the last of the usual number of fields that have it."""
        regular = [len(record.cells) == self.width for record in self.records[start:]]
        while regular and not regular[-1]:
            regular.pop()
        return sum(regular) / max(1, len(regular))

    def numbers_in(self, record: Record) -> list[str]:
        """Return the fields of a record in the columns of numbers."""
        return [record.cells[position] for position in self.numeric if position < len(record.cells)]

    def is_row(self, record: Record) -> bool:
        """Return whether a record has numbers where others have numbers; ascending years may be names."""
        known = [cell for cell in self.numbers_in(record) if cell not in BLANKS]
        values = [cell for cell in known if VALUE.fullmatch(cell)]
        years = len(values) > 1 and all(map(YEAR.fullmatch, values)) and values == sorted(set(values))
        return len(record.cells) == self.width and len(known) < 2 * len(values) and not years

    def is_header(self, record: Record) -> bool:
        """Return whether a record has names where others have numbers."""
        known = [cell for cell in self.numbers_in(record) if cell]
        names = [cell for cell in known if cell not in BLANKS and (YEAR.fullmatch(cell) or not VALUE.fullmatch(cell))]
        enough = len(record.filled) >= self.width - 1 and len(names) > 0
        return len(record.cells) == self.width and enough and names == known

    def is_units(self, record: Record, rows: list[Record]) -> bool:
        """Return whether a record below the header, whose fields do not recur in `rows`, has units or the like.

        Its fields in columns of texts show it, too: empty, in brackets, or unlike categories that recur.
        """
        texts = [cell for cell in self.numbers_in(record) if cell not in BLANKS]
        named_index = texts == record.filled == record.cells[:1]
        if any(map(VALUE.fullmatch, texts)) or not (2 * len(texts) >= len(self.numeric) > 0 or named_index):
            return False
        distinctive = any(map(UNIT.search, texts))
        for position, cell in enumerate(record.cells):
            values = [row.cells[position] for row in rows if position < len(row.cells)]
            if cell in BLANKS:
                continue
            if cell in values:
                return False
            is_text = position not in self.numeric and not re.fullmatch(r"[\[(].*[\])]", cell)
            if is_text and not distinctive and 2 * len(set(values)) > len(values):
                return False
        return bool(texts)


def find_layout(path: Path) -> Layout | None:
    """Return the layout of a UTF-8 CSV file; None if it has an ordinary one, or none that is unmistakable."""
    lines = head_lines(path)
    texts = [line.decode("utf-8" if number else "utf-8-sig", "replace") for number, line in enumerate(lines)]
    separator = SEPARATOR.fullmatch(texts[0]) if texts else None
    above = int(bool(separator))
    while above < len(texts) and (COMMENT.match(texts[above]) or not texts[above].strip()):
        above += 1
    comments = [text for text in texts[:above] if COMMENT.match(text)]
    grids = [make_grid(texts, above, mark) for mark in (separator[1] if separator else DELIMITERS)]
    grid = max(grids, key=lambda grid: (grid.regularity() if grid.width > 1 else 0, grid.width), default=None)
    if grid is None or grid.width < 2 or (found := locate(grid, comments)) is None:
        return None
    names, header, units, row = found
    if grid.regularity(row) < MIN_REGULAR:
        return None
    first_line = grid.records[row].line
    start = sum(map(len, lines[:first_line]))
    end, below = find_end(path, start, grid, row)
    notes = [note for note in (*notes_above(grid, texts, names, header, units), below) if note]
    if not notes and header == 0 and above == 0:
        return None
    return Layout(names, grid.delimiter, start, end, first_line + 1, bool(comments), tuple(notes))


def head_lines(path: Path) -> list[bytes]:
    """Return the complete lines at the beginning of a file."""
    with open(path, "rb") as file:
        lines = file.read(HEAD_BYTES).splitlines(keepends=True)
        return lines[:-1] if file.read(1) else lines


def make_grid(texts: list[str], above: int, delimiter: str) -> Grid:
    """Divide the lines of a file, but for the first `above`, by a delimiter."""
    records = list(parse(texts, above, delimiter))
    widths = Counter(len(record.cells) for record in records if len(record.cells) > 1)
    width = max(widths, key=lambda width: (widths[width], width), default=0)
    regular = [record.cells for record in records if len(record.cells) == width]
    numeric = []
    for position in range(width):
        values = [cells[position] for cells in regular[len(regular) // 2 :] if cells[position] not in BLANKS]
        if values and sum(map(bool, map(VALUE.fullmatch, values))) >= MIN_NUMBERS * len(values):
            numeric.append(position)
    return Grid(delimiter, records, width, numeric)


def parse(texts: list[str], above: int, delimiter: str) -> Iterator[Record]:
    """Yield the records of some lines, but for the first `above`, blank ones and comments."""
    reader = csv.reader(texts[above:], delimiter=delimiter)
    end, blank = above, False
    try:
        for fields in reader:
            line, end = end, above + reader.line_num
            cells = [cell.strip() for cell in fields]
            if any(cells) and not (COMMENT.match(texts[line]) and len(cells) == 1):
                yield Record(line, end, cells, blank)
            blank = not any(cells)
    except csv.Error:  # such as a field of more than 128 KiB after a lonely quote
        return


def locate(grid: Grid, comments: list[str]) -> tuple[list[str], int, list[int], int] | None:
    """Return the names of the columns and where they stand among the records; None if that is not unmistakable.

    Returns:
        The names; the position of the header, -1 for a comment; of the lines of units below it; and of the first row.
    """
    records = grid.records
    row = next((position for position, record in enumerate(records) if grid.is_row(record)), None)
    if row is None:
        return None
    blank = max((position for position in range(1, row) if records[position].after_blank), default=0)
    logger = records[0].cells[0] in LOGGER
    headers = [position for position in range(logger, row) if logger or grid.is_header(records[position])]
    headers = [position for position in headers if position >= blank] or headers
    headers = [position for position in headers if not METADATA.match(records[position].cells[0])] or headers
    if not headers:
        named = [grid.delimiter.join(comments[-1:]).lstrip("#").strip()]
        commented = next(parse(named, 0, grid.delimiter), None)
        return (commented.cells, -1, [], 0) if commented and row == 0 and grid.is_header(commented) else None
    header = headers[0]
    units: list[int] = []
    for position in range(header + 1, row):
        grouped = are_groups(records[header].cells) and grid.is_header(records[position]) and not units
        if not (logger or grouped or grid.is_units(records[position], records[row:])):
            break
        units.append(position)
    names, row = records[header].cells, header + 1 + len(units)
    if units and (merged := merged_names(names, records[units[0]].cells)) != names:
        return merged, header, units[1:], row
    return names, header, units, row


def are_groups(names: list[str]) -> bool:
    """Return whether names recur or are blank, as those of groups of columns are; one blank may be that of an index."""
    return names.count("") > 1 or len(set(names)) < len(names)


def merged_names(upper: list[str], lower: list[str]) -> list[str]:
    """Return the names of columns on two lines: the upper ones, unless they name groups of columns."""
    groups = are_groups(upper)
    if not groups or (all(lower) and len(set(lower)) == len(lower) == len(upper)):
        return lower if groups else upper
    joined = [f"{group} {name}".strip() for group, name in zip(upper, lower, strict=False)]
    return joined if len(set(joined)) == len(upper) else upper


def notes_above(grid: Grid, texts: list[str], names: list[str], header: int, units: list[int]) -> Iterator[str]:
    """Yield what was skipped above the rows."""
    top = grid.records[header].line if header >= 0 else grid.records[0].line
    if skipped := [text for text in texts[:top] if text.strip()]:
        yield f"{counted(top)} above the header skipped: {quoted(skipped[0])}"
    if header < 0:
        yield "the header is the last comment above the rows"
    if names != grid.records[header].cells and header >= 0:
        yield f"the names of the columns stand on 2 lines: {quoted(grid.delimiter.join(names))}"
    for position in units:
        record = grid.records[position]
        line = quoted(texts[record.line])
        yield f"line {record.line + 1} below the header skipped, which holds units or the like: {line}"


def counted(lines: int) -> str:
    """Return a number of lines, in words."""
    return f"{lines} line{'s' if lines > 1 else ''}"


def quoted(text: str) -> str:
    """Return the beginning of a line in quotes."""
    text = text.strip()
    return repr(text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…")


def find_end(path: Path, start: int, grid: Grid, row: int) -> tuple[int, str]:
    """Return the offset of the totals and notes below the rows of a file, and a note on them; empty without any."""
    size = path.stat().st_size
    offset = max(start, size - TAIL_BYTES)
    with open(path, "rb") as file:
        file.seek(offset)
        lines = file.read().splitlines(keepends=True)
    if offset > start:
        offset, lines = offset + len(lines[0]), lines[1:]
    texts = [line.decode("utf-8", "replace").strip() for line in lines]
    records = [next(csv.reader([text], delimiter=grid.delimiter), []) for text in texts]
    below = count_below(records, grid, [*(record.cells for record in grid.records[row:]), *records])
    skipped = [text for text in texts[len(texts) - below :] if text]
    note = f"{counted(len(skipped))} below the rows skipped: {quoted(skipped[0])}" if skipped else ""
    return offset + sum(map(len, lines[: len(lines) - below])), note


def count_below(records: list[list[str]], grid: Grid, rows: list[list[str]]) -> int:
    """Return how many of the last lines are totals, notes, or single fields below a blank line.

    Args:
        records: the fields of the last lines.
        grid: the beginning of the file.
        rows: the fields of rows at the beginning and at the end, among which a total does not recur.
    """
    below = 0
    for number, fields in enumerate(reversed(records[-MAX_LINES_BELOW:]), 1):
        cells = [cell.strip() for cell in fields]
        filled = [cell for cell in cells if cell]
        single = bool(cells[:1] and cells[0]) and (len(filled) == 1 or len(cells) < grid.width)
        single = single and not VALUE.fullmatch(cells[0])
        if filled and not single and not is_total(cells, grid, rows):
            break
        if not filled:
            below = number if number > 1 else 0
        elif not single or NOTE.match(cells[0]) or COMMENT.match(cells[0]):
            below = number
    return below


def is_total(cells: list[str], grid: Grid, rows: list[list[str]]) -> bool:
    """Return whether a line has totals or means: a word for them, which does not recur in its column, and numbers."""
    label = next(position for position, cell in enumerate(cells) if cell)
    others = [cell for position, cell in enumerate(cells) if position not in (label, *grid.numeric)]
    numbers = any(VALUE.fullmatch(cell) for position, cell in enumerate(cells) if position in grid.numeric)
    recurring = len({tuple(row) for row in rows if len(row) > label and row[label].strip() == cells[label]}) > 1
    return bool(TOTAL.fullmatch(cells[label])) and numbers and not any(others) and not recurring
