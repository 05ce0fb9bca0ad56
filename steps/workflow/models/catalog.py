"""The available models: regressors with a short name here, and any other by its import path."""

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pydoc import ErrorDuringImport, locate
from typing import TYPE_CHECKING, Any

from workflow.errors import UserError

CANDIDATES_MIN_ROWS = 2_000  # fewer training rows would choose among candidates by chance
CANDIDATES_MAX_COLUMNS = 100  # with more features, trying candidates takes too long
SMALL_TREES_MAX_ROWS = 1_999  # up to so many training rows, smaller trees err less
EARLY_STOPPING_MIN_ROWS = 10_001  # from so many on, boosting can spare a validation set for early stopping
COLUMN_SAMPLING_MIN_ROWS = 10_001  # from so many on, a random forest gains from a sample of columns per split
BOTH_BOOSTINGS_MAX_ROWS = 100_000  # with more training rows, a second boosting takes too long
EXTRA_TREES_MAX_ROWS = 2_000  # up to so many training rows, extra trees err less

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator


@dataclass(frozen=True)
class Range:
    """A range of values to search for a parameter: of integers if both ends are, on a logarithmic scale if `log`."""

    low: float
    high: float
    log: bool = False


SearchSpace = Mapping[str, Range | list[Any]]  # by parameter: a range, or a list of choices


@dataclass(frozen=True)
class Model:
    """A regressor, and how to prepare its inputs, limit its cost and search for its parameters.

    Attributes:
        path: import path of the class.
        explainer: exact SHAP explainer of its kind, `linear` or `tree`, if it has one.
        defaults: our defaults, where they differ from the package's.
        trusted_types: types that its skops file may hold.
        encoder: the categorical encoder that gives it the lowest error.
        dense: whether it takes no sparse matrix.
        bounded: whether numbers are clipped, because it would extrapolate: see `encoders.column_encoders`.
        on_grid: whether numbers are rounded, because it compares distances: see `encoders.column_encoders`.
        size_limits: returns, for the numbers of training rows and features, parameters that bound its cost.
        candidates: parameter sets that may do better than the defaults: see `tree_count.select_params_on_holdout`.
        iteration_param: name of the parameter with its number of trees, if cross-validation can choose the number.
        constraints_param: name of the parameter with monotonic constraints of its columns, if it keeps any.
        quick: parameters with which it is fitted quickly, to compare ways to prepare the data.
        search_space: what `tune` searches by default.
    """

    path: str
    explainer: str | None = None
    defaults: dict[str, Any] = field(default_factory=dict)
    trusted_types: tuple[str, ...] = ()
    encoder: str = "target"
    dense: bool = False
    bounded: bool = False
    on_grid: bool = False
    size_limits: Callable[[int, int], dict[str, Any]] = lambda rows, columns: {}
    candidates: tuple[dict[str, Any], ...] = ()
    iteration_param: str = ""
    constraints_param: str = ""
    quick: dict[str, Any] = field(default_factory=dict)
    search_space: SearchSpace = field(default_factory=dict)


def forest_limits(rows: int, columns: int) -> dict[str, Any]:
    """Limit the leaves of a tree, so that a hundred trees stay below 100 MB, and the rows per tree, to save time."""
    leaves = {"max_leaf_nodes": 2_400} if rows > 5_000 else {}
    return leaves | ({"bootstrap": True, "max_samples": 50_000 / rows} if rows > 50_000 else {})


def random_forest_limits(rows: int, columns: int) -> dict[str, Any]:
    """Limit a random forest like any forest, and with many rows sample the columns of each split.

    This halves the time at no larger error. Extra trees, whose thresholds are random as well, would err more.
    """
    sampling = {"max_features": 0.6} if rows >= COLUMN_SAMPLING_MIN_ROWS else {}
    return forest_limits(rows, columns) | sampling


def knn_limits(rows: int, columns: int) -> dict[str, Any]:
    """Cap the rows that k-NN stores at 20,000: it compares each row with all of them."""
    return {"max_samples": 20_000 / rows} if rows > 20_000 else {}


def boosting_limits(rows: int, columns: int) -> dict[str, Any]:
    """Grow smaller trees on few rows; on many, grow more of them and stop early on a validation set.

    The number of trees falls with the number of columns, to bound the time. Bins hold three rows, as in LightGBM: on
    few rows and many columns, more bins cost time and fit noise.
    """
    stops_early = rows >= EARLY_STOPPING_MIN_ROWS
    max_trees, max_cells = (2_000, 10**9) if stops_early else (600, 3 * 10**8)
    trees = {"max_iter": min(max_trees, max(300, max_cells // max(1, rows * columns)))}
    small = {"learning_rate": 0.1, "max_leaf_nodes": 16} if 0 < rows <= SMALL_TREES_MAX_ROWS else {}
    bins = {"max_bins": max(2, rows // 3)} if 0 < rows < 3 * 255 else {}
    return trees | small | bins | ({"early_stopping": True} if stops_early else {})


# Search ranges of parameters that several packages have, under different names.
LEARNING_RATE = Range(0.02, 0.3, log=True)
N_TREES = Range(50, 1500, log=True)
MIN_LEAF_ROWS = Range(2, 50, log=True)
COLUMN_FRACTION = Range(0.1, 1.0)
L2_PENALTY = Range(0.01, 100.0, log=True)

# Many small steps, each of which sees a third of the columns: see benchmarks/models.py.
BOOSTING = Model(
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
    size_limits=boosting_limits,
    candidates=({"max_features": 1.0}, {"max_features": 1.0, "max_leaf_nodes": 48}),
    iteration_param="max_iter",
    constraints_param="monotonic_cst",
    quick={"max_iter": 150, "early_stopping": False},
    search_space={
        "learning_rate": LEARNING_RATE,
        "max_iter": Range(100, 2000, log=True),
        "max_leaf_nodes": Range(4, 48, log=True),
        "min_samples_leaf": MIN_LEAF_ROWS,
        "max_features": COLUMN_FRACTION,
        "l2_regularization": L2_PENALTY,
    },
)
# The metrics that can rank models, with the parameters with which boosting learns them; the default is the mean.
BOOSTING_LOSSES: Mapping[str, dict[str, Any]] = {
    "mean_absolute_error": {"loss": "absolute_error"},
    "root_mean_squared_error": {},
    "r2_score": {},
    "mean_absolute_percentage_error": {"loss": "absolute_error"},
    "root_mean_squared_log_error": {},
    "median_absolute_error": {"loss": "absolute_error"},
    "mean_pinball_loss": {"loss": "quantile", "quantile": 0.5},
}

# Forests predict in one thread: several would add up the trees in the order in which they finish, which changes the
# last bits.
MODELS = {
    # Ridge, because ordinary least squares gives extreme coefficients to one-hot columns of rare categories. With its
    # default tolerance, the sparse solver would stop at digits that still depend on the rounding of earlier steps.
    "linear": Model(
        "sklearn.linear_model.Ridge",
        "linear",
        {"tol": 1e-12},
        encoder="onehot",
        bounded=True,
        search_space={"alpha": Range(0.01, 1000.0, log=True)},
    ),
    "knn": Model(
        "sklearn.neighbors.KNeighborsRegressor",
        trusted_types=(
            "scipy.sparse._csr.csr_matrix",
            "sklearn.metrics._dist_metrics.EuclideanDistance64",
            "sklearn.metrics._dist_metrics.ManhattanDistance64",
            "sklearn.metrics._dist_metrics.MinkowskiDistance64",
            "sklearn.neighbors._ball_tree.BallTree",
            "sklearn.neighbors._kd_tree.KDTree",
        ),
        bounded=True,
        on_grid=True,
        size_limits=knn_limits,
        search_space={"n_neighbors": Range(1, 60, log=True), "weights": ["uniform", "distance"], "p": [1, 2]},
    ),
    "rf": Model(
        "sklearn.ensemble.RandomForestRegressor",
        "tree",
        {"n_jobs": 1},
        ("sklearn.tree._tree.Tree",),
        size_limits=random_forest_limits,
        quick={"n_estimators": 25},
        search_space={"max_features": COLUMN_FRACTION, "min_samples_leaf": Range(1, 20, log=True)},
    ),
    "extra_trees": Model(
        "sklearn.ensemble.ExtraTreesRegressor",
        "tree",
        {"n_jobs": 1, "min_samples_split": 4},
        ("sklearn.tree._tree.Tree",),
        size_limits=forest_limits,
        quick={"n_estimators": 25},
        search_space={"max_features": COLUMN_FRACTION, "min_samples_split": Range(2, 40, log=True)},
    ),
    "boosting": BOOSTING,  # learns the metric that ranks: see `BOOSTING_LOSSES`
    "mean_boosting": BOOSTING,
    "dummy": Model("sklearn.dummy.DummyRegressor"),
}
OPTIONAL = {  # models of packages that the user installs
    "lightgbm": Model(
        "lightgbm.LGBMRegressor",
        "tree",
        {"n_jobs": 1, "verbose": -1},
        ("collections.OrderedDict", "lightgbm.basic.Booster", "lightgbm.sklearn.LGBMRegressor"),
        constraints_param="monotone_constraints",
        search_space={
            "learning_rate": LEARNING_RATE,
            "n_estimators": N_TREES,
            "num_leaves": Range(4, 64, log=True),
            "min_child_samples": MIN_LEAF_ROWS,
            "colsample_bytree": Range(0.3, 1.0),
            "reg_lambda": L2_PENALTY,
        },
    ),
    "xgboost": Model(
        "xgboost.XGBRegressor",
        "tree",
        {"n_jobs": 1},
        ("xgboost.core.Booster", "xgboost.sklearn.XGBRegressor"),
        search_space={
            "learning_rate": LEARNING_RATE,
            "n_estimators": N_TREES,
            "max_depth": Range(2, 10),
            "min_child_weight": Range(1.0, 50.0, log=True),
            "colsample_bytree": Range(0.3, 1.0),
            "reg_lambda": L2_PENALTY,
        },
    ),
    "catboost": Model(
        "catboost.CatBoostRegressor",
        "tree",
        {"thread_count": 1, "verbose": False, "allow_writing_files": False},
        ("catboost.core.CatBoostRegressor",),
        constraints_param="monotone_constraints",
        search_space={
            "learning_rate": LEARNING_RATE,
            "iterations": Range(100, 1500, log=True),
            "depth": Range(2, 9),
            "l2_leaf_reg": Range(0.1, 100.0, log=True),
        },
    ),
}
BLEND = "blend"
DEFAULT_BLEND_MEMBERS = ("linear", "rf", "boosting", "mean_boosting")


def default_models(rows: int, metric: str) -> list[str]:
    """Return the models that `main` compares and blends by default, for this number of training rows and metric."""
    forest = "extra_trees" if rows <= EXTRA_TREES_MAX_ROWS else "rf"
    both = bool(BOOSTING_LOSSES.get(metric)) and rows <= BOTH_BOOSTINGS_MAX_ROWS
    return ["linear", forest, "boosting", *(["mean_boosting"] if both else [])]


def keeps_constraints(model: str) -> bool:
    """Return whether a model keeps monotonic constraints; a blend does, because its members have to."""
    return model == BLEND or bool(get_model(model).constraints_param)


def loss_params(model: str, metric: str, metric_params: Mapping[str, Any], constrained: bool = False) -> dict[str, Any]:
    """Return the parameters with which a model learns a ranking metric; none if it learns the mean anyway.

    A model with monotonic constraints learns the mean instead of the median: see `estimators.MOVING_LOSSES`.
    """
    loss = BOOSTING_LOSSES.get(metric, {}) if model == "boosting" else {}
    if constrained and loss.get("loss") == "absolute_error":
        return {}
    return loss | ({"quantile": metric_params["alpha"]} if "quantile" in loss and "alpha" in metric_params else {})


def get_model(name: str) -> Model:
    """Return the model with a name, or a model for the regressor with an import path."""
    return MODELS.get(name) or OPTIONAL.get(name) or Model(name, dense=True, bounded=True)


def regressor(model: str, seed: int, model_params: dict[str, Any], rows: int = 0, columns: int = 1) -> "BaseEstimator":
    """Build an unfitted regressor with our defaults, limits for the size of the training set, and a seed if it has one.

    Args:
        model: name or import path.
        seed: random state.
        model_params: take precedence over defaults and limits.
        rows: number of training rows; 0 for no limits by rows.
        columns: number of features.

    Raises UserError for a parameter that the model does not have, and for one that it needs and is not given.
    """
    regressor_class = import_regressor(model)
    parameters = inspect.signature(regressor_class).parameters.values()
    names = [parameter.name for parameter in parameters if parameter.kind != parameter.VAR_KEYWORD]
    check_names(f"{regressor_class.__name__} ({model})", model_params, names)
    limits = get_model(model).size_limits(rows, columns)
    own_limits = {name: limits[name] for name in limits if name in names}
    seeded = {"random_state": seed} if "random_state" in names else {}
    try:
        built = regressor_class(**seeded | get_model(model).defaults | own_limits | model_params)
    except TypeError as error:
        raise UserError(f"model={model}: {error}; pass it in model_params") from error
    return built if limits == own_limits else with_row_sampling(built, seed, **limits)


def check_names(label: str, given: Mapping[str, Any], names: list[str]) -> None:
    """Raise UserError, which begins with `label`, if a given parameter is not among `names`."""
    for name in given:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            remedy = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(names)}"
            raise UserError(f"{label} has no parameter {name}; {remedy}")


def candidate_params(model: str, model_params: dict[str, Any], rows: int, columns: int) -> tuple[dict[str, Any], ...]:
    """Return parameter sets to compare with the defaults of a model; none if the user gives parameters.

    None either for few rows or many columns: see `CANDIDATES_MIN_ROWS` and `CANDIDATES_MAX_COLUMNS`.
    """
    compared = not model_params and rows >= CANDIDATES_MIN_ROWS and columns <= CANDIDATES_MAX_COLUMNS
    return get_model(model).candidates if compared else ()


def iteration_param(model: str, model_params: dict[str, Any], rows: int) -> str:
    """Return the parameter with the number of trees, if cross-validation is to choose the number; else an empty string.

    It is not, if there are enough rows for early stopping, or if the user sets the number or early stopping.
    """
    name = get_model(model).iteration_param
    return name if rows < EARLY_STOPPING_MIN_ROWS and not {name, "early_stopping"} & model_params.keys() else ""


def default_parameters(model: str, seed: int, rows: int, columns: int) -> dict[str, Any]:
    """Return all parameters that a model has for a training set of this size, if the user gives none."""
    return regressor(model, seed, {}).get_params() | get_model(model).size_limits(rows, columns)


def import_regressor(model: str) -> Any:
    """Import the class of a model. Raises UserError if it is not found or not a regressor in scikit-learn's sense."""
    from sklearn.base import RegressorMixin

    path = get_model(model).path
    package = path.partition(".")[0]
    if find_spec(package) is None:
        raise UserError(f"model={model}: needs the package {package}, which is not installed; pip install {package}")
    try:
        found: Any = locate(path)
    except ErrorDuringImport as error:
        raise UserError(f"model={model}: cannot be imported: {error.value}") from error
    if found is None:
        raise UserError(f"model={model}: {path} not found in the installed package {package}; check the import path")
    if not isinstance(found, type) or not (
        issubclass(found, RegressorMixin) or getattr(found, "_estimator_type", "") == "regressor"
    ):
        raise UserError(f"model={model}: not a scikit-learn regressor; expected a class such as sklearn.svm.SVR")
    return found


def with_row_sampling(regressor: "BaseEstimator", seed: int, max_samples: float) -> "BaseEstimator":
    """Wrap a regressor so that it is fitted on a random fraction `max_samples` of the rows."""
    from sklearn.ensemble import BaggingRegressor

    return BaggingRegressor(regressor, 1, max_samples=max_samples, bootstrap=False, random_state=seed)
