"""Which trials of a study are looked at: those of the arms that the command line names."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from karat.errors import InputError, nearest
from karat.journal.layout import trial_folder
from karat.journal.state import StudyState
from karat.journal.trial import Trial
from karat.report.facts.confirmed import ConfirmedArm, best_searched
from karat.report.facts.summary import Summary, summarise
from karat.training.checkpoint import kept_weights

BEST, REFERENCE, ALL = "best", "reference", "all"
DEFAULT = (BEST, REFERENCE)


@dataclass(frozen=True, kw_only=True)
class ChosenArm:
    """One arm, or a single trial, that is looked at.

    Args:
        label: how the arm is called in tables and pictures.
        trials: its runs with weights; the first stands for the arm, the others are further seeds.
        is_confirmed: whether they are confirmation runs; otherwise it is the best trial of the search.
    """

    label: str
    trials: tuple[Trial, ...]
    is_confirmed: bool


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What is looked at, and what was asked for and cannot be.

    Args:
        arms: the reference first, then in the order in which they were named.
        left_out: one line for each arm or trial without weights to look at.
    """

    arms: tuple[ChosenArm, ...]
    left_out: tuple[str, ...]


def chosen_arms(folder: Path, state: StudyState, names: Sequence[str] = DEFAULT) -> Choice:
    """The arms that are named, with the trials that have weights.

    Args:
        folder: of the study.
        state: of the study.
        names: `best` (the arm that the answer is about), `reference`, `all` (every arm), labels of arms, or
            numbers of trials.

    Raises:
        InputError: a name is unknown, or nothing of what is named has weights.
    """
    if not state.created:
        raise InputError(f"{folder}: the study has not begun")
    summary = summarise(state)
    asked: dict[str, Trial | None] = {}
    left_out: list[str] = []
    for name in names:
        asked |= dict(_named(name, state, summary, left_out))
    found: list[ChosenArm] = []
    for label, trial in asked.items():
        arm = _of_trial(label, trial) if trial else _of_arm(label, state, summary)
        kept = [each for each in arm.trials if kept_weights(trial_folder(folder, each.number))]
        if kept:
            found.append(ChosenArm(label=label, trials=tuple(kept), is_confirmed=arm.is_confirmed))
        else:
            what = "has no completed trial" if not arm.trials else "keeps no weights of its trials"
            left_out.append(f"{label}: {what}")
    if not found:
        raise InputError(f"{folder}: there is nothing to analyze: {'; '.join(left_out)}")
    references = {arm.label for arm in summary.references}
    found.sort(key=lambda arm: arm.label not in references)  # stable
    return Choice(arms=tuple(found), left_out=tuple(left_out))


def _named(
    name: str, state: StudyState, summary: Summary, left_out: list[str]
) -> Iterator[tuple[str, Trial | None]]:
    labels = [str(arm["label"]) for arm in state.created["arms"]]
    if name in labels:
        yield name, None
    elif name == ALL:
        yield from ((label, None) for label in labels)
    elif name == BEST:
        yield _best(state, summary), None
    elif name == REFERENCE:
        yield from ((label, None) for label in _references(state, summary))
    elif name.isdecimal():
        trial = state.trials.get(int(name))
        if trial is None:
            raise InputError(
                f"--trials {name}: there is no such trial; the study has {len(state.trials)}, from 0"
            )
        if trial.status != "completed":
            left_out.append(f"trial {name}: is not complete, so it has no last weights")
            return
        yield f"{trial.arm}, trial {trial.number}", trial
    else:
        known = [BEST, REFERENCE, ALL, *labels]
        raise InputError(f"--trials {name}: unknown. {nearest(name, known)}")


def _best(state: StudyState, summary: Summary) -> str:
    """The arm that the answer is about; before there is one, that with the best validation so far."""
    if summary.headline is not None:
        return summary.headline.label
    others: list[ConfirmedArm] = [arm for arm in summary.arms if not arm.is_reference]
    if others:
        return best_searched(others, summary.metric).label
    found = _best_trial(state.of_phase("search"), state)
    return found.arm if found else _references(state, summary)[0]


def _references(state: StudyState, summary: Summary) -> list[str]:
    if summary.headline is not None and summary.headline.against:
        return [summary.headline.against]
    if summary.references:
        return [arm.label for arm in summary.references[:1]]
    return list(state.reference_arms[:1])


def _of_trial(label: str, trial: Trial) -> ChosenArm:
    return ChosenArm(label=label, trials=(trial,), is_confirmed=trial.phase == "confirm")


def _of_arm(label: str, state: StudyState, summary: Summary) -> ChosenArm:
    """Its confirmation runs at the length that the verdicts are about; else its best trial of the search."""
    arm = next((each for each in summary.arms if each.label == label), None)
    if arm is not None and arm.trials:
        runs = tuple(state.trials[number] for _, number in sorted(arm.trials.items()))
        return ChosenArm(label=label, trials=runs, is_confirmed=True)
    best = _best_trial([each for each in state.of_phase("search") if each.arm == label], state)
    return ChosenArm(label=label, trials=(best,) if best else (), is_confirmed=False)


def _best_trial(trials: Sequence[Trial], state: StudyState) -> Trial | None:
    metric, sign = state.created["metric"], 1 if state.created["mode"] == "max" else -1
    complete = [
        (sign * value, -trial.number, trial)
        for trial in trials
        if trial.status == "completed" and (value := trial.last(metric)) is not None
    ]
    return max(complete)[2] if complete else None
