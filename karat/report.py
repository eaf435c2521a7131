"""What a study's journal says, for people: an answer, the numbers behind it, and how they came.

`summarise` finds the facts, `sections` puts them into words and tables, and the terminal, the
Markdown and the HTML view only lay these out. A study that has not ended gives a report too:
it says what is missing and gives no verdicts, since looking early would spoil their alpha.
"""

import math
import os
import shlex
import statistics as plain
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from karat.errors import JournalError
from karat.plots import Curve, Level
from karat.state import StudyState, Trial
from karat.statistics import (
    Comparison,
    Rule,
    Sample,
    compare,
    describe,
    pairwise,
    pooled_variance_cut,
    turned,
)

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")
Kind = Literal["text", "number", "range"]
EDGE = 0.02  # of a range: a best value this close to an end may lie outside
FOLDER_CONTENT = {
    "journal.jsonl": "every decision, report and end, in order; the only truth",
    "report.html": "this report, one file that needs nothing else",
    "report.md": "this report as Markdown",
    "report": "the pictures",
    "trials": "checkpoints, one folder for each trial",
    "sync.log": "what was said while the dashboard was brought up to date",
}


# -- facts ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """How a metric is shown: accuracies in percent and points, losses as they are."""

    name: str
    mode: Literal["max", "min"]

    @property
    def test(self) -> str:
        """The same on the test split."""
        return self.name.replace("val_", "test_", 1)

    @property
    def noun(self) -> str:
        return self.name.removeprefix("val_")

    @property
    def is_share(self) -> bool:
        return self.noun == "accuracy"

    @property
    def unit(self) -> str:
        return " %" if self.is_share else ""

    @property
    def step(self) -> str:
        """The unit of a difference."""
        return " points" if self.is_share else ""

    def scaled(self, value: float) -> float:
        """In the unit shown."""
        return 100 * value if self.is_share else value

    def number(self, value: float | None, sign: str = "") -> str:
        """In the unit shown, without naming it; `sign="+"` for differences."""
        if value is None:
            return "-"
        text = f"{self.scaled(value):{sign}.{2 if self.is_share else 4}f}"
        return text if float(text) != 0 else text.replace("-", "+" if sign else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmedArm:
    """One confirmed cell.

    Args:
        label, level: of the arm; the level of the factor in question, None for the reference.
        is_reference: whether the others are compared with it.
        tuned: the tuned parameters' values.
        parameters: of the model; None where the journal does not say.
        completed, ended: number of confirmation runs.
        validation: mean of the search metric after the last epoch; None without runs.
        test: over completed runs.
        runs: seed index to test value.
        seconds: median training time of a run; None without runs.
        comparison: with the reference; None for the reference itself.
    """

    label: str
    level: Any
    is_reference: bool
    tuned: Mapping[str, Any]
    parameters: int | None
    completed: int
    ended: int
    validation: float | None
    test: Sample
    runs: Mapping[int, float]
    seconds: float | None
    comparison: Comparison | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchedArm:
    """What the search did in one arm; `best` is over trials at full length, `edges` are warnings."""

    label: str
    asked: int
    completed: int
    stopped: int
    failed: int
    epochs: int
    best: float | None
    best_tuned: Mapping[str, Any]
    edges: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchFacts:
    """What the search cost.

    Args:
        planned, asked, completed, stopped, failed: numbers of trials.
        epochs_run, epochs_full: of the trials that completed or were stopped: run, and what
            they would have run without early stopping.
        training_seconds: over all search trials.
        engine_seconds: slot time that was not training, for each trial; None without trials.
        arms: each arm's part.
    """

    planned: int
    asked: int
    completed: int
    stopped: int
    failed: int
    epochs_run: int
    epochs_full: int
    training_seconds: float
    engine_seconds: float | None
    arms: tuple[SearchedArm, ...]

    @property
    def saved(self) -> float | None:
        """Share of the epochs that early stopping saved; None without epochs."""
        return 1 - self.epochs_run / self.epochs_full if self.epochs_full else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Everything that the views show.

    Args:
        status, reason: of the study.
        planned_runs: of the confirmation; None before it is planned.
        is_final: every planned confirmation run has ended, so verdicts are given.
        arms: confirmed arms, the reference first, then by level.
        pairs: the confirmed arms but the reference, each against each.
        variance_cut: see `karat.statistics.pooled_variance_cut`.
        also_different: other factors in which the confirmed arms differ.
        curves: validation metric by epoch, in the unit shown.
        settings: what was fixed before the launch, name to text.
        environment: of the last launch, flat.
        launches, slots: number of launches; trials at a time in the last.
        began_at, ended_at: seconds since the epoch; None while the study has no end.
    """

    name: str
    question: str
    status: str
    reason: str
    metric: Metric
    rule: Rule
    by: str
    reference: str
    seeds: int
    planned_runs: int | None
    is_final: bool
    arms: tuple[ConfirmedArm, ...]
    pairs: tuple[Comparison, ...]
    variance_cut: float | None
    also_different: tuple[str, ...]
    curves: tuple[Curve, ...]
    search: SearchFacts
    failed: tuple[Trial, ...]
    excluded: tuple[Mapping[str, str], ...]
    skipped: tuple[Mapping[str, str], ...]
    settings: Mapping[str, str]
    environment: Mapping[str, str]
    launches: int
    slots: int
    began_at: float
    ended_at: float | None

    @property
    def others(self) -> tuple[ConfirmedArm, ...]:
        """The confirmed arms but the reference."""
        return tuple(arm for arm in self.arms if not arm.is_reference)

    @property
    def key(self) -> str:
        """Short name of the factor in question."""
        return short(self.by)


def summarise(state: StudyState) -> Summary:
    """The facts of a study, whether it has ended or not.

    Raises:
        JournalError: the journal does not even say what the question is.
    """
    created = state.created
    if not created:
        raise JournalError("the journal is empty: no study was created in it")
    metric = Metric(name=created["metric"], mode=created["mode"])
    confirm = created["confirm"]
    rule = Rule(
        mode=created["mode"],
        smallest_difference=confirm["smallest_difference"],
        alpha=confirm["alpha"],
    )
    arms = _confirmed_arms(state, metric, rule)
    others = {arm.label: arm.runs for arm in arms if not arm.is_reference}
    base = next((arm.runs for arm in arms if arm.is_reference), {})
    last = state.launches[-1] if state.launches else None
    planned = None
    if state.confirmation is not None:
        planned = len(state.confirmation["cells"]) * confirm["seeds"]
    return Summary(
        name=created["name"],
        question=created["question"],
        status=state.status,
        reason=state.reason,
        metric=metric,
        rule=rule,
        by=confirm["by"],
        reference=created["reference"],
        seeds=confirm["seeds"],
        planned_runs=planned,
        is_final=bool(arms) and all(arm.ended >= confirm["seeds"] for arm in arms),
        arms=arms,
        pairs=pairwise(others, rule),
        variance_cut=pooled_variance_cut(base, others),
        also_different=_also_different(state, arms),
        curves=tuple(_curves(state, arms, metric)),
        search=_search_facts(state, metric),
        failed=tuple(trial for trial in state.trials.values() if trial.status == "failed"),
        excluded=tuple(created["excluded"]),
        skipped=tuple(state.confirmation["skipped"]) if state.confirmation else (),
        settings=_settings(created),
        environment=_flat(last.environment) if last else {},
        launches=len(state.launches),
        slots=last.slots if last else 0,
        began_at=state.created_at,
        ended_at=state.ended_at,
    )


def _confirmed_arms(state: StudyState, metric: Metric, rule: Rule) -> tuple[ConfirmedArm, ...]:
    if state.confirmation is None:
        return ()
    reference = state.created["reference"]
    tests = {
        cell["arm"]: {
            trial.seed_index: value
            for trial in _runs_of(state, cell["arm"])
            if (value := trial.last(metric.test)) is not None
        }
        for cell in state.confirmation["cells"]
    }
    others = {label: runs for label, runs in tests.items() if label != reference}
    compared = compare((reference, tests.get(reference, {})), others, rule)
    parameters = {arm["label"]: arm.get("parameters") for arm in state.created["arms"]}
    found = []
    for cell in state.confirmation["cells"]:
        label, runs = cell["arm"], _runs_of(state, cell["arm"])
        all_of_it = [trial for trial in state.of_phase("confirm") if trial.arm == label]
        validation = [value for t in runs if (value := t.last(metric.name)) is not None]
        arm = ConfirmedArm(
            label=label,
            level=cell["level"],
            is_reference=label == reference,
            tuned=cell["tuned"],
            parameters=parameters.get(label),
            completed=len(runs),
            ended=sum(trial.ended for trial in all_of_it),
            validation=plain.fmean(validation) if validation else None,
            test=describe(list(tests[label].values()), rule.alpha),
            runs=tests[label],
            seconds=plain.median(trial.seconds for trial in runs) if runs else None,
            comparison=compared.get(label),
        )
        found.append(arm)
    numeric = all(_is_number(arm.level) for arm in found if not arm.is_reference)
    return tuple(
        sorted(
            found,
            key=lambda a: (not a.is_reference, a.level if numeric and not a.is_reference else 0),
        )
    )


def _runs_of(state: StudyState, label: str) -> list[Trial]:
    """The completed confirmation runs of an arm."""
    confirmed = state.of_phase("confirm")
    return [trial for trial in confirmed if trial.arm == label and trial.status == "completed"]


def _also_different(state: StudyState, arms: Sequence[ConfirmedArm]) -> tuple[str, ...]:
    labels = {arm.label for arm in arms if not arm.is_reference}
    factors = [arm["factors"] for arm in state.created["arms"] if arm["label"] in labels]
    keys = dict.fromkeys(key for each in factors for key in each)
    keys.pop(state.created["confirm"]["by"], None)
    return tuple(short(key) for key in keys if len({repr(each.get(key)) for each in factors}) > 1)


def _curves(state: StudyState, arms: Sequence[ConfirmedArm], metric: Metric) -> Iterable[Curve]:
    """By arm, up to the last epoch that all its runs have reached; unless one is complete, of those under way."""
    for arm in arms:
        runs = _runs_of(state, arm.label) or [
            trial
            for trial in state.of_phase("confirm")
            if trial.arm == arm.label and trial.status != "failed" and trial.reports
        ]
        series = [
            [metric.scaled(r.metrics[metric.name]) for r in run.reports if metric.name in r.metrics]
            for run in runs
        ]
        reached = min(map(len, series), default=0)
        if reached:
            at_epoch = [[values[place] for values in series] for place in range(reached)]
            yield Curve(
                label=arm.label,
                epochs=tuple(range(1, reached + 1)),
                mean=tuple(map(plain.fmean, at_epoch)),
                sd=tuple(plain.stdev(v) if len(v) > 1 else 0.0 for v in at_epoch),
                is_reference=arm.is_reference,
            )


def _search_facts(state: StudyState, metric: Metric) -> SearchFacts:
    trials = state.of_phase("search")
    counted = [trial for trial in trials if trial.status in ("completed", "stopped")]
    training = sum(trial.seconds for trial in trials)
    engine = (_slot_seconds(state) - training) / len(trials) if trials else None
    return SearchFacts(
        planned=state.created["totals"]["search"],
        asked=len(trials),
        completed=_count(trials, "completed"),
        stopped=_count(trials, "stopped"),
        failed=_count(trials, "failed"),
        epochs_run=sum(len(trial.reports) for trial in counted),
        epochs_full=sum(trial.epochs for trial in counted),
        training_seconds=training,
        engine_seconds=engine,
        arms=tuple(_searched_arm(state, arm, metric) for arm in state.created["arms"]),
    )


def _searched_arm(state: StudyState, arm: Mapping[str, Any], metric: Metric) -> SearchedArm:
    trials = [trial for trial in state.of_phase("search") if trial.arm == arm["label"]]
    values = {
        trial.number: value
        for trial in trials
        if trial.status == "completed" and (value := trial.last(metric.name)) is not None
    }
    sign = 1 if metric.mode == "max" else -1
    best = max(values, key=lambda number: sign * values[number], default=None)
    for cell in state.confirmation["cells"] if state.confirmation else ():
        if cell["arm"] == arm["label"]:
            best = cell["trial"]
    tuned = state.trials[best].tuned if best is not None else {}
    return SearchedArm(
        label=arm["label"],
        asked=len(trials),
        completed=_count(trials, "completed"),
        stopped=_count(trials, "stopped"),
        failed=_count(trials, "failed"),
        epochs=sum(len(trial.reports) for trial in trials),
        best=values.get(best) if best is not None else None,
        best_tuned=tuned,
        edges=tuple(_edges(tuned, state.created["space"].get("tuned", {}))),
    )


def _edges(tuned: Mapping[str, Any], ranges: Mapping[str, Any]) -> Iterable[str]:
    """A phrase for each tuned value that lies within `EDGE` of an end of its range."""
    for name, value in tuned.items():
        given = ranges.get(name, {})
        low, high = given.get("low"), given.get("high")
        if low is None or high is None:
            continue
        ends = (value, low, high)
        at, start, stop = map(math.log, ends) if given.get("log") else ends
        place = (at - start) / (stop - start)
        if not EDGE < place < 1 - EDGE:
            end = "lower" if place < 0.5 else "upper"
            yield f"{short(name)} {text_of(value)} at the {end} end of {low:g} to {high:g}"


def _slot_seconds(state: StudyState) -> float:
    """Wall time of the search times slots, summed over launches.

    A launch counts up to the last thing that was recorded before the next one, so the time
    between launches does not count.
    """
    search = state.of_phase("search")
    begin = search[0].asked_at
    moments = sorted(time for trial in state.trials.values() for time in _moments(trial))
    of_search = max(time for trial in search for time in _moments(trial))
    end = state.search_ended_at or of_search
    total = 0.0
    for number, launch in enumerate(state.launches):
        after = state.launches[number + 1].time if number + 1 < len(state.launches) else math.inf
        seen = [time for time in moments if launch.time <= time < after]
        stop = end if end < after else max(seen, default=launch.time)
        total += max(0.0, min(stop, end) - max(launch.time, begin)) * launch.slots
    return total


def _moments(trial: Trial) -> Iterable[float]:
    yield trial.asked_at
    yield from (report.time for report in trial.reports)
    if trial.ended_at is not None:
        yield trial.ended_at


def _settings(created: Mapping[str, Any]) -> dict[str, str]:
    search, confirm = created["search"], created["confirm"]
    stopping = dict(created["early_stopping"])
    scheduler = stopping.pop("scheduler", "none")
    details = ", ".join(f"{key} {text_of(value)}" for key, value in stopping.items())
    metric = Metric(name=created["metric"], mode=created["mode"])
    best = "highest" if created["mode"] == "max" else "lowest"
    return {
        "primary metric": f"{metric.test}, measured once for each run, after its last epoch",
        "smallest difference of interest": (
            f"{metric.number(confirm['smallest_difference'])}{metric.step}"
        ),
        "alpha": f"{confirm['alpha']:g}",
        "correction": "Holm, over the confirmed arms",
        "seeds": f"{confirm['seeds']} for each confirmed arm, none of them used in the search",
        "confirmed": f"the best arm of each level of {confirm['by']}, and the reference",
        "chosen by": f"{best} {metric.name} of the search, among trials at full length",
        "search": (
            f"{search['sampler']}, {created['totals']['search']} trials, "
            f"{search.get('allocation', 'equal')} allocation"
        ),
        "early stopping": f"{scheduler}{f' ({details})' if details else ''}",
        "study seed": str(created["seed"]),
        "hash of the question": created["space_hash"],
        "fingerprint of the data": created["data"]["fingerprint"],
    }


# -- words ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Columns, and rows of cells as text.

    Args:
        columns: names.
        kinds: of the columns: `number` is set flush right, `range` stays on one line.
        rows: as many cells as there are columns.
        title: shown above, unless empty.
        cards: on a narrow screen, show each row as a card.
    """

    columns: tuple[str, ...]
    kinds: tuple[Kind, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    cards: bool = False

    @property
    def folded(self) -> bool:
        """So long that the reader is to open it."""
        return len(self.rows) > 30


def table_of(
    items: Iterable[T],
    *columns: tuple[str, Kind, Callable[[T], str]],
    title: str = "",
    cards: bool = False,
) -> Table:
    """A table with a row for each item; each column is its name, kind, and what an item shows."""
    names, kinds, cells = zip(*columns, strict=True)
    rows = tuple(tuple(cell(item) for cell in cells) for item in items)
    return Table(columns=names, kinds=kinds, rows=rows, title=title, cards=cards)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A plot: its file's name, what it shows, and the PNG file."""

    file: str
    caption: str
    png: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part of the report, in the order in which it is read; commands are (use, command)."""

    title: str
    paragraphs: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    commands: tuple[tuple[str, str], ...] = ()
    pictures: tuple[Picture, ...] = ()


def answer(summary: Summary) -> str:
    """The question's answer in a few plain sentences, claiming what the statistics say and no more."""
    if summary.planned_runs is None:
        return _answer_of_search(summary)
    if not any(arm.completed for arm in summary.arms):
        if summary.status == "failed" or not summary.arms:
            return "There is no answer: " + (summary.reason or "no arm could be confirmed") + "."
        return "There is no answer yet: no confirmation run has been completed."
    if not summary.is_final:
        done = sum(arm.ended for arm in summary.arms)
        return (
            f"There is no answer yet: {done} of {summary.planned_runs} confirmation runs have "
            "ended. The numbers below will change, and no verdict is given on a part of the seeds."
        )
    measured = [arm for arm in summary.others if arm.test.mean is not None]
    if not measured:
        return f"There is no answer: of the arms confirmed, only {summary.reference} has results."
    sign = 1 if summary.metric.mode == "max" else -1
    best = max(measured, key=lambda arm: sign * (arm.test.mean or 0))
    sentences = [_about(best, summary), _about_others(best, summary), _about_pairs(best, summary)]
    return " ".join(sentence for sentence in sentences if sentence)


def _answer_of_search(summary: Summary) -> str:
    facts, metric = summary.search, summary.metric
    ended = facts.completed + facts.stopped + facts.failed
    if ended and facts.failed == ended:
        return f"There is no answer: all {ended} trials that have ended failed."
    begin = f"There is no answer yet: the search has ended {ended} of {facts.planned} trials"
    known = [arm for arm in facts.arms if arm.best is not None]
    if not known:
        return begin + "."
    sign = 1 if metric.mode == "max" else -1
    best = max(known, key=lambda arm: sign * (arm.best or 0))
    return (
        f"{begin}. Best so far on the validation split: {best.label} with "
        f"{metric.number(best.best)}{metric.unit}; nothing has been confirmed."
    )


def _about(arm: ConfirmedArm, summary: Summary) -> str:
    metric, found = summary.metric, arm.comparison
    assert found is not None
    begin = f"{arm.label} reaches {metric.number(arm.test.mean)}{metric.unit} on the test split"
    if metric.noun == "loss":
        begin = f"{arm.label} reaches a loss of {metric.number(arm.test.mean)} on the test split"
    if found.difference is None:
        return f"{begin}; there is nothing to compare it with ({found.reason})."
    side = "above" if found.difference >= 0 else "below"
    size = f"{metric.number(abs(found.difference))}{metric.step} {side} {summary.reference}"
    if found.low is None or found.high is None:
        return f"{begin}, {size}: {found.verdict} ({found.reason})."
    ends = (found.low, found.high) if found.difference >= 0 else (-found.high, -found.low)
    interval = f"{metric.number(ends[0])} to {metric.number(ends[1])}"
    share = f"{100 * (1 - summary.rule.alpha):g} % interval"
    return f"{begin}, {size} ({share} {interval}): {_meaning(found, summary)}."


def _meaning(found: Comparison, summary: Summary) -> str:
    least = f"{summary.metric.number(summary.rule.smallest_difference)}{summary.metric.step}"
    if found.verdict == "equivalent":
        return f"equivalent, as {least} is the smallest difference that matters here"
    if found.verdict == "inconclusive":
        return f"inconclusive, {found.n} seeds settle neither a difference nor equivalence"
    return found.verdict


def _about_others(best: ConfirmedArm, summary: Summary) -> str:
    others = [arm.comparison for arm in summary.others if arm is not best and arm.comparison]
    if not others:
        return ""
    verdicts = [each.verdict for each in others]
    assert best.comparison is not None
    if set(verdicts) == {best.comparison.verdict}:
        count = (
            "the other confirmed arm is"
            if len(others) == 1
            else f"the other {len(others)} confirmed arms are"
        )
        return f"Against {summary.reference}, {count} {verdicts[0]} too."
    counts = [
        f"{n} {word}"
        for word in ("better", "equivalent", "inconclusive", "worse")
        if (n := verdicts.count(word))
    ]
    return f"Of the others, against {summary.reference}: {', '.join(counts)}."


def _about_pairs(best: ConfirmedArm, summary: Summary) -> str:
    """Whether the highest mean is settled to be the best, by the comparisons of each with each."""
    seen = [
        pair if pair.arm == best.label else turned(pair)
        for pair in summary.pairs
        if best.label in (pair.arm, pair.against)
    ]
    if not seen:
        return ""
    by_label = {arm.label: text_of(arm.level) for arm in summary.others}
    beaten = [by_label[pair.against] for pair in seen if pair.verdict == "better"]
    same = [by_label[pair.against] for pair in seen if pair.verdict == "equivalent"]
    open_ = [by_label[pair.against] for pair in seen if pair.verdict in ("inconclusive", "worse")]
    if len(beaten) == len(seen):
        return f"It is better than every other {summary.key} confirmed, too."
    if not any(pair.verdict in ("better", "worse") for pair in summary.pairs) and not same:
        return f"Between the levels of {summary.key} no difference is settled."
    parts = [
        f"better than {_listed(beaten)}" if beaten else "",
        f"equivalent to {_listed(same)}" if same else "",
        f"not settled against {_listed(open_)}" if open_ else "",
    ]
    told = "; ".join(part for part in parts if part)
    return f"Between the levels of {summary.key}, {text_of(best.level)} is {told}."


def sections(summary: Summary) -> tuple[Section, ...]:
    """The report after question and answer, in words, tables and pictures."""
    parts = [
        _result_section(summary),
        _picture_section(summary),
        _pair_section(summary),
        _search_section(summary),
        _trouble_section(summary),
        _decision_section(summary),
        _environment_section(summary),
    ]
    return tuple(part for part in parts if part is not None)


def _result_section(summary: Summary) -> Section | None:
    if not summary.arms:
        return None
    metric = summary.metric
    share = f"{100 * (1 - summary.rule.alpha):g} % interval"
    level_kind: Kind = "number" if all(_is_number(a.level) for a in summary.others) else "text"
    table = table_of(
        summary.arms,
        ("arm", "text", lambda arm: arm.label + " (reference)" * arm.is_reference),
        (summary.key, level_kind, lambda arm: text_of(arm.level)),
        ("tuned", "text", lambda arm: tuned_text(arm.tuned)),
        ("parameters", "number", lambda arm: f"{arm.parameters:,}" if arm.parameters else "-"),
        (f"validation{_in(metric.unit)}", "number", lambda arm: metric.number(arm.validation)),
        (f"test{_in(metric.unit)}", "number", lambda arm: spread_text(arm.test, metric)),
        (
            f"difference{_in(metric.step)}, {share}",
            "range",
            lambda arm: interval_text(arm.comparison, metric),
        ),
        ("p (Holm)", "number", lambda arm: p_text(arm.comparison if summary.is_final else None)),
        ("verdict", "text", lambda arm: verdict_text(arm, summary)),
        ("s per run", "number", lambda arm: "-" if arm.seconds is None else f"{arm.seconds:.1f}"),
        cards=True,
    )
    return Section(title="Result", paragraphs=tuple(_result_notes(summary)), tables=(table,))


def _result_notes(summary: Summary) -> Iterable[str]:
    metric = summary.metric
    seeds = f"{summary.seeds} fresh seeds" if summary.is_final else "the seeds completed so far"
    yield (
        f"Validation and test are means over {seeds}, at full length, ± one "
        f"standard deviation. Differences are to {summary.reference}, paired by seed."
    )
    if summary.variance_cut is not None:
        cut = 100 * summary.variance_cut
        did = (
            f"cut the variance of a difference by {cut:.0f} %"
            if cut >= 0
            else (f"raised the variance of a difference by {-cut:.0f} %")
        )
        yield f"Pairing {did}, against independent runs."
    if summary.also_different:
        yield (
            f"Each {summary.key} is represented by the arm that did best in the search; these arms "
            f"differ in {_listed(summary.also_different)} as well."
        )
    for arm in summary.arms:
        if summary.is_final and len(arm.runs) < summary.seeds:
            yield f"{arm.label}: {len(arm.runs)} of {summary.seeds} seeds gave a {metric.test}."
        if arm.comparison and summary.is_final and arm.comparison.verdict == "inconclusive":
            yield f"{arm.label}: inconclusive, since {arm.comparison.reason}."


def _picture_section(summary: Summary) -> Section | None:
    pictures = [*_epoch_picture(summary), *_level_picture(summary)]
    return Section(title="Pictures", pictures=tuple(pictures)) if pictures else None


def _epoch_picture(summary: Summary) -> Iterable[Picture]:
    from karat import plots

    if summary.curves:
        noun = summary.metric.noun
        axis = f"validation {noun}{_in(summary.metric.unit)}"
        yield Picture(
            file=f"{noun}_by_epoch.png",
            caption=(
                f"Validation {noun} of the confirmed arms by epoch: mean over seeds, and a band "
                "of one standard deviation."
            ),
            png=plots.by_epoch(summary.curves, axis),
        )


def _level_picture(summary: Summary) -> Iterable[Picture]:
    from karat import plots

    levels = [_level(arm, summary) for arm in summary.others if arm.runs]
    base = next((arm for arm in summary.arms if arm.is_reference and arm.runs), None)
    if levels:
        metric, share = summary.metric, 100 * (1 - summary.rule.alpha)
        axis = f"test {metric.noun}{_in(metric.unit)}"
        reference = _level(base, summary) if base else None
        yield Picture(
            file=f"{metric.noun}_by_{file_name(summary.key)}.png",
            caption=(
                f"Test {metric.noun} by {summary.key}: a dot for each seed, the mean with its "
                f"{share:g} % interval; the dashed line is the reference with the same interval. "
                "These intervals are of single means; differences are paired, and the table's "
                "intervals hold for them."
            ),
            png=plots.by_level(levels, reference, axis, summary.key),
        )


def _level(arm: ConfirmedArm, summary: Summary) -> Level:
    values = [summary.metric.scaled(value) for _, value in sorted(arm.runs.items())]
    return Level(
        name=summary.reference if arm.is_reference else text_of(arm.level),
        at=float(arm.level) if _is_number(arm.level) else None,
        values=tuple(values),
        sample=describe(values, summary.rule.alpha),
    )


def _pair_section(summary: Summary) -> Section | None:
    if not summary.pairs or not summary.is_final:
        return None
    metric = summary.metric
    levels = {arm.label: text_of(arm.level) for arm in summary.others}
    table = table_of(
        summary.pairs,
        (summary.key, "text", lambda pair: levels[pair.arm]),
        ("against", "text", lambda pair: levels[pair.against]),
        (
            f"difference{_in(metric.step)} and interval",
            "range",
            lambda pair: interval_text(pair, metric),
        ),
        ("p (Holm)", "number", p_text),
        ("verdict", "text", lambda pair: pair.verdict),
    )
    pairs = f"{len(table.rows)} pair{'s' * (len(table.rows) != 1)}"
    note = (
        f"A second look: the confirmed arms against each other, {pairs}, corrected by Holm. "
        "The verdict is on the first against the second."
    )
    title = f"Between the levels of {summary.key}"
    return Section(title=title, paragraphs=(note,), tables=(table,))


def _search_section(summary: Summary) -> Section:
    metric = summary.metric
    table = table_of(
        summary.search.arms,
        ("arm", "text", lambda arm: arm.label),
        ("trials", "number", lambda arm: str(arm.asked)),
        ("completed", "number", lambda arm: str(arm.completed)),
        ("stopped", "number", lambda arm: str(arm.stopped)),
        ("failed", "number", lambda arm: str(arm.failed)),
        ("epochs", "number", lambda arm: str(arm.epochs)),
        (f"best validation{_in(metric.unit)}", "number", lambda arm: metric.number(arm.best)),
        ("tuned to", "text", lambda arm: tuned_text(arm.best_tuned)),
        ("at an end of its range", "text", lambda arm: "yes" if arm.edges else ""),
    )
    return Section(title="Search", paragraphs=tuple(search_notes(summary)), tables=(table,))


def search_notes(summary: Summary) -> Iterable[str]:
    """What the search did and cost, a sentence for each."""
    facts = summary.search
    counts = f"{facts.completed} completed, {facts.stopped} stopped early, {facts.failed} failed"
    yield f"Of {facts.planned} trials, {facts.asked} were asked for: {counts}."
    if facts.saved is not None:
        yield (
            f"{facts.epochs_run} epochs were run; without early stopping it would have been "
            f"{facts.epochs_full} ({100 * facts.saved:.0f} % saved)."
        )
    if facts.engine_seconds is not None:
        yield (
            f"Engine cost: {facts.engine_seconds:.2f} s of slot time for each trial in which "
            "nothing was trained (starting, handing over, epochs repeated after a loss, slots "
            "idle at the end)."
        )
    least, most = _budget(facts)
    if not most:
        return
    if least == most:
        yield f"Tuning was equal: {most} trials in every arm."
    else:
        yield f"Tuning was not equal: from {least} to {most} trials in an arm."
    edges = [f"{arm.label} ({', '.join(arm.edges)})" for arm in facts.arms if arm.edges]
    if edges:
        yield (
            f"Best value within {100 * EDGE:g} % of an end of its range, so a better one may lie "
            f"outside: {'; '.join(edges)}."
        )


def _trouble_section(summary: Summary) -> Section | None:
    failed = table_of(
        summary.failed,
        ("trial", "number", lambda trial: str(trial.number)),
        ("phase", "text", lambda trial: trial.phase),
        ("arm", "text", lambda trial: trial.arm),
        ("reason", "text", lambda trial: trial.reason),
        title="Failed trials",
    )
    skipped = table_of(
        summary.skipped,
        ("level", "text", lambda each: each["label"]),
        ("reason", "text", lambda each: each["reason"]),
        title="Not confirmed",
    )
    excluded = table_of(
        summary.excluded,
        ("combination", "text", lambda each: each["label"]),
        ("rule", "text", lambda each: each["rule"]),
        title="Excluded combinations",
    )
    tables = tuple(table for table in (failed, skipped, excluded) if table.rows)
    return Section(title="What is missing", tables=tables) if tables else None


def _decision_section(summary: Summary) -> Section:
    share = f"{100 * (1 - summary.rule.alpha):g} %"
    note = (
        "Fixed before the launch, and kept in the journal. Equivalent: the whole "
        f"{share} interval of the paired difference lies within the smallest difference of "
        f"interest. Better, worse: not that, and the p value of the paired t test, adjusted by "
        f"Holm over the arms, is below {summary.rule.alpha:g}. Inconclusive: neither. Each "
        "interval holds for itself, not for all together."
    )
    table = _pairs_table(summary.settings, "", "setting")
    return Section(title="How it was decided", paragraphs=(note,), tables=(table,))


def _environment_section(summary: Summary) -> Section:
    began = moment_text(summary.began_at)
    ended = "no end yet" if summary.ended_at is None else f"ended {moment_text(summary.ended_at)}"
    launches = f"{summary.launches} launch{'es' * (summary.launches != 1)}"
    note = f"Began {began}, {ended}; {launches}, {summary.slots} trials at a time in the last."
    table = _pairs_table(summary.environment, "", "in the last launch")
    return Section(title="Where it ran", paragraphs=(note,), tables=(table,) if table.rows else ())


def _pairs_table(pairs: Mapping[str, str], name: str, value: str) -> Table:
    return table_of(
        pairs.items(), (name, "text", lambda pair: pair[0]), (value, "text", lambda pair: pair[1])
    )


def _folder_section(folder: Path) -> Section:
    names = {*os.listdir(folder), "report.html", "report.md"} - {"lock"}
    known = {name: text for name, text in FOLDER_CONTENT.items() if name in names}
    store = shlex.quote(f"sqlite:///{_as_typed(folder.parent / 'mlflow.db')}")
    commands = (
        ("Open the dashboard", f"mlflow ui --backend-store-uri {store}"),
        ("Write this report anew", f"python -m karat report {shlex.quote(str(_as_typed(folder)))}"),
    )
    table = _pairs_table(known, "in the study's folder", "")
    return Section(title="To look further", tables=(table,), commands=commands)


# -- small texts ------------------------------------------------------------------------------


def short(key: str) -> str:
    """A parameter's name without its section."""
    return key.rpartition(".")[2]


def text_of(value: Any) -> str:
    """A level or a tuned value as in YAML, numbers with four digits."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _in(unit: str) -> str:
    return f" ({unit.strip()})" if unit else ""


def tuned_text(tuned: Mapping[str, Any]) -> str:
    return ", ".join(f"{short(name)} {text_of(value)}" for name, value in tuned.items()) or "-"


def spread_text(sample: Sample, metric: Metric) -> str:
    """Mean and standard deviation."""
    if sample.sd is None:
        return metric.number(sample.mean)
    return f"{metric.number(sample.mean)} ± {metric.number(sample.sd)}"


def interval_text(found: Comparison | None, metric: Metric) -> str:
    """A difference and its interval; nothing for the reference."""
    if found is None:
        return ""
    if found.low is None or found.high is None:
        return metric.number(found.difference, "+")
    ends = f"{metric.number(found.low, '+')} to {metric.number(found.high, '+')}"
    return f"{metric.number(found.difference, '+')} ({ends})"


def p_text(found: Comparison | None) -> str:
    if found is None:
        return ""
    if found.p_holm is None:
        return "-"
    return "< 0.001" if found.p_holm < 0.001 else f"{found.p_holm:.3f}"


def verdict_text(arm: ConfirmedArm, summary: Summary) -> str:
    """One word; `pending` until all runs of the confirmation have ended."""
    if arm.comparison is None:
        return "reference"
    return arm.comparison.verdict if summary.is_final else "pending"


def status_text(summary: Summary) -> str:
    """How the study stands, as a phrase."""
    if summary.status == "running":
        return "not ended: it is running, or was killed; the same command goes on"
    if summary.status == "interrupted":
        return f"interrupted by {summary.reason}; the same command goes on"
    return summary.status + (f": {summary.reason}" if summary.reason else "")


def moment_text(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M UTC")


def file_name(text: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in text)


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _count(trials: Sequence[Trial], status: str) -> int:
    return sum(trial.status == status for trial in trials)


def _budget(facts: SearchFacts) -> tuple[int, int]:
    asked = [arm.asked for arm in facts.arms]
    return min(asked, default=0), max(asked, default=0)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """A nested mapping as dotted keys and text."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple):
            flat[prefix + key] = ", ".join(map(str, value)) or "none"
        else:
            flat[prefix + key] = text_of(value)
    return flat


def _as_typed(path: Path) -> Path:
    """Relative to the working directory if it lies below it."""
    here = Path.cwd()
    absolute = path.resolve()
    return absolute.relative_to(here) if absolute.is_relative_to(here) else absolute


# -- views ------------------------------------------------------------------------------------


def render_terminal(summary: Summary, console: "Console") -> None:
    """Print question, answer, main table and warnings; narrow terminals get fewer columns."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable
    from rich.text import Text

    console.print(Text(summary.question, style="italic"))
    console.print(Text(answer(summary), style="bold"))
    result = _result_section(summary)
    if result is not None:
        table = result.tables[0]
        shown = _columns_for(console.width, table, summary.key)
        rich = RichTable(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
        kinds = dict(zip(table.columns, table.kinds, strict=True))
        for name in shown:
            flush: Literal["left", "right"] = "right" if kinds[name] == "number" else "left"
            rich.add_column(Text(name), justify=flush, overflow="fold")
        for row in table.rows:
            cells = dict(zip(table.columns, row, strict=True))
            rich.add_row(*[Text(cells[name]) for name in shown])
        console.print()
        console.print(rich)
    console.print()
    for note in search_notes(summary):
        console.print(Text(note, style="dim"))
    if summary.status != "completed":
        console.print(Text(f"Study: {status_text(summary)}."))


def _columns_for(width: int, table: Table, key: str) -> list[str]:
    """As many columns as fit, the least telling ones left out first."""
    wide = {"tuned": 180, key: 155, "parameters": 140, "p (Holm)": 110, "s per run": 96}
    validation = table.columns[4]
    return [name for name in table.columns if width >= {**wide, validation: 125}.get(name, 0)]


def write_report(study_folder: Path, state: StudyState) -> None:
    """Write `report.md`, `report.html` and the pictures in `report/`; each file whole or not at all.

    Raises:
        JournalError: the journal is empty.
        OSError: the folder cannot be written to.
    """
    summary = summarise(state)
    (study_folder / "report").mkdir(exist_ok=True)
    parts = (*sections(summary), _folder_section(study_folder))
    for part in parts:
        for picture in part.pictures:
            _write(study_folder / "report" / picture.file, picture.png)
    for name in ("report.md", "report.html"):
        _write(study_folder / name, _render(f"{name}.j2", summary, parts).encode())


def _render(template: str, summary: Summary, parts: Sequence[Section]) -> str:
    import base64

    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["md"] = markdown
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode()
    return environment.get_template(template).render(
        summary=summary,
        answer=answer(summary),
        status=status_text(summary),
        sections=parts,
    )


def markdown(text: str) -> str:
    """Text as one line of Markdown that shows it as it is, also in a table's cell."""
    for mark in "\\`*[]|#~$":
        text = text.replace(mark, f"\\{mark}")
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return " ".join(text.split())


def _write(path: Path, content: bytes) -> None:
    """Replace a file in one step."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
