import datetime

import numpy as np
import pandas as pd
import pytest

from workflow.data.candidates import DroppedColumn, InferredColumn
from workflow.data.columns import Column
from workflow.data.contract import Contract, check, contract_text, read_contract
from workflow.data.inference import FileStyle, infer, infer_column
from workflow.data.values import parse_values
from workflow.models.encoders import column_encoders

DAYS = pd.Timestamp("2013-01-01") + pd.to_timedelta(np.arange(300) * 31 % 900, unit="D")
HALF_HOURS = pd.Timestamp("2013-01-01") + pd.to_timedelta(np.arange(300) * 30, unit="min")
SECONDS = 600 + np.arange(300) * 97 % 30_000


def texts(values: list[str], name: str = "it") -> pd.Series:
    return pd.Series(values, name=name, dtype="str")


def inferred(values: list[str], name: str = "it", day_first: bool | None = None) -> InferredColumn:
    found = infer_column(texts(values, name), "", FileStyle(lambda: "", lambda: day_first))
    assert isinstance(found, InferredColumn), found
    return found


def clock(seconds: int, form: str) -> str:
    return form.format(hour=seconds // 3600, minute=seconds // 60 % 60, second=seconds % 60)


@pytest.mark.parametrize(
    ("cells", "formats"),
    [
        ([f"{day.month}/{day.day}/{day:%y}" for day in DAYS], "%m/%d/%y"),
        ([f"{day:%d-%m-%y}" for day in DAYS], "%d-%m-%y"),
        ([f"{day:%d-%m}-06" for day in DAYS], "%d-%m-%y"),
        ([f"{day:%y-%m-%d}" for day in DAYS], "%y-%m-%d"),
        ([f"{day:%d-%b-%y}" for day in DAYS], "%d-%b-%y"),
        ([f"{day:%B %d, %Y}" for day in DAYS], "%B %d, %Y"),
        ([f"{day.day}.{day.month}.{day.year}" for day in DAYS], "%d.%m.%Y"),
        (
            [f"{time:%Y-%m-%d}" if time == time.normalize() else str(time) for time in HALF_HOURS],
            ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d"),
        ),
        (
            [f"{time}{'' if number % 3 else '.25'}" for number, time in enumerate(HALF_HOURS)],
            ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S.%f"),
        ),
        ([f"{time}.0000000" for time in HALF_HOURS], "%Y-%m-%d %H:%M:%S.%f"),
        (
            [f"{time:%Y-%m-%dT%H:%M:%S}{'Z' if number % 2 else '+01:00'}" for number, time in enumerate(HALF_HOURS)],
            "%Y-%m-%dT%H:%M:%S%z",
        ),
    ],
)
def test_dates_of_one_order_are_read_in_all_their_forms(cells, formats):
    found = inferred(cells)
    assert found.column == Column("date", format=formats)
    assert parse_values(texts(cells), found.column).notna().all()


@pytest.mark.parametrize("every", [2, 20])
def test_dates_of_two_orders_are_not_guessed_and_are_no_identifiers(every):
    cells = [f"{day:%d/%m/%Y}" if number % every else f"{day:%m/%d/%Y}" for number, day in enumerate(DAYS)]
    found = infer_column(texts(cells))
    assert isinstance(found, DroppedColumn)
    assert found.reason == "looks like dates that are not read"
    assert [finding.code for finding in found.findings] == ["D009"]
    few = inferred([*cells[:9], "13/01/2013", "01/13/2013"] * 30)
    assert (few.column.kind, few.findings[0].code) == ("categorical", "D009")


def test_other_columns_decide_whether_the_day_comes_first():
    ambiguous = [f"{number % 11 + 1:02}/{number % 12 + 1:02}/2015" for number in range(300)]
    assert [finding.code for finding in inferred(ambiguous).findings] == ["D009"]
    assert "is read with the day first" in inferred(ambiguous).findings[0].message
    assert inferred(ambiguous, day_first=False) == InferredColumn(Column("date", format="%m/%d/%Y"))
    frame = pd.DataFrame(
        {"a": ambiguous, "b": [f"{day:%m/%d/%Y}" for day in DAYS], "y": [f"{number}.5" for number in range(300)]},
        dtype="str",
    )
    assert infer(frame, "y").contract.columns["a"].format == "%m/%d/%Y"


@pytest.mark.parametrize(
    ("cells", "name", "kind"),
    [
        ([f"{time:%H:%M}" for time in HALF_HOURS], "it", "time_of_day"),
        ([f"{time:%H:%M:%S}" for time in HALF_HOURS], "it", "time_of_day"),
        ([f"{time:%I:%M %p}" for time in HALF_HOURS], "it", "time_of_day"),
        ([f"{time:%H:%M}" for time in HALF_HOURS], "duration", "duration"),
        ([clock(each, "{hour}:{minute:02}:{second:02}") for each in SECONDS], "it", "duration"),
        ([clock(each * 9, "{hour}:{minute:02}:{second:02}") for each in SECONDS], "it", "duration"),
        ([clock(each, "{hour}h {minute}m") for each in SECONDS], "it", "duration"),
        ([f"{number % 9}:{number % 4}" for number in range(300)], "it", "categorical"),
    ],
)
def test_times_of_day_and_durations_are_told_apart(cells, name, kind):
    assert inferred(cells, name).column == Column(kind)


@pytest.mark.parametrize(
    ("kind", "cells", "expected"),
    [
        (
            "time_of_day",
            ["13:45", "9:30:00", "1:30 PM", "12 a.m.", "25:00", "x"],
            [13.75, 9.5, 13.5, 0, np.nan, np.nan],
        ),
        (
            "duration",
            ["0:21:15", "21:15", "100:00:00", "1h 20m", "PT1H", "1 days 00:00:05", "90", "x"],
            [1275, 1275, 360_000, 4800, 3600, 86_405, np.nan, np.nan],
        ),
    ],
)
def test_times_become_hours_and_durations_seconds(kind, cells, expected):
    np.testing.assert_allclose(parse_values(texts(cells), Column(kind)), expected)


def test_typed_times_and_durations_are_read():
    times = pd.Series([datetime.time(13, 45), None], dtype=object)
    durations = pd.Series(pd.to_timedelta([1275, 5], unit="s"))
    assert infer_column(times) == InferredColumn(Column("time_of_day"))
    assert infer_column(durations) == InferredColumn(Column("duration"))
    assert infer_column(pd.Series(HALF_HOURS)) == InferredColumn(Column("date", clock=True))
    assert parse_values(times, Column("time_of_day")).tolist()[:1] == [13.75]
    assert parse_values(durations, Column("duration")).tolist() == [1275, 5]


def test_a_date_with_a_time_gives_its_hour_too():
    contract = Contract("y", {"at": Column("date", format="%Y-%m-%d %H:%M:%S"), "y": Column("numeric")})
    days = pd.DataFrame({"at": parse_values(texts([str(time) for time in HALF_HOURS]), contract.columns["at"])})
    plain = Contract("y", {"at": Column("date", format="%Y-%m-%d"), "y": Column("numeric")})
    encoded = column_encoders(contract, "target", 0).fit_transform(days, days["at"])
    without = column_encoders(plain, "target", 0).fit_transform(days, days["at"])
    assert encoded.shape[1] > without.shape[1]
    same_hour = days["at"] % 1 == 0.25
    assert np.allclose(encoded[same_hour][:, -8:], encoded[same_hour][:1, -8:])


def test_a_contract_with_several_formats_and_a_target_of_durations_is_written_and_read(tmp_path):
    frame = pd.DataFrame(
        {
            "at": [f"{time:%Y-%m-%d}" if time == time.normalize() else str(time) for time in HALF_HOURS],
            "finish": [clock(each, "{hour}:{minute:02}:{second:02}") for each in SECONDS],
        },
        dtype="str",
    )
    contract = infer(frame, "finish").contract
    assert (contract.columns["finish"], contract.unit) == (Column("duration"), "s")
    (tmp_path / "contract.yaml").write_text(contract_text(contract, {}))
    assert read_contract(tmp_path / "contract.yaml") == contract
    typed, violations = check(frame, contract)
    assert typed["finish"].tolist() == SECONDS.tolist()
    assert violations.empty


@pytest.mark.parametrize(
    "cells",
    [
        [f"{number % 28 + 1} août {2013 + number % 3}" for number in range(300)],
        [f"{number % 28 + 1:02}-{('Dez', 'Okt')[number % 2]}-{2013 + number % 3}" for number in range(300)],
        [f"{2010 + number % 9}-W{number % 50 + 1:02}" for number in range(300)],
    ],
)
def test_dates_in_a_form_that_is_not_read_are_said(cells):
    found = infer_column(texts(cells))
    assert [finding.code for finding in found.findings] == ["D009"]
    assert "in no form that is read" in found.findings[0].message


def test_dates_that_are_all_the_same_are_constant():
    assert infer_column(texts(["2024-01-31", "2024-1-31"] * 30)) == DroppedColumn("is constant")
