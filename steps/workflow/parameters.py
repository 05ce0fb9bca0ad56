"""The parameters of an entry point: what they are called, what text they take, and what is wrong with a text."""

import argparse
import difflib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import yaml

from workflow.errors import UserError

AUTO = "auto"


@dataclass(frozen=True)
class Parameter:
    """One parameter: `convert` makes its value of the command line's text, or raises ValueError."""

    name: str
    default: str
    help: str
    convert: Callable[[str], Any] = str
    # A path decides nothing by itself (the content of its file does), nor does a run id (its fingerprint does).
    decides: bool = True


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are UserErrors, so that they end in the run like any other."""

    def error(self, message: str) -> NoReturn:
        """Raise `message` instead of printing the usage and leaving."""
        raise UserError(f"{message}; see {self.prog} --help")


def parse(description: str, parameters: Sequence[Parameter]) -> dict[str, Any]:
    """What the command line gives of `parameters`, converted; those left out are absent.

    Raises UserError for an unknown parameter and for a value that does not convert.
    """
    parser = Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    for parameter in parameters:
        parser.add_argument(
            f"--{parameter.name}",
            metavar="VALUE",
            default=argparse.SUPPRESS,
            help=f"{parameter.help} (default: {parameter.default})".replace("%", "%%"),
        )
    known, unknown = parser.parse_known_args()
    if unknown:
        raise UserError(unknown_parameter(unknown[0], [p.name for p in parameters]))
    return {p.name: convert(p, getattr(known, p.name)) for p in parameters if hasattr(known, p.name)}


def unknown_parameter(argument: str, names: Sequence[str]) -> str:
    """One line about a parameter that does not exist, with the nearest that does."""
    name = argument.lstrip("-").partition("=")[0]
    return f"unknown parameter {name}: {nearest(name, names)}"


def nearest(name: str, names: Iterable[str]) -> str:
    """What to write instead of a name that does not exist."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(names)}"


def convert(parameter: Parameter, text: str) -> Any:
    """The value of a parameter's text; UserError names the parameter and the reason."""
    try:
        return parameter.convert(text)
    except ValueError as error:
        raise UserError(f"{parameter.name}={text}: {error}") from error


def resolved(parameters: Iterable[Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    """The value of each parameter: given, or its default."""
    return {p.name: given.get(p.name, p.convert(p.default)) for p in parameters}


def to_command_line(value: Any) -> str:
    """The command line's text for a converted value."""
    if isinstance(value, list):
        return ",".join(value)
    return value if isinstance(value, str) else json.dumps(value)


def one_of(options: Iterable[str]) -> Callable[[str], str]:
    """A converter that takes one of `options`."""

    def choose(text: str) -> str:
        if text not in options:
            raise ValueError(f"no such choice; {nearest(text, options)}")
        return text

    return choose


def or_auto(convert: Callable[[str], Any]) -> Callable[[str], Any]:
    """A converter that takes `auto` as it is, and hands all else to `convert`."""
    return lambda text: text if text == AUTO else convert(text)


def several(convert: Callable[[str], str]) -> Callable[[str], list[str]]:
    """A converter that takes a comma-separated list of what `convert` takes, each at most once."""

    def choose(text: str) -> list[str]:
        chosen = [convert(name.strip()) for name in text.split(",") if name.strip()]
        if not chosen:
            raise ValueError("name at least one")
        return list(dict.fromkeys(chosen))

    return choose


def whole(least: int) -> Callable[[str], int]:
    """A converter to a whole number from `least` to 2³² − 1, the largest seed that numpy takes."""

    def number(text: str) -> int:
        if not text.strip().lstrip("-").isdecimal() or not least <= int(text) < 2**32:
            raise ValueError(f"must be a whole number from {least} to {2**32 - 1}")
        return int(text)

    return number


def fraction(text: str) -> float:
    """A number between 0 and 1, both excluded."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1:
        raise ValueError("must be a number between 0 and 1")
    return number


def at_least_zero(text: str) -> float:
    """A finite number from 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise ValueError("must be a number from 0")
    return number


def truth(text: str) -> bool:
    """`true` or `false`."""
    return one_of(("true", "false"))(text.lower()) == "true"


def mapping(text: str) -> dict[str, Any]:
    """A YAML or JSON mapping; `null` is the empty one."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML or JSON: {' '.join(str(error).split())}") from error
    if value is None:
        return {}
    try:
        json.dumps(value)
    except TypeError as error:
        raise ValueError(f"{error}; put the value in quotes") from error  # a YAML date, for one
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ValueError("must be a mapping of names to values, like '{n_estimators: 300}'")
    return value
