"""A study's facts as one JSON document: the page embeds it, and commands print it with `--json`.

Plain types only (mappings, lists, text, numbers, truth values, None), in the units of the journal: accuracies
from 0 to 1, seconds, bytes. Moments are ISO 8601 in UTC. Keys stay as they are within one `schema`; new ones
may be added. docs/formats.md describes them.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from karat.journal.state import StudyState
from karat.journal.trial import Trial
from karat.journal.wording import study_text, trial_text
from karat.parameters import plain
from karat.report.answer import answer
from karat.report.facts.confirmed import ConfirmedArm
from karat.report.facts.designs.changes import Change
from karat.report.facts.designs.effects import Effect
from karat.report.facts.summary import Summary
from karat.report.facts.testing.scores import ArmScores
from karat.report.facts.testing.shifted import ShiftedFacts
from karat.report.parts.matched_cost import matched_json
from karat.report.parts.places import places_json
from karat.settings import flat
from karat.statistics.comparison import Comparison
from karat.statistics.metric import Metric

SCHEMA = 1
Json = dict[str, Any]


def document(summary: Summary, state: StudyState) -> Json:
    """All facts of one study.

    Args:
        summary: of the study.
        state: that it was made from.
    """
    headline = summary.headline
    shared = _shared(state.trials.values())
    return {
        "schema": SCHEMA,
        "study": summary.name,
        "question": summary.question,
        "status": summary.status,
        "reason": study_text(state) or None,
        "is_final": summary.is_final,
        "answer": answer(summary),
        "headline": headline.label if headline is not None else None,
        "verdict": _verdict(headline.comparison, summary) if headline is not None else None,
        "began_at": moment(summary.began_at),
        "ended_at": moment(summary.ended_at),
        "metric": {
            "search": summary.metric.name,
            "test": summary.metric.test,
            "mode": summary.metric.mode,
        },
        "rule": {
            "smallest_difference": summary.rule.smallest_difference,
            "alpha": summary.rule.alpha,
            "correction": "holm",
            "tunings": summary.rule.tunings,
            "looks": list(summary.rule.looks),
        },
        "by": summary.by,
        "factors": _names(arm["factors"] for arm in state.created["arms"]),
        "tuned": _names(trial.tuned for trial in state.trials.values()),
        "settings": {**_plain(summary.setup.settings), **shared},
        "runs": {
            "search": {"planned": summary.search.planned, "asked": summary.search.asked},
            "confirm": {
                "planned": summary.planned_runs,
                "ended": summary.ended_runs,
            },
        },
        "arms": [_arm(arm, summary) for arm in summary.arms],
        "match": None if summary.match is None else matched_json(summary.match),
        "places": None if summary.places is None else places_json(summary.places),
        "published": _published(summary),
        "scores": [_scores(each) for each in summary.scores],
        "shifted": None if summary.shifted is None else _shifted(summary.shifted, summary),
        "pairs": [_comparison(pair, summary) for pair in summary.pairs if summary.is_final],
        "design": {
            "name": summary.design.name,
            "effects": [_effect(each, summary) for each in summary.effects],
            "changes": [_change(each, summary) for each in summary.changes],
        },
        "trials": [_trial(trial, summary.metric, shared) for trial in state.trials.values()],
    }


def moment(seconds: float | None) -> str | None:
    """Seconds since the epoch as ISO 8601 in UTC, to the millisecond."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _names(mappings: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for each in mappings for name in each))


def _plain(settings: Mapping[str, Any]) -> Json:
    return {name: plain(value) for name, value in settings.items()}


def _shared(trials: Iterable[Trial]) -> Json:
    """The settings, full name to value, that are the same in every trial, and neither factor nor tuned."""
    found: Json = {}
    for number, trial in enumerate(trials):
        own, chosen = flat(trial.config), {*trial.factors, *trial.tuned}
        if not number:
            found = own
        found = {
            name: value
            for name, value in found.items()
            if name in own and own[name] == value and name not in chosen
        }
    return found


def _published(summary: Summary) -> Json | None:
    """Where published results stand, and those about confirmed arms; None without any."""
    published = summary.published
    if published is None:
        return None
    results = ((arm.label, published.of(arm.factors)) for arm in summary.arms if arm.raw is None)
    values = {label: found.value for label, found in results if found is not None}
    return {"source": published.source, "setting": published.setting, "values": values}


def _verdict(found: Comparison | None, summary: Summary) -> str | None:
    """None before all runs of the confirmation have ended, and where there is nothing to compare."""
    is_given = summary.is_final and found is not None and found.difference is not None
    return found.verdict if is_given and found is not None else None


def _arm(arm: ConfirmedArm, summary: Summary) -> Json:
    found, known = arm.comparison, summary.progress.get(arm.label)
    return {
        "label": arm.label,
        "is_reference": arm.is_reference,
        "against": arm.against,
        "raw": arm.raw,
        "factors": _plain(arm.factors),
        "tuned": [dict(cell.tuned) for cell in arm.cells],
        "parameters": arm.parameters,
        "multiply_adds": arm.flops,
        "seconds_per_run": arm.seconds,
        "runs": {
            "planned": arm.planned,
            "ended": arm.ended,
            "completed": arm.completed,
            "failed": len(arm.failed),
        },
        "searched": arm.searched,
        "unfinished_training": [str(sign) for sign in known.signs] if known is not None else [],
        "validation": arm.validation,
        "test": {
            "n": arm.test.n,
            "mean": arm.test.mean,
            "sd": arm.test.sd,
            "low": arm.test.low,
            "high": arm.test.high,
            "by_seed": {str(index): value for index, value in sorted(arm.runs.items())},
        },
        "comparison": None
        if found is None
        else {
            **_comparison(found, summary),
            "images_like_these": None
            if arm.population is None
            else {"low": arm.population[0], "high": arm.population[1]},
        },
    }


def _scores(of: ArmScores) -> Json:
    return {
        "arm": of.label,
        "runs": of.runs,
        "top1": of.top1,
        "top5": of.top5,
        "loss": of.loss,
        "calibration_error": of.calibration_error,
        "per_class": dict(of.per_class),
        "images_per_s": of.images_per_s,
        "peak_bytes": of.peak_bytes,
    }


def _shifted(facts: ShiftedFacts, summary: Summary) -> Json:
    return {
        "corruptions": list(facts.corruptions),
        "comparisons": facts.comparisons,
        "arms": [
            {
                "label": arm.label,
                "against": arm.against,
                "by_strength": list(arm.by_strength),
                "by_corruption": {
                    key: {
                        "mean": arm.samples[key].mean,
                        "sd": arm.samples[key].sd,
                        "by_seed": {str(i): value for i, value in sorted(of.items())},
                        "comparison": _comparison(arm.comparisons[key], summary)
                        if key in arm.comparisons
                        else None,
                    }
                    for key, of in arm.runs.items()
                },
            }
            for arm in facts.arms
        ],
    }


def _effect(found: Effect, summary: Summary) -> Json:
    aliases = [{"minus": minus, "factors": list(names)} for minus, names in found.aliases]
    return {
        "factors": list(found.factors),
        "levels": [list(pair) for pair in found.levels],
        "aliases": aliases,
        "arms": found.arms,
        **_numbers(found.comparison, summary),
    }


def _change(found: Change, summary: Summary) -> Json:
    return {
        "arm": found.arm,
        "factor": found.factor,
        "before": found.before,
        "after": found.after,
        **_numbers(found.comparison, summary),
    }


def _numbers(found: Comparison, summary: Summary) -> Json:
    """Those of a comparison, without the labels of its sides."""
    known = _comparison(found, summary)
    return {key: value for key, value in known.items() if key not in ("arm", "against")}


def _comparison(found: Comparison, summary: Summary) -> Json:
    return {
        "arm": found.arm,
        "against": found.against,
        "n": found.n,
        "difference": found.difference,
        "low": found.low,
        "high": found.high,
        "p": found.p if summary.is_final else None,
        "p_holm": found.p_holm if summary.is_final else None,
        "low_holm": found.low_holm if summary.is_final else None,
        "high_holm": found.high_holm if summary.is_final else None,
        "verdict": _verdict(found, summary),
        "why": None if found.why is None or not summary.is_final else str(found.why),
    }


def _trial(trial: Trial, metric: Metric, shared: Mapping[str, Any]) -> Json:
    own = {name: value for name, value in flat(trial.config).items() if name not in shared}
    best = _best(trial, metric)
    last = trial.reports[-1] if trial.reports else None
    return {
        "trial": trial.number,
        "phase": trial.phase,
        "arm": trial.arm,
        "seed_index": trial.seed_index,
        "seed": trial.seed,
        "settings": {**own, **_plain(trial.factors), **trial.tuned},
        "status": trial.status,
        "cause": trial.cause or None,
        "reason": trial_text(trial) or None,
        "set_aside": trial.set_aside,
        "epochs": last.epoch if last is not None else 0,
        "epochs_planned": trial.epochs,
        "best_epoch": best[0] if best is not None else None,
        "best_validation": best[1] if best is not None else None,
        "test": trial.last(metric.test),
        "metrics": dict(last.metrics) if last is not None else {},
        "seconds": trial.seconds,
        "peak_bytes": trial.peak_bytes,
        "asked_at": moment(trial.asked_at),
        "ended_at": moment(trial.ended_at),
    }


def _best(trial: Trial, metric: Metric) -> tuple[int, float] | None:
    """Epoch and value of the best search metric; the first of equal ones."""
    told = [
        (each.epoch, each.metrics[metric.name])
        for each in trial.reports
        if metric.name in each.metrics
    ]
    return max(told, key=lambda pair: metric.goodness(pair[1]), default=None)
