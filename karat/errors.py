"""Every exception of ours.

KaratError
 +- InputError (ValueError)     the user can mend it: exit status 2
 |   +- SettingError            one setting has a value that its rule forbids
 |   +- CombinationError        settings that are right alone and wrong together
 |   +- DataError               a data set that is missing or broken
 |   +- HostError               a model that cannot take an operator
 |   +- KernelError             a kernel that cannot do what it is asked for
 +- StudyError                  the study cannot go on: exit status 1
 |   +- StudyLockedError        another process is running this study
 |   +- JournalError            the journal cannot be read or written
 +- PluginError                 a file of plug-ins that does not hold one of its family
 +- CheckpointError             a checkpoint that is missing or does not verify
 |   +- ResumeError             a worker does not find what the driver found; another one may
 +- TrialError                  one trial ended badly; the study goes on
     +- NonFiniteError          loss or metric is NaN or infinite
"""

import difflib
from collections.abc import Iterable


class KaratError(Exception):
    """Root of all exceptions that karat raises on purpose."""


class InputError(KaratError, ValueError):
    """Something the user wrote is wrong; the message is one line: what, where, what would be right."""


class SettingError(InputError):
    """One setting has a value that its rule forbids.

    Args:
        key: dotted name of the setting, as in the YAML file (`attention.grid_size`).
        rule: what would be right, as a phrase that follows the value ("must be at least 1").
        value: the value got.
    """

    def __init__(self, key: str, rule: str, value: object = ...) -> None:
        self.key, self.rule, self.value = key, rule, value
        shown = "" if value is ... else f" = {shorten(value)}"
        super().__init__(f"{key}{shown}: {rule}")


class CombinationError(InputError):
    """Settings that are right alone and wrong together, such as a rank above the number of tokens."""

    def __init__(self, keys: tuple[str, ...], rule: str) -> None:
        self.keys, self.rule = keys, rule
        super().__init__(rule)


class DataError(InputError):
    """A data set that is missing, empty or broken."""


class HostError(InputError):
    """A model that cannot take an operator."""


class KernelError(InputError):
    """A kernel that cannot do what it is asked for."""


class StudyError(KaratError):
    """The study cannot go on."""


class StudyLockedError(StudyError):
    """Another process is running this study."""


class JournalError(StudyError):
    """The journal cannot be read or written."""


class PluginError(KaratError):
    """A file in a folder of plug-ins that does not hold one plug-in of its family."""


class CheckpointError(KaratError):
    """A checkpoint that is missing or does not verify."""


class ResumeError(CheckpointError):
    """A worker cannot go on from the checkpoint that the driver found good; another attempt may."""


class TrialError(KaratError):
    """One trial ended badly; the study goes on without it."""


class NonFiniteError(TrialError):
    """A loss or a metric is NaN or infinite.

    Args:
        name: of the metric, or `train_loss`.
        value: it.
        epoch: in which it came, from 1.
        step: of the epoch, from 1, where a batch's loss in training is meant.
    """

    def __init__(self, name: str, value: object, epoch: int, step: int | None = None) -> None:
        self.details: dict[str, object] = {"name": name, "value": str(value), "epoch": epoch}
        where, what = f"epoch {epoch}", name
        if step is not None:
            self.details["step"] = step
            where, what = f"epoch {epoch}, step {step}", "training loss"
        super().__init__(f"{what} is {value} at {where}")


def shorten(value: object, limit: int = 60) -> str:
    """`repr` of a value, cut so that a message stays one line."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def nearest(name: object, known: Iterable[object]) -> str:
    """A phrase that lists the known names, the nearest one first: for "unknown ..." messages."""
    names = sorted(map(str, known))
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}Known: {', '.join(names)}"
