"""Register a model, and make it the champion if it keeps to the rules: no worse than the champion, better than none.

    mlflow run . -e promote -P run=<id of a main or train run> -P name=wines
    mlflow run . -e promote -P run=<id> -P name=wines -P rules=/path/to/rules.yaml -P dry_run=true

Challenger and champion are scored on the same rows: the challenger's test part, less what the champion has learned
from. A model that does not pass is a version of the registered model all the same, with the reason in its tags.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import environment

import mlflow
import numpy as np
import pandas as pd
import yaml
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion

from workflow.commands import evaluate, preprocess, train
from workflow.data import split
from workflow.data.contract import Contract
from workflow.data.stored import StoredRows
from workflow.errors import UserError
from workflow.evaluation import holdout
from workflow.evaluation.paired import ERRORS, Difference, difference
from workflow.parameters import Parameter, nearest, resolved, truth
from workflow.reports import plots
from workflow.reports.report import markdown_table, number
from workflow.runs import cli, execution, links, registry, sources, tracking

RULES = "steps/promotion.yaml"
PICTURE = "differences.png"
KINDS = ("thresholds", "baseline", "champion")
PARAMETERS = (
    Parameter("run", "", "the id of a main or tune run, whose winner is meant, or of a train run"),
    Parameter("name", "", "the registered model; it is made if there is none"),
    Parameter("rules", RULES, "what a champion must do: a YAML file"),
    Parameter("dry_run", "false", "decide, and register and move nothing", truth),
)


@dataclass(frozen=True)
class Check:
    """One rule, what was found, and whether that keeps to it."""

    rule: str
    found: str
    kept: bool


@dataclass(frozen=True)
class Part:
    """The challenger's test part, and what it predicts of those rows that it has not learned from."""

    rows: StoredRows
    tested: holdout.TestPredictions
    terms: Contract
    seed: int


def promote(given: dict[str, Any]) -> None:
    """Decide on one model. Raises UserError for a run, a name or rules that cannot be used."""
    parameters = resolved(PARAMETERS, given)
    for name in ("run", "name"):
        if not parameters[name]:
            raise UserError(f"{name}: which? -P {name}=…, {next(p.help for p in PARAMETERS if p.name == name)}")
    cli.print_links(promote_run(parameters))


def promote_run(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Register a model and decide on it, within the active run; the pages that tell of it, by name."""
    name = parameters["name"]
    tracking.describe(f"promote {name}", parameters)
    mlflow.set_tag("workflow.step", "promote")
    rules = read_rules(parameters["rules"])
    trained = registry.resolve_train_run("run", parameters["run"])
    evaluated = evaluation_of(parameters["run"], trained)
    metrics = trained.data.metrics | evaluated.data.metrics
    for metric in rules["thresholds"]:
        if metric not in metrics:
            raise UserError(f"rules={parameters['rules']}: thresholds: no metric {metric}; {nearest(metric, metrics)}")
    pages = {"promote": links.run_page(tracking.active_run())}
    if parameters["dry_run"]:
        decide(name, None, rules, metrics, trained)
        return pages
    current = registry.champion_of(name)
    if current and current.run_id == trained.info.run_id:
        tell(current, f"version {current.version} of {name}, the champion, is this very model")
        return pages | {"version": links.version_page(name, current.version)}
    tags = {"workflow.receipt": execution.receipt_of(trained)["sha256"]}
    version = registry.register(name, trained, description_of(parameters["run"], trained, evaluated), tags)
    try:
        registry.wait_for_turn(version)
        decide(name, version, rules, metrics, trained)
    except UserError as error:
        registry.decide(version, f"could not be decided on: {error}")
        raise
    return pages | {"version": links.version_page(name, version.version)}


def decide(
    name: str, version: ModelVersion | None, rules: Mapping[str, Any], metrics: Mapping[str, float], trained: Run
) -> None:
    """Hold the rules against the model of `trained`, act on its `version`, if any, and log and print the decision."""
    former = registry.champion_of(name)
    checks, differences = thresholds(rules, metrics), None
    with part_of(trained) as part:
        if rules["baseline"]:
            checks.append(baseline(rules["baseline"], part))
        if rules["champion"] and former:
            against, differences = champion(rules["champion"], part, trained, former)
            checks.append(against)
    passed = all(check.kept for check in checks)
    failed = "; ".join(f"{check.rule}: {check.found}" for check in checks if not check.kept)
    what = f"version {version.version} of {name}" if version else f"the model, as a version of {name},"
    before = f", after version {former.version}" if former else ""
    verb = "is" if version else "would be"
    decision = f"{what} {verb} the champion{before}" if passed else f"{what} {verb} no champion: {failed}"
    if version and passed:
        registry.set_champion(version, former)
    lines = [(check.rule, check.found, "yes" if check.kept else "no") for check in checks]
    table = pd.DataFrame(lines, columns=["rule", "found", "kept"])
    with tracking.artifacts() as folder:
        table.to_csv(folder / "decision.csv", index=False)
        if differences is not None and former:
            title = f"{trained.data.params['model']} against version {former.version}, the champion"
            plots.save(plots.differences(differences, part.terms.unit, title), folder / PICTURE)
    cli.print_table(table, bold=table["kept"] == "no")
    tell(version, decision, markdown_table(table))


def tell(version: ModelVersion | None, decision: str, table: str = "") -> None:
    """Print a decision, and write it where people look for it: at the active run, and in a version's tags."""
    if version and registry.is_undecided(version):
        registry.decide(version, decision)
    mlflow.set_tag(registry.DECISION, decision)
    tracking.write_note(f"{decision}.\n\n{table}")
    print(decision)


def read_rules(name: str) -> dict[str, Any]:
    """The rules in a YAML file, with those that it leaves out empty; UserError for what is none."""
    path = sources.local_copy("rules", name, preprocess.PROJECT)
    try:
        rules = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"rules={name}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(rules, dict):
        raise UserError(f"rules={name}: must be a mapping with {', '.join(KINDS)}, as {RULES} has")
    for kind in rules:
        if kind not in KINDS:
            raise UserError(f"rules={name}: no such rule as {kind}; {nearest(str(kind), KINDS)}")
    for kind in ("baseline", "champion"):
        if (error_name := rules.get(kind)) and error_name not in ERRORS:
            raise UserError(f"rules={name}: {kind}: no error {error_name}; {nearest(str(error_name), ERRORS)}")
    thresholds = rules.get("thresholds") or {}
    for metric, bounds in thresholds.items():
        if not isinstance(bounds, dict) or not bounds.keys() <= {"min", "max"} or not bounds:
            raise UserError(f"rules={name}: thresholds: {metric}: must be {{min: …}} or {{max: …}}, not {bounds}")
    return dict.fromkeys(KINDS) | rules | {"thresholds": thresholds}


def evaluation_of(name: str, trained: Run) -> Run:
    """The evaluate run of a model: that of the main or train run `name`, found or made."""
    given = execution.parameters_of(mlflow.get_run(name)) if not name.startswith(registry.SCHEME) else {}
    own = execution.parameters_of(trained) | {train.STEP.run_id_parameter: trained.info.run_id}
    return execution.obtain(
        evaluate.STEP, {p.name: given[p.name] for p in evaluate.PARAMETERS if p.name in given} | own
    )


@contextmanager
def part_of(trained: Run) -> Iterator[Part]:
    """What a model is judged on. Raises UserError if it has seen all of its test rows."""
    parameters = execution.parameters_of(trained)
    preprocessed = execution.upstream_of(trained)
    terms = preprocess.read_contract_of(preprocessed)
    with preprocess.both_parts(preprocessed) as (training, test):
        tested = holdout.predict_test_set(train.read_model(trained), training, test, terms)
        yield Part(test, tested, terms, parameters["seed"])


def thresholds(rules: Mapping[str, Any], metrics: Mapping[str, float]) -> list[Check]:
    """A check for each bound of a metric."""
    checks = []
    for name, bounds in rules["thresholds"].items():
        for end, bound in bounds.items():
            kept = metrics[name] >= bound if end == "min" else metrics[name] <= bound
            checks.append(Check(f"{name} {'≥' if end == 'min' else '≤'} {bound}", number(metrics[name]), kept))
    return checks


def baseline(error: str, part: Part) -> Check:
    """Whether a model is better than always answering the typical value."""
    found = difference(part.tested.true, part.tested.predicted, part.tested.typical, error, part.seed)
    rule = f"{error} below that of the typical {part.terms.target}"
    return Check(rule, written(found, part.terms.unit), found.high < 0)


def champion(error: str, part: Part, trained: Run, former: ModelVersion) -> tuple[Check, np.ndarray | None]:
    """Whether a model is not worse than the champion; and by how much it errs more on each row that can be compared."""
    rule = f"{error} not above that of version {former.version}, the champion"
    other = registry.resolve_train_run("champion", f"{registry.SCHEME}{former.name}/{former.version}")
    if other.info.run_id == trained.info.run_id:
        return Check(rule, "it is the same model", True), None
    preprocessed = execution.upstream_of(other)
    terms = preprocess.read_contract_of(preprocessed)
    kinds = {name: column.kind for name, column in part.terms.columns.items()}
    if other_columns := [name for name, column in terms.columns.items() if kinds.get(name) != column.kind]:
        reason = f"cannot be compared: {', '.join(other_columns)}, which it reads, are no such columns here"
        return Check(rule, reason, False), None
    rows, tested = part.rows.select(list(terms.columns)), part.tested
    with preprocess.training_part(preprocessed) as training:
        fresh = ~split.hash_rows(rows)[tested.places].isin(split.hash_rows(training)).to_numpy()
    if not fresh.any():
        return Check(rule, "cannot be compared: the champion has learned from all test rows", False), None
    true, predicted = tested.true[fresh], tested.predicted[fresh]
    theirs = holdout.predictions(train.read_model(other), rows, terms)[tested.places][fresh]
    found = difference(true, predicted, theirs, error, part.seed)
    figures = {"difference": found.value, "difference_low": found.low, "difference_high": found.high}
    mlflow.log_metrics({"rows_compared": len(true)} | figures)
    rule += f", on {len(true):,} rows"
    more = np.abs(true - predicted) - np.abs(true - theirs)
    return Check(rule, written(found, part.terms.unit), found.low <= 0), more


def written(found: Difference, unit: str) -> str:
    """A difference with its interval, for people."""
    ends = f"{number(found.low)} to {number(found.high)}"
    return f"{found.value:+.3g}{f' {unit}' if unit else ''} ({ends})"


def description_of(name: str, trained: Run, evaluated: Run) -> str:
    """What the registry says of a version: its leaderboard or its score, and where it comes from."""
    note = mlflow.get_run(name).data.tags.get("mlflow.note.content", "") if name != trained.info.run_id else ""
    told = note or evaluated.data.tags.get("mlflow.note.content", "")
    data = execution.receipt_of(trained)["inputs"]["data"]
    return (
        f"{told}\n\nTrained by [this run]({links.run_page(trained)}), whose"
        f" [receipt]({links.run_page(trained, 'receipt.json')}) proves it, on data with SHA-256 `{data['sha256']}`."
    )


if __name__ == "__main__":
    cli.command(__doc__, PARAMETERS, promote)
