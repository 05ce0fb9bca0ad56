"""Print docs/errors.md: every line that ends a command, from the source.

python docs/list_errors.py > docs/errors.md
"""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "steps/workflow"
ERRORS = {"UserError", "Difference", "NotProven", "NotPromoted"}
MIN_LETTERS = 10  # of a message: others only pass on what is said elsewhere
TITLES = {
    "commands": "Commands",
    "data": "Data, and the contract",
    "evaluation": "Scores and searches",
    "models": "Models",
    "parallel": "Threads, processes and clusters",
    "provenance": "Code, receipts and signatures",
    "runs": "Runs, files and the tracking store",
    "stages": "Stages",
}
HEAD = """# Errors

A command that cannot do what was asked ends in one line, with exit code 2, and in a FAILED run that carries the line as
its tag `workflow.error`. A wrong parameter ends in its name, its value, and what was expected: `seed=zero: must be an
integer from 0`; a misspelt one in `unknown parameter modle; did you mean model?`. Here are all others, to be searched:
`…` stands for names and values of your case. Each names the thing and the reason, and after the semicolon what helps.
Results that differ end with exit code 1.

This page is made from the source by `python docs/list_errors.py`.
"""


def text_of(node: ast.expr) -> str:
    """Return the text of a message, with … for what is filled in; nothing for one that stands elsewhere."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(text_of(part) if isinstance(part, ast.Constant) else "…" for part in parts)
        case ast.BinOp(left=left, right=right):
            return text_of(left) + (text_of(right) or "…")
    return ""


def messages(module: Path) -> Iterator[str]:
    """Yield the messages of the errors that a module raises."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS and node.args:
            yield text_of(node.args[0])


def section(title: str, modules: Iterable[Path]) -> str:
    """Return the errors of some modules in alphabetical order, under a title."""
    found = {text for module in modules for text in messages(module) if sum(map(str.isalpha, text)) >= MIN_LETTERS}
    return "\n".join([f"## {title}", "", *(f"- {quoted(text)}" for text in sorted(found)), ""])


def quoted(text: str) -> str:
    """Return a text as code in Markdown, whatever backticks it holds."""
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def main() -> None:
    """Print the page: the errors of each package."""
    sections = [section(title, (PACKAGE / folder).glob("*.py")) for folder, title in TITLES.items()]
    print("\n".join([HEAD, *sections]), end="")


if __name__ == "__main__":
    main()
