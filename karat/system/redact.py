"""Removes passwords and tokens from text before it is shown.

Errors of MLflow's client contain addresses, headers and whole responses of servers, and each of
these may contain a secret from the environment.
"""

import os
import re
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

_PASSWORD_NAME = re.compile(r"PASSWORD|PASSWD")
_SECRET_NAME = re.compile(
    rf"{_PASSWORD_NAME.pattern}|TOKEN(?!IZER)|SECRET|CREDENTIAL|ACCESS_KEY|API_KEY"
)
_PATH_NAME = re.compile(r"_(PATH|FILE|DIR)$")  # the path of a secret is none; messages show it
_SHORTEST = 4  # a shorter value would match in unrelated words
_SHORTEST_NUMBER = 8  # a shorter number is a count or seconds (MAX_TOKENS), unless it is a password
_SETTINGS = {"auto", "default", "disabled", "enabled", "false", "none", "null", "true"}
_HIDDEN = "***"
_URI = "MLFLOW_TRACKING_URI"
_USER = re.compile(r"//[^/\s]*@")
# At least 12 characters, the shortest user and password in base64, and not an English word as in
# "Basic classification".
_HEADER = re.compile(r"\b(Basic|Bearer) (?![A-Za-z][a-z-]*[.,;:?!)]*(?:['\"\s]|$))[^\s'\"]{12,}")


def without_secrets(text: str) -> str:
    """The text without user names in addresses, credentials in headers, and environment secrets."""
    # Longest first: a secret that is a part of another one would leave the rest of it in the text.
    for secret in sorted(_secrets(), key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    return _HEADER.sub(rf"\1 {_HIDDEN}", _USER.sub("//", text))


def secrets_in(text: str) -> list[str]:
    """The sources of the secrets in a text (names of variables, ...), not the secrets."""
    found = dict.fromkeys(name for secret, name in _secrets().items() if secret in text)
    if _USER.search(text):
        found["an address with a user or password in it"] = None
    if header := _HEADER.search(text):
        found[f"the credentials after {header[1]}"] = None
    return list(found)


def shown_address(uri: str) -> str:
    """An address without user, password and query; a query may contain a password too."""
    return without_secrets(uri.partition("?")[0])


def _secrets() -> dict[str, str]:
    """Secrets, plain and in URL encoding, each with the name of its source."""
    given = [(value, name, name) for name, value in os.environ.items()]
    uri = os.environ.get(_URI, "")
    try:
        parts = urlsplit(uri)
        given += [(value, key, f"the query of {_URI}") for key, value in parse_qsl(parts.query)]
        given.append((parts.password or "", "PASSWORD", f"the password in {_URI}"))
    except ValueError:  # not an address; the error about it repeats it, so all of it is hidden
        given.append((uri, "PASSWORD", _URI))
    return {
        spelt: source
        for value, name, source in given
        if _is_secret(name.upper(), value.strip())
        for each in (str, quote, quote_plus, unquote)
        if len(spelt := each(value.strip())) >= _SHORTEST
    }


def _is_secret(name: str, value: str) -> bool:
    """Whether the value of this variable is a secret, and not a setting such as MAX_TOKENS."""
    if not _SECRET_NAME.search(name) or _PATH_NAME.search(name):
        return False
    if len(value) < _SHORTEST or value.lower() in _SETTINGS:
        return False
    if _PASSWORD_NAME.search(name) or len(value) >= _SHORTEST_NUMBER:
        return True
    return re.fullmatch(r"[-+]?[\d.]+", value) is None
