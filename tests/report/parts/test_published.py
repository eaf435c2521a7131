"""Published results stand beside the study's own, with what their difference says."""

from dataclasses import replace

import pytest

from karat.report.document import document
from karat.report.facts.summary import Summary, summarise
from karat.report.parts.published import published_section
from karat.space.published import Published, PublishedResult
from tests import journals

BASIS, GRID = "attention.basis", "attention.grid_size"


def result(value: float, **levels: object) -> PublishedResult:
    names = {"basis": BASIS, "grid": GRID}
    return PublishedResult(
        levels={names[key]: level for key, level in levels.items()},  # type: ignore[misc]
        value=value,
    )


@pytest.fixture(scope="module")
def summary() -> Summary:
    return summarise(journals.study().state)


def shown(summary: Summary, *results: PublishedResult) -> tuple[list[dict[str, str]], str]:
    published = Published(source="A paper, table 3", setting="One run each", results=results)
    section = published_section(replace(summary, published=published))
    assert section is not None
    rows = [
        dict(zip(table.columns, row, strict=True)) for table in section.tables for row in table.rows
    ]
    return rows, " ".join(section.paragraphs)


def test_a_published_difference_is_beside_the_interval_found_here(summary: Summary) -> None:
    arm = next(arm for arm in summary.others if arm.factors.get(GRID) == 3)
    assert arm.comparison is not None
    assert arm.comparison.difference is not None
    inside, outside = (0.5 + arm.comparison.difference + more for more in (0, 0.5))
    for value, answer in ((inside, "yes"), (outside, "no")):
        rows, text = shown(summary, result(0.5, basis="softmax"), result(value, grid=3))
        assert [row["published one in it"] for row in rows] == ["-", answer]
        assert rows[0]["published (%)"] == "50.00"
        assert rows[1]["published difference (points)"] == f"{100 * (value - 0.5):+.2f}"
        assert "Published: A paper, table 3. One run each." in text


def test_without_a_published_reference_there_is_no_published_difference(summary: Summary) -> None:
    rows, _ = shown(summary, result(0.7, grid=3))
    assert [row["published difference (points)"] for row in rows] == ["-"]


def test_results_of_arms_that_are_not_confirmed_are_named(summary: Summary) -> None:
    rows, text = shown(summary, result(0.7, grid=99))
    assert rows == []
    assert "Published results of arms that are not confirmed here: grid_size=99." in text


def test_nothing_is_compared_before_all_runs_have_ended() -> None:
    early = summarise(journals.study(journals.Plan(until="confirming")).state)
    rows, _ = shown(early, result(0.5, basis="softmax"), result(0.6, grid=3))
    assert {row["published one in it"] for row in rows} == {"-"}


def test_without_published_results_there_is_no_section(summary: Summary) -> None:
    assert published_section(summary) is None


def test_the_document_has_the_values_by_arm(summary: Summary) -> None:
    published = Published(source="A", setting="B", results=(result(0.5, basis="softmax"),))
    found = document(replace(summary, published=published), journals.study().state)["published"]
    assert found == {"source": "A", "setting": "B", "values": {"softmax": 0.5}}
    assert document(summary, journals.study().state)["published"] is None
