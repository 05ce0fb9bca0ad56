"""Files of fitted models: loading one runs no code and accepts only the types that its models consist of."""

from collections.abc import Collection, Iterable
from pathlib import Path
from pydoc import locate
from typing import TYPE_CHECKING

from workflow.errors import UserError
from workflow.models.catalog import MODELS, get_model

if TYPE_CHECKING:
    from workflow.models.estimators import Estimator

ENCODER_TYPES = (
    "functools.partial",  # skops checks the function that it wraps too
    "numpy.dtype",
    "numpy.ravel",
    "scipy._lib.array_api_compat.numpy._aliases.asarray",
    "scipy.interpolate._bsplines.BSpline",
    "sklearn.model_selection._split.KFold",
)  # in the file of every model


def load(path: Path, models: Collection[str]) -> "Estimator":
    """Load the estimator in a skops file.

    Which types may be in it follows from `models`; MLflow would trust the types that the logged model itself lists.
    Raises UserError for any other type.
    """
    import skops.io

    types = skops.io.get_untrusted_types(file=path)
    return skops.io.load(path, trusted=trusted_types(models, types))


def trusted_types_of(estimator: "Estimator", models: Collection[str]) -> list[str]:
    """Return the types that the file of `estimator` needs to be trusted for; UserError if any is unexpected."""
    import skops.io

    if all(model in MODELS for model in models):  # saves dumping the estimator
        return listed_types(models)
    return trusted_types(models, skops.io.get_untrusted_types(data=skops.io.dumps(estimator)))


def listed_types(models: Iterable[str]) -> list[str]:
    """Return the types that the catalog lists for `models`, beyond those that skops trusts by default."""
    return list(dict.fromkeys([*ENCODER_TYPES, *(name for model in models for name in get_model(model).trusted_types)]))


def trusted_types(models: Collection[str], types: list[str]) -> list[str]:
    """Return `types`, if a file of `models` may hold them all; UserError if not.

    Allowed are the types that the catalog lists, and for a regressor given by its import path all classes of its own
    package, numpy, scipy and scikit-learn.

    Args:
        models: what the file is made of.
        types: those in the file, beyond those that skops trusts by default.
    """
    listed = listed_types(models)
    own = {model.partition(".")[0] for model in models if "." in model}
    packages = own | {"numpy", "scipy", "sklearn"} if own else own

    def is_expected(name: str) -> bool:
        return name in listed or (name.partition(".")[0] in packages and isinstance(locate(name), type))

    if unexpected := [name for name in types if not is_expected(name)]:
        raise UserError(
            f"model file of {', '.join(models)}: unexpected types {', '.join(unexpected)}; train again, or choose"
            " another model"
        )
    return types
