"""Make the secrets of docker-compose.yml, each unless it is there: `python -m jobs.compose.secrets`."""

import argparse
import os
import secrets
from pathlib import Path

import yaml

from karat.system.paths import CODE

COMPOSE = CODE / "docker-compose.yml"


def names() -> list[str]:
    """What the compose file asks for."""
    return list(yaml.safe_load(COMPOSE.read_text())["secrets"])


def make_secrets(folder: Path) -> list[Path]:
    """The files that were made.

    The folder is closed; the files are readable, since each container has a user of its own, to
    whom a file is given alone.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    made = []
    for name in names():
        path = folder / name
        if not path.exists():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(32))
            path.chmod(0o444)
            made.append(path)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m jobs.compose.secrets", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(".secrets"))
    made = make_secrets(parser.parse_args().folder)
    print("\n".join(map(str, made)) or "every secret was there")


if __name__ == "__main__":
    main()
