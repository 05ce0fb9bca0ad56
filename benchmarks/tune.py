"""What a search costs beside Optuna's own, and what it gains on public files.

    python benchmarks/tune.py cost
    python benchmarks/tune.py gain concrete boston hitters --trials 50     # needs what benchmarks/models.py needs

`cost` prints the seconds of `tune` on the bundled file above those of a bare objective of Optuna's with its SQLite
storage, which tests the same parameters on the same folds, and gives trials up by the same rule. `gain` prints for each
file the cross-validated and the test error of tuned boosting above those of the untuned, and its test error above that
of CatBoost with its defaults; and above the latter that of the first in the default leaderboard with boosting tuned.
"""

import argparse
import json
import os
import tempfile
import warnings
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import optuna
import pandas as pd
from models import FILES, PROJECT, load_parts, geometric_mean, ours, prepared, result, rivals, untracked

import workflow
from workflow.data import contract, split
from workflow.evaluation import cross_validation, search, tree_count
from workflow.models import catalog, estimators
from workflow.parallel.executors import iterate_in_processes, single_blas_thread

SHOWN = "CV error {:.3f}, test {:.3f}, over CatBoost {:.3f}, the first over CatBoost {:.3f}"


class Trials:
    """Trials of a model on a training part."""

    def __init__(self, model: str, train: pd.DataFrame, terms: contract.Contract, folds: int = 5) -> None:
        """Fit nothing yet."""
        self.model, self.terms = model, terms
        self.features, self.target, self.rows = train[terms.features], train[terms.target], len(train)
        self.scale = estimators.choose_target_transform("auto", self.target)
        self.folds = split.folds(train, folds, 0)

    def build(self, own):
        """An unfitted estimator."""
        return estimators.build(self.model, self.terms, "auto", self.scale, 0, own, self.rows)

    def error(self, own, fold: int) -> float:
        """In one fold."""
        tested = cross_validation.predict_fold(self.build(own), self.features, self.target, self.folds[fold])
        return cross_validation.fold_scores(tested)["mean_absolute_error"]

    def untuned(self):
        """The model as it is without a search, and its cross-validated error."""
        fitted, tested = tree_count.select_and_cross_validate(
            self.model, {}, self.build({}), self.features, self.target, self.folds, untracked
        )
        return fitted, cross_validation.cross_validation_scores(tested)["cv_mean_absolute_error"]

    def search(self, trials: int, start: dict[str, Any]) -> optuna.Study:
        """The study after so many, of which the first has the parameters `start`."""
        space = search.distributions(self.model, catalog.get_model(self.model).space)

        def test_trial(asked):
            own, limits = asked
            done = search.test_folds(lambda fold: {"": self.error(own, fold)}, len(self.folds), limits, "")
            return [scores[""] for scores in done]

        def test(asked):
            return iterate_in_processes(test_trial, asked, ahead=8)

        *_, study = search.search(space, start, trials, 0, 0, len(self.folds), test)
        return study


def cost(trials: int) -> None:
    """Print the ratio for a quick model and for a slow one."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    train, _, terms = prepared(PROJECT / "data/wines.csv", "price")
    for model in ("linear", "boosting"):
        with tempfile.TemporaryDirectory() as folder:
            ours, place = workflow.search(Path(folder), model, trials)
            tried = map(json.loads, pd.read_parquet(place)["parameters"])
            bare = bare_seconds(Trials(model, train, terms), list(tried), folder)
        more = f"{1000 * (ours - bare) / trials:+.0f} ms each"
        print(f"{model:<10} {trials} trials: {ours:.1f} s, bare {bare:.1f} s, ratio {ours / bare:.2f}, {more}")


def bare_seconds(given: Trials, tried: list[dict[str, Any]], folder: str) -> float:
    """How long Optuna takes by itself for the same trials, as many at once as there are cores."""

    def objective(trial: optuna.Trial) -> float:
        own, errors = tried[trial.number], []
        with single_blas_thread():
            for fold in range(len(given.folds)):
                errors.append(given.error(own, fold))
                trial.report(float(np.mean(errors)), fold)
                if trial.should_prune():
                    raise optuna.TrialPruned
        return float(np.mean(errors))

    study = optuna.create_study(storage=f"sqlite:///{folder}/optuna.db", pruner=optuna.pruners.MedianPruner())
    started = monotonic()
    study.optimize(objective, len(tried), n_jobs=os.cpu_count())
    return monotonic() - started


def gain(names: list[str], trials: int) -> None:
    """Print a line per file, and the geometric means."""
    warnings.simplefilter("ignore")
    lines = []
    for name in names or FILES:
        train, test, terms = load_parts(name)
        given = Trials("boosting", train, terms)
        untuned, error = given.untuned()
        study = given.search(trials, untuned.regressor[-1].get_params())
        board = ours(
            train, test, terms, catalog.default_models(len(train)), {"boosting": search.rounded(study.best_params)}
        )
        first = min(board, key=lambda each: each.ranked_by).mae
        after = next(each.mae for each in board if each.model == "boosting")
        before = result(name, untuned, test[terms.features], test[terms.target], 0).mae
        catboost = rivals(train, test, terms)[-1].mae
        lines.append((study.best_value / error, after / before, after / catboost, first / catboost))
        print(f"{name:<16}", SHOWN.format(*lines[-1]), flush=True)
    lower = sum(line[0] < 1 for line in lines)
    print("geometric mean  ", SHOWN.format(*(geometric_mean(ratios) for ratios in zip(*lines, strict=True))))
    print(f"the cross-validated error is lower on {lower} of {len(lines)} files")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("cost", "gain"))
    parser.add_argument("names", nargs="*", help=f"files: {', '.join(FILES)} (default: all)")
    parser.add_argument("--trials", type=int, default=50, help="for each file or model (default: 50)")
    given = parser.parse_args()
    cost(given.trials) if given.what == "cost" else gain(given.names, given.trials)
