"""Repeats every decision of a study from its journal, without training.

A decision is what the study chose: the next trial, which trials are stopped, complete or retried,
which cells are trained again and confirmed, how the study ends. What happened to the study (reports, lost workers,
signals, failures) is taken from the journal.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from karat.causes import Failure, Stop
from karat.constraints import Constraint
from karat.journal.journal import Event
from karat.planning.budget import too_little_left
from karat.planning.decisions import Decisions
from karat.space.space import Space

# Failures caused by the trial: such a segment ends without its trial only if the trial is retried.
_OF_THE_TRIAL = (Failure.MEMORY, Failure.ERROR, Failure.NON_FINITE)


_MEASURED = {"costs"}  # of a model, which is counted and not decided


@dataclass(frozen=True, slots=True)
class Difference:
    """A decision that differs: number of the event, recorded decision and repeated decision as text."""

    seq: int
    recorded: str
    decided: str

    def __str__(self) -> str:
        return f"event {self.seq}: recorded {self.recorded}; decided again: {self.decided}"


def replay(space: Space, events: Sequence[Event]) -> Iterator[Difference]:
    """Yield the decisions that differ; none for a journal of this version of karat.

    Each decision is compared in the state recorded so far. After a proposal that differs, later ones
    may differ too, since the sampler keeps it: look at the first difference.
    """
    decisions = Decisions(space, "replay")
    for event in events:
        yield from _compare(decisions, event)
        decisions.observe(event)


def _compare(decisions: Decisions, event: Event) -> Iterator[Difference]:
    data = event.data
    if event.kind == "trial_asked":
        decided = decisions.proposal()
        if decided is None:
            yield Difference(event.seq, f"trial {data['trial']} asked for", "no trial")
        else:
            for key in sorted({*data, *decided} - _MEASURED):
                ours, theirs = (_plain(each.get(key)) for each in (decided, data))
                if ours != theirs:
                    what = f"trial {data['trial']}: {key} = "
                    yield Difference(event.seq, f"{what}{theirs}", f"{ours}")
    elif event.kind == "trial_ruled_out":
        yield from _other_proposal(decisions, event)
    elif event.kind == "trial_ended":
        verdict = decisions.verdict(data["trial"])
        if (data["status"] == "failed") != (verdict is None) or verdict not in (
            None,
            data["status"],
        ):
            what = f"trial {data['trial']} {data['status']}"
            yield Difference(event.seq, what, verdict or "to continue")
        elif verdict is not None and (difference := _other_stop(decisions, event)) is not None:
            yield difference
        elif data["status"] == "failed" and decisions.is_tried_again(
            data["trial"], data.get("cause", "")
        ):
            what = f"trial {data['trial']} failed ({data['cause']})"
            yield Difference(event.seq, what, "to be tried again")
    elif event.kind == "segment_ended" and data["cause"] in _OF_THE_TRIAL:
        if not decisions.is_tried_again(data["trial"], data["cause"]):
            what = f"trial {data['trial']} to be tried again ({data['cause']})"
            yield Difference(event.seq, what, "failed")
    elif event.kind == "search_cut":
        if too_little_left(decisions.space, decisions.state, event.time) is None:
            yield Difference(event.seq, "the search ended early", "to continue")
    elif event.kind in (
        "shortlist_planned",
        "confirmation_planned",
        "seeds_added",
        "study_ended",
    ):
        turn = decisions.turn()
        if turn is not None and turn[0] == event.kind and "contests" not in data:
            turn[1].pop("contests", None)  # of older journals, which plan all contests at once
        if _plain(turn) != _plain((event.kind, data)):
            yield Difference(event.seq, _plain((event.kind, data)), _plain(turn))
    elif event.kind == "reported" and decisions.verdict(data["trial"]) is not None:
        what = f"trial {data['trial']} went on to epoch {data['epoch']}"
        yield Difference(event.seq, what, f"{decisions.verdict(data['trial'])}")


def _other_proposal(decisions: Decisions, event: Event) -> Iterator[Difference]:
    """If another proposal would have been made than the one that was ruled out, or if it breaks no constraint."""
    data, decided = event.data, decisions.proposal()
    found = Constraint(data["metric"], data["relation"], data["limit"])
    what = f"a proposal of {data['arm']} ruled out"
    if decided is None:
        yield Difference(event.seq, what, "no trial")
    elif found not in decisions.space.search.limits or found.holds(data["value"]):
        yield Difference(event.seq, f"{what}: {_plain(data)}", "it breaks no constraint")
    else:
        ours = decisions.ruled_out(decided, found, data["value"])
        if _plain(ours) != _plain(data):
            yield Difference(event.seq, f"{what}: {_plain(data)}", _plain(ours))


def _other_stop(decisions: Decisions, event: Event) -> Difference | None:
    """If a constraint stopped the trial, or should have, and the other says otherwise."""
    data, verdict = event.data, event.data["status"]
    decided = decisions.end_of(data["trial"], verdict)
    if Stop.CONSTRAINT not in (data.get("cause"), decided.get("cause")):
        return None
    theirs, ours = (_plain({k: e.get(k) for k in ("cause", "details")}) for e in (data, decided))
    what = f"trial {data['trial']} {verdict}: "
    return None if theirs == ours else Difference(event.seq, f"{what}{theirs}", ours)


def _plain(value: Any) -> str:
    """As JSON, as in the journal, where tuples and lists are the same."""
    return json.dumps(value, sort_keys=True)
