"""Runs a command a few times: exit status, stderr, best time (s), most memory (MB), as JSON.

Time is what the processors spent: on a machine of one's own that is the time that one waits, and on
a busy one it is still the command's. A process of its own, since a child's peak memory begins with that of the process it comes from.
"""

import json
import os
import subprocess
import sys


def measure(words: list[str], attempts: int, enough_s: float) -> dict[str, object]:
    seconds, memory_mb = float("inf"), 0.0
    for _ in range(attempts):
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        error = process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = min(seconds, used.ru_utime + used.ru_stime)
        memory_mb = max(memory_mb, used.ru_maxrss / 1024)
        if seconds < enough_s:
            break
    return {
        "status": process.returncode,
        "error": error,
        "seconds": seconds,
        "memory_mb": memory_mb,
    }


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[3:], int(sys.argv[1]), float(sys.argv[2]))))
