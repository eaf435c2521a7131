"""`karat compare A B`: two studies, arms or trials: settings that differ, values, costs, paired difference."""

import argparse
from collections.abc import Iterable
from typing import Any

from karat.cli.command import Command
from karat.cli.exit_status import OK
from karat.cli.studies.comparing.paired import Paired, paired_difference
from karat.cli.studies.comparing.sides import Side, differing, labels_of, same_data, side_of
from karat.cli.studies.json_output import add_json, print_json
from karat.cli.studies.named import activity_of, add_storage
from karat.cli.text.layout import columns, duration, paragraph, say, table
from karat.cli.text.next_steps import next_lines
from karat.errors import InputError
from karat.journal.outcomes import metric_of
from karat.journal.state import StudyState

Values = dict[str, Any]
_MISSING = {
    "data": "The images or the metric are not the same: the values cannot be compared.",
    "seeds": "No runs of both have the same seed, so no paired difference is given.",
    "one_seed": "At most one seed is in both, which gives no interval.",
    "open": "The confirmation has not ended: no difference is given on a part of the seeds.",
}


def _add(parser: argparse.ArgumentParser) -> None:
    for name in ("one", "other"):
        text = "a study, a trial of one (STUDY:54), or an arm of one (STUDY:ARM)"
        parser.add_argument(name, help=text)
    add_storage(parser)
    add_json(parser)


def _compare(options: argparse.Namespace) -> int:
    one, other = (side_of(each, options.storage) for each in (options.one, options.other))
    if "study" in (one.kind, other.kind) and one.kind != other.kind:
        raise InputError(
            f"{one.given} is a {one.kind} and {other.given} a {other.kind}: compare two studies, or arms "
            "and trials, as in STUDY:54 STUDY:ARM"
        )
    is_same = same_data(one, other)
    settings = differing(one.settings(), other.settings())
    data: dict[str, Any] = {
        "one": _named(one),
        "other": _named(other),
        "is_same_data": is_same,
        "settings": {name: list(values) for name, values in settings.items()},
    }
    if one.kind == "study":
        data |= {"arms": _arms(one.state, other.state), "costs": [_spent(one), _spent(other)]}
        found = None
    else:
        found = paired_difference(one, other, is_same_data=is_same)
        data |= {"values": [_values(one), _values(other)], "paired": _paired_json(found)}
    if options.json:
        print_json("compare", data)
        return OK
    say(_lines(one, other, data, found))
    say(next_lines(one.folder, "show {}"))
    return OK


def _named(side: Side) -> Values:
    number = None if side.trial is None else side.trial.number
    return {
        "given": side.given,
        "kind": side.kind,
        "study": side.state.created["name"],
        "arm": side.arm,
        "trial": number,
        "state": activity_of(side.folder, side.state.status),
    }


def _values(side: Side) -> Values:
    """What the runs of one side gave, and cost: means over the runs."""
    metric, runs = metric_of(side.state.created), side.runs
    arm = next(each for each in side.state.created["arms"] if each["label"] == side.arm)
    tested = [value for run in runs if (value := run.last(metric.test)) is not None]
    searched = [v for run in runs if (v := run.of_kept_weights(metric.name)) is not None]
    return {
        "runs": len(runs),
        "metric": metric.name,
        "validation": _mean(searched),
        "test": _mean(tested),
        "test_sd": _sd(tested),
        "parameters": arm.get("parameters"),
        "multiply_adds": arm.get("flops"),
        "epochs": max((run.epochs for run in runs), default=None),
        "seconds": _mean([run.seconds for run in runs]),
        "peak_bytes": max((run.peak_bytes for run in runs if run.peak_bytes), default=None),
    }


def _spent(side: Side) -> Values:
    spent = side.state.usage.until()
    return {
        "trials": len(side.state.trials),
        "wall_hours": spent.wall_hours,
        "cpu_hours": spent.cpu_hours,
        "gpu_hours": spent.gpu_hours,
        "usd": spent.usd,
    }


def _arms(one: StudyState, other: StudyState) -> list[Values]:
    """Each arm that one of two studies has confirmed, with the mean of its tests in both."""
    from karat.report.facts.standing import standing_of

    arms = [{arm.label: arm for arm in standing_of(each).arms} for each in (one, other)]
    return [
        {
            "arm": label,
            "test": [
                None if (arm := of.get(label)) is None else {"n": arm.test.n, "mean": arm.test.mean,
                                                              "sd": arm.test.sd}
                for of in arms
            ],
            "verdict": [
                None
                if (arm := of.get(label)) is None or arm.comparison is None
                or arm.comparison.difference is None
                else arm.comparison.verdict
                for of in arms
            ],
        }
        for label in dict.fromkeys([*arms[0], *arms[1]])
    ]  # fmt: skip


def _paired_json(paired: Paired) -> Values:
    found = paired.found
    return {
        "is_planned": paired.is_planned,
        "missing": paired.missing or None,
        "n": 0 if found is None else found.n,
        "confidence": 1 - paired.alpha,
        "difference": None if found is None else found.difference,
        "low": None if found is None else found.low,
        "high": None if found is None else found.high,
        "p_holm": found.p_holm if found is not None and paired.is_planned else None,
        "verdict": found.verdict if found is not None and paired.is_planned else None,
    }


def _lines(one: Side, other: Side, data: Values, found: Paired | None) -> Iterable[str]:
    head = labels_of(one, other)
    rows = [("setting", *head), *((name, *_shown(two)) for name, two in data["settings"].items())]
    yield from table(rows) if len(rows) > 1 else ["no setting differs"]
    yield ""
    if found is None:
        yield from _study_lines(one, other, data, head)
        return
    units = _units(one)
    values = data["values"]
    wanted = ("runs", "validation", "test", "test_sd", "parameters", "multiply_adds", "epochs")
    rows = [(_NAMES[key], *(_value(key, each[key], units) for each in values)) for key in wanted]
    rows += [(_NAMES[key], *(_cost(key, each[key]) for each in values)) for key in _COSTS]
    told = [row for row in rows if set(row[1:]) != {"-"}]
    yield from columns([("", *head), *told], right=(1, 2))
    yield ""
    yield from paragraph(_difference_text(found, one, head))


def _study_lines(one: Side, other: Side, data: Values, head: tuple[str, str]) -> Iterable[str]:
    units = _units(one)
    if not data["is_same_data"]:
        yield from paragraph(_MISSING["data"])
        yield ""
    rows = [(f"test of arm{_in_unit(units)}", *head)]
    rows += [(each["arm"], *_tests(each, units)) for each in data["arms"]]
    yield from table(rows) if len(rows) > 1 else ["neither has confirmed an arm to its end"]
    yield ""
    costs = [
        (name, *(form.format(each[key]) if each[key] else "" for each in data["costs"]))
        for key, (name, form) in _SPENT.items()
    ]
    yield from columns([("cost", *head), *(row for row in costs if any(row[1:]))], right=(1, 2))
    if data["arms"] and data["is_same_data"]:
        yield ""
        yield from paragraph(
            "Verdicts hold within their own study. Between two studies nothing was planned: compare arms "
            f"of both by `karat compare {one.given}:ARM {other.given}:ARM`."
        )


def _tests(arm: Values, units: Any) -> Iterable[str]:
    for test, verdict in zip(arm["test"], arm["verdict"], strict=True):
        if test is None:
            yield "-"
            continue
        sd = "" if test["sd"] is None else f" ± {units.number(test['sd'])}"
        word = f", {verdict}" if verdict else ""
        yield f"{units.number(test['mean'])}{sd} (n {test['n']}{word})"


_NAMES = {
    "runs": "runs",
    "validation": "validation, mean",
    "test": "test, mean",
    "test_sd": "test, standard deviation",
    "parameters": "parameters",
    "multiply_adds": "multiply-adds",
    "epochs": "epochs",
    "seconds": "training of a run",
    "peak_bytes": "memory, most",
}
_SPENT = {
    "trials": ("trials", "{:,}"),
    "wall_hours": ("hours", "{:.2f}"),
    "cpu_hours": ("CPU hours", "{:.2f}"),
    "gpu_hours": ("GPU hours", "{:.2f}"),
    "usd": ("US dollars", "{:.2f}"),
}
_COSTS = ("seconds", "peak_bytes")


def _value(key: str, value: Any, units: Any) -> str:
    if value is None:
        return "-"
    if key in ("validation", "test"):
        return f"{units.number(value)}{units.unit}"
    return f"{units.number(value)}{units.step}" if key == "test_sd" else f"{value:,}"


def _cost(key: str, value: float | None) -> str:
    from karat.report.formatting import memory_text

    if value is None:
        return "-"
    return memory_text(value) if key == "peak_bytes" else duration(value)


def _difference_text(paired: Paired, one: Side, names: tuple[str, str]) -> str:
    if paired.found is None or paired.found.difference is None:
        return _MISSING[paired.missing or "seeds"]
    units, found = _units(one), paired.found
    text = (
        f"{names[0]} minus {names[1]}, test {units.metric.noun}, paired over {found.n} "
        f"{'tunings' if one.tunings > 1 else 'seeds'}: {units.number(found.difference, '+')}{units.step}"
    )
    if found.low is not None and found.high is not None:
        share = f"{100 * (1 - paired.alpha):g} % interval"
        text += f" ({share} {units.number(found.low, '+')} to {units.number(found.high, '+')})"
    if paired.is_planned:
        return f"{text}: {found.verdict}, as the study planned to ask."
    return (
        f"{text}. This is an unplanned look: the interval is corrected for no other comparison, and there "
        "is no verdict. A study that asks for it gives one."
    )


def _shown(two: Iterable[Any]) -> Iterable[str]:
    from karat.report.formatting import text_of

    return (text_of(value) for value in two)


def _units(side: Side) -> Any:
    from karat.report.formatting import Units

    return Units(metric_of(side.state.created))


def _in_unit(units: Any) -> str:
    return f" ({units.unit.strip()})" if units.unit else ""


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _sd(values: list[float]) -> float | None:
    from statistics import stdev

    return stdev(values) if len(values) > 1 else None


COMPARE = Command(_add, _compare)
