"""Measure speed and accuracy of SHAP values against exact ones: all 2ⁿ coalitions on the same 100 background rows.

    python benchmarks/shapley.py data/wines.csv

Each model is fitted on the logarithm of the target. For 50 test rows, prints the seconds and the correlation with the
exact values of
- the values of evaluate: an exact formula for the linear model, permutations for the others;
- the values of evaluate for trees with more features: the same permutations, summed leaf by leaf;
- permutations in a quarter of the number, as evaluate gives k-NN of 44 features;
- shap.Explainer with its defaults on `model.predict` and 100 background rows (k-NN only; its values go uncompared);
- exact values of the logarithm, rescaled once per row to units of the target (simpler, but less accurate).
"""

import argparse
import sys
import time
from math import factorial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
from scipy import sparse

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT / "steps"), str(PROJECT / "tests")]

from frames import distinct, enforced, read_table, split_frame  # noqa: E402

from workflow.data.contract import read_contract  # noqa: E402
from workflow.evaluation import shapley  # noqa: E402
from workflow.models import catalog, encoders, estimators  # noqa: E402
from workflow.parallel.executors import single_blas_thread  # noqa: E402


def exact_shapley_values(estimator, rows: pd.DataFrame, background: pd.DataFrame) -> np.ndarray:
    """Return Shapley values by their definition, every coalition on every background row: (rows, features)."""
    encode, regress = estimator.regressor_[:-1], estimator.regressor_[-1]
    encoded, base = shapley.dense(encode.transform(rows)), shapley.dense(encode.transform(background))
    n_features = rows.shape[1]
    coalitions = (np.arange(2**n_features)[:, None] >> np.arange(n_features)) & 1 == 1
    switched, sizes = coalitions @ encoders.encoded_column_owners(encode[-1]), coalitions.sum(axis=1)
    values = np.zeros(rows.shape)
    for number, row in enumerate(encoded):
        mixed = np.where(switched[:, None, :], row, base).reshape(-1, encoded.shape[1])
        coalition_values = np.exp(regress.predict(mixed)).reshape(len(coalitions), -1).mean(axis=1)
        for feature in range(n_features):
            without = np.flatnonzero(~coalitions[:, feature])
            weights = [factorial(s) * factorial(n_features - s - 1) / factorial(n_features) for s in sizes[without]]
            values[number, feature] = weights @ (coalition_values[without | (1 << feature)] - coalition_values[without])
    return values


def rescaled_logarithm_values(estimator, explainer: str, rows: pd.DataFrame, background: pd.DataFrame) -> np.ndarray:
    """Return values of the logarithm in units of the target, rescaled once per row: (rows, features)."""
    encode, regress = estimator.regressor_[:-1], estimator.regressor_[-1]
    encoded, base = (shapley.dense(encode.transform(each)) for each in (rows, background))
    owners = sparse.csr_array(encoders.encoded_column_owners(encode[-1]).T.astype(float))
    if explainer == "linear":
        values = shapley.linear_shapley_values(regress, encoded, base, owners, logarithmic=False)
    else:
        values = shapley.tree_shapley_values(regress, encoded, base, owners)
    start = regress.predict(base).mean()
    end = start + values.sum(axis=1)
    return values * ((np.exp(end) - np.exp(start)) / (end - start))[:, None]


def default_explainer(estimator, rows: pd.DataFrame, background: pd.DataFrame) -> np.ndarray:
    """Return the values of shap.Explainer with its defaults for the encoded rows: (rows, encoded columns)."""
    import shap

    encode, regress = estimator.regressor_[:-1], estimator.regressor_[-1]
    explainer = shap.Explainer(lambda x: np.exp(regress.predict(x)), encode.transform(background))
    return explainer(encode.transform(rows), silent=True).values


def main(data: str) -> None:
    """Print a table."""
    contract = read_contract(PROJECT / "data/wines.yaml")
    frame, _ = enforced(read_table(Path(data))[0], contract)
    training, test = split_frame(distinct(frame)[0], 0.2, 0)
    rows, background = test[contract.features].head(50), training[contract.features].sample(100, random_state=0)
    print(f"{'model':<13}{'method':<34}{'seconds':>8}{'correlation with exact':>24}")
    for model in ("linear", "knn", "rf", "extra_trees", "boosting"):
        estimator = estimators.build(model, contract, "target", estimators.Preparation("log"), 0, {}, len(training))
        estimators.fit(estimator, training[contract.features], training[contract.target])
        explainer = catalog.MODELS[model].explainer
        with single_blas_thread():
            exact, started = exact_shapley_values(estimator, rows, background), time.monotonic()
            values = explain(estimator, rows, background, explainer)
            report(model, "evaluate", started, values, exact)
            if explainer == "tree":
                with patch.object(shapley, "PREDICTED_MAX_FEATURES", 0):
                    started = time.monotonic()
                    values = explain(estimator, rows, background, explainer)
                report(model, "evaluate, leaf by leaf", started, values, exact)
            if explainer is None:
                with patch.object(shapley, "PREDICTIONS", 100 * (len(contract.features) + 1)):
                    started = time.monotonic()
                    values = explain(estimator, rows, background, explainer)
                report(model, "a quarter of the permutations", started, values, exact)
                started = time.monotonic()
                default_explainer(estimator, rows, background)
                report(model, "shap.Explainer, defaults", started)
            else:
                started = time.monotonic()
                rescaled = rescaled_logarithm_values(estimator, explainer, rows, background)
                report(model, "logarithm, rescaled once", started, rescaled, exact)


def explain(estimator, rows: pd.DataFrame, background: pd.DataFrame, explainer: str | None) -> np.ndarray:
    """Return the values of evaluate: (rows, features)."""
    return shapley.explain(estimator, rows, background, explainer, 0, lambda items, total: items)[0].to_numpy()


def report(model: str, method: str, started: float, values: np.ndarray | None = None, exact=None) -> None:
    """Print a row of the table."""
    seconds = time.monotonic() - started
    correlation = "" if values is None else f"{np.corrcoef(values.ravel(), exact.ravel())[0, 1]:.4f}"
    print(f"{model:<13}{method:<34}{seconds:>8.1f}{correlation:>24}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a CSV file with the columns of data/wines.csv")
    main(**vars(parser.parse_args()))
