"""What we do to runs: knows MLflow, never imports scikit-learn or `tabular`."""
