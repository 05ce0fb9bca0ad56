"""Predict the rows of a CSV file with a logged model, as MLflow loads it: python predict.py <model> <rows.csv>."""

import sys

import mlflow
import pandas as pd

rows = pd.read_csv(sys.argv[2], dtype=str, keep_default_na=False)
for prediction in mlflow.pyfunc.load_model(sys.argv[1]).predict(rows):
    print(repr(float(prediction)))
