"""Leakage: features that give the target away, and duplicates that are in both the training and the test set."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from workflow.data.columns import STRING_KINDS
from workflow.data.contract import Contract
from workflow.data.findings import Finding
from workflow.data.sampling import evenly_spaced_positions
from workflow.data.stored import StoredRows
from workflow.formatting import number

LEAKY_CORRELATION = 0.995  # |correlation| with the target above which a feature is leaky
ONE_TO_ONE = 0.999
MIN_RANK_CORRELATION = 0.9
LEAKY_MIN_VALUES = 11  # known values that it takes to judge a feature
LEAKY_SAMPLE_ROWS = 5000
DUPLICATES_SAMPLE_ROWS = 2000  # distinct rows
N_FOLDS = N_NEIGHBORS = 5
CHANCE_RATIO = 1.02  # of the error without duplicates to that with them: less says nothing


def leaky_columns(rows: StoredRows, contract: Contract) -> list[Finding]:
    """Find the features that give the target away: copies of it, and numbers that rise or fall strictly with it.

    Up to `LEAKY_SAMPLE_ROWS` evenly spaced rows are read.
    """
    frame = rows.take(evenly_spaced_positions(len(rows), LEAKY_SAMPLE_ROWS))
    target = frame[contract.target]
    target_ranks = target.rank()
    found = []
    for name in contract.features:
        values = frame[name]
        if contract.columns[name].kind in STRING_KINDS:
            if values.notna().all() and (values.astype(str) == target.astype(str)).all():
                found.append(leaky_column(name, "is a copy of the target", contract.target))
        elif values.notna().sum() >= LEAKY_MIN_VALUES:
            correlation = largest_correlation(values, target, target_ranks)
            if correlation > LEAKY_CORRELATION and values.nunique() > 2:
                almost = "" if correlation > ONE_TO_ONE else "almost "
                how = f"moves {almost}one to one with the target (correlation {correlation:.4f})"
                found.append(leaky_column(name, how, contract.target, {"correlation": float(correlation)}))
    return found


def leaky_column(name: str, how: str, target: str, figures: dict[str, float] | None = None) -> Finding:
    """Return the finding about a column that gives the target away."""
    return Finding(
        "D106", f"column {name} {how}", f"drop it unless it is known before {target} is", (name,), figures or {}
    )


def largest_correlation(values: pd.Series, target: pd.Series, target_ranks: pd.Series) -> float:
    """Return the larger |correlation| of a feature with the target: of values, or of ranks, which finds a logarithm.

    That of values does not count where that of ranks is low: a single large row may make it.

    Args:
        values: (rows,), of which missing ones are left out.
        target: (rows,).
        target_ranks: (rows,), to save ranking it for each feature without missing values.
    """
    known = values.notna()
    if not known.all():
        values, target = values[known], target[known]
        target_ranks = target.rank()
    with np.errstate(invalid="ignore"):  # a constant has no correlation
        of_values, of_ranks = (
            abs(np.corrcoef(*pair)[0, 1]) for pair in ((values, target), (values.rank(), target_ranks))
        )
    return float(max(of_values, of_ranks) if of_ranks > MIN_RANK_CORRELATION else of_ranks)


def duplicate_leakage_scores(
    rows: StoredRows, duplicate_counts: np.ndarray, contract: Contract, seed: int
) -> dict[str, float]:
    """Measure how much a random split that ignores duplicates flatters a k-nearest-neighbours model.

    The same test rows are predicted twice: from a training set with duplicates of them, and from folds without.

    Args:
        rows: distinct typed rows, of which `DUPLICATES_SAMPLE_ROWS` are sampled.
        duplicate_counts: how often each occurs: (rows,).
        contract: of the rows.
        seed: of the sample and the split.

    Returns:
        R² and mean absolute error, each `…_with_copies` and `…_without_copies`; {} if there are no duplicates.
    """
    if duplicate_counts.max() == 1:
        return {}
    from sklearn.metrics import mean_absolute_error, r2_score

    positions = np.sort(np.random.default_rng(seed).permutation(len(duplicate_counts))[:DUPLICATES_SAMPLE_ROWS])
    sample = rows.take(positions)
    features, target = scaled_codes(sample[contract.features]), sample[contract.target].to_numpy()
    train, test, weights = split_duplicates(duplicate_counts[positions], seed)
    fit_and_predict = knn_predictor(features, target)
    predictions = {
        "with": fit_and_predict(train, test),
        "without": predict_without_duplicates(fit_and_predict, train, test),
    }
    return {
        f"{metric.__name__}_{seen}_copies": float(metric(target[test], predicted, sample_weight=weights))
        for seen, predicted in predictions.items()
        for metric in (r2_score, mean_absolute_error)
    }


def duplicate_findings(counts: Mapping[str, int], scores: Mapping[str, float], unit: str) -> list[Finding]:
    """Return findings about exact duplicates, if they would make a score look better, or are in both sets.

    Args:
        counts: rows of each sort, by the names of the metrics.
        scores: see `duplicate_leakage_scores`.
        unit: of the target.
    """
    if not scores:
        return []
    found = []
    if overlap := counts["rows_overlap"]:
        message = f"{overlap:,} test rows are exact duplicates of training rows: they will not be scored"
        found.append(Finding("D102", message, "leave duplicates=keep out", figures={"rows_overlap": overlap}))
    seeming, honest = (scores[f"mean_absolute_error_{seen}_copies"] for seen in ("with", "without"))
    if honest <= seeming * CHANCE_RATIO:
        return found
    unit = f" {unit}" if unit else ""
    duplicates = counts["rows_duplicate"]
    message = (
        f"{duplicates:,} rows are exact duplicates; with duplicates in both sets, a nearest-neighbours model would seem"
        f" to have a mean absolute error of {number(seeming)}{unit}, but has {number(honest)} on rows that it has not"
        " seen"
    )
    return [*found, Finding("D101", message, figures={"rows_duplicate": duplicates, **scores})]


def split_duplicates(duplicate_counts: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split duplicates at random, so that those of one row are on both sides.

    Args:
        duplicate_counts: how often each distinct row occurs: (distinct rows,).
        seed: of the split.

    Returns:
        Positions of training rows, each up to `N_NEIGHBORS` times; positions of distinct test rows; and how often each
        of these occurs.
    """
    from sklearn.model_selection import train_test_split

    every = np.repeat(np.arange(len(duplicate_counts)), duplicate_counts)
    train, test = train_test_split(every, test_size=0.2, random_state=seed)
    train, times = np.unique(train, return_counts=True)
    train = np.repeat(train, times.clip(max=N_NEIGHBORS))  # more of them are never among the nearest
    test, weights = np.unique(test, return_counts=True)
    return train, test, weights


def knn_predictor(features: np.ndarray, target: np.ndarray) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return a function that fits k-NN on the rows at some positions and predicts those at others."""
    from sklearn.neighbors import KNeighborsRegressor

    def fit_and_predict(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        model = KNeighborsRegressor(min(N_NEIGHBORS, len(train)), weights="distance")
        return np.asarray(model.fit(features[train], target[train]).predict(features[test]))

    return fit_and_predict


def predict_without_duplicates(
    fit_and_predict: Callable[[np.ndarray, np.ndarray], np.ndarray], train: np.ndarray, test: np.ndarray
) -> np.ndarray:
    """Predict each test row from training rows of other folds of the distinct rows: (test rows,)."""
    predicted = np.empty(len(test))
    for fold in np.unique(test % N_FOLDS):
        inside = test % N_FOLDS == fold
        predicted[inside] = fit_and_predict(train[train % N_FOLDS != fold], test[inside])
    return predicted


def codes(features: pd.DataFrame) -> pd.DataFrame:
    """Return all features as numbers, categories by their order: (rows, features)."""
    return features.apply(lambda column: column if column.dtype.kind == "f" else column.astype("category").cat.codes)


def scaled_codes(features: pd.DataFrame) -> np.ndarray:
    """Return all features as standardized numbers, categories by their order, to find neighbours: (rows, features)."""
    from sklearn.pipeline import make_pipeline

    from workflow.models.rounding import rounding_to_grid

    numbers = codes(features)
    scaled = (numbers - numbers.mean()) / numbers.std().replace(0, 1)
    return make_pipeline(*rounding_to_grid()).fit_transform(scaled.fillna(0).to_numpy())
