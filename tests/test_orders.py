"""A driver tells its workers to leave off; they look often enough, and not at every step."""

from pathlib import Path

from karat import orders
from karat.space import Space
from karat.worker import SegmentWorker
from tests.test_study import open_study


def test_orders_are_read_anew_after_a_while(tmp_path: Path) -> None:
    now = [0.0]
    is_to_pause = orders.reader(tmp_path / orders.FILE_NAME, clock=lambda: now[0])
    assert not is_to_pause()
    orders.give(tmp_path, orders.GO)
    now[0] += orders.LOOK_EVERY_S
    assert not is_to_pause()
    orders.give(tmp_path, orders.PAUSE)
    assert not is_to_pause()
    now[0] += orders.LOOK_EVERY_S
    assert is_to_pause()


def test_worker_that_is_told_to_leave_off_trains_nothing(
    small_space: Space, tmp_path: Path
) -> None:
    study, journal = open_study(small_space, tmp_path / "s")
    with journal:
        segment = study.next_segment()
        assert segment is not None
        orders.give(tmp_path / "s", orders.PAUSE)
        report = SegmentWorker(segment).step()
        assert report == {"paused": {"epoch": 0, "step": 0}}
        assert study.on_worker_report(0, report)
        assert study.state.trials[0].status == "waiting"
        orders.give(tmp_path / "s", orders.GO)
        assert SegmentWorker(segment).step()["epoch"] == 1
