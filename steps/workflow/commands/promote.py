"""Promotion as an MLflow run: a version of a registered model, and perhaps the champion."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import mlflow
import pandas as pd
from mlflow.entities.model_registry import ModelVersion

from workflow.commands import evaluate, preprocess
from workflow.documents import read_yaml_file
from workflow.errors import UserError
from workflow.evaluation.ranking import ranking_metric
from workflow.parameters import EvaluateParams, PromoteParams
from workflow.provenance import signatures
from workflow.reports.report import markdown_table
from workflow.runs import cli, drawing, integrity, links, registry, sources, tracking, verdicts
from workflow.runs.artifacts import EvaluateRun, StageRun, TrainRun
from workflow.runs.names import Files, Tags
from workflow.spelling import nearest
from workflow.stages.promote import Decision, Model, Rules, check_proof, parse_rules
from workflow.stages.promote import run as decide_on

MAX_DESCRIPTION_CHARACTERS = 5000  # of a version, in MLflow's database


def run(params: PromoteParams) -> None:
    """Decide on one model. Raises UserError for a run, a name or rules that cannot be used."""
    cli.require("<id of a main, tune or train run>", run=params.run)
    cli.require("<registered model>", name=params.name)
    cli.print_links(promote(params).pages)


@dataclass(frozen=True)
class Promotion:
    """The result of a promotion.

    Attributes:
        text: the decision, in a sentence.
        pages: to look at, by name.
        decision: with its checks; None if the model is the champion already.
    """

    text: str
    pages: Mapping[str, str]
    decision: Decision | None = None


def promote(params: PromoteParams) -> Promotion:
    """Register a model and decide on it, within the active run."""
    name = params.name
    tracking.describe_command("promote", f"promote {name}", params.model_dump(mode="json"))
    rules = read_rules(params.rules)
    trained = registry.resolve_train_run("run", params.run)
    integrity.verify_files(trained.run)  # all of them: a server loads the whole folder of the model
    evaluated = evaluation_of(params.run, trained)
    metrics = trained.metrics | evaluated.metrics
    known = {"thresholds": list(metrics), "segments": list(evaluated.named_segments().columns[2:])}
    for rule, names in known.items():
        for metric in getattr(rules, rule):
            if metric not in names:
                raise UserError(f"rules={params.rules}: {rule}: no metric {metric}; {nearest(metric, names)}")
    pages = {"promote": links.run_page(tracking.active_run())}
    if params.dry_run:
        decision, text = decide(name, None, rules, trained, evaluated, signers_of(trained, rules))
        return Promotion(text, pages, decision)
    current = registry.champion_of(name)
    if current and current.run_id == trained.id:
        text = f"version {current.version} of {name}, the champion, is this very model"
        publish(current, text)
        return Promotion(text, pages | {"version": links.version_page(name, current.version)})
    signers = signers_of(trained, rules)
    tags = {Tags.RECEIPT: trained.tags[Tags.RECEIPT], Tags.SIGNERS: ", ".join(signers)}
    version = registry.register(name, trained, description_of(params.run, trained, evaluated, signers), tags)
    try:
        registry.wait_for_turn(version)
        decision, text = decide(name, version, rules, trained, evaluated, signers)
    except UserError as error:
        registry.tag_decision(version, f"could not be decided on: {error}")
        raise
    return Promotion(text, pages | {"version": links.version_page(name, version.version)}, decision)


def read_rules(name: str) -> Rules:
    """Return the rules in a YAML file; UserError for anything else."""
    path = sources.local_copy("rules", name, preprocess.PROJECT)
    try:
        values = read_yaml_file(path)
    except ValueError as error:
        raise UserError(f"rules={name}: not YAML: {error}") from error
    return parse_rules(values or {}, f"rules={name}")


def signers_of(trained: TrainRun, rules: Rules) -> list[str]:
    """Return who has reproduced and signed a model, if the rules ask for that.

    Raises UserError if the file of trusted keys is not found, or if a verdict was edited or forged, or says otherwise.
    """
    if rules.proof is None:
        return []
    path = sources.local_copy("rules: proof: trust", rules.proof.trust, preprocess.PROJECT)
    keys = signatures.trusted_keys(path, f"trust={rules.proof.trust}")
    checked = verdicts.check(verdicts.envelopes_of(trained.receipt), keys, trained.receipt)
    if forged := next((each for each in checked if each.is_forged), None):
        raise UserError(f"the verdict in {forged.place}: {forged.fault}")
    return verdicts.signers_of(checked)


def evaluation_of(name: str, trained: TrainRun) -> EvaluateRun:
    """Return the evaluate run of a model: the winner's of the main or tune run `name`; else it is found or made."""
    run = None if name.startswith(registry.SCHEME) else mlflow.get_run(name)
    if run and (winner := run.data.tags.get(Tags.WINNER_EVALUATE_RUN)):
        return StageRun(run).upstream(EvaluateRun, winner)
    return evaluate.find_or_run(EvaluateParams(), trained, trained.preprocess())


def decide(
    name: str,
    version: ModelVersion | None,
    rules: Rules,
    trained: TrainRun,
    evaluated: EvaluateRun,
    signers: Sequence[str],
) -> tuple[Decision, str]:
    """Hold the rules against a model, act on its `version`, if any, and log, print and return the decision."""
    former = registry.champion_of(name)
    decision = decision_on(rules, trained, evaluated, former)
    if rules.proof:
        decision = replace(decision, checks=[*decision.checks, check_proof(rules.proof, signers)])
    if version and decision.passed:
        registry.set_champion(version, former)
    mlflow.log_metrics(dict(decision.figures))
    table = table_of(decision)
    with tracking.artifacts() as folder:
        table.to_csv(folder / Files.DECISION, index=False)
        if decision.larger_errors is not None and former:
            from workflow.reports import plots

            title = f"{trained.params.model} against version {former.version}, the champion"
            unit = evaluated.preprocess().contract.unit
            plots.save(plots.differences(decision.larger_errors, unit, title), folder / Files.DIFFERENCES_FIGURE)
    cli.print_table(table, bold=table["passed"] == "no")
    text = decision_text(name, version, former, decision)
    publish(version, text, markdown_table(table))
    return decision, text


def table_of(decision: Decision) -> pd.DataFrame:
    """Return the checks of a decision, a row each."""
    lines = [(check.rule, check.found, "yes" if check.passed else "no") for check in decision.checks]
    return pd.DataFrame(lines, columns=["rule", "found", "passed"])


def decision_on(rules: Rules, trained: TrainRun, evaluated: EvaluateRun, former: ModelVersion | None) -> Decision:
    """Return the decision on the model of a train run, which stands against the `former` champion, if any."""
    data, champion_run = evaluated.preprocess(), None
    if former:
        champion_run = registry.resolve_train_run("champion", f"{registry.SCHEME}{former.name}/{former.version}")
    with ExitStack() as stack:
        challenger = model_of(trained, stack)
        champion = model_of(champion_run, stack) if champion_run and champion_run.id != trained.id else None
        return decide_on(
            rules,
            ranking_metric(trained.params.metric, trained.params.metric_params),
            trained.metrics | evaluated.metrics,
            evaluated.named_segments(),
            challenger,
            stack.enter_context(data.test_set()),
            champion,
            f"version {former.version}, the champion" if former else "",
            data.params.seed,
        )


def model_of(trained: TrainRun, stack: ExitStack) -> Model:
    """Return the model of a train run; its training set is open while the stack is."""
    data = trained.preprocess()
    return Model(trained.estimator(), stack.enter_context(data.training_set()), data.contract, data.features)


def decision_text(name: str, version: ModelVersion | None, former: ModelVersion | None, decision: Decision) -> str:
    """Return the decision in a sentence."""
    subject = f"version {version.version} of {name}" if version else f"the model, as a version of {name},"
    if not decision.passed:
        return f"{subject} {'was' if version else 'would'} not {'' if version else 'be '}promoted: {decision.reason}"
    after = f", after version {former.version}" if former else ""
    return f"{subject} {'is' if version else 'would be'} the champion{after}"


def publish(version: ModelVersion | None, decision: str, table: str = "") -> None:
    """Print a decision, and write it where people look for it: at the active run, and in a version's tags."""
    if version and registry.is_undecided(version):
        registry.tag_decision(version, decision)
    mlflow.set_tag(Tags.DECISION, decision)
    tracking.write_note(f"{decision}.\n\n{table}")
    print(decision)


def description_of(name: str, trained: TrainRun, evaluated: EvaluateRun, signers: Sequence[str]) -> str:
    """Return what the registry says of a version: where it comes from, and its model card, cut to what MLflow takes."""
    data, receipt = trained.receipt.inputs["data"], links.run_page(trained.run, Files.RECEIPT)
    is_alone = name == trained.id or name.startswith(registry.SCHEME)
    others = "" if is_alone else f" [Beside other models]({links.run_page(mlflow.get_run(name))})."
    proven = f" {', '.join(signers)} reproduced it and signed that." if signers else ""
    origin = (
        f"Trained by [this run]({links.run_page(trained.run)}), whose [receipt]({receipt}) proves it, on data with"
        f" SHA-256 `{data.sha256}`.{proven}{others}"
        f" [The model card]({links.run_page(evaluated.run, Files.MODEL_CARD)}):"
    )
    card = first_lines(drawing.card_text_of(evaluated), MAX_DESCRIPTION_CHARACTERS - len(origin) - 2)
    return f"{origin}\n\n{card}"


def first_lines(text: str, characters: int) -> str:
    """Return a text, or as many of its first lines as have no more than so many characters."""
    return text if len(text) <= characters else text[:characters].rpartition("\n")[0]
