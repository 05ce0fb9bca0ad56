"""Which question a random split answers: whether a quick model does as well on rows that it could not look up.

The same rows are predicted twice: from folds at random, and from folds that keep together what belongs together. A
large difference is a finding; its figures are of the quick model, not of the models to come.
"""

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workflow.data import split
from workflow.data.columns import CATEGORICAL, DATE, NUMERIC, TEXT
from workflow.data.contract import Contract
from workflow.data.findings import Finding
from workflow.data.sampling import evenly_spaced_positions
from workflow.data.stored import StoredRows
from workflow.evaluation import leakage
from workflow.formatting import number

if TYPE_CHECKING:
    from sklearn.ensemble import ExtraTreesRegressor

SAMPLE_ROWS = 1000
TOO_GOOD_R2 = 0.995
N_TREES, N_FOLDS, MIN_LEAF_ROWS = 10, 3, 2
MIN_ROWS = 60  # fewer show nothing
LARGE_RATIO = 2.0  # of the error on unseen entities or later rows to that on rows at random
GOOD_R2 = 0.4  # of the quick model at random: a worse one looks nothing up
MIN_ENTITIES, MIN_NAMED_ENTITIES = 20, 8  # fewer if the column is named like an identifier
MIN_ROWS_PER_ENTITY = 2
MIN_SHARED_VARIANCE = 0.5  # of the target, between entities, or between rows and the next ones in time
MAX_CANDIDATES = 3
MAX_COLUMNS, MAX_CELLS = 200, 1_000_000  # that are looked at
ENTITY_NAME = re.compile(
    r"(?i)(?:^|[_\W])(?:id|no|nr|num|number|code|key)$|[a-z]I[dD]$|subject|patient|customer|client|user|person|player|driver"
    r"|pupil|student|employee|store|shop|station|sensor|device|household|account|machine|engine|unit|#"
)
TIME_NAME = re.compile(r"(?i)time|date|epoch|(?:^|_)ts$")
NEAR_DUPLICATES_ROWS = 20_000
NEAR_DUPLICATES_BLOCKS = 20  # of adjacent rows, because the rows are sorted
NEAR_DUPLICATES_RATIO = 1.2
MIN_NEAR_DUPLICATES = 0.02  # fraction of the rows
MIN_COLUMNS = 4  # fewer are often equal but for one by chance


@dataclass(frozen=True)
class Comparison:
    """The errors of the quick model on the same rows: at random, and where it could not look them up."""

    r2_random: float
    r2_honest: float
    mae_random: float
    mae_honest: float
    median_random: float
    median_honest: float

    def is_optimistic(self, ratio: float = LARGE_RATIO) -> bool:
        """Return whether the score at random is good, and the honest one much worse, not only for a few rows."""
        ratios = self.mae_honest - ratio * self.mae_random, self.median_honest - ratio * self.median_random
        return self.r2_random >= GOOD_R2 and min(ratios) >= 0

    @property
    def at_random(self) -> str:
        """The scores from folds at random, for a message."""
        return f"R² {self.r2_random:.2f} (error {number(self.mae_random)})"

    @property
    def honest(self) -> str:
        """The scores of rows that could not be looked up, for a message."""
        return f"{self.r2_honest:.2f} ({number(self.mae_honest)})"

    def figures(self) -> dict[str, float]:
        """Return the scores by name."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def question_findings(rows: StoredRows, contract: Contract, strategy: str, seed: int) -> list[Finding]:
    """Return a finding if a random split lets a model look rows up: by an entity, by time, or by near duplicates.

    Args:
        rows: typed and distinct, sorted by value.
        contract: of the rows.
        strategy: of the split: what it keeps together needs no finding.
        seed: of samples, folds and trees.
    """
    if len(rows) < MIN_ROWS or strategy != split.RANDOM:
        return []
    rows, contract = narrowed(rows, contract)
    found = [entity_finding(rows, contract, seed), time_finding(rows, contract, seed)]
    found = [each for each in found if each] or [near_duplicate_finding(rows, contract, seed)]
    return [each for each in found if each]


def narrowed(rows: StoredRows, contract: Contract) -> tuple[StoredRows, Contract]:
    """Return rows without prose and with at most `MAX_COLUMNS` features: first those that may be entities or times."""
    features = [name for name in contract.features if contract.columns[name].kind != TEXT]
    first = [name for name in features if may_be_time(name, contract) or ENTITY_NAME.search(name)]
    others = [name for name in features if name not in {*first}]
    kept = [*first, *(others[position] for position in evenly_spaced_positions(len(others), MAX_COLUMNS))][:MAX_COLUMNS]
    selected = contract.select([*kept, contract.target])
    return rows.select(list(selected.columns)), selected


def entity_finding(rows: StoredRows, contract: Contract, seed: int) -> Finding | None:
    """Return a finding if many rows are of the same entities, which makes a random split optimistic."""
    samples = {}
    for name in entity_columns(rows, contract):
        if (positions := sample_of_groups(rows[name], seed)) is not None:
            sample = rows.select([name, contract.target]).take(positions)
            share = shared_variance(sample[contract.target].to_numpy(), entities_of(sample[name]))
            if share >= MIN_SHARED_VARIANCE:
                samples[name] = share, positions
    compared = {}
    for name in sorted(samples, key=lambda name: -samples[name][0])[:MAX_CANDIDATES]:
        sample = rows.take(samples[name][1])
        scores = compare_folds(sample, contract, entities_of(sample[name]), seed)
        if scores.is_optimistic():
            compared[name] = scores
    if not compared:
        return None
    name, scores = max(compared.items(), key=lambda each: each[1].mae_honest)
    message = (
        f"{len(rows):,} rows are of {rows[name].nunique():,} values of {name}, which a random split puts into both"
        f" sets: a quick model has {scores.at_random} at random, but {scores.honest} for a {name} that it has not seen"
    )
    remedy = f"if the model is for new ones, pass -P split=group -P {shlex.quote(f'group={name}')}"
    return Finding("D104", message, remedy, (name,), scores.figures())


def entities_of(values: pd.Series) -> np.ndarray:
    """Return a number per row that rows with equal values share: (rows,)."""
    return pd.factorize(values, use_na_sentinel=False)[0]


def entity_columns(rows: StoredRows, contract: Contract) -> Iterator[str]:
    """Yield the features that may name an entity: categories, and integers that recur."""
    sample = rows.take(evenly_spaced_positions(len(rows), SAMPLE_ROWS))
    for name in contract.features:
        kind = contract.columns[name].kind
        if kind == CATEGORICAL or (kind == NUMERIC and (sample[name].dropna() % 1 == 0).all()):
            yield name


def sample_of_groups(values: pd.Series, seed: int) -> np.ndarray | None:
    """Return the positions of rows of some groups, up to `SAMPLE_ROWS`; None if few rows share a value."""
    codes, groups = pd.factorize(values)
    least = MIN_NAMED_ENTITIES if ENTITY_NAME.search(str(values.name)) else MIN_ENTITIES
    if len(groups) < least or len(groups) * MIN_ROWS_PER_ENTITY > len(codes):
        return None
    random = np.random.default_rng(seed)
    shuffled = random.permutation(np.flatnonzero(codes >= 0))
    nth_of_group = pd.Series(codes[shuffled]).groupby(codes[shuffled]).cumcount()
    few_of_each = shuffled[nth_of_group < SAMPLE_ROWS // least]
    rank = random.permutation(len(groups))
    return np.sort(few_of_each[np.argsort(rank[codes[few_of_each]], kind="stable")][:SAMPLE_ROWS])


def shared_variance(target: np.ndarray, groups: np.ndarray) -> float:
    """Return the fraction of the target's variance that is between groups (adjusted R² of the group means)."""
    means = pd.Series(target).groupby(groups).transform("mean").to_numpy()
    free = len(target) - len(np.unique(groups))
    total = target.var(ddof=1)
    return float(1 - ((target - means) ** 2).sum() / free / total) if free > 0 and total > 0 else 0.0


def may_be_time(name: str, contract: Contract) -> bool:
    """Return whether a column is of dates, or numbers that are named like a time, such as seconds since 1970."""
    kind = contract.columns[name].kind
    return kind == DATE or name == contract.time or (kind == NUMERIC and bool(TIME_NAME.search(name)))


def time_finding(rows: StoredRows, contract: Contract, seed: int) -> Finding | None:
    """Return a finding if the target resembles that of the next row in time, which makes a random split optimistic."""
    names = [name for name in contract.features if may_be_time(name, contract)]
    for name in names[:MAX_CANDIDATES]:
        times = rows[name].to_numpy()
        order = np.argsort(times, kind="stable")[: int(np.isfinite(times).sum())]
        if len(order) < MIN_ROWS or len(np.unique(times[order])) < MIN_ROWS:
            continue
        positions = order[evenly_spaced_positions(len(order), SAMPLE_ROWS)]
        sample = rows.take(positions)
        target = sample[contract.target].to_numpy()
        if target.std() == 0 or np.corrcoef(target[1:], target[:-1])[0, 1] < MIN_SHARED_VARIANCE:
            continue
        scores = compare_later(sample, contract, seed)
        if scores.is_optimistic():
            message = (
                f"rows follow each other in {name}: a quick model has {scores.at_random} on the latest rows if it is"
                f" fitted on rows around them, but {scores.honest} if it is fitted on earlier ones only"
            )
            remedy = f"if the model is to predict later rows, pass -P split=time -P {shlex.quote(f'time={name}')}"
            return Finding("D105", message, remedy, (name,), scores.figures())
    return None


def near_duplicate_finding(rows: StoredRows, contract: Contract, seed: int) -> Finding | None:
    """Return a finding if many rows equal another one but for one value, which makes a random split optimistic."""
    if len(contract.columns) < MIN_COLUMNS:
        return None
    blocks = np.array_split(np.arange(len(rows)), NEAR_DUPLICATES_BLOCKS if len(rows) > NEAR_DUPLICATES_ROWS else 1)
    size = min(NEAR_DUPLICATES_ROWS, MAX_CELLS // len(contract.columns)) // len(blocks)
    frame = rows.take(np.concatenate([block[:size] for block in blocks]))
    groups = near_duplicate_groups(frame)
    count = int((np.bincount(groups)[groups] > 1).sum())
    if count < max(2, MIN_NEAR_DUPLICATES * len(frame)) or groups.max() < MIN_ENTITIES:
        return None
    rank = np.random.default_rng(seed).permutation(len(frame))
    chosen = np.sort(np.argsort(rank[groups], kind="stable")[:SAMPLE_ROWS])  # whole groups, as many as they are
    scores = compare_folds(frame.iloc[chosen], contract, groups[chosen], seed)
    if not scores.is_optimistic(NEAR_DUPLICATES_RATIO):
        return None
    message = (
        f"{count:,} of {len(frame):,} rows equal another one in all columns but one: a quick model has"
        f" {scores.at_random} with them in both sets, but {scores.honest} with each pair in one"
    )
    figures = {"rows_near_duplicate": count} | scores.figures()
    return Finding("D103", message, "drop them, or split by a column that they share (-P group=…)", figures=figures)


def near_duplicate_groups(frame: pd.DataFrame) -> np.ndarray:
    """Return a label per row that rows share if they differ in one column at most, or are linked by such rows: (rows,).

    The hash of a row is the sum of those of its cells, so that one cell can be left out of it.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    cells = [
        pd.util.hash_pandas_object(frame[name], index=False).to_numpy() * np.uint64(2 * position + 1)
        for position, name in enumerate(frame)
    ]
    total = np.sum(cells, axis=0, dtype=np.uint64)
    rows = np.tile(np.arange(len(frame)), len(cells))
    alike = np.concatenate([first_alike(total - own) for own in cells])
    links = coo_array((np.ones(len(rows), bool), (rows, alike)), shape=(len(frame), len(frame)))
    return np.asarray(connected_components(links, directed=False)[1])


def first_alike(hashes: np.ndarray) -> np.ndarray:
    """Return the position of the first row with the same hash, per row: (rows,)."""
    codes, values = pd.factorize(hashes)
    first = np.full(len(values), len(codes))
    np.minimum.at(first, codes, np.arange(len(codes)))
    return first[codes]


def compare_folds(sample: pd.DataFrame, contract: Contract, groups: np.ndarray, seed: int) -> Comparison:
    """Compare the quick model's predictions of all rows from folds at random and from folds of whole groups."""
    from sklearn.model_selection import GroupKFold, KFold

    random = KFold(N_FOLDS, shuffle=True, random_state=seed).split(sample)
    whole = GroupKFold(N_FOLDS, shuffle=True, random_state=seed).split(sample, groups=groups)
    return compare(sample, contract, random, whole, seed)


def compare_later(sample: pd.DataFrame, contract: Contract, seed: int) -> Comparison:
    """Compare the quick model's predictions of the latest fifth, fitted on rows around it and on earlier ones."""
    from sklearn.model_selection import KFold

    positions = np.arange(len(sample))
    latest = positions[int(0.8 * len(sample)) :]
    around = [(np.setdiff1d(positions, latest[test]), latest[test])
              for _, test in KFold(N_FOLDS, shuffle=True, random_state=seed).split(latest)]  # fmt: skip
    return compare(sample, contract, around, [(positions[: latest[0]], latest)], seed)


def compare(
    sample: pd.DataFrame,
    contract: Contract,
    random: Iterable[tuple[np.ndarray, np.ndarray]],
    honest: Iterable[tuple[np.ndarray, np.ndarray]],
    seed: int,
) -> Comparison:
    """Return the scores of the quick model by two kinds of folds that test the same rows."""
    from sklearn.metrics import mean_absolute_error, median_absolute_error, r2_score

    metrics = r2_score, mean_absolute_error, median_absolute_error
    features, target, scores = codes(sample, contract).to_numpy(), sample[contract.target].to_numpy(), []
    for folds in (random, honest):
        parts = [(test, trees(seed).fit(features[fold], target[fold]).predict(features[test])) for fold, test in folds]
        true, predicted = target[np.concatenate([test for test, _ in parts])], np.concatenate([p for _, p in parts])
        scores.append([float(score(true, predicted)) for score in metrics])
    return Comparison(*(score for both in zip(*scores, strict=True) for score in both))


def trees(seed: int) -> "ExtraTreesRegressor":
    """Return the unfitted quick model: a few trees."""
    from sklearn.ensemble import ExtraTreesRegressor

    return ExtraTreesRegressor(N_TREES, min_samples_leaf=MIN_LEAF_ROWS, random_state=seed)


def codes(sample: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    """Return the features as `leakage.codes`, with missing values below all others."""
    values = leakage.codes(sample[contract.features])
    return values.fillna(values.min() - 1).fillna(0)


def too_good_finding(rows: StoredRows, contract: Contract, seed: int) -> Finding | None:
    """Return a finding if the quick model is nearly perfect: it names the fewest columns that suffice for that."""
    from sklearn.metrics import r2_score
    from sklearn.model_selection import KFold, cross_val_predict

    rows, contract = narrowed(rows, contract)
    sample = rows.take(evenly_spaced_positions(len(rows), SAMPLE_ROWS))
    features, target = codes(sample, contract), sample[contract.target].to_numpy()
    if features.empty or len(rows) < MIN_ROWS:
        return None
    folds = KFold(N_FOLDS, shuffle=True, random_state=seed)

    def r2_of(names: Sequence[str]) -> float:
        predicted = cross_val_predict(trees(seed), features[list(names)].to_numpy(), target, cv=folds)
        return float(r2_score(target, predicted))

    names = list(features)
    if (r2 := r2_of(names)) < TOO_GOOD_R2:
        return None
    importances = trees(seed).fit(features.to_numpy(), target).feature_importances_
    ranked = [names[position] for position in np.argsort(-importances, kind="stable")]
    few = next((ranked[:count] for count in range(1, len(ranked)) if r2_of(ranked[:count]) >= TOO_GOOD_R2), ranked)
    message = f"a quick model of {', '.join(few)} alone has R² {r2:.4f}, which may be too good to be true"
    return Finding("D107", message, f"drop what is known only after {contract.target} is", tuple(few), {"r2": r2})
