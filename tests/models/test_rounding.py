"""A fitted model does not depend on the last bits of numbers, which differ by processor and library."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skops.io

from workflow.data.columns import Column
from workflow.data.contract import Contract
from workflow.models import estimators, rounding
from workflow.provenance import digests

NUMBERS, CATEGORIES = [f"n{i}" for i in range(14)], [f"c{i}" for i in range(4)]
KINDS = dict.fromkeys(NUMBERS, "numeric") | dict.fromkeys(CATEGORIES, "categorical")
KINDS |= {"notes": "text", "price": "numeric"}
CONTRACT = Contract("price", {name: Column(kind) for name, kind in KINDS.items()})
PARAMS = {
    "rf": {"n_estimators": 10},
    "extra_trees": {"n_estimators": 10},
    "knn": {"n_neighbors": 40},
    "boosting": {"max_iter": 30},
}
MODELS = ("linear", "knn", "rf", "extra_trees", "boosting")
COMBINATIONS = [(model, encoder) for model in MODELS for encoder in ("target", "onehot", "ordinal")]
OTHER_KERNELS = {"OPENBLAS_CORETYPE": "Prescott", "NPY_ENABLE_CPU_FEATURES": "none"}


def coarse_rows(seed: int = 0) -> pd.DataFrame:
    """Return rows with few distinct values, so that many distances are equal, and many splits equally good."""
    random = np.random.default_rng(seed)
    numbers = pd.DataFrame(random.integers(0, 3, (600, len(NUMBERS))) * 1.7, columns=NUMBERS)
    categories = pd.DataFrame(random.integers(0, 40, (600, len(CATEGORIES))).astype(str), columns=CATEGORIES)
    frame = pd.concat([numbers, categories.astype("str")], axis=1).assign(price=random.lognormal(3, 1, 600).round(2))
    vocabulary = np.array([f"word{number}" for number in range(80)])
    notes = pd.Series([" ".join(random.choice(vocabulary, count)) for count in random.integers(0, 9, 600)], dtype="str")
    return frame.assign(notes=notes.replace("", None))


def fitted(model: str, encoder: str, logarithm=np.log):
    rows = coarse_rows()
    estimator = estimators.build(model, CONTRACT, encoder, estimators.Preparation("log"), 0, PARAMS.get(model, {}))
    estimator.transformer.steps[0][1].func = logarithm
    return estimators.fit(estimator, rows[CONTRACT.features], rows["price"])


def outcome(model: str, encoder: str, folder: Path) -> tuple[str, list[float]]:
    """Return a digest of the structure of a fitted model, and its predictions."""
    estimator = fitted(model, encoder)
    skops.io.dump(estimator, folder / "model.skops")
    predicted = estimators.predict(estimator, coarse_rows(1)[CONTRACT.features])
    return digests.model(folder / "model.skops").structure, predicted.tolist()


@pytest.mark.slow
@pytest.mark.parametrize(("model", "encoder"), COMBINATIONS)
def test_the_last_bit_of_a_logarithm_does_not_change_predictions(model, encoder):
    random = np.random.default_rng(0)

    def log_with_random_last_bit(values):
        exact = np.log(values)
        return np.nextafter(exact, random.choice([-np.inf, np.inf], exact.shape))

    features = coarse_rows(1)[CONTRACT.features]
    expected = estimators.predict(fitted(model, encoder), features)
    np.testing.assert_array_equal(
        estimators.predict(fitted(model, encoder, log_with_random_last_bit), features), expected
    )


@pytest.mark.slow
def test_other_kernels_of_numpy_and_blas_give_the_same_structure(tmp_path):
    code = (
        "import json, pathlib, sys; sys.path[:0] = sys.argv[1:3]; import test_rounding as t;"
        "print(json.dumps([t.outcome(*each, pathlib.Path(sys.argv[3])) for each in t.COMBINATIONS]))"
    )
    folders = [str(Path(estimators.__file__).parents[2]), str(Path(__file__).parent), str(tmp_path)]
    command = [sys.executable, "-c", code, *folders]
    done = subprocess.run(command, env=os.environ | OTHER_KERNELS, capture_output=True, check=True)
    found = [[list(outcome(*each, tmp_path)) for each in COMBINATIONS], json.loads(done.stdout)]
    for each, (structure, predicted), (other_structure, others) in zip(COMBINATIONS, *found, strict=True):
        assert structure == other_structure, each
        np.testing.assert_allclose(predicted, others, rtol=1e-9, err_msg=str(each))
    assert found[0] != found[1]  # else the kernels did not differ: the last digits of linear models do


def test_distances_between_neighbours_are_exact():
    encoded = fitted("knn", "target").regressor_[:-1].transform(coarse_rows()[CONTRACT.features])
    units = np.rint(encoded * 2**rounding.GRID_BITS).astype(int)
    np.testing.assert_array_equal(encoded @ encoded.T, (units @ units.T) / 2.0 ** (2 * rounding.GRID_BITS))
