"""What users read is in the words of the field: phrases that earlier versions had stay out of it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from conftest import PROJECT

PAGES = [PROJECT / "README.md", *sorted(PROJECT.glob("docs/*.md"))]
OTHERS = [PROJECT / "MLproject", PROJECT / "steps/promotion.yaml", PROJECT / "steps/workflow/reports/report.html"]
SCRIPTS = sorted((PROJECT / "steps").rglob("*.py"))
OLD_PHRASES = (
    r"(?<!there )\b(is|are) (?-i:none)\b",
    r"\bcannot be had\b",
    r"\b(came|come|comes) out again\b",
    r"\bit has paid\b",
    r"\bdone harm\b",
    r"\bmay be chance\b",
    r"\b(which|what|what to try)\?",
    r"\bno such choice\b",
    r"; there are\b",
    r"\b(test|training) parts?\b",
    r"\bgiven[ _]up\b",
    r"\btold\b",
    r"(?<!there )\bis no (champion|error)\b",
    r"\bcareful\b",
    r"\bolder version\b",
    r"\bof a tenth\b",
    r"\btypical (price|value)\b",
    r"\b(proven|proved) before\b",
    r"\bnot examined\b",
    r"\bwhole numbers?\b",
    r"\bfor want of\b",
    r"\bhangs? on\b",
    r"\bthat does not pay\b",
    r"\bis found out\b",
    r"\bwhat it came to\b",
    r"\blearned[ _](from|rows)\b",
    r"\bmake room\b",
    r"\bmiss(es)? (by|the price)\b",
    r"\b(wings?|hall)\b",
    r"\bmakes? of\b",
    r"\bto be had\b",
    r"\bwhat comes? of\b",
    r"\bdear (rows?|wines?)\b",
    r"\bseal(ed|s)?\b",
    r"\boccasions?\b",
)
PATTERN = re.compile("|".join(OLD_PHRASES), re.I)


def texts(path: Path) -> Iterator[str]:
    """Yield the string literals of a Python file, docstrings included, or the whole text of another file."""
    content = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield content
        return
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_no_text_has_a_phrase_of_earlier_versions():
    found = {
        path.relative_to(PROJECT).as_posix(): [match[0] for match in matches]
        for path in [*PAGES, *OTHERS, *SCRIPTS]
        if (matches := [match for text in texts(path) for match in PATTERN.finditer(" ".join(text.split()))])
    }
    assert found == {}
