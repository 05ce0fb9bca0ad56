"""Encoding of the features of a contract as numbers for a regressor."""

from collections.abc import Sequence
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

from workflow.data.columns import CATEGORICAL, DATE, TEXT, TIME_OF_DAY, Column
from workflow.data.contract import Contract
from workflow.models.rounding import rounding_to_grid

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.base import BaseEstimator

NUMBERS, CATEGORIES, TEXTS, WORDS = "numbers", "categories", "text", "words"  # names of transformers
MAX_CATEGORIES = 1000  # encoded columns of a one-hot encoded feature; the rarest categories share one
HASH_BUCKETS = 2**14  # for words and pairs of words
TEXT_COMPONENTS = 30  # of a text, for a model that takes no sparse matrix
WORD_COMPONENTS = 5  # of the words of a category; more take longer and do not lower the error
MIN_WORDY_CATEGORIES = 20  # of which half have several words, so that some may share a word
MAX_WORDY_COLUMNS = 3  # those with the most categories; more would take too long
MAX_WORDY_ROWS = 20_000  # of more rows, words would take too long
MAX_DEVIATIONS = 3.0  # standard deviations from the mean at which a bounded number is clipped


def column_encoders(
    contract: Contract,
    encoder: str,
    seed: int,
    dense: bool = False,
    bounded: bool = False,
    on_grid: bool = False,
    words: Sequence[str] = (),
) -> ColumnTransformer:
    """Build a transformer of the features to numbers.

    All categories share a pipeline, and so do all numbers: one per column would slow down tables of thousands of
    columns by scikit-learn's bookkeeping. Each date, each text and the words of each category have their own.

    Args:
        contract: of the columns.
        encoder: of categories: `target`, `onehot` or `ordinal`; `onehot` also gives each hashed word a column.
        seed: of the target encoder's folds.
        dense: whether to return an array even if most values are zeros.
        bounded: whether to clip numbers at `MAX_DEVIATIONS`, so that no row is too far from the training rows.
        on_grid: whether to round everything but zeros and ones: see `rounding_to_grid`.
        words: categorical features whose words are encoded too: see `word_columns`.
    """
    kinds = {name: contract.columns[name].kind for name in contract.features}
    categories = [name for name, kind in kinds.items() if kind == CATEGORICAL]
    dates = [name for name, kind in kinds.items() if kind in (DATE, TIME_OF_DAY)]
    texts = [name for name, kind in kinds.items() if kind == TEXT]
    numbers = [name for name in kinds if name not in {*categories, *dates, *texts}]
    rounding = rounding_to_grid() if on_grid else []
    encode_numbers = [*number_steps(bounded), *rounding]
    encode_categories = [*category_steps(encoder, seed), *(rounding if encoder != "onehot" else [])]
    parts = [
        (NUMBERS, make_pipeline(*encode_numbers), numbers),
        (CATEGORIES, make_pipeline(*encode_categories), categories),
        *(
            (f"date {i}", make_pipeline(*date_steps(contract.columns[name]), *rounding), [name])
            for i, name in enumerate(dates)
        ),
        *text_parts(texts, words, encoder == "onehot" and not dense, seed),
    ]
    return ColumnTransformer([part for part in parts if part[2]], sparse_threshold=0 if dense else 0.3)


def text_parts(
    texts: Sequence[str], words: Sequence[str], sparse: bool, seed: int
) -> list[tuple[str, Pipeline, list[str]]]:
    """Return name, transformer and column of each text, and of each category whose words are encoded too."""
    parts = [*((TEXTS, name, TEXT_COMPONENTS) for name in texts), *((WORDS, name, WORD_COMPONENTS) for name in words)]
    return [
        (f"{part} {i}", make_pipeline(*text_steps(sparse, seed, components)), [name])
        for i, (part, name, components) in enumerate(parts)
    ]


def number_steps(bounded: bool) -> "list[BaseEstimator]":
    """Return the transformers of all numeric columns; each with missing values gets an indicator column."""
    bounds = (partial(np.maximum, -MAX_DEVIATIONS), partial(np.minimum, MAX_DEVIATIONS)) if bounded else ()
    return [
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        preprocessing.StandardScaler(),
        *map(preprocessing.FunctionTransformer, bounds),
    ]


def date_steps(column: Column) -> "list[BaseEstimator]":
    """Return the transformers of dates, in days: trend, time of the year, day of the week, and any time of the day.

    Times of day, in hours, are encoded by their number and their cycle. Periodic splines, as in scikit-learn's example
    "Time-related feature engineering".
    """

    def cycle(length: float, n_knots: int, degree: int) -> "BaseEstimator":
        knots = np.linspace(0, length, n_knots)[:, None]
        return preprocessing.SplineTransformer(knots=knots, degree=degree, extrapolation="periodic")

    if column.kind == TIME_OF_DAY:
        cycles = [cycle(24, n_knots=9, degree=3)]
    else:
        cycles = [cycle(365.2425, n_knots=5, degree=3), cycle(7, n_knots=8, degree=1)]
        cycles += [cycle(1, n_knots=9, degree=3)] if column.has_clock else []
    return [
        SimpleImputer(strategy="median", keep_empty_features=True),
        make_union(preprocessing.StandardScaler(), *cycles),
    ]


def text_steps(sparse: bool, seed: int, components: int) -> "list[BaseEstimator]":
    """Return the transformers of one column of texts: TF-IDF of words and pairs of words.

    Words are hashed, because a vocabulary could be empty, or fill the model's file. Unless `sparse`, they are reduced
    to `components` by latent semantic analysis (Deerwester et al. 1990), rounded to a grid because the last bits
    of a singular vector depend on the library.
    """
    tf_idf = [
        SimpleImputer(strategy="constant", fill_value="", keep_empty_features=True),
        preprocessing.FunctionTransformer(np.ravel),
        HashingVectorizer(
            n_features=HASH_BUCKETS, ngram_range=(1, 2), token_pattern=r"\w+", alternate_sign=False, norm=None
        ),
        TfidfTransformer(sublinear_tf=True),
    ]
    reduction = [TruncatedSVD(components, random_state=seed), preprocessing.StandardScaler(), *rounding_to_grid()]
    return tf_idf if sparse else [*tf_idf, *reduction]


def category_steps(encoder: str, seed: int) -> "list[BaseEstimator]":
    """Return the transformers of all categorical columns; they accept categories that were not seen in training."""
    if encoder == "onehot":
        return [preprocessing.OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=MAX_CATEGORIES)]
    if encoder == "ordinal":
        ordinal = preprocessing.OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2
        )
        return [ordinal, preprocessing.StandardScaler()]
    cv = KFold(5, shuffle=True, random_state=seed)
    return [preprocessing.TargetEncoder(target_type="continuous", cv=cv), preprocessing.StandardScaler()]


def word_columns(rows: "pd.DataFrame", contract: Contract) -> list[str]:
    """Return the categorical features whose words may say more than the whole: names of products, places, authors.

    Args:
        rows: the training rows; with more than `MAX_WORDY_ROWS` of them, there are none.
        contract: of the rows.
    """

    def is_wordy(name: str) -> bool:
        values = rows[name].dropna().drop_duplicates()
        several = values.str.contains(r"\w\W+\w", regex=True)
        return len(values) >= MIN_WORDY_CATEGORIES and several.mean() >= 0.5

    if len(rows) > MAX_WORDY_ROWS:
        return []
    categories = [name for name in contract.features if contract.columns[name].kind == CATEGORICAL]
    wordy = [name for name in categories if is_wordy(name)]
    return sorted(wordy, key=lambda name: -rows[name].nunique())[:MAX_WORDY_COLUMNS]


def encoded_words(encode: ColumnTransformer) -> list[str]:
    """Return the categorical features whose words a transformer of `column_encoders` encodes too."""
    return [column for name, _, columns in encode.transformers if name.startswith(WORDS) for column in columns]


def encoded_column_owners(encode: ColumnTransformer) -> np.ndarray:
    """Return which encoded columns come from each feature: (features, encoded columns) of bool."""
    owners = np.concatenate(
        [
            owners_of(transformer, np.array(columns), encode.output_indices_[name])
            for name, transformer, columns in encode.transformers_
        ]
    )
    return owners == encode.feature_names_in_[:, None]


def owners_of(transformer: Pipeline, columns: np.ndarray, encoded: slice) -> np.ndarray:
    """Return the name of the feature that each encoded column of a fitted transformer comes from: (encoded columns,).

    Args:
        transformer: fitted on `columns`.
        columns: names of features.
        encoded: the positions of its encoded columns.
    """
    first = transformer[0]
    if isinstance(first, preprocessing.OneHotEncoder):
        merged = [0 if rare is None else len(rare) - 1 for rare in first.infrequent_categories_]  # they share a column
        return columns.repeat([len(each) - fewer for each, fewer in zip(first.categories_, merged, strict=True)])
    if isinstance(first, SimpleImputer) and first.indicator_ is not None:
        return np.concatenate([columns, columns[first.indicator_.features_]])
    return columns.repeat((encoded.stop - encoded.start) // len(columns))
