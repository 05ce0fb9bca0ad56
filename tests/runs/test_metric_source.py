"""What of a ranking metric's code decides whether a result is reused."""

from workflow.commands.train import metric_source
from workflow.parameters import TrainParams
from workflow.provenance import fingerprint


def test_a_metric_counts_with_what_it_imports(tmp_path, monkeypatch):
    files = {
        "my_costs/__init__.py": "",
        "my_costs/formula.py": "from my_factors import FACTOR\ncost = lambda true, predicted: FACTOR\n",
        "my_factors.py": "FACTOR = 1.0\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    params = TrainParams(metric="my_costs.formula.cost")
    found = [metric_source(params)]
    for changed in ("my_costs/formula.py", "my_factors.py"):
        (tmp_path / changed).write_text(f"{files[changed]}# another line\n")
        fingerprint.imports.cache_clear()  # as in the process of the next command
        found.append(metric_source(params))
    assert len({each["metric"] for each in found}) == 3


def test_a_metric_of_ours_has_no_source_of_its_own():
    assert metric_source(TrainParams()) == {}
