import numpy as np
import pandas as pd
import pytest
from frames import stored_rows

from workflow.data import stored
from workflow.data.columns import Column
from workflow.data.contract import Contract
from workflow.errors import UserError
from workflow.evaluation import holdout
from workflow.models import estimators

TERMS = Contract("y", {"y": Column("numeric"), "x": Column("numeric")})
ROWS = pd.DataFrame({"y": np.arange(1.0, 41.0), "x": np.arange(40.0)})


def outcome(tmp_path, monkeypatch, test: pd.DataFrame) -> holdout.TestPredictions:
    """What comes of a test part if the first thirty rows are learned from, and four rows are held at a time."""
    monkeypatch.setattr(stored, "chunk_rows", lambda columns: 4)
    learned = ROWS.head(30)
    estimator = estimators.build("linear", TERMS, "auto", "identity", 0, {})
    estimators.fit(estimator, learned[["x"]], learned["y"])
    folders = [tmp_path / name for name in ("training", "test")]
    for folder in folders:
        folder.mkdir()
    parts = [stored_rows(rows, folder) for rows, folder in zip((learned, test), folders, strict=True)]
    return holdout.predict_test_set(estimator, *parts, TERMS)


def test_all_rows_that_are_new(tmp_path, monkeypatch):
    found = outcome(tmp_path, monkeypatch, ROWS.tail(10))
    assert found.places.tolist() == list(range(10))
    assert found.true.tolist() == ROWS["y"].tail(10).tolist()
    assert np.argsort(found.predicted).tolist() == list(range(10))
    assert set(found.typical) == {ROWS["y"].head(30).mean()}
    assert (found.seen, found.leaked) == (0, {})


def test_few_rows_are_predicted_at_once(tmp_path, monkeypatch):
    sizes, predict = [], estimators.predict
    monkeypatch.setattr(estimators, "predict", lambda fitted, rows: (sizes.append(len(rows)), predict(fitted, rows))[1])
    outcome(tmp_path, monkeypatch, ROWS.tail(10))
    assert sizes[:3] == [4, 4, 2]


def test_rows_that_were_seen_do_not_count(tmp_path, monkeypatch):
    found = outcome(tmp_path, monkeypatch, ROWS.iloc[[35, 3, 39, 5]])
    assert found.places.tolist() == [0, 2]
    assert found.true.tolist() == [36, 40]
    assert found.seen == 2
    assert found.leaked["leaked_mean_absolute_error"] < np.abs(found.predicted - found.true).mean()


def test_nothing_but_rows_that_were_seen(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="every test row is in the training part too"):
        outcome(tmp_path, monkeypatch, ROWS.head(5))
