"""Run a command with secrets from files: `with_secrets.py COMMAND...`.

`FILE__NAME=path` sets the variable NAME to the content of the file; `PGPASS__role=path` adds a line to
libpq's password file, `PGPASSFILE`. No secret appears on a command line.
"""

import os
import sys
from pathlib import Path

VARIABLE, PASSWORD = "FILE__", "PGPASS__"


def content(path: str) -> str:
    """The secret in a file, without the newline that editors add at the end."""
    try:
        found = Path(path).read_text().strip()
    except OSError as error:
        sys.exit(f"{path}: {error.strerror}; `python -m jobs.compose.secrets` makes the secrets")
    return found or sys.exit(
        f"{path}: is empty; `python -m jobs.compose.secrets` makes the secrets"
    )


def main() -> None:
    os.umask(0o077)
    lines = []
    for name, path in sorted(os.environ.items()):
        if name.startswith(VARIABLE):
            os.environ[name.removeprefix(VARIABLE)] = content(path)
        elif name.startswith(PASSWORD):
            lines.append(f"*:*:*:{name.removeprefix(PASSWORD)}:{content(path)}\n")
    if lines:
        Path(os.environ["PGPASSFILE"]).write_text("".join(lines))
    os.umask(0o022)
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
