"""Tracking servers of a team: with logins, and with artifacts in a bucket behind the server."""

import pandas as pd
import pytest
from conftest import Workflow, s3_client
from mlflow.server import get_app_client
from servers import tracking_server

pytestmark = pytest.mark.slow
ADMIN = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": "a-Long-Secret-42"}
READER = {"MLFLOW_TRACKING_USERNAME": "reader", "MLFLOW_TRACKING_PASSWORD": "another-Long-Secret-42"}


def client_of(address: str, folder, data, **variables: str) -> Workflow:
    """Return a workflow that tracks to a server."""
    workflow = Workflow(folder, data=data)
    workflow.uri = workflow.environment["MLFLOW_TRACKING_URI"] = address
    workflow.environment |= variables
    return workflow


@pytest.mark.nightly
def test_a_server_with_logins_refuses_others_in_one_line(tmp_path, small_data, monkeypatch):
    for name, value in ADMIN.items():
        monkeypatch.setenv(name, value)
    secrets = {"MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN["MLFLOW_TRACKING_PASSWORD"], "MLFLOW_FLASK_SERVER_SECRET_KEY": "x"}
    config = tmp_path / "auth.ini"
    config.write_text(
        f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{tmp_path}/auth.db\nadmin_username = admin\n"
    )
    secrets["MLFLOW_AUTH_CONFIG_PATH"] = str(config)
    store = f"sqlite:///{tmp_path}/mlflow.db"
    with tracking_server(store, tmp_path / "artifacts", "--app-name", "basic-auth", **secrets) as address:
        get_app_client("basic-auth", tracking_uri=address).create_user("reader", READER["MLFLOW_TRACKING_PASSWORD"])
        admin = client_of(address, tmp_path / "admin", small_data, **ADMIN)
        assert admin.step("preprocess").code == 0
        runs = len(admin.runs())
        for login, words in (
            (dict.fromkeys(ADMIN, ""), "(status 401); set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"),
            (READER, "(status 403); ask for the permission to write there, or log in"),
        ):
            result = client_of(address, tmp_path / "other", small_data, **login).step("preprocess")
            assert result.code == 2, result.output
            assert words in result.error
            assert "Traceback" not in result.output
        assert len(admin.runs()) == runs


@pytest.mark.nightly
def test_users_need_no_keys_for_artifacts_in_a_bucket_behind_the_server(tmp_path, small_data, bucket):
    with tracking_server(f"sqlite:///{tmp_path}/mlflow.db", "s3://wines/mlflow", **bucket) as address:
        workflow = client_of(address, tmp_path / "client", small_data)
        result = workflow.step("main", models="linear", shap_samples="3", register="wines")
        assert result.code == 0, result.output
        result = workflow.step("reproduce", run="models:/wines@champion")
        assert result.code == 0, result.output
        workflow.environment |= bucket
        words = {"model": "models:/wines@champion", "output": "s3://wines/out/prices.csv"}
        assert workflow.step("predict", **words).code == 0
        assert "exists already" in workflow.step("predict", **words).error
    assert len(pd.read_csv(s3_client(bucket).get_object(Bucket="wines", Key="out/prices.csv")["Body"])) == 900
