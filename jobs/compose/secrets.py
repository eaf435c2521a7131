"""Make the secrets of docker-compose.yml that are missing: `python -m jobs.compose.secrets`."""

import argparse
import os
import secrets
from pathlib import Path

import yaml

from karat.system.paths import CODE

COMPOSE = CODE / "docker-compose.yml"


def names() -> list[str]:
    """Names of the secrets in the compose file."""
    return list(yaml.safe_load(COMPOSE.read_text())["secrets"])


def make_secrets(folder: Path) -> list[Path]:
    """Make a file with a random secret for each name that has none; returns the new files.

    Only the owner may enter the folder. The files in it are readable for all, since every container
    runs as another user, and is given only the files that it needs.
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
    folder = parser.parse_args().folder
    if not COMPOSE.is_file():
        parser.error(f"{COMPOSE} is missing: the stack is built from a checkout of karat")
    made = make_secrets(folder)
    print("\n".join(map(str, made)) or "no secret was missing")


if __name__ == "__main__":
    main()
