"""Run the baseline of end_to_end.py: a plain script as in many tutorials, data leakage included.

    python benchmarks/tutorial.py data/wines.csv price

Label-encode, fit three models on a random split, explain 50 rows of each with SHAP's default explainer, draw two plots,
and log it all with MLflow's autologging.
"""

import argparse
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import mlflow
import pandas as pd
import shap
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_absolute_error, r2_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import LabelEncoder, StandardScaler


def main(data: str, target: str) -> None:
    """Run the tutorial on a CSV file; MLFLOW_TRACKING_URI names the tracking store."""
    mlflow.sklearn.autolog()
    frame = pd.read_csv(data).dropna(subset=target)
    for column in frame.columns:
        if frame[column].isna().any() or not pd.api.types.is_numeric_dtype(frame[column]):
            frame[column] = LabelEncoder().fit_transform(frame[column].astype(str))
    features, y = frame.drop(columns=target), frame[target]
    x_train, x_test, y_train, y_test = train_test_split(features, y, test_size=0.2, random_state=0)
    scaler = StandardScaler().fit(x_train)
    x_train, x_test = scaler.transform(x_train), scaler.transform(x_test)
    for model in (LinearRegression(), KNeighborsRegressor(), RandomForestRegressor(random_state=0)):
        with mlflow.start_run(run_name=type(model).__name__), tempfile.TemporaryDirectory() as folder:
            model.fit(x_train, y_train)
            predicted = model.predict(x_test)
            mlflow.log_metrics({"r2": r2_score(y_test, predicted), "mae": mean_absolute_error(y_test, predicted)})
            plt.figure()
            plt.scatter(y_test, predicted)
            plt.savefig(Path(folder) / "predictions.png")
            values = shap.Explainer(model.predict, x_train, feature_names=list(features))(x_test[:50])
            plt.figure()
            shap.plots.beeswarm(values, show=False)
            plt.savefig(Path(folder) / "shap.png")
            mlflow.log_artifacts(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a CSV file")
    parser.add_argument("target", help="the column to predict")
    main(**vars(parser.parse_args()))
