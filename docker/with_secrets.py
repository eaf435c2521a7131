"""Run a command with secrets that lie in files: `with_secrets.py COMMAND...`.

`FILE__NAME=path` becomes the variable NAME with the file's content; `PGPASS__role=path` becomes a
line of libpq's password file, `PGPASSFILE`. Nothing of it comes to a command line.
"""

import os
import sys
from pathlib import Path

VARIABLE, PASSWORD = "FILE__", "PGPASS__"


def content(path: str) -> str:
    """A secret, without the newline that editors leave at its end."""
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
