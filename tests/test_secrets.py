import pytest

from workflow import secrets


@pytest.mark.parametrize(
    ("uri", "rest"),
    [
        ("https://example.com/wines.csv", None),
        ("https://example.com/wines.csv?version=2&page=3", None),
        ("data/wines.csv", None),
        ("data/strange?sig=name.csv", None),
        ("https://example.com/wines.csv?sig=$SIGNATURE", None),  # the name of a variable is not a secret
        ("https://anna:password@example.com:8080/wines.csv", "https://example.com:8080/wines.csv"),
        ("https://ghp_token@example.com/x.git", "https://example.com/x.git"),
        ("ssh://git@example.com/x.git", None),  # a user is a secret only over HTTP, where it is a token
        ("ssh://git:password@example.com/x.git", "ssh://example.com/x.git"),
        ("https://example.com/w.csv?sv=2024&sig=a%2Fb%3D", "https://example.com/w.csv?sv=2024"),
        ("s3://bucket/w.csv?X-Amz-Signature=abcd&X-Amz-Date=2024", "s3://bucket/w.csv?X-Amz-Date=2024"),
        ("https://example.com/w.csv?X-Amz-Credential=abcd&access_token=efgh&API_KEY=ijkl", "https://example.com/w.csv"),
    ],
)
def test_secrets_leave_a_uri_and_nothing_else_does(uri, rest):
    found = secrets.without_secrets(uri)
    assert found == (rest or uri)
    assert secrets.without_secrets(found) == found
    if rest:
        assert secrets.with_secrets(found) == uri


def test_a_secret_from_the_environment_is_expanded_and_censored(monkeypatch):
    monkeypatch.setenv("WINES_TOKEN", "from-outside")
    uri = "https://example.com/w.csv?token=${WINES_TOKEN}"
    assert secrets.with_secrets(uri) == "https://example.com/w.csv?token=from-outside"
    assert secrets.censored("refused: from-outside") == "refused: …"


def test_known_secrets_and_their_user_are_censored_in_texts_as_written_and_as_quoted():
    secrets.without_secrets("https://anna:pass-word@example.com/w.csv?sig=a%2Fbcd")
    assert secrets.censored("https://anna:pass-word@example.com/w.csv?sig=a%2Fbcd failed") == (
        "https://…@example.com/w.csv?sig=… failed"
    )
