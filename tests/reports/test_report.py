"""Tables and numbers on HTML pages."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from markupsafe import Markup

from workflow.formatting import percent
from workflow.reports import plots
from workflow.reports.model_report import effects_text, interactions_text, nearest_text, score_table
from workflow.reports.report import html_table, is_text


def test_an_html_table_formats_numbers_and_escapes_texts():
    table = pd.DataFrame({"rows": [53940, 2], "error": [0.12345, None], "<name>": ["<b>", "x"], "kept": [True, False]})
    page = html_table(table, "Rows & errors")
    for cell in ("53,940", "0.123", "–", "True"):
        assert f"<td>{cell}</td>" in page
    assert '<td class="text">&lt;b&gt;</td>' in page
    assert '<caption>Rows &amp; errors</caption><thead><tr><th scope="col">rows</th>' in page
    assert '<th scope="col" class="text">&lt;name&gt;</th>' in page


def test_an_html_table_wraps_long_texts_and_keeps_markup():
    picture = Markup(f"<svg>{'<rect/>' * 20}</svg>")
    page = html_table(pd.DataFrame({"text": ["<b> " * 30], "picture": [picture]}, dtype=object), "")
    assert '<span class="long">&lt;b&gt; &lt;b&gt;' in page
    assert f"<td>{picture}</td>" in page


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("12 %", False),
        ("30.3 ± 5.4", False),
        ("29.1 (20.9–39.3)", False),
        ("-1.5 to 1e-05", False),
        ("–", False),
        ("", False),
        (5, False),
        ("2019-01-01", True),
        ("174 rows", True),
        ("rf", True),
    ],
)
def test_a_column_of_numbers_with_signs_is_sorted_as_numbers(value, expected):
    assert is_text(pd.Series([value], dtype=object)) is expected


@pytest.mark.parametrize(("fraction", "digits", "text"), [(0.123, 0, "12 %"), (0.1234, 1, "12.3 %"), (np.nan, 0, "–")])
def test_a_fraction_is_shown_as_a_percentage_and_nan_as_a_dash(fraction, digits, text):
    assert percent(fraction, digits) == text


def test_the_ranking_metric_is_among_the_scores_of_a_model():
    names = ["costs.cost", "mean_pinball_loss", "r2_score"]
    ends = ["", "_low", "_high"]
    metrics = {f"{prefix}{name}{end}": 0.5 for name in names for prefix in ("", "baseline_") for end in ends}
    assert list(score_table(metrics, "costs.cost")["score"]) == ["R²", "mean pinball loss", "costs.cost"]


def test_the_text_about_effects_names_the_largest_and_says_which_features_are_correlated():
    methods = ["partial dependence"] * 2 + ["accumulated local effects"] * 2
    rows = {"feature": ["kind", "kind", "year", "year"], "method": methods, "value": ["a", "b", "1.0", "2.0"]}
    table = pd.DataFrame(rows | {"number": [np.nan, np.nan, 1, 2], "effect": [5.0, 4.0, 3.0, 9.5]})
    result = SimpleNamespace(effects=table, contract=SimpleNamespace(unit="EUR"))
    text = effects_text(result)
    assert "year changes the mean prediction most: from 3 EUR at 1.0 to 9.5 EUR at 2.0. " in text
    assert text.endswith(
        "accumulated local effects of year, whose absolute rank correlation with another number is 0.5 or more."
    )
    assert effects_text(SimpleNamespace(effects=table.assign(effect=1.0), contract=result.contract)) == (
        "No feature changes the prediction."
    )
    assert "accumulated" not in effects_text(SimpleNamespace(effects=table.head(2), contract=result.contract))
    panels = plots.effects(table, "price").axes
    assert [axes.get_title() for axes in panels] == ["kind", "year"]
    assert [label.get_text() for label in panels[0].get_xticklabels()] == ["a", "b"]


def test_the_text_about_interactions_names_the_strongest_pair():
    table = pd.DataFrame({"feature": ["a", "b"], "other": ["c", "c"], "strength": [12.0, 3.0], "h": [0.25, 0.9]})
    result = SimpleNamespace(interactions=table, contract=SimpleNamespace(unit="EUR"))
    assert "a and c interact most: their joint" in interactions_text(result)
    assert "by 12 EUR (root mean square), 25 % of its size" in interactions_text(result)
    result.interactions = table.assign(strength=0.0)
    assert "no two of them interact" in interactions_text(result)


def test_the_text_about_nearest_rows_counts_those_that_speak_for_the_prediction():
    worst = pd.DataFrame({"price": [100.0, 10.0], "predicted": [30.0, 60.0]})
    nearest = pd.DataFrame({"of": [1, 1, 1, 2], "distance": [0.1, 0.2, 0.4, 0.7], "price": [20.0, 30.0, 99.0, 12.0]})
    text = nearest_text(worst, nearest, "price")
    assert "In 1 of 2, the median price of the nearest" in text
    assert "at a distance of 0.1 to 0.7." in text
