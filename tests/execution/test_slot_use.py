"""Every slot works while there is work: in the search, in the confirmation, and between the two."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.slot_use import slot_use
from karat.journal.journal import Event, read_events
from karat.journal.layout import JOURNAL
from tests.launched import ROOT
from tests.waiting import PATIENCE_S

# Sleeping trials, so that there can be more slots than cores; they need no torch, which would take
# most of the time. Run in a process of its own, since it starts Ray.
_STUDY = """
import sys
from pathlib import Path
from benchmarks.search_engines import karat_ready, space_source
from benchmarks.search_objective import EPOCHS, Work
from karat.execution import engine as engines

engines.PRELOAD = ()
folder, slots, seconds, trials, seeds = sys.argv[1], *map(float, sys.argv[2:])
source = space_source(int(trials), seeds=int(seeds))
source["tracking"] = {"follow": slots == 2}  # for eight it takes a minute of CPU
work = Work(seconds=seconds / EPOCHS, sleeps=True)
with karat_ready(Path(folder), source, work, int(slots)) as (study, engine):
    from benchmarks.search_stand_in import StandInSlot

    class Sleeper(StandInSlot):
        def prepare(self):
            self._work = Work.announced()

    engine.run(study, Sleeper)
"""


def events_of(folder: Path, slots: int, seconds: float, trials: int, seeds: int) -> list[Event]:
    """The journal of a study with `trials` trials, `2 * seeds` of them of the confirmation."""
    values = (slots, seconds, trials, seeds)
    command = [sys.executable, "-c", _STUDY, str(folder), *map(str, values)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=PATIENCE_S)
    (journal,) = folder.glob(f"*/{JOURNAL}")
    return list(read_events(journal))


@pytest.mark.slow
@pytest.mark.parametrize(("slots", "trials", "least"), [(2, 32, 0.95), (8, 128, 0.9)])
def test_slots_train_for_nearly_all_of_their_time(
    tmp_path: Path, slots: int, trials: int, least: float
) -> None:
    # Eight slots share a driver with other tests on the same cores, which costs some per cent; what a
    # machine of its own gives is in docs/decisions/0025. Other tests can only lower the share, and do so
    # for a while: it is measured again, at most twice, where it is too low.
    found: list[float] = []
    while len(found) < 3 and max(found, default=0.0) < least:
        folder = tmp_path / str(len(found))
        folder.mkdir()
        found.append(slot_use(events_of(folder, slots, 3.0, trials, seeds=trials // 4)))
    assert max(found) >= least, found


def event(seq: int, time: float, kind: str, **data: object) -> Event:
    return Event(seq=seq, time=time, kind=kind, data=data)


def test_slot_that_stands_idle_while_there_is_work_counts_as_idle() -> None:
    lines: list[tuple[float, str, dict[str, object]]] = [(0.0, "launched", {"slots": 2})]
    for trial, slot, start in ((0, 0, 1.0), (1, 1, 1.0), (2, 0, 2.0), (3, 0, 3.0)):
        lines.append((start, "segment_started", {"trial": trial, "slot": slot}))
        lines.append((start + 1, "reported", {"trial": trial, "seconds": 1.0}))
        lines.append((start + 1, "trial_ended", {"trial": trial}))
    lines.sort(key=lambda line: line[0])
    events = [event(seq, time, kind, **data) for seq, (time, kind, data) in enumerate(lines)]
    # Slot 0 trains from 2 to 4; slot 1 could have begun the last trial at 3, and idles from 2 to 3.
    assert slot_use(events) == pytest.approx(2 / 3)
