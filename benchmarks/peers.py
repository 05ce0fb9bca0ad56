"""Fit one package that our models are compared with, in the environment of that package.

    pip install "autogluon.tabular[lightgbm,catboost,xgboost]" flaml mljar-supervised pyarrow
    python benchmarks/peers.py FOLDER catboost --metric mean_absolute_error --seconds 120

`models.py` runs this script with the Python of another environment (AutoGluon needs pandas 2), so it imports nothing of
ours. FOLDER has `train.parquet`, whose last column is the target, and `test.parquet` without it. Categorical features
have the dtype category there, free text is strings, dates are datetimes. The predictions, the seconds of the fit and
the size of the fitted model (of AutoGluon and mljar, of all files that they keep) are written to `outcome.json`.

LightGBM, XGBoost and CatBoost have their defaults, and get categorical features as such. AutoGluon, FLAML and mljar get
strings, the metric, the seconds and all processors.
"""

import argparse
import json
import math
import pickle
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

METRICS = {"mean_absolute_error": "mae", "root_mean_squared_error": "rmse"}  # and what FLAML and mljar call them
OUTCOME = "outcome.json"


@dataclass(frozen=True)
class Task:
    """What a package is to fit and to predict.

    Attributes:
        features: of the training set, (rows, features).
        target: of the training set, (rows,).
        unseen: features of the test set, (test rows, features).
        metric: a key of `METRICS`, to be minimized.
        seconds: that a search for models may take.
        folder: an empty one for the files of the package.
    """

    features: pd.DataFrame
    target: pd.Series
    unseen: pd.DataFrame
    metric: str
    seconds: float
    folder: Path

    @property
    def categorical(self) -> list[str]:
        """Return the names of the categorical features."""
        return list(self.features.select_dtypes("category").columns)

    @property
    def text(self) -> list[str]:
        """Return the names of the features of free text."""
        return list(self.features.select_dtypes(exclude=["number", "category", "datetime"]).columns)


@dataclass(frozen=True)
class Outcome:
    """The predictions of the test set, the seconds of the fit, and the size of the fitted model."""

    predictions: list[float]
    seconds: float
    megabytes: float


def read_task(folder: Path, metric: str, seconds: float, working_folder: Path) -> Task:
    """Return the task that the Parquet files of a folder describe."""
    train = pd.read_parquet(folder / "train.parquet")
    features, target = train.iloc[:, :-1], train.iloc[:, -1]
    return Task(features, target, pd.read_parquet(folder / "test.parquet"), metric, seconds, working_folder)


def as_strings(task: Task, missing: str | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return both sets of features with strings instead of categories, and with `missing` for missing ones."""
    sets = [rows.astype(dict.fromkeys(task.categorical, object)) for rows in (task.features, task.unseen)]
    if missing is not None:
        sets = [rows.fillna(dict.fromkeys(task.categorical + task.text, missing)) for rows in sets]
    return sets[0], sets[1]


def with_days(rows: pd.DataFrame) -> pd.DataFrame:
    """Return features with days since 1970 instead of datetimes, which the boosting packages do not take."""
    dates = rows.select_dtypes("datetime")
    return rows.assign(**{name: (dates[name] - pd.Timestamp(0)) / pd.Timedelta(days=1) for name in dates})


def as_categories(task: Task) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return both sets of features without free text, and with the categories of the training set."""
    dtypes = {name: pd.CategoricalDtype(sorted(task.features[name].dropna().unique())) for name in task.categorical}
    train, test = (with_days(rows.drop(columns=task.text).astype(dtypes)) for rows in (task.features, task.unseen))
    return train, test


def fit_and_predict(
    regressor: Any, features: pd.DataFrame, target: pd.Series, unseen: pd.DataFrame, folder: Path | None = None
) -> Outcome:
    """Fit a regressor with scikit-learn's methods; its size is that of `folder` if it saves itself there."""
    started = time.monotonic()
    regressor.fit(features, target)
    seconds = time.monotonic() - started
    size = folder_size(folder) if folder else len(pickle.dumps(regressor))
    return Outcome([float(value) for value in regressor.predict(unseen)], seconds, size / 1e6)


def folder_size(folder: Path) -> int:
    """Return the number of bytes of the files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def fit_lightgbm(task: Task) -> Outcome:
    """Fit LightGBM with its defaults; it does not take free text."""
    from lightgbm import LGBMRegressor

    train, test = as_categories(task)
    return fit_and_predict(LGBMRegressor(verbose=-1), train, task.target, test)


def fit_xgboost(task: Task) -> Outcome:
    """Fit XGBoost with its defaults; it does not take free text."""
    from xgboost import XGBRegressor

    train, test = as_categories(task)
    return fit_and_predict(XGBRegressor(enable_categorical=True), train, task.target, test)


def fit_catboost(task: Task) -> Outcome:
    """Fit CatBoost with its defaults."""
    from catboost import CatBoostRegressor

    train, test = as_strings(task, "missing")
    regressor = CatBoostRegressor(
        verbose=0, allow_writing_files=False, cat_features=task.categorical, text_features=task.text
    )
    return fit_and_predict(regressor, with_days(train), task.target, with_days(test))


def fit_autogluon(task: Task, presets: str) -> Outcome:
    """Fit AutoGluon, which leaves out the models whose packages are not installed."""
    from autogluon.tabular import TabularPredictor

    train, test = as_strings(task)
    label = str(task.target.name)
    predictor = TabularPredictor(
        label, problem_type="regression", eval_metric=task.metric, path=str(task.folder), verbosity=0
    )
    started = time.monotonic()
    predictor.fit(train.assign(**{label: task.target}), presets=presets, time_limit=task.seconds)
    seconds = time.monotonic() - started
    return Outcome([float(value) for value in predictor.predict(test)], seconds, folder_size(task.folder) / 1e6)


def fit_flaml(task: Task) -> Outcome:
    """Fit FLAML."""
    from flaml import AutoML

    settings = {"time_budget": task.seconds, "metric": METRICS[task.metric], "task": "regression", "seed": 0}
    train, test = as_strings(task)
    return fit_and_predict(AutoML(**settings, verbose=0), train, task.target, test)


def fit_mljar(task: Task) -> Outcome:
    """Fit mljar-supervised, in its mode for competitions."""
    from supervised import AutoML

    regressor = AutoML(
        results_path=str(task.folder),
        mode="Compete",
        ml_task="regression",
        total_time_limit=math.ceil(task.seconds),
        eval_metric=METRICS[task.metric],
        random_state=0,
        verbose=0,
    )
    train, test = as_strings(task)
    return fit_and_predict(regressor, train, task.target, test, task.folder)


PEERS: dict[str, Callable[[Task], Outcome]] = {
    "lightgbm": fit_lightgbm,
    "xgboost": fit_xgboost,
    "catboost": fit_catboost,
    "autogluon_medium": partial(fit_autogluon, presets="medium_quality"),
    "autogluon_best": partial(fit_autogluon, presets="best_quality"),
    "flaml": fit_flaml,
    "mljar": fit_mljar,
}


def main(folder: Path, peer: str, metric: str, seconds: float) -> None:
    """Fit a package on the files of a folder, and write what came of it."""
    working_folder = folder / peer
    working_folder.mkdir()
    outcome = PEERS[peer](read_task(folder, metric, seconds, working_folder))
    (folder / OUTCOME).write_text(json.dumps(asdict(outcome)), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--metric", choices=METRICS, default="mean_absolute_error")
    parser.add_argument("--seconds", type=float, default=120)
    main(**vars(parser.parse_args()))
