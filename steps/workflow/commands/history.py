"""History as an MLflow run: which versions of a registered model were the champion, when, why, proven by whom."""

import datetime
from dataclasses import dataclass

import mlflow
import pandas as pd
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion

from workflow.errors import UserError
from workflow.evaluation.ranking import ranking_metric
from workflow.formatting import number
from workflow.parameters import HistoryParams
from workflow.reports.report import Page, Section
from workflow.runs import cli, links, registry, tracking
from workflow.runs.artifacts import TrainRun
from workflow.runs.names import Files, Tags

NOW = "now"
METHOD = (
    "A version becomes the champion by a promotion, a retraining or a rollback. The receipt is that of its training,"
    " which reproduce makes again. Who has signed that is named if the rules of the promotion ask for it."
)


@dataclass(frozen=True)
class ChampionPeriod:
    """The period in which one version was the champion.

    Attributes:
        version: the version.
        since: when it became the champion, in milliseconds since 1970; None if nothing recorded that.
        until: when another one did; None if it still is, or if nothing recorded that.
        why: the decision.
        run_id: the run that made it the champion; empty if somebody moved the alias by hand.
    """

    version: ModelVersion
    since: int | None
    until: int | None
    why: str
    run_id: str = ""


def run(params: HistoryParams) -> None:
    """Print and log the history of one registered model; UserError if it has had no champion."""
    cli.require("<registered model>", name=params.name)
    tracking.describe_command("history", f"history {params.name}", params.model_dump(mode="json"))
    current = registry.version_of(f"{registry.SCHEME}{params.name}@{registry.CHAMPION}")
    table = pd.DataFrame([line_of(each) for each in champion_periods(current)])
    table.loc[0, "until"] = NOW
    with tracking.artifacts() as folder:
        text = f"Version {current.version} is the champion."
        commands = [f"mlflow run . -e reproduce -P run={uri}" for uri in dict.fromkeys(table["model"])]
        prove = Section("Prove one", "Make it again from its receipt, and compare.", code="\n".join(commands))
        page = Page(f"Champions of {params.name}", text, [Section("Champions", METHOD, table), prove])
        page.save(folder / Files.HISTORY_REPORT)
    tracking.write_note(f"[All champions]({links.run_page(tracking.active_run(), Files.HISTORY_REPORT)})")
    shown = table.drop(columns=["run", "trained by", "model"])
    cli.print_table(shown, bold=table["until"] == NOW, title=f"Champions of {params.name}")
    cli.print_links({"history": links.run_page(tracking.active_run(), Files.HISTORY_REPORT)})


def champion_periods(current: ModelVersion) -> list[ChampionPeriod]:
    """Return the periods of all champions, the latest first; the `current` one may have been named by hand."""
    versions = {str(version.version): version for version in registry.versions_of(current.name)}
    found: list[ChampionPeriod] = []
    until: int | None = None
    for made in champion_runs(current.name):
        number_of = made.data.tags[Tags.CHAMPION].rpartition("/")[2]
        since = made.info.end_time or made.info.start_time
        if not found and number_of != str(current.version):
            found.append(ChampionPeriod(current, None, None, "the alias was moved by hand"))
        if number_of in versions:  # it may have been deleted
            why = made.data.tags.get(Tags.DECISION, "")
            found.append(ChampionPeriod(versions[number_of], since, until, why, made.info.run_id))
        until = since
    return found or [ChampionPeriod(current, None, None, "the alias was set by hand")]


def champion_runs(name: str) -> list[Run]:
    """Return the runs that made a version of a registered model the champion, the latest first."""
    runs = mlflow.search_runs(
        search_all_experiments=True,
        filter_string=f"tags.`{Tags.CHAMPION}` LIKE '{name}/%'",
        order_by=["attributes.start_time DESC"],
        output_format="list",
    )
    return [run for run in runs if run.data.tags[Tags.CHAMPION].rpartition("/")[0] == name]


def line_of(period: ChampionPeriod) -> dict[str, str]:
    """Return a period as texts, by headings of the table."""
    version = period.version
    uri = f"{registry.SCHEME}{version.name}/{version.version}"
    try:
        trained = registry.resolve_train_run("name", uri)
        receipt, score = trained.receipt.sha256[:12], score_of(trained)
        reproduced = trained.tags.get(Tags.REPRODUCED, "–")
    except UserError as error:
        receipt, score, reproduced = f"cannot be read: {error}", "–", "–"
    return {
        "version": str(version.version),
        "from": time_text(period.since),
        "until": time_text(period.until),
        "signed by": version.tags.get(Tags.SIGNERS) or "–",
        "reproduced": reproduced,
        "CV score": score,
        "receipt": receipt,
        "why": period.why,
        "trained by": version.run_id or "–",
        "run": period.run_id or "–",
        "model": uri,
    }


def score_of(trained: TrainRun) -> str:
    """Return the cross-validated score of a model by the metric that ranked it."""
    metric = ranking_metric(trained.params.metric, trained.params.metric_params)
    unit = trained.preprocess().contract.unit if metric.has_target_unit else ""
    return f"{number(trained.metrics[f'cv_{metric.name}'])} {unit}".strip()


def time_text(milliseconds: int | None) -> str:
    """Return a time in UTC, to the minute; a dash for an unknown one."""
    if milliseconds is None:
        return "–"
    return datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.UTC).strftime("%Y-%m-%d %H:%M")
