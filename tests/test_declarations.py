"""What the project's files declare is what its code takes."""

import re
from itertools import chain

import yaml
from conftest import PROJECT

from workflow import parameters
from workflow.parsing import options_of, to_command_line

ENTRY_POINTS = {  # what each takes, and the stages before it, whose parameters MLproject does not declare again
    "preprocess": (parameters.PreprocessParams, ()),
    "contract": (parameters.ContractParams, ()),
    "train": (parameters.TrainCommand, (parameters.PreprocessParams,)),
    "evaluate": (
        parameters.EvaluateCommand,
        (parameters.PreprocessParams, parameters.TrainParams, parameters.PreprocessRunOption),
    ),
    "main": (parameters.MainCommand, ()),
    "tune": (parameters.TuneCommand, (parameters.PreprocessParams,)),
    "promote": (parameters.PromoteParams, ()),
    "retrain": (parameters.RetrainParams, ()),
    "rollback": (parameters.RollbackParams, ()),
    "history": (parameters.HistoryParams, ()),
    "predict": (parameters.PredictCommand, ()),
    "export": (parameters.ExportParams, ()),
    "compare": (parameters.CompareCommand, ()),
    "explain": (parameters.ExplainCommand, ()),
    "reproduce": (parameters.ReproduceCommand, ()),
    "verify": (parameters.VerifyCommand, ()),
}


def test_mlproject_declares_the_parameters_and_defaults_of_every_entry_point():
    declared = yaml.safe_load((PROJECT / "MLproject").read_text())["entry_points"]
    assert list(declared) == list(ENTRY_POINTS)
    for entry_point, (kind, earlier) in ENTRY_POINTS.items():
        inherited = set(chain.from_iterable(map(options_of, earlier)))
        defaults = {
            name: to_command_line(option.get_default(call_default_factory=True))
            for name, option in options_of(kind).items()
            if name not in inherited
        }
        found = declared[entry_point]["parameters"]
        assert {name: str(each["default"]) for name, each in found.items()} == defaults
        script, *options = declared[entry_point]["command"].split(" --")
        assert script == f"python steps/{entry_point}.py"
        assert sorted(map(str.strip, options)) == sorted(f"{name} {{{name}}}" for name in found)


def test_every_parameter_is_explained():
    for entry_point, (kind, _) in ENTRY_POINTS.items():
        assert [name for name, option in options_of(kind).items() if not option.description] == [], entry_point


def test_both_environments_install_the_one_lock_file():
    lock = "-r requirements.txt"
    assert yaml.safe_load((PROJECT / "python_env.yaml").read_text())["dependencies"] == [lock]
    assert yaml.safe_load((PROJECT / "conda.yaml").read_text())["dependencies"][-1] == {"pip": [lock]}
    pins = re.findall(r"^([\w-]+)==", (PROJECT / "requirements.txt").read_text(), re.M)
    wanted = re.findall(r"^([\w-]+)", (PROJECT / "requirements.in").read_text(), re.M)
    assert set(wanted) <= set(pins)
    development = (PROJECT / "requirements-dev.txt").read_text()
    lines = re.findall(r"^[\w-]+==.*$", (PROJECT / "requirements.txt").read_text(), re.M)
    assert all(line in development for line in lines)
