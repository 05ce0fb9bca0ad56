"""One module per entry point: binds a stage to MLflow runs."""
