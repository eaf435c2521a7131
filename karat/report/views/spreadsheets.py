"""A study's facts as CSV: one file for its arms, one for their pairs, one for its trials.

Values have full precision and the units of the journal: accuracies from 0 to 1, seconds, bytes, moments in
ISO 8601. What is not known is empty; lists are JSON. docs/formats.md describes the columns.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from karat.journal.layout import ARMS_CSV, PAIRS_CSV, TRIALS_CSV

Json = Mapping[str, Any]
COMPARED = ("n", "difference", "low", "high", "p", "p_holm", "verdict", "why")


def spreadsheets(document: Json) -> dict[str, str]:
    """Name of a file to its text.

    Args:
        document: of the study (`karat.report.document`).
    """
    return {
        ARMS_CSV: _arms(document),
        PAIRS_CSV: _csv(["arm", "against", *COMPARED], document["pairs"]),
        TRIALS_CSV: _trials(document),
    }


def _arms(document: Json) -> str:
    head = ["arm", "is_reference", "against", *document["factors"]]
    head += ["parameters", "multiply_adds", "seconds_per_run"]
    head += [f"runs_{name}" for name in ("planned", "ended", "completed", "failed")]
    head += ["searched", "validation"]
    head += [f"test_{name}" for name in ("n", "mean", "sd", "low", "high")]
    head += [f"difference_{name}" if name != "difference" else name for name in COMPARED]
    head += ["images_like_these_low", "images_like_these_high", "tuned"]
    return _csv(head, map(_arm, document["arms"]))


def _arm(arm: Json) -> dict[str, Any]:
    compared = arm["comparison"] or {}
    population = compared.get("images_like_these") or {}
    return {
        **arm,
        **arm["factors"],
        "arm": arm["label"],
        **{f"runs_{name}": value for name, value in arm["runs"].items()},
        **{f"test_{name}": value for name, value in arm["test"].items()},
        **{f"difference_{name}": value for name, value in compared.items()},
        "difference": compared.get("difference"),
        "images_like_these_low": population.get("low"),
        "images_like_these_high": population.get("high"),
    }


def _trials(document: Json) -> str:
    trials: Sequence[Json] = document["trials"]
    head = ["trial", "phase", "arm", "seed_index", "seed", "status", "cause", "reason", "set_aside"]
    head += ["epochs", "epochs_planned", "best_epoch", "best_validation", "test"]
    head += ["seconds", "peak_bytes", "asked_at", "ended_at"]
    settings = dict.fromkeys(name for each in trials for name in each["settings"])
    metrics = dict.fromkeys(name for each in trials for name in each["metrics"])
    rows = ({**each["metrics"], **each["settings"], **each} for each in trials)
    return _csv([*head, *settings, *metrics], rows)


def _csv(head: Sequence[str], rows: Iterable[Json]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([_cell(row.get(name)) for name in head] for row in rows)
    return file.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, list | dict):
        return json.dumps(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else value
