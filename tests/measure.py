"""Runs a command: exit status, output, stderr and most memory (MB), as JSON.

A process of its own, since a child's peak memory begins with that of the process it comes from.
"""

import json
import os
import subprocess
import sys
import tempfile


def measure(words: list[str]) -> dict[str, object]:
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as error:
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=output, stderr=error)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said = {}
        for name, file in (("output", output), ("error", error)):
            file.seek(0)
            said[name] = file.read()
    return {"status": process.returncode, **said, "memory_mb": used.ru_maxrss / 1024}


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1:])))
