"""The reference names every artifact, tag and column."""

import re
from pathlib import Path

import pandas as pd
import pytest
from conftest import PROJECT, Workflow

from workflow.runs.names import Files, Tags

REFERENCE = (PROJECT / "docs/reference.md").read_text()
ROWS = dict(re.findall(r"^\| (`[^|]+) \| [^|]+ \| (.*) \|$", REFERENCE, re.M))


@pytest.mark.parametrize("names", [Files, Tags])
def test_every_artifact_and_tag_is_named(names):
    values = [value for name, value in vars(names).items() if name.isupper() and name != "PREFIX"]
    assert [value for value in values if f"`{value}`" not in REFERENCE] == []


def test_every_tag_that_it_names_exists():
    assert set(re.findall(r"`(workflow\.\w+)`", REFERENCE)) <= set(vars(Tags).values())


@pytest.mark.slow
def test_every_column_of_a_table_is_named(workflow: Workflow):
    features = {"winery", "wine", "year", "rating", "num_reviews", "region", "type", "body", "acidity", "price"}
    checked = 0
    for step in ("train", "evaluate"):
        for path in map(Path, workflow.artifacts(workflow.first(step)).glob("*.*")):
            if path.suffix not in (".csv", ".parquet"):
                continue
            table = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
            described = next(text for names, text in ROWS.items() if f"`{path.name}`" in names)
            described += ROWS["`segments_by_column.csv`"] if "the same of any column" in described else ""
            columns = {
                re.sub(r"(_low|_high)$|(?<=ice_)\d+$", "", name) for name in table.columns if name not in features
            }
            assert [name for name in columns if f"`{name}" not in described] == [], path.name
            checked += 1
    assert checked >= 12
