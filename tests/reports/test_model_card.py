"""The model card, as a program and as people read it."""

from dataclasses import replace

import pandas as pd
import pytest
import yaml

from workflow.commands.promote import first_lines
from workflow.data.columns import Column
from workflow.data.contract import Contract
from workflow.data.findings import Finding
from workflow.reports.model_card import Origin, model_card
from workflow.reports.model_report import ModelResult

NAMES = ("mean_absolute_error", "r2_score")
METRICS = {f"{kind}{name}{end}": 0.5 for name in NAMES for kind in ("", "baseline_") for end in ("", "_low", "_high")}
ROWS = "900 rows in, 1 rejected"
ORIGIN = Origin("run1", "ab12", ROWS, "mlflow run . -e evaluate -P data=/home/me/wines.csv")
RESULT = ModelResult(
    model="rf",
    contract=Contract("price", {"price": Column("numeric")}, unit="EUR"),
    parameters={"metric": "mean_absolute_error", "data": "/home/me/wines.csv", "split": "random", "level": [0.9]},
    metrics=METRICS | {"mean_absolute_error": 27.46, "interval_coverage": 0.9},
    predictions=pd.DataFrame(),
    shap_values=pd.DataFrame(),
    shap_colours=pd.DataFrame(),
    calibration=pd.DataFrame(),
    effects=pd.DataFrame(),
    interactions=pd.DataFrame(),
    nearest=pd.DataFrame(),
    learning_curve=None,
    named_segments=pd.DataFrame(),
    worst_segments=pd.DataFrame(),
    segments=pd.DataFrame({"segment": ["a|b", "<b>"], "rows": [12345, 3], "mean_absolute_error": [0.12345, None]}),
    worst=pd.DataFrame(),
    findings=[Finding("D106", "column tax_id moves with the target", "drop it")],
    question="the model predicts new rows",
)


def test_a_program_finds_the_scores_in_the_metadata():
    _, metadata, _ = model_card(RESULT, ORIGIN).split("---\n", 2)
    found = yaml.safe_load(metadata)
    assert (found["library_name"], found["pipeline_tag"]) == ("sklearn", "tabular-regression")
    (result,) = found["model-index"][0]["results"]
    assert result["task"] == {"type": "tabular-regression"}
    assert result["dataset"] == {"type": "tabular", "name": "wines.csv", "revision": "ab12", "split": "test"}
    error = {"type": "mean_absolute_error", "name": "mean absolute error", "value": 27.46}
    assert error in result["metrics"]
    assert len(result["metrics"]) == 2


def test_people_read_data_scores_segments_limits_and_the_command():
    card = model_card(RESULT, ORIGIN)
    for text in (
        "`wines.csv`, SHA-256 `ab12`: 900 rows in, 1 rejected",
        "how well the model predicts new rows.",
        "| mean absolute error | 27.5 | 0.5 | 0.5 | 0.5 | 0.5 | 0.5 |",
        "cover 90 % of it",
        "\n- D106 column tax\\_id moves with the target; drop it\n",
        "mlflow run . -e evaluate -P data=/home/me/wines.csv\nmlflow run . -e reproduce -P run=run1  #",
    ):
        assert text in card
    assert card == model_card(RESULT, ORIGIN)


def test_names_in_the_data_cannot_break_the_card():
    card = model_card(RESULT, ORIGIN)
    assert "| a\\|b | 12,345 | 0.123 |\n| \\<b\\> | 3 | – |" in card
    contract = Contract("a\n# *b*", {"a\n# *b*": Column("numeric")})
    assert "# rf: a \\# \\*b\\* predicted\n" in model_card(replace(RESULT, contract=contract), ORIGIN)


@pytest.mark.parametrize(("characters", "text"), [(7, "ab\ncd\ne"), (6, "ab\ncd"), (4, "ab"), (1, "")])
def test_a_description_ends_with_a_whole_line(characters, text):
    assert first_lines("ab\ncd\ne", characters) == text
