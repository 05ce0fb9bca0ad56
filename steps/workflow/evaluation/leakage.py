"""What would make a score false: columns that give the target away, and copies of rows in both parts."""

import numpy as np
import pandas as pd

from workflow.data.columns import STRING_KINDS
from workflow.data.contract import Contract
from workflow.data.sampling import evenly_spaced_positions
from workflow.data.stored import StoredRows

ONE_TO_ONE = 0.999  # |correlation| with the target from which a column gives it away
LOOKED_AT = 5000
SAMPLE = 2000  # distinct rows to try copies on
FOLDS = NEIGHBOURS = 5


def leaky_columns(rows: StoredRows, contract: Contract) -> dict[str, str]:
    """Columns that give the target away, and how: a copy of it, or a number that moves one to one with it.

    Up to `LOOKED_AT` of the rows, evenly spaced, are looked at. Ranks are compared too, so that a logarithm is found.
    """
    frame = rows.take(evenly_spaced_positions(len(rows), LOOKED_AT))
    target = frame[contract.target]
    target_ranks = target.rank()
    found = {}
    for name in contract.features:
        values = frame[name]
        if contract.columns[name].kind in STRING_KINDS:
            if values.notna().all() and (values.astype(str) == target.astype(str)).all():
                found[name] = "is a copy of the target"
            continue
        known = values.notna()
        if known.sum() <= 10:
            continue
        others, ranks = (target, target_ranks) if known.all() else (target[known], target[known].rank())
        values = values[known]
        with np.errstate(invalid="ignore"):  # a constant moves with nothing
            pairs = ((values, others), (values.rank(), ranks))
            strength = max(abs(np.corrcoef(*pair)[0, 1]) for pair in pairs)
        if strength > ONE_TO_ONE and values.nunique() > 2:
            found[name] = f"moves one to one with the target (correlation {strength:.4f})"
    return found


def duplicate_leakage_scores(rows: StoredRows, copies: np.ndarray, contract: Contract, seed: int) -> dict[str, float]:
    """R² and mean absolute error of a quick model if copies of rows are in both parts; {} without copies.

    Once as it seems to be, and once on the very same test rows, each predicted from what is no copy of it: of `FOLDS`
    parts of the distinct rows, from the others.

    Args:
        rows: distinct ones, typed, of which a `SAMPLE` is taken.
        copies: how often each occurs: (rows,).
        contract: of the rows.
        seed: of the sample and of the split.
    """
    if copies.max() == 1:
        return {}
    from sklearn.metrics import mean_absolute_error, r2_score
    from sklearn.model_selection import train_test_split
    from sklearn.neighbors import KNeighborsRegressor

    chosen = np.sort(np.random.default_rng(seed).permutation(len(copies))[:SAMPLE])
    sample = rows.take(chosen)
    features, target = scaled_codes(sample[contract.features]), sample[contract.target].to_numpy()
    every = np.repeat(np.arange(len(sample)), copies[chosen])
    learned, tested = train_test_split(every, test_size=0.2, random_state=seed)
    learned, times = np.unique(learned, return_counts=True)
    learned = np.repeat(learned, times.clip(max=NEIGHBOURS))  # more of them are nobody's nearest
    tested, weights = np.unique(tested, return_counts=True)

    def predicted(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        model = KNeighborsRegressor(min(NEIGHBOURS, len(train)), weights="distance")
        return np.asarray(model.fit(features[train], target[train]).predict(features[test]))

    without = np.empty(len(tested))
    for fold in np.unique(tested % FOLDS):
        here = tested % FOLDS == fold
        without[here] = predicted(learned[learned % FOLDS != fold], tested[here])
    return {
        f"{score.__name__}_{seen}_copies": float(score(target[tested], values, sample_weight=weights))
        for seen, values in (("with", predicted(learned, tested)), ("without", without))
        for score in (r2_score, mean_absolute_error)
    }


def scaled_codes(features: pd.DataFrame) -> np.ndarray:
    """Numbers of one scale for all columns, categories by their order, to find neighbours by: (rows, columns)."""
    from sklearn.pipeline import make_pipeline

    from workflow.models.rounding import rounding_to_grid

    codes = features.apply(lambda column: column if column.dtype.kind == "f" else column.astype("category").cat.codes)
    scaled = (codes - codes.mean()) / codes.std().replace(0, 1)
    return make_pipeline(*rounding_to_grid()).fit_transform(scaled.fillna(0).to_numpy())
