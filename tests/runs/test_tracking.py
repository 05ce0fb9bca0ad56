import threading

import pytest
import servers
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from workflow.runs import tracking


@pytest.mark.slow
def test_a_request_is_retried_while_the_database_restarts(tmp_path):
    if not servers.has_postgres():
        pytest.skip("PostgreSQL is not installed")
    with servers.postgres(tmp_path) as (uri, restart):
        client = MlflowClient(uri)
        run_id = client.create_run("0").info.run_id
        crash, failed = threading.Thread(target=restart), 0

        def get_run():
            nonlocal failed
            try:
                return client.get_run(run_id)
            except MlflowException:
                failed += 1
                raise

        crash.start()
        while crash.is_alive():
            assert tracking.retry_while_unavailable(get_run).info.run_id == run_id
        assert failed, "the database never failed: nothing was tested"


def test_a_logged_dataset_of_many_columns_has_fewer_rows():
    assert [tracking.dataset_rows(columns) for columns in (2, 100, 1_000, 100_000)] == [1_000, 1_000, 100, 10]


def test_a_request_for_a_missing_run_is_not_retried(tmp_path, monkeypatch):
    monkeypatch.setattr(tracking.time, "sleep", lambda _: pytest.fail("it retried"))
    with pytest.raises(MlflowException):
        tracking.retry_while_unavailable(lambda: MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").get_run("a" * 32))


def test_a_store_that_refuses_what_only_the_ui_shows_costs_a_warning_and_not_the_result(monkeypatch, capsys):
    def refuse(*_: object) -> None:
        raise MlflowException("tags of experiments cannot be set here")

    monkeypatch.setattr(MlflowClient, "set_experiment_tag", refuse)
    tracking.decorate_experiment("0", "mlflow.sharedViewState.workflow-scores", "{}")
    assert "warning: the page of the experiment will lack mlflow.sharedViewState.workflow-scores: tags of" in (
        capsys.readouterr().err
    )
