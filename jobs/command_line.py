"""The words of a launch elsewhere, and the promise that none of them is a secret."""

from collections.abc import Sequence
from pathlib import PurePath

from karat.errors import InputError
from karat.system.redact import secrets_in


def launch_words(
    program: Sequence[str], arguments: Sequence[str], space: PurePath, storage: PurePath
) -> list[str]:
    """`python PROGRAM ...` with the space file and the storage where they are over there."""
    own = without_option(without_option(arguments, "--space"), "--storage")
    return ["python", *program, "--space", str(space), "--storage", str(storage), *own]


def without_option(words: Sequence[str], option: str) -> list[str]:
    """The words but for an option and its value, in either spelling."""
    left, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word == option:
            skip = True
        elif not word.startswith(f"{option}="):
            left.append(word)
    return left


def refuse_secrets(text: str) -> str:
    """The text, if nothing in it is a secret.

    Raises:
        InputError: a password or token of this environment, or an address with one, is in it.
    """
    if found := secrets_in(text):
        raise InputError(
            f"what would be submitted holds a password or token of this environment "
            f"({', '.join(found)}), which others could read there: give it to the cluster's own "
            "environment instead (docs/cluster.md)"
        )
    return text
