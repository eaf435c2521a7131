"""Workers notice a pause request soon, but do not read the pause file at every step."""

from pathlib import Path

from karat.journal.layout import PAUSE_FILE
from karat.space.space import Space
from karat.training import pause
from karat.training.worker import SegmentWorker
from tests.study.test_study import open_study


def test_pause_file_is_read_again_after_a_while(tmp_path: Path) -> None:
    now = [0.0]
    should_pause = pause.reader(tmp_path / PAUSE_FILE, clock=lambda: now[0])
    assert not should_pause()
    pause.write(tmp_path / PAUSE_FILE, pause.GO)
    now[0] += pause.LOOK_EVERY_S
    assert not should_pause()
    pause.write(tmp_path / PAUSE_FILE, pause.PAUSE)
    assert not should_pause()
    now[0] += pause.LOOK_EVERY_S
    assert should_pause()


def test_worker_that_finds_a_pause_request_trains_nothing(
    small_space: Space, tmp_path: Path
) -> None:
    study, journal = open_study(small_space, tmp_path / "s")
    with journal:
        segment = study.next_segment()
        assert segment is not None
        pause.write(tmp_path / "s" / PAUSE_FILE, pause.PAUSE)
        report = SegmentWorker(segment).step()
        assert report == {"paused": {"epoch": 0, "step": 0}}
        assert study.on_worker_report(0, report)
        assert study.state.trials[0].status == "waiting"
        pause.write(tmp_path / "s" / PAUSE_FILE, pause.GO)
        assert SegmentWorker(segment).step()["epoch"] == 1
