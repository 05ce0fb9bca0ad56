"""Which models an estimator is made of: itself, or the members of a blend."""

from collections.abc import Mapping
from typing import Any

from workflow.errors import UserError
from workflow.models.catalog import BLEND, DEFAULT_BLEND_MEMBERS, MODELS, OPTIONAL, get_model
from workflow.spelling import nearest


def member_params(model: str, model_params: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the estimator parameters of each model that `model` is made of, sorted by name.

    Raises UserError for parameters of a blend that do not map models to mappings.
    """
    if model != BLEND:
        return {model: dict(model_params)}
    singles = (*MODELS, *OPTIONAL)
    for member, params in model_params.items():
        if member not in singles and "." not in member:
            raise UserError(f"model_params={{{member}: …}}: cannot be blended; {nearest(member, singles)}")
        if not isinstance(params, dict):
            raise UserError(f"model_params={{{member}: {params}}}: must map each model to its parameters, or to {{}}")
    return dict(sorted(model_params.items())) or {member: {} for member in sorted(DEFAULT_BLEND_MEMBERS)}


def packages_of(model: str, model_params: Mapping[str, Any]) -> frozenset[str]:
    """Return the packages that the models come from."""
    return frozenset(get_model(member).path.partition(".")[0] for member in member_params(model, model_params))
