"""Text that may be shown: without passwords and tokens.

MLflow's errors carry addresses, headers and whole answers of servers, and any of them may hold
what the environment keeps secret.
"""

import os
import re
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

_PASSWORD_NAME = re.compile(r"PASSWORD|PASSWD")
_SECRET_NAME = re.compile(
    rf"{_PASSWORD_NAME.pattern}|TOKEN(?!IZER)|SECRET|CREDENTIAL|ACCESS_KEY|API_KEY"
)
_PLACE_NAME = re.compile(r"_(PATH|FILE|DIR)$")  # where a secret is, which messages must name
_SHORTEST = 4  # a shorter value would be found everywhere
_SHORTEST_NUMBER = 8  # a shorter one is a count or seconds (MAX_TOKENS), but for a password
_SETTINGS = {"auto", "default", "disabled", "enabled", "false", "none", "null", "true"}
_HIDDEN = "***"
_URI = "MLFLOW_TRACKING_URI"
_USER = re.compile(r"//[^/\s]*@")
# At least as long as the shortest user and password in base64, and no English word.
_HEADER = re.compile(r"\b(Basic|Bearer) (?![A-Za-z][a-z-]*[.,;:?!)]*(?:['\"\s]|$))[^\s'\"]{12,}")


def without_secrets(text: str) -> str:
    """The text without user information in addresses, credentials, and secrets of the environment."""
    for secret in sorted(_secrets(), key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    return _HEADER.sub(rf"\1 {_HIDDEN}", _USER.sub("//", text))


def secrets_in(text: str) -> list[str]:
    """What secrets a text holds, each by where it is from; none of them is told."""
    found = dict.fromkeys(name for secret, name in _secrets().items() if secret in text)
    if _USER.search(text):
        found["an address with a user or password in it"] = None
    if header := _HEADER.search(text):
        found[f"what follows {header[1]}"] = None
    return list(found)


def shown_address(uri: str) -> str:
    """An address without user, password and query, which may hold a password too."""
    return without_secrets(uri.partition("?")[0])


def _secrets() -> dict[str, str]:
    """Values that must not be shown, as they are and as they stand in an address; each with its place."""
    given = [(value, name, name) for name, value in os.environ.items()]
    uri = os.environ.get(_URI, "")
    try:
        parts = urlsplit(uri)
        given += [(value, key, f"the query of {_URI}") for key, value in parse_qsl(parts.query)]
        given.append((parts.password or "", "PASSWORD", f"the password in {_URI}"))
    except ValueError:  # no address at all; what it holds is shown by nobody but its own error
        given.append((uri, "PASSWORD", _URI))
    return {
        spelt: place
        for value, name, place in given
        if _is_secret(name.upper(), value.strip())
        for each in (str, quote, quote_plus, unquote)
        if len(spelt := each(value.strip())) >= _SHORTEST
    }


def _is_secret(name: str, value: str) -> bool:
    """Whether a value under this name is to be hidden, and no setting of another kind."""
    if not _SECRET_NAME.search(name) or _PLACE_NAME.search(name):
        return False
    if len(value) < _SHORTEST or value.lower() in _SETTINGS:
        return False
    if _PASSWORD_NAME.search(name) or len(value) >= _SHORTEST_NUMBER:
        return True
    return re.fullmatch(r"[-+]?[\d.]+", value) is None
