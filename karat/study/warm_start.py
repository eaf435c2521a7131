"""Finds the results of an older study with which a search begins, and refuses those of another question."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from karat.errors import InputError
from karat.journal.journal import read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.journal.trial import Trial
from karat.planning.constraints import violation
from karat.planning.extension import changes_between
from karat.prior import PriorTrial, WarmStart
from karat.space.space import SECTIONS, Space
from karat.study.description import changed_recipes, known_space
from karat.training.watching.config import WATCHING

_COMPARED = ("search.metric", "search.mode", "data")


def warm_start_of(
    space: Space,
    folder: Path,
    storage: Path,
    fingerprint: str | None = None,
    *,
    fresh: bool = False,
) -> WarmStart | None:
    """What the search begins with: from the study's journal if it has begun, else from the older study.

    Args:
        space: of the launch.
        folder: of the study.
        storage: folder of all studies, in which the older one is looked up by name.
        fingerprint: of the data; None leaves out that it is the same.
        fresh: whether a study that is there counts for nothing.

    Raises:
        InputError: there is no such study, it is this study itself, it has another question, or nothing of use.
    """
    name = space.search.warm_start
    if name is None:
        return None
    if not fresh and (folder / JOURNAL).is_file():
        created = StudyState.of(read_events(folder / JOURNAL)).created
        if created:
            return WarmStart.of(created)
    place = f"search.warm_start = {name}"
    older = _folder_of(name, storage, place)
    if older.resolve() == folder.resolve():
        raise InputError(f"{place}: is this study itself; name an older one, or leave it out")
    state = StudyState.of(read_events(older / JOURNAL))
    if not state.created:
        raise InputError(f"{place}: {older} has not begun")
    known = known_space(state.created, older)
    if differences := list(_differences(known, space, state, fingerprint)):
        raise InputError(
            f"{place}: has another question, whose results say nothing here ({'; '.join(differences)}); data, metric, "
            "tuned parameters and all other settings of an arm must be the same"
        )
    done = [trial for trial in state.of_phase("search") if trial.status == "completed"]
    told = tuple(prior for trial in done if (prior := _prior(trial, space)) is not None)
    if not told:
        why = f"none of its {len(done)} completed search trials is of an arm and within the ranges of this space"
        if not done:
            why = "it has no completed search trial"
        raise InputError(f"{place}: has nothing that can be used: {why}")
    uid = str(state.created.get("uid", ""))
    left_out = len(done) - len(told)
    return WarmStart(study=state.created["name"], uid=uid, trials=told, left_out=left_out)


def _folder_of(name: str, storage: Path, place: str) -> Path:
    for each in (storage / name, Path(name).expanduser()):
        if (each / JOURNAL).is_file():
            return each
    raise InputError(f"{place}: there is no such study, neither in {storage} nor as a folder")


def _differences(
    older: Space, space: Space, state: StudyState, fingerprint: str | None
) -> Iterator[str]:
    """What makes results of the older study say nothing about this one, as phrases."""
    if fingerprint is not None and state.created["data"]["fingerprint"] != fingerprint:
        yield "its data has another fingerprint"
    for change in changes_between(older, space):
        section, _, key = change.key.partition(".")
        is_setting = (
            section in SECTIONS and bool(key) and change.key.partition(".")[2] not in WATCHING
        )
        if change.key in _COMPARED or is_setting:
            yield str(change)
    for name in sorted(older.tuned.keys() ^ space.tuned.keys()):
        yield f"{name} is tuned only {'there' if name in older.tuned else 'here'}"
    yield from changed_recipes(state, space)


def _prior(trial: Trial, space: Space) -> PriorTrial | None:
    """A completed trial of the older study; None if this space could not have asked for it."""
    arm, value = space.arms.get(trial.arm), trial.last(space.search.metric)
    if arm is None or value is None or set(arm.tuned) != trial.tuned.keys():
        return None
    if not _is_within(trial.tuned, space):
        return None
    if any(violation(space, report.epoch, report.metrics) for report in trial.reports):
        return None
    tuned = {key: trial.tuned[key] for key in arm.tuned}
    return PriorTrial(trial=trial.number, arm=trial.arm, tuned=tuned, value=value)


def _is_within(tuned: Mapping[str, object], space: Space) -> bool:
    for key, value in tuned.items():
        parameter = space.tuned[key]
        if parameter.values is not None:
            if value not in parameter.values:
                return False
        else:
            low, high = parameter.ends
            assert isinstance(value, int | float)
            is_whole = isinstance(low, int) and isinstance(high, int)
            if not low <= value <= high or (is_whole and value != int(value)):  # type: ignore[operator]
                return False
    return True
