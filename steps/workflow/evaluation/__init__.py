"""Cross-validation, metrics, intervals, Shapley values, leakage and drift. Never imports MLflow."""
