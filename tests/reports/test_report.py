import numpy as np
import pandas as pd
import pytest
from markupsafe import Markup

from workflow.reports.report import html_table, percent


def test_a_table_reads_as_a_person_writes():
    table = pd.DataFrame({"rows": [53940, 2], "error": [0.12345, None], "name": ["<b>", "x"], "kept": [True, False]})
    page = html_table(table)
    for cell in ("53,940", "0.123", "–", "&lt;b&gt;", "True"):
        assert f"<td>{cell}</td>" in page


def test_a_long_text_has_several_lines_and_a_picture_stays_as_it_is():
    picture = Markup(f"<svg>{'<rect/>' * 20}</svg>")
    page = html_table(pd.DataFrame({"text": ["<b> " * 30], "picture": [picture]}, dtype=object))
    assert '<span class="long">&lt;b&gt; &lt;b&gt;' in page
    assert f"<td>{picture}</td>" in page


@pytest.mark.parametrize(("share", "digits", "shown"), [(0.123, 0, "12 %"), (0.1234, 1, "12.3 %"), (np.nan, 0, "–")])
def test_a_share(share, digits, shown):
    assert percent(share, digits) == shown
