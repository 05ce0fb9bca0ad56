"""HTML pages, figures and tables for people. Never imports MLflow, and decides no number."""
