"""The page as Chromium lays it out: nothing is cut on a phone, on a screen, or on paper."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from karat.report.writer import write_page
from tests import journals
from tests.journals import Plan

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
LONG = "an_operator_with_a_name_of_forty_letters"
# In CSS pixels, of 1/96 inch; the width between the margins of report.css.
SCREENS = {"phone": 390, "screen": 1200}
PAPER = {"A4": (794 - 90, 1123 - 90), "Letter": (816 - 90, 1056 - 90)}  # upright, turned
# Elements beyond the right edge of the page; what is in a scroll container is cut there, not by the page.
BEYOND = """([selector, width]) => [...document.querySelectorAll(selector)]
    .filter((e) => !e.parentElement.closest(".scroll"))
    .filter((e) => e.getBoundingClientRect().right > width + 1)
    .map((e) => `${e.tagName} ${e.className}: ${e.getBoundingClientRect().right}`)"""
# Cells that stand out of the page, or whose content stands out of them.
CLIPPED = """([selector, width]) => [...document.querySelectorAll(selector)]
    .filter((e) => e.getBoundingClientRect().width)
    .filter((e) => e.getBoundingClientRect().right > width + 1 || e.scrollWidth > e.clientWidth + 1)
    .map((e) => `${e.className} ${e.textContent}: ${e.getBoundingClientRect().right}`)"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three studies: as usual, with long names that are matched by level, and one without an end."""
    matched = Plan(
        by="model.embed_dim",
        levels=(24, 48),
        matched={24: 0.9, 48: 0.94},
        finals={24: 0.93, 48: 0.95},
        sharings=(LONG, f"{LONG}_too"),
    )
    plans = {"usual": Plan(), "matched": matched, "unfinished": Plan(until="searching")}
    folder = tmp_path_factory.mktemp("studies")
    for name in plans:
        (folder / name).mkdir()
    studies = {folder / name: journals.study(plan).state for name, plan in plans.items()}
    write_page(folder / "page.html", studies)
    return folder / "page.html"


@pytest.fixture(scope="module")
def page(report: Path) -> "Iterator[Page]":
    """The report in a browser; it fails if the page's script does."""
    if CHROMIUM is None:
        reason = "no Chromium (apt-get install chromium)"
        pytest.fail(reason) if os.environ.get("BROWSER") else pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page()
        errors: list[str] = []
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.on("console", lambda told: errors.append(told.text) if told.type == "error" else None)
        tab.goto(report.as_uri())
        assert not errors, "the script, or the policy that allows it"
        yield tab
        browser.close()


def show(page: "Page", width: int, media: str = "screen") -> None:
    page.emulate_media(media="print" if media == "print" else "screen")
    page.set_viewport_size({"width": width, "height": 900})
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    page.evaluate("markWide()")


@pytest.mark.parametrize("screen", SCREENS)
def test_nothing_is_wider_than_the_screen_but_in_a_container_that_scrolls_and_says_so(
    page: "Page", screen: str
) -> None:
    width = SCREENS[screen]
    show(page, width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(BEYOND, ["body *", width]) == []
    silent = """[...document.querySelectorAll(".scroll")].filter((e) => e.scrollWidth > e.clientWidth + 1
        && getComputedStyle(e, "::before").content === "none").length"""
    assert page.evaluate(silent) == 0


@pytest.mark.parametrize("paper", PAPER)
def test_nothing_is_cut_on_paper(page: "Page", paper: str) -> None:
    upright, turned = PAPER[paper]
    for width, inside in ((upright, ":not(.wide)"), (turned, ".wide")):
        show(page, width, "print")
        for part in (f"section{inside}", f"header{inside}"):
            assert page.evaluate(BEYOND, [f"{part} *", width]) == []
            assert page.evaluate(CLIPPED, [f"{part} td, {part} th", width]) == []


def test_a_tall_picture_is_not_squeezed_on_paper(page: "Page") -> None:
    show(page, PAPER["A4"][0], "print")
    ratio = """async () => {
        const canvas = document.createElement("canvas");
        canvas.width = 1000; canvas.height = 900;
        const figure = document.createElement("div"), image = new Image();
        figure.className = "figure"; figure.append(image);
        document.querySelector("section").append(figure);
        image.src = canvas.toDataURL();
        await image.decode();
        const box = image.getBoundingClientRect();
        figure.remove();
        return box.width / box.height;
    }"""
    assert page.evaluate(ratio) == pytest.approx(1000 / 900, rel=0.01)


def test_difference_p_and_verdict_are_on_every_paper(page: "Page", tmp_path: Path) -> None:
    show(page, PAPER["A4"][0], "print")
    for arm in ("fourier grid_size=1 universal", "fourier grid_size=7 universal"):
        row = page.locator("#study-1 section", has=page.get_by_text("Result")).locator(
            "tr", has_text=arm
        )
        text = " ".join(row.first.inner_text().split())
        assert "+2" in text
        assert "< 0.001 better" in text


def test_heads_sort_by_number_and_say_so(page: "Page") -> None:
    show(page, 1200)
    table = page.locator("#study-1 table[data-tools]")
    head = table.get_by_role("columnheader", name="best validation")
    cells = table.locator("tbody tr td:nth-child(7)")
    for order in ("ascending", "descending"):
        head.get_by_role("button").press("Enter")
        assert head.get_attribute("aria-sort") == order
        values = [float(text) for text in cells.all_inner_texts() if text != "-"]
        assert values == sorted(values, reverse=order == "descending")
        assert cells.all_inner_texts()[-1] == "-"  # the trial that failed


@pytest.mark.slow
def test_trials_are_filtered_by_words(page: "Page") -> None:
    show(page, 1200)
    field = page.locator("#study-1").get_by_role("searchbox")
    rows = page.locator("#study-1 table[data-tools] tbody tr:visible")
    every = rows.count()
    field.fill("grid_size=3 early")
    assert 0 < rows.count() < every
    assert all("early stopping" in text for text in rows.all_inner_texts())
    field.fill("")
    assert rows.count() == every


@pytest.mark.slow
def test_two_trials_are_compared_by_what_differs(page: "Page") -> None:
    show(page, 1200)
    study = page.locator("#study-1")
    for number in (0, 1, 2):  # the third takes the place of the first
        study.get_by_role("checkbox", name=f"Compare trial {number}", exact=True).check()
    told = study.locator(".compared").inner_text()
    assert "trial 1" in told
    assert "trial 2" in told
    assert "attention.block_sharing" in told
    assert "attention.basis" not in told  # both are of Fourier
    assert not study.get_by_role("checkbox", name="Compare trial 0", exact=True).is_checked()


@pytest.mark.slow
def test_a_trial_is_shown_in_all_places_of_its_study_alone(page: "Page") -> None:
    show(page, 1200)
    page.locator('#study-1 table[data-tools] tr[data-trial="3"]').hover()
    assert page.locator("#study-1 .lit").count() >= 1
    assert page.locator("#study-2 .lit").count() == 0
    assert page.evaluate(
        "[...document.querySelectorAll('.lit')].every((e) => e.dataset.trial === '3')"
    )


def test_without_the_script_everything_is_there(report: Path, page: "Page") -> None:
    context = page.context.browser.new_context(java_script_enabled=False)  # type: ignore[union-attr]
    plain = context.new_page()
    plain.goto(report.as_uri())
    assert plain.locator("#study-1 table[data-tools] tbody tr").count() == 61
    assert plain.locator("button, input").count() == 0
    context.close()
