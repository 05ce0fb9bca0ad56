"""From a file to validated, deduplicated and split rows. Never imports MLflow."""
