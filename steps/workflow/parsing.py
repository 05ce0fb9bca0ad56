"""The command line of an entry point: texts become typed parameters, or one line that says what is wrong with them."""

import argparse
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Self, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo

from workflow.documents import read_yaml
from workflow.errors import UserError
from workflow.spelling import nearest

AUTO = "auto"
MAX_SEED = 2**32 - 1  # the largest that numpy takes
ParamsType = TypeVar("ParamsType", bound="Params")
ItemType = TypeVar("ItemType")


@dataclass(frozen=True)
class FromText:
    """Annotation of a parameter: how to parse its text on the command line, and whether it decides a result.

    A path decides nothing by itself, because the content of its file does; nor does the address of a cluster.
    """

    parse: Callable[[str], Any] = str
    in_fingerprint: bool = True


class Params(BaseModel):
    """Typed parameters of a stage or an entry point; `model_fields_set` names those that the user gave."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, protected_namespaces=())

    def narrow(self, kind: type[ParamsType]) -> ParamsType:
        """Return the parameters of `kind` among these, with the same ones marked as given."""
        return kind.model_validate({n: getattr(self, n) for n in kind.model_fields if n in self.model_fields_set})

    def inherit(self, upstream: "Params") -> Self:
        """Return these parameters with the values that an upstream run has for those of the same name."""
        shared = type(self).model_fields.keys() & type(upstream).model_fields.keys()
        return self.model_copy(update={name: getattr(upstream, name) for name in shared})

    def deciding(self) -> dict[str, Any]:
        """Return the values that belong to a fingerprint, as JSON values by name."""
        decisive = [name for name, field in type(self).model_fields.items() if annotation_of(field).in_fingerprint]
        return self.model_dump(mode="json", include=set(decisive))

    @classmethod
    def decide(cls, name: str) -> bool:
        """Return whether these parameters have one called `name` that decides a result."""
        return name in cls.model_fields and annotation_of(cls.model_fields[name]).in_fingerprint


def annotation_of(field: FieldInfo) -> FromText:
    """Return how the text of a parameter is parsed."""
    return next((each for each in field.metadata if isinstance(each, FromText)), FromText())


def options_of(kind: type[Params]) -> dict[str, FieldInfo]:
    """Return the parameters of `kind` by the names that the command line has for them."""
    return {field.alias or name: field for name, field in kind.model_fields.items()}


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are UserErrors, so that they end in the run like any other."""

    def error(self, message: str) -> NoReturn:
        """Raise `message` instead of printing the usage and exiting."""
        raise UserError(f"{message}; see {self.prog} --help")


def parse_command_line(kind: type[ParamsType], description: str) -> ParamsType:
    """Parse the command line of an entry point that takes the parameters of `kind`.

    Raises UserError for an unknown parameter and for a value that cannot be parsed.
    """
    parser = Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    for name, field in options_of(kind).items():
        text = f"{field.description} (default: {to_command_line(field.get_default(call_default_factory=True))})"
        parser.add_argument(f"--{name}", metavar="VALUE", default=argparse.SUPPRESS, help=text.replace("%", "%%"))
    known, unknown = parser.parse_known_args()
    if unknown:
        raise UserError(unknown_parameter(unknown[0], list(options_of(kind))))
    return parse_texts(kind, vars(known))


def parse_texts(kind: type[ParamsType], texts: Mapping[str, str]) -> ParamsType:
    """Parse parameters from their texts; UserError names the parameter and the reason."""
    options, values = options_of(kind), {}
    for name, text in texts.items():
        try:
            values[name] = annotation_of(options[name]).parse(text)
        except ValueError as error:
            raise UserError(f"{name}={text}: {error}") from error
    return kind.model_validate(values)


def unknown_parameter(argument: str, names: Sequence[str]) -> str:
    """Return one line about a parameter that does not exist, with the closest that does."""
    name = argument.lstrip("-").partition("=")[0]
    return f"unknown parameter {name}; {nearest(name, names)}"


def to_command_line(value: Any) -> str:
    """Return the text that the command line takes for a parsed value."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    if value == {}:
        return "null"
    return value if isinstance(value, str) else json.dumps(value)


def one_of(options: Iterable[str]) -> Callable[[str], str]:
    """Return a parser that takes one of `options`."""

    def parse(text: str) -> str:
        if text not in options:
            raise ValueError(f"invalid choice; {nearest(text, options)}")
        return text

    return parse


def or_auto(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a parser that takes `auto` as it is, and hands all else to `parse`."""
    return lambda text: text if text == AUTO else parse(text)


def csv_list(parse: Callable[[str], ItemType]) -> Callable[[str], list[ItemType]]:
    """Return a parser of a comma-separated list whose items `parse` takes, without repetitions."""

    def parse_list(text: str) -> list[ItemType]:
        chosen = [parse(name.strip()) for name in text.split(",") if name.strip()]
        if not chosen:
            raise ValueError("must name at least one")
        return list(dict.fromkeys(chosen))

    return parse_list


def integer(minimum: int) -> Callable[[str], int]:
    """Return a parser of integers from `minimum` to the largest seed."""

    def parse(text: str) -> int:
        if not text.strip().lstrip("-").isdecimal() or not minimum <= int(text) <= MAX_SEED:
            raise ValueError(f"must be an integer from {minimum} to {MAX_SEED}")
        return int(text)

    return parse


def fraction(text: str) -> float:
    """Parse a number between 0 and 1, both excluded."""
    number = to_float(text)
    if not 0 < number < 1:
        raise ValueError("must be a number between 0 and 1")
    return number


def non_negative(text: str) -> float:
    """Parse a finite number of at least 0."""
    number = to_float(text)
    if not 0 <= number < math.inf:
        raise ValueError("must be a number of at least 0")
    return number


def to_float(text: str) -> float:
    """Parse a number; NaN for any other text."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def boolean(text: str) -> bool:
    """Parse `true` or `false`."""
    return one_of(("true", "false"))(text.lower()) == "true"


def mapping(text: str) -> dict[str, Any]:
    """Parse a YAML or JSON mapping; `null` is the empty one."""
    try:
        value = read_yaml(text)
    except ValueError as error:
        raise ValueError(f"not YAML or JSON: {error}") from error
    if value is None:
        return {}
    try:
        json.dumps(value)
    except TypeError as error:
        raise ValueError(f"{error}; quote the value") from error  # a YAML date, for example
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ValueError("must be a mapping of names to values, such as '{n_estimators: 300}'")
    return value


def nested_mapping(example: str) -> Callable[[str], dict[str, dict[str, Any]]]:
    """Return a parser of a mapping of models to mappings, like `example`."""

    def parse(text: str) -> dict[str, dict[str, Any]]:
        value = mapping(text)
        for name, inner in value.items():
            if not isinstance(inner, dict):
                raise ValueError(f"{name} must be mapped to a mapping, as in {example}")
        return value

    return parse
