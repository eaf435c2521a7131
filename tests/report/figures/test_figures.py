"""Every figure of many kinds of studies, without a browser: it is well-formed, and its text has room."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

import pytest

from karat.report.facts.summary import Summary, summarise
from karat.report.figures import Figure
from karat.report.figures.svg import SIZE, width_of
from karat.report.sections import sections
from tests import journals
from tests.journals import Plan
from tests.report.test_report import NASTY, SIZES

SVG = "{http://www.w3.org/2000/svg}"
LONG = "a level whose name is so long that no figure has room for all of it"
PLANS = {
    "four levels": Plan(),
    "one level": Plan(levels=(3,), sharings=("universal",)),
    "thirty arms": Plan(
        levels=range(1, 31),
        sharings=("blockwise",),
        finals={None: 0.93, **{n: 0.9 + 0.002 * n for n in range(1, 31)}},
    ),
    "matched": SIZES,
    "loss": Plan(metric="val_loss"),
    "names": Plan(
        levels=(NASTY, LONG, 70 * "x", "\x00"),
        finals={None: 0.9, NASTY: 0.93, LONG: 0.91, 70 * "x": 0.92, "\x00": 0.95},
    ),
    "all failed": Plan(fails=True),
    "searching": Plan(until="searching"),
    "confirming": Plan(until="confirming"),
}


@pytest.fixture(scope="module", params=PLANS)
def summary(request: pytest.FixtureRequest) -> Summary:
    return summarise(journals.study(PLANS[request.param]).state)


@pytest.fixture(scope="module")
def finished() -> Summary:
    return summarise(journals.study().state)


def figures_of(summary: Summary) -> dict[str, Figure]:
    found = [figure for section in sections(summary) for figure in section.figures]
    assert len({figure.file for figure in found}) == len(found)
    return {figure.file: figure for figure in found}


def drawn(figure: Figure) -> ElementTree.Element:
    return ElementTree.fromstring(figure.svg)


@dataclass(frozen=True)
class Written:
    """A text of a figure, and about where it is."""

    text: str
    left: float
    right: float
    base: float
    size: float

    def meets(self, other: "Written") -> bool:
        """Whether both are on the same place; letters that go below the line are not counted."""
        beside = self.right <= other.left or other.right <= self.left
        above = abs(self.base - other.base) >= 0.85 * min(self.size, other.size)
        return not (beside or above)


def written(element: ElementTree.Element, size: float = SIZE) -> Iterator[Written]:
    size = float(element.get("font-size", size))
    if element.tag == f"{SVG}text":
        x, y, text = float(element.get("x", 0)), float(element.get("y", 0)), element.text or ""
        wide = width_of(text, size)
        share = {"start": 0.0, "middle": 0.5, "end": 1.0}[element.get("text-anchor", "start")]
        yield Written(text, x - share * wide, x + (1 - share) * wide, y, size)
    for child in element:
        yield from written(child, size)


def test_every_figure_is_well_formed_and_says_what_it_is(summary: Summary) -> None:
    for figure in figures_of(summary).values():
        root = drawn(figure)
        assert (root.tag, root.get("role"), root[0].tag) == (f"{SVG}svg", "img", f"{SVG}title")
        assert root[0].text
        assert figure.title
        assert figure.caption.endswith(".")
        assert figure.file.endswith(".svg")
        width, height = map(float, root.get("viewBox", "").split()[2:])
        assert width == 720
        assert 0 < height < 4000


def test_text_lies_inside_the_figure_and_on_no_other_text(summary: Summary) -> None:
    for figure in figures_of(summary).values():
        root = drawn(figure)
        width, height = map(float, root.get("viewBox", "").split()[2:])
        texts = list(written(root))
        for each in texts:
            inside = each.left >= -1 and each.right <= width + 1 and each.size <= each.base < height
            assert inside, (figure.file, each)
            assert each.size >= 11
        for one, other in itertools.combinations(texts, 2):
            assert not one.meets(other), (figure.file, one, other)


def test_figures_ask_for_nothing_that_a_strict_page_refuses(summary: Summary) -> None:
    for figure in figures_of(summary).values():
        assert not re.search(
            r"<script|<style|<image|<foreignObject| (id|style|href|on\w+)=", figure.svg
        )
        assert "url(" not in figure.svg
        assert "nan" not in re.sub(r">[^<]*<", "><", figure.svg)


def test_names_are_shown_as_they_are() -> None:
    found = figures_of(summarise(journals.study(PLANS["names"]).state))
    for figure in found.values():
        assert "<b>" not in figure.svg
        for mark in drawn(figure).iter():
            if mark.get("data-arm", "").startswith("fourier a<"):
                assert NASTY in mark.get("data-arm", "")
    assert any(NASTY in (e.text or "") for e in drawn(found["costs.svg"]).iter(f"{SVG}text"))


def test_drawing_again_gives_the_same(summary: Summary) -> None:
    first = {name: figure.svg for name, figure in figures_of(summary).items()}
    assert {name: figure.draw() for name, figure in figures_of(summary).items()} == first


def test_what_has_nothing_to_show_is_left_out() -> None:
    plan = Plan(until="created")
    assert figures_of(summarise(journals.study(plan).state)) == {}
    failed = figures_of(summarise(journals.study(PLANS["all failed"]).state))
    assert set(failed) == {"failures.svg", "timeline.svg"}


def test_every_kind_of_figure_is_drawn(finished: Summary) -> None:
    assert set(figures_of(finished)) == {
        *("differences.svg", "test_accuracy.svg", "costs.svg", "validation_accuracy_by_epoch.svg"),
        *("best_so_far.svg", "learning_curves.svg", "slices.svg", "timeline.svg", "failures.svg"),
    }


# -- what scripts and readers find in them ----------------------------------------------------


@pytest.mark.parametrize(
    "name", ["learning_curves.svg", "slices.svg", "test_accuracy.svg", "timeline.svg"]
)
def test_marks_of_a_trial_name_it_and_lie_in_the_group_of_its_arm(
    name: str, finished: Summary
) -> None:
    arms = {trial.number: trial.arm for trial in finished.history.trials}
    arms |= {number: arm.label for arm in finished.arms for number in arm.trials.values()}
    groups = [e for e in drawn(figures_of(finished)[name]).iter() if e.get("data-arm")]
    marks = [(g.get("data-arm"), m) for g in groups for m in g.iter() if m.get("data-trial")]
    assert len(marks) > 20
    for arm, mark in marks:
        number = mark.get("data-trial", "")
        assert arms[int(number)] == arm
        assert f"trial {number}" in mark.findtext(f"{SVG}title", "")


def test_every_search_trial_has_a_learning_curve_with_its_end_marked(finished: Summary) -> None:
    root = drawn(figures_of(finished)["learning_curves.svg"])
    told = {
        e.get("data-trial"): e.findtext(f"{SVG}title", "")
        for e in root.iter()
        if e.get("data-trial")
    }
    assert len(told) == 35  # of 36 trials one failed before its first report
    assert sum("stopped" in title for title in told.values()) == 18


def test_every_seed_of_every_arm_is_a_dot_also_those_of_the_reference(finished: Summary) -> None:
    root = drawn(figures_of(finished)["test_accuracy.svg"])
    dots = {e.get("data-trial") for e in root.iter(f"{SVG}circle")}
    assert dots == {str(number) for arm in finished.arms for number in arm.trials.values()}


def test_no_axis_of_an_accuracy_goes_beyond_100_percent() -> None:
    plan = Plan(finals={None: 0.99, 1: 0.999, 3: 0.998, 5: 0.995, 7: 0.99}, noise=0.0015)
    for figure in figures_of(summarise(journals.study(plan).state)).values():
        if "accuracy" in figure.file:
            numbers = [
                w.text for w in written(drawn(figure)) if re.fullmatch(r"\d+(\.\d+)?", w.text)
            ]
            assert max(map(float, numbers)) <= 100


def test_verdicts_stand_beside_the_differences_only_at_the_end() -> None:
    end, before = (
        figures_of(summarise(journals.study(Plan(until=until)).state))["differences.svg"]
        for until in ("end", "confirming")
    )
    assert end.svg.count(">better<") == 4
    assert "better<" not in re.sub("better →<", "", before.svg)
    assert "so there are no verdicts" in before.caption


def test_an_interval_too_wide_to_show_is_told_beside_it() -> None:
    runs = {("softmax", None): (0.9, 0.91, 0.9, 0.91, 0.9)}
    for level in (1, 3, 5):
        runs["fourier", level] = (0.91, 0.92, 0.915, 0.92, 0.91)
    runs["fourier", 7] = (0.2, 0.99, 0.5, 0.97, 0.99)
    figure = figures_of(summarise(journals.study(Plan(runs=runs)).state))["differences.svg"]
    (row,) = (g for g in drawn(figure).iter(f"{SVG}g") if "=7" in g.get("data-arm", ""))
    assert row.find(f".//{SVG}path") is not None  # the tip of an arrow
    texts = [each.text for each in written(row)]
    assert any(re.search(r"\(-\d\d\.\d\d to \+\d\d\.\d\d\)", text) for text in texts)
