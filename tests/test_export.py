"""A model as an ONNX file, through the entry point: the winner of main, and what ends in one line."""

from importlib.util import find_spec

import numpy as np
import pytest
import yaml
from conftest import Workflow

from workflow.errors import UserError
from workflow.models import onnx_files

pytestmark = pytest.mark.slow
NEEDED = pytest.mark.skipif(
    not all(map(find_spec, onnx_files.PACKAGES)), reason="optional packages: pip install onnx onnxruntime"
)


@NEEDED
def test_the_winner_of_main_is_exported_and_predicts_the_test_set(workflow: Workflow, tmp_path):
    import onnxruntime

    main, files = workflow.first("main").info.run_id, [tmp_path / "one.onnx", tmp_path / "two.onnx"]
    for file in files:
        result = workflow.step("export", model=main, output=file)
        assert result.code == 0, result.output
    assert files[0].read_bytes() == files[1].read_bytes()
    preprocessed, run = workflow.first("preprocess"), workflow.last()
    assert run.data.metrics["rows_compared"] == preprocessed.data.metrics["rows_test"]
    assert run.data.metrics["largest_deviation"] < 1e-11
    session = onnxruntime.InferenceSession(files[0])
    names = {each.name for each in session.get_inputs()}
    contract = yaml.safe_load(session.get_modelmeta().custom_metadata_map["contract"])
    assert {name for name in names if ": words" not in name} == contract["columns"].keys() - {"price"}
    inputs = {
        each.name: np.full((1, each.shape[1]), 1.0 if "double" in each.type else "Rioja").astype(
            np.float64 if "double" in each.type else object
        )
        for each in session.get_inputs()
    }
    assert session.run(["price"], inputs)[0].shape == (1,)
    again = workflow.step("export", model=main, output=files[0])
    assert "exists already" in again.error
    assert workflow.step("export", model=main, output=files[0], overwrite="true").code == 0


@NEEDED
def test_a_file_that_predicts_otherwise_is_not_written(workflow: Workflow, tmp_path):
    (tmp_path / "loss.onnx").touch()
    words = {"model": "boosting", "model_params": "{loss: poisson, max_iter: 20}", "target": "price"}
    assert workflow.step("train", **words).code == 0
    result = workflow.step("export", model=workflow.last().info.run_id, output=tmp_path / "other.onnx")
    assert result.code == 2, result.output
    assert "the ONNX file would predict other values (relative deviation " in result.error
    assert [path.name for path in tmp_path.iterdir()] == ["loss.onnx"]


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"model": "", "output": "x.onnx"}, "--model is required: -P model=models:/<name>@champion"),
        ({"model": "{main}", "output": ""}, "--output is required: -P output=<file>.onnx"),
        ({"model": "{main}", "output": "x.pmml"}, "output=x.pmml: must end in .onnx"),
    ],
)
def test_a_mistake_ends_in_one_line(workflow: Workflow, parameters, words):
    main = workflow.first("main").info.run_id
    result = workflow.step("export", **{name: value.format(main=main) for name, value in parameters.items()})
    assert result.code == 2, result.output
    assert words in result.error


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(onnx_files, "find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r"^output=x.onnx: needs onnx and onnxruntime, .*; pip install onnx onnxruntime$"
    ):
        onnx_files.check_packages("output=x.onnx")
