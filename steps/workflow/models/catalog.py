"""The models that there are: a regressor each, by its name here or by its import path."""

import difflib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pydoc import ErrorDuringImport, locate
from typing import TYPE_CHECKING, Any

from workflow.errors import UserError

ENOUGH, NARROW = 2_000, 100  # rows that show which parameters are better, and columns of which they show it soon
FEW = 10_000  # rows: of more, some can be spared to show when further trees of boosting do not help

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator


@dataclass(frozen=True)
class Model:
    """A regressor: its import path, shap's explainer for it, our defaults, the types its file may hold, and its best
    encoder.

    One that takes no sparse matrix gets its encoded columns `dense`. One that could run away with a number far from all
    that it has learned from gets its numbers `bounded`; one that compares distances gets them `on_grid`: see
    `column_encoders`. `limits` are the parameters that hang on the numbers of rows and columns, and keep
    its cost from growing with them. Some rows show whether one of its `choices` does better than the defaults, and of
    few rows, cross-validation finds the value of `counted`: see `counting`. Better parameters are looked for in its
    `space`: see `search.distributions`.
    """

    path: str
    explainer: str | None = None
    defaults: dict[str, Any] = field(default_factory=dict)
    trusted: tuple[str, ...] = ()
    encoder: str = "target"
    dense: bool = False
    bounded: bool = False
    on_grid: bool = False
    limits: Callable[[int, int], dict[str, Any]] = lambda rows, columns: {}
    choices: tuple[dict[str, Any], ...] = ()
    counted: str = ""
    space: dict[str, Any] = field(default_factory=dict)


def forest_limits(rows: int, columns: int) -> dict[str, Any]:
    """Of a tree: leaves, so that a hundred make no more than 100 MB; and rows, of which more take their time only."""
    leaves = {"max_leaf_nodes": 2_400} if rows > 5_000 else {}
    return leaves | ({"bootstrap": True, "max_samples": 50_000 / rows} if rows > 50_000 else {})


def random_forest_limits(rows: int, columns: int) -> dict[str, Any]:
    """As `forest_limits`; and of many rows, a part of the columns at each split: half the time, and no larger an error.

    Extra trees, which draw the thresholds, too, would err more.
    """
    return forest_limits(rows, columns) | ({"max_features": 0.6} if rows > FEW else {})


def sample_limits(rows: int, columns: int) -> dict[str, Any]:
    """The share of the rows that a model remembers which compares each row with all that it remembers."""
    return {"max_samples": 20_000 / rows} if rows > 20_000 else {}


def boosting_limits(rows: int, columns: int) -> dict[str, Any]:
    """Of few rows, smaller trees; of many, as many as help some of them, which scikit-learn keeps aside for that.

    There are fewer of many columns: that is a matter of time. Bins hold three rows, as LightGBM's do: on few rows and
    many columns, more cost time and learn noise.
    """
    most, steps = (2_000, 10**9) if rows > FEW else (600, 3 * 10**8)
    trees = {"max_iter": min(most, max(300, steps // max(1, rows * columns)))}
    small = {"learning_rate": 0.1, "max_leaf_nodes": 16} if 0 < rows < ENOUGH else {}
    bins = {"max_bins": max(2, rows // 3)} if 0 < rows < 3 * 255 else {}
    return trees | small | bins | ({"early_stopping": True} if rows > FEW else {})


# What `tune` tries of parameters that several models have, by whatever name.
RATE = {"low": 0.02, "high": 0.3, "log": True}
TREES = {"low": 50, "high": 1500, "log": True}
ROWS = {"low": 2, "high": 50, "log": True}  # in a leaf, at least
SHARE = {"low": 0.1, "high": 1.0}  # of the columns
PENALTY = {"low": 0.01, "high": 100.0, "log": True}

# Forests predict in one thread: several add up the trees in the order in which they finish, and the last bits differ.
MODELS = {
    # Ridge, because plain least squares on one-hot columns of rare categories gives absurd prices. Its solver of sparse
    # columns would stop while the digits that it has left to find still hang on the rounding of those before.
    "linear": Model(
        "sklearn.linear_model.Ridge",
        "linear",
        {"tol": 1e-12},
        encoder="onehot",
        bounded=True,
        space={"alpha": {"low": 0.01, "high": 1000.0, "log": True}},
    ),
    "knn": Model(
        "sklearn.neighbors.KNeighborsRegressor",
        trusted=(
            "scipy.sparse._csr.csr_matrix",
            "sklearn.metrics._dist_metrics.EuclideanDistance64",
            "sklearn.metrics._dist_metrics.ManhattanDistance64",
            "sklearn.metrics._dist_metrics.MinkowskiDistance64",
            "sklearn.neighbors._ball_tree.BallTree",
            "sklearn.neighbors._kd_tree.KDTree",
        ),
        bounded=True,
        on_grid=True,
        limits=sample_limits,
        space={"n_neighbors": {"low": 1, "high": 60, "log": True}, "weights": ["uniform", "distance"], "p": [1, 2]},
    ),
    "rf": Model(
        "sklearn.ensemble.RandomForestRegressor",
        "tree",
        {"n_jobs": 1},
        ("sklearn.tree._tree.Tree",),
        limits=random_forest_limits,
        space={"max_features": SHARE, "min_samples_leaf": {"low": 1, "high": 20, "log": True}},
    ),
    "extra_trees": Model(
        "sklearn.ensemble.ExtraTreesRegressor",
        "tree",
        {"n_jobs": 1, "min_samples_split": 4},
        ("sklearn.tree._tree.Tree",),
        limits=forest_limits,
        space={"max_features": SHARE, "min_samples_split": {"low": 2, "high": 40, "log": True}},
    ),
    # Many small steps, each of which sees a third of the columns: benchmarks/models.py.
    "boosting": Model(
        "sklearn.ensemble.HistGradientBoostingRegressor",
        "tree",
        {
            "learning_rate": 0.06,
            "max_iter": 600,
            "max_leaf_nodes": 31,
            "min_samples_leaf": 10,
            "max_features": 0.3,
            "l2_regularization": 3.0,
            "n_iter_no_change": 30,
        },
        ("sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",),
        dense=True,
        limits=boosting_limits,
        choices=({"max_features": 1.0}, {"max_features": 1.0, "max_leaf_nodes": 48}),
        counted="max_iter",
        space={
            "learning_rate": RATE,
            "max_iter": {"low": 100, "high": 2000, "log": True},
            "max_leaf_nodes": {"low": 4, "high": 48, "log": True},
            "min_samples_leaf": ROWS,
            "max_features": SHARE,
            "l2_regularization": PENALTY,
        },
    ),
    "dummy": Model("sklearn.dummy.DummyRegressor"),
}
OPTIONAL = {  # of packages that the user installs
    "lightgbm": Model(
        "lightgbm.LGBMRegressor",
        "tree",
        {"n_jobs": 1, "verbose": -1},
        ("collections.OrderedDict", "lightgbm.basic.Booster", "lightgbm.sklearn.LGBMRegressor"),
        space={
            "learning_rate": RATE,
            "n_estimators": TREES,
            "num_leaves": {"low": 4, "high": 64, "log": True},
            "min_child_samples": ROWS,
            "colsample_bytree": {"low": 0.3, "high": 1.0},
            "reg_lambda": PENALTY,
        },
    ),
    "xgboost": Model(
        "xgboost.XGBRegressor",
        "tree",
        {"n_jobs": 1},
        ("xgboost.core.Booster", "xgboost.sklearn.XGBRegressor"),
        space={
            "learning_rate": RATE,
            "n_estimators": TREES,
            "max_depth": {"low": 2, "high": 10},
            "min_child_weight": {"low": 1.0, "high": 50.0, "log": True},
            "colsample_bytree": {"low": 0.3, "high": 1.0},
            "reg_lambda": PENALTY,
        },
    ),
    "catboost": Model(
        "catboost.CatBoostRegressor",
        "tree",
        {"thread_count": 1, "verbose": False, "allow_writing_files": False},
        ("catboost.core.CatBoostRegressor",),
        space={
            "learning_rate": RATE,
            "iterations": {"low": 100, "high": 1500, "log": True},
            "depth": {"low": 2, "high": 9},
            "l2_leaf_reg": {"low": 0.1, "high": 100.0, "log": True},
        },
    ),
}
BLEND = "blend"
DEFAULT_BLEND_MEMBERS = ("linear", "rf", "boosting")  # what a blend combines if it is not told


FEW_FOR_RANDOM_FOREST = 2_000  # rows, of which extra trees err less


def default_models(rows: int) -> list[str]:
    """What `main` compares and blends if it is not told, with `rows` to learn from."""
    return ["linear", "extra_trees" if rows <= FEW_FOR_RANDOM_FOREST else "rf", "boosting"]


def get_model(name: str) -> Model:
    """The model of that name, or the one that has it for its import path."""
    return MODELS.get(name) or OPTIONAL.get(name) or Model(name, dense=True, bounded=True)


def regressor(model: str, seed: int, model_params: dict[str, Any], rows: int = 0, columns: int = 1) -> "BaseEstimator":
    """The regressor called `model` with our defaults, a seed if it takes one, and `model_params` above both.

    If it is to learn from more `rows` and `columns` than it can bear, it is limited.
    """
    kind = import_regressor(model)
    names = [name for name, taken in inspect.signature(kind).parameters.items() if taken.kind != taken.VAR_KEYWORD]
    for name in model_params:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            remedy = f"did you mean {close[0]}?" if close else f"it has {', '.join(names)}"
            raise UserError(f"{kind.__name__} ({model}) has no parameter {name}; {remedy}")
    seeded = {"random_state": seed} if "random_state" in names else {}
    limits = get_model(model).limits(rows, columns)
    try:
        made = kind(
            **seeded
            | get_model(model).defaults
            | {name: limits[name] for name in limits if name in names}
            | model_params
        )
    except TypeError as error:
        raise UserError(f"model={model}: {error}; give it in model_params") from error
    return made if limits.keys() <= set(names) else sampled(made, seed, **limits)


def candidate_params(model: str, model_params: dict[str, Any], rows: int, columns: int) -> tuple[dict[str, Any], ...]:
    """Sets of parameters that may do better than the defaults of a model for which the user gives none.

    There are none of few rows, among which chance would choose, nor of many columns, which take long.
    """
    return get_model(model).choices if not model_params and rows >= ENOUGH and columns <= NARROW else ()


def iteration_param(model: str, model_params: dict[str, Any], rows: int) -> str:
    """The parameter that says how many trees a model has, if cross-validation is to find it; else nothing.

    It is, of few rows, unless the user says how many trees or what stops them.
    """
    counted = get_model(model).counted
    return counted if rows <= FEW and not {counted, "early_stopping"} & model_params.keys() else ""


def default_parameters(model: str, seed: int, rows: int, columns: int) -> dict[str, Any]:
    """What a model's parameters are, if it is to learn from so many rows and columns and is given none."""
    return regressor(model, seed, {}).get_params() | get_model(model).limits(rows, columns)


def import_regressor(model: str) -> Any:
    """The class of a model. Raises UserError if there is none, or if it is no regressor of scikit-learn's kind."""
    from sklearn.base import RegressorMixin

    path = get_model(model).path
    package = path.partition(".")[0]
    if find_spec(package) is None:
        raise UserError(f"model={model}: needs the package {package}, which is not installed; pip install {package}")
    try:
        kind: Any = locate(path)
    except ErrorDuringImport as error:
        raise UserError(f"model={model}: cannot be imported: {error.value}") from error
    if kind is None:
        raise UserError(f"model={model}: there is no {path} in what is installed of {package}; check the import path")
    if not isinstance(kind, type) or not (
        issubclass(kind, RegressorMixin) or getattr(kind, "_estimator_type", "") == "regressor"
    ):
        raise UserError(f"model={model}: not a scikit-learn regressor; name a class that is, like sklearn.svm.SVR")
    return kind


def sampled(regressor: "BaseEstimator", seed: int, max_samples: float) -> "BaseEstimator":
    """A regressor that learns from a share of the rows."""
    from sklearn.ensemble import BaggingRegressor

    return BaggingRegressor(regressor, 1, max_samples=max_samples, bootstrap=False, random_state=seed)
