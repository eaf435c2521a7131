"""Arms over several data sets or models: each against its reference there, and over all of them."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from karat.parameters import DATA_SETS, label_of, places_in
from karat.report.facts.confirmed import ConfirmedArm
from karat.statistics.across import Overall, Ranks, overall, ranks
from karat.statistics.comparison import Rule
from karat.statistics.correction import holm
from karat.statistics.metric import Metric
from karat.statistics.samples import Runs, paired


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmOver:
    """An arm over the places that have it.

    Args:
        name: of its levels other than those of the place.
        by_place: place to the arm there.
        overall: its mean difference to the references over places; None below two places with two seeds each.
        p: of that mean, adjusted by Holm over the arms; None where there is none.
        p_differs: that its difference is the same in every place, adjusted by Holm over the arms; None where that
            cannot be tested.
    """

    name: str
    by_place: Mapping[str, ConfirmedArm]
    overall: Overall | None
    p: float | None
    p_differs: float | None

    @property
    def is_turned(self) -> bool:
        """Whether it is better in one place and worse in another."""
        words = {arm.comparison.verdict for arm in self.by_place.values() if arm.comparison}
        return {"better", "worse"} <= words


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacesFacts:
    """What a study says over its places.

    Args:
        what: what the places are: `data sets`, `models`, or both.
        places: their labels, in the order of the space.
        references: place to the label of its reference.
        arms: all but the references.
        ranks: of all arms, references included, over the places that have all of them; None below three arms.
    """

    what: str
    places: tuple[str, ...]
    references: Mapping[str, str]
    arms: tuple[ArmOver, ...]
    ranks: Ranks | None


def places_facts(
    arms: Sequence[ConfirmedArm], metric: Metric, rule: Rule, seeds: int
) -> PlacesFacts | None:
    """The facts over places; None below two places with their own references.

    Args:
        arms: the confirmed arms, in the order of the space.
        metric, rule: of the study.
        seeds: the number that every arm has, whatever was found in it.
    """
    known = [arm for arm in arms if arm.raw is None]
    keys = places_in(key for arm in known for key in arm.factors)
    references = {_label(arm, keys): arm for arm in known if arm.is_reference}
    labels = {arm.label for arm in references.values()}
    others: dict[str, dict[str, ConfirmedArm]] = {}
    for arm in known:
        place = _label(arm, keys)
        if not arm.is_reference and place in references and arm.against in labels:
            others.setdefault(_name(arm, keys), {})[place] = arm
    places = [place for place in references if any(place in of for of in others.values())]
    if len(places) < 2:
        return None
    found = {
        name: overall(
            {
                place: _differences(arm.runs, references[place].runs, seeds, rule.tunings)
                for place, arm in of.items()
            },
            rule.alpha,
        )
        for name, of in others.items()
    }
    p = _adjusted({name: None if each is None else each.p for name, each in found.items()})
    differs = _adjusted({n: None if each is None else each.differs for n, each in found.items()})
    return PlacesFacts(
        what=_what(keys),
        places=tuple(places),
        references={place: references[place].label for place in places},
        arms=tuple(
            ArmOver(
                name=name,
                by_place=of,
                overall=found[name],
                p=p[name],
                p_differs=differs[name],
            )
            for name, of in others.items()
        ),
        ranks=_ranks(references, others, keys, metric, rule.alpha),
    )


def _label(arm: ConfirmedArm, keys: Set[str]) -> str:
    """The label of these factors of an arm."""
    return label_of({key: level for key, level in arm.factors.items() if key in keys})


def _name(arm: ConfirmedArm, keys: Set[str]) -> str:
    """The label of its other factors."""
    return label_of({key: level for key, level in arm.factors.items() if key not in keys})


def _differences(ours: Runs, theirs: Runs, seeds: int, tunings: int) -> list[float]:
    """The paired differences with the seeds that every arm has."""
    own, base = ({i: value for i, value in of.items() if i < seeds} for of in (ours, theirs))
    if not own or not base:
        return []
    values, against = paired(own, base, tunings)
    return [float(each) for each in values - against]


def _adjusted(raw: Mapping[str, float | None]) -> dict[str, float | None]:
    known = [name for name, p in raw.items() if p is not None]
    adjusted = holm([p for p in raw.values() if p is not None]) if known else []
    return {**raw, **dict(zip(known, adjusted, strict=True))}


def _ranks(
    references: Mapping[str, ConfirmedArm],
    others: Mapping[str, Mapping[str, ConfirmedArm]],
    keys: Set[str],
    metric: Metric,
    alpha: float,
) -> Ranks | None:
    names = {_name(arm, keys) for arm in references.values()}
    if len(names) != 1:  # references of different kinds are not one arm over the places
        return None
    goodness = {
        name: {
            place: metric.goodness(arm.test.mean)
            for place, arm in of.items()
            if arm.test.mean is not None
        }
        for name, of in {names.pop(): references, **others}.items()
    }
    return ranks({name: of for name, of in goodness.items() if of}, alpha)


def _what(keys: Set[str]) -> str:
    kinds = {"data sets": keys & {*DATA_SETS}, "models": keys & {"model.name"}}
    return " and ".join(name for name, has in kinds.items() if has)
