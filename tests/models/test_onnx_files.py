"""ONNX files predict what the estimators predict, row by row, in double precision."""

import numpy as np
import pandas as pd
import pytest

from workflow.data.columns import Column
from workflow.data.contract import Contract
from workflow.errors import UserError
from workflow.models import blending, estimators, onnx_files
from workflow.models.encoders import CATEGORIES

reason = "the optional package is not installed: pip install onnx onnxruntime"
onnxruntime = pytest.importorskip("onnxruntime", reason=reason)
onnx = pytest.importorskip("onnx", reason=reason)
KINDS = {
    **dict.fromkeys(("area", "rooms", "empty"), "numeric"),
    "garden": "boolean",
    **dict.fromkeys(("town", "name"), "categorical"),
    "day": "date",
}
CONTRACT = Contract("price", {name: Column(kind) for name, kind in (KINDS | {"price": "numeric"}).items()})
ROWS, TRAINING_ROWS = 900, 600


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Houses with missing values; the test rows have a town that the training rows lack."""
    random = np.random.default_rng(0)
    area, rooms = random.uniform(10, 200, ROWS), random.integers(1, 9, ROWS).astype(float)
    town = random.choice(["Jena", "Köln", "Ulm", None], ROWS)
    town[TRAINING_ROWS : TRAINING_ROWS + 50] = "unseen"
    frame = pd.DataFrame(
        {
            "area": area,
            "rooms": np.where(random.random(ROWS) < 0.2, np.nan, rooms),
            "empty": np.nan,
            "garden": random.choice([0.0, 1.0], ROWS),
            "town": town,
            "name": [f"no {number}" for number in random.integers(0, 1300, ROWS)],  # more than one-hot columns
            "day": np.where(random.random(ROWS) < 0.1, np.nan, 18_000.0 + random.integers(0, 900, ROWS)),
            "price": (20 * area + 100 * rooms) * np.exp(random.normal(0, 0.1, ROWS)),
        }
    )
    frame.loc[TRAINING_ROWS + 60, "area"] = 1e6  # far from the training rows: clipped for some models
    return frame.astype({"town": "str", "name": "str"})


def fitted(rows: pd.DataFrame, model: str, transform: str, encoder: str = "auto", words=(), **params):
    preparation, training = estimators.Preparation(transform, words), rows[:TRAINING_ROWS]
    estimator = estimators.build(model, CONTRACT, encoder, preparation, 0, params, TRAINING_ROWS)
    return estimators.fit(estimator, training[CONTRACT.features], training["price"])


CASES = {
    "ridge": ("linear", "identity"),
    "ridge of a logarithm": ("linear", "log"),
    "ridge of target encoded categories": ("linear", "log1p", "target"),
    "random forest": ("rf", "log1p"),
    "extra trees of ordinal categories": ("extra_trees", "log", "ordinal"),
    "boosting": ("boosting", "log"),
    "boosting of one-hot categories": ("mean_boosting", "identity", "onehot"),
    "words of a category": ("boosting", "identity", "auto", ("name",)),
    "sparse words of a category": ("linear", "identity", "auto", ("name",)),
}


@pytest.mark.parametrize("case", CASES)
def test_a_file_predicts_what_the_estimator_predicts(rows, case):
    estimator, model = fitted(rows, *CASES[case]), CASES[case][0]
    file = onnx_files.export(estimator, model, "price", {})
    test = rows[TRAINING_ROWS:][CONTRACT.features]
    assert onnx_files.largest_deviation(file, estimator, model, test) < 1e-11
    assert onnx_files.export(estimator, model, "price", {}) == file


def test_a_blend_is_the_weighted_mean_of_its_members(rows):
    members = {"linear": fitted(rows, "linear", "log"), "rf": fitted(rows, "rf", "identity", words=("name",))}
    blend = blending.blend(members, np.array([0.25, 0.75]))
    file = onnx_files.export(blend, "blend", "price", {"contract": "target: price"})
    session = onnxruntime.InferenceSession(file)
    inputs = onnx_files.inputs_of(blend, "blend", rows[TRAINING_ROWS:])
    encoded = ["linear: date 0 of day", "rf: date 0 of day", "rf: words 0 of name"]
    assert [each.name for each in session.get_inputs() if ":" in each.name] == encoded
    assert {each.name for each in session.get_inputs()} == {*KINDS, *encoded} - {"day"}
    assert session.get_modelmeta().custom_metadata_map == {"contract": "target: price"}
    (found,) = session.run(["price"], inputs)
    expected = [estimators.predict(each, rows[TRAINING_ROWS:][CONTRACT.features]) for each in members.values()]
    np.testing.assert_allclose(found, 0.25 * expected[0] + 0.75 * expected[1], rtol=1e-12)
    assert onnx_files.largest_deviation(file, blend, "blend", rows[TRAINING_ROWS:]) < 1e-12


def test_a_row_is_a_value_per_column(rows):
    estimator = fitted(rows, "boosting", "identity")
    session = onnxruntime.InferenceSession(onnx_files.export(estimator, "boosting", "price", {}))
    numbers = {"area": 80.0, "rooms": np.nan, "empty": np.nan, "garden": 1.0}
    texts = {"town": "", "name": "never seen"}
    inputs = {name: np.array([[value]]) for name, value in numbers.items()}
    inputs |= {name: np.array([[value]], dtype=object) for name, value in texts.items()}
    typed = pd.DataFrame([numbers | {"town": None, "name": "never seen", "day": np.nan}])
    typed = typed.astype({"town": "str", "name": "str"})
    encoded = onnx_files.inputs_of(estimator, "boosting", typed)
    inputs |= {name: value for name, value in encoded.items() if ":" in name}
    (found,) = session.run(None, inputs)
    assert found == pytest.approx(estimators.predict(estimator, typed[CONTRACT.features]), rel=1e-12)


def test_a_boosting_of_lone_leaves_is_exported(rows):
    estimator = fitted(rows, "boosting", "identity", max_iter=3, min_samples_leaf=TRAINING_ROWS)
    file = onnx_files.export(estimator, "boosting", "price", {})
    assert onnx_files.largest_deviation(file, estimator, "boosting", rows[TRAINING_ROWS:]) < 1e-12


def test_another_estimator_is_a_deviation(rows):
    one, other = fitted(rows, "linear", "identity"), fitted(rows, "linear", "identity", alpha=50.0)
    file = onnx_files.export(one, "linear", "price", {})
    assert onnx_files.largest_deviation(file, other, "linear", rows[TRAINING_ROWS:]) > onnx_files.MAX_DEVIATION


def test_missing_categories_of_the_training_rows_are_in_the_table(rows):
    (pipeline,) = (
        each for name, each, _ in fitted(rows, "rf", "identity").regressor_[0].transformers_ if name == CATEGORIES
    )
    table, _ = onnx_files.category_tables(pipeline, ["town", "name"])
    assert table.categories == ["Jena", "Köln", "Ulm", onnx_files.MISSING]
    assert table.values.shape == (5, 1)
    assert len(np.unique(table.values)) == 5


@pytest.mark.parametrize("model", ["knn", "dummy"])
def test_other_models_are_refused_in_one_line(rows, model):
    with pytest.raises(UserError, match=f"model {model}: cannot be exported to ONNX; expected linear, rf,"):
        onnx_files.export(fitted(rows, model, "identity"), model, "price", {})
