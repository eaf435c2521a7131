"""Exit status of every command, and how errors become one line and a status.

0: complete. 1: failed. 2: wrong input. 75: interrupted, and the same command goes on.
"""

import os
import sys
from collections.abc import Callable

from karat.errors import InputError, KaratError, StudyLockedError
from karat.system.offline import go_offline

OK, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 75
# Of several short jobs that are one study: whoever runs it needs no help. Of a job that is tried
# again: the attempt before it has not quite ended.
_IF_LOCKED = {"leave": OK, "try-again": os.EX_UNAVAILABLE}


def guarded(command: Callable[[], int]) -> int:
    """Run a command; errors of ours and of the system become one line and an exit status."""
    os.umask(0o077)
    go_offline()
    try:
        return command()
    except InputError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return WRONG_INPUT
    except StudyLockedError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return _IF_LOCKED.get(os.environ.get("KARAT_IF_LOCKED", ""), FAILED)
    except KaratError as error:
        print(f"error: {printable(str(error), kept=chr(10))}", file=sys.stderr)
        return FAILED
    except OSError as error:  # a disk that is full or gone, a server that does not answer
        shown = " ".join(str(error).split()) or type(error).__name__
        print(f"error: {printable(shown)}", file=sys.stderr)
        return FAILED


def printable(text: str, kept: str = "") -> str:
    """Text that does nothing to a terminal: other characters as escapes, but for those `kept`."""
    return "".join(c if c.isprintable() or c in kept else ascii(c)[1:-1] for c in text)
