"""The figure of docs/scaling.md: one driver is enough up to an epoch's length over a report's."""

from pathlib import Path

from benchmarks.scaling import draw, speed_ups


def test_speed_up_is_ideal_on_few_workers_and_ends_where_the_driver_is_full(
    tmp_path: Path,
) -> None:
    found = speed_ups(400, 0.01, (1, 4, 300))
    assert found[60.0][1][1] > 3.5
    assert 0.5 * 100 < found[1.0][2][1] <= 101
    draw(found, 0.01, tmp_path / "scaling.png")
    assert 1000 < (tmp_path / "scaling.png").stat().st_size < 100_000
