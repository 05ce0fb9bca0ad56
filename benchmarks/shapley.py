"""How fast and how right the SHAP values are, against exact ones: all 2ⁿ coalitions on the same 100 background rows.

    python benchmarks/shapley.py data/wines.csv

For each model of the logarithm of the target, 50 test rows: seconds, and correlation with the exact values, of
- what evaluate does: for the linear model an exact formula, for the others permutations;
- what it does to trees in a wide table: exact values of the logarithm, from row to row, each rescaled to units of the target;
- shap.Explainer with its defaults on `model.predict` and 100 background rows (k-NN only: it is what users type);
- the exact values of the logarithm, scaled to its units only in the end (what one might do instead, and should not).
"""

import sys
import time
from math import factorial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT / "steps"), str(PROJECT / "tests")]

from frames import distinct, enforced, read_table, split_frame  # noqa: E402

from workflow.data import contract  # noqa: E402
from workflow.evaluation import shapley  # noqa: E402
from workflow.models import catalog, encoders, estimators  # noqa: E402
from workflow.parallel.executors import single_blas_thread  # noqa: E402


def exact(estimator, rows: pd.DataFrame, background: pd.DataFrame) -> np.ndarray:
    """Shapley values by their definition, every coalition on every background row: (rows, features)."""
    encode, regress = estimator.regressor_[:-1], estimator.regressor_[-1]
    encoded, base = shapley.dense(encode.transform(rows)), shapley.dense(encode.transform(background))
    count = rows.shape[1]
    coalitions = (np.arange(2**count)[:, None] >> np.arange(count)) & 1 == 1
    switched, sizes = coalitions @ encoders.encoded_column_owners(encode[-1]), coalitions.sum(axis=1)
    values = np.zeros(rows.shape)
    for row, point in enumerate(encoded):
        mixed = np.where(switched[:, None, :], point, base).reshape(-1, encoded.shape[1])
        worth = np.exp(regress.predict(mixed)).reshape(len(coalitions), -1).mean(axis=1)
        for column in range(count):
            without = np.flatnonzero(~coalitions[:, column])
            weights = [factorial(s) * factorial(count - s - 1) / factorial(count) for s in sizes[without]]
            values[row, column] = weights @ (worth[without | (1 << column)] - worth[without])
    return values


def of_logarithm(estimator, explain, rows: pd.DataFrame, background: pd.DataFrame, rescaled: bool) -> np.ndarray:
    """Values of the logarithm in units of the target: rescaled from row to row, or scaled in the end to add up."""
    encode, regress = estimator.regressor_[:-1], estimator.regressor_[-1]
    encoded, base = (shapley.dense(encode.transform(each)) for each in (rows, background))
    owners = sparse.csr_array(encoders.encoded_column_owners(encode[-1]).T.astype(float))
    values = explain(regress, encoded, base, owners, rescaled)
    if rescaled:
        return values
    start = regress.predict(base).mean()
    end = start + values.sum(axis=1)
    return values * ((np.exp(end) - np.exp(start)) / (end - start))[:, None]


def default_explainer(estimator, rows: pd.DataFrame, background: pd.DataFrame) -> np.ndarray:
    """shap.Explainer of the encoded model with its defaults: (rows, encoded columns)."""
    import shap

    encode, regress = estimator.regressor_[:-1], estimator.regressor_[-1]
    explainer = shap.Explainer(lambda x: np.exp(regress.predict(x)), encode.transform(background))
    return explainer(encode.transform(rows), silent=True).values


def main(data: str) -> None:
    """Print a table."""
    terms = contract.read_contract(PROJECT / "data/wines.yaml")
    frame, _ = enforced(read_table(Path(data))[0], terms)
    training, test = split_frame(distinct(frame)[0], 0.2, 0)
    rows, background = test[terms.features].head(50), training[terms.features].sample(100, random_state=0)
    print(f"{'model':<13}{'method':<34}{'seconds':>8}{'correlation with exact':>24}")
    for model in ("linear", "knn", "rf", "extra_trees", "boosting"):
        estimator = estimators.build(model, terms, "target", "log", 0, {}, len(training))
        estimators.fit(estimator, training[terms.features], training[terms.target])
        explainer = catalog.MODELS[model].explainer
        with single_blas_thread():
            truth, started = exact(estimator, rows, background), time.monotonic()
            sampled, _ = shapley.explain(estimator, rows, background, explainer, 0, lambda items, total: items)
            report(model, "evaluate", started, sampled.to_numpy(), truth)
            if model == "knn":
                started = time.monotonic()
                default_explainer(estimator, rows, background)
                report(model, "shap.Explainer, defaults", started)
            if explainer:
                explain = shapley.linear_shapley_values if explainer == "linear" else shapley.tree_shapley_values
                for method, rescaled in {"logarithm, row by row": True, "logarithm, then scaled": False}.items():
                    started = time.monotonic()
                    found = of_logarithm(estimator, explain, rows, background, rescaled)
                    report(model, method, started, found, truth)


def report(model: str, method: str, started: float, values: np.ndarray | None = None, truth=None) -> None:
    """Print a row of the table."""
    seconds = time.monotonic() - started
    correlation = "" if values is None else f"{np.corrcoef(values.ravel(), truth.ravel())[0, 1]:.4f}"
    print(f"{model:<13}{method:<34}{seconds:>8.1f}{correlation:>24}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
