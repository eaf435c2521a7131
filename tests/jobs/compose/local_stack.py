"""The services of docker-compose.yml as plain processes, where there is no Docker engine.

    python -m tests.jobs.compose.local_stack [--folder F] [--workers N]

Commands, environment, health checks and order are read from the file. What is put in their place:
ports that are free, 127.0.0.1 for the services' names, folders below F for volumes and secrets,
and Debian's PostgreSQL with what its image's entry point does. Why so: docs/decisions/0015.
"""

import argparse
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from subprocess import TimeoutExpired
from types import MappingProxyType

import psutil

from jobs.compose.secrets import COMPOSE, make_secrets
from karat.errors import StudyError
from tests.jobs.compose.compose_file import Service, read_services
from tests.jobs.compose.local_postgres import as_postgres, prepare_postgres
from tests.waiting import PATIENCE_S

LOOPBACK = "127.0.0.1"
REPOSITORY = COMPOSE.parent
PORTS = (
    *("POSTGRES_PORT", "MLFLOW_PORT", "RAY_PORT"),
    *("RAY_CLIENT_PORT", "RAY_DASHBOARD_PORT", "RAY_AGENT_PORT"),
)
MOST_RESTARTS = 3
_MARK = "KARAT_STACK"


def free_port() -> int:
    """A port of 127.0.0.1 that is free now, and that Ray does not keep for its workers."""
    while True:
        with socket.socket() as probe:
            probe.bind((LOOPBACK, 0))
            port = int(probe.getsockname()[1])
        if not 10000 <= port < 20000:
            return port


class LocalStack:
    """All services, from `start` to `stop`. Use as a context manager.

    Args:
        folder: of everything that is written; made if need be, and kept.
        workers: how many Ray workers.
        cpus: CPU cores of each, for Ray.
        also: variables of every service beside those of the file.
    """

    def __init__(
        self,
        folder: Path,
        *,
        workers: int = 2,
        cpus: int = 1,
        also: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.folder, self.workers, self.also = folder.resolve(), workers, also
        self.studies, self.secrets = self.folder / "studies", self.folder / "secrets"
        self.settings = {name: str(free_port()) for name in PORTS}
        self.settings |= {"WORKER_CPUS": str(cpus), "MLFLOW_WORKERS": "1"}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._mark = uuid.uuid4().hex  # in the environment of every process, to find them again
        self._scratch = Path(tempfile.mkdtemp(prefix="ks"))  # short: Ray's sockets lie in it
        self._services: dict[str, Service] = {}
        self._restarts: Counter[str] = Counter()

    def __enter__(self) -> "LocalStack":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def mlflow(self) -> str:
        """MLflow's address."""
        return f"http://{LOOPBACK}:{self.settings['MLFLOW_PORT']}"

    @property
    def ray(self) -> str:
        """The address of Ray's Jobs API."""
        return f"http://{LOOPBACK}:{self.settings['RAY_DASHBOARD_PORT']}"

    def secret(self, name: str) -> str:
        """A secret of the compose file."""
        return (self.secrets / name).read_text()

    def start(self) -> None:
        """Start every service when those before it are healthy.

        Raises:
            StudyError: one ended, or did not become healthy; with the end of its log.
        """
        for folder in (self.folder, self.studies, self.folder / "artifacts", self.folder / "logs"):
            folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o711)  # PostgreSQL's own user must come through
        make_secrets(self.secrets)
        for service in read_services(COMPOSE, self.settings).values():
            if service.profiles:
                continue
            self._wait_for(service.after)
            for name, each in self._copies(service):
                self._services[name] = each
                if service.name == "postgres":
                    prepare_postgres(self.folder, self.environment(name), COMPOSE)
                self._spawn(name)
        self._wait_for({name: "service_healthy" for name, s in self._services.items() if s.health})

    def _copies(self, service: Service) -> Iterator[tuple[str, Service]]:
        """The service, or as many of it as `--scale` would make: with a port each, on one host."""
        if service.name != "ray-worker":
            yield service.name, service
            return
        for number in range(1, self.workers + 1):
            settings = {**self.settings, "RAY_AGENT_PORT": str(free_port())}
            copy = read_services(COMPOSE, settings)[service.name]
            yield f"{service.name}-{number}", replace(copy, name=f"{service.name}-{number}")

    def _here(self, text: str, service: str) -> str:
        """A word of the compose file with addresses and folders of this machine."""
        own = self._scratch / service
        host = LOOPBACK
        if service.startswith("ray-worker"):
            host = "LOCALHOST"  # Ray takes the machine's own address for localhost and 127.0.0.1
        text = re.sub(r"(?<![\w/.-])(postgres|mlflow|ray-head)(?=:\d)", host, text)
        text = re.sub(r"(?<=//)(postgres|mlflow|ray-head)(?=:\d)", LOOPBACK, text)
        text = text.replace("0.0.0.0", LOOPBACK)
        for inside, outside in (
            ("/run/secrets", self.secrets),
            ("/run/karat", own),
            ("/studies", self.studies),
            ("/artifacts", self.folder / "artifacts"),
            ("/karat/", f"{REPOSITORY}/"),
        ):
            text = re.sub(rf"(?<![\w./-]){inside}", str(outside), text)
        return text

    def environment(self, name: str) -> dict[str, str]:
        """What a service gets: what the file says, and nothing of MLflow's and Ray's from outside."""
        outer = {k: v for k, v in os.environ.items() if not re.match("MLFLOW|RAY_|PG|KARAT", k)}
        service = self._services[name]
        told = {key: self._here(value, name) for key, value in service.environment.items()}
        told |= {key: LOOPBACK for key, value in service.environment.items() if value == "postgres"}
        path = f"{Path(sys.executable).parent}{os.pathsep}{outer.get('PATH', os.defpath)}"
        # Ray's switch for sockets on 127.0.0.1 alone (decision 0010); `ray start` refuses a worker
        # with it, which needs none, since it takes its address from the head's.
        closed = "1" if name.startswith("ray-worker") else "0"
        return {
            **outer,
            "PATH": path,
            "PYTHONPATH": str(REPOSITORY),
            "TMPDIR": str(self._scratch),
            _MARK: self._mark,
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": closed,
            **told,
            **self.also,
        }

    def _words(self, name: str, words: tuple[str, ...]) -> list[str]:
        here = [self._here(word, name) for word in words]
        here = [sys.executable if word == "python" else word for word in here]
        if "ray" in here:  # the script of this very environment
            at = here.index("ray")
            here[at : at + 1] = [sys.executable, "-m", "ray.scripts.scripts"]
        if "mlflow" in here and "server" in here:
            at = here.index("mlflow")
            here[at : at + 1] = [sys.executable, "-m", "mlflow"]
        return here

    def _spawn(self, name: str) -> None:
        (self._scratch / name).mkdir(mode=0o700, exist_ok=True)
        words = self._words(name, self._services[name].words)
        if name == "postgres":
            words = as_postgres([*words, "-D", str(self.folder / "postgres")])
        with self.log(name).open("ab") as log:
            self.processes[name] = subprocess.Popen(
                words,
                cwd="/" if name == "postgres" else REPOSITORY,
                env=self.environment(name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def log(self, name: str) -> Path:
        """What a service has written."""
        return self.folder / "logs" / f"{name}.log"

    def healthy(self, name: str) -> bool:
        """Whether a service's own health check passes now."""
        with self.log(f"{name}.health").open("wb") as log, contextlib.suppress(TimeoutExpired):
            done = subprocess.run(
                self._words(name, self._services[name].health),
                cwd=REPOSITORY,
                env=self.environment(name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                timeout=PATIENCE_S,
                check=False,
            )
            return done.returncode == 0
        return False

    def _wait_for(self, conditions: Mapping[str, str]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        for name, condition in conditions.items():
            while not self._is(name, condition):
                if time.monotonic() > deadline:
                    raise StudyError(
                        f"{name}: not healthy in {PATIENCE_S:.0f} s. {self._end(name)}"
                    )
                time.sleep(1)  # each look starts a process of the health check

    def _is(self, name: str, condition: str) -> bool:
        status = self.processes[name].poll()
        if condition == "service_completed_successfully":
            if status:
                raise StudyError(f"{name}: ended with status {status}. {self._end(name)}")
            return status == 0
        if status is not None:
            # As the engine would, but not for ever. Ray gives a node up that is not in its cluster after
            # 30 seconds, as happens on a busy machine.
            self._restarts[name] += 1
            if not self._services[name].restarts or self._restarts[name] > MOST_RESTARTS:
                raise StudyError(f"{name}: ended with status {status}. {self._end(name)}")
            self._spawn(name)
            return False
        return self.healthy(name)

    def _end(self, name: str) -> str:
        logs = [path for path in (self.log(name), self.log(f"{name}.health")) if path.exists()]
        return "\n".join(f"{path}:\n{path.read_text(errors='replace')[-2000:]}" for path in logs)

    def restart(self, name: str) -> None:
        """Start a service again that has ended, and wait until it is healthy."""
        self._spawn(name)
        self._wait_for({name: "service_healthy"})

    def kill(self, name: str) -> None:
        """End a service with all its processes at once, as a lost machine would."""
        process = self.processes[name]
        members = [
            psutil.Process(process.pid),
            *psutil.Process(process.pid).children(recursive=True),
        ]
        for each in members:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        process.wait()

    def stop(self) -> None:
        """End the services, the last first, each with its time; then whatever is left of them."""
        for name, process in reversed(self.processes.items()):
            if process.poll() is None:
                process.send_signal(signal.SIGINT if name == "postgres" else signal.SIGTERM)
                with contextlib.suppress(TimeoutExpired):
                    process.wait(min(self._services[name].grace_s, 30))
        for left in self.members():
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()
        for process in self.processes.values():
            process.wait()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def members(self) -> list[psutil.Process]:
        """Processes that carry this stack's mark, and nobody else's."""
        found = []
        for each in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if each.environ().get(_MARK) == self._mark:
                    found.append(each)
        return found


def main() -> None:
    """Start the stack, say where it is, and end it on Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.jobs.compose.local_stack", description=__doc__
    )
    parser.add_argument("--folder", type=Path, help="kept; a new one in /tmp otherwise")
    parser.add_argument("--workers", type=int, default=2, help="Ray workers (2)")
    parser.add_argument("--cpus", type=int, default=1, help="CPU cores of each, for Ray (1)")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="karat-stack-"))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with (
        contextlib.suppress(KeyboardInterrupt),
        LocalStack(folder, workers=options.workers, cpus=options.cpus) as stack,
    ):
        print(f"MLflow  {stack.mlflow} (user karat, password in {stack.secrets})")
        print(f"Ray     {stack.ray} (RAY_AUTH_TOKEN_PATH={stack.secrets / 'ray_token'})")
        print(
            f"studies {stack.studies}\nlogs    {stack.folder / 'logs'}\nCtrl-C ends it", flush=True
        )
        signal.pause()


if __name__ == "__main__":
    main()
