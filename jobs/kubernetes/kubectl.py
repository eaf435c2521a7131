"""`kubectl`, with a time limit."""

import subprocess

from karat.errors import InputError

_ANSWER_S = 120.0


def kubectl(words: list[str], given: str = "") -> tuple[str, str]:
    """Why `kubectl` fails (empty if it does not), and what it prints.

    Raises:
        InputError: it does not answer in time.
    """
    try:
        done = subprocess.run(
            ["kubectl", *words],
            input=given,
            capture_output=True,
            text=True,
            timeout=_ANSWER_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(
            f"kubectl {' '.join(words[:2])}: no answer in {_ANSWER_S:g} s; look at the cluster that "
            "KUBECONFIG names, and at the connection to it"
        ) from error
    return (done.stderr.strip() or "failed") if done.returncode else "", done.stdout.strip()
