"""CSV files in which more stands than a header and rows: what is unmistakable is skipped and noted, the rest stays."""

import pandas as pd
import pytest
from frames import read_table

from workflow.data.files import open_table

HEADER = "Time,Temp,Hum,Site\n"
LINES = [
    f"2020-05-01 {hour % 24:02}:00:00,{14 + hour % 7 * 0.25:.2f},{hour * 3 % 50},w{hour % 3}" for hour in range(40)
]
ROWS = "\n".join(LINES) + "\n"
NAMES = ["Time", "Temp", "Hum", "Site"]
LOGGER = '"TOA5","CR1000","CR1000","123","Std.31","CPU:p.CR1","64522","Table1"\n'
UNITS = "units or the like"


def read(tmp_path, text: str) -> tuple[pd.DataFrame, pd.DataFrame, tuple[str, ...]]:
    (tmp_path / "it.csv").write_bytes(text.encode())
    with open_table(tmp_path / "it.csv") as table:
        return pd.concat(table.chunks()), table.malformed, table.notes


@pytest.mark.parametrize(
    ("text", "first_line", "word"),
    [
        ("Report of May\n" + HEADER + ROWS, 3, "1 line above the header skipped: 'Report of May'"),
        ("Report: Station 12\nOperator: a, b\n\n" + HEADER + ROWS, 5, "3 lines above the header"),
        ("Report: a, b, c, d\n" + HEADER + ROWS, 3, "1 line above the header"),
        ("Station,12\nOperator,x\nLat,45.3\n\n" + HEADER + ROWS, 6, "4 lines above the header"),
        ("Station,12,,\nOperator,x,,\n,,,\n" + HEADER + ROWS, 5, "3 lines above the header"),
        ("Weather of May,,,\n" + HEADER + ROWS, 3, "1 line above the header"),
        ("\ufeffReport of May\n" + HEADER + ROWS, 3, "1 line above the header"),
        ("# Station 12, export\n# units: C, %\n" + HEADER + ROWS, 4, "2 lines above the header"),
        ("# made by hand\n# " + HEADER + ROWS, 3, "the header is the last comment above the rows"),
        ("sep=,\n" + HEADER + ROWS, 3, "'sep=,'"),
        (HEADER + ",°C,%,\n" + ROWS, 3, f"line 2 below the header skipped, which holds {UNITS}: ',°C,%,'"),
        (HEADER + "[UTC],[°C],[%],[-]\n" + ROWS, 3, UNITS),
        (HEADER + "datetime,degC,percent,text\nTS,Avg,Smp,Smp\n" + ROWS, 4, "line 3 below the header"),
        (LOGGER + HEADER + '"TS","Deg C","%",""\n"","Avg","Smp",""\n' + ROWS, 5, "line 4 below the header"),
        ("# x\n" + HEADER + "UTC,°C,%,-\n" + ROWS, 4, UNITS),
        ("Weather,,,Meta\n" + HEADER + ROWS, 3, "'Weather,,,Meta'"),
        (HEADER + ROWS + "\nSource: agency, 2020\n", 2, "1 line below the rows skipped: 'Source: agency, 2020'"),
        (HEADER + ROWS + "\n\nProvisional data, may change\nmore of it\n", 2, "2 lines below the rows"),
        (HEADER + ROWS + "Total,600,700,\n\nSource: x\n", 2, "2 lines below the rows skipped: 'Total,600,700,'"),
        (HEADER + "When was it?,How warm?,How humid?,Where?\n" + ROWS, 3, "'When was it?,How warm?,How humid?,Where?'"),
        (HEADER + ",A,A,\nindex,,,\n" + ROWS, 4, "line 3 below the header"),
        (("Report of May\n\n" + HEADER + ROWS).replace("\n", "\r\n"), 4, "2 lines above the header"),
        (("Report of May\n\n" + HEADER + ROWS).replace("\n", "\r"), 4, "2 lines above the header"),
    ],
)
def test_what_stands_around_the_rows_is_skipped_and_noted(tmp_path, text, first_line, word):
    frame, malformed, notes = read(tmp_path, text)
    assert list(frame) == NAMES
    assert frame.agg(",".join, axis=1).tolist() == LINES
    assert list(frame.index) == list(range(first_line, first_line + 40))
    assert malformed.empty
    assert any(word in note for note in notes), notes


def test_an_ordinary_file_has_no_notes(tmp_path):
    assert read(tmp_path, HEADER + ROWS)[2] == ()


@pytest.mark.parametrize(
    ("text", "names", "rows"),
    [
        (HEADER + LINES[0][:-1] + "2\n" + ROWS, NAMES, 41),
        (
            "brand,litres,price\n" + "".join(f"{'Total' if i % 5 == 0 else 'Shell'},{i},{i}\n" for i in range(41)),
            None,
            41,
        ),
        ("name,price\nA,POA\n" + "".join(f"n{i},{i}\n" for i in range(30)), None, 31),
        ("name,beds,price\nA,studio,POA\n" + "".join(f"n{i},{i},{i}\n" for i in range(30)), None, 31),
        ("name,beds,price\nA,NA,-\n" + "".join(f"n{i},{i},{i}\n" for i in range(30)), None, 31),
        (
            "name,beds,price\nA,shut,shut\n" + "".join(f"n{i},{i},{i if i % 9 else 'shut'}\n" for i in range(30)),
            None,
            31,
        ),
        ("country,2019,2020\n" + "".join(f"c{i},{i * 1.5},{i}\n" for i in range(30)), ["country", "2019", "2020"], 30),
        ("name,start,end\nx,1999,2001\n" + "".join(f"c{i},{1950 + i},{1960 + i}\n" for i in range(30)), None, 31),
        ("#,Temp\n" + "".join(f"{i},{i}\n" for i in range(30)), ["#", "Temp"], 30),
        ("id,note\n" + "".join(f"#{i},Apt #{i}\n" for i in range(30)), ["id", "note"], 30),
        ("name,word\nfoo,bar\nbaz,qux\n", ["name", "word"], 2),
    ],
)
def test_a_row_that_might_be_one_stays_a_row(tmp_path, text, names, rows):
    frame, malformed, notes = read(tmp_path, text)
    assert (len(frame), len(malformed), notes) == (rows, 0, ())
    assert names in (None, list(frame))


def test_rejected_lines_have_their_true_numbers_below_skipped_ones(tmp_path):
    text = "Report\n\n" + HEADER + "UTC,°C,%,-\n" + ROWS.replace("\n", "\nbad\n", 1)
    frame, malformed, _ = read(tmp_path, text)
    assert [text.splitlines()[line - 1] for line in frame.index] == LINES
    assert set(malformed["row"]) == {6}
    assert text.splitlines()[5] == "bad"


def test_comments_among_rows_are_no_rejected_rows(tmp_path):
    text = "# x\n" + HEADER + LINES[0] + "\n# a gap, then more\n" + ROWS + "2020-05-01 00:00:00,1,2,Apt #3\n"
    frame, malformed, notes = read(tmp_path, text)
    assert (len(frame), len(malformed), frame["Site"].iloc[-1]) == (42, 0, "Apt #3")
    assert "comments among the rows skipped" in notes
    assert frame.index[1] == 5


def test_names_on_two_lines_are_joined_if_neither_line_suffices(tmp_path):
    assert list(read(tmp_path, ",A,A,B\nTime,x,y,x\n" + ROWS)[0]) == ["Time", "A x", "A y", "B x"]


def test_a_short_table_may_have_a_title_and_notes(tmp_path):
    frame, malformed, notes = read(tmp_path, "Sales\n\nitem,pieces,price\na,1,2\nb,2,3\nTotal,3,5\n\nSource: x\n")
    assert frame.to_numpy().tolist() == [["a", "1", "2"], ["b", "2", "3"]]
    assert (malformed.empty, len(notes)) == (True, 2)


def test_indicators_by_year_below_a_title_keep_their_years(tmp_path):
    rows = "".join(f'"C{i}","X{i}","{i * 1.5}","","{i * 2.5}"\n' for i in range(40))
    text = '"Data Source","World"\n\n"Last Updated Date","2020-01-01"\n\n"Country","Code","1960","1961","1962"\n' + rows
    assert list(read(tmp_path, text)[0]) == ["Country", "Code", "1960", "1961", "1962"]


@pytest.mark.parametrize(
    "ends",
    [
        lambda lines: lines[0] + "\n" + "\r\n".join(lines[1:]) + "\r\n",
        lambda lines: lines[0] + "\r\n" + "\n".join(lines[1:]) + "\n",
        lambda lines: lines[0] + "\r" + "\r\n".join(lines[1:]) + "\r\n",
        lambda lines: "\r\r\n".join(lines) + "\r\r\n",
        lambda lines: "\n".join(lines[:20]) + "\n" + "\r\n".join(lines[20:]),
    ],
)
def test_lines_may_end_in_different_ways(tmp_path, ends):
    (tmp_path / "it.csv").write_bytes(ends([HEADER.strip(), *LINES]).encode())
    frame, malformed = read_table(tmp_path / "it.csv")
    assert frame.agg(",".join, axis=1).tolist() == LINES
    assert list(frame.index) == list(range(2, 42))
    assert malformed.empty


def test_notes_of_the_files_of_a_folder_name_the_first_file(tmp_path):
    for name in ("a.csv", "b.csv", "c.csv"):
        (tmp_path / name).write_text(("" if name == "a.csv" else "Report of May\n") + HEADER + ROWS)
    with open_table(tmp_path) as table:
        assert table.notes == ("b.csv and 1 more: 1 line above the header skipped: 'Report of May'",)
        assert pd.concat(table.chunks()).index.is_unique
