"""Regressors and what surrounds them: encoders, target transforms, blends, model files. Never imports MLflow."""
