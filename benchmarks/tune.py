"""What a search costs beside Optuna's own, and what it gains on public files.

    python benchmarks/tune.py cost
    python benchmarks/tune.py gain concrete boston hitters --trials 50     # needs what benchmarks/models.py needs

`cost` prints the seconds of `tune` on the bundled file above those of a bare objective of Optuna's with its SQLite
storage, which fits the same models on the same folds, and gives the same trials up. `gain` prints for each file the
cross-validated and the test error of tuned boosting above those of the untuned, and its test error above that of
CatBoost with its defaults.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import warnings
from time import monotonic

import numpy as np
import optuna
import pandas as pd
from models import FILES, PROJECT, geometric_mean, parts_of, result, rivals

from tabular.learning import estimators, models, search, split
from tabular.reading import contract, tables

SHOWN = "CV error {:.3f}, test {:.3f}, over CatBoost {:.3f}"


class Trials:
    """Trials of a model on a training part."""

    def __init__(self, model: str, train: pd.DataFrame, terms: contract.Contract, folds: int = 5) -> None:
        """Fit nothing yet."""
        self.model, self.terms = model, terms
        self.features, self.target, self.rows = train[terms.features], train[terms.target], len(train)
        self.scale = estimators.scale_to_learn("auto", self.target)
        self.folds = split.folds(train, folds, 0)
        self.space = search.distributions(model, models.model_of(model).space)

    def build(self, own):
        """An unfitted estimator."""
        return estimators.build(self.model, self.terms, "auto", self.scale, 0, own, self.rows)

    def attempt(self, own, give_up) -> bool:
        """See `search.search`."""
        tested = search.test(
            self.build(own),
            self.features,
            self.target,
            self.folds,
            lambda scores: give_up(scores["mean_absolute_error"]),
        )
        return len(tested) == len(self.folds)

    def search(self, trials: int) -> optuna.Study:
        """The study after so many."""
        start = models.regressor(self.model, 0, {}).get_params()
        *_, study = search.search(self.space, start, trials, 0, 0, self.attempt)
        return study


def cost(trials: int) -> None:
    """Print the ratio for a quick model and for a slow one."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    rows, lost = tables.read_table(PROJECT / "data/wines.csv")
    typed, _ = contract.enforce(rows, terms := contract.read_contract(PROJECT / "data/wines.yaml"), lost)
    train, _ = split.split(split.distinct(typed)[0], 0.2, 0)
    for model in ("linear", "boosting"):
        with tempfile.TemporaryDirectory() as folder:
            bare, ours = bare_seconds(Trials(model, train, terms), trials, folder), our_seconds(model, trials, folder)
        more = f"{1000 * (ours - bare) / trials:+.0f} ms each"
        print(f"{model:<10} {trials} trials: {ours:.1f} s, bare {bare:.1f} s, ratio {ours / bare:.2f}, {more}")


def bare_seconds(given: Trials, trials: int, folder: str) -> float:
    """How long Optuna takes by itself."""

    def objective(trial: optuna.Trial) -> float:
        errors = []

        def give_up(error: float) -> bool:
            errors.append(error)
            trial.report(float(np.mean(errors)), len(errors))
            return trial.should_prune()

        own = {name: trial._suggest(name, scale) for name, scale in given.space.items()}
        if not given.attempt(search.rounded(own), give_up):
            raise optuna.TrialPruned
        return float(np.mean(errors))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sampler = optuna.samplers.TPESampler(n_startup_trials=search.RANDOM, multivariate=True, seed=0)
    study = optuna.create_study(
        storage=f"sqlite:///{folder}/optuna.db", sampler=sampler, pruner=optuna.pruners.MedianPruner()
    )
    start = models.regressor(given.model, 0, {}).get_params()
    study.enqueue_trial({name: start[name] for name, scale in given.space.items() if search.may_be(scale, start[name])})
    started = monotonic()
    study.optimize(objective, trials)
    return monotonic() - started


def our_seconds(model: str, trials: int, folder: str) -> float:
    """What `tune` says that its search took."""
    words = [sys.executable, str(PROJECT / "steps/tune.py"), "--model", model, "--trials", str(trials)]
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return float(re.search(rf"^tune {model} +([\d.]+) s", done.stderr, re.M)[1])


def gain(names: list[str], trials: int) -> None:
    """Print a line per file, and the geometric means."""
    warnings.simplefilter("ignore")
    lines = []
    for name in names or FILES:
        train, test, terms = parts_of(name)
        given = Trials("boosting", train, terms)
        study = given.search(trials)
        before, after = (
            result(
                name,
                estimators.fit(given.build(own), given.features, given.target),
                test[terms.features],
                test[terms.target],
                0,
            ).mae
            for own in ({}, search.rounded(study.best_params))
        )
        catboost = rivals(train, test, terms)[-1].mae
        lines.append((study.best_value / study.trials[0].value, after / before, after / catboost))
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
