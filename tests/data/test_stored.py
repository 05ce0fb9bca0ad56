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
    monkeypatch.setattr(stored, "CHUNK_ROWS", 2)
    (folder := tmp_path / "o'clock").mkdir()
    return stored_rows(ROWS, folder)


def test_stored_rows_are_read_back_unchanged(rows):
    assert len(rows) == 5
    chunks = list(rows.chunks())
    assert [len(chunk) for chunk in chunks] == [2, 2, 1]
    pd.testing.assert_frame_equal(pd.concat(chunks, ignore_index=True), ROWS)
    for name in ROWS:
        pd.testing.assert_series_equal(rows[name], ROWS[name])


def test_rows_are_taken_and_written_in_the_order_of_their_positions(rows, tmp_path):
    positions = np.array([4, 0, 2, 0, 1])
    expected = ROWS.iloc[positions].reset_index(drop=True)
    pd.testing.assert_frame_equal(rows.take(positions), expected)
    rows.write(positions, tmp_path / "some.parquet", {"typed by": "it"})
    found = pd.read_parquet(tmp_path / "some.parquet")
    pd.testing.assert_frame_equal(found, expected)
    assert found.attrs == {"typed by": "it"}
    assert stored.parquet.ParquetFile(tmp_path / "some.parquet").num_row_groups == 3


@pytest.mark.parametrize("positions", [[0, 1, 2, 3, 4], [3], [4, 0, 2, 0], []])
def test_rows_of_a_parquet_file_are_read_in_every_way(rows, tmp_path, positions):
    names = {"copies": "kind.of", "kind": "kind", "Kind": "Kind"}
    path = tmp_path / "rows.parquet"
    stored_rows(ROWS.rename(columns=names), tmp_path).write(np.arange(5), path, {})
    found, expected = stored.open_rows(path), ROWS.rename(columns=names)
    assert (len(found), found.names) == (5, list(expected))
    pd.testing.assert_frame_equal(pd.concat(found.chunks(), ignore_index=True), expected)
    pd.testing.assert_frame_equal(found.take(np.array(positions, int)), expected.iloc[positions].reset_index(drop=True))
    for count in (3, 9):
        pd.testing.assert_frame_equal(found.head(count), expected.head(count))
    for name in expected:
        pd.testing.assert_series_equal(found[name], expected[name])
    pd.testing.assert_series_equal(hash_rows(found), row_hashes(expected))
    some = ["kind", "Kind"]
    pd.testing.assert_frame_equal(pd.concat(found.select(some).chunks(), ignore_index=True), expected[some])
    pd.testing.assert_frame_equal(
        found.select(some).take(np.array([3, 1])), expected[some].iloc[[3, 1]].reset_index(drop=True)
    )


def test_distinct_rows_are_counted(rows, tmp_path):
    folder = tmp_path / "o'clock"
    found, duplicate_counts = stored.deduplicate(folder / "rows.arrow", folder / "distinct.arrow")
    pd.testing.assert_frame_equal(found.take(np.arange(4)), ROWS.iloc[[0, 2, 4, 1]].reset_index(drop=True))
    assert duplicate_counts.tolist() == [2, 1, 1, 1]


def test_chunks_are_stored_with_the_types_of_the_first(tmp_path):
    path = tmp_path / "rows.arrow"
    with stored.arrow_appender(path) as append:
        append(pd.DataFrame({"b": [np.nan], "a": pd.Series([None], dtype="str")}))
        append(pd.DataFrame({"a": pd.Series(["x"], dtype="str"), "b": [2.0]}))
    found = stored.map_rows(path)
    assert found["a"].fillna("none").tolist() == ["none", "x"]
    assert found["b"].fillna(0).tolist() == [0, 2]


def test_row_hashes_do_not_depend_on_the_chunks(rows):
    pd.testing.assert_series_equal(hash_rows(rows), row_hashes(ROWS))


@pytest.mark.slow
@pytest.mark.parametrize("memory", [100, 1000])
def test_rows_beyond_the_memory_limit_are_deduplicated(tmp_path, monkeypatch, memory):
    monkeypatch.setattr(stored, "MEMORY_LIMIT_MB", memory)
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"text": [f"some longer text {n}" for n in random.integers(0, 10**6, 600_000)]})
    frame["number"] = random.random(len(frame))
    stored_rows(frame, tmp_path)
    found, duplicate_counts = stored.deduplicate(tmp_path / "rows.arrow", tmp_path / "distinct.arrow")
    assert len(found) == duplicate_counts.sum() == len(frame)
    positions = random.permutation(len(frame))
    pd.testing.assert_frame_equal(
        found.take(positions), frame.sort_values(["text", "number"]).iloc[positions].reset_index(drop=True)
    )


def test_deduplication_does_not_keep_distinct_rows_in_memory(tmp_path, monkeypatch):
    numbers = np.random.default_rng(0).random((100_000, 30))
    with stored.arrow_appender(tmp_path / "typed.arrow") as append:
        for more in range(5):
            append(pd.DataFrame(numbers + more))
    held = []

    def table(*rows, make=pyarrow.table):
        memory = psutil.Process().memory_info()
        held.append(memory.rss - memory.shared)
        return make(*rows)

    monkeypatch.setattr(pyarrow, "table", table)
    stored.deduplicate(tmp_path / "typed.arrow", tmp_path / "distinct.arrow")
    assert len(held) > 10
    assert max(held) - held[0] < (tmp_path / "distinct.arrow").stat().st_size * 2 / 3


def test_the_memory_limit_grows_with_the_columns(tmp_path):
    limits = []
    for columns in (10, 9000):
        with stored.database(tmp_path, columns) as connection:
            limits.append(connection.execute("SELECT current_setting('memory_limit')").fetchone()[0])
    assert limits == ["957.4 MiB", "4.2 GiB"]


def test_a_full_disk_raises_oserror(tmp_path):
    with pytest.raises(OSError, match="No space left on device") as full, stored.database(tmp_path, 1) as connection:
        connection.execute("COPY (SELECT 1) TO '/dev/full' (FORMAT csv, USE_TMP_FILE false)")
    assert full.value.errno == errno.ENOSPC


def test_a_reached_memory_limit_raises_memoryerror(tmp_path):
    with pytest.raises(MemoryError, match="Out of Memory"), stored.database(tmp_path, 1) as connection:
        connection.execute("SET memory_limit = '9MB'; SELECT list(range) FROM range(10_000_000)")


def test_an_error_in_a_stream_keeps_its_kind(tmp_path):
    for reason, expected in (("Out of Memory Error: it is", MemoryError), ("No space left on device", OSError)):
        broken = f"SELECT CASE range WHEN 10_000 THEN error('{reason}') END FROM range(20_000)"
        with pytest.raises(expected, match=reason), stored.database(tmp_path, 1) as connection:
            list(connection.sql(broken).to_arrow_reader(1000))


def test_chunks_of_more_columns_have_fewer_rows():
    assert [stored.chunk_rows(columns) for columns in (0, 10, 40, 200, 9000)] == [
        100_000,
        100_000,
        25_000,
        5_000,
        5_000,
    ]


def test_reading_does_not_keep_the_file_in_memory(tmp_path):
    path, table = tmp_path / "it.parquet", pyarrow.table({"number": np.random.default_rng(0).random(400_000)})
    parquet.write_table(table, path, row_group_size=10_000)
    before = pyarrow.total_allocated_bytes()
    held = [pyarrow.total_allocated_bytes() - before for _ in stored.parquet_file(path).iter_batches(10_000)]
    assert max(held) < path.stat().st_size / 4
