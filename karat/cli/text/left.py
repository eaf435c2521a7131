"""The time that is left of a study, as a launch and `karat watch` say it."""

from karat.forecast.time_left import Left
from karat.report.formatting import duration


def left_text(left: Left) -> str:
    """`about 6.0 min left`, or a range where one number would say too much."""
    if left.is_known:
        return f"about {duration(left.middle_s)} left"
    return f"{duration(left.low_s)} to {duration(left.high_s)} left"
