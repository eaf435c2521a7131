"""What is shown of errors and addresses holds no secret."""

import pytest

from karat.redact import shown_address, without_secrets


@pytest.mark.parametrize(
    "text",
    [
        "Invalid url: http://me:TOPSECRET@host:5000/api",
        "Invalid url: http://me:TOP@SECRET@host:5000/api",
        "Invalid header value: b'Bearer TOPSECRET\\n'",
        "You sent: Authorization: Basic bWU6VE9QU0VDUkVU",
        "access to s3 with TOPSECRET was denied",
        "authentication with TOP%2FSECRET failed",
        "authentication with TOP/SECRET failed",
    ],
)
def test_secrets_of_addresses_headers_and_the_environment_are_hidden(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "TOPSECRET")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "TOP/SECRET")
    shown = without_secrets(text)
    assert "SECRET" not in shown
    assert "bWU6" not in shown
    assert len(shown.split()) >= len(text.split()) - 1


def test_password_of_the_address_is_hidden_where_it_stands_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:p%40ssw0rd@host:5000")
    assert without_secrets("for p@ssw0rd and p%40ssw0rd") == "for *** and ***"


def test_address_is_shown_without_user_and_query() -> None:
    assert shown_address("http://me:secret@host:5000/base") == "http://host:5000/base"
    assert shown_address("postgresql://host/db?user=me&password=secret") == "postgresql://host/db"
    assert shown_address("sqlite:////studies/mlflow.db") == "sqlite:////studies/mlflow.db"


def test_address_that_is_none_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://[me:secret")
    assert "secret" not in without_secrets("Invalid url: http://[me:secret")
    assert without_secrets("nothing to hide") == "nothing to hide"
