"""Files of fitted models: loading one runs no code and accepts only the types that its models consist of."""

import sys
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
NUMBER_MODULES = ("numpy.random.", "scipy.interpolate.", "scipy.sparse.", "scipy.stats.", "sklearn.")  # of regressors


def load(path: Path, models: Collection[str], recorded: Collection[str] = ()) -> "Estimator":
    """Load the estimator in a skops file.

    What may be in it follows from `models`, and for an imported regressor from the types that were `recorded` when it
    was trained; MLflow would trust the types that the logged model itself lists. Raises UserError for any other type.
    """
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        return skops.io.load(path, trusted=listed_types(models))
    except UntrustedTypesFoundException:  # listing the types would parse every file twice
        types = skops.io.get_untrusted_types(file=path)
    return skops.io.load(path, trusted=trusted_types(models, types, recorded))


def trusted_types_of(estimator: "Estimator", models: Collection[str]) -> list[str]:
    """Return the types that the file of `estimator` needs to be trusted for; UserError if any is unexpected."""
    import skops.io

    if all(model in MODELS for model in models):  # saves dumping the estimator
        return listed_types(models)
    types = skops.io.get_untrusted_types(data=skops.io.dumps(estimator))
    return trusted_types(models, types, recorded=types)


def listed_types(models: Iterable[str]) -> list[str]:
    """Return the types that the catalog lists for `models`, beyond those that skops trusts by default."""
    return list(dict.fromkeys([*ENCODER_TYPES, *(name for model in models for name in get_model(model).trusted_types)]))


def trusted_types(models: Collection[str], types: Iterable[str], recorded: Collection[str]) -> list[str]:
    """Return `types`, those in a file beyond those that skops trusts by default; UserError for an unexpected one.

    Expected are the types that the catalog lists, and for an imported regressor the `recorded` ones, of which only
    classes that cannot do harm: a record may have been edited too.
    """
    listed, imported = listed_types(models), {model for model in models if "." in model}
    packages = {model.partition(".")[0] for model in imported}

    def is_expected(name: str) -> bool:
        return name in listed or (bool(imported) and name in recorded and is_class_of(name, packages))

    found = list(types)
    if unexpected := [name for name in found if not is_expected(name)]:
        raise UserError(
            f"model file of {', '.join(models)}: unexpected types {', '.join(unexpected)}; train again, or choose"
            " another model"
        )
    return found


def is_class_of(name: str, packages: Collection[str]) -> bool:
    """Return whether `name` is a class that one of `packages` defines, or numpy, scipy or scikit-learn to hold numbers.

    No function is, and no class under the name of a module that only imports it: numpy.distutils has Popen.
    """
    own = {*packages} - {"numpy", "scipy", *sys.stdlib_module_names}
    allowed = (*NUMBER_MODULES, *(f"{package}." for package in own))
    if not name.startswith(allowed) or "__main__" in name.split("."):  # finding it imports its module
        return False
    found = locate(name)
    return isinstance(found, type) and f"{found.__module__}.{found.__qualname__}" == name
