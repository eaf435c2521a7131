"""Studies on a real Ray cluster with PostgreSQL and MLflow beside it, all on this machine."""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from jobs.ray.backend import RayCluster
from jobs.ray.settings import RaySettings
from karat.errors import InputError
from karat.journal.layout import JOURNAL
from karat.journal.wording import study_text
from karat.study.audit import audit
from tests.conftest import ROOT
from tests.jobs.compose.local_stack import LocalStack
from tests.jobs.compose.stack import (
    hand_over,
    job_logs,
    missing,
    reports,
    running_stack,
    state_of,
    submission_of,
    wait_for_job,
)
from tests.waiting import wait_until

WriteSpace = Callable[..., Path]
SLOWER = (
    ("epochs: 4", "epochs: 8"),
    *(("depth: 1", "depth: 3"), ("trials: 6", "trials: 3"), ("[1, 2]", "[2]")),
)
# Before each epoch, so that a study lasts however fast the machine is, and takes no processor time.
SLOWLY = {"KARAT_FAULT": "step.before=wait:0.3"}
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.xdist_group("stack"),
    pytest.mark.timeout(1800),
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with running_stack(SLOWLY) as stack:
        yield stack


def test_everything_listens_on_this_machine_alone_and_ray_refuses_strangers(
    stack: LocalStack,
) -> None:
    assert all(stack.healthy(name) for name in ("postgres", "mlflow", "ray-head", "ray-worker-2"))
    listening = [
        (process.name(), each.laddr.ip)
        for process in stack.members()
        for each in process.net_connections("inet")
        if each.status == psutil.CONN_LISTEN
    ]
    assert len(listening) > 10
    assert {ip.removeprefix("::ffff:") for _, ip in listening} == {"127.0.0.1"}, listening
    words = " ".join(word for process in stack.members() for word in process.cmdline())
    for secret in stack.secrets.iterdir():
        assert secret.read_text() not in words, secret.name


def test_databases_are_apart(stack: LocalStack) -> None:
    import psycopg2

    def connect(role: str, database: str) -> None:
        psycopg2.connect(
            host="127.0.0.1",
            port=stack.settings["POSTGRES_PORT"],
            user=role,
            password=stack.secret(f"{role}_db_password"),
            dbname=database,
        ).close()

    for role in ("mlflow", "mlflow_users", "optuna"):
        connect(role, role)
        for other in {"mlflow", "mlflow_users", "optuna", "postgres"} - {role}:
            with pytest.raises(psycopg2.OperationalError, match="permission denied"):
                connect(role, other)


def typed(command: str) -> str:
    """What a command prints, typed as it is shown; `python` and `ray` are this environment's."""
    python = shlex.quote(sys.executable)
    words = re.sub(r"^python ", f"{python} ", command)
    words = words.replace(" ray job ", f" {python} -m ray.scripts.scripts job ")
    done = subprocess.run(words, shell=True, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def at_the_stack(stack: LocalStack) -> tuple[str, str]:
    """An exchange that puts the cluster into the small space."""
    site = f"{{ray: {{address: '{stack.ray}', storage: {stack.studies}}}}}"
    return ("study: small\n", f"study: small\ncluster: {site}\n")


def submitted(stack: LocalStack, space: Path, name: str) -> str:
    """The job of a study that is submitted as the documentation has it."""
    said = typed(f"python launch.py --submit ray --space {space} --name {name}")
    found = re.search(rf"submitted: {name} is job (karat-{name}-\w+)", said)
    assert found, said
    return found[1]


def test_two_studies_on_one_cluster_survive_a_lost_worker_and_a_stop_and_do_not_touch_each_other(
    stack: LocalStack, write_space: WriteSpace
) -> None:
    # The second has room when the first has ended, and one worker until it is stopped: the command
    # that stops it takes ten seconds on a busy machine, and the study must last longer than that.
    longer = write_space(*SLOWER[1:], ("epochs: 4", "epochs: 24"))
    longer = longer.rename(longer.with_name("longer.yaml"))
    job = submitted(stack, write_space(at_the_stack(stack), *SLOWER), "lost")
    stopped = hand_over(stack, longer, "stopped")

    wait_until(lambda: reports(state_of(stack, "lost")) >= 4, "four reports", poll_s=0.3)
    stack.kill("ray-worker-2")
    try:
        assert wait_for_job(stack, job) == "SUCCEEDED", job_logs(stack, job)
        wait_until(lambda: reports(state_of(stack, "stopped")) >= 4, "four reports", poll_s=0.3)
        typed(stopped.stop)
    finally:
        stack.restart("ray-worker-2")
    state = state_of(stack, "lost")
    assert any(trial.segments > 1 for trial in state.trials.values())

    assert wait_for_job(stack, stopped.id) == "STOPPED"
    assert stopped.id in typed(stopped.watch.replace(" --follow", ""))
    state = state_of(stack, "stopped")
    assert (state.status, study_text(state)) == ("interrupted", "SIGTERM")
    again = hand_over(stack, longer, "stopped")
    assert wait_for_job(stack, again.id) == "SUCCEEDED", job_logs(stack, again.id)

    for name in ("lost", "stopped"):
        state = state_of(stack, name)
        assert state.status == "completed"
        assert not any(trial.status == "failed" for trial in state.trials.values())
        assert audit(stack.studies / name) == []


def test_doctor_finds_the_cluster_sound(stack: LocalStack, write_space: WriteSpace) -> None:
    space = write_space(at_the_stack(stack))
    said = typed(f"python -m karat doctor --submit ray --space {space} --storage {stack.studies}")
    lines = {line.split()[1]: line for line in said.splitlines()}  # the head's come last
    assert all(line.startswith("ok") for line in lines.values()), said
    assert "3 nodes; a trial fits" in lines["nodes"]
    assert "on the head: http://127.0.0.1:" in lines["mlflow"]


@pytest.mark.parametrize(
    ("exchange", "storage", "expected"),
    [
        ((), "/nowhere/studies", "/nowhere/studies: No such file or directory"),
        (
            (("early_stopping", "resources: {gpus: 2}\nearly_stopping"),),
            None,
            "a trial has 2 processes, each of which needs a node with 1 CPUs and 1 GPUs",
        ),
    ],
)
def test_what_the_cluster_has_not_is_refused_before_the_study_begins(
    stack: LocalStack,
    write_space: WriteSpace,
    exchange: tuple[tuple[str, str], ...],
    storage: str | None,
    expected: str,
) -> None:
    ray = RaySettings(address=stack.ray, storage=storage or str(stack.studies))
    with pytest.raises(InputError, match=expected):
        RayCluster().submit(submission_of(write_space(*exchange), ray, name="refused"))
    assert not (stack.studies / "refused" / JOURNAL).exists()


def test_wrong_token_is_refused_and_not_shown(
    stack: LocalStack, write_space: WriteSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = "0123456789abcdef" * 4
    monkeypatch.setenv("RAY_AUTH_TOKEN", wrong)
    ray = RaySettings(address=stack.ray, storage=str(stack.studies))
    with pytest.raises(InputError, match="refuses the token in RAY_AUTH_TOKEN") as caught:
        RayCluster().submit(submission_of(write_space(), ray))
    assert wrong not in str(caught.value)
