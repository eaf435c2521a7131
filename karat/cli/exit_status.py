"""Exit status of every command; turns an error into one line on stderr and a status.

0: complete. 1: failed. 2: wrong input. 75: interrupted; the same command resumes.
"""

import os
import sys
from collections.abc import Callable

from karat.cli.tracking_place import resolve_tracking_uri
from karat.errors import InputError, JournalWriteError, KaratError, StudyLockedError
from karat.system.offline import go_offline
from karat.terminal import protect_output

OK, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 75
# Status if another process holds the study, by KARAT_IF_LOCKED. `leave`: several short jobs share
# one study, so a job that finds it running has nothing to do. `try-again`: the driver of the job's
# previous attempt has not exited yet, so the cluster should retry the job.
_IF_LOCKED = {"leave": OK, "try-again": os.EX_UNAVAILABLE}


def guarded(command: Callable[[], int]) -> int:
    """Run a command; turn `KaratError`, `OSError` and Ctrl-C into one line on stderr and an exit status."""
    os.umask(0o077)
    protect_output()
    go_offline()
    resolve_tracking_uri()
    try:
        return command()
    except InputError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return WRONG_INPUT
    except StudyLockedError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return _IF_LOCKED.get(os.environ.get("KARAT_IF_LOCKED", ""), FAILED)
    except JournalWriteError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return INTERRUPTED
    except KaratError as error:
        print(f"error: {printable(str(error), kept=chr(10))}", file=sys.stderr)
        return FAILED
    except OSError as error:  # the disk is full or unmounted, or a server does not answer
        print(f"error: {printable(_said(error))}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:  # where a command has no other answer to it
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def _said(error: OSError) -> str:
    """The file and what is wrong with it, without Python's number of the error."""
    if not error.strerror:
        return " ".join(str(error).split()) or type(error).__name__
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    return ": ".join([*names, error.strerror])


def printable(text: str, kept: str = "") -> str:
    """Escape characters that could control the terminal, except those in `kept`."""
    return "".join(c if c.isprintable() or c in kept else ascii(c)[1:-1] for c in text)
