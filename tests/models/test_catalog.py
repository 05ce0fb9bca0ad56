import os
import subprocess

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.preprocessing import FunctionTransformer

from workflow.data.columns import Column
from workflow.data.contract import Contract
from workflow.errors import UserError
from workflow.models import catalog, estimators, model_files
from workflow.provenance import digests

CONTRACT = Contract("price", {"winery": Column("categorical"), "rating": Column("numeric"), "price": Column("numeric")})
IMPORTED = [
    "sklearn.svm.SVR",
    "sklearn.linear_model.HuberRegressor",
    "sklearn.gaussian_process.GaussianProcessRegressor",  # its file contains kernels, which are classes of scikit-learn
    "sklearn.neural_network.MLPRegressor",
]


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"winery": random.choice(list("ABC"), 100), "rating": random.normal(4, 0.3, 100)})
    return frame.astype({"winery": "str"}).assign(price=frame["rating"] * 10 + random.normal(0, 1, 100))


def fitted(rows: pd.DataFrame, model: str):
    estimator = estimators.build(model, CONTRACT, "target", estimators.Preparation(), 0, {}, 500)
    return estimators.fit(estimator, rows[CONTRACT.features], rows["price"])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("model", [*IMPORTED, *catalog.OPTIONAL])
def test_an_imported_regressor_predicts_the_same_after_loading(rows, tmp_path, model):
    if model in catalog.OPTIONAL:
        pytest.importorskip(model)
    estimator = fitted(rows, model)
    skops.io.dump(estimator, tmp_path / "model.skops")
    recorded = model_files.trusted_types_of(estimator, [model])
    found = model_files.load(tmp_path / "model.skops", [model], recorded)
    expected = estimators.predict(estimator, rows[CONTRACT.features])
    np.testing.assert_array_equal(estimators.predict(found, rows[CONTRACT.features]), expected)
    assert set(recorded) >= set(skops.io.get_untrusted_types(file=tmp_path / "model.skops"))


@pytest.mark.parametrize("hostile", [os.system, eval, np.load, skops.io.load, subprocess.Popen])
def test_a_file_of_an_imported_regressor_may_hold_no_function_and_no_other_package(rows, tmp_path, hostile):
    estimator = fitted(rows, "sklearn.svm.SVR")
    estimator.transformer_ = FunctionTransformer(inverse_func=hostile)  # called with the predictions
    skops.io.dump(estimator, tmp_path / "model.skops")
    listed = skops.io.get_untrusted_types(file=tmp_path / "model.skops")  # as in a receipt that was edited, too
    with pytest.raises(UserError, match=r"model file of sklearn.svm.SVR: unexpected types .*; train again"):
        model_files.load(tmp_path / "model.skops", ["sklearn.svm.SVR"], listed)
    with pytest.raises(UserError, match="unexpected types"):
        model_files.trusted_types_of(estimator, ["sklearn.svm.SVR"])


def test_only_the_types_recorded_in_training_are_loaded(rows, tmp_path):
    model = "sklearn.gaussian_process.GaussianProcessRegressor"
    estimator = fitted(rows, model)
    recorded = model_files.trusted_types_of(estimator, [model])
    kernel = "sklearn.gaussian_process.kernels.RBF"
    assert kernel in recorded
    skops.io.dump(estimator, tmp_path / "model.skops")
    assert sorted(digests.model(tmp_path / "model.skops").types) == sorted(recorded)
    with pytest.raises(UserError, match=f"unexpected types {kernel}; train again"):
        model_files.load(tmp_path / "model.skops", [model], set(recorded) - {kernel})


@pytest.mark.parametrize(
    "name",
    [
        "numpy.distutils.fcompiler.gnu.Popen",  # a class, under the name of a module that imports it
        "numpy.distutils.cpuinfo.cpuinfo",
        "numpy.memmap",
        "scipy.io._fortran.FortranFile",
        "subprocess.Popen",
        "builtins.eval",
        "os.system",
        "sklearn.metrics.pairwise.rbf_kernel",
        "sklearn.svm._classes.SVR.fit",
        "pip.__main__.Nothing",
        "sklearning.Regressor",
    ],
)
def test_what_could_run_something_is_refused_though_a_receipt_lists_it(name):
    with pytest.raises(UserError, match=f"unexpected types {name}"):
        model_files.trusted_types(["sklearn.svm.SVR", "pip.Regressor", "subprocess.X"], [name], recorded=[name])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("sklearn.svm.SVC", "model=sklearn.svm.SVC: not a scikit-learn regressor"),
        ("os.system", "not a scikit-learn regressor"),
        ("sklearn.svm.SRV", "sklearn.svm.SRV not found in the installed package sklearn; check the import path"),
        ("nowhere.Regressor", "needs the package nowhere, which is not installed; pip install nowhere"),
        ("sklearn.ensemble.VotingRegressor", "missing 1 required positional argument: 'estimators'; pass it in"),
        ("broken_for_a_test.Regressor", "cannot be imported: a reason"),
    ],
)
def test_an_import_path_without_a_regressor_is_a_user_error(tmp_path, monkeypatch, model, message):
    (tmp_path / "broken_for_a_test.py").write_text("raise OSError('a reason')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match=message):
        catalog.regressor(model, 0, {})


@pytest.mark.parametrize("model", ["rf", "extra_trees"])
def test_the_size_of_a_forest_is_limited_on_many_rows_unless_the_user_sets_it(model):
    assert catalog.regressor(model, 0, {}, 5_000).get_params() == catalog.regressor(model, 0, {}).get_params()
    random = np.random.default_rng(0)
    features, target = random.normal(size=(60_000, 2)), random.normal(size=60_000)
    forest = catalog.regressor(model, 0, {"n_estimators": 2}, len(target)).fit(features, target)
    assert [tree.get_n_leaves() for tree in forest.estimators_] == [2_400] * 2
    assert [len(np.unique(rows)) < 50_000 for rows in forest.estimators_samples_] == [True] * 2
    assert catalog.regressor(model, 0, {"max_leaf_nodes": 9}, len(target)).max_leaf_nodes == 9


@pytest.mark.parametrize(("model", "share"), [("rf", 0.6), ("extra_trees", 1.0)])
def test_a_random_forest_samples_columns_on_many_rows_and_extra_trees_do_not(model, share):
    assert [catalog.regressor(model, 0, {}, rows).max_features for rows in (10_000, 10_001)] == [1.0, share]


def test_the_default_forest_is_extra_trees_up_to_2000_rows():
    forests = [catalog.default_models(rows, "mean_absolute_error")[1] for rows in (0, 2_000, 2_001)]
    assert forests == ["extra_trees", "extra_trees", "rf"]


@pytest.mark.parametrize("metric", catalog.BOOSTING_LOSSES)
def test_boosting_learns_the_metric_and_a_second_one_the_mean_where_that_is_something_else(metric):
    loss = catalog.regressor("boosting", 0, catalog.loss_params("boosting", metric, {})).loss
    default = catalog.default_models(0, metric)
    assert ("mean_boosting" in default) == (loss != "squared_error")
    assert "mean_boosting" not in catalog.default_models(100_001, metric)
    assert catalog.loss_params("mean_boosting", metric, {}) == catalog.loss_params("linear", metric, {}) == {}


def test_boosting_learns_the_quantile_of_the_pinball_loss():
    params = catalog.loss_params("boosting", "mean_pinball_loss", {"alpha": 0.9})
    assert (
        catalog.regressor("boosting", 0, params).get_params() | params
        == catalog.regressor("boosting", 0, params).get_params()
    )
    assert params == {"loss": "quantile", "quantile": 0.9}


def test_knn_stores_at_most_20000_rows_chosen_by_the_seed():
    features = np.arange(50_000.0)[:, None]
    neighbours = catalog.regressor("knn", 0, {"n_neighbors": 1}, 50_000).fit(features, features[:, 0])
    assert neighbours.estimators_[0].n_samples_fit_ == 20_000
    assert neighbours.get_params()["estimator__n_neighbors"] == 1
    np.testing.assert_allclose(neighbours.predict(features), features[:, 0], atol=50)
    again = catalog.regressor("knn", 0, {"n_neighbors": 1}, 50_000).fit(features, features[:, 0])
    np.testing.assert_array_equal(again.predict(features), neighbours.predict(features))


def test_bins_of_boosting_hold_three_rows_on_few_rows():
    bins = {rows: catalog.regressor("boosting", 0, {}, rows).max_bins for rows in (0, 4, 300, 764, 765, 10_000)}
    assert bins == {0: 255, 4: 2, 300: 100, 764: 254, 765: 255, 10_000: 255}


def test_the_maximum_of_trees_of_boosting_depends_on_rows_and_columns():
    sizes = ((0, 9), (1_999, 9), (2_000, 9), (10_000, 999), (10_001, 9), (100_000, 10), (1_000_000, 10), (20_000, 999))
    trees = {size: catalog.regressor("boosting", 0, {}, *size).max_iter for size in sizes}
    assert list(trees.values()) == [600, 600, 600, 300, 2_000, 1_000, 300, 300]


def test_boosting_that_stops_early_also_does_so_in_each_fold():
    """With 11,000 rows, a fold has fewer training rows than scikit-learn needs to stop early by default."""
    assert [catalog.regressor("boosting", 0, {}, rows).early_stopping for rows in (10_000, 10_001)] == ["auto", True]


@pytest.mark.parametrize("rows", [500, 10_000])
def test_default_parameters_are_those_of_a_model_without_user_params(rows):
    found = catalog.regressor("boosting", 3, {}, rows, 5).get_params()
    assert catalog.default_parameters("boosting", 3, rows, 5) == found
