from karat.journal.journal import Event
from karat.journal.usage import Held, Usage


def usage_of(*events: tuple[float, str, dict[str, object]]) -> Usage:
    usage = Usage()
    for seq, (time, kind, data) in enumerate(events):
        usage.apply(Event(seq, time, kind, data))
    return usage


LAUNCH = (0.0, "launched", {})


def test_every_segment_is_held_from_its_worker_to_its_end_on_its_slot() -> None:
    usage = usage_of(
        LAUNCH,
        (1.0, "segment_started", {"trial": 0, "slot": 1}),
        (2.0, "segment_started", {"trial": 1, "slot": 0}),
        (5.0, "segment_ended", {"trial": 0, "cause": "lost"}),
        (6.0, "segment_started", {"trial": 0, "slot": 0}),
        (9.0, "reported", {"trial": 0}),
    )
    assert list(usage.held()) == [
        Held(trial=0, slot=1, begin=1.0, end=5.0),
        Held(trial=1, slot=0, begin=2.0, end=9.0),  # these two still run
        Held(trial=0, slot=0, begin=6.0, end=9.0),
    ]


def test_a_segment_that_waits_for_a_worker_is_not_held_before_it_is_placed() -> None:
    usage = usage_of(
        LAUNCH,
        (1.0, "segment_started", {"trial": 0, "placed": False}),
        (7.0, "segment_placed", {"trial": 0}),
        (9.0, "reported", {"trial": 0}),
        (9.0, "trial_ended", {"trial": 0, "status": "completed"}),
    )
    assert list(usage.held()) == [Held(trial=0, slot=None, begin=7.0, end=9.0)]


def test_a_segment_of_a_killed_driver_is_held_until_its_last_report() -> None:
    usage = usage_of(
        LAUNCH,
        (1.0, "segment_started", {"trial": 0, "slot": 0}),
        (4.0, "reported", {"trial": 0}),
        (90.0, "segment_ended", {"trial": 0, "cause": "driver_gone"}),
    )
    assert [each.end for each in usage.held()] == [4.0]
