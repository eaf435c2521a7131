"""`Reports` behaves like a list of reports."""

import pytest

from karat.journal.reports import Report, Reports

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


@pytest.mark.parametrize("epoch", range(5))
def test_reports_up_to_an_epoch_drop_later_ones(epoch: int) -> None:
    kept = [report for report in FEW if report.epoch <= epoch]
    made = filled(FEW).up_to(epoch)
    assert made == kept
    assert made.total_seconds == sum(report.seconds for report in kept)
    assert made.last("accuracy") == (0.75 if epoch > 1 else None)
    made.add(9, {"accuracy": 0.5}, 1.0, 110.0)
    assert made == [*kept, Report(9, {"accuracy": 0.5}, 1.0, 110.0)]
