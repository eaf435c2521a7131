"""What a command of `karat` consists of."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """One command.

    Args:
        add_arguments: adds its flags to a parser of its own.
        run: does it, and returns the exit status; errors of ours and of the system may leave it.
    """

    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
