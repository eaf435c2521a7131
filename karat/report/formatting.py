"""Numbers, names and moments as the report shows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from karat.causes import Interrupt
from karat.constraints import EPOCH_S, MACS, MEMORY, PARAMETERS
from karat.journal.wording import interrupt_text
from karat.parameters import is_number
from karat.statistics.comparison import Comparison
from karat.statistics.metric import Metric
from karat.statistics.samples import Sample

# Name of a goal with its unit, and by what its values are divided.
GOAL_NAMES: dict[str, tuple[str, float]] = {
    "val_accuracy": ("test accuracy (%)", 0.01),
    "val_loss": ("test loss", 1.0),
    PARAMETERS: ("parameters", 1.0),
    MACS: ("million multiply-adds an image", 1e6),
    MEMORY: ("peak memory (MiB)", 1.0),
    EPOCH_S: ("seconds of an epoch", 1.0),
}


@dataclass(frozen=True, slots=True)
class Units:
    """How a metric is shown: accuracies in percent and percentage points, losses as they are."""

    metric: Metric

    @property
    def unit(self) -> str:
        """What follows a value."""
        return " %" if self.metric.is_share else ""

    @property
    def step(self) -> str:
        """What follows a difference."""
        return " points" if self.metric.is_share else ""

    def scaled(self, value: float) -> float:
        """In the unit shown."""
        return 100 * value if self.metric.is_share else value

    def number(self, value: float | None, sign: str = "") -> str:
        """In the unit shown, without naming it; `sign="+"` for differences."""
        if value is None:
            return "-"
        text = f"{self.scaled(value):{sign}.{2 if self.metric.is_share else 4}f}"
        return text if float(text) != 0 else text.replace("-", "+" if sign else "")


def short(key: str) -> str:
    """A parameter's name without its section."""
    return key.rpartition(".")[2]


def text_of(value: Any) -> str:
    """A level or a tuned value, numbers with four digits, a list as `0,1,3`."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ",".join(map(text_of, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def interrupted_text(cause: str, details: Mapping[str, Any]) -> str:
    """What interrupted a study: a signal, a limit of its budget, or its disk."""
    text = interrupt_text(cause, details)
    return f"interrupted by {text}" if cause == Interrupt.SIGNAL else f"interrupted: {text}"


def way_on(cause: str, details: Mapping[str, Any]) -> str:
    """How a study goes on that was interrupted by this."""
    if cause == Interrupt.BUDGET:
        limit = f"budget.{details['limit']}" if "limit" in details else "the budget"
        return f"with {limit} raised, the same command goes on"
    if cause == Interrupt.DISK:
        return (
            "with room made on its disk (or a larger resources.disk_gb, where that is used up), "
            "the same command goes on"
        )
    return "the same command goes on"


def in_unit(unit: str) -> str:
    """A unit behind a column's name."""
    return f" ({unit.strip()})" if unit else ""


def percent(share: float) -> str:
    """A share of 1 in whole percent: `85 %`."""
    return f"{100 * share:.0f} %"


def tuned_text(*tuned: Mapping[str, Any]) -> str:
    """Tuned parameters and their values; of several cells, from the least to the greatest."""
    cells = {name: [each[name] for each in tuned if name in each] for name in tuned[0]}
    return ", ".join(f"{short(name)} {_span(values)}" for name, values in cells.items()) or "-"


def _span(values: Sequence[Any]) -> str:
    texts = list(dict.fromkeys(map(text_of, values)))
    if len(texts) > 1 and all(map(is_number, values)):
        return f"{text_of(min(values))} to {text_of(max(values))}"
    return " or ".join(texts)


def spread_text(sample: Sample, units: Units) -> str:
    """Mean and standard deviation."""
    if sample.sd is None:
        return units.number(sample.mean)
    return f"{units.number(sample.mean)} ± {units.number(sample.sd)}"


def interval_text(found: Comparison | None, units: Units) -> str:
    """A difference and its interval; nothing for the reference."""
    if found is None:
        return ""
    if found.low is None or found.high is None:
        return units.number(found.difference, "+")
    ends = f"{units.number(found.low, '+')} to {units.number(found.high, '+')}"
    return f"{units.number(found.difference, '+')} ({ends})"


def p_text(found: Comparison | None) -> str:
    """A p value after the correction; nothing for the reference."""
    if found is None:
        return ""
    return raw_p_text(found.p_holm)


def raw_p_text(p: float | None) -> str:
    """A p value, to three digits."""
    if p is None:
        return "-"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def moment_text(time: float) -> str:
    """Seconds since the epoch as date and time of day, in UTC."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M UTC")


def file_name(text: str) -> str:
    """Text as a part of a file's name."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in text)


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`; at least one."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def memory_text(count: float | None) -> str:
    """Bytes in units of 2^20 or 2^30."""
    if count is None:
        return "-"
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def seconds_text(seconds: float | None) -> str:
    """Seconds with three digits."""
    return "-" if seconds is None else f"{seconds:.3g}"


def off_text(predicted: float | None, actual: float | None) -> str:
    """By how much a prediction was too high or too low."""
    return "-" if predicted is None or not actual else f"{100 * (predicted / actual - 1):+.0f} %"


def effect_text(effect: float | None) -> str:
    """An effect size, with its sign."""
    return "-" if effect is None else f"{effect:+.2f}"


def loss_text(loss: float | None) -> str:
    """A loss of the training."""
    return "-" if loss is None else f"{loss:.3f}"


def ends_text(ends: tuple[float, float] | None, units: Units) -> str:
    """The ends of an interval of a difference."""
    return "-" if ends is None else " to ".join(units.number(end, "+") for end in ends)


def duration(seconds: float) -> str:
    """A duration with two digits: `0.75 s`, `40 s`, `6.7 min`, `16 min`, `2.3 h`."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.{int(seconds < 600)}f} min"
    return f"{seconds / 3600:.{int(seconds < 36_000)}f} h"
