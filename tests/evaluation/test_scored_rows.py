import numpy as np
import pandas as pd
import pytest
from frames import stored_rows

from workflow.data.columns import Column
from workflow.data.contract import Contract
from workflow.evaluation.ranking import ranking_metric
from workflow.evaluation.scored_rows import ScoredRows, load, scored_rows, shared_difference, unique_ids

METRIC = ranking_metric("mean_absolute_error", {})
CONTRACT = Contract(
    target="price", columns={name: Column(kind="numeric") for name in ("size", "price", "folds")}, fold="folds"
)


def scored(rows: pd.DataFrame, predicted: list[float]) -> ScoredRows:
    return ScoredRows(rows, pd.DataFrame({"true": rows["price"], "predicted": predicted}))


def flats(*sizes: float) -> pd.DataFrame:
    return pd.DataFrame({"size": np.array(sizes), "price": np.array(sizes) * 10.0})


def test_rows_that_were_seen_in_training_are_left_out_and_so_are_folds(tmp_path):
    test = flats(1, 2, 3, 4).assign(folds=1.0)
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
    training_set = stored_rows(flats(2, 9).assign(folds=7.0), tmp_path / "train")
    test_set = stored_rows(test, tmp_path / "test")
    predictions = pd.DataFrame({"true": [10.0, 30, 40], "predicted": [1.0, 3, 4], "low": 0, "high": 9})
    found = scored_rows(predictions, training_set, test_set, CONTRACT)
    assert list(found.rows["size"]) == [1, 3, 4]
    assert list(found.rows) == ["size", "price"]
    assert list(found.predictions) == ["true", "predicted"]


def test_only_rows_that_both_have_scored_are_compared_in_pairs():
    one, other = scored(flats(1, 2, 3), [11, 22, 33]), scored(flats(3, 4, 2), [30, 99, 21])
    rows, found = shared_difference(one, other, METRIC, seed=0)
    assert rows == 2
    assert found.value == pytest.approx((0 + 1) / 2 - (3 + 2) / 2)


def test_rows_without_a_common_one_cannot_be_compared():
    with pytest.raises(ValueError, match="share no test row"):
        shared_difference(scored(flats(1), [1]), scored(flats(2), [1]), METRIC, seed=0)


def test_rows_are_recognized_by_the_columns_that_all_sets_have():
    one = scored(flats(1, 2).assign(colour=["red", "blue"]), [0, 0])
    other = scored(flats(2, 1).assign(size=[2, 1], floor=[3, 4]), [0, 0])
    ids, other_ids = unique_ids([one, other])
    assert list(ids) == list(other_ids[::-1])
    text = scored(flats(2, 1).assign(size=["2", "1"]), [0, 0])  # the target still tells them apart
    ids, other_ids = unique_ids([one, text])
    assert list(ids) == list(other_ids[::-1])


def test_equal_rows_have_ids_of_their_own():
    one, other = scored(flats(1, 1, 2), [0, 0, 0]), scored(flats(2, 1, 1), [0, 0, 0])
    ids, other_ids = unique_ids([one, other])
    assert len(set(ids)) == 3
    assert set(ids) == set(other_ids)


def test_weights_count_and_everything_survives_a_file(tmp_path):
    found = scored(flats(1, 2), [11, 22])
    found.predictions["weight"] = [3.0, 1.0]
    assert found.error(METRIC) == pytest.approx((3 * 1 + 1 * 2) / 4)
    found.save(tmp_path / "rows.parquet", tmp_path / "predictions.parquet")
    again = load(tmp_path / "rows.parquet", tmp_path / "predictions.parquet")
    assert again.rows.equals(found.rows)
    assert again.error(METRIC) == found.error(METRIC)


def test_rows_with_the_same_features_but_another_target_are_other_rows():
    one = scored(flats(1, 2), [11, 22])
    rent = flats(1, 2).rename(columns={"price": "rent"}).assign(rent=[3.0, 4.0])
    other = ScoredRows(rent, pd.DataFrame({"true": rent["rent"], "predicted": [3.0, 3.0]}))
    with pytest.raises(ValueError, match="share no test row"):
        shared_difference(one, other, METRIC, seed=0)
