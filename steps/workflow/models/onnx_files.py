"""ONNX files of fitted estimators: an input per column, typed as in the contract, to the target, in double precision.

Numbers, categories, ridge regression, forests and boosting are converted. Dates, texts and words of categories are not,
because ONNX has no operator for splines and hashes: their encoded values are inputs too, and `inputs_of` makes them.
The conversion is ours: that of skl2onnx leaves out indicators of missing values and rounds trees to single precision.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workflow.errors import UserError
from workflow.models import estimators
from workflow.models.blending import blend_members
from workflow.models.encoders import CATEGORIES, NUMBERS, owners_of

if TYPE_CHECKING:
    from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
    from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import Pipeline

PACKAGES = ("onnx", "onnxruntime")
ML = "ai.onnx.ml"
OPSETS = {"": 18, ML: 5}  # the first with trees in double precision; onnxruntime has them since 1.21
IR_VERSION = 10  # that of the same release of ONNX
BRANCH_LEQ, AVERAGE, SUM = 0, 0, 1  # of operator TreeEnsemble
MISSING = ""  # category, in the file; a typed one is never empty
MAX_DEVIATION = 1e-5  # of a prediction from the estimator's, relative
CHECKED_ROWS = 1000  # at once: the encoded words of a row may be 16,384 numbers


def check_packages(name: str) -> None:
    """Raise UserError, which begins with `name`, if a package that is needed to export is not installed."""
    if missing := [package for package in PACKAGES if find_spec(package) is None]:
        needed = " ".join(missing)
        raise UserError(
            f"{name}: needs {' and '.join(missing)}, which this project does not install; pip install {needed}"
        )


class Graph:
    """An ONNX graph that grows by one operator at a time; each returns the name of its output."""

    def __init__(self, prefix: str) -> None:
        """Start without operators; generated names begin with `prefix`."""
        self.prefix = prefix
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.inputs: dict[str, Any] = {}

    def name(self) -> str:
        """Return a name that nothing has yet."""
        return f"{self.prefix}#{len(self.nodes) + len(self.constants)}"

    def input(self, name: str, is_text: bool = False, columns: int = 1) -> str:
        """Return the input `name` of shape (rows, columns), which is added unless it exists."""
        from onnx import TensorProto, helper

        kind = TensorProto.STRING if is_text else TensorProto.DOUBLE
        self.inputs[name] = helper.make_tensor_value_info(name, kind, ["rows", columns])
        return name

    def constant(self, value: Any) -> str:
        """Return a constant array."""
        from onnx import numpy_helper

        name = self.name()
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Return the output of an operator."""
        from onnx import helper

        name = self.name()
        self.nodes.append(helper.make_node(operator, inputs, [name], name, domain=domain, **attributes))
        return name

    def cast(self, value: str, kind: str) -> str:
        """Return a value as another type of `onnx.TensorProto`."""
        from onnx import TensorProto

        return self.add("Cast", value, to=getattr(TensorProto, kind))

    def join(self, values: Sequence[str]) -> str:
        """Return columns beside each other."""
        return values[0] if len(values) == 1 else self.add("Concat", *values, axis=1)

    def file(self, output: str, metadata: dict[str, str]) -> bytes:
        """Return the file whose output, called `output`, is that of the last operator: (rows,)."""
        from onnx import TensorProto, checker, helper

        flat = self.constant(np.array([-1]))
        self.nodes.append(helper.make_node("Reshape", [self.nodes[-1].output[0], flat], [output], output))
        result = helper.make_tensor_value_info(output, TensorProto.DOUBLE, ["rows"])
        graph = helper.make_graph(self.nodes, "estimator", list(self.inputs.values()), [result], self.constants)
        opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
        model = helper.make_model(
            graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="tabular-regression"
        )
        helper.set_model_props(model, metadata)
        checker.check_model(model)
        return model.SerializeToString(deterministic=True)


def export(estimator: "estimators.Estimator", model: str, target: str, metadata: dict[str, str]) -> bytes:
    """Return the ONNX file of a fitted estimator.

    Args:
        estimator: fitted.
        model: its name.
        target: name of the output.
        metadata: texts to keep in the file, by name.

    Raises UserError for a regressor that is not converted.
    """
    graph = Graph(target)
    weighted = [
        graph.add("Mul", add_member(graph, name, member), graph.constant(weight))
        for name, (weight, member) in blend_members(estimator, model).items()
    ]
    graph.add("Sum", *weighted)
    return graph.file(target, metadata)


def add_member(graph: Graph, model: str, estimator: "TransformedTargetRegressor") -> str:
    """Add an estimator with its encoders and target transform; return its predictions: (rows, 1)."""
    encode, regress = estimator.regressor_
    if (name := type(regress).__name__) not in REGRESSORS:
        raise UserError(
            f"model {model}: cannot be exported to ONNX; expected linear, rf, extra_trees, boosting, mean_boosting, or"
            " a blend of these"
        )
    predicted = REGRESSORS[name](graph, regress, graph.join(add_encoders(graph, model, encode)))
    transform = estimators.target_transform_of(estimator)
    if transform == "identity":
        return predicted
    exponential = graph.add("Exp", predicted)
    return graph.add("Sub", exponential, graph.constant(1.0)) if transform == "log1p" else exponential


def add_encoders(graph: Graph, model: str, encode: "ColumnTransformer") -> list[str]:
    """Add the transformers of the features; return the encoded columns in their order."""
    parts: list[str] = []
    for part, pipeline, columns in encode.transformers_:
        if part == NUMBERS:
            parts.append(add_numbers(graph, pipeline, columns))
        elif part == CATEGORIES:
            parts += add_categories(graph, pipeline, columns)
        else:
            indices = encode.output_indices_[part]
            parts.append(graph.input(encoded_name(model, part, columns), columns=indices.stop - indices.start))
    return parts


def encoded_name(model: str, part: str, columns: Sequence[str]) -> str:
    """Return the name of the input with the encoded values of a column that is not converted."""
    return f"{model}: {part} of {columns[0]}"


def add_numbers(graph: Graph, pipeline: "Pipeline", columns: Sequence[str]) -> str:
    """Add the steps of `encoders.number_steps`; return the encoded numbers."""
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import StandardScaler

    value = graph.join([graph.input(name) for name in columns])
    for step in pipeline:
        if isinstance(step, SimpleImputer):
            missing = graph.add("IsNaN", value)
            value = graph.add("Where", missing, graph.constant(np.nan_to_num(step.statistics_)), value)
            if step.indicator_ is not None and len(step.indicator_.features_):
                features = graph.constant(step.indicator_.features_.astype(np.int64))
                value = graph.join([value, graph.add("Gather", graph.cast(missing, "DOUBLE"), features, axis=1)])
        elif isinstance(step, StandardScaler):
            centred = graph.add("Sub", value, graph.constant(step.mean_))
            value = graph.add("Div", centred, graph.constant(step.scale_))
        else:  # a bound: numpy's maximum or minimum with a number
            operator = {"maximum": "Max", "minimum": "Min"}[step.func.func.__name__]
            value = graph.add(operator, value, graph.constant(step.func.args[0]))
    return value


def add_categories(graph: Graph, pipeline: "Pipeline", columns: Sequence[str]) -> list[str]:
    """Add the steps of `encoders.category_steps`, as a table of what each category becomes; return encoded columns."""
    from onnx import helper, numpy_helper
    from sklearn.preprocessing import OneHotEncoder

    parts = []
    for name, table in zip(columns, category_tables(pipeline, columns), strict=True):
        keys = numpy_helper.from_array(np.array(table.categories, dtype=object), "keys")
        one_hot = isinstance(pipeline[0], OneHotEncoder)
        values = table.positions() if one_hot else table.values[:, 0]
        found = graph.add(
            "LabelEncoder",
            graph.input(name, is_text=True),
            domain=ML,
            keys_tensor=keys,
            values_tensor=numpy_helper.from_array(values[:-1], "values"),
            default_tensor=helper.make_tensor(
                "default", helper.np_dtype_to_tensor_dtype(values.dtype), [1], values[-1:]
            ),
        )
        if one_hot:
            places = graph.constant(np.arange(table.values.shape[1]))
            found = graph.cast(graph.add("Equal", found, places), "DOUBLE")
        parts.append(found)
    return parts


@dataclass(frozen=True)
class CategoryTable:
    """What each category of a feature is encoded as.

    Attributes:
        categories: those seen in training, and `MISSING`.
        values: of each, and last of a category that was not seen: (categories + 1, encoded columns), perhaps sparse.
    """

    categories: list[str]
    values: Any

    def positions(self) -> np.ndarray:
        """Return the position of the one in each row of one-hot values; -1 if there is none: (categories + 1,)."""
        found = np.full(self.values.shape[0], -1)
        rows, columns = self.values.nonzero()
        found[rows] = columns
        return found


def category_tables(pipeline: "Pipeline", columns: Sequence[str]) -> list[CategoryTable]:
    """Return what a fitted transformer encodes each category as, by feature."""
    known = [[str(value) for value in each if not pd.isna(value)] for each in pipeline[0].categories_]
    rows = max(map(len, known)) + 2
    values = {
        name: [*each, None, f"{max(each, default='')}?", *[None] * (rows - len(each) - 2)]  # sorts after all: unseen
        for name, each in zip(columns, known, strict=True)
    }
    encoded = pipeline.transform(pd.DataFrame(values, dtype="str"))
    owners = owners_of(pipeline, np.array(columns), slice(0, encoded.shape[1]))
    return [
        CategoryTable([*each, MISSING], encoded[: len(each) + 2][:, np.flatnonzero(owners == name)])
        for name, each in zip(columns, known, strict=True)
    ]


def add_ridge(graph: Graph, regress: "Ridge", encoded: str) -> str:
    """Add a ridge regression of encoded columns; return its predictions: (rows, 1)."""
    product = graph.add("MatMul", encoded, graph.constant(np.reshape(regress.coef_, (-1, 1))))
    return graph.add("Add", product, graph.constant(float(np.ravel(regress.intercept_)[0])))


def add_forest(graph: Graph, regress: "RandomForestRegressor", encoded: str) -> str:
    """Add a forest, which rounds encoded columns to single precision; return its predictions: (rows, 1)."""
    rounded = graph.cast(graph.cast(encoded, "FLOAT"), "DOUBLE")
    return graph.add("TreeEnsemble", rounded, domain=ML, aggregate_function=AVERAGE, **join_trees(forest(regress)))


def add_boosting(graph: Graph, regress: "HistGradientBoostingRegressor", encoded: str) -> str:
    """Add a boosting of encoded columns; return its predictions: (rows, 1)."""
    trees = join_trees(boosted_trees(regress))
    total = graph.add("TreeEnsemble", encoded, domain=ML, aggregate_function=SUM, **trees)
    return graph.add("Add", total, graph.constant(float(np.ravel(regress._baseline_prediction)[0])))


REGRESSORS: dict[str, Callable[[Graph, Any, str], str]] = {  # by class
    "Ridge": add_ridge,
    "RandomForestRegressor": add_forest,
    "ExtraTreesRegressor": add_forest,
    "HistGradientBoostingRegressor": add_boosting,
}


@dataclass(frozen=True)
class Tree:
    """A tree as arrays of (nodes,), its root first; `left` and `right` are positions, and count at inner nodes only."""

    left: np.ndarray
    right: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    value: np.ndarray
    is_leaf: np.ndarray


def forest(regress: "RandomForestRegressor") -> list[Tree]:
    """Return the trees of a forest."""
    trees = [each.tree_ for each in regress.estimators_]
    return [
        Tree(
            each.children_left,
            each.children_right,
            each.feature,
            each.threshold,
            each.value[:, 0, 0],
            is_leaf=each.children_left < 0,
        )
        for each in trees
    ]


def boosted_trees(regress: "HistGradientBoostingRegressor") -> list[Tree]:
    """Return the trees of a boosting."""
    nodes = [each.nodes for (each,) in regress._predictors]
    return [
        Tree(
            each["left"].astype(np.int64),
            each["right"].astype(np.int64),
            each["feature_idx"],
            each["num_threshold"],
            each["value"],
            each["is_leaf"] > 0,
        )
        for each in nodes
    ]


def join_trees(trees: Sequence[Tree]) -> dict[str, Any]:
    """Return the attributes of the operator TreeEnsemble for trees of one target.

    Inner nodes and leaves are numbered apart, through all trees.
    """
    from onnx import numpy_helper

    trees = [with_inner_root(tree) for tree in trees]
    inner = [np.flatnonzero(~tree.is_leaf) for tree in trees]
    first_nodes = np.cumsum([0, *map(len, inner)])
    first_leaves = np.cumsum([0, *(int(tree.is_leaf.sum()) for tree in trees)])

    def of_inner(values: str) -> np.ndarray:
        return np.concatenate([getattr(tree, values)[nodes] for tree, nodes in zip(trees, inner, strict=True)])

    def branches(side: str) -> dict[str, list[int]]:
        reached = [getattr(tree, side)[nodes] for tree, nodes in zip(trees, inner, strict=True)]
        places = [numbered(*each) for each in zip(trees, first_nodes, first_leaves, strict=False)]
        branch = {"left": "true", "right": "false"}[side]
        return {
            f"nodes_{branch}nodeids": np.concatenate([p[r] for p, r in zip(places, reached, strict=True)]).tolist(),
            f"nodes_{branch}leafs": np.concatenate(
                [tree.is_leaf[r].astype(np.int64) for tree, r in zip(trees, reached, strict=True)]
            ).tolist(),
        }

    weights = np.concatenate([tree.value[tree.is_leaf] for tree in trees])
    return {
        "n_targets": 1,
        "tree_roots": first_nodes[:-1].tolist(),
        "nodes_featureids": of_inner("feature").astype(np.int64).tolist(),
        "nodes_splits": numpy_helper.from_array(of_inner("threshold").astype(np.float64), "splits"),
        "nodes_modes": numpy_helper.from_array(np.full(first_nodes[-1], BRANCH_LEQ, dtype=np.uint8), "modes"),
        **branches("left"),
        **branches("right"),
        "leaf_targetids": [0] * len(weights),
        "leaf_weights": numpy_helper.from_array(weights.astype(np.float64), "weights"),
    }


def with_inner_root(tree: Tree) -> Tree:
    """Return a tree whose root is no leaf: both branches of a node above a lone leaf lead to it."""
    if not tree.is_leaf[0]:
        return tree
    both, zeros = np.array([1, -1]), np.zeros(2)
    return Tree(both, both, np.zeros(2, dtype=np.int64), zeros, np.append(0, tree.value), np.array([False, True]))


def numbered(tree: Tree, first_node: int, first_leaf: int) -> np.ndarray:
    """Return the number of each node among the inner nodes, or among the leaves, of all trees: (nodes,)."""
    is_leaf = tree.is_leaf
    return np.where(is_leaf, first_leaf + np.cumsum(is_leaf), first_node + np.cumsum(~is_leaf)) - 1


def inputs_of(estimator: "estimators.Estimator", model: str, features: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the inputs of the ONNX file of an estimator for typed rows, by name: (rows, columns) each.

    Args:
        estimator: fitted.
        model: its name.
        features: (rows, features).
    """
    inputs: dict[str, np.ndarray] = {}
    for name, (_, member) in blend_members(estimator, model).items():
        for part, pipeline, columns in member.regressor_[0].transformers_:
            if part == NUMBERS:
                inputs |= {column: features[[column]].to_numpy(np.float64, na_value=np.nan) for column in columns}
            elif part == CATEGORIES:
                inputs |= {column: features[[column]].astype(object).fillna(MISSING).to_numpy() for column in columns}
            else:
                encoded = pipeline.transform(features[list(columns)])
                dense = encoded if isinstance(encoded, np.ndarray) else encoded.toarray()
                inputs[encoded_name(name, part, columns)] = dense
    return inputs


def largest_deviation(file: bytes, estimator: "estimators.Estimator", model: str, features: pd.DataFrame) -> float:
    """Return by how much the predictions of an ONNX file differ from the estimator's, relative, at most."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # or sums depend on the number of cores
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    found = [0.0]
    for start in range(0, len(features), CHECKED_ROWS):
        rows = features.iloc[start : start + CHECKED_ROWS]
        expected = estimators.predict(estimator, rows)
        (predicted,) = session.run(None, inputs_of(estimator, model, rows))
        scale = np.maximum(np.abs(expected), np.finfo(np.float64).tiny)
        found.append(float((np.abs(predicted - expected) / scale).max()))
    return max(found)
