"""Check that compare names every injected change, and that explain attributes the change of the score to it.

    python benchmarks/explain.py
    python benchmarks/explain.py --only seed "data, contract"

Evaluates a linear model on rows of the bundled file in a clone of the project; then again with each change of a matrix:
data, contract, code, uncommitted code, parameter, package, seed, an edited score, and two at once. A change counts as
found if `compare` names it, if it gets more than 80 % of what `explain` attributes, and if the parts add up to the
difference of the two scores. Without a change, both must say so: equal, and exactly zero.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run

PROJECT = Path(__file__).resolve().parent.parent
ROWS = 2500
CATALOG, ENCODERS = "steps/workflow/models/catalog.py", "steps/workflow/models/encoders.py"
TOY = "toy_regressor"
TOY_SOURCE = '''
import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin

class Shrunk(RegressorMixin, BaseEstimator):
    """Predict the mean of the target, divided by the version of this package."""

    def fit(self, X, y):
        self.mean_ = float(np.mean(y)) / {version}
        self.n_features_in_ = np.shape(X)[1]
        return self

    def predict(self, X):
        return np.full(len(X), self.mean_)
'''


@dataclass
class Workbench:
    """A clone of the project, a data file with its contract, and a tracking store."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def project(self) -> Path:
        """The clone."""
        return self.folder / "project"

    @property
    def data(self) -> Path:
        """The data file."""
        return self.folder / "wines.csv"

    @property
    def contract(self) -> Path:
        """Its contract."""
        return self.folder / "wines.yaml"

    @property
    def client(self) -> MlflowClient:
        """A client of the store."""
        return MlflowClient(f"sqlite:///{self.folder}/mlflow.db")

    def step(self, name: str, **parameters: str) -> tuple[int, str]:
        """Run a script; return its exit code and its output."""
        words = [word for key, value in parameters.items() for word in (f"--{key}", value)]
        store = {"MLFLOW_TRACKING_URI": f"sqlite:///{self.folder}/mlflow.db"}
        command = [sys.executable, f"steps/{name}.py", *words]
        environment = os.environ | store | self.variables
        done = subprocess.run(command, cwd=self.project, env=environment, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    def evaluate(self, **parameters: str) -> str:
        """Evaluate a model and return the id of the run."""
        given = {"data": str(self.data), "model": "linear", "shap_samples": "1"} | parameters
        code, output = self.step("evaluate", **given)
        found = re.search(r"-P run=([0-9a-f]{32})", output)
        if code or not found:
            raise RuntimeError(output[-2000:])
        return found[1]

    def last(self) -> Run:
        """Return the newest run that has no parent."""
        runs = self.client.search_runs(["0"])
        return next(run for run in runs if "mlflow.parentRunId" not in run.data.tags)

    def git(self, *words: str) -> str:
        """Run a git command in the clone."""
        author = ["-c", "user.name=benchmark", "-c", "user.email=benchmark@example.com"]
        return subprocess.run(
            ["git", *author, *words], cwd=self.project, check=True, capture_output=True, text=True
        ).stdout

    def edit(self, path: str, before: str, after: str) -> None:
        """Replace a text in a source file of the clone."""
        file = self.project / path
        text = file.read_text()
        assert before in text, (path, before)
        file.write_text(text.replace(before, after))


Change = Callable[[Workbench], Mapping[str, str]]  # makes a change, and returns the parameters that it needs


def fewer_rows(bench: Workbench) -> Mapping[str, str]:
    """Remove 500 rows."""
    rows = pd.read_csv(bench.data, dtype=str, keep_default_na=False)
    rows.drop(range(300, 800)).to_csv(bench.data, index=False)
    return {}


def dearer_wines(bench: Workbench) -> Mapping[str, str]:
    """Raise every third price by half."""
    rows = pd.read_csv(bench.data, dtype=str, keep_default_na=False)
    rows.loc[::3, "price"] = (rows.loc[::3, "price"].astype(float) * 1.5).round(2).astype(str)
    rows.to_csv(bench.data, index=False)
    return {}


def dropped_column(bench: Workbench) -> Mapping[str, str]:
    """Remove the column rating from the file, and from the contract, which would require it."""
    pd.read_csv(bench.data, dtype=str, keep_default_na=False).drop(columns="rating").to_csv(bench.data, index=False)
    return edit_contract(bench, lambda values: values["columns"].pop("rating"))


def lower_limit(bench: Workbench) -> Mapping[str, str]:
    """Reject prices above 300."""
    return edit_contract(bench, lambda values: values["columns"]["price"].update(range=[0.01, 300]))


def unused_column(bench: Workbench) -> Mapping[str, str]:
    """Leave out the column region."""

    def drop(values: dict) -> None:
        del values["columns"]["region"]
        values["drop"].append("region")

    return edit_contract(bench, drop)


def edit_contract(bench: Workbench, edit: Callable[[dict], object]) -> Mapping[str, str]:
    """Change the values in the contract."""
    values = yaml.safe_load(bench.contract.read_text())
    edit(values)
    bench.contract.write_text(yaml.safe_dump(values))
    return {}


def other_regressor(bench: Workbench) -> Mapping[str, str]:
    """Commit another regressor as the linear model."""
    bench.edit(CATALOG, '"sklearn.linear_model.Ridge"', '"sklearn.linear_model.Lasso"')
    bench.git("commit", "--quiet", "--all", "--message", "Use the lasso")
    return {}


def other_encoder(bench: Workbench) -> Mapping[str, str]:
    """Commit another preparation of missing numbers."""
    bench.edit(ENCODERS, 'strategy="median"', 'strategy="most_frequent"')
    bench.git("commit", "--quiet", "--all", "--message", "Fill in the most frequent number")
    return {}


def uncommitted(bench: Workbench) -> Mapping[str, str]:
    """Change the regressor without a commit."""
    bench.edit(CATALOG, '"sklearn.linear_model.Ridge"', '"sklearn.linear_model.ElasticNet"')
    return {}


def alpha(bench: Workbench) -> Mapping[str, str]:
    """Pass another strength of the penalty."""
    return {"model_params": "{alpha: 30}"}


def encoder(bench: Workbench) -> Mapping[str, str]:
    """Pass another encoder."""
    return {"encoder": "ordinal"}


def test_size(bench: Workbench) -> Mapping[str, str]:
    """Pass another size of the test set."""
    return {"test_size": "0.4"}


def seed(bench: Workbench) -> Mapping[str, str]:
    """Pass another seed."""
    return {"seed": "7"}


def edited_score(bench: Workbench) -> Mapping[str, str]:
    """Change nothing yet: the score of the run is edited afterwards."""
    return {}


def package(bench: Workbench) -> Mapping[str, str]:
    """Run with another version of a package that fits the model."""
    bench.variables = {"PYTHONPATH": str(bench.folder / "toy2")}
    return {"model": f"{TOY}.Shrunk"}


@dataclass(frozen=True)
class Case:
    """Some changes at once, what compare must name them by, and which causes explain must name."""

    name: str
    changes: tuple[Change, ...]
    named: tuple[str, ...]
    causes: tuple[str, ...]


CASES = (
    Case("data: 500 rows fewer", (fewer_rows,), ("data: 500 rows removed",), ("data",)),
    Case("data: other prices", (dearer_wines,), ("data: ",), ("data",)),
    Case("data, contract: a column fewer", (dropped_column,), ("column rating removed",), ("data", "contract")),
    Case("contract: another limit", (lower_limit,), ("contract: columns.price.range",), ("contract",)),
    Case("contract: a column left out", (unused_column,), ("contract: ",), ("contract",)),
    Case("code: another regressor", (other_regressor,), ("code: workflow/models/catalog.py",), ("code",)),
    Case("code: another encoder", (other_encoder,), ("code: workflow/models/encoders.py",), ("code",)),
    Case("uncommitted code", (uncommitted,), ("uncommitted changes in b",), ("code",)),
    Case("parameter: alpha", (alpha,), ("parameters: model_params",), ("parameter model_params",)),
    Case("parameter: encoder", (encoder,), ("parameters: encoder auto → ordinal",), ("parameter encoder",)),
    Case("parameter: test_size", (test_size,), ("parameters: test_size 0.2 → 0.4",), ("parameter test_size",)),
    Case("seed", (seed,), ("parameters: seed 0 → 7",), ("chance (seed)",)),
    Case("package", (package,), (f"packages: {TOY.replace('_', '-')} 1.0 → 2.0",), ("packages",)),
    Case("edited score", (edited_score,), ("as logged: b: ",), ("b is not reproduced",)),
    Case("data and seed", (fewer_rows, seed), ("data: 500 rows", "seed 0 → 7"), ("data", "chance (seed)")),
    Case("code and data", (other_regressor, dearer_wines), ("code: ", "data: "), ("code", "data")),
    Case(
        "parameter and uncommitted", (encoder, uncommitted), ("encoder", "uncommitted"), ("parameter encoder", "code")
    ),
    Case("contract and seed", (lower_limit, seed), ("contract: ", "seed"), ("contract", "chance (seed)")),
    Case(
        "two parameters", (encoder, test_size), ("encoder", "test_size"), ("parameter encoder", "parameter test_size")
    ),
    Case(
        "seed and edited score",
        (seed, edited_score),
        ("seed", "as logged: b"),
        ("chance (seed)", "b is not reproduced"),
    ),
)


@contextmanager
def workbench() -> Iterator[Workbench]:
    """Yield a clone with its data, and two versions of a small package that fits a model."""
    with tempfile.TemporaryDirectory() as name:
        bench = Workbench(Path(name))
        subprocess.run(["git", "clone", "--quiet", PROJECT, bench.project], check=True)
        for version in (1, 2):
            build_toy(bench.folder, version)
        os.environ["UV_FIND_LINKS"] = str(bench.folder / "wheels")
        reset(bench)
        yield bench


def build_toy(folder: Path, version: int) -> None:
    """Build the wheel of a version of the small package, and install it into a folder of its own."""
    source = folder / f"source{version}"
    source.mkdir()
    (source / f"{TOY}.py").write_text(TOY_SOURCE.format(version=version))
    (source / "pyproject.toml").write_text(
        f'[project]\nname = "{TOY}"\nversion = "{version}.0"\n[tool.setuptools]\npy-modules = ["{TOY}"]\n'
    )
    uv = [sys.executable, "-m", "uv", "--quiet"]
    subprocess.run([*uv, "build", "--wheel", "--out-dir", folder / "wheels", source], check=True)
    wheel = next((folder / "wheels").glob(f"*-{version}.0-*.whl"))
    subprocess.run([*uv, "pip", "install", "--no-deps", "--target", folder / f"toy{version}", wheel], check=True)


def reset(bench: Workbench) -> None:
    """Undo all changes."""
    bench.git("reset", "--quiet", "--hard", "origin/HEAD")
    rows = pd.read_csv(PROJECT / "data/wines.csv", dtype=str, keep_default_na=False)
    rows.head(ROWS).to_csv(bench.data, index=False)
    bench.contract.write_text((PROJECT / "data/wines.yaml").read_text())
    bench.variables = {}


def check(bench: Workbench, case: Case, before: str) -> str:
    """Make the changes of a case, run, compare and explain; return what is wrong, or nothing."""
    parameters = {key: value for change in case.changes for key, value in change(bench).items()}
    after = bench.evaluate(**parameters)
    if edited_score in case.changes:
        bench.client.log_metric(after, "mean_absolute_error", 1.0)
    bench.variables = {}
    code, output = bench.step("compare", a=before, b=after)
    sentence = next((line for line in output.splitlines() if line.startswith("differs: ")), output)
    faults = [f"compare does not name {text}: {sentence}" for text in case.named if text not in sentence]
    code, output = bench.step("explain", a=before, b=after)
    if code:
        return "; ".join([*faults, output.splitlines()[-1]])
    folder = bench.client.download_artifacts(bench.last().info.run_id, "explanation.json")
    page = json.loads(Path(folder).read_text())
    parts = next(section["table"] for section in page["sections"] if section["title"] == "Why")
    values = {part["cause"]: float(part["moves the score by"]) for part in parts}
    total = sum(map(abs, values.values()))
    share = sum(abs(value) for cause, value in values.items() if any(name in cause for name in case.causes)) / total
    change = bench.last().data.metrics["change"]
    if abs(sum(values.values()) - change) > 1e-3 * abs(change) + 1e-3:
        faults.append(f"the parts {values} add up to {sum(values.values())}, but the change is {change}")
    if share <= 0.8:
        faults.append(f"only {share:.0%} is attributed to {case.causes}: {values}")
    print(f"{'':<34} {page['summary']}", flush=True)
    return "; ".join(faults)


def check_no_change(bench: Workbench, before: str) -> str:
    """Compare a result with an equal one, and explain that nothing has changed; return what is wrong, or nothing."""
    after = bench.evaluate()
    code, output = bench.step("compare", a=before, b=after)
    faults = [] if code == 0 and "equal: all" in output else [f"compare: {output.splitlines()[-1]}"]
    code, output = bench.step("explain", a=before, b=after)
    change = bench.last().data.metrics.get("change")
    return "; ".join(faults + ([] if code == 0 and change == 0 else [f"explain: {change} {output.splitlines()[-1]}"]))


def main(only: list[str]) -> None:
    """Print a line per case, and how many changes were found."""
    found, cases = 0, [case for case in CASES if not only or any(word in case.name for word in only)]
    with workbench() as bench:
        before = bench.evaluate()
        print(f"{'no change':<34} {check_no_change(bench, before) or 'exactly zero'}", flush=True)
        for case in cases:
            reset(bench)
            recorded = before
            if package in case.changes:
                bench.variables = {"PYTHONPATH": str(bench.folder / "toy1")}
                recorded = bench.evaluate(model=f"{TOY}.Shrunk")
            started = time.monotonic()
            fault = check(bench, case, recorded)
            found += not fault
            print(f"{case.name:<34} {time.monotonic() - started:5.1f} s  {fault or 'found'}", flush=True)
    print(f"{found} of {len(cases)} changes found")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], help="words in the names of the cases to check (default: all)")
    main(**vars(parser.parse_args()))
