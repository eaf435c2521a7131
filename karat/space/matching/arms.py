"""The matched arms of a space: beside each arm, one that costs what its reference costs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from karat.attention.names import nearest_setting, settings_of, settings_of_all
from karat.errors import CombinationError, InputError, nearest
from karat.models.config import SAME_ARM, ModelConfig
from karat.parameters import Level, Tuned
from karat.samplers import SearchConfig
from karat.settings import build, fields_of
from karat.space.document import SpaceData
from karat.space.matching.choice import (
    MAX_CANDIDATES,
    Choice,
    Values,
    candidates,
    closest,
    closest_measured,
    cost_text,
)
from karat.space.matching.config import KEY, MEASURED, WORDS, MatchConfig
from karat.space.matching.measuring import Measuring
from karat.space.settings import ResourceConfig
from karat.space.space import Arm

_SECTIONS = ("model", "attention")
Ranges = Mapping[str, tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class Prices:
    """Who measures, if anybody, and with which resources of a trial."""

    measuring: Measuring | None
    resources: ResourceConfig


@dataclass(frozen=True, kw_only=True)
class Matched:
    """The arms of a space and their references, with the matched arms; `config` is None without any."""

    config: MatchConfig | None
    arms: Sequence[Arm]
    references: dict[Level, str]


def with_matched(
    data: SpaceData,
    arms: Sequence[Arm],
    check: Callable[[Arm], None],
    references: dict[Level, str],
    search: SearchConfig,
    tuned: Mapping[str, Tuned],
    prices: Prices,
) -> Matched:
    """The arms with a matched one after each that costs more or less than its reference.

    The values are written into the data of the space, so that a journal has them: they stay when another version
    of karat counts otherwise.

    Args:
        data: of the space.
        arms: as the levels of the factors make them.
        check: refuses an arm that cannot run, with a CombinationError.
        references: label of each other arm to that of its reference.
        search: checked settings of the search.
        tuned: parameters of the space.
        prices: what tells the costs that are measured, and with which resources.

    Raises:
        InputError: the section is wrong, or the cost of an arm cannot be reached.
    """
    if KEY not in data.data:
        return Matched(config=None, arms=arms, references=references)
    config = _as_recorded(build(MatchConfig, data.mapping((KEY,)), KEY), data, prices)
    if search.allocation == "free":
        rule = f"must not be free with {KEY}: raw and matched arms are tuned equally often"
        data.fail(("search", "allocation"), rule)
    maker = _Maker(data, config, arms, check, references, tuned, prices)
    found: list[Arm] = []
    chosen: dict[str, dict[str, int]] = {}
    for arm in arms:
        found.append(arm)
        if arm.label in references:
            chosen[arm.label] = values = dict(maker.values(arm))
            if values:
                found.append(maker.matched(arm, values))
    maker.refuse_strangers(chosen)
    measured = {"costs": maker.measured} if config.by in MEASURED else {}
    data.data[KEY] = {**data.data[KEY], "arms": chosen, **measured}
    own: dict[Level, str] = {arm.label: references[arm.raw] for arm in found if arm.raw is not None}
    config = replace(config, arms=chosen, costs=measured.get("costs"))
    return Matched(config=config, arms=found, references=references | own)


def _as_recorded(config: MatchConfig, data: SpaceData, prices: Prices) -> MatchConfig:
    """The section with what was measured at the first launch of its study, if it is the same otherwise."""
    if config.by not in MEASURED or config.arms is not None:
        return config
    if prices.measuring is None:
        rule = "is measured at a launch, and nothing measures here; match parameters or macs"
        data.fail((KEY, "by"), rule, config.by)
    known = prices.measuring.recorded(str(data.data.get("study", "")))
    asked = {key: value for key, value in known.items() if key not in ("arms", "costs")}
    if known and asked == data.data[KEY]:
        return replace(config, arms=known["arms"], costs=known["costs"])
    return config


def matched_label(label: str, values: Values) -> str:
    """The label of a matched arm: `fourier matched (rank 9)`."""
    told = ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in values.items())
    return f"{label} matched ({told})"


class _Maker:
    """Chooses the values of each arm, and makes its matched arm; arguments as of `with_matched`."""

    def __init__(
        self,
        data: SpaceData,
        config: MatchConfig,
        arms: Sequence[Arm],
        check: Callable[[Arm], None],
        references: Mapping[Level, str],
        tuned: Mapping[str, Tuned],
        prices: Prices,
    ) -> None:
        from karat.space.matching.costs import ExactCosts  # spaces without `match` count no models

        self._data, self._config, self._arms, self._check = data, config, arms, check
        self._references, self._tuned = references, tuned
        self._by_label = {arm.label: arm for arm in arms}
        self._costs = ExactCosts(config.by)
        self._prices = prices
        self.measured: dict[str, float] = dict(config.costs or {})
        self._ranges = {key: self._range(key, given) for key, given in config.change.items()}
        if not self._ranges:
            data.fail(
                (KEY, "change"), "must name at least one setting, as {attention.rank: [4, 17]}"
            )
        if count := self._most_candidates():
            rule = f"has {count:,} combinations of values; at most {MAX_CANDIDATES:,}: use narrower ranges"
            data.fail((KEY, "change"), rule)
        self._refuse_weights()
        for key in self._ranges:
            if not any(key in self._of(arm) for arm in arms if arm.label in references):
                data.fail((KEY, "change", key), "exists in no arm but the reference")

    def values(self, arm: Arm) -> Values:
        """The values for an arm: those that are written down, or else chosen; none where it costs the same as it is.

        Raises:
            InputError: they are wrong, or no values reach the cost of the reference.
        """
        given = self._config.chosen.get(arm.label)
        if given is not None:
            return self._checked(arm, given)
        reference = self._by_label[self._references[arm.label]]
        for each in (reference, arm):
            self._refuse_tuned(each)
        target = self._cost(reference, {})
        share = self._config.tolerance
        if Choice({}, self._cost(arm, {}), target).is_within(share):
            return {}
        found = self._closest(arm, target, share)
        if not found.is_within(share):
            self._refuse(arm, reference, found)
        return found.values

    def matched(self, arm: Arm, values: Values) -> Arm:
        """The matched arm of an arm.

        Raises:
            InputError: its settings do not go together.
        """
        made = replace(
            arm,
            label=matched_label(arm.label, values),
            sections=_with(arm.sections, values),
            raw=arm.label,
        )
        if made.label in self._by_label:
            self._data.fail(("factors",), f"a level is called as the arm {made.label}; rename it")
        try:
            self._check(made)
        except CombinationError as error:
            self._data.fail((KEY, "change"), f"{made.label} cannot run: {error}")
        return made

    def refuse_strangers(self, known: Mapping[str, Any]) -> None:
        """Refuse values that are written down for no arm.

        Raises:
            InputError: names the arm.
        """
        for label in self._config.chosen:
            if label not in known:
                rule = f"is no arm, or a reference. {nearest(str(label), known)}"
                self._data.fail((KEY, "arms", label), rule)

    def _closest(self, arm: Arm, target: float, share: float) -> Choice:
        own = {key: self._ranges[key] for key in self._of(arm)}
        if not own:
            rule = (
                f"has no setting that {arm.label} has; add one, as model.depth: [1, 6], or leave the "
                "arm out"
            )
            self._data.fail((KEY, "change"), rule)
        try:
            if self._config.by not in MEASURED:
                return closest(lambda values: self._cost(arm, values), own, target, share)
            return closest_measured(
                lambda values: self._cost(arm, values),
                lambda values: self._estimate(self._sections(arm, values)),
                own,
                target,
                share,
            )
        except InputError as error:
            self._data.fail((KEY, "change"), f"no values go with {arm.label}: {error}")

    def _refuse(self, arm: Arm, reference: Arm, found: Choice) -> None:
        """Refuse a match that is not reached, with the nearest."""
        values = ", ".join(f"{key} {value}" for key, value in found.values.items())
        by = self._config.by
        side = "above" if found.deviation > 0 else "below"
        rule = (
            f"does not bring {arm.label} within {100 * self._config.tolerance:g} % of {reference.label}; nearest: "
            f"{values} gives {cost_text(by, found.cost)} {WORDS[by]}, {100 * abs(found.deviation):.1f} % "
            f"{side} {cost_text(by, found.target)}; widen a range, or add a setting"
        )
        self._data.fail((KEY, "change"), rule)

    def _cost(self, arm: Arm, values: Values) -> float:
        """The cost of an arm with other values; what is measured is measured once, and kept by label."""
        if self._config.by not in MEASURED:
            return self._costs.of(self._sections(arm, values))
        label = matched_label(arm.label, values) if values else arm.label
        if label not in self.measured:
            assert self._prices.measuring is not None, "`_as_recorded` has refused it"
            sections, resources = self._sections(arm, values), self._prices.resources
            self.measured[label] = self._prices.measuring.cost(self._config.by, sections, resources)
        return self.measured[label]

    def _estimate(self, sections: Mapping[str, Mapping[str, Any]]) -> float:
        """A number that grows with the cost; the cost itself where it is counted."""
        if self._config.by not in MEASURED:
            return self._costs.of(sections)
        assert self._prices.measuring is not None, "`_as_recorded` has refused it"
        return self._prices.measuring.estimate(self._config.by, sections, self._prices.resources)

    def _sections(self, arm: Arm, values: Values) -> dict[str, dict[str, Any]]:
        lows = {key: self._tuned[key].ends[0] for key in arm.tuned}
        return _with(arm.config(lows), values)

    def _of(self, arm: Arm) -> list[str]:
        """The settings of `change` that an arm has."""
        has = settings_of(arm.sections["attention"])
        own = {"model": fields_of(ModelConfig), "attention": has}
        return [key for key in self._ranges if key.partition(".")[2] in own[key.partition(".")[0]]]

    def _range(self, key: str, given: Any) -> tuple[int, int]:
        path = (KEY, "change", key)
        section, _, name = key.partition(".")
        known = {"model": fields_of(ModelConfig), "attention": settings_of_all()}
        if section not in _SECTIONS:
            rule = f"must be a setting of {' or '.join(_SECTIONS)}, as attention.rank"
            self._data.fail(path, rule)
        if name not in known[section]:
            hint = (
                nearest_setting(name) if section == "attention" else nearest(name, known[section])
            )
            self._data.fail(path, f"unknown key. {hint}")
        for group in ("factors", "tuned"):
            if key in self._data.mapping((group,), {}):
                word = "a factor" if group == "factors" else "tuned"
                self._data.fail(path, f"is also {word}; what is compared is not changed to match")
        is_pair = isinstance(given, list | tuple) and len(given) == 2
        if not is_pair or not all(isinstance(x, int) and not isinstance(x, bool) for x in given):
            self._data.fail(path, "must be two whole numbers, [least, highest]", given)
        low, high = given
        if not 1 <= low < high:
            self._data.fail(path, "must be at least 1, and rise: [least, highest]", given)
        return low, high

    def _most_candidates(self) -> int:
        """How many combinations the arm with the most has, if that is too many; else 0."""
        counts = [
            candidates({key: self._ranges[key] for key in self._of(arm)})
            for arm in self._arms
            if arm.label in self._references and arm.label not in self._config.chosen
        ]
        most = max(counts, default=0)
        return most if most > MAX_CANDIDATES else 0

    def _refuse_tuned(self, arm: Arm) -> None:
        """Refuse a tuned parameter that changes the cost of an arm: then there is no one cost to match."""
        lows = {key: self._tuned[key].ends[0] for key in arm.tuned}
        for key in arm.tuned:
            if key.startswith("training.") and self._config.by not in MEASURED:
                continue
            found = {
                self._estimate(arm.config({**lows, key: end})) for end in self._tuned[key].ends
            }
            if len(found) > 1:
                rule = (
                    f"changes the {WORDS[self._config.by]} of {arm.label}, which {KEY} is to make equal; make it a "
                    "fixed value or a factor"
                )
                self._data.fail(("tuned", key), rule)

    def _refuse_weights(self) -> None:
        """Refuse weights that are named for each arm: a matched arm has no name before it is made."""
        given = self._data.mapping(("model",), {}).get("init_from")
        if isinstance(given, Mapping) or str(given).endswith(SAME_ARM):
            rule = (
                f"does not go with {KEY}: a matched arm has another model, whose weights nobody has"
            )
            self._data.fail(("model", "init_from"), rule)

    def _checked(self, arm: Arm, given: Any) -> Values:
        """Values that are written down."""
        path, own = (KEY, "arms", arm.label), self._of(arm)
        if not isinstance(given, Mapping):
            self._data.fail(path, "must contain `setting: value` lines", given)
        for key, value in given.items():
            if key not in own:
                self._data.fail(
                    (*path, key), f"is not in {KEY}.change for this arm. {nearest(key, own)}"
                )
            low, high = self._ranges[key]
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                self._data.fail((*path, key), f"must be a whole number from {low} to {high}", value)
        return dict(given)


def _with(sections: Mapping[str, Mapping[str, Any]], values: Values) -> dict[str, dict[str, Any]]:
    """Sections in which these settings have these values."""
    made = {name: dict(of) for name, of in sections.items()}
    for key, value in values.items():
        section, _, name = key.partition(".")
        made[section][name] = value
    return made
