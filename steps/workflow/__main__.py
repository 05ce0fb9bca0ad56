"""Run an entry point without `mlflow run`, from the project's folder.

    PYTHONPATH=steps python -m workflow train --model rf
    PYTHONPATH=steps python -m workflow train --help

It is the same script with the same parameters, and logs the same runs to the same store, by default ./mlflow.db.
"""

import runpy
import sys

from workflow.entry_points import docstring_of, scripts
from workflow.spelling import nearest


def overview() -> str:
    """Return a line per entry point: the first of its script's docstring."""
    names = scripts()
    width = max(map(len, names))
    lines = (f"  {name:<{width}}  {docstring_of(path).splitlines()[0]}" for name, path in names.items())
    return "\n".join([str(__doc__), "Entry points:", *lines])


def main() -> None:
    """Run the script that the first argument names, with all others; without one, list them."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help"):
        print(overview())
        return
    if name not in scripts():
        print(f"error: no entry point {name}; {nearest(name, scripts())}", file=sys.stderr)
        sys.exit(2)
    script = scripts()[name]
    sys.argv = [str(script), *sys.argv[2:]]
    runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    main()
