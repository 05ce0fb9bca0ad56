"""The documents: each command in them is one that the project takes, and each link leads somewhere."""

import json
import re
import shlex
from pathlib import Path

import environment

import pytest
from conftest import PROJECT

from workflow.commands import contract, evaluate, main, predict, preprocess, promote, reproduce, rollback, train, tune
from workflow.models.catalog import BLEND
from workflow.parallel.cluster import CLUSTER
from workflow.parameters import AUTO, Parameter, convert, resolved
from workflow.reports.leaderboard import TITLE, leaderboard, readable

PAGES = sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md"), *PROJECT.glob("data/*.md")])
PLACEHOLDER = re.compile(r"<[a-zA-Z ]+>|…")
OPTIONS = {
    "-e": "main",
    "--env-manager": "",
    "-v": "",
    "--backend": "",
    "--backend-config": "",
}  # of `mlflow run`, with a value each


def own(script, *more: Parameter) -> dict[str, Parameter]:
    return {parameter.name: parameter for parameter in (*script.PARAMETERS, *more)}


def chain(script, *more: Parameter) -> dict[str, Parameter]:
    """What a script takes: the parameters of the steps before it too, and the run to build on."""
    names = {p.name: p for step in reversed(script.STEP.chain()) for p in step.parameters} | own(script, *more)
    return names | {step.run_id_parameter: Parameter(step.run_id_parameter, "", "") for step in script.STEP.chain()[1:]}


TAKEN = {
    "preprocess": chain(preprocess),
    "contract": own(contract),
    "train": chain(train, CLUSTER),
    "evaluate": chain(evaluate, CLUSTER),
    "tune": chain(tune, CLUSTER),
    "main": own(main, CLUSTER),
    **{script.__name__: own(script) for script in (promote, rollback, reproduce)},
    "predict": own(predict, CLUSTER),
}


def commands() -> list[str]:
    """All that begins with `mlflow run`, in blocks and within lines."""
    found = []
    for page in PAGES:
        for block, inline in re.findall(
            r"^(?:\$ |.*&& )?(mlflow run .*)$|`(mlflow run [^`]+)`", page.read_text(), re.M
        ):
            found.append(PLACEHOLDER.sub("placeholder", block or inline))
    return sorted(set(found))


@pytest.mark.parametrize("line", commands())
def test_a_command(line):
    words = iter(shlex.split(line.split(" > ")[0], comments=True)[2:])
    place, options, given = next(words), dict(OPTIONS), {}
    for word in words:
        if word == "-P":
            name, _, value = next(words).partition("=")
            given[name] = value
        else:
            assert word in OPTIONS
            options[word] = next(words)
    assert place in (".", "placeholder")
    assert options["--env-manager"] in ("", "local", "uv", "conda")
    taken = TAKEN[options["-e"]]
    for name, value in given.items():
        convert(taken[name], value)


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub turns them into anchors."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_documents_name_every_parameter():
    table = (PROJECT / "docs/everyday-uses.md").read_text()
    for taken in TAKEN.values():
        assert not [name for name in taken if f"`{name}`" not in table]


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


def test_the_leaderboard_of_the_readme_is_that_of_the_committed_receipt():
    outcome = json.loads((PROJECT / "receipts/wines.json").read_text())["outcome"]
    models = [label.removeprefix("train ") for label in outcome if label.startswith("train ")]
    metrics = {
        model: outcome[f"train {model}"]["metrics"] | outcome[f"evaluate {model}"]["metrics"] for model in models
    }
    shown = [line.split() for line in (PROJECT / "README.md").read_text().splitlines()]
    table = readable(leaderboard(metrics), "EUR")
    assert TITLE.split() in shown
    assert " ".join(table.columns).split() in shown
    places = [shown.index(" ".join(map(str, row)).split()) for row in table.itertuples(index=False)]
    assert places == list(range(places[0], places[0] + len(models)))
    assert resolved(main.PARAMETERS, {})["models"] == AUTO
    assert models == [*default_models(int(outcome["preprocess"]["metrics"]["rows_train"])), BLEND]
