"""All exceptions of karat.

KaratError
 +- InputError (ValueError)     the user's input is wrong: exit status 2
 |   +- SettingError            a setting has a value that its rule forbids
 |   |   +- UnknownKeyError     a section has no setting of this name
 |   +- CombinationError        settings are valid alone but not together
 |   +- DataError               a data set is missing or broken
 |   +- HostError               a model cannot be converted
 |   +- KernelError             a kernel does not support a task
 +- StudyError                  the study cannot continue: exit status 1
 |   +- StudyLockedError        another process is running this study
 |   +- JournalError            the journal cannot be read or written
 |       +- JournalWriteError   it cannot be written now: exit status 75
 +- PluginError                 a plug-in file does not define one class of its family
 +- CheckpointError             a checkpoint is missing or fails its verification
 |   +- ResumeError             a worker cannot read the checkpoint that the driver verified
 +- TrialError                  one trial failed; the study continues
     +- NonFiniteError          a loss or a metric is NaN or infinite
"""

import difflib
from collections.abc import Iterable


class KaratError(Exception):
    """Root of all exceptions that karat raises on purpose."""


class InputError(KaratError, ValueError):
    """The user's input is wrong. The message is one line: what, where, and what would be right."""


class SettingError(InputError):
    """One setting has a value that its rule forbids.

    Args:
        key: dotted name of the setting, as in the YAML file (`attention.grid_size`).
        rule: what would be right, as a phrase that follows the value ("must be at least 1").
        value: the value, if it should be shown.
    """

    def __init__(self, key: str, rule: str, value: object = ...) -> None:
        self.key, self.rule, self.value = key, rule, value
        shown = "" if value is ... else f" = {shorten(value)}"
        super().__init__(f"{key}{shown}: {rule}")


class CombinationError(InputError):
    """Settings are valid alone but not together, such as a rank above the number of tokens."""

    def __init__(self, keys: tuple[str, ...], rule: str) -> None:
        self.keys, self.rule = keys, rule
        super().__init__(rule)


class DataError(InputError):
    """A data set is missing, empty or broken."""


class HostError(InputError):
    """A model cannot be converted to an attention operator."""


class KernelError(InputError):
    """A kernel does not support a task."""


class AnalysisError(InputError):
    """A model, or what is known of its training, does not allow an analysis."""


class StudyError(KaratError):
    """The study cannot continue."""


class StudyLockedError(StudyError):
    """Another process is running this study."""


class JournalError(StudyError):
    """The journal cannot be read or written."""


class JournalWriteError(JournalError):
    """The journal takes no more events, as on a full disk; the same command continues the study."""


class PluginError(KaratError):
    """A plug-in file does not define exactly one class of its family."""


class CheckpointError(KaratError):
    """A checkpoint is missing or fails its verification."""


class ResumeError(CheckpointError):
    """A worker cannot read the checkpoint that the driver verified; another attempt may succeed."""


class TrialError(KaratError):
    """One trial failed; the study continues without it."""


class NonFiniteError(TrialError):
    """A loss or a metric is NaN or infinite.

    Args:
        name: name of the metric, or `train_loss`.
        value: its value.
        epoch: number of the epoch, from 1.
        step: number of the step in the epoch, from 1, for the loss of a training batch.
    """

    def __init__(self, name: str, value: object, epoch: int, step: int | None = None) -> None:
        self.details: dict[str, object] = {"name": name, "value": str(value), "epoch": epoch}
        where, what = f"epoch {epoch}", name
        if step is not None:
            self.details["step"] = step
            where, what = f"epoch {epoch}, step {step}", "training loss"
        super().__init__(f"{what} is {value} at {where}")


class UnknownKeyError(SettingError):
    """A section has no setting of this name.

    Args:
        key: dotted name of the setting.
        known: what is known instead, as `nearest` says it.
        is_near: whether that names a setting that may be meant.
    """

    def __init__(self, key: str, known: str, is_near: bool) -> None:
        self.is_near = is_near
        super().__init__(key, f"unknown key. {known}")


def shorten(value: object, limit: int = 60) -> str:
    """A value as its file has it (`true`, not `True`), truncated so that a message stays one line."""
    text = _as_in_a_file(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _as_in_a_file(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_as_in_a_file, value))}]"
    if isinstance(value, dict):
        pairs = (f"{key}: {_as_in_a_file(each)}" for key, each in value.items())
        return f"{{{', '.join(pairs)}}}"
    return repr(value)


# What people type for the names that settings and choices have.
_SHORT = {
    "lr": "learning_rate",
    "wd": "weight_decay",
    "bs": "batch_size",
    "num_epochs": "epochs",
    "n_trials": "trials",
    "num_trials": "trials",
    "n_seeds": "seeds",
    "min": "low",
    "lower": "low",
    "max": "high",
    "upper": "high",
    "choices": "values",
    "options": "values",
    "levels": "values",
    "if": "when",
    "scale": "log",
    "layers": "depth",
    "num_layers": "depth",
    "width": "embed_dim",
    "dim": "embed_dim",
    "hidden_size": "embed_dim",
    "heads": "num_heads",
    "path": "root",
    "dir": "root",
    "folder": "root",
    "bayes": "tpe",
    "bayesian": "tpe",
    "type": "scheduler",
    "claim": "tunings",
}
# The same word may stand for the end of a range, and for the most seeds of `confirm.top_up`.
_SECOND = {"max": "most", "maximum": "most", "max_seeds": "most", "increment": "step"}


def written_out(name: str) -> str:
    """The name of a setting for which people type another one: `learning_rate` for `lr`."""
    return _SHORT.get(name, name)


def meant(name: object, known: Iterable[object]) -> str | None:
    """The known name that is nearest to another one; None if none is near."""
    names = sorted(map(str, known))
    for typed in (written_out(str(name)), _SECOND.get(str(name))):
        if typed in names:
            return typed
    lower = {each.lower(): each for each in names}
    close = difflib.get_close_matches(str(name).lower(), lower, n=1, cutoff=0.5)
    return lower[close[0]] if close else None


def nearest(name: object, known: Iterable[object]) -> str:
    """A phrase for messages about an unknown name: the nearest known name, then all of them."""
    names = sorted(map(str, known))
    close = meant(name, names)
    hint = f"did you mean {close!r}? " if close else ""
    return f"{hint}Known: {', '.join(names) or 'none'}"
