"""The columns of a file as numbers that an estimator can learn from."""

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from sklearn import preprocessing
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline, make_pipeline, make_union

from workflow.data.columns import CATEGORICAL, DATE, TEXT
from workflow.data.contract import Contract
from workflow.models.rounding import rounding_to_grid

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

NUMBERS, CATEGORIES = "numbers", "categories"
MOST_CATEGORIES = 1000  # of a column, with a column of their own; the rarest share one
TERMS = 2**14  # that words and pairs of words are hashed to
TOPICS = 30  # that they are reduced to, for a model that takes no sparse matrix
FAR = 3.0  # standard deviations from the mean, which a bounded number does not exceed


def column_encoders(
    contract: Contract, encoder: str, seed: int, dense: bool = False, bounded: bool = False, on_grid: bool = False
) -> ColumnTransformer:
    """The features as numbers: a transformer for all categories, one for each date and text, and one for all others.

    With one for each column, a table of thousands would wait for scikit-learn's bookkeeping.

    Args:
        contract: of the columns.
        encoder: of categories: `target`, `onehot` or `ordinal`; with `onehot`, each word has a column of its own too.
        seed: of the target encoder's folds.
        dense: whether an array is made of what is mostly zeros.
        bounded: whether numbers stop at `FAR`, so that no row can be too far from those that a model has learned from.
        on_grid: whether what is not one or zero is rounded: see `rounding_to_grid`.
    """
    kinds = {name: contract.columns[name].kind for name in contract.features}
    categories = [name for name, kind in kinds.items() if kind == CATEGORICAL]
    dates = [name for name, kind in kinds.items() if kind == DATE]
    texts = [name for name, kind in kinds.items() if kind == TEXT]
    numbers = [name for name in kinds if name not in {*categories, *dates, *texts}]
    rounding = rounding_to_grid() if on_grid else []
    category = [*category_steps(encoder, seed), *(rounding if encoder != "onehot" else [])]
    parts = [
        (NUMBERS, make_pipeline(*number_steps(bounded), *rounding), numbers),
        (CATEGORIES, make_pipeline(*category), categories),
        *((f"date {place}", make_pipeline(*date_steps(), *rounding), [name]) for place, name in enumerate(dates)),
        *(
            (f"text {place}", make_pipeline(*text_steps(encoder == "onehot" and not dense, seed)), [name])
            for place, name in enumerate(texts)
        ),
    ]
    return ColumnTransformer([part for part in parts if part[2]], sparse_threshold=0 if dense else 0.3)


def number_steps(bounded: bool) -> "list[BaseEstimator]":
    """The transformers of all columns of numbers; a number that was missing is one column more."""
    bounds = (partial(np.maximum, -FAR), partial(np.minimum, FAR)) if bounded else ()
    return [
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        preprocessing.StandardScaler(),
        *map(preprocessing.FunctionTransformer, bounds),
    ]


def date_steps() -> "list[BaseEstimator]":
    """The transformers of one column of dates, in days: their trend, the time of the year, and the day of the week.

    Periodic splines, as scikit-learn's example on time-related features has them.
    """

    def cycle(days: float, knots: int, degree: int) -> "BaseEstimator":
        places = np.linspace(0, days, knots)[:, None]
        return preprocessing.SplineTransformer(knots=places, degree=degree, extrapolation="periodic")

    return [
        SimpleImputer(strategy="median", keep_empty_features=True),
        make_union(preprocessing.StandardScaler(), cycle(365.2425, knots=5, degree=3), cycle(7, knots=8, degree=1)),
    ]


def text_steps(sparse: bool, seed: int) -> "list[BaseEstimator]":
    """The transformers of one column of prose: how often it has which words, and pairs of words, that others have not.

    Unless it may be `sparse`, that is reduced to `TOPICS` (Deerwester et al. 1990, latent semantic analysis), on a
    grid: the last bits of a singular vector are the library's choice. Words are hashed, so that there is no vocabulary
    that could be empty, or fill the model's file.
    """
    terms = [
        SimpleImputer(strategy="constant", fill_value="", keep_empty_features=True),
        preprocessing.FunctionTransformer(np.ravel),
        HashingVectorizer(n_features=TERMS, ngram_range=(1, 2), token_pattern=r"\w+", alternate_sign=False, norm=None),
        TfidfTransformer(sublinear_tf=True),
    ]
    topics = [TruncatedSVD(TOPICS, random_state=seed), preprocessing.StandardScaler(), *rounding_to_grid()]
    return terms if sparse else [*terms, *topics]


def category_steps(encoder: str, seed: int) -> "list[BaseEstimator]":
    """The transformers of all categorical columns. Categories never seen in training are no error."""
    if encoder == "onehot":
        return [preprocessing.OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=MOST_CATEGORIES)]
    if encoder == "ordinal":
        ordinal = preprocessing.OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2
        )
        return [ordinal, preprocessing.StandardScaler()]
    cv = KFold(5, shuffle=True, random_state=seed)
    return [preprocessing.TargetEncoder(target_type="continuous", cv=cv), preprocessing.StandardScaler()]


def encoded_column_owners(encode: ColumnTransformer) -> np.ndarray:
    """Which encoded columns each raw column became: (raw columns, encoded columns) of bool."""
    owners = np.concatenate(
        [
            owners_of(transformer, np.array(columns), encode.output_indices_[name])
            for name, transformer, columns in encode.transformers_
        ]
    )
    return owners == encode.feature_names_in_[:, None]


def owners_of(transformer: Pipeline, columns: np.ndarray, became: slice) -> np.ndarray:
    """The raw column of each column that a fitted transformer of `columns` makes: those of the slice `became`."""
    first = transformer[0]
    if isinstance(first, preprocessing.OneHotEncoder):
        rare = [0 if few is None else len(few) - 1 for few in first.infrequent_categories_]  # they share a column
        return columns.repeat([len(each) - less for each, less in zip(first.categories_, rare, strict=True)])
    if isinstance(first, SimpleImputer) and first.indicator_ is not None:
        return np.concatenate([columns, columns[first.indicator_.features_]])
    return columns.repeat((became.stop - became.start) // len(columns))
