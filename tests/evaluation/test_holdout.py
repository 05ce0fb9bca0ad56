import sys

import numpy as np
import pandas as pd
import pytest
from frames import stored_rows

from workflow.data import stored
from workflow.data.columns import Column
from workflow.data.contract import Contract
from workflow.errors import UserError
from workflow.evaluation import holdout
from workflow.evaluation.ranking import ranking_metric
from workflow.models import estimators

CONTRACT = Contract("y", {"y": Column("numeric"), "x": Column("numeric")})
ROWS = pd.DataFrame({"y": np.arange(1.0, 41.0), "x": np.arange(40.0)})


def predicted_test_set(
    tmp_path, monkeypatch, test_set: pd.DataFrame, metric: str = "root_mean_squared_error"
) -> holdout.TestPredictions:
    """Fit on the first thirty rows, and predict a test set in chunks of four rows."""
    monkeypatch.setattr(stored, "chunk_rows", lambda columns: 4)
    training_set = ROWS.head(30)
    estimator = estimators.build("linear", CONTRACT, "auto", estimators.Preparation(), 0, {})
    estimators.fit(estimator, training_set[["x"]], training_set["y"])
    folders = [tmp_path / name for name in ("training", "test")]
    for folder in folders:
        folder.mkdir()
    sets = [stored_rows(rows, folder) for rows, folder in zip((training_set, test_set), folders, strict=True)]
    return holdout.predict_test_set(estimator, *sets, CONTRACT, ranking_metric(metric, {}))


def test_unseen_rows_are_all_predicted_with_the_mean_of_the_training_set_as_baseline(tmp_path, monkeypatch):
    found = predicted_test_set(tmp_path, monkeypatch, ROWS.tail(10))
    assert found.positions.tolist() == list(range(10))
    assert found.true.tolist() == ROWS["y"].tail(10).tolist()
    assert np.argsort(found.predicted).tolist() == list(range(10))
    assert set(found.baseline) == {ROWS["y"].head(30).mean()}
    assert (found.seen_rows, found.leaked_scores) == (0, {})


def test_the_baseline_is_the_best_constant_by_the_metric(tmp_path, monkeypatch):
    rows = ROWS.assign(y=ROWS["y"] ** 2)
    monkeypatch.setattr(sys.modules[__name__], "ROWS", rows)
    found = predicted_test_set(tmp_path, monkeypatch, rows.tail(10), "mean_absolute_error")
    assert set(found.baseline) == {np.percentile(rows["y"].head(30), 50)}


def test_rows_are_predicted_in_chunks(tmp_path, monkeypatch):
    sizes, predict = [], estimators.predict
    monkeypatch.setattr(estimators, "predict", lambda fitted, rows: (sizes.append(len(rows)), predict(fitted, rows))[1])
    predicted_test_set(tmp_path, monkeypatch, ROWS.tail(10))
    assert sizes[:3] == [4, 4, 2]


def test_rows_seen_in_training_are_left_out_and_reported_as_leaked_scores(tmp_path, monkeypatch):
    found = predicted_test_set(tmp_path, monkeypatch, ROWS.iloc[[35, 3, 39, 5]])
    assert found.positions.tolist() == [0, 2]
    assert found.true.tolist() == [36, 40]
    assert found.seen_rows == 2
    assert found.leaked_scores["leaked_mean_absolute_error"] < np.abs(found.predicted - found.true).mean()


def test_a_test_set_of_seen_rows_only_is_an_error(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="every test row is in the training set too"):
        predicted_test_set(tmp_path, monkeypatch, ROWS.head(5))
