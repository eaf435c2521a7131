"""Numbers, names and moments as the report shows them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from karat.causes import Interrupt
from karat.journal.wording import interrupt_text
from karat.parameters import short_name
from karat.report.metric import Metric
from karat.report.statistics import Comparison, Sample


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


def scaled(metric: Metric, value: float) -> float:
    """A value in the unit shown: accuracies in percent, losses as they are."""
    return 100 * value if metric.is_share else value


def number(metric: Metric, value: float | None, sign: str = "") -> str:
    """A value in the unit shown, without the unit; `sign="+"` for differences."""
    if value is None:
        return "-"
    text = f"{scaled(metric, value):{sign}.{2 if metric.is_share else 4}f}"
    return text if float(text) != 0 else text.replace("-", "+" if sign else "")


def unit_of(metric: Metric) -> str:
    """The unit of a value."""
    return " %" if metric.is_share else ""


def step_of(metric: Metric) -> str:
    """The unit of a difference."""
    return " points" if metric.is_share else ""


def text_of(value: Any) -> str:
    """A level or a tuned value, numbers with four digits, a list as `0,1,3`."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ",".join(map(text_of, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def flat_text(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """A nested mapping as dotted keys and text."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flat_text(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple):
            flat[prefix + key] = ", ".join(map(str, value)) or "none"
        else:
            flat[prefix + key] = text_of(value)
    return flat


def in_unit(unit: str) -> str:
    return f" ({unit.strip()})" if unit else ""


def tuned_text(tuned: Mapping[str, Any]) -> str:
    return ", ".join(f"{short_name(name)} {text_of(value)}" for name, value in tuned.items()) or "-"


def spread_text(sample: Sample, metric: Metric) -> str:
    """Mean and standard deviation."""
    if sample.sd is None:
        return number(metric, sample.mean)
    return f"{number(metric, sample.mean)} ± {number(metric, sample.sd)}"


def interval_text(found: Comparison | None, metric: Metric) -> str:
    """A difference and its interval; nothing for the reference."""
    if found is None:
        return ""
    if found.low is None or found.high is None:
        return number(metric, found.difference, "+")
    ends = f"{number(metric, found.low, '+')} to {number(metric, found.high, '+')}"
    return f"{number(metric, found.difference, '+')} ({ends})"


def p_text(found: Comparison | None) -> str:
    if found is None:
        return ""
    if found.p_holm is None:
        return "-"
    return "< 0.001" if found.p_holm < 0.001 else f"{found.p_holm:.3f}"


def moment_text(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M UTC")


def file_name(text: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in text)


def listed(words: Sequence[str]) -> str:
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
    return "-" if predicted is None or not actual else f"{predicted / actual - 1:+.0%}"
