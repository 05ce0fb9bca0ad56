"""The page about a search for better parameters."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from matplotlib.figure import Figure
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState

from workflow.reports import plots, tuning_plots
from workflow.reports.report import Section, number, page

TEXT = (
    "Trials are given up early where their error, over the folds that they have been through, is above the median of"
    " others there. What matters is measured by a functional analysis of variance (Hutter, Hoos, Leyton-Brown 2014)."
)


def conclusion(
    model: str, study: optuna.Study, errors: tuple[float, float], larger: tuple[float, float, float], unit: str
) -> str:
    """What came of the search for one model.

    Its cross-validated `errors` are those without and with what was found; on the test part, that one's is `larger`,
    from and to.
    """
    unit, (difference, low, high) = f" {unit}" if unit else "", larger
    given_up = len(study.get_trials(states=(TrialState.PRUNED,)))
    tried = f"{len(study.trials)} trials of {model}, {given_up or 'none'} of them given up early, have"
    before, after = map(number, errors)
    if errors[0] <= errors[1] or before == after:
        return f"{tried} found nothing better than its defaults: a cross-validated error of {before}{unit}."
    verdict = "it has paid" if high < 0 else "it has done harm" if low > 0 else "it may be chance"
    return (
        f"{tried} brought its cross-validated error from {before} to {after}{unit}. On the test"
        f" part, the tuned one's error differs by {difference:+.3g}{unit} (95 % interval {low:+.3g} to {high:+.3g}):"
        f" {verdict}."
    )


def tuning_report(
    studies: Mapping[str, optuna.Study],
    best: Mapping[str, Mapping[str, Any]],
    shown: pd.DataFrame,
    lead: str,
    unit: str,
    folder: Path,
    instruction: str,
    addresses: Mapping[str, str],
) -> str:
    """The page about the search; its pictures are also saved in `folder`.

    Args:
        studies: by model.
        best: the parameters that each has found.
        shown: the leaderboard of tuned and untuned models, as people read it.
        lead: the conclusion.
        unit: of the target.
        folder: where its pictures go.
        instruction: the command that compares the tuned models with others.
        addresses: of runs, by name.
    """
    sections = [Section("Leaderboard, by cross-validated error", table=shown)]
    for model, study in studies.items():
        drawn = figures(study, f"error ({unit})" if unit else "error")
        pictures = [plots.save(figure, folder / f"{name}_{model}.png") for name, figure in drawn.items()]
        first = study.trials[0].params
        lines = [(name, written(first[name]), written(value)) for name, value in best[model].items()]
        found = pd.DataFrame(lines, columns=["parameter", "first trial", "best"])
        sections.append(Section(f"The search for {model}", TEXT, found, tuple(pictures)))
    sections.append(Section("Compare it with others", code=instruction))
    return page("Tuning", lead, sections, addresses=addresses)


def written(value: Any) -> str:
    """A parameter as people read it."""
    return number(value) if isinstance(value, float) else str(value)


def figures(study: optuna.Study, error: str) -> dict[str, Figure]:
    """The pictures of a study, by name; but for the first, they take two trials that came to the end and differ."""
    trials = pd.DataFrame(
        trial.params
        | {"error": list(trial.intermediate_values.values())[-1], "given_up": trial.state == TrialState.PRUNED}
        for trial in study.trials
    )
    drawn = {"history": tuning_plots.history(trials, error)}
    done = trials[~trials["given_up"]]
    if done["error"].nunique() > 1:
        scales = {
            name: (list(scale.choices), False)
            if isinstance(scale, CategoricalDistribution)
            else ([scale.low, scale.high], scale.log)  # type: ignore[attr-defined]
            for name, scale in study.best_trial.distributions.items()
        }
        drawn["importances"] = tuning_plots.importances(optuna.importance.get_param_importances(study))
        drawn["coordinates"] = tuning_plots.coordinates(done, scales, error)
    return drawn
