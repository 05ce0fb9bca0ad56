"""Collect what a reproduction in a CI job has logged: python collect.py <folder with output.txt> <target>."""

import json
import os
import re
import sys
from pathlib import Path

import mlflow

ARTIFACTS = {"verdict.json", "verdict.dsse.json", "badge.json", "reproduction.html", "reproduction.csv"}


def main(work: Path, target: Path) -> None:
    """Save the artifacts of the run in `target`, and set the outputs `verdict` and `conclusion` of a GitHub step."""
    target.mkdir(exist_ok=True)
    text = (work / "output.txt").read_text() + (work / "errors.txt").read_text()
    if run := re.search(r"^ +reproduce +\S+/runs/([0-9a-f]{32})", text, re.M):
        client = mlflow.MlflowClient()
        for name in ARTIFACTS.intersection(file.path for file in client.list_artifacts(run[1])):
            client.download_artifacts(run[1], name, str(target))
    if (statement := target / "verdict.json").exists():
        about = json.loads(statement.read_text())["predicate"]
        verdict, conclusion = about["verdict"], about["conclusion"]
    else:  # it could not be compared, or was an experiment
        verdict, conclusion = "error", (text.splitlines() or ["no output"])[-1].removeprefix("error: ")
        append("GITHUB_STEP_SUMMARY", f"**{verdict}**: {conclusion}\n")
    append("GITHUB_OUTPUT", f"verdict={verdict}\nconclusion={' '.join(conclusion.split())}\n")


def append(variable: str, text: str) -> None:
    """Append a text to the file that a variable names, if it names one."""
    if path := os.environ.get(variable):
        with open(path, "a", encoding="utf-8") as file:
            file.write(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
