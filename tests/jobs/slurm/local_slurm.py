"""A real Slurm of two nodes on this host, for tests; everything of it in one folder.

It has a network of its own, a namespace without any way out: what listens there is heard by
nobody, and yet the nodes have addresses that are not loopback, as real ones have.
"""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.waiting import PATIENCE_S, wait_until

ADDRESS = "10.1.1.1"
NEEDED = ("slurmctld", "slurmd", "sbatch", "munged", "unshare", "nsenter", "ip")
CONFIG = """\
ClusterName={name}
SlurmctldHost={host}({address})
SlurmctldPort=26817
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock,cred_expire=20
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=1
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0
SlurmctldTimeout=30
SlurmdTimeout=30
KillWait=30
NodeName=n1 NodeHostname={host} NodeAddr={address} Port=26818 CPUs=2 CoresPerSocket=2 RealMemory=4000
NodeName=n2 NodeHostname={host} NodeAddr={address} Port=26819 CPUs=2 CoresPerSocket=2 RealMemory=4000
PartitionName=short Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str | None:
    """Why there can be no Slurm here; None if there can."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    if os.getuid() != 0:
        return "slurmd wants root"
    done = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    return None if done.returncode == 0 else "no network namespace may be made here"


class Site:
    """The running site: `run` is a command in its network, with its configuration."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self._holder = 0
        self._nodes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start everything and wait until both nodes are idle."""
        for name in ("state", "spool-n1", "spool-n2", self.only_on_n1.name):
            (self.folder / name).mkdir()
        self.folder.chmod(0o755)
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o600)
        (self.folder / "slurm.conf").write_text(
            CONFIG.format(
                name=f"karat{secrets.token_hex(4)}",  # jobs of two sites have the same numbers
                folder=self.folder,
                host=socket.gethostname(),
                address=ADDRESS,
            )
        )
        self._holder = self.popen("unshare", "--net", "sleep", "infinity").pid
        wait_until(self._has_its_own_network, "a network of its own")
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "address", "add", f"{ADDRESS}/32", "dev", "lo")
        files = [f"--{name}-file={self.folder / name}" for name in ("pid", "log", "seed")]
        socket_ = f"--socket={self.folder / 'munge.sock'}"
        self.daemon("munged", "--foreground", f"--key-file={key}", socket_, *files)
        wait_until((self.folder / "munge.sock").exists, "the socket of munge")
        self.daemon("slurmctld", "-D")
        for node in ("n1", "n2"):
            self.start_node(node)
        wait_until(self._both_are_idle, "two idle nodes", poll_s=0.5)

    def _has_its_own_network(self) -> bool:
        return os.readlink(f"/proc/{self._holder}/ns/net") != os.readlink("/proc/self/ns/net")

    def _both_are_idle(self) -> bool:
        return self.run("sinfo", "-hN", "-o", "%N %t").split() == ["n1", "idle", "n2", "idle"]

    @property
    def only_on_n1(self) -> Path:
        """A folder in place of which n2 has another one."""
        return self.folder / "only-on-n1"

    def start_node(self, name: str) -> None:
        words = ["slurmd", "-D", "-N", name]
        if name == "n2":
            hide = f"mount -t tmpfs none {self.only_on_n1} && exec {' '.join(words)}"
            words = ["unshare", "--mount", "sh", "-c", hide]
        self.daemon(*words)
        self._nodes[name] = self.processes[-1]

    def node(self, name: str) -> "subprocess.Popen[bytes]":
        """The slurmd that was last started for a node."""
        return self._nodes[name]

    def popen(self, *words: str) -> "subprocess.Popen[bytes]":
        log = (self.folder / "out.log").open("ab")
        process = subprocess.Popen(words, stdout=log, stderr=log, env=self.environment)
        self.processes.append(process)
        return process

    def daemon(self, *words: str) -> None:
        self.popen(*self.inside(*words))

    def inside(self, *words: str) -> tuple[str, ...]:
        return ("nsenter", f"--net=/proc/{self._holder}/ns/net", *words)

    @property
    def environment(self) -> dict[str, str]:
        known = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
        return {**known, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def run(self, *words: str, check: bool = True) -> str:
        """What a command prints."""
        done = subprocess.run(
            self.inside(*words),
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0 or not check, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def launch(self, *words: str, check: bool = True) -> str:
        """What `launch.py` prints."""
        return self.run(sys.executable, "launch.py", *words, check=check)

    def state(self, job: str) -> str:
        """The state of a job (`PENDING`, `RUNNING`, ...) ; empty where Slurm has forgotten it."""
        said = self.run("scontrol", "--oneliner", "show", "job", job, check=False)
        states = [word for word in said.split() if word.startswith("JobState=")]
        return states[0].partition("=")[2] if states else ""

    def minutes_of(self, job: str) -> int:
        """Whole minutes for which a job has run."""
        *longer, minutes, _ = self.run("squeue", "-h", "-j", job, "-o", "%M").strip().split(":")
        assert not longer
        return int(minutes)

    def set_time_limit(self, job: str, minutes: int) -> None:
        """Change the time limit of a job, from its start."""
        self.run("scontrol", "update", f"jobid={job}", f"timelimit={minutes}")

    def logs(self) -> str:
        return "\n".join(
            path.read_text(errors="replace")[-1200:] for path in sorted(self.folder.glob("*.log"))
        )

    def end(self) -> None:
        """Cancel what runs, wait for it, and end the daemons, the last first."""
        self.run("scancel", "--user=root", check=False)
        deadline = time.monotonic() + PATIENCE_S
        while self.run("squeue", "-h", check=False).strip() and time.monotonic() < deadline:
            time.sleep(0.5)
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()


@contextlib.contextmanager
def slurm_site(folder: Path) -> Iterator[Site]:
    """A site for as long as the block runs."""
    site = Site(folder)
    try:
        site.start()
        yield site
    finally:
        site.end()
