"""The file of a fitted model: it holds no other types than the model is made of, and no code runs when it is read."""

from collections.abc import Collection, Iterable
from pathlib import Path
from pydoc import locate
from typing import TYPE_CHECKING

from workflow.errors import UserError
from workflow.models.catalog import MODELS, get_model

if TYPE_CHECKING:
    from workflow.models.estimators import Estimator

TRUSTED = (
    "functools.partial",  # of a function, which is looked at too
    "numpy.dtype",
    "numpy.ravel",
    "scipy._lib.array_api_compat.numpy._aliases.asarray",
    "scipy.interpolate._bsplines.BSpline",
    "sklearn.model_selection._split.KFold",
)  # in the file of every model: parts of its encoders


def load(path: Path, models: Collection[str]) -> "Estimator":
    """The estimator in a skops file. Types beyond those that `models` are made of are refused, and no code runs.

    The list is ours, not the file's: MLflow would trust the types that the logged model itself names.
    """
    import skops.io

    types = skops.io.get_untrusted_types(file=path)
    return skops.io.load(path, trusted=trusted_types(models, types))


def trusted_types_of(estimator: "Estimator", models: Collection[str]) -> list[str]:
    """The types that the file of `estimator` may hold, and needs to. Raises UserError if it would hold others."""
    import skops.io

    if all(model in MODELS for model in models):  # no need to look
        return listed_types(models)
    return trusted_types(models, skops.io.get_untrusted_types(data=skops.io.dumps(estimator)))


def listed_types(models: Iterable[str]) -> list[str]:
    """The types on our list for `models`, beyond those that skops trusts by itself."""
    return list(dict.fromkeys([*TRUSTED, *(name for model in models for name in get_model(model).trusted)]))


def trusted_types(models: Collection[str], types: list[str]) -> list[str]:
    """The `types` that a file holds beyond those that skops trusts by itself, if `models` may hold them all.

    They are on our list, or, for a regressor that the user named by its import path, classes of its own package, of
    numpy, scipy and scikit-learn. Raises UserError for any other.
    """
    listed = listed_types(models)
    own = {model.partition(".")[0] for model in models if "." in model}
    packages = own | {"numpy", "scipy", "sklearn"} if own else own

    def is_expected(name: str) -> bool:
        return name in listed or (name.partition(".")[0] in packages and isinstance(locate(name), type))

    if others := [name for name in types if not is_expected(name)]:
        raise UserError(
            f"the model file of {', '.join(models)} holds types it should not: {', '.join(others)}; train again, or"
            " choose another model"
        )
    return types
