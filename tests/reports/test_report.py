"""Tables and numbers on HTML pages."""

import numpy as np
import pandas as pd
import pytest
from markupsafe import Markup

from workflow.formatting import percent
from workflow.reports.model_report import score_table
from workflow.reports.report import html_table


def test_an_html_table_formats_numbers_and_escapes_texts():
    table = pd.DataFrame({"rows": [53940, 2], "error": [0.12345, None], "name": ["<b>", "x"], "kept": [True, False]})
    page = html_table(table)
    for cell in ("53,940", "0.123", "–", "&lt;b&gt;", "True"):
        assert f"<td>{cell}</td>" in page


def test_an_html_table_wraps_long_texts_and_keeps_markup():
    picture = Markup(f"<svg>{'<rect/>' * 20}</svg>")
    page = html_table(pd.DataFrame({"text": ["<b> " * 30], "picture": [picture]}, dtype=object))
    assert '<span class="long">&lt;b&gt; &lt;b&gt;' in page
    assert f"<td>{picture}</td>" in page


@pytest.mark.parametrize(("fraction", "digits", "text"), [(0.123, 0, "12 %"), (0.1234, 1, "12.3 %"), (np.nan, 0, "–")])
def test_a_fraction_is_shown_as_a_percentage_and_nan_as_a_dash(fraction, digits, text):
    assert percent(fraction, digits) == text


def test_the_ranking_metric_is_among_the_scores_of_a_model():
    names = ["costs.cost", "mean_pinball_loss", "r2_score"]
    ends = ["", "_low", "_high"]
    metrics = {f"{prefix}{name}{end}": 0.5 for name in names for prefix in ("", "baseline_") for end in ends}
    assert list(score_table(metrics, "costs.cost")["score"]) == ["R²", "mean pinball loss", "costs.cost"]
