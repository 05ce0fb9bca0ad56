import pandas as pd

from tabular.telling.report import html_table


def test_a_table_reads_as_a_person_writes():
    table = pd.DataFrame({"rows": [53940, 2], "error": [0.12345, None], "name": ["<b>", "x"], "kept": [True, False]})
    page = html_table(table)
    for cell in ("53,940", "0.123", "–", "&lt;b&gt;", "True"):
        assert f"<td>{cell}</td>" in page
