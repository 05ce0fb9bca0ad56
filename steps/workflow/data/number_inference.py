"""Infer how the numbers of a column are written: their separators, and their units."""

import re
from collections.abc import Callable
from dataclasses import replace

import pandas as pd

from workflow.data.candidates import (
    MANY_VALUES,
    MAX_COERCED,
    MAX_FAULTS,
    MAX_REQUIRED_FAULTS,
    InferredColumn,
    best_parse,
    text_samples,
)
from workflow.data.columns import NUMERIC, Column
from workflow.data.findings import Finding
from workflow.data.numbers import grouped, parse_plain_numbers
from workflow.data.sampling import evenly_spaced_positions
from workflow.data.unit_inference import CELLS_SAMPLE_ROWS, Cells, infer_affixes, split_cells
from workflow.formatting import percent

NUMBER_STYLES = [(".", ""), (".", ","), (",", ""), (",", "."), (".", "'"), (",", " "), (".", " ")]  # decimal, thousands
MANY_GROUPED = 50  # distinct numbers with three digits after a separator: hardly chance if it were a decimal one
LONG_CODE = 17  # digits
GROUPED_BY_POINT = grouped(r"\.", "$")
VOTING_ROWS = 200  # of a column, that show the decimal separator of a file


def infer_numeric(
    texts: pd.Series, decimal: Callable[[], str], is_target: bool, max_faults: float
) -> InferredColumn | None:
    """Infer a column of numbers; None if it is not one.

    Args:
        texts: the values, without missing ones.
        decimal: returns the decimal separator of the file's other columns; empty if unknown.
        is_target: whether rows of unreadable values are to be rejected, instead of taking them as missing.
        max_faults: fraction of the values that may be unreadable; more if there are many distinct numbers.
    """
    sample = texts.iloc[evenly_spaced_positions(len(texts), CELLS_SAMPLE_ROWS)]
    if not is_target and are_codes(sample):
        return None
    if parse_plain_numbers(texts).notna().all() and not may_be_thousands(sample):
        return InferredColumn(Column(NUMERIC))
    cells, name = split_cells(texts), str(texts.name)
    if cells.read < 1 - MAX_REQUIRED_FAULTS or (affixes := infer_affixes(cells, name, is_target)) is None:
        return None
    styles, findings = number_styles(cells, decimal, name)
    many = cells.number.nunique() > MANY_VALUES
    candidates = [replace(affixes.column, decimal=point, thousands=mark) for point, mark in styles]
    found = best_parse(texts, candidates, max_faults, coerce=many and not is_target)
    if found is None:
        return None
    note = "; ".join(filter(None, (affixes.note, found.note)))
    return replace(found, note=note, findings=(*findings, *affixes.findings))


def numbers_as_categories(texts: pd.Series) -> list[Finding]:
    """Return a finding if most of many texts are numbers, but too few to read the others as missing."""
    numbers = parse_plain_numbers(texts)
    share = float(numbers.notna().mean())
    if texts.nunique() <= MANY_VALUES or not 1 - MAX_REQUIRED_FAULTS <= share < 1:
        return []
    odd, name = texts[numbers.isna()].iloc[0], str(texts.name)
    message = (
        f"column {name}: {percent(share)} of its values are numbers, but it is no column of numbers (odd: {odd!r})"
    )
    remedy = "correct the others, or write `kind: numeric, errors: coerce` in a contract"
    return [Finding("D013", message, remedy, (name,))]


def may_be_thousands(numbers: pd.Series) -> bool:
    """Return whether every point in plain numbers has three digits behind it."""
    with_point = numbers[numbers.str.contains(".", regex=False)]
    last_point = with_point.str.slice(-4, -3) == "."  # a pattern takes much longer in wide files
    return bool(len(with_point) and last_point.all() and with_point.str.fullmatch(GROUPED_BY_POINT).all())


def are_codes(texts: pd.Series) -> bool:
    """Return whether texts are codes of digits: some begin with a zero, or are too long for exact numbers."""
    if not (texts.str.startswith("0") | (texts.str.len() >= LONG_CODE)).any():
        return False
    return bool(texts.str.fullmatch(r"0\d+|\d{17,}").any() and texts.str.fullmatch(r"\d+").mean() >= 1 - MAX_FAULTS)


def file_decimal(frame: pd.DataFrame) -> str:
    """Return the decimal separator that the text columns of a file agree on; empty if they do not."""
    found = set()
    for sample in text_samples(frame, VOTING_ROWS):
        cells = split_cells(sample)
        if cells.read > 1 - MAX_COERCED:
            found |= decimal_separators(cells.number)
    return found.pop() if len(found) == 1 else ""


def decimal_separators(numbers: pd.Series) -> set[str]:
    """Return the decimal separators that numbers prove: not three digits follow, or both separators occur."""
    proven = set()
    for decimal, thousands in ((".", ","), (",", ".")):
        point, mark = re.escape(decimal), re.escape(thousands)
        number = rf"(?:\d*|[1-9]\d{{0,2}}(?:{mark}\d{{2,3}})*){point}\d*"
        several_groups = rf"[1-9]\d{{0,2}}(?:{mark}\d{{3}}){{2,}}"
        is_decimal = numbers.str.fullmatch(number) & ~numbers.str.fullmatch(grouped(point, "$"))
        if (is_decimal | numbers.str.fullmatch(several_groups)).any():
            proven.add(decimal)
    return proven


def number_styles(cells: Cells, decimal: Callable[[], str], name: str) -> tuple[list[tuple[str, str]], list[Finding]]:
    """Return the decimal and thousands separators to try, the likeliest first, and a finding if a guess is left.

    1.254 is a number with three decimals, or one above a thousand. Other values of the column decide, then the other
    columns of the file.
    """
    numbers, findings = cells.number, []
    proven = decimal_separators(numbers)
    if len(proven) != 1:
        proven = {decimal()} - {""}
        for point, other in ((".", ","), (",", ".")):
            is_ambiguous = numbers.str.fullmatch(grouped(re.escape(point), "$"))
            ambiguous = numbers[is_ambiguous].drop_duplicates()
            same_unit = cells.after.isin(cells.after[is_ambiguous])  # 717 g beside 1.163 kg shows nothing
            small = ~numbers.str.contains(point, regex=False) & (numbers.str.len() <= 3) & same_unit
            if len(ambiguous) >= MANY_GROUPED and small.any():
                proven = {other}  # if these were decimals, a tenth would end with a 0 that nobody writes
            elif len(ambiguous) and not proven and (point == "." or ambiguous.str.match(r"\d,").all()):
                findings.append(ambiguous_separator(name, ambiguous.iloc[0], point))
    likely = [style for style in NUMBER_STYLES if style[0] in proven]
    return likely + [style for style in NUMBER_STYLES if style not in likely], findings


def ambiguous_separator(name: str, example: str, separator: str) -> Finding:
    """Return the finding about a separator that nothing in the file explains: it is read as in English."""
    thousand, decimal = example.replace(separator, ""), example.replace(",", ".")
    read, other, key = (decimal, thousand, "thousands") if separator == "." else (thousand, decimal, "decimal")
    message = f"column {name}: {example} is read as {read}, but may mean {other}; nothing in the file decides"
    return Finding("D008", message, f"if it does, write `{key}: '{separator}'` in a contract", (name,))
