"""Words of categories: which columns have them, and that a model is fitted on them where they help."""

import numpy as np
import pandas as pd
import pytest
import skops.io
from frames import stored_rows

from workflow.data.columns import Column
from workflow.data.contract import Contract
from workflow.evaluation import shapley
from workflow.models import encoders, estimators, model_files
from workflow.models.catalog import get_model
from workflow.models.encoders import word_columns
from workflow.parameters import TrainParams
from workflow.stages import train

CONTRACT = Contract(
    "price",
    {
        "name": Column("categorical"),
        "year": Column("numeric"),
        "size": Column("categorical"),
        "price": Column("numeric"),
    },
)
FIRST = {"Plain": 1.0, "Good": 2.0, "Grand": 4.0, "Old": 7.0, "Noble": 11.0}
LAST = {"Hill": 0.0, "Valley": 20.0, "River": 45.0, "Abbey": 80.0}


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Rows whose names are all different, and whose price is the sum of what two words of the name are worth."""
    random = np.random.default_rng(0)
    first, last = random.choice(list(FIRST), 300), random.choice(list(LAST), 300)
    return pd.DataFrame(
        {
            "name": [f"{one} {other} {number}" for number, (one, other) in enumerate(zip(first, last, strict=True))],
            "year": random.integers(1990, 2020, 300).astype(float),
            "size": random.choice(["large", "small"], 300),
            "price": pd.Series(first).map(FIRST) + pd.Series(last).map(LAST) + random.normal(50, 0.5, 300),
        }
    ).astype({"name": "str", "size": "str"})


def column(values: list[str | None], kind: str = "categorical") -> list[str]:
    """Return which of the columns `x` of these values, and the target, have words."""
    frame = pd.DataFrame({"x": pd.Series(values, dtype="str"), "y": 1.0})
    return word_columns(frame, Contract("y", {"x": Column(kind), "y": Column("numeric")}))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([f"Château {number}" for number in range(20)], ["x"]),
        ([f"Château {number}" for number in range(19)] + ["Château 0", None], []),  # 19 categories
        ([f"Château{number}" for number in range(20)], []),
        ([f"Château {number}" for number in range(10)] + [f"Château{number}" for number in range(10)], ["x"]),
        ([f"Château {number}" for number in range(10)] + [f"Château{number}" for number in range(11)], []),
        ([f"Château {number}" for number in range(12)] * 9 + [f"Château{number}" for number in range(13)], []),
        ([f"{number}-b" for number in range(20)], ["x"]),
        ([f" {number} " for number in range(20)], []),
        ([None] * 30, []),
    ],
)
def test_a_category_has_words_if_half_of_many_have_several(values, expected):
    assert column(values) == expected


def test_only_categories_have_words_of_their_own():
    assert column([f"Château {number}" for number in range(20)], "text") == []


def test_words_of_many_rows_are_not_looked_at(monkeypatch, rows):
    assert word_columns(rows, CONTRACT) == ["name"]
    monkeypatch.setattr(encoders, "MAX_WORDY_ROWS", 300)
    assert word_columns(rows, CONTRACT) == ["name"]
    monkeypatch.setattr(encoders, "MAX_WORDY_ROWS", 299)
    assert word_columns(rows, CONTRACT) == []


@pytest.fixture(scope="module")
def trained(rows, tmp_path_factory) -> dict[str, train.TrainResult]:
    """Train a model that takes sparse matrices and one that does not, and one on names that say nothing."""
    shuffled = rows.assign(name=rows["name"].sample(frac=1, random_state=0).to_numpy())
    given = {"linear": rows, "rf": rows, "by chance": shuffled}
    results = {}
    for name, frame in given.items():
        own = {"model": "rf", "model_params": {"n_estimators": 20}} if name == "rf" else {"model": "linear"}
        inputs = train.TrainInputs(stored_rows(frame, tmp_path_factory.mktemp("rows")), CONTRACT)
        results[name] = train.run(TrainParams(**own, cv=2, log_target="false"), inputs)
    return results


def test_a_model_takes_words_where_they_lower_its_error_and_says_so(trained):
    assert trained["linear"].description["words_of"] == trained["rf"].description["words_of"] == "name"
    assert "words_of" not in trained["by chance"].description
    for model in ("linear", "rf"):
        error, by_chance = (trained[name].cv_scores["cv_mean_absolute_error"] for name in (model, "by chance"))
        assert error < by_chance / 2
        assert estimators.preparation_of(trained[model].estimator) == estimators.Preparation("identity", ("name",))


def test_words_need_a_smaller_error_by_more_than_chance(monkeypatch, rows, tmp_path):
    monkeypatch.setattr(train.cross_validation, "error_on_sample", lambda *_: next(errors))
    inputs = train.TrainInputs(stored_rows(rows, tmp_path), CONTRACT)
    params = TrainParams(model="linear", cv=2, log_target="false")
    for with_words, expected in ((9.8, "name"), (9.95, None), (10.2, None)):
        errors = iter([10.0, with_words])
        assert train.run(params, inputs).description.get("words_of") == expected


@pytest.mark.parametrize("model", ["linear", "rf"])
def test_shapley_values_of_words_belong_to_their_column_and_add_up(rows, trained, model):
    estimator, features = trained[model].estimator, rows[CONTRACT.features]
    values, base = shapley.explain(
        estimator, features.head(20), features, get_model(model).explainer, 0, lambda items, total: items
    )
    assert list(values.columns) == ["name", "year", "size"]
    np.testing.assert_allclose(values.sum(axis=1) + base, estimators.predict(estimator, features.head(20)))
    assert values["name"].abs().mean() > 10 * values["size"].abs().mean()


@pytest.mark.parametrize("model", ["linear", "rf"])
def test_only_the_encoded_columns_of_a_category_change_with_its_words(rows, trained, model):
    encode = trained[model].estimator.regressor_[0]
    owners = encoders.encoded_column_owners(encode)
    assert (owners.sum(axis=0) == 1).all()
    before, after = (
        shapley.dense(encode.transform(rows[CONTRACT.features].head(1).assign(name=name)))[0]
        for name in ("Plain Hill 1", "Noble Abbey 1")
    )
    name = CONTRACT.features.index("name")
    assert (before != after).sum() > 1
    assert not ((before != after) & ~owners[name]).any()


@pytest.mark.parametrize("model", ["linear", "rf"])
def test_words_of_names_never_seen_predict_also_after_loading(rows, trained, tmp_path, model):
    skops.io.dump(trained[model].estimator, tmp_path / "model.skops")
    loaded = model_files.load(tmp_path / "model.skops", [model], trained[model].trusted_types)
    names = ["Plain Hill never seen", "Noble Abbey never seen", None, ""]
    new_rows = pd.DataFrame({"name": pd.Series(names, dtype="str"), "year": 2005.0, "size": "small"})
    low, high, *others = estimators.predict(loaded, new_rows)
    assert high - low > 40
    assert np.isfinite(others).all()
    np.testing.assert_array_equal(
        estimators.predict(loaded, rows[CONTRACT.features]),
        estimators.predict(trained[model].estimator, rows[CONTRACT.features]),
    )
