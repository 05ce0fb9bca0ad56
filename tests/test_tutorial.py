"""The tutorial: each of its commands runs, and prints what the page shows."""

import os
import re
from collections.abc import Iterator

import forked
import pytest
from conftest import PROJECT, Workflow, commit_all, copy_project

BLOCK = re.compile(r"^```sh\n(?P<command>.*?)^```\n\n```\n(?P<output>.*?)^```$", re.M | re.S)


def steps() -> Iterator[tuple[str, list[str]]]:
    """Yield the commands of each block, and the lines that they print."""
    for block in BLOCK.finditer((PROJECT / "docs/tutorial.md").read_text()):
        yield block["command"], [line for line in map(with_single_spaces, block["output"].splitlines()) if line]


def with_single_spaces(line: str) -> str:
    return " ".join(line.split())


@pytest.mark.nightly
@pytest.mark.slow
def test_each_command_of_the_tutorial_prints_what_the_page_shows(tmp_path):
    workflow = Workflow(tmp_path / "store", copy_project(tmp_path / "project"))
    commit_all(workflow.project)
    path = f"{forked.folder_of_python()}{os.pathsep}{workflow.environment['PATH']}"
    output, failures = "", []
    for command, expected in steps():
        run_id = (re.findall(r"-P run=(\w+)$", output, re.M) or [""])[-1]
        script = f"set -e; cd {workflow.project}\n{command.replace('<run id>', run_id)}"
        result = workflow.execute(["bash", "-c", script], PATH=path)
        assert result.code == 0, result.output
        output = result.output
        printed = [with_single_spaces(line) for line in output.splitlines()]
        failures += [line for line in expected if not any(found.startswith(line) for found in printed)]
    assert not failures
    assert len(list(steps())) == 6
