"""Output that cannot be written ends nothing, and text of users is no markup."""

import io
import os
import subprocess
import sys

import pytest

from karat.terminal import Output, make_console
from tests.conftest import ROOT
from tests.marks import further

PROGRAM = """\
import sys
from karat.terminal import lost_output, make_console, protect_output
protect_output()
for _ in range(20_000):
    make_console().print("a line of text, written again and again")
sys.stdout.flush()
open(sys.argv[1], "w").write(repr(lost_output()))
"""


def run(tmp_path: object, redirection: str) -> tuple[int, str, str]:
    """Run the program in a shell; returns its status, what it says about its output, and stderr."""
    path = f"{tmp_path}/said"
    command = (
        f"{sys.executable} -c '{PROGRAM}' {path} {redirection}; echo status ${{PIPESTATUS[0]}} >&2"
    )
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True
    )
    text, _, status = done.stderr.rpartition("status ")
    with open(path) as file:
        return int(status), file.read(), text


@pytest.mark.parametrize(
    ("redirection", "why"),
    further(
        [
            ("| head -1", "{'stdout': 'Broken pipe'}"),
            (">&-", "{'stdout': 'closed from the start'}"),
            (">/dev/full", "{'stdout': 'No space left on device'}"),
            (">/dev/null", "{}"),
        ]
    ),
)
def test_program_goes_on_without_its_output(tmp_path: object, redirection: str, why: str) -> None:
    assert run(tmp_path, redirection) == (0, why, "")


def test_closed_stream_does_not_give_its_number_to_a_file(tmp_path: object) -> None:
    program = (
        "from karat.terminal import protect_output; protect_output(); "
        f"import os; assert os.open('{tmp_path}/journal', os.O_WRONLY | os.O_CREAT) > 2"
    )
    command = f'{sys.executable} -c "{program}" >&- 2>&- <&-'
    assert subprocess.run(["bash", "-c", command], cwd=ROOT, check=False).returncode == 0


def test_characters_that_the_terminal_lacks_are_escaped() -> None:
    program = "from karat.terminal import protect_output; protect_output(); print('a \\u00b7 b')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"a \\xb7 b\n"


def test_brackets_of_a_user_are_printed_as_they_are() -> None:
    file = io.StringIO()
    make_console(file=file, width=80).print("is [/root] [red]better[/red] :smile:?")
    assert file.getvalue() == "is [/root] [red]better[/red] :smile:?\n"


def test_stream_writes_again_when_its_disk_has_room() -> None:
    class Full(io.StringIO):
        is_full = True

        def write(self, text: str) -> int:
            if self.is_full:
                raise OSError(28, "No space left on device")
            return super().write(text)

    stream = Full()
    output = Output(stream, "stdout")
    output.write("lost")
    stream.is_full = False
    output.write("kept")
    assert (stream.getvalue(), output.lost) == ("kept", "No space left on device")
