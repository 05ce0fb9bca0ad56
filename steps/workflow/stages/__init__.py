"""The stages of the workflow as pure functions of typed parameters and inputs. Never imports MLflow."""
