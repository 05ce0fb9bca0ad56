"""Retraining as an MLflow run: the champion's model on newer data, how that has drifted, and a promotion."""

import json
import math
from contextlib import ExitStack

import mlflow
import pandas as pd
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from workflow.commands import evaluate, preprocess, promote, train
from workflow.commands.predict import training_rows_of
from workflow.data.sampling import evenly_spaced_positions
from workflow.errors import NotPromoted
from workflow.evaluation.drift import drift, drifted
from workflow.evaluation.ranking import ranking_metric
from workflow.parameters import PROMOTION_RULES, EvaluateParams, PromoteParams, RetrainParams
from workflow.parsing import AUTO
from workflow.provenance import fingerprint
from workflow.reports.retrain_report import Retrained, retrain_report
from workflow.runs import cli, links, registry, sources, tracking
from workflow.runs.artifacts import EvaluateRun, PreprocessRun, TrainRun
from workflow.runs.names import Files, Tags
from workflow.stages.predict import DRIFT_SAMPLE_ROWS
from workflow.stages.promote import scores_of_both


def run(params: RetrainParams) -> None:
    """Retrain the champion of a registered model, and decide on the result.

    Raises UserError for a name, a file or rules that cannot be used, NotPromoted if the data has drifted and the new
    model does not pass.
    """
    cli.require("<registered model>", name=params.name)
    cli.require("<file>", data=params.data)
    tracking.describe_command("retrain", f"retrain {params.name}", params.model_dump(mode="json"))
    version = registry.version_of(f"{registry.SCHEME}{params.name}@{registry.CHAMPION}")
    champion = registry.resolve_train_run("name", f"{registry.SCHEME}{params.name}/{version.version}")
    rules = rules_of(version) if params.rules == AUTO else params.rules
    promote.read_rules(rules)  # before anything is trained
    data = sources.local_copy("data", params.data, preprocess.PROJECT)
    if fingerprint.path_digest(data) == champion.receipt.inputs["data"].sha256:
        text = f"nothing to do: version {version.version} of {params.name}, the champion, was trained on this data"
        promote.publish(None, text)
        cli.print_links({"version": links.version_page(params.name, version.version)})
        return
    retrain(params, rules, version, champion)


def rules_of(version: ModelVersion) -> str:
    """Return the file of rules by which a version was promoted; the default one if that is not recorded."""
    try:
        promotion = mlflow.get_run(version.tags.get(Tags.PROMOTION, ""))
    except MlflowException:
        return PROMOTION_RULES
    return json.loads(promotion.data.tags[Tags.PARAMETERS])["rules"]


def retrain(params: RetrainParams, rules: str, version: ModelVersion, champion: TrainRun) -> None:
    """Train, evaluate and decide on the champion's model on newer data, and log the page about it."""
    before = champion.preprocess()
    contract = f"runs:/{before.id}/{Files.CONTRACT}"
    data = preprocess.find_or_run(before.params.model_copy(update={"data": params.data, "contract": contract}))
    old_rows, _ = training_rows_of(champion, before.contract)
    drifts = drift(old_rows, sample_of(data), before.contract)
    trained = train.find_or_run(champion.params, data)
    evaluated = evaluate.find_or_run(EvaluateParams(), trained, data)
    mlflow.set_tag(Tags.WINNER_EVALUATE_RUN, evaluated.id)
    given = PromoteParams(run=trained.id, name=params.name, rules=rules, dry_run=params.dry_run)
    with tracking.opened(run_name=f"promote {params.name}", nested=True):
        promotion = promote.promote(given)
    asking = drifted(drifts)
    decision = f"{promotion.text}. {asking_text(asking)}"
    scores = compare(champion, trained, data)
    checks = promote.table_of(promotion.decision) if promotion.decision else None
    retrained = Retrained(decision, before.metrics, data.metrics, drifts, scores, checks)
    pages = dict(promotion.pages) | log(retrained, version, evaluated, data)
    print(asking_text(asking))
    cli.print_links(pages)
    if asking and promotion.decision and not promotion.decision.passed:
        raise NotPromoted(f"{promotion.text}; the data has drifted ({', '.join(asking)}), so look at the page")


def sample_of(data: PreprocessRun) -> pd.DataFrame:
    """Return rows of both sets of a preprocess run, evenly spaced, to measure drift on."""
    with data.training_set() as training_set, data.test_set() as test_set:
        fraction = min(1, DRIFT_SAMPLE_ROWS / (len(training_set) + len(test_set)))
        return pd.concat(
            part.take(evenly_spaced_positions(len(part), math.ceil(fraction * len(part))))
            for part in (training_set, test_set)
        )


def compare(champion: TrainRun, trained: TrainRun, data: PreprocessRun) -> dict[str, tuple[float, float]]:
    """Return the scores of the former champion and of the new model, on the test rows that neither has seen."""
    metric = ranking_metric(trained.params.metric, trained.params.metric_params)
    with ExitStack() as stack:
        new, former = (promote.model_of(each, stack) for each in (trained, champion))
        return scores_of_both(metric, new, stack.enter_context(data.test_set()), former)


def asking_text(asking: list[str]) -> str:
    """Return whether the drift of the new rows asks for another model, in a sentence."""
    return f"The new rows have drifted in {', '.join(asking)}." if asking else "No feature has drifted."


def log(retrained: Retrained, version: ModelVersion, evaluated: EvaluateRun, data: PreprocessRun) -> dict[str, str]:
    """Log the page and the drift on the active run, and describe the run; return the pages, by name."""
    page = links.run_page(tracking.active_run(), Files.RETRAIN_REPORT)
    pages = {
        "champion": links.version_page(version.name, str(version.version)),
        "model report": links.run_page(evaluated.run, Files.MODEL_REPORT),
        "data report": links.run_page(data.run, Files.DATA_REPORT),
    }
    addresses = {name: links.absolute(each) for name, each in pages.items()}
    with tracking.artifacts() as folder:
        retrained.drifts.to_csv(folder / Files.DRIFT, index=False)
        retrain_report(retrained, version.name, str(version.version), addresses).save(folder / Files.RETRAIN_REPORT)
    mlflow.set_tag(Tags.DECISION, retrained.decision)
    tracking.write_note(f"{retrained.decision}\n\n[What has changed]({page})")
    return pages | {"retrain": page}
