import errno

import numpy as np
import pandas as pd
import psutil
import pyarrow
import pytest
from frames import stored_rows
from pyarrow import parquet

from workflow.data import stored
from workflow.data.split import hash_rows, row_hashes

ROWS = pd.DataFrame(
    {"Kind": pd.Series(["a", None, "b", "a", "c"], dtype="str"), "kind": [1.5, np.nan, -2, 1.5, 0], "copies": 3.0}
)


@pytest.fixture
def rows(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "CHUNK", 2)
    (folder := tmp_path / "o'clock").mkdir()
    return stored_rows(ROWS, folder)


def test_rows_come_back_as_they_were(rows):
    assert len(rows) == 5
    chunks = list(rows.chunks())
    assert [len(chunk) for chunk in chunks] == [2, 2, 1]
    pd.testing.assert_frame_equal(pd.concat(chunks, ignore_index=True), ROWS)
    for name in ROWS:
        pd.testing.assert_series_equal(rows[name], ROWS[name])


def test_rows_at_places_in_their_order(rows, tmp_path):
    places = np.array([4, 0, 2, 0, 1])
    expected = ROWS.iloc[places].reset_index(drop=True)
    pd.testing.assert_frame_equal(rows.take(places), expected)
    rows.write(places, tmp_path / "some.parquet", {"typed by": "it"})
    found = pd.read_parquet(tmp_path / "some.parquet")
    pd.testing.assert_frame_equal(found, expected)
    assert found.attrs == {"typed by": "it"}
    assert stored.parquet.ParquetFile(tmp_path / "some.parquet").num_row_groups == 3


@pytest.mark.parametrize("places", [[0, 1, 2, 3, 4], [3], [4, 0, 2, 0], []])
def test_a_part_has_the_rows_of_its_file(rows, tmp_path, places):
    names = {"copies": "kind.of", "kind": "kind", "Kind": "Kind"}
    path = tmp_path / "part.parquet"
    stored_rows(ROWS.rename(columns=names), tmp_path).write(np.arange(5), path, {})
    part, expected = stored.open_rows(path), ROWS.rename(columns=names)
    assert (len(part), part.names) == (5, list(expected))
    pd.testing.assert_frame_equal(pd.concat(part.chunks(), ignore_index=True), expected)
    pd.testing.assert_frame_equal(part.take(np.array(places, int)), expected.iloc[places].reset_index(drop=True))
    for rows_at_first in (3, 9):
        pd.testing.assert_frame_equal(part.head(rows_at_first), expected.head(rows_at_first))
    for name in expected:
        pd.testing.assert_series_equal(part[name], expected[name])
    pd.testing.assert_series_equal(hash_rows(part), row_hashes(expected))
    some = ["kind", "Kind"]
    pd.testing.assert_frame_equal(pd.concat(part.select(some).chunks(), ignore_index=True), expected[some])
    pd.testing.assert_frame_equal(
        part.select(some).take(np.array([3, 1])), expected[some].iloc[[3, 1]].reset_index(drop=True)
    )


def test_distinct_rows_and_their_copies(rows, tmp_path):
    folder = tmp_path / "o'clock"
    found, copies = stored.deduplicate(folder / "rows.arrow", folder / "distinct.arrow")
    pd.testing.assert_frame_equal(found.take(np.arange(4)), ROWS.iloc[[0, 2, 4, 1]].reset_index(drop=True))
    assert copies.tolist() == [2, 1, 1, 1]


def test_pieces_have_the_types_of_the_first(tmp_path):
    path = tmp_path / "rows.arrow"
    with stored.arrow_appender(path) as keep:
        keep(pd.DataFrame({"b": [np.nan], "a": pd.Series([None], dtype="str")}))
        keep(pd.DataFrame({"a": pd.Series(["x"], dtype="str"), "b": [2.0]}))
    found = stored.map_rows(path)
    assert found["a"].fillna("none").tolist() == ["none", "x"]
    assert found["b"].fillna(0).tolist() == [0, 2]


def test_a_number_per_row_hangs_on_no_piece(rows):
    pd.testing.assert_series_equal(hash_rows(rows), row_hashes(ROWS))


@pytest.mark.parametrize("memory", [100, 1000])
def test_more_rows_than_the_memory_has_room_for(tmp_path, monkeypatch, memory):
    monkeypatch.setattr(stored, "MEMORY", memory)
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"text": [f"some longer text {n}" for n in random.integers(0, 10**6, 600_000)]})
    frame["number"] = random.random(len(frame))
    stored_rows(frame, tmp_path)
    found, copies = stored.deduplicate(tmp_path / "rows.arrow", tmp_path / "distinct.arrow")
    assert len(found) == copies.sum() == len(frame)
    places = random.permutation(len(frame))
    pd.testing.assert_frame_equal(
        found.take(places), frame.sort_values(["text", "number"]).iloc[places].reset_index(drop=True)
    )


def test_what_has_been_found_is_not_held(tmp_path, monkeypatch):
    numbers = np.random.default_rng(0).random((100_000, 30))
    with stored.arrow_appender(tmp_path / "typed.arrow") as keep:
        for more in range(5):
            keep(pd.DataFrame(numbers + more))
    held = []

    def table(*rows, make=pyarrow.table):
        memory = psutil.Process().memory_info()
        held.append(memory.rss - memory.shared)
        return make(*rows)

    monkeypatch.setattr(pyarrow, "table", table)
    stored.deduplicate(tmp_path / "typed.arrow", tmp_path / "distinct.arrow")
    assert len(held) > 10
    assert max(held) - held[0] < (tmp_path / "distinct.arrow").stat().st_size * 2 / 3


def test_more_columns_have_more_memory(tmp_path):
    limits = []
    for columns in (10, 9000):
        with stored.database(tmp_path, columns) as connection:
            limits.append(connection.execute("SELECT current_setting('memory_limit')").fetchone()[0])
    assert limits == ["957.4 MiB", "4.2 GiB"]


def test_a_full_disk_is_told_as_one(tmp_path):
    with pytest.raises(OSError, match="No space left on device") as full, stored.database(tmp_path, 1) as connection:
        connection.execute("COPY (SELECT 1) TO '/dev/full' (FORMAT csv, USE_TMP_FILE false)")
    assert full.value.errno == errno.ENOSPC


def test_a_full_memory_is_told_as_one(tmp_path):
    with pytest.raises(MemoryError, match="Out of Memory"), stored.database(tmp_path, 1) as connection:
        connection.execute("SET memory_limit = '9MB'; SELECT list(range) FROM range(10_000_000)")


def test_an_error_in_the_middle_of_a_stream_is_told_as_one(tmp_path):
    for reason, told in (("Out of Memory Error: it is", MemoryError), ("No space left on device", OSError)):
        broken = f"SELECT CASE range WHEN 10_000 THEN error('{reason}') END FROM range(20_000)"
        with pytest.raises(told, match=reason), stored.database(tmp_path, 1) as connection:
            list(connection.sql(broken).to_arrow_reader(1000))


def test_fewer_rows_of_more_columns_are_held_at_once():
    assert [stored.chunk_rows(columns) for columns in (0, 10, 40, 200, 9000)] == [
        100_000,
        100_000,
        25_000,
        5_000,
        5_000,
    ]


def test_what_has_been_read_is_not_held(tmp_path):
    path, table = tmp_path / "it.parquet", pyarrow.table({"number": np.random.default_rng(0).random(400_000)})
    parquet.write_table(table, path, row_group_size=10_000)
    before = pyarrow.total_allocated_bytes()
    held = [pyarrow.total_allocated_bytes() - before for _ in stored.parquet_file(path).iter_batches(10_000)]
    assert max(held) < path.stat().st_size / 4
