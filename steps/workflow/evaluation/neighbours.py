"""The training rows that are nearest to some rows, in the space of the encoded features that a model learns from."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from workflow.data.contract import Contract
from workflow.data.sampling import evenly_spaced_positions
from workflow.models.encoders import encoded_column_owners

if TYPE_CHECKING:
    from sklearn.compose import TransformedTargetRegressor

    from workflow.data.stored import StoredRows

MAX_ROWS = 20_000  # of the training set, evenly spaced: among more, the nearest are hardly nearer
NEIGHBOURS = 5
ROUNDING = 1e-12  # of the mean square of a column: a variance below is that of a constant
DISTANCE_DIGITS = 9  # by which rows are ordered: the digits after them depend on the library


def nearest_training_rows(
    estimator: "TransformedTargetRegressor", training_set: "StoredRows", rows: pd.DataFrame, contract: Contract
) -> pd.DataFrame:
    """Return the training rows nearest to each of some rows, nearest first.

    Args:
        estimator: fitted; its encoder decides what is near.
        training_set: of which up to `MAX_ROWS` are searched.
        rows: (rows, columns).
        contract: of the rows.

    Returns:
        `of`, the number of the row, from 1, `distance`, as `distances` returns it, the target and the features:
        (rows × `NEIGHBOURS`, features + 3).
    """
    known = training_set.take(evenly_spaced_positions(len(training_set), MAX_ROWS))
    encode, features = estimator.regressor_[:-1], contract.features
    found = distances(
        sparse.csr_array(encode.transform(rows[features])),
        sparse.csr_array(encode.transform(known[features])),
        encoded_column_owners(encode[-1]),
    )
    nearest = np.argsort(found, axis=1, kind="stable")[:, :NEIGHBOURS]
    of = np.repeat(np.arange(len(rows)), nearest.shape[1])
    beside = pd.DataFrame({"of": of + 1, "distance": found[of, nearest.ravel()]})
    return beside.join(known.iloc[nearest.ravel()][[contract.target, *features]].reset_index(drop=True))


def distances(rows: sparse.csr_array, known: sparse.csr_array, owners: np.ndarray) -> np.ndarray:
    """Return the distances of rows to known rows, in units of the root mean square distance of two known rows.

    Every feature counts alike: its encoded columns are divided by their common standard deviation.

    Args:
        rows: (rows, encoded columns).
        known: (known rows, encoded columns).
        owners: which encoded columns come from each feature: (features, encoded columns) of bool.

    Returns:
        Euclidean distances: (rows, known rows).
    """
    squared = np.asarray(known.multiply(known).mean(axis=0))
    variances = squared - known.mean(axis=0) ** 2
    of_features = owners @ np.where(variances > ROUNDING * squared, variances, 0)
    scale = sparse.diags_array(1 / np.sqrt(np.where(of_features > 0, of_features, 1))[owners.argmax(axis=0)])
    scaled, scaled_known = rows @ scale, known @ scale
    squares = [each.multiply(each).sum(axis=1) for each in (scaled, scaled_known)]
    from_known = squares[0][:, None] + squares[1] - 2 * (scaled @ scaled_known.T).toarray()
    varying = max(1, int((of_features > 0).sum()))
    return np.sqrt(np.maximum(from_known, 0) / (2 * varying)).round(DISTANCE_DIGITS)
