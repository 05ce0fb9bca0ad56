"""MLflow runs: opened, described, found again, read through typed views."""
