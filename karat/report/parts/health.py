"""What weakens a study, in cards: what was found, and what would help.

Each check says one of three things: a card, that nothing was found, or (None) that the journal does not tell.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from karat.journal.wording import trial_text
from karat.report.facts.confirmed import ConfirmedArm
from karat.report.facts.progress import Progress, Sign
from karat.report.facts.search_summary import EDGE, Edge
from karat.report.facts.summary import Summary
from karat.report.formatting import Units, listed, loss_text, short, text_of
from karat.report.parts.attention import collapsed_card
from karat.report.parts.weaknesses import (
    image_is_coarse,
    images_tested,
    least_flip_p,
    only_on_these_images,
    seen,
)
from karat.report.search_text import false_stops_text
from karat.report.tables import Card, Section
from karat.report.wording import failures_text, n_text, name_of
from karat.statistics.power import MOST_PAIRS, POWER

TITLE = "What weakens this"
_LISTED = 8  # sides of comparisons whose tuning is told one by one
PHASES = {"search": "search", "shortlist": "shortlists", "confirm": "confirmation"}
_NAMED = 6  # arms that a card names
Found = Card | Literal["nothing"] | None


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that may weaken a study: what is looked for, and how."""

    what: str
    look: Callable[[Summary], Found]


def health_section(summary: Summary) -> Section | None:
    """The cards, and what was looked for and not found; None where nothing could be looked for."""
    found = [(check.what, check.look(summary)) for check in CHECKS]
    cards = tuple(each for _, each in found if isinstance(each, Card))
    clear = [what for what, each in found if each == "nothing"]
    if not cards and not clear:
        return None
    notes = (f"Looked for and not found: {listed(clear)}.",) if clear else ()
    return Section(title=TITLE, paragraphs=notes, cards=cards)


def health_notes(summary: Summary) -> Iterator[str]:
    """The cards as lines, for a terminal."""
    section = health_section(summary)
    for card in section.cards if section is not None else ():
        yield f"{card.title}: {card.found} {card.helps}".rstrip()


def _unfinished(summary: Summary) -> Found:
    if not any(each.is_known for each in summary.progress.values()):
        return None
    arms = [arm for arm in summary.arms if (p := summary.progress.get(arm.label)) and p.signs]
    if not arms:
        return "nothing"
    helps = "confirm.budgets: [1, 2] trains twice as long as well, and shows what that changes."
    if len(summary.lengths) > 1:
        helps = "More epochs: --extend epochs=+N."
    return Card(
        title="Training looks unfinished",
        found=(
            f"{' '.join(_signs(arms, summary))} A difference to such an arm may come from how fast it learns, "
            "and not from how good it becomes."
        ),
        helps=helps,
    )


def _signs(arms: Sequence[ConfirmedArm], summary: Summary) -> Iterator[str]:
    """Each sign, with the arms that show it."""
    units, known = Units(summary.metric), summary.progress

    def told(sign: Sign, text: Callable[[Progress], str]) -> str:
        shown = [arm for arm in arms if sign in known[arm.label].signs]
        names = [f"{name_of(arm, summary)} {text(known[arm.label])}" for arm in shown[:_NAMED]]
        return (
            listed(names + [f"{len(shown) - _NAMED} more"] * (len(shown) > _NAMED)) if shown else ""
        )

    def gain(each: Progress) -> str:
        return f"{units.number(each.gain, '+')}{units.step}"

    def longer(each: Progress) -> str:
        return f"{units.number(each.longer.difference if each.longer else None, '+')}{units.step}"

    any_, noun = known[arms[0].label], summary.metric.noun
    begin = {
        f"Test {noun} still improved from {any_.shorter_epochs} to {any_.epochs} epochs": told(
            Sign.LONGER, longer
        ),
        f"Validation {noun} still improved in the middle fifth of the training": told(
            Sign.IMPROVING, gain
        ),
        f"Training loss above the lowest, {loss_text(any_.lowest_loss)}": told(
            Sign.TRAIN_LOSS, lambda each: loss_text(each.train_loss)
        ),
    }
    yield from (f"{name}: {text}." for name, text in begin.items() if text)


def _too_long(summary: Summary) -> Found:
    """Whether longer training, which the verdicts are about, made arms worse."""
    known = [(arm, p.longer) for arm in summary.arms if (p := summary.progress.get(arm.label))]
    if not summary.is_final or not any(longer for _, longer in known):
        return None
    units = Units(summary.metric)
    fell = [
        f"{name_of(arm, summary)} {units.number(longer.difference, '+')}{units.step}"
        for arm, longer in known
        if longer is not None and longer.verdict == "worse"
    ]
    if not fell:
        return "nothing"
    shorter, longest = summary.lengths[-2].epochs, summary.lengths[-1].epochs
    names = listed(fell[:_NAMED] + [f"{len(fell) - _NAMED} more"] * (len(fell) > _NAMED))
    return Card(
        title="Longer training makes it worse",
        found=(
            f"Test {summary.metric.noun} got worse from {shorter} to {longest} epochs: {names}. Verdicts are about "
            f"{longest} epochs; the table by length of training has those after {shorter}."
        ),
        helps="Augmentation, confirm.weights: best, or fewer epochs.",
    )


def _edges(summary: Summary) -> Found:
    known = [arm for arm in summary.search.arms if arm.best is not None]
    arms = [arm for arm in known if arm.edges]
    if not known or not summary.setup.ranges:
        return None
    if not arms:
        return "nothing"
    told = [f"{arm.label} ({', '.join(map(_edge_text, arm.edges))})" for arm in arms[:_NAMED]]
    if len(arms) > _NAMED:
        told.append(f"{len(arms) - _NAMED} more arms, which the table of the search marks")
    return Card(
        title="Best value at the end of its range",
        found=(
            f"Within {100 * EDGE:g} % of an end, so that a better one may lie outside: {'; '.join(told)}."
        ),
        helps="A wider range under tuned.",
    )


def _edge_text(edge: Edge) -> str:
    value, span = text_of(edge.value), f"{edge.low:g} to {edge.high:g}"
    return f"{short(edge.name)} {value} at the {edge.end} end of {span}"


def _tuning(summary: Summary) -> Found:
    """Whether both sides of each comparison were tuned with as many trials."""
    tuned = summary.search.tuned
    if not summary.search.asked or not tuned:
        return None
    if len(set(tuned.values())) == 1:
        return "nothing"
    several = len(tuned) > _LISTED
    least, most = (pick(tuned, key=lambda name: tuned[name]) for pick in (min, max))
    shown = {name: tuned[name] for name in ((least, most) if several else tuned)}
    told = listed(
        [f"{count} trial{'s' * (count != 1)} for {name}" for name, count in shown.items()]
    )
    return Card(
        title="Tuning was not equal",
        found=f"{'Between ' * several}{told}. The side with more trials has the better chance of a good cell.",
        helps="search.allocation: equal gives every arm, and by_level every level, as many.",
    )


def _false_stops(summary: Summary) -> Found:
    found = summary.search.false_stops
    if found is None or not found.finished:
        return None
    if not found.best:
        return "nothing"
    return Card(
        title="Early stopping would have cost something",
        found=false_stops_text(found),
        helps="More early_stopping.grace_epochs, or early_stopping.scheduler: none.",
    )


def _sight(summary: Summary) -> Found:
    """Whether the seeds were enough to tell a difference, or equivalence, from neither."""
    if not summary.is_final or not summary.measured:
        return None
    open_ = [
        name_of(arm, summary)
        for arm in summary.measured
        if arm.comparison is not None and arm.comparison.verdict == "inconclusive"
    ]
    if not open_:
        return "nothing"
    known = seen(summary)
    names = listed(open_) if len(open_) <= _NAMED else f"{len(open_)} of {len(summary.others)} arms"
    begin = f"Inconclusive: {names}."
    if known is None:
        return Card(
            title="No verdict", found=begin, helps="At least two seeds completed on both sides."
        )
    units, rule = Units(summary.metric), summary.rule
    least = f"{units.number(rule.smallest_difference)}{units.step}"
    word = "tunings" if rule.tunings > 1 else "seeds"
    called = f"a true difference of {units.number(known.sight.difference)}{units.step}"
    if summary.metric.is_share and known.sight.difference >= 1:
        called = "no difference that accuracies can have"
    found = (
        f"{begin} Paired differences have a standard deviation of {units.number(known.spread.sd)}{units.step} here. "
        f"{known.sight.seeds} {word} then call {called} in {100 * POWER:.0f} % of studies, and equal arms equivalent in "
        f"{100 * known.sight.equivalent:.0f} %; the smallest that matters is {least}."
    )
    enough = f"More than {MOST_PAIRS} {word}" if known.needed is None else f"{known.needed} {word}"
    helps = f"{enough} would call {least} in {100 * POWER:.0f} %."
    if known.needed is not None and known.needed <= known.sight.seeds:
        helps = "More seeds make equivalence likelier."
    if rule.tunings == 1:
        helps += (
            " confirm.top_up adds seeds where a verdict is missing; --extend seeds=+N to all arms."
        )
    return Card(title="No verdict", found=found, helps=helps)


def _images(summary: Summary) -> Found:
    images, units = images_tested(summary), Units(summary.metric)
    if not images or not summary.metric.is_share:
        return None
    bound = [name_of(arm, summary) for arm in only_on_these_images(summary)]
    parts = []
    if image_is_coarse(summary):
        parts.append(
            f"{images:,} test images: one of them is {units.number(1 / images)}{units.step}, and the smallest "
            f"difference that matters {units.number(summary.rule.smallest_difference)}."
        )
    if summary.is_final and bound:
        parts.append(
            f"The verdict on {listed(bound) if len(bound) <= _NAMED else f'{len(bound)} arms'} is about these test "
            "images; the interval for other images like them does not bear it."
        )
    if not parts:
        return "nothing"
    return Card(title="Few test images", found=" ".join(parts), helps="A larger test split.")


def _seeds(summary: Summary) -> Found:
    least = least_flip_p(summary)
    if least is None or not summary.is_final:
        return None
    if least <= summary.rule.alpha:
        return "nothing"
    n = max(arm.comparison.n for arm in summary.others if arm.comparison)
    return Card(
        title="Few seeds",
        found=(
            f"With {n_text(n, summary.rule)} p of the test by flipped signs cannot be below {least:.3g}; verdicts "
            "rest on differences being normal."
        ),
        helps=f"{_enough(summary.rule.alpha)} {'seeds' if summary.rule.tunings == 1 else 'tunings'} or more.",
    )


def _enough(alpha: float) -> int:
    """The fewest pairs whose signs can be flipped to a p of at most alpha."""
    return next(n for n in range(2, 64) if 2.0 ** (1 - n) <= alpha)


def _failed(summary: Summary) -> Found:
    asked = summary.search.asked + sum(arm.ended for arm in summary.arms)
    if not asked:
        return None
    if not summary.failed:
        return "nothing"
    parts = []
    causes = Counter(trial_text(trial) for trial in summary.failed)
    reason, count = causes.most_common(1)[0]
    phases = Counter(trial.phase for trial in summary.failed)
    by_phase = listed([f"{count} in the {PHASES[phase]}" for phase, count in phases.items()])
    parts.append(f"{len(summary.failed)} failed: {by_phase}.")
    often = f"Most often ({count})" if count > 1 else "One of the reasons"
    parts.append(f"{'The reason' if len(causes) == 1 else often}: {reason}.")
    parts += [
        f"{name_of(arm, summary)}: {failures_text(arm, summary.rule)}."
        for arm in summary.arms
        if arm.failed
    ]
    return Card(
        title="Runs failed",
        found=" ".join(parts),
        helps="The section on what is missing lists them with their reasons.",
    )


def _collapsed(summary: Summary) -> Found:
    return (collapsed_card(summary) or "nothing") if summary.attention else None


CHECKS = (
    Check("inconclusive arms", _sight),
    Check("signs of unfinished training", _unfinished),
    Check("training that went on for too long", _too_long),
    Check("best values at an end of their range", _edges),
    Check("unequal tuning", _tuning),
    Check("false stops", _false_stops),
    Check("too few test images", _images),
    Check("too few seeds for the test by flipped signs", _seeds),
    Check("attention that has collapsed in all heads", _collapsed),
    Check("failed runs", _failed),
)
