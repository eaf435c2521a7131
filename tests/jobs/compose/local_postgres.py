"""Debian's PostgreSQL in place of the official image: what that image's entry point does."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from karat.errors import InputError, StudyError
from tests.waiting import PATIENCE_S

_INSTALLED = Path("/usr/lib/postgresql")
USER = "postgres"


def programs() -> Path | None:
    """The folder with `initdb` and `postgres`, of the newest version; None where there is none."""
    found = [each for each in _INSTALLED.glob("*/bin") if (each / "initdb").exists()]
    return max(found, key=lambda each: int(each.parent.name), default=None)


def as_postgres(words: list[str]) -> list[str]:
    """A command of PostgreSQL's, which does not run as root."""
    folder = programs()
    if folder is None:
        raise InputError("PostgreSQL is missing: apt-get install postgresql")
    words = [str(folder / words[0]), *words[1:]]
    if os.geteuid() != 0:
        return words
    return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups", *words]


def prepare_postgres(folder: Path, environment: Mapping[str, str], compose: Path) -> None:
    """Make the cluster in `folder/postgres` and what the compose file mounts for its beginning.

    Args:
        folder: of the stack.
        environment: of the service: POSTGRES_PASSWORD_FILE, POSTGRES_INITDB_ARGS, SECRETS.
        compose: the compose file, beside which the SQL lies.

    Raises:
        StudyError: what PostgreSQL says.
    """
    data = folder / "postgres"
    if (data / "PG_VERSION").exists():
        return
    data.mkdir(mode=0o700)
    password = folder / "postgres.password"
    shutil.copyfile(environment["POSTGRES_PASSWORD_FILE"], password)
    password.chmod(0o600)
    if os.geteuid() == 0:
        user = pwd.getpwnam(USER)
        for path in (data, password):
            os.chown(path, user.pw_uid, user.pw_gid)
    arguments = environment["POSTGRES_INITDB_ARGS"].split()
    # The image allows what the arguments do not name; sockets of ours lie in the data folder.
    words = ["initdb", "-D", str(data), "-U", USER, f"--pwfile={password}", *arguments]
    _run(as_postgres(words), environment)
    password.unlink()
    with (data / "postgresql.conf").open("a") as settings:
        settings.write(f"unix_socket_directories = '{data}'\n")
    control = ["pg_ctl", "-D", str(data), "-w", "-l", str(data / "first.log")]
    port = f"-c listen_addresses='' -p {environment['PGPORT']}"
    _run(as_postgres([*control, "-o", port, "start"]), environment)
    try:
        script = compose.parent / "docker" / "databases.sql"
        _run(["psql", "-h", str(data), "-U", USER, "-f", str(script)], environment)
    finally:
        _run(as_postgres([*control, "-m", "fast", "stop"]), environment)


def _run(words: list[str], environment: Mapping[str, str]) -> None:
    done = subprocess.run(
        words,
        cwd="/",
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    if done.returncode:
        raise StudyError(f"PostgreSQL: {words[0]} failed: {done.stdout[-2000:]}")
