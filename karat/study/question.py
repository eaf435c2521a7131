"""What a journal states about its question, against the search space that it holds.

`study_created`, and each `study_extended`, state what follows from a space: the rule of the verdicts, the
reference arms, the arms with their costs, the numbers of trials, a hash. Reports read these statements, so they
are made again here, by the function that made them, and compared field by field.
"""

import importlib.metadata
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from karat.datasets import DataInfo
from karat.errors import DataError, InputError
from karat.journal.journal import Event
from karat.journal.state import StudyState
from karat.planning.extension import changes_between, longer
from karat.prior import WarmStart
from karat.space.arms import trial_config
from karat.space.reader import space_of
from karat.space.space import Space
from karat.study.statements import differences, of_value

_COUNT_WITH = ("torch", "timm")  # parameters and operations of models other than plain ViTs
_WRONG = (KeyError, TypeError, ValueError, AttributeError, LookupError)  # of data of another shape


@dataclass(kw_only=True)
class Stated:
    """What the comparison says.

    Args:
        findings: one line for each statement that does not follow from its space.
        notes: what could not be compared, and why.
    """

    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def compare_question(events: Sequence[Event], folder: Path) -> Stated:
    """Compare all that a journal states about its question with the space that it holds.

    Args:
        events: of the journal.
        folder: of the study, for messages.
    """
    done, before = Stated(), _Before(state=StudyState())
    for place, event in enumerate(events):
        if event.kind not in ("study_created", "study_extended"):
            before.state.apply(event)
            continue
        where = f"event {event.seq} ({event.kind})"
        if event.kind == "study_created" and before.state.created:
            done.findings.append(f"{where}: the study was created before")
            break  # this is another study
        try:
            for line in _of_event(event, before, done.notes, _versions(events[place:]), folder):
                done.findings.append(f"{where}: {line}")
        except _WRONG as error:
            done.findings.append(f"{where}: has wrong data ({error!r})")
        before.state.apply(event)
    return done


@dataclass(kw_only=True)
class _Before:
    """What came before an event: the state, the space, and the schedule of its search."""

    state: StudyState
    space: Space | None = None
    schedule: Sequence[tuple[str, int]] = ()


def _of_event(
    event: Event,
    before: _Before,
    notes: list[str],
    versions: Mapping[str, str],
    folder: Path,
) -> Iterator[str]:
    """What differs, as phrases; moves `before` on to the space of the event, and adds to `notes`.

    Args:
        event: `study_created` or `study_extended`.
        before: what came before it.
        notes: what could not be compared.
        versions: of the packages with which models other than plain ViTs were counted.
        folder: of the study.
    """
    state, stated = before.state, event.data
    if event.kind == "study_extended":
        stated = {**state.original, **event.data["description"]}
    name = state.original.get("name", stated["name"])
    try:
        space = space_of(stated["space"], name, str(folder), stated["early_stopping"])
    except InputError as error:
        yield (
            "this version of karat does not accept the space in it, so what it states cannot be compared: "
            f"{' '.join(str(error).split())}"
        )
        return
    aside: list[int] = []
    if before.space is not None and event.kind == "study_extended":
        is_longer = longer(before.space, space)
        aside = [t.number for t in state.trials.values() if is_longer and not t.set_aside]
        yield from _of_extension(event.data, before.space, space, aside)
    total = _go_on(before, space, aside)
    expected, uncounted = _expected(space, stated, total, versions)
    if uncounted:
        notes.append(
            f"event {event.seq} ({event.kind}): parameters and operations not compared, since their data is not "
            f"here or they were counted with other versions of torch or timm: {', '.join(uncounted)}"
        )
    yield from differences(stated, expected, uncounted)
    yield from _of_warm_start(space, stated)


def _of_warm_start(space: Space, stated: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the results that the search began with."""
    found = WarmStart.of(stated)
    if (found is None) != (space.search.warm_start is None):
        has = "no results" if found is None else "results"
        named = space.search.warm_start or "none"
        yield f"has {has} of an older study, but its space names {named} (search.warm_start)"
    for each in found.trials if found else ():
        arm = space.arms.get(each.arm)
        if arm is None or set(arm.tuned) != each.tuned.keys():
            yield f"trial {each.trial} of the older study is of no arm of its space: {each.arm}"


def _of_extension(
    data: Mapping[str, Any], before: Space, after: Space, aside: Sequence[int]
) -> Iterator[str]:
    """What an extension states beside the description of the study after it."""
    changes = changes_between(before, after)
    if refused := [str(change) for change in changes if not change.is_allowed]:
        yield f"changes what no extension may change: {'; '.join(refused)}"
    yield from of_value("changes", data["changes"], list(map(str, changes)))
    yield from of_value("trials set aside", data["set_aside"], list(aside))


def _go_on(before: _Before, space: Space, aside: Sequence[int]) -> int:
    """Move on to a space; returns the number of search trials that count in it."""
    from karat.planning.plans.schedule import schedule_of

    searched = [trial for trial in before.state.trials.values() if trial.phase == "search"]
    void = sum(trial.set_aside or trial.number in aside for trial in searched)
    before.schedule = schedule_of(space, before.schedule[: len(searched)], void)
    before.space = space
    return len(before.schedule) - void


def _expected(
    space: Space, stated: Mapping[str, Any], total: int, versions: Mapping[str, str]
) -> tuple[dict[str, Any], list[str]]:
    """The description that follows from a space, and the arms whose model cannot be counted as it was."""
    from karat.study.description import description  # imports optuna

    data, weights = stated["data"], stated.get("weights", ())
    here = {name: importlib.metadata.version(name) for name in _COUNT_WITH}
    is_same = all(versions.get(name) == here[name] for name in _COUNT_WITH)
    uncounted = [
        arm.label
        for arm in space.arms.values()
        if not (is_same or trial_config(space, arm).model.is_plain)
    ]
    known = _info(space, data["classes"])
    varies = any(key.startswith("data.") for key in (*space.factors, *space.tuned))
    try:
        found = description(space, data["fingerprint"], weights, info=None if varies else known)
    except DataError:  # only where arms differ in it is it looked at
        found = description(space, data["fingerprint"], weights, info=known)
        uncounted = list(space.arms)
    # By the settings of the recipes of then: another version of karat may have others.
    hashes = {each["init_from"]: each["sha256"] for each in weights}
    found["space_hash"] = space.hash_with(hashes, stated.get("recipes", {}))
    plain: dict[str, Any] = json.loads(json.dumps(found))
    plain["totals"]["search"] = total
    return plain, uncounted


def _info(space: Space, classes: Sequence[str]) -> DataInfo | None:
    """The shape of a data set in files, which need not be here; None for others."""
    own = trial_config(space, next(iter(space.arms.values()))).data
    if not (hasattr(own, "root") and hasattr(own, "image_size")):
        return None
    return DataInfo(image_size=own.image_size, channels=3, classes=tuple(classes), train_size=0)


def _versions(events: Sequence[Event]) -> Mapping[str, str]:
    """Versions of packages of the launch that wrote the first of these events."""
    launched = next((event.data for event in events if event.kind == "launched"), {})
    found: Mapping[str, str] = launched.get("environment", {}).get("packages", {})
    return found
