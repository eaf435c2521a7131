"""Errors and addresses are shown without secrets."""

import pytest

from karat.system.redact import secrets_in, shown_address, without_secrets


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
def test_secrets_in_addresses_headers_and_the_environment_are_hidden(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "TOPSECRET")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "TOP/SECRET")
    shown = without_secrets(text)
    assert "SECRET" not in shown
    assert "bWU6" not in shown
    assert len(shown.split()) >= len(text.split()) - 1


def test_password_of_the_address_is_hidden_outside_of_an_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:p%40ssw0rd@host:5000")
    assert without_secrets("for p@ssw0rd and p%40ssw0rd") == "for *** and ***"


def test_address_is_shown_without_user_and_query() -> None:
    assert shown_address("http://me:secret@host:5000/base") == "http://host:5000/base"
    assert shown_address("postgresql://host/db?user=me&password=secret") == "postgresql://host/db"
    assert shown_address("sqlite:////studies/mlflow.db") == "sqlite:////studies/mlflow.db"


def test_malformed_address_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://[me:secret")
    assert "secret" not in without_secrets("Invalid url: http://[me:secret")
    assert without_secrets("nothing to hide") == "nothing to hide"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TOKENIZERS_PARALLELISM", "sometimes"),
        ("USE_AUTH_TOKEN", "false"),
        ("HF_TOKEN", "None"),
        ("MAX_TOKENS", "4096"),
        ("TOKEN_TTL_S", "3600.5"),
        ("MLFLOW_TRACKING_PASSWORD", "abc"),
        ("RAY_AUTH_TOKEN_PATH", "/run/secrets/ray_token"),
    ],
)
def test_settings_are_not_secrets(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    text = f"suspend: {value}, as {value}"
    assert without_secrets(text) == text
    assert secrets_in(text) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MLFLOW_TRACKING_PASSWORD", "pass"),
        ("PGPASSWORD_FOR_TESTS", "1234"),
        ("RAY_AUTH_TOKEN", "ab12"),
        ("SERVICE_TOKEN", "93710465"),
    ],
)
def test_short_secrets_are_hidden(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    assert without_secrets(f"it is {value}") == "it is ***"
    assert secrets_in(f"it is {value}") == [name]


@pytest.mark.parametrize(
    "text",
    [
        "Is a Basic grid better?",
        "Is Basic classification, or a Basic state-of-the-art, better?",
        "Basic Transformers",
        "a Bearer of news",
    ],
)
def test_words_are_not_credentials(text: str) -> None:
    assert without_secrets(text) == text
    assert secrets_in(text) == []


@pytest.mark.parametrize(
    "header", ["Basic bWU6VE9QU0VDUkVU", "Bearer 0123456789ab", "Bearer eyJhbGciOiJIUzI1NiJ9.e30.x"]
)
def test_unknown_credentials_in_a_header_are_hidden(header: str) -> None:
    kind = header.split()[0]
    assert without_secrets(f"sent '{header}'") == f"sent '{kind} ***'"
    assert secrets_in(header) == [f"the credentials after {kind}"]


def test_source_of_a_secret_is_named_without_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:p%40ssw0rd@host:5000?token=f00ba7")
    assert secrets_in("p@ssw0rd and f00ba7, at http://you:pw@host") == [
        "the query of MLFLOW_TRACKING_URI",
        "the password in MLFLOW_TRACKING_URI",
        "an address with a user or password in it",
    ]
