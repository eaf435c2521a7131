"""The health of each arm's attention by epoch, and where it has collapsed in all heads (`training.health`)."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from karat.journal.trial import Trial
from karat.training.watching.config import HEALTH_METRICS

Kind = Literal["one token", "all tokens", "same weights"]
FLAT = 0.02  # how near to its end an entropy must be
RANK = 1.1  # effective rank, in tokens, up to which the queries of a head have the same weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Collapse:
    """Runs in whose last epoch every head was at an end of what attention can be.

    Args:
        kind: every query attends to one token alone, or to all alike; or all queries have the same weights.
        runs: number of runs in which it is so.
        low, high: least and highest value over heads and runs: of the entropy, or of the effective rank in tokens.
        tokens: N of the largest block.
    """

    kind: Kind
    runs: int
    low: float
    high: float
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmHealth:
    """The attention of one arm.

    Args:
        label: of the arm.
        runs: number of its runs.
        epochs: that all of them have reached.
        mean: metric to its mean over the runs at each of these epochs, NaN where a run lacks it.
        collapses: of its last epoch, one of each kind at most.
    """

    label: str
    runs: int
    epochs: tuple[int, ...]
    mean: Mapping[str, tuple[float, ...]]
    collapses: tuple[Collapse, ...]


def attention_of(runs: Mapping[str, Sequence[Trial]]) -> tuple[ArmHealth, ...]:
    """The arms with runs that were looked at, in their order.

    Args:
        runs: label to completed runs, or those under way.
    """
    found = []
    for label, trials in runs.items():
        watched = [t for t in trials if t.reports and _is_watched(t)]
        if not watched:
            continue
        reached = min(len(trial.reports) for trial in watched)
        found.append(
            ArmHealth(
                label=label,
                runs=len(watched),
                epochs=tuple(watched[0].reports.epochs[:reached]),
                mean={name: _mean(watched, name, reached) for name in HEALTH_METRICS},
                collapses=tuple(_collapses([t.health for t in watched if t.health])),
            )
        )
    return tuple(found)


def _is_watched(trial: Trial) -> bool:
    return any(trial.last(name) is not None for name in HEALTH_METRICS)


def _mean(trials: Sequence[Trial], name: str, reached: int) -> tuple[float, ...]:
    series = [trial.reports.values(name)[:reached] for trial in trials]
    return tuple(sum(at_epoch) / len(at_epoch) for at_epoch in zip(*series, strict=True))


def _collapses(found: Sequence[Mapping[str, Any]]) -> Iterator[Collapse]:
    checks: dict[Kind, tuple[Callable[[Mapping[str, Any]], list[float]], Callable[[float], bool]]]
    checks = {
        "one token": (_entropies, lambda value: value <= FLAT),
        "all tokens": (_entropies, lambda value: value >= 1 - FLAT),
        "same weights": (_ranks, lambda value: value <= RANK),
    }
    for kind, (values_of, is_collapsed) in checks.items():
        by_run = [values for each in found if (values := values_of(each))]
        collapsed = [values for values in by_run if all(map(is_collapsed, values))]
        if collapsed:
            every = [value for values in collapsed for value in values]
            yield Collapse(
                kind=kind,
                runs=len(collapsed),
                low=min(every),
                high=max(every),
                tokens=max(tokens for each in found for tokens in each["tokens"]),
            )


def _entropies(found: Mapping[str, Any]) -> list[float]:
    """Of all heads; empty if one has none."""
    return _whole(value for block in found.get("entropy", ()) for value in block)


def _ranks(found: Mapping[str, Any]) -> list[float]:
    """Effective ranks of all heads in tokens; empty if one has none."""
    blocks = found.get("effective_rank", ())
    return _whole(
        value if value is None else value * tokens
        for tokens, block in zip(found["tokens"], blocks, strict=False)
        for value in block
    )


def _whole(values: Iterable[float | None]) -> list[float]:
    found = [math.nan if value is None else value for value in values]
    return [] if any(map(math.isnan, found)) else found
