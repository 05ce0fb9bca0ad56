"""Measure the overhead of a search over plain Optuna, and its gain on public data sets.

    python benchmarks/tune.py cost
    python benchmarks/tune.py gain concrete boston hitters --trials 50     # needs what benchmarks/models.py needs

`cost` prints the ratio of the seconds of `tune` on the bundled file to those of plain Optuna with its SQLite storage,
which cross-validates the same parameters on the same folds, and prunes trials by the same rule. `gain` prints for each
data set four ratios: of the cross-validated and the test error of tuned boosting to those of untuned boosting, of its
test error to that of CatBoost with its defaults, and of the test error of the first in the default leaderboard, with
boosting tuned, to that of CatBoost.
"""

import argparse
import json
import os
import tempfile
import warnings
from operator import itemgetter
from pathlib import Path
from time import monotonic
from typing import Any

import end_to_end
import numpy as np
import optuna
import pandas as pd
from models import (
    DATASETS,
    PROJECT,
    Options,
    Sets,
    evaluate,
    evaluate_ours,
    evaluate_peers,
    geometric_mean,
    load_split,
    read_and_split,
    stored_rows,
)

from workflow.evaluation import cross_validation, search
from workflow.evaluation.ranking import ranking_metric
from workflow.models import catalog, estimators
from workflow.parallel.executors import iterate_in_processes, single_blas_thread
from workflow.parameters import DEFAULT_METRIC, TrainParams
from workflow.stages import train

METRIC = ranking_metric(DEFAULT_METRIC, {})
RATIOS = "CV error {:.3f}, test {:.3f}, over CatBoost {:.3f}, the first over CatBoost {:.3f}"


class Trials:
    """Trials of a model on a training set."""

    def __init__(self, model: str, sets: Sets) -> None:
        """Fit the untuned model, whose preparation of the data the trials share."""
        self.params, self.contract, self.rows = TrainParams(model=model), sets.contract, sets.train
        with tempfile.TemporaryDirectory() as folder:
            inputs = train.TrainInputs(stored_rows(sets.train, Path(folder)), sets.contract)
            self.untuned = train.run(self.params, inputs)
        self.preparation = estimators.preparation_of(self.untuned.estimator)
        self.folds = train.make_folds(self.params, sets.train, sets.contract)

    def error(self, params: dict[str, Any], fold: int) -> float:
        """Return the mean absolute error on one fold."""
        estimator = train.build_estimator(
            self.params, self.params.model, params, self.preparation, self.rows, self.contract
        )
        features, target = self.rows[self.contract.features], self.rows[self.contract.target]
        predictions = cross_validation.predict_fold(estimator, features, target, self.folds[fold])
        return float(METRIC.error(predictions["true"].to_numpy(), predictions["predicted"].to_numpy()))

    def search(self, trials: int, start: dict[str, Any]) -> optuna.Study:
        """Return the study after a number of trials, the first of which has the parameters `start`."""
        space = search.distributions(self.params.model, catalog.get_model(self.params.model).search_space)

        def run_trial(request):
            def score_fold(fold):
                return {"error": self.error(request.params, fold)}

            error = itemgetter("error")
            done = search.score_folds(score_fold, len(self.folds), request.pruning_thresholds, error)
            return list(map(error, done))

        def run_trials(requests):
            return iterate_in_processes(run_trial, requests, prefetch_items=8)

        *_, study = search.search(space, start, trials, 0, 0, len(self.folds), run_trials)
        return study


def cost(trials: int) -> None:
    """Print the ratio for a fast model and for a slow one."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sets = read_and_split(PROJECT / "data/wines.csv", "price")
    for model in ("linear", "boosting"):
        with tempfile.TemporaryDirectory() as folder:
            ours, path = end_to_end.search(Path(folder), model, trials)
            param_sets = [json.loads(params) for params in pd.read_parquet(path)["parameters"]]
            bare = optuna_seconds(Trials(model, sets), param_sets, folder)
        overhead = f"{1000 * (ours - bare) / trials:+.0f} ms per trial"
        print(f"{model:<10} {trials} trials: {ours:.1f} s, Optuna {bare:.1f} s, ratio {ours / bare:.2f}, {overhead}")


def optuna_seconds(trials: Trials, param_sets: list[dict[str, Any]], folder: str) -> float:
    """Return the seconds that plain Optuna takes for the same trials, with one job per core."""

    def objective(trial: optuna.Trial) -> float:
        params, errors = param_sets[trial.number], []
        with single_blas_thread():
            for fold in range(len(trials.folds)):
                errors.append(trials.error(params, fold))
                trial.report(float(np.mean(errors)), fold)
                if trial.should_prune():
                    raise optuna.TrialPruned
        return float(np.mean(errors))

    study = optuna.create_study(storage=f"sqlite:///{folder}/optuna.db", pruner=optuna.pruners.MedianPruner())
    started = monotonic()
    study.optimize(objective, len(param_sets), n_jobs=os.cpu_count())
    return monotonic() - started


def gain(names: list[str], trials: int) -> None:
    """Print a line per data set, and the geometric means."""
    warnings.simplefilter("ignore")
    lines = []
    for name in names or DATASETS:
        sets = load_split(name)
        boosting = Trials("boosting", sets)
        untuned, error = boosting.untuned.estimator, boosting.untuned.cv_scores["cv_mean_absolute_error"]
        study = boosting.search(trials, untuned.regressor[-1].get_params())
        params = {"boosting": search.rounded(study.best_params)}
        results = evaluate_ours(sets, catalog.default_models(len(sets.train), METRIC.name), params)
        first = min(results, key=lambda each: each.ranked_by).mae
        after = next(each.mae for each in results if each.model == "boosting")
        before = evaluate(name, untuned, sets).mae
        catboost = next(evaluate_peers(sets, Options(peers=("catboost",)), 0)).mae
        lines.append((study.best_value / error, after / before, after / catboost, first / catboost))
        print(f"{name:<16}", RATIOS.format(*lines[-1]), flush=True)
    lower = sum(line[0] < 1 for line in lines)
    print("geometric mean  ", RATIOS.format(*(geometric_mean(ratios) for ratios in zip(*lines, strict=True))))
    print(f"the cross-validated error is lower on {lower} of {len(lines)} data sets")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("cost", "gain"))
    parser.add_argument("names", nargs="*", help=f"data sets: {', '.join(DATASETS)} (default: all)")
    parser.add_argument("--trials", type=int, default=50, help="per data set or model (default: 50)")
    options = parser.parse_args()
    cost(options.trials) if options.what == "cost" else gain(options.names, options.trials)
