"""Runs a command and prints exit status, stdout, stderr and peak memory (MB) as JSON.

A separate small process, since the peak memory of a child includes that of its parent at the fork.
"""

import json
import os
import subprocess
import sys
import tempfile


def measure(command: list[str]) -> dict[str, object]:
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as error:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=error)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said = {}
        for name, file in (("output", output), ("error", error)):
            file.seek(0)
            said[name] = file.read()
    return {"status": process.returncode, **said, "memory_mb": used.ru_maxrss / 1024}


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1:])))
