"""The page about a search for better parameters."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from matplotlib.figure import Figure
from optuna.trial import TrialState

from tabular.learning.pairs import Difference
from tabular.telling import plots
from tabular.telling.report import Section, number, page

TEXT = (
    "First the error from trial to trial; then how much of its variation each parameter accounts for (fANOVA: Hutter et"
    " al. 2014); then every trial as a line through its parameters, dark where the error is small."
)


def conclusion(model: str, study: optuna.Study, gain: Difference, unit: str) -> str:
    """What came of the search for one model; `gain` is the tuned one's error on the test part less the other's."""
    unit = f" {unit}" if unit else ""
    given_up = len(study.get_trials(states=(TrialState.PRUNED,)))
    first = next(iter(study.trials)).value
    verdict = "it has paid" if gain.high < 0 else "it has done harm" if gain.low > 0 else "which may be chance"
    return (
        f"{len(study.trials)} trials of {model}, of which {given_up} were given up early, have brought its"
        f" cross-validated error from {number(first or study.best_value)} to {number(study.best_value)}{unit}. On the"
        f" test part, the tuned one's error differs by {gain.value:+.3g}{unit} (95 % interval {gain.low:+.3g} to"
        f" {gain.high:+.3g}): {verdict}."
    )


def tuning_report(studies: Mapping[str, optuna.Study], shown: pd.DataFrame, lead: str, folder: Path) -> str:
    """The page about the search; its pictures are also saved in `folder`.

    Args:
        studies: by model.
        shown: the leaderboard of tuned and untuned models, as people read it.
        lead: the conclusion.
        folder: where its pictures go.
    """
    sections = [Section("Leaderboard, by cross-validated error", table=shown)]
    for model, study in studies.items():
        pictures = {name: plots.save(figure, folder / f"{name}_{model}.png") for name, figure in figures(study).items()}
        best = pd.DataFrame(
            [(name, f"{value:.3g}" if isinstance(value, float) else str(value)) for name, value in
             study.best_params.items()], columns=["parameter", "best"],
        )  # fmt: skip
        sections.append(Section(f"The search for {model}", TEXT, best, tuple(pictures.values())))
    return page("Tuning", lead, sections)


def figures(study: optuna.Study) -> dict[str, Figure]:
    """Optuna's pictures of a study; but for the first, they take two trials that came to the end and differ."""
    from optuna.visualization import matplotlib as pictures

    done = {trial.value for trial in study.get_trials(states=(TrialState.COMPLETE,))}
    draw: dict[str, Any] = {"history": pictures.plot_optimization_history}
    if len(done) > 1:
        draw |= {"importances": pictures.plot_param_importances, "coordinates": pictures.plot_parallel_coordinate}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return {name: of(study).figure for name, of in draw.items()}
