"""The arms of a space: the combinations of its design that can run, and why the others cannot."""

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from karat.attention.names import (
    BASIS,
    MECHANISM,
    has_basis,
    nearest_setting,
    rule_of_unknown,
    settings_of,
    settings_of_all,
)
from karat.errors import CombinationError, InputError, shorten
from karat.parameters import Factor, Level, Tuned, label_of, level_of, nearest_level, plain
from karat.space.design.reading import read_design
from karat.space.design.refusals import MAX_ARMS, refuse_explosion, refuse_gap
from karat.space.document import SpaceData
from karat.space.initial_weights import check_weights, with_weights
from karat.space.space import SECTIONS, Arm, Excluded, Space
from karat.space.yaml_reader import Path_
from karat.training.config import TrialConfig

MAX_CHECKS = 20_000  # configurations that are built to check them
GENERIC = {"all", "full", "none", "learned"}  # levels that mean nothing without their key


class Arms:
    """The combinations of a space's design: `found` can run, `excluded` cannot.

    Args:
        data: data of the space.
        factors, tuned: parameters of the space.
        looks_at_data: whether the data must be here.

    `design` is that of the space; `wanted` are the levels of the reference arm, if the design says them.

    Raises:
        InputError: no combination can run, or there are too many.
        SettingError: the design is unknown, or cannot be made of these factors.
    """

    def __init__(
        self,
        data: SpaceData,
        factors: Mapping[str, Factor],
        tuned: Mapping[str, Tuned],
        *,
        looks_at_data: bool = True,
    ) -> None:
        self._data, self._factors, self._tuned = data, factors, tuned
        self.design, self._crossing = read_design(data, factors)
        self.wanted = self.design.reference(self._crossing)
        self._looks_at_data = looks_at_data
        self._checked: set[str] = set()  # parts of configurations, see `check_config`
        self.excluded: list[Excluded] = []
        self.found = self.arms()

    def arms(self) -> list[Arm]:
        """All combinations that can run; adds the others to `excluded`, with the rule."""
        self.check_fixed()
        arms = []
        labels: set[str] = set()
        first_problem: CombinationError | None = None
        found = self.design.combinations(self._crossing)
        combinations = list(itertools.islice(found, MAX_ARMS + 1))
        if len(combinations) > MAX_ARMS:
            refuse_explosion(self._data, self.design, self._crossing)
        self.check_size(combinations)
        for levels in combinations:
            label = label_of(levels, self.spelled())
            if label in labels:
                self._data.fail(
                    ("factors",), f"two combinations would have the label {label!r}; rename a level"
                )
            labels.add(label)
            rule, keys = self.exclusion(levels), tuple[str, ...](("exclude",))
            if rule is None:
                arm = self.arm(label, levels)
                try:
                    self.check_arm(arm)
                    arms.append(arm)
                except CombinationError as error:
                    first_problem = first_problem or error
                    rule, keys = error.rule, error.keys
            if rule is not None:
                if self.design.needs_all:
                    refuse_gap(self._data, self.design, label, rule, keys)
                self.excluded.append(Excluded(label=label, rule=rule, keys=keys, factors=levels))
        if first_problem is not None and not arms:
            at = next((k for k in first_problem.keys if self._data.stands(k)), "model")
            raise InputError(f"{self._data.place(self._data.path_of(at))}: {first_problem}")
        if not arms:
            self._data.fail(("exclude",), "excludes every combination")
        check_weights(self._data, labels, [arm.label for arm in arms])
        return arms

    def check_size(self, combinations: Sequence[Mapping[str, Level]]) -> None:
        """Refuse a space that needs more than `MAX_CHECKS` checks."""
        checks = 0
        for levels in combinations:
            sizes = {
                k: len(each.ends)
                for k, each in self._tuned.items()
                if self._crossing.exists(each, levels)
            }
            of_attention = [size - 1 for k, size in sizes.items() if k.startswith("attention.")]
            # The sum of products of all pairs, which `check_arm` goes through.
            pairs = (sum(of_attention) ** 2 - sum(size**2 for size in of_attention)) // 2
            checks += 1 + sum(sizes.values()) + pairs
        if checks > MAX_CHECKS:
            rule = (
                f"with these factors {checks} configurations must be checked; at most {MAX_CHECKS}"
            )
            self._data.fail(("tuned",), f"{rule}; use ranges or fewer values")

    def spelled(self) -> set[str]:
        """Factors whose levels need their key in a label: numbers, lists, or text such as `none`."""
        return {
            key
            for key, factor in self._factors.items()
            if any(not isinstance(v, str) or v in GENERIC for v in factor.values)
        }

    def exclusion(self, levels: Mapping[str, Level]) -> str | None:
        """The entry of `exclude` that matches this combination, as a phrase; None if none does."""
        entries = self._data.data.get("exclude", [])
        if not isinstance(entries, list):
            rule = "must be a list of combinations; begin each with `- `"
            self._data.fail(("exclude",), rule, entries)
        for index, entry in enumerate(entries):
            path: Path_ = ("exclude", index)
            if not isinstance(entry, dict) or not entry:
                self._data.fail(path, "must contain `factor: level` lines", entry)
            self._data.known_keys(entry, tuple(self._data.data["factors"]), path)
            for key, value in entry.items():
                known = self._factors[key].values
                if level_of(value) not in known:
                    rule = f"is not a level of this factor. {nearest_level(level_of(value), known)}"
                    if isinstance(value, list):
                        rule = "is not a level of this factor; write one entry for each level"
                    self._data.fail((*path, key), rule, value)
            if all(levels.get(key) == level_of(value) for key, value in entry.items()):
                return f"excluded by {self._data.place(path)}"
        return None

    def arm(self, label: str, levels: dict[str, Level]) -> Arm:
        """The arm of a combination, without fixed values that its mechanism or basis lacks."""
        sections = {name: dict(self._data.mapping((name,), {})) for name in SECTIONS}
        for key, value in levels.items():
            section, _, name = key.partition(".")
            sections[section][name] = plain(value)
        sections["model"] = with_weights(sections["model"], label)
        fixed = self._data.mapping(("attention",), {})
        applicable = settings_of(sections["attention"])
        sections["attention"] = {
            key: value
            for key, value in sections["attention"].items()
            if key in applicable or key not in fixed
        }
        chosen = tuple(
            key
            for key, parameter in self._tuned.items()
            if self._crossing.exists(parameter, levels)
        )
        return Arm(label=label, factors=levels, sections=sections, tuned=chosen)

    def check_arm(self, arm: Arm) -> None:
        """Build configurations at both ends of every range, and of every pair of attention ranges.

        Pairs, since attention settings restrict each other (a rank and an operator order).
        """
        lows = {key: self._tuned[key].ends[0] for key in arm.tuned}
        self.check_config(arm.config(lows))
        of_attention = [key for key in arm.tuned if key.startswith("attention.")]
        corners: list[dict[str, Level]] = [
            {key: value} for key in arm.tuned for value in self._tuned[key].ends
        ]
        for pair in itertools.combinations(of_attention, 2):
            of_pair = itertools.product(*(self._tuned[key].ends[1:] for key in pair))
            corners += [dict(zip(pair, values, strict=True)) for values in of_pair]
        for corner in corners:
            try:
                self.check_config(arm.config({**lows, **corner}))
            except CombinationError as error:
                shown = ", ".join(f"{key} = {shorten(value)}" for key, value in corner.items())
                self._data.fail(("tuned", *list(corner)[:1]), f"{shown} in {arm.label}: {error}")

    def check_config(self, sections: Mapping[str, Mapping[str, Any]]) -> None:
        """Build a configuration, unless each of its two parts was already part of a valid one.

        The parts are `training` and everything else. Training settings do not affect whether the
        model can be built, so that a grid over both needs few checks.
        """
        training = {"training": sections["training"]}
        shape = {name: sections[name] for name in SECTIONS if name not in training}
        parts = {json.dumps(part, sort_keys=True, default=repr) for part in (training, shape)}
        if not parts <= self._checked:
            config = TrialConfig.from_sections(sections)
            config.check(looks_at_data=self._looks_at_data)
            self._checked |= parts

    def check_fixed(self) -> None:
        """Refuse a fixed attention setting that exists in no arm."""
        fixed = self._data.mapping(("attention",), {})
        kinds = kinds_of(fixed, self._factors)
        known = frozenset().union(*map(settings_of, kinds))
        for key in fixed:
            if key not in known:
                self._data.fail(("attention", key), rule_for_unknown(key, kinds))


def kinds_of(fixed: Mapping[str, Any], factors: Mapping[str, Factor]) -> tuple[dict[str, Any], ...]:
    """The combinations of mechanism and basis in a space, each as a part of its settings.

    A mechanism without a basis is there once, without it.

    Args:
        fixed: the fixed values of the section `attention`.
        factors: the factors with which the combinations can be made.
    """

    def values_of(key: str) -> list[dict[str, Any]]:
        name = key.partition(".")[2]
        if key in factors:
            return [{name: plain(value)} for value in factors[key].values]
        return [{name: fixed[name]}] if name in fixed else [{}]

    found: list[dict[str, Any]] = []
    for mechanism in values_of(MECHANISM):
        if mechanism and not has_basis(mechanism["mechanism"]):
            found.append(mechanism)
        else:
            found += [{**mechanism, **basis} for basis in values_of(BASIS)]
    return tuple(found)


def rule_for_unknown(setting: str, kinds: Sequence[Mapping[str, Any]]) -> str:
    """The rule that an attention setting breaks if no mechanism or basis of a space has it."""
    if setting not in settings_of_all():
        return f"unknown key. {nearest_setting(setting)}"
    if len(kinds) == 1:
        return rule_of_unknown(setting, kinds[0])
    named = [str(kind["mechanism"]) for kind in kinds if "mechanism" in kind]
    if named:
        names = dict.fromkeys(named)
        return f"does not exist for the mechanisms of this space: {', '.join(names)}"
    bases = [str(kind.get("basis", "softmax")) for kind in kinds]
    return f"does not exist for the bases of this space: {', '.join(bases)}"


def trial_config(space: Space, arm: Arm) -> TrialConfig:
    """A configuration of an arm, with each tuned parameter at its first value or lower end."""
    return space.parts.config(arm.config({k: space.tuned[k].ends[0] for k in arm.tuned}))


def sections_of(space: Space, arm: Arm) -> dict[str, dict[str, object]]:
    """The sections of `trial_config`, checked."""
    trial_config(space, arm).check()
    return arm.config({key: space.tuned[key].ends[0] for key in arm.tuned})
