"""Extending a study: more trials, more seeds, longer trials or wider ranges.

All other changes would change the meaning of the trials so far and are refused: factors, metric,
data, model, training, and the rules of search and confirmation. Resources, budget, tracking, the
text of the question and what is only recorded of a training may change at any time.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from karat.errors import InputError, nearest
from karat.parameters import Tuned
from karat.planning.data_place import PLACE, without_place
from karat.space.reader import space_of
from karat.space.space import Arm, Space
from karat.training.config import TrialConfig
from karat.training.watching.config import WATCHING

SHORT = {"trials": "search.trials", "seeds": "confirm.seeds", "epochs": "training.epochs"}


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two spaces, and whether the trials so far stay valid."""

    key: str
    before: object
    after: object
    is_allowed: bool

    @property
    def asks_more(self) -> bool:
        """Whether the change affects which trials run, not only how and where they run."""
        section, _, key = self.key.partition(".")
        return section in ("search", "confirm", "training", "tuned") and key not in WATCHING

    def __str__(self) -> str:
        return f"{self.key} from {_plain(self.before)} to {_plain(self.after)}"


def merged(
    base: Mapping[str, Any], ours: Mapping[str, Any], theirs: Mapping[str, Any]
) -> dict[str, Any]:
    """Apply the changes from `base` to `theirs` to `ours` (a three-way merge); all are sources of spaces.

    A study extended with `--extend` therefore resumes with the unchanged, smaller space file.
    """
    found: dict[str, Any] = {}
    for key in {**ours, **theirs}:
        was, our, their = base.get(key), ours.get(key), theirs.get(key)
        if was == their:
            value = our
        elif isinstance(our, Mapping) and isinstance(their, Mapping):
            value = merged(was if isinstance(was, Mapping) else {}, our, their)
        else:
            value = their
        if value is not None:
            found[key] = value
    return found


def extended_source(space: Space, assignments: Sequence[str]) -> dict[str, Any]:
    """The source of a space with `--extend` applied: `trials=+20`, `seeds=10`, `epochs=+5`.

    Raises:
        InputError: invalid syntax, or a setting that cannot be extended.
    """
    source: dict[str, Any] = {**space.source}
    now = {
        "trials": space.search.trials,
        "seeds": space.confirm.seeds,
        "epochs": max(full_length(space, arm) for arm in space.arms.values()),
    }
    for assignment in assignments:
        short, equals, text = assignment.partition("=")
        place = f"--extend {assignment}"
        if short not in SHORT or not equals:
            raise InputError(
                f"{place}: must be one of these, as in trials=+20. {nearest(short, SHORT)}"
            )
        before = now[short]
        if before is None:
            raise InputError(
                f"{place}: the sampler grid always runs its whole grid; add values to a tuned list instead"
            )
        if short == "seeds" and space.confirm.top_up is not None:
            raise InputError(
                f"{place}: confirm.top_up has fixed the seeds of this study before its launch "
                f"({space.confirm.seeds}, then {space.confirm.top_up}): more looks at its verdicts would "
                "make false ones more likely. Ask again with other seeds as a new study: --name NAME"
            )
        if not text.removeprefix("+").isdecimal() or len(text) > 9:
            raise InputError(f"{place}: must be a whole number, or + and a number to add")
        number = int(text)
        if not text.startswith("+") and number <= before:
            raise InputError(
                f"{place}: the study has {before} already; write {short}=+{number} to add {number}"
            )
        section, _, key = SHORT[short].partition(".")
        total = before + number if text.startswith("+") else number
        source[section] = {**source.get(section, {}), key: total}
    return source


def changes_between(old: Space, new: Space) -> list[Change]:
    """All differences between two spaces, allowed or not."""
    return [
        *_of_section("search", old.search, new.search, grows="trials"),
        # The looks of a top-up are part of its rule, so that no seeds are added beside it.
        *_of_section(
            "confirm", old.confirm, new.confirm, grows="" if old.confirm.top_up else "seeds"
        ),
        *_of_resources(old, new),
        *_of_wholes(old, new),
        *_of_arms(old, new),
        *_of_tuned(old, new),
    ]


def longer(old: Space, new: Space) -> bool:
    """Whether the full length of trials differs in the larger space."""
    return any(
        full_length(old, old.arms[label]) != full_length(new, arm)
        for label, arm in new.arms.items()
    )


def full_length(space: Space, arm: Arm) -> int:
    """Epochs of a trial of an arm without early stopping."""
    lows = {key: space.tuned[key].ends[0] for key in arm.tuned}
    return TrialConfig.from_sections(arm.config(lows)).training.epochs


def larger_space(old: Space, source: Mapping[str, Any], place: str) -> tuple[Space, list[Change]]:
    """The space of a source, which may only extend `old`, and the changes.

    Args:
        old: the present space of the study.
        source: of the new space.
        place: prefix of error messages.

    Raises:
        InputError: the source is not a valid space, or has changes that are not allowed.
    """
    new = space_of(source, old.name, place, old.early_stopping)
    changes = changes_between(old, new)
    refused = [str(change) for change in changes if not change.is_allowed]
    if refused:
        raise InputError(
            f"{place}: holds a study of this name with another question ({'; '.join(refused)}). "
            "Only more trials or seeds, longer trials or wider tuned ranges can continue it; for "
            "anything else choose another --name, or put the older study aside with --fresh"
        )
    return new, changes


def _of_section(section: str, old: Any, new: Any, grows: str) -> Iterator[Change]:
    for field in dataclasses.fields(old):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if before != after:
            allowed = field.name == grows and None not in (before, after) and after > before
            yield Change(f"{section}.{field.name}", before, after, allowed)


def _of_resources(old: Space, new: Space) -> Iterator[Change]:
    for section in ("resources", "budget", "tracking"):
        ours, theirs = getattr(old, section), getattr(new, section)
        for field in dataclasses.fields(ours):
            before, after = getattr(ours, field.name), getattr(theirs, field.name)
            if before != after:
                yield Change(f"{section}.{field.name}", before, after, True)


def _of_wholes(old: Space, new: Space) -> Iterator[Change]:
    for key in ("question", "seed", "design", "data", "early_stopping", "references", "match"):
        before, after = getattr(old, key), getattr(new, key)
        if key == "data":
            before, after = without_place(before), without_place(after)
        if before != after:
            yield Change(key, before, after, key == "question")
    for name in {**old.factors, **new.factors}:
        levels, others = (each.factors.get(name) for each in (old, new))
        if levels != others:
            before, after = (each.values if each else "none" for each in (levels, others))
            yield Change(f"factors.{name}", before, after, False)
    before, after = ([each.label for each in space.excluded] for space in (old, new))
    if before != after:
        yield Change("exclude", before or "nothing", after or "nothing", False)


def _of_arms(old: Space, new: Space) -> Iterator[Change]:
    seen: set[str] = set()
    for label in old.arms.keys() & new.arms.keys():
        for name, values in old.arms[label].sections.items():
            others = new.arms[label].sections[name]
            for key in {**values, **others}:
                full, before, after = f"{name}.{key}", values.get(key), others.get(key)
                if name == "data" and key in PLACE and f"data.{key}" not in old.factors:
                    continue
                if before != after and full not in seen | {"training.epochs"}:
                    seen.add(full)
                    is_watched = name == "training" and key in WATCHING
                    yield Change(full, before, after, is_watched)
        before, after = full_length(old, old.arms[label]), full_length(new, new.arms[label])
        if before != after and "training.epochs" not in seen:
            seen.add("training.epochs")
            yield Change("training.epochs", before, after, after > before)


def _of_tuned(old: Space, new: Space) -> Iterator[Change]:
    for name in {**old.tuned, **new.tuned}:
        before, after = old.tuned.get(name), new.tuned.get(name)
        if before != after:
            allowed = before is not None and after is not None and _is_wider(before, after)
            yield Change(f"tuned.{name}", _span(before), _span(after), allowed)


def _is_wider(old: Tuned, new: Tuned) -> bool:
    if (old.log, old.when) != (new.log, new.when):
        return False
    if old.values is not None and new.values is not None:
        return set(old.values) <= set(new.values)
    if old.low is None or old.high is None or new.low is None or new.high is None:
        return False
    kinds = [isinstance(each.low, int) and isinstance(each.high, int) for each in (old, new)]
    return kinds[0] == kinds[1] and new.low <= old.low and new.high >= old.high


def _span(tuned: Tuned | None) -> object:
    if tuned is None:
        return "none"
    if tuned.values is not None:
        return tuned.values
    return f"{tuned.low:g} to {tuned.high:g}{' (log)' if tuned.log else ''}"


def _plain(value: object) -> str:
    if value is None:
        return "nothing"
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."
