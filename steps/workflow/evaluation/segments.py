"""Segments: the errors of a model for each value of a column, and the segments that are worse than chance explains."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from workflow.data.columns import DATE, STRING_KINDS, TEXT
from workflow.data.contract import Contract
from workflow.errors import UserError
from workflow.evaluation.intervals import coverage, coverage_interval, effective_rows
from workflow.evaluation.metrics import bootstrap_interval, mean, mean_absolute_error, with_weight
from workflow.spelling import nearest

MAX_VALUES = 50  # of a column that is segmented
MIN_ROWS = 10  # of a segment; smaller ones are taken together
N_BINS = 5  # of a numeric column
MAX_ROWS = 20_000  # that are looked at
MAX_SHOWN = 10  # of the segments that are found
SIGNIFICANCE = 0.05  # of all tests together
MISSING, OTHERS = "missing", "others"
COLUMNS = [
    *("column", "value", "rows"),
    *(f"{name}{end}" for name in ("mean_absolute_error", "bias", "coverage") for end in ("", "_low", "_high")),
]


@dataclass(frozen=True)
class ScoredRows:
    """Test rows with their predictions: arrays of (rows,), except for the features.

    Attributes:
        features: (rows, features).
        true: the target.
        predicted: by the model.
        low: lower ends of the prediction intervals.
        high: upper ends.
        weight: sample weights, if there are any.
    """

    features: pd.DataFrame
    true: np.ndarray
    predicted: np.ndarray
    low: np.ndarray
    high: np.ndarray
    weight: np.ndarray | None = None

    def of(self, inside: np.ndarray) -> "ScoredRows":
        """Return the rows where `inside` is true: (rows,) of bool."""
        true, predicted, low, high = (each[inside] for each in (self.true, self.predicted, self.low, self.high))
        weight = None if self.weight is None else self.weight[inside]
        return ScoredRows(self.features[inside], true, predicted, low, high, weight)


def check_columns(names: Sequence[str], contract: Contract) -> None:
    """Raise UserError for a column that cannot be segmented."""
    for name in names:
        if name not in contract.features:
            raise UserError(f"segments={name}: no such feature; {nearest(name, contract.features)}")
        if contract.columns[name].kind == TEXT:
            raise UserError(f"segments={name}: free text has no segments; choose another column")


def segments_of(names: Sequence[str], rows: ScoredRows, contract: Contract, seed: int) -> pd.DataFrame:
    """Return the errors for each value of some columns, in their order.

    Args:
        names: of features.
        rows: of the test set.
        contract: of the rows.
        seed: of the bootstrap.

    Returns:
        A row per segment, with `COLUMNS`: `bias` is the mean of predicted − true, `coverage` that of the prediction
        intervals, and `…_low` and `…_high` are the ends of 95 % confidence intervals.

    Raises UserError for a column that has too many values, or is not a feature.
    """
    check_columns(names, contract)
    for name in names:
        distinct = rows.features[name].nunique()
        if contract.columns[name].kind in STRING_KINDS and distinct > MAX_VALUES:
            raise UserError(
                f"segments={name}: {distinct:,} values in the test set, at most {MAX_VALUES} make segments; choose"
                " another column"
            )
    found = [
        segment_scores(name, value, rows.of(inside), seed)
        for name in names
        for value, inside in values_of(rows.features[name], contract.columns[name].kind)
    ]
    return pd.DataFrame(found, columns=COLUMNS)


def worst_segments(rows: ScoredRows, contract: Contract, seed: int) -> tuple[pd.DataFrame, int]:
    """Return the segments of any feature with significantly larger absolute errors than the other rows.

    Mann and Whitney's test of absolute errors against those of all other rows, one-sided, with the correction of Holm
    (1979) for all segments that are tested; the mean must be larger too. A test of means would take a large segment for
    worse, because the few other rows have none of the rare large errors.

    Args:
        rows: of the test set.
        contract: of the rows.
        seed: of the bootstrap.

    Returns:
        The table of `segments_of` with the corrected `p`, the largest error first, at most `MAX_SHOWN` rows; and how
        many segments were tested.
    """
    from scipy.stats import mannwhitneyu

    errors = np.abs(rows.true - rows.predicted)
    tested = []
    for name in contract.features:
        kind = contract.columns[name].kind
        if kind == TEXT or (rows.features[name].nunique() > MAX_VALUES and kind in STRING_KINDS):
            continue
        for value, inside in values_of(rows.features[name], kind):
            if MIN_ROWS <= inside.sum() <= len(inside) - MIN_ROWS:
                own, others = errors[inside], errors[~inside]
                p = mannwhitneyu(own, others, alternative="greater", method="asymptotic").pvalue
                tested.append((name, value, inside, float(p) if own.mean() > others.mean() else 1.0))
    tested.sort(key=lambda each: each[3])
    corrected = np.maximum.accumulate([min(1.0, each[3] * (len(tested) - place)) for place, each in enumerate(tested)])
    worst = [
        segment_scores(name, value, rows.of(inside), seed) | {"p": p}
        for (name, value, inside, _), p in zip(tested, corrected, strict=True)
        if p < SIGNIFICANCE
    ]
    table = pd.DataFrame(worst, columns=[*COLUMNS, "p"])
    return table.sort_values("mean_absolute_error", ascending=False, kind="stable").head(MAX_SHOWN), len(tested)


def values_of(values: pd.Series, kind: str) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the segments of a column: what they are called, and whether each row is in it, (rows,) of bool.

    Categories with fewer than `MIN_ROWS` rows are taken together; numbers, dates and times are cut at quantiles.
    """
    labels = categories_in(values) if kind in STRING_KINDS else bins_in(values, kind)
    for label in dict.fromkeys(sorted(labels.unique(), key=lambda label: (label in (MISSING, OTHERS), label))):
        yield label.split("\0")[-1], (labels == label).to_numpy()


def categories_in(values: pd.Series) -> pd.Series:
    """Return the category of each row, `missing` or `others`: (rows,)."""
    labels = values.astype(object).where(values.notna(), MISSING).astype(str)
    counts = labels.map(labels.value_counts())
    return labels.where(counts >= MIN_ROWS, OTHERS)


def bins_in(values: pd.Series, kind: str) -> pd.Series:
    """Return between which quantiles each number is, as a text that is preceded by its order, or `missing`: (rows,)."""
    numbers = values.astype(float)
    if numbers.nunique() <= N_BINS:
        cut = numbers
    else:
        cut = pd.qcut(numbers, N_BINS, duplicates="drop").cat.codes.where(numbers.notna())
    texts = [range_text(own, kind) for _, own in numbers.groupby(cut)]
    codes = pd.Series(pd.factorize(cut, sort=True)[0], values.index)
    return codes.map(lambda code: f"{code}\0{texts[code]}" if code >= 0 else MISSING)


def range_text(numbers: pd.Series, kind: str) -> str:
    """Return the lowest and the highest of some numbers, or days since 1970, as a text."""
    ends = (numbers.min(), numbers.max())
    low, high = (str(pd.Timestamp(end, unit="D").date()) if kind == DATE else f"{end:.4g}" for end in ends)
    return low if low == high else f"{low} to {high}"


def segment_scores(column: str, value: str, rows: ScoredRows, seed: int) -> dict[str, object]:
    """Return a row of `segments_of`."""
    found: dict[str, object] = {"column": column, "value": value, "rows": len(rows.true)}
    statistics = {"mean_absolute_error": mean_absolute_error, "bias": bias}
    for name, statistic in statistics.items():
        weighted, columns = with_weight(statistic, (rows.true, rows.predicted), rows.weight)
        interval = bootstrap_interval(weighted, columns, seed) if len(rows.true) > 1 else (np.nan, np.nan)
        found |= dict(zip((name, f"{name}_low", f"{name}_high"), (float(weighted(*columns)), *interval), strict=True))
    covered = coverage(rows.true, rows.low, rows.high, rows.weight)
    low, high = coverage_interval(covered, effective_rows(len(rows.true), rows.weight))
    return found | {"coverage": covered, "coverage_low": low, "coverage_high": high}


def bias(true: np.ndarray, predicted: np.ndarray, axis: int = -1, weight: np.ndarray | None = None) -> np.ndarray:
    """Return the mean of predicted − true, in units of the target."""
    return mean(predicted - true, axis, weight)
