"""The tuning report: the searches for parameters, and the tuned models beside the untuned ones."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from matplotlib.figure import Figure
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import TrialState

from workflow.evaluation.paired import Difference
from workflow.evaluation.ranking import RankingMetric
from workflow.formatting import number
from workflow.reports import plots, tuning_plots
from workflow.reports.leaderboard import label, title
from workflow.reports.report import Page, Picture, Section
from workflow.reports.tuning_plots import Scale

SEARCH_TEXT = (
    "A trial is pruned if its error over the folds so far is above the median of other trials at that fold. The"
    " importance of a parameter is measured by functional analysis of variance (Hutter, Hoos, Leyton-Brown 2014)."
)


def conclusion(
    metric: RankingMetric,
    model: str,
    study: optuna.Study,
    before: float,
    after: float,
    difference: Difference,
    unit: str,
) -> str:
    """Return the result of the search for one model, in a sentence or two.

    Args:
        metric: that ranks.
        model: its name.
        study: the search.
        before: cross-validated metric of the untuned model.
        after: cross-validated metric of the tuned model.
        difference: error of the tuned model minus that of the untuned one, on the test set.
        unit: of the target.
    """
    name, unit = label(metric.name, ""), f" {unit}" if unit and metric.has_target_unit else ""
    n_pruned = len(study.get_trials(states=(TrialState.PRUNED,)))
    trials = f"{len(study.trials)} trials of {model} ({n_pruned} pruned)"
    if metric.as_error(before) <= metric.as_error(after) or number(before) == number(after):
        return f"{trials} found nothing better than its defaults: a cross-validated {name} of {number(before)}{unit}."
    value, *ends = (metric.as_error(each) for each in (difference.value, difference.low, difference.high))
    verb = "raised" if metric.greater_is_better else "lowered"
    return (
        f"{trials} {verb} its cross-validated {name} from {number(before)} to {number(after)}{unit}. On the test set,"
        f" the {name} of the tuned model differs by {value:+.3g}{unit} (95 % confidence interval {min(ends):+.3g} to"
        f" {max(ends):+.3g}): {significance(difference)}."
    )


def significance(difference: Difference) -> str:
    """Return whether a difference of errors is significant: whether its confidence interval excludes 0."""
    if difference.high < 0:
        return "significantly better"
    return "significantly worse" if difference.low > 0 else "no significant difference"


def tuning_report(
    metric: RankingMetric,
    studies: Mapping[str, optuna.Study],
    best: Mapping[str, Mapping[str, Any]],
    leaderboard: pd.DataFrame,
    summary: str,
    unit: str,
    folder: Path,
    command: str,
    addresses: Mapping[str, str],
) -> Page:
    """Return the page about the searches; save its figures in a folder.

    Args:
        metric: that ranks; where greater is better, its negative is the error of a trial.
        studies: the search of each model.
        best: the best parameters of each model.
        leaderboard: of tuned and untuned models, as texts.
        summary: the conclusions.
        unit: of the target.
        folder: for the figures.
        command: compares the tuned models with others.
        addresses: pages to link to, by name.
    """
    name = f"{'−' if metric.greater_is_better else ''}{label(metric.name, '')}"
    axis = f"{name} ({unit})" if unit and metric.has_target_unit else name
    sections = [Section(title(metric), table=leaderboard)]
    for model, study in studies.items():
        words = descriptions(model, study, axis)
        pictures = [
            Picture(plots.save(figure, folder / f"{name}_{model}.png"), words[name])
            for name, figure in figures(study, axis).items()
        ]
        first = study.trials[0].params
        lines = [(name, format_param(first[name]), format_param(value)) for name, value in best[model].items()]
        params = pd.DataFrame(lines, columns=["parameter", "first trial", "best"])
        sections.append(Section(f"Search for {model}", SEARCH_TEXT, params, tuple(pictures)))
    sections.append(Section("Compare with other models", code=command))
    return Page("Tuning", summary, sections, addresses=addresses)


def descriptions(model: str, study: optuna.Study, error: str) -> dict[str, str]:
    """Return what the figures of a study show, in words, by name."""
    best = study.best_trial
    chosen = ", ".join(f"{name} {format_param(value)}" for name, value in best.params.items())
    return {
        "history": f"The {error} of {len(study.trials)} trials of {model}, and the best so far: in the end"
        f" {number(study.best_value)}, of trial {best.number}.",
        "importances": f"Bar chart of how much of the variance of the {error} each parameter of {model} explains.",
        "coordinates": f"Each trial of {model} as a line through its parameters to its {error}. The best has {chosen}.",
    }


def format_param(value: Any) -> str:
    """Return the value of a parameter as a text."""
    return number(value) if isinstance(value, float) else str(value)


def figures(study: optuna.Study, error: str) -> dict[str, Figure]:
    """Return the figures of a study by name; all but the history need two complete trials with different errors."""
    trials = pd.DataFrame(
        trial.params
        | {"error": list(trial.intermediate_values.values())[-1], "pruned": trial.state == TrialState.PRUNED}
        for trial in study.trials
    )
    drawn = {"history": tuning_plots.history(trials, error)}
    complete = trials[~trials["pruned"]]
    if complete["error"].nunique() > 1:
        scales = {name: scale_of(distribution) for name, distribution in study.best_trial.distributions.items()}
        drawn["importances"] = tuning_plots.importances(optuna.importance.get_param_importances(study))
        drawn["coordinates"] = tuning_plots.parallel_coordinates(complete, scales, error)
    return drawn


def scale_of(distribution: BaseDistribution) -> Scale:
    """Return the axis for the values of a distribution."""
    if isinstance(distribution, CategoricalDistribution):
        return Scale(distribution.choices)
    return Scale([distribution.low, distribution.high], distribution.log)  # type: ignore[attr-defined]
