"""What we do to data: knows DataFrames and estimators, never imports mlflow or `runs`."""
