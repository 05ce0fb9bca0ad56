"""The training rows that are nearest to others, as a model sees them."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from workflow.data.columns import Column
from workflow.data.contract import Contract
from workflow.evaluation.neighbours import distances, nearest_training_rows
from workflow.models import estimators

CONTRACT = Contract(
    target="price",
    columns={"winery": Column("categorical"), "rating": Column("numeric"), "price": Column("numeric")},
)


def stored(rows: pd.DataFrame) -> SimpleNamespace:
    """Return rows with the two methods of stored ones that are used."""

    class Rows(SimpleNamespace):
        def __len__(self) -> int:
            return len(rows)

    return Rows(take=lambda positions: rows.iloc[positions].reset_index(drop=True))


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    random = np.random.default_rng(0)
    winery = pd.Series(random.choice(["A", "B", "C"], 60), dtype="str")
    return pd.DataFrame({"winery": winery, "rating": random.normal(4, 1, 60), "price": random.uniform(5, 50, 60)})


@pytest.mark.parametrize("encoder", estimators.ENCODERS)
def test_the_nearest_training_rows_of_a_row_begin_with_itself(rows, encoder):
    estimator = estimators.build("linear", CONTRACT, encoder, estimators.Preparation(), 0, {})
    estimators.fit(estimator, rows[CONTRACT.features], rows["price"])
    asked = rows[CONTRACT.features].iloc[[7, 3]]
    found = nearest_training_rows(estimator, stored(rows), asked, CONTRACT)
    assert list(found) == ["of", "distance", "price", "winery", "rating"]
    assert found["of"].tolist() == [1] * 5 + [2] * 5
    first = found.groupby("of").first()
    assert first["price"].tolist() == rows["price"].iloc[[7, 3]].tolist()
    np.testing.assert_allclose(first["distance"], 0, atol=1e-7)
    assert all(each["distance"].is_monotonic_increasing for _, each in found.groupby("of"))
    if encoder == "onehot":
        assert set(found["winery"].iloc[:5]) == {asked["winery"].iloc[0]}


def test_distances_weigh_features_alike_and_one_is_that_of_two_random_rows():
    random = np.random.default_rng(0)
    known = np.column_stack([random.normal(0, 100, 300), np.eye(3)[random.integers(0, 3, 300)], np.ones(300)])
    owners = np.array([[1, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 1]], dtype=bool)
    found = distances(sparse.csr_array(known), sparse.csr_array(known), owners)
    assert np.sqrt((found**2).mean()) == pytest.approx(1)
    spread = known[:, 0].std()
    joint = np.sqrt(known[:, 1:4].var(axis=0).sum())
    expected = np.sqrt(
        (((known[0, 0] - known[9, 0]) / spread) ** 2 + ((known[0] - known[9])[1:4] ** 2).sum() / joint**2) / 4
    )
    assert found[0, 9] == pytest.approx(expected, abs=1e-8)


def test_fewer_training_rows_than_neighbours_are_all_returned(rows):
    estimator = estimators.build("knn", CONTRACT, "auto", estimators.Preparation(), 0, {"n_neighbors": 1})
    estimators.fit(estimator, rows[CONTRACT.features], rows["price"])
    found = nearest_training_rows(estimator, stored(rows.head(3)), rows[CONTRACT.features].tail(2), CONTRACT)
    assert len(found) == 6
