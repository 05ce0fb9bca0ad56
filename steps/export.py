"""Write a logged or registered model as an ONNX file, which other languages and runtimes read; or a result as a crate.

    pip install onnx onnxruntime
    mlflow run . -e export -P model=models:/wines@champion -P output=/path/to/wines.onnx

For linear, rf, extra_trees, boosting, mean_boosting and their blend. The file is written only if onnxruntime predicts
the test set as the model does.

    mlflow run . -e export -P model=<run id> -P output=/path/to/wines.zip

A crate holds the receipt of a result, its inputs, and the signed verdicts on it. reproduce and verify take it.
"""

import environment

from workflow.commands import export
from workflow.parameters import ExportParams
from workflow.runs import cli

if __name__ == "__main__":
    cli.main(ExportParams, __doc__, export.run)
