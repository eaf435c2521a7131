"""`Reports` behaves like a list of reports."""

import math

import pytest

from karat.journal.reports import Report, Reports
from tests.costs import calls_of

FEW = [
    Report(1, {"loss": 0.5}, 2.0, 100.0),
    Report(2, {"loss": 0.25, "accuracy": 0.75}, 3.0, 103.5),
    Report(3, {"loss": 0.125}, 2.5, 106.0),
]


def filled(reports: list[Report]) -> Reports:
    made = Reports()
    for report in reports:
        made.add(report.epoch, report.metrics, report.seconds, report.time)
    return made


def test_reports_come_back_as_they_went_in() -> None:
    made = filled(FEW)
    assert list(made) == FEW
    assert made == FEW
    assert made == filled(FEW)
    assert made != filled(FEW[:2])
    assert made[-1] == FEW[-1]
    assert made[1:] == FEW[1:]
    assert list(reversed(made)) == FEW[::-1]
    assert len(made) == 3
    assert not Reports()
    with pytest.raises(IndexError):
        Reports()[-1]


def test_metric_that_a_report_lacks_is_not_in_it() -> None:
    made = filled(FEW)
    assert [report.metrics for report in made] == [report.metrics for report in FEW]
    assert made.last("accuracy") == 0.75
    assert made.last("loss") == 0.125
    assert made.last("other") is None


def test_values_of_one_metric_are_nan_where_a_report_lacks_it() -> None:
    made = filled(FEW)
    assert list(made.values("loss")) == [0.5, 0.25, 0.125]
    first, second, third = made.values("accuracy")
    assert second == 0.75
    assert all(map(math.isnan, (first, third)))
    assert all(map(math.isnan, made.values("other")))
    assert len(made.values("other")) == 3
    assert list(Reports().values("loss")) == []


@pytest.mark.parametrize("epoch", range(5))
def test_reports_up_to_an_epoch_drop_later_ones(epoch: int) -> None:
    kept = [report for report in FEW if report.epoch <= epoch]
    made = filled(FEW).up_to(epoch)
    assert made == kept
    assert made.total_seconds == sum(report.seconds for report in kept)
    assert made.last("accuracy") == (0.75 if epoch > 1 else None)
    made.add(9, {"accuracy": 0.5}, 1.0, 110.0)
    assert made == [*kept, Report(9, {"accuracy": 0.5}, 1.0, 110.0)]


def test_infinite_values_are_values() -> None:
    reports = [Report(1, {"up": math.inf, "down": -math.inf}, 1.0, 100.0)]
    assert filled(reports) == reports


def test_metric_that_begins_late_widens_the_rows_once() -> None:
    early = [Report(epoch, {"loss": 1.0 / epoch}, 1.0, float(epoch)) for epoch in range(1, 50)]
    late = [Report(epoch, {"extra": 2.0, "loss": 0.0}, 1.0, float(epoch)) for epoch in (50, 51)]
    made = filled([*early, *late])
    assert made == [*early, *late]
    assert made[-1].metrics == {"loss": 0.0, "extra": 2.0}
    assert list(made.epochs) == list(range(1, 52))
    assert list(made.times) == [float(epoch) for epoch in range(1, 52)]


def test_report_with_the_metrics_of_the_one_before_is_a_few_calls() -> None:
    many = {f"metric_{n}": float(n) for n in range(200)}
    made = filled([Report(1, many, 1.0, 100.0)])
    assert calls_of(lambda: made.add(2, many, 1.0, 101.0)) < 20
