"""Faults are injected where, and as often as, `KARAT_FAULT` says."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from karat.system import fault_injection


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Seconds that were waited for."""
    found: list[float] = []
    monkeypatch.setattr("time.sleep", found.append)
    yield found
    fault_injection.use("")


def test_a_place_may_wait_each_time_beside_a_fault_that_occurs_once(
    waits: list[float], tmp_path: Path
) -> None:
    fault_injection.use(f"step.before=wait:0.5 loader@2=memory:{tmp_path / 'once'}")
    for place in ("step.before", "loader", "step.before", "metrics"):
        fault_injection.at(place)
    assert waits == [0.5, 0.5]
    with pytest.raises(MemoryError):
        fault_injection.at("loader")
    fault_injection.at("loader")


@pytest.mark.parametrize("text", ["step.before=wait", "step.before=wait:soon", "loader=memory:x"])
def test_a_fault_in_another_format_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="PLACE@COUNT=ACTION:FILE or PLACE=wait:SECONDS"):
        fault_injection.use(text)
