"""YAML that somebody else wrote: parsed in a moment, or refused."""

from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 2**22  # of a file; a contract of ten thousand columns has a quarter
MAX_VALUES = 1_000_000  # with those that aliases repeat


def read_yaml_file(path: Path) -> Any:
    """Return the content of a YAML file; ValueError for any other file, and for one that is too large to be one."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"larger than {MAX_BYTES // 2**20} MB, so hardly a file in YAML that somebody wrote")
        return read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from error


def read_yaml(text: str) -> Any:
    """Return the value of a YAML text; ValueError for another, and for too many values or too deeply nested ones.

    A few aliases of aliases may stand for more values than any memory holds.
    """
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if number_of_values(node, {}) > MAX_VALUES:
            raise ValueError(f"its aliases (*name) repeat more than {MAX_VALUES:,} values; write it without them")
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    except RecursionError as error:
        raise ValueError("its values are too deeply nested") from error
    finally:
        loader.dispose()


def number_of_values(node: yaml.Node, known: dict[int, int]) -> int:
    """Return how many values a node stands for, with its aliases; one that holds itself has more than are allowed."""
    if id(node) not in known:
        known[id(node)] = MAX_VALUES + 1  # while its own are counted
        inner = [] if isinstance(node, yaml.ScalarNode) else node.value
        children = [child for each in inner for child in (each if isinstance(each, tuple) else [each])]
        known[id(node)] = 1 + sum(number_of_values(child, known) for child in children)
    return known[id(node)]
