"""What a launch does when Ray ends or hangs under it: note it, and start anew once, or end."""

import contextlib
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import psutil
from rich.console import Console

from karat.causes import Interrupt
from karat.report.formatting import interrupted_text, way_on
from karat.study.study import Study

RESTARTED = "KARAT_RESTARTED"
_RECORD_S, _END_S = 10.0, 5.0


def leave(
    study: Study,
    details: Mapping[str, Any],
    *,
    command: str,
    console: Console,
    scratch: Path,
    may_restart: bool,
    status: int,
) -> NoReturn:
    """End this process, or start the same command anew in it.

    Called in a thread: the main thread may hang in a call of Ray, and Ray's C++ would end the process
    a minute later with a status that says nothing.

    Args:
        study: as it runs; nothing else is recorded in it afterwards.
        details: of `karat.causes.Interrupt.RAY`.
        command: that resumes the study.
        console: the terminal.
        scratch: folder of Ray's files, if Ray runs on this machine.
        may_restart: whether Ray may be started anew, which is done once.
        status: exit status of a launch that was interrupted.
    """
    if study.lock.acquire(timeout=_RECORD_S):  # never released: the main thread records no more
        study.on_trouble_of_ray(details)
        study.journal.close()
    restarts = may_restart and RESTARTED not in os.environ
    # Not from the state: where the main thread holds the lock, nothing could be recorded.
    why = (Interrupt.RAY, details)
    way = way_on(*why)
    what = "Ray is started anew." if restarts else f"{way[0].upper()}{way[1:]}:\n    {command}"
    console.print(f"\n{interrupted_text(*why)}; nothing is lost. {what}", soft_wrap=True)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    end_children_of_ray()
    shutil.rmtree(scratch, ignore_errors=True)
    if restarts:
        os.environ[RESTARTED] = "1"
        words = [word for word in sys.orig_argv if word != "--fresh"]
        os.execv(sys.executable, [sys.executable, *words[1:]])
    os._exit(status)


def end_children_of_ray() -> None:
    """Kill what is left of the Ray that this process has started; the MLflow view goes on.

    Ray has given its processes a session each (`ray_internals.init`), whose leader is a child of this
    process. The view's has one too, but is no process of Ray.
    """
    ours: list[psutil.Process] = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if "karat" not in child.cmdline():
                ours += [child, *child.children(recursive=True)]
    for each in ours:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs(ours, timeout=_END_S)
