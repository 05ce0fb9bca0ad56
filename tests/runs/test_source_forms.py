"""Where a source is, by its form."""

import pytest

from workflow.runs.sources import as_path, is_remote


@pytest.mark.parametrize(
    ("source", "remote"),
    [
        ("s3://bucket/wines.csv", True),
        ("runs:/0123/wines.csv", True),
        ("kaggle:owner/wines", True),
        ("file:///data/wines.csv", False),
        ("data/wines.csv", False),
        ("C:/data/wines.csv", False),  # a drive of Windows
        ("a:b/wines.csv", False),
    ],
)
def test_a_uri_is_remote_unless_it_names_a_file(source, remote):
    assert is_remote(source) == remote


def test_a_file_uri_is_unquoted():
    assert str(as_path("file:///data/my%20wines.csv")) == "/data/my wines.csv"
