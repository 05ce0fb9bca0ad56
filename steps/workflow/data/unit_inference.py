"""Infer which units and currency signs a column has beside its numbers, and whether they can be mixed."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from workflow.data import units
from workflow.data.columns import NUMERIC, Column
from workflow.data.findings import Finding
from workflow.data.numbers import SIGNS_AFTER, SIGNS_BEFORE
from workflow.data.sampling import evenly_spaced_positions
from workflow.formatting import percent

CELLS_SAMPLE_ROWS = 1000  # texts of a column that show how its numbers are written
RARE_UNIT = 0.1  # fraction of the numbers below which a unit is a fault of its cells, unless it is a currency
UNIT = r"(?:[^\W\d_]|[%°$€£¥₹₽₩₺₫₴₪฿₦₱µ\"~≈+]|/(?=[^\W\d_]))[^\d\s()+−–-]*(?:[ ]?[^\W\d_][^\d\s()+−–-]*)?"
SIGNS = {"+", "~", "≈"}  # which are no units
NUMBER = r"(?:\d[\d.,'’ \u00a0\u202f]*|\.\d+)(?:[eE][-+]?\d+)?"
CELL = (
    rf"^{SIGNS_BEFORE}(?:(?P<before>{UNIT})[\s:]*?)??{SIGNS_BEFORE}"
    rf"(?P<number>{NUMBER})\s*(?P<after>{UNIT}[²³23]?)?{SIGNS_AFTER}$"
)


@dataclass(frozen=True)
class Cells:
    """The parts of sampled cells that have one number, without those of other cells: (cells,) each.

    `before` and `after` are units, empty if there is none; `read` is the fraction of all sampled cells.
    """

    before: pd.Series
    number: pd.Series
    after: pd.Series
    read: float


@dataclass(frozen=True)
class Affixes:
    """A column with its units, and what is to be said about them."""

    column: Column
    note: str = ""
    findings: tuple[Finding, ...] = ()


def split_cells(texts: pd.Series) -> Cells:
    """Split a sample of texts into a number and what is written before and after it."""
    sample = texts.iloc[evenly_spaced_positions(len(texts), CELLS_SAMPLE_ROWS)]
    codes, distinct = pd.factorize(sample)
    parts = pd.Series(distinct, dtype="str").str.extract(CELL).take(codes)  # a pattern takes long
    found = parts[parts["number"].notna()].fillna("")
    return Cells(found["before"], found["number"].str.strip(), found["after"].str.strip(), len(found) / len(sample))


def infer_affixes(cells: Cells, name: str, is_target: bool) -> Affixes | None:
    """Infer the units of a column; None if these are names, as in `Room 12`, or cannot be mixed.

    One unit is removed, units of one kind are converted, suffixes such as k multiply.
    """
    before, after = common_units(cells.before), common_units(cells.after)
    names = [word for word in before if word[0].isalpha() and not units.may_precede(word)]
    if names and not cells.number.str.contains(r"[.,]").any():
        return None
    if {"cr", "dr"} <= {word.casefold() for word in after} or are_letters(before + after, cells.number):
        return None
    factors = {word: factor for word in after if (factor := units.multiplier(word, after)) is not None}
    after = Counter({word: count for word, count in after.items() if word not in factors})
    plain = Column(NUMERIC, remove=longest_first([*before, *after]), multiply=factors)
    currencies = Counter({word: count for word, count in (before + after).items() if units.currency(word)})
    if len({units.currency(word) for word in currencies}) > 1:
        return Affixes(plain, findings=(mixed_currencies(currencies, len(cells.number), name),))
    others = [{units.same_unit(word) for word in words if word not in currencies} for words in (before, after)]
    words = [word for word, _ in (after or before).most_common()]
    if max(map(len, others)) <= 1 and not (factors and others[1]):
        return one_unit(plain, words, (before + after).total() / len(cells.number), name)
    if words and (converted := units.conversions(words)) and not (before or factors):
        finding = mixed_units(after, len(cells.number), name)
        return Affixes(Column(NUMERIC, multiply=converted), f"in {words[0]}", (finding,))
    if not is_target:
        return None
    return Affixes(Column(NUMERIC, remove=longest_first(word for word in words if same_as_first(word, words))))


def are_letters(words: Iterable[str], numbers: pd.Series) -> bool:
    """Return whether cells are codes of a digit and a letter, such as 1B, 2B and 3B."""
    letters = [word for word in words if len(word) == 1 and word.isalpha()]
    return bool(letters) and bool((numbers.str.len() == 1).all())


def one_unit(column: Column, words: list[str], share: float, name: str) -> Affixes:
    """Return a column with one unit, in several ways of writing, and a finding if some numbers are without it."""
    if not words or words[0] in SIGNS:
        return Affixes(column)
    findings: tuple[Finding, ...] = ()
    if RARE_UNIT < share < 1 - RARE_UNIT:
        message = f"column {name} has {words[0]} beside {percent(share)} of its numbers; the others are read alike"
        findings = (Finding("D006", message, "if they are in another unit, convert them", (name,), {"share": share}),)
    return Affixes(column, f"in {words[0]}", findings)


def common_units(words: pd.Series) -> Counter[str]:
    """Return how often each unit occurs beside the numbers of a column, rare ones aside, but not rare currencies."""
    counts = {str(word): int(count) for word, count in words[words != ""].value_counts().items()}
    kinds: Counter[str] = Counter()
    for word, count in counts.items():
        kinds[units.same_unit(word)] += count

    def is_common(word: str) -> bool:
        known = units.currency(word) or units.multiplier(word, counts) is not None
        return bool(known) or kinds[units.same_unit(word)] >= RARE_UNIT * len(words)

    return Counter({word: count for word, count in counts.items() if is_common(word)})


def same_as_first(word: str, words: list[str]) -> bool:
    """Return whether a word is the same unit as the first of `words`."""
    return units.same_unit(word) == units.same_unit(words[0])


def mixed_currencies(counts: Counter[str], numbers: int, name: str) -> Finding:
    """Return the finding about a column with several currencies."""
    message = f"column {name} has several currencies ({listed(counts)} of {numbers:,} values), all read alike"
    remedy = "convert them to one, or give the currency in a column of its own"
    return Finding("D005", message, remedy, (name,), dict(counts))


def mixed_units(counts: Counter[str], numbers: int, name: str) -> Finding:
    """Return the finding about a column with several units of one kind."""
    first = counts.most_common(1)[0][0]
    message = f"column {name} has several units ({listed(counts)} of {numbers:,} values), converted to {first}"
    return Finding(
        "D006", message, "if one means something else, change `multiply` in a contract", (name,), dict(counts)
    )


def listed(counts: Counter[str]) -> str:
    """Return units with their counts, the most frequent first."""
    return ", ".join(f"{word} {count:,}" for word, count in counts.most_common())


def longest_first(words: Iterable[str]) -> tuple[str, ...]:
    """Return words sorted so that one comes before those that it contains."""
    return tuple(sorted(sorted(set(words)), key=len, reverse=True))
