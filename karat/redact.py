"""Text that may be shown: without passwords and tokens.

MLflow's errors carry addresses, headers and whole answers of servers, and any of them may hold
what the environment keeps secret.
"""

import os
import re
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

_SECRET_NAME = re.compile(r"PASSWORD|PASSWD|TOKEN|SECRET|CREDENTIAL|ACCESS_KEY|API_KEY")
_SHORTEST = 4  # a shorter value would be found everywhere
_HIDDEN = "***"


def without_secrets(text: str) -> str:
    """The text without user information in addresses, credentials, and secrets of the environment."""
    for secret in sorted(_secrets(), key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    text = re.sub(r"//[^/\s]*@", "//", text)
    return re.sub(r"\b(Basic|Bearer) [^\s'\"]+", rf"\1 {_HIDDEN}", text)


def shown_address(uri: str) -> str:
    """An address without user, password and query, which may hold a password too."""
    return without_secrets(uri.partition("?")[0])


def _secrets() -> set[str]:
    """Values that must not be shown, as they are and as they stand in an address."""
    found = {value for name, value in os.environ.items() if _SECRET_NAME.search(name.upper())}
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    try:
        parts = urlsplit(uri)
        found |= {v for k, v in parse_qsl(parts.query) if _SECRET_NAME.search(k.upper())}
        found.add(parts.password or "")
    except ValueError:  # no address at all; what it holds is shown by nobody but its own error
        found.add(uri)
    spellings = {
        each(value.strip()) for value in found for each in (str, quote, quote_plus, unquote)
    }
    return {value for value in spellings if len(value) >= _SHORTEST}
