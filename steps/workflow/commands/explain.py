"""Explanation as an MLflow run: why a score has changed, by running what lies between two recorded results."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import mlflow
import pandas as pd
from mlflow import MlflowClient

from workflow.commands import compare, recorded_scores
from workflow.commands.preprocess import PROJECT
from workflow.data import stored
from workflow.data.contract import read_contract
from workflow.errors import UserError
from workflow.evaluation import attribution, scored_rows
from workflow.evaluation.attribution import Coalition, Order, Player
from workflow.evaluation.ranking import RankingMetric
from workflow.evaluation.scored_rows import ScoredRows
from workflow.parameters import ExplainCommand
from workflow.provenance import causes, comparison, fingerprint
from workflow.provenance.causes import CODE, PACKAGES
from workflow.provenance.comparison import DIFFERS
from workflow.provenance.receipt import Receipt
from workflow.reports import explanation_report, plots
from workflow.reports.explanation_report import Explanation, Part
from workflow.reports.report import Picture
from workflow.runs import cli, counterfactuals, differences, links, tracking
from workflow.runs.counterfactuals import Workspace
from workflow.runs.differences import Recorded
from workflow.runs.names import Files, Tags

NO_CAUSE: Coalition = frozenset()
INPUTS = ("data", "test_data", "contract", "features")


def run(params: ExplainCommand) -> None:
    """Explain the change of a score. Raises UserError if a result cannot be made again, or has no such score."""
    cli.require("<run id, model URI or receipt>", a=params.a, b=params.b)
    mlflow.set_tag(Tags.STAGE, "explain")
    one, other = (differences.find_recorded(name, getattr(params, name), PROJECT) for name in ("a", "b"))
    tracking.describe_command("explain", f"explain {other.receipt.label}", params.model_dump(mode="json"))
    check_comparable(one, other)
    more = ["--cluster", params.cluster] if params.cluster else []
    with counterfactuals.workspace(one, other, PROJECT, params.trust, more) as workspace:
        runner = CoalitionRunner(workspace, recorded_scores.metric_of(one.receipt))
        found = explain(runner, params.runs)
    log(one, other, found)
    cli.print_table(explanation_report.explanation_table(found), bold=[False] * len(found.parts))
    cli.print_links({"explain": links.run_page(tracking.active_run(), Files.EXPLANATION_REPORT)})
    print(found)


def check_comparable(one: Recorded, other: Recorded) -> None:
    """Raise UserError unless both results are of one entry point, and have a score on a test set."""
    for name, each in (("a", one), ("b", other)):
        if recorded_scores.winner_of(each.receipt) is None:
            raise UserError(
                f"{name}={each.name}: {each.receipt.label} has no score on a test set; name a run of evaluate, main or"
                " tune"
            )
    if one.receipt.step != other.receipt.step:
        raise UserError(
            f"a={one.name} is of {one.receipt.step}, b={other.name} of {other.receipt.step}: the steps between them"
            " cannot be run; name two results of one entry point"
        )


@dataclass
class CoalitionRunner:
    """Runs coalitions, each once, and remembers what they scored.

    Attributes:
        workspace: where they run.
        metric: whose value is explained.
        scored: the rows that each coalition has scored.
        failed: why others could not be run.
        runs: a row per coalition.
    """

    workspace: Workspace
    metric: RankingMetric
    scored: dict[Coalition, ScoredRows] = field(default_factory=dict)
    failed: dict[Coalition, str] = field(default_factory=dict)
    runs: list[dict[str, object]] = field(default_factory=list)

    def mix(self, changed: Coalition) -> Receipt:
        """Return the receipt of a with what has `changed` as in b."""
        return causes.mix(self.workspace.one.receipt, self.workspace.other.receipt, changed)

    def run_missing(self, coalitions: Sequence[Coalition], names: Sequence[str]) -> None:
        """Run the coalitions that have not run yet; `names` are all causes, in their order."""
        waiting = [each for each in coalitions if each not in self.scored and each not in self.failed]
        known = {each: found for each in waiting if (found := find_scored(self.mix(each)))}
        announce_cost(self.workspace.one.receipt, len(waiting), len(known))
        with cli.followed("explain", len(waiting)) as follow:
            for changed in waiting:
                label = label_of(changed, names)
                follow("", label)
                self.run_one(changed, label, known.get(changed))
                follow(label, label)

    def run_one(self, changed: Coalition, label: str, known: tuple[ScoredRows, str] | None) -> None:
        """Run one coalition, unless the rows that it scored are `known` from an earlier run."""
        run_id, remark = "", "reused" if known else ""
        try:
            self.scored[changed], run_id = known or make(self.workspace, self.mix(changed), changed, label)
        except UserError as error:
            self.failed[changed] = remark = str(error)
        score = float(self.metric.as_error(self.scored[changed].error(self.metric))) if run_id else None
        self.runs.append({"what": label, "score": score, "run": run_id, "remark": remark})
        tracking.console.print(f"{label:<40} {'cannot be run' if score is None else f'{score:.6g}'}", markup=False)


def explain(runner: CoalitionRunner, max_runs: int) -> Explanation:
    """Return why the score has changed; UserError if one of the results cannot be made again."""
    one, other = runner.workspace.one, runner.workspace.other
    names, seed = causes.causes_of(one.receipt, other.receipt), recorded_scores.seed_of(one.receipt)
    runner.run_missing([NO_CAUSE, *([frozenset(names)] if names else [])], names)
    for side, changed in (("a", NO_CAUSE), ("b", frozenset(names))):
        if reason := runner.failed.get(changed):
            raise UserError(f"{side}={(one if side == 'a' else other).name} cannot be made again: {reason}")
    orders = runnable_orders(runner, [(name,) for name in names], max_runs, seed)
    scored = {each: runner.scored[each] for each in sorted(attribution.coalitions_of(orders), key=sorted)}
    parts = attribution.attribute(orders, scored, runner.metric, seed) if names else []
    return explanation(runner, frozenset(names), parts)


def runnable_orders(runner: CoalitionRunner, players: list[Player], max_runs: int, seed: int) -> list[Order]:
    """Return the orders in which the causes change, all of whose coalitions were run.

    Causes that cannot be run apart are made one player.
    """
    names = [cause for player in players for cause in player]
    while True:
        orders = attribution.orders_of(players, max_runs, seed)
        coalitions = sorted(attribution.coalitions_of(orders), key=lambda each: (len(each), sorted(each)))
        runner.run_missing(coalitions, names)
        failed = [each for each in coalitions if each in runner.failed]
        if not failed:
            return orders
        players = attribution.merge(players, failed)


def explanation(runner: CoalitionRunner, names: Coalition, found: Sequence[attribution.Attribution]) -> Explanation:
    """Return the parts of the change of the recorded scores: what causes it, and what is not reproduced."""
    one, other, metric = runner.workspace.one, runner.workspace.other, runner.metric
    changes = changes_of(one, other)
    parts = [
        Part(
            " and ".join(cause_name(name) for name in each.causes),
            "; ".join(changes.get(name, "") for name in each.causes),
            *(each.value, each.low, each.high),
        )
        for each in found
    ]
    recorded = []
    for side, each, changed, sign in (("a", one, NO_CAUSE, 1), ("b", other, names, -1)):
        made = float(metric.as_error(runner.scored[changed].error(metric)))
        score = recorded_scores.logged_score(each.receipt, metric)
        recorded.append(made if score is None else score)
        if made != recorded[-1]:
            remark = f"recorded {recorded[-1]:.6g}, made again {made:.6g}: edited, or made on another platform"
            parts.append(Part(f"{side} is not reproduced", remark, sign * (made - recorded[-1])))
    name = f"{metric.name} of {recorded_scores.winner_of(other.receipt)}"
    parts = sorted(parts, key=lambda part: -abs(part.value))
    before, after = recorded
    return Explanation(name, unit_of(other.receipt, metric), before, after, parts, pd.DataFrame(runner.runs))


def make(workspace: Workspace, mixed: Receipt, changed: Coalition, label: str) -> tuple[ScoredRows, str]:
    """Run a mixed receipt, and log what it has scored in a nested run; return both. Raises UserError if it fails."""
    with tracking.opened(run_name=label, nested=True) as run:
        tracking.describe_command("counterfactual", label, {"changed": sorted(changed)})
        receipt, store = workspace.run(mixed, changed)
        found = rows_scored_in(store, receipt)
        with tracking.artifacts() as folder:
            rows, predictions = folder / Files.SCORED_ROWS, folder / Files.PREDICTIONS
            found.save(rows, predictions)
            (folder / Files.REPRODUCED_RECEIPT).write_text(receipt.text(), encoding="utf-8")
            digests = fingerprint.digest([fingerprint.file_digest(path) for path in (rows, predictions)])
        mlflow.set_tags({Tags.RECEIPT: digests, Tags.COUNTERFACTUAL: counterfactuals.digest_of(mixed)})
    return found, run.info.run_id


def rows_scored_in(store: MlflowClient, receipt: Receipt) -> ScoredRows:
    """Return the test rows that a run in another store has scored."""
    runs = receipt.provenance.runs
    evaluated = runs[f"evaluate {recorded_scores.winner_of(receipt)}"]
    with tempfile.TemporaryDirectory() as name:
        needed = {Files.PREDICTIONS: evaluated} | dict.fromkeys(
            (Files.TRAINING_SET, Files.TEST_SET, Files.CONTRACT), runs["preprocess"]
        )
        paths = {file: Path(store.download_artifacts(run_id, file, name)) for file, run_id in needed.items()}
        sets = stored.open_rows(paths[Files.TRAINING_SET]), stored.open_rows(paths[Files.TEST_SET])
        predictions = pd.read_parquet(paths[Files.PREDICTIONS])
        return scored_rows.scored_rows(predictions, *sets, read_contract(paths[Files.CONTRACT]))


def find_scored(mixed: Receipt) -> tuple[ScoredRows, str] | None:
    """Return the rows that an earlier run has scored, and its id; None for a new mixture, or an altered run."""
    if not (run := counterfactuals.find_run(mixed)):
        return None
    with (
        tracking.unverified_copy(run, Files.SCORED_ROWS) as rows,
        tracking.unverified_copy(run, Files.PREDICTIONS) as predictions,
    ):
        digests = [fingerprint.file_digest(path) for path in (rows, predictions)]
        if fingerprint.digest(digests) != run.data.tags.get(Tags.RECEIPT):
            tracking.warn(f"run {run.info.run_id} ({run.info.run_name}): not what it has logged, so it is made again")
            return None
        return scored_rows.load(rows, predictions), run.info.run_id


def announce_cost(recorded: Receipt, runs: int, known: int) -> None:
    """Announce how many runs will be made, and how long they may take."""
    if runs == known:
        return
    seconds = counterfactuals.seconds_of(recorded)
    time = "" if seconds is None else f", about {(runs - known) * seconds:.0f} s if nothing is shared"
    made = f"{runs - known} {'run' if runs - known == 1 else 'runs'} of {recorded.step} to make"
    tracking.console.print(f"{made}{f', {known} known' if known else ''}{time}")


def label_of(changed: Coalition, names: Sequence[str]) -> str:
    """Return a name for a coalition, which says what is as in b."""
    if not changed:
        return "a"
    if changed == frozenset(names):
        return "b"
    return f"a with {' and '.join(cause_name(name) for name in names if name in changed)} of b"


def cause_name(name: str) -> str:
    """Return the name of a cause for people."""
    if name == "seed":
        return "chance (seed)"
    return name if name in (CODE, PACKAGES, *INPUTS) else f"parameter {name}"


def changes_of(one: Recorded, other: Recorded) -> dict[str, str]:
    """Return what has changed, by the name of the cause."""
    left, right = one.receipt, other.receipt
    inputs = [*differences.input_rows(left, right), *differences.contract_rows(left, right)]
    rows, details = comparison.compare(left, right, inputs, rtol=0).rows, compare.details_of(one, other)
    unequal = [row for row in rows if row.verdict == DIFFERS]
    changes = {
        name: compare.cause(name, unequal, details).removeprefix(f"{name}: ")
        for name in (*INPUTS, CODE, PACKAGES)
        if any(row.group == name for row in unequal)
    }
    return changes | {row.item: f"{row.recorded} → {row.reproduced}" for row in unequal if row.group == "parameters"}


def unit_of(recorded: Receipt, metric: RankingMetric) -> str:
    """Return the unit of a score, as far as the contract of a receipt is known here."""
    contract = differences.contract_of(recorded) if metric.has_target_unit else None
    return str((contract or {}).get("unit", ""))


def log(one: Recorded, other: Recorded, found: Explanation) -> None:
    """Log the explanation on the active run, as a table and as a page, and describe the run."""
    origins = pd.DataFrame([compare.origin("a", one), compare.origin("b", other)])
    table = explanation_report.explanation_table(found)
    with tracking.artifacts() as folder:
        table.to_csv(folder / Files.EXPLANATION, index=False)
        figure = plots.save(explanation_report.waterfall(found), folder / Files.EXPLANATION_FIGURE)
        picture = Picture(figure, f"{found}: a bar per cause, from the score of a to that of b.")
        page = explanation_report.explanation_report(found, picture, origins)
        page.save(folder / Files.EXPLANATION_REPORT)
    mlflow.log_metrics({"change": found.after - found.before})
    page_link = links.run_page(tracking.active_run(), Files.EXPLANATION_REPORT)
    tracking.write_note(f"{found}\n\n[Why, with all runs]({page_link})")
