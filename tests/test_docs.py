"""The documentation: each command in it is one that the project takes, and each link leads somewhere."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import environment

import pytest
from conftest import PROJECT

from workflow.evaluation.ranking import ranking_metric
from workflow.models.catalog import BLEND, default_models
from workflow.parameters import (
    DEFAULT_METRIC,
    CompareCommand,
    ContractParams,
    EvaluateCommand,
    ExplainCommand,
    ExportParams,
    HistoryParams,
    MainCommand,
    PredictCommand,
    PreprocessParams,
    PromoteParams,
    ReproduceCommand,
    RetrainParams,
    RollbackParams,
    TrainCommand,
    TuneCommand,
    VerifyCommand,
)
from workflow.parsing import AUTO, options_of, parse_texts
from workflow.provenance import receipt
from workflow.reports.leaderboard import readable, title
from workflow.stages import compare

PAGES = sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md"), *PROJECT.glob("data/*.md")])
PLACEHOLDER = re.compile(r"<[a-zA-Z ]+>|…")
OPTIONS = {
    "-e": "main",
    "--env-manager": "",
    "-v": "",
    "--backend": "",
    "--backend-config": "",
}  # of `mlflow run`, with a value each


PARAMETERS = {  # of each entry point
    "preprocess": PreprocessParams,
    "contract": ContractParams,
    "train": TrainCommand,
    "evaluate": EvaluateCommand,
    "tune": TuneCommand,
    "main": MainCommand,
    "promote": PromoteParams,
    "retrain": RetrainParams,
    "rollback": RollbackParams,
    "history": HistoryParams,
    "predict": PredictCommand,
    "export": ExportParams,
    "compare": CompareCommand,
    "explain": ExplainCommand,
    "reproduce": ReproduceCommand,
    "verify": VerifyCommand,
}


def commands() -> list[str]:
    """Return all commands that begin with `mlflow run`, in blocks and within lines."""
    found = []
    for page in PAGES:
        for block, inline in re.findall(
            r"^(?:\$ |.*&& )?(mlflow run .*)$|`(mlflow run [^`]+)`", page.read_text(), re.M
        ):
            found.append(PLACEHOLDER.sub("placeholder", block or inline))
    return sorted(set(found))


@pytest.mark.parametrize("line", commands())
def test_a_documented_command_has_parameters_that_its_entry_point_takes(line):
    words = iter(shlex.split(line.split(" > ")[0], comments=True)[2:])
    project, options, given = next(words), dict(OPTIONS), {}
    for word in words:
        if word == "-P":
            name, _, value = next(words).partition("=")
            given[name] = value
        else:
            assert word in OPTIONS
            options[word] = next(words)
    assert project in (".", "placeholder")
    assert options["--env-manager"] in ("", "local", "uv", "conda")
    kind = PARAMETERS[options["-e"]]
    assert given.keys() <= options_of(kind).keys()
    parse_texts(kind, given)


def anchors(page: Path) -> set[str]:
    """Return the headings of a page as GitHub turns them into anchors."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_link_of_a_page_leads_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_documentation_names_every_parameter():
    table = (PROJECT / "docs/everyday-uses.md").read_text()
    names = {name for kind in PARAMETERS.values() for name in options_of(kind)}
    assert not [name for name in sorted(names) if f"`{name}`" not in table]


@pytest.mark.parametrize("page", ["architecture.md", "decisions.md"])
def test_files_that_a_page_names_exist(page):
    packages = "commands|data|evaluation|models|parallel|provenance|reports|runs|stages"
    text = (PROJECT / "docs" / page).read_text()
    modules = re.findall(rf"`((?:{packages})/\w+\.py|(?:parameters|parsing|secrets)\.py)`", text)
    others = re.findall(r"`((?:steps|benchmarks)/\w+\.\w+)`", text)
    assert modules
    assert others
    files = [*(PROJECT / "steps/workflow" / name for name in modules), *(PROJECT / name for name in others)]
    assert not [file for file in files if not file.is_file()]


def test_the_verdict_of_the_readme_is_that_on_the_committed_receipt():
    recorded = receipt.read((PROJECT / "receipts/wines.json").read_text(), "wines.json")
    shown = (PROJECT / "README.md").read_text()
    scores, digests = recorded.outcome["evaluate blend"].metrics, (recorded.sha256, recorded.inputs["data"].sha256)
    for item, value in zip(("receipt: digest", "data: data/wines.csv"), digests, strict=True):
        assert re.search(rf"^  {item} +{value[:12]} +{value[:12]} +equal$", shown, re.M), item
    for name in ("mean_absolute_error", "r2_score"):
        assert re.search(rf"^  evaluate blend: {name} +{scores[name]} +{scores[name]} +equal$", shown, re.M), name
    counts = {"code": recorded.code.files, "parameters": recorded.parameters, "packages": recorded.environment.packages}
    for group, items in counts.items():
        assert re.search(rf"^  {group}: {len(items)} +equal$", shown, re.M), group
    results = sum(len(outcome.metrics) + len(outcome.artifacts) for outcome in recorded.outcome.values())
    assert f"equal: all {results} metrics and artifacts match bit for bit" in shown
    assert f"the last bit of {results} metrics and artifacts" in shown


def test_the_leaderboard_of_the_readme_is_that_of_the_committed_receipt():
    outcome = json.loads((PROJECT / "receipts/wines.json").read_text())["outcome"]
    models = [label.removeprefix("train ") for label in outcome if label.startswith("train ")]
    metrics = {
        model: outcome[f"train {model}"]["metrics"] | outcome[f"evaluate {model}"]["metrics"] for model in models
    }
    shown = [line.split() for line in (PROJECT / "README.md").read_text().splitlines()]
    metric = ranking_metric(DEFAULT_METRIC, {})
    table = readable(compare.run(metric, metrics), metric, "EUR")
    assert title(metric).split() in shown
    assert " ".join(table.columns).split() in shown
    places = [shown.index(" ".join(map(str, row)).split()) for row in table.itertuples(index=False)]
    assert places == list(range(places[0], places[0] + len(models)))
    assert MainCommand().models == AUTO
    assert models == [*default_models(int(outcome["preprocess"]["metrics"]["rows_train"]), DEFAULT_METRIC), BLEND]


@pytest.mark.slow
def test_the_documents_build_as_a_site_whose_links_lead_somewhere(tmp_path):
    words = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs/site", ".", str(tmp_path)]
    done = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {"index.html", "search.html"} <= {path.name for path in tmp_path.iterdir()}
    assert "docs/tutorial.html" in (tmp_path / "index.html").read_text()


def test_hadolint_finds_nothing_in_the_dockerfile():
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, PROJECT / "docs/Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_page_of_errors_is_that_of_the_source():
    done = subprocess.run([sys.executable, "docs/list_errors.py"], cwd=PROJECT, capture_output=True, text=True)
    assert done.stdout == (PROJECT / "docs/errors.md").read_text(), "python docs/list_errors.py > docs/errors.md"
