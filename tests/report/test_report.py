import io
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from scipy import stats

from karat.errors import JournalError
from karat.journal.journal import read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.report.answer import answer
from karat.report.facts.search_summary import edges_of
from karat.report.facts.summary import Summary
from karat.report.formatting import Units
from karat.report.parts.health import health_notes
from karat.report.sections import sections
from karat.report.wording import marked_verdict_text, verdict_text
from karat.report.writer import render_terminal, summarise, write_report
from karat.statistics.metric import Metric
from karat.statistics.samples import describe
from tests import journals
from tests.journals import Plan

SIZES = Plan(
    by="model.embed_dim",
    levels=(96, 24, 48),
    matched={24: 0.90, 48: 0.94, 96: 0.96},
    finals={24: 0.93, 48: 0.95, 96: 0.96},
    runs={
        ("softmax", 24): (0.900, 0.902, 0.898, 0.904, 0.896),
        ("fourier", 24): (0.931, 0.931, 0.929, 0.933, 0.926),
        ("softmax", 48): (0.940, 0.950, 0.930, 0.945, 0.935),
        ("fourier", 48): (0.951, 0.949, 0.941, 0.944, 0.955),
        ("softmax", 96): (0.960, 0.962, 0.958, 0.961, 0.959),
        ("fourier", 96): (0.961, 0.962, 0.957, 0.961, 0.960),
    },
    question="What does Fourier give at each size?",
)
NASTY = 'a<b>|$x$ & "long" [red]level[/red]'


@pytest.fixture(scope="module")
def finished() -> Summary:
    return summarise(journals.study().state)


def summary_of(plan: Plan) -> Summary:
    return summarise(journals.study(plan).state)


def printed(summary: Summary, width: int = 100) -> str:
    console = Console(width=width, file=io.StringIO())
    render_terminal(summary, console)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def finals(**levels: float) -> dict[int | None, float]:
    return {None: levels["reference"], **{int(k[1:]): v for k, v in levels.items() if k[0] == "g"}}


# -- facts ------------------------------------------------------------------------------------


def test_arms_are_the_reference_then_the_levels_in_order() -> None:
    found = summary_of(Plan(levels=(7, 1, 5, 3)))
    assert [arm.level for arm in found.arms] == [None, 1, 3, 5, 7]
    assert found.arms[0].is_reference
    assert found.arms[0].comparison is None


def test_levels_that_are_names_are_ranked_the_best_first() -> None:
    names = {"rational": 0.91, "fourier": 0.97, "morlet": 0.94}
    plan = Plan(by="model.name", levels=tuple(names), finals={None: 0.7, **names}, noise=0.001)
    found = summary_of(plan)
    assert [arm.level for arm in found.arms] == [None, "fourier", "morlet", "rational"]
    result = next(part for part in sections(found) if part.title == "Result")
    assert "name" not in result.tables[0].columns


def test_answer_gives_the_price_beside_that_of_the_reference(finished: Summary) -> None:
    arms = tuple(replace(arm, flops=2_400_000 + arm.is_reference) for arm in finished.arms)
    assert (
        "Its price, and in brackets that of softmax: 47,400 parameters (41,802), 2.4 million "
        "operations an image (2.4) and 21.0 s of training a run (21.0)."
    ) in answer(replace(finished, arms=arms))


def test_runs_are_paired_by_seed_index(finished: Summary) -> None:
    base, arm = finished.arms[0], finished.arms[1]
    expected = sum(arm.runs[i] - base.runs[i] for i in range(5)) / 5
    assert arm.comparison is not None
    assert (arm.comparison.n, arm.comparison.against) == (5, "softmax")
    assert arm.comparison.difference == pytest.approx(expected)


def test_failed_runs_are_left_out_and_named() -> None:
    script = journals.study(Plan(until="confirming"))
    cells = script.state.confirmation["cells"]  # type: ignore[index]
    arms = {each["label"]: each for each in journals.arms_of(Plan())}
    for index in (3, 4):
        for cell in cells:
            number = len(script.state.trials)
            chosen = arms[cell["arm"]]
            journals.ask(script, number, "confirm", chosen, cell["tuned"], index)
            if cell["level"] == 5:
                journals.end(script, number, "failed", "out of memory")
            else:
                journals.train(script, Plan(), number, 0.9 + number / 1000, journals.EPOCHS, True)
                journals.end(script, number, "completed", "")
    found = summarise(script.state)
    assert found.is_final
    arm = next(arm for arm in found.arms if arm.level == 5)
    assert arm.comparison is not None
    assert (arm.completed, arm.ended, arm.comparison.n) == (3, 5, 3)
    assert arm.failed == (3, 4)
    assert arm.comparison.with_failures is not None
    assert (arm.comparison.with_failures.n, arm.comparison.verdict) == (5, "inconclusive")
    failed = f"{arm.label}: 2 of 5 runs failed (40 %, 95 % interval 5 to 85 %)."
    assert any(failed in note for note in health_notes(found))
    tests = next(part for part in sections(found) if part.title == "How sure it is").tables[0]
    assert "difference (points) with failures" in tests.columns
    assert [row[tests.columns.index("runs failed")] for row in tests.rows] == [
        *("0 of 5", "0 of 5", "2 of 5", "0 of 5")
    ]


def test_engine_cost_leaves_out_the_time_between_launches() -> None:
    with_gap, without = (
        summary_of(Plan(interrupted=flag)).search.engine_seconds for flag in (True, False)
    )
    assert with_gap is not None
    assert without is not None
    assert with_gap == pytest.approx(without, abs=0.1)


def test_engine_cost_is_slot_time_without_training_for_each_trial() -> None:
    script = journals.study(Plan(interrupted=False))
    state = script.state
    found = summarise(state).search
    begin, end = state.trials[0].asked_at, state.search_ended_at
    training = sum(trial.seconds for trial in state.of_phase("search"))
    assert end is not None
    expected = ((end - begin) * 2 - training) / found.asked
    assert found.engine_seconds == pytest.approx(expected)


def test_engine_cost_leaves_out_what_was_confirmed_during_the_search() -> None:
    state = journals.study(Plan(interrupted=False)).state
    begin, end = state.trials[0].asked_at, state.search_ended_at
    assert end is not None
    state.search_ended_at = later = state.of_phase("confirm")[2].reports[-1].time
    found = summarise(state).search
    training = sum(trial.seconds for trial in state.of_phase("search"))
    training += sum(
        report.seconds
        for trial in state.of_phase("confirm")
        for report in trial.reports
        if report.time <= later
    )
    assert found.engine_seconds == pytest.approx(((later - begin) * 2 - training) / found.asked)


def test_answer_while_only_some_levels_are_confirmed_counts_their_runs() -> None:
    script = journals.study(Plan(until="confirming"))
    events = [
        replace(event, data={**event.data, "contests": ["softmax"]})
        if event.kind == "confirmation_planned"
        else event
        for event in script.events
    ]
    found = summarise(StudyState.of(events))
    done = sum(arm.completed for arm in found.arms)
    assert done > 0
    assert found.planned_runs is None
    assert not found.is_final
    assert f"{done} confirmation runs have been completed" in answer(found)


def test_saved_epochs_count_trials_that_did_not_fail(finished: Summary) -> None:
    facts = finished.search
    assert (facts.completed, facts.stopped, facts.failed) == (17, 18, 1)
    assert (facts.epochs_run, facts.epochs_full) == (17 * 10 + 18, 35 * 10)
    assert facts.saved == pytest.approx(1 - 188 / 350)


def test_best_value_at_the_end_of_its_range_is_flagged(finished: Summary) -> None:
    edges = {arm.label: arm.edges for arm in finished.search.arms}
    (edge,) = edges.pop("softmax")
    assert (edge.name, edge.end, edge.low, edge.high) == (
        "training.learning_rate",
        "upper",
        0.001,
        0.01,
    )
    assert not any(edges.values())
    told = "softmax (learning_rate 0.00998 at the upper end of 0.001 to 0.01)"
    assert any(told in note for note in health_notes(finished))


@pytest.mark.parametrize(
    ("value", "log", "flagged"),
    [(0.0011, False, True), (0.0011, True, False), (0.00102, True, True), (0.0095, True, False)],
)
def test_edges_are_measured_on_the_scale_of_the_range(
    value: float, log: bool, flagged: bool
) -> None:
    ranges = {"training.learning_rate": {"low": 1e-3, "high": 1e-2, "log": log}}
    assert bool(list(edges_of({"training.learning_rate": value}, ranges))) == flagged


def test_categories_have_no_edges() -> None:
    ranges = {"training.optimizer": {"values": ["adam", "sgd"]}}
    assert not list(edges_of({"training.optimizer": "adam"}, ranges))


def test_an_empty_journal_is_refused_in_words() -> None:
    with pytest.raises(JournalError, match="empty"):
        summarise(StudyState())


# -- references of each level -----------------------------------------------------------------


def test_each_level_stands_under_its_own_reference() -> None:
    found = summary_of(SIZES)
    told = [(arm.level, arm.is_reference, arm.against) for arm in found.arms]
    assert told == [
        (24, True, None),
        (24, False, "embed_dim=24 softmax"),
        (48, True, None),
        (48, False, "embed_dim=48 softmax"),
        (96, True, None),
        (96, False, "embed_dim=96 softmax"),
    ]
    table = sections(found)[0].tables[0]
    assert [row[0].endswith(" softmax (reference)") for row in table.rows] == [True, False] * 3
    assert [row[1] for row in table.rows] == ["24", "24", "48", "48", "96", "96"]


def test_differences_are_paired_within_the_level_and_corrected_over_all_levels() -> None:
    found = summary_of(SIZES)
    compared = {arm.level: arm.comparison for arm in found.others if arm.comparison}
    expected = {24: 0.030, 48: 0.008, 96: 0.0002}
    p_values = {}
    for level, comparison in compared.items():
        ours, theirs = SIZES.runs["fourier", level], SIZES.runs["softmax", level]
        test = stats.ttest_rel(ours, theirs)
        interval = test.confidence_interval(0.95)
        assert comparison.difference == pytest.approx(expected[level])
        assert (comparison.low, comparison.high) == pytest.approx(tuple(interval))
        assert comparison.p == pytest.approx(test.pvalue)
        p_values[level] = test.pvalue
    assert compared[24].p_holm == pytest.approx(3 * p_values[24])
    assert compared[48].p_holm == pytest.approx(2 * p_values[48])
    verdicts = {level: comparison.verdict for level, comparison in compared.items()}
    assert verdicts == {24: "better", 48: "inconclusive", 96: "equivalent"}


def test_answer_gives_the_difference_at_each_level_and_claims_no_trend() -> None:
    assert answer(summary_of(SIZES)) == (
        "Against softmax at the same embed_dim, fourier is better at 24; equivalent at 96; "
        "inconclusive at 48. By embed_dim, the difference in test accuracy is +3.00 points at 24 "
        "(95 % interval +2.88 to +3.12), +0.80 at 48 (-0.32 to +1.92) and +0.02 at 96 "
        "(-0.08 to +0.12). Whether the difference changes with embed_dim was not tested. "
        "The highest mean test accuracy, 96.02 %, is that of fourier blockwise at embed_dim=96; as "
        "the highest of 6 it is probably too high."
    )


def test_every_view_speaks_of_the_reference_of_the_level(tmp_path: Path) -> None:
    state = journals.study(SIZES).state
    write_report(tmp_path, state)
    text = (tmp_path / "report.md").read_text()
    assert "Differences are to softmax at the same embed_dim, paired by seed." in text
    assert re.search(r"fourier \w+ at embed_dim=48: inconclusive, since", text)
    assert "and the reference of each |" in text
    assert (tmp_path / "report.html").read_text().count('class="reference"') == 3
    lines = printed(summarise(state), 150).splitlines()
    result = lines[: next(i for i, line in enumerate(lines) if "trials" in line)]
    rows = [line for line in result if line.startswith("embed_dim=")]
    assert [line.split()[1] for line in rows] == ["softmax", "fourier"] * 3


def test_level_whose_reference_failed_is_not_compared() -> None:
    script = journals.study(replace(SIZES, until="searched"))
    planned = script.events.pop()
    cells = [cell for cell in planned.data["cells"] if cell["arm"] != "embed_dim=48 softmax"]
    skipped = [{"label": "embed_dim=48 softmax", "cause": "none_completed"}]
    script.add("confirmation_planned", cells=cells, skipped=skipped)
    journals.confirm(script, SIZES, cells, journals.np.random.default_rng(0))
    script.add("study_ended", status="completed")
    found = summarise(script.state)
    assert [arm.level for arm in found.arms] == [24, 24, 48, 96, 96]
    assert "fourier is better at 24; equivalent at 96; not compared at 48." in answer(found)
    assert "at 48 (" not in answer(found)
    assert all(section.figures is not None for section in sections(found))


def test_matched_study_without_an_end_gives_no_verdict(tmp_path: Path) -> None:
    for until in ("created", "searching", "searched", "confirming"):
        state = journals.study(replace(SIZES, until=until)).state
        write_report(tmp_path, state)
        assert "There is no answer yet" in answer(summarise(state))


def test_report_of_an_older_journal_is_that_of_a_new_one() -> None:
    script = journals.study()
    new = summarise(script.state)
    first = script.events[0]
    data = {key: value for key, value in first.data.items() if key != "references"}
    script.events[0] = replace(first, data={**data, "reference": "softmax"})
    assert summarise(script.state) == new


def test_list_levels_are_shown_and_compared_after_the_journal(tmp_path: Path) -> None:
    finals = {None: 0.7, "all": 0.8, "early": 0.85, (0, 1, 3): 0.95}
    plan = Plan(by="attention.blocks", levels=tuple(finals)[1:], finals=finals)
    script = journals.study(plan)
    folder = journals.write(tmp_path / "blocks", script)
    found = summarise(StudyState.of(read_events(folder / JOURNAL)))
    assert [arm.level for arm in found.arms] == [None, "all", "early", (0, 1, 3)]
    assert found.arms == summarise(script.state).arms
    write_report(folder, script.state)
    text = (folder / "report.md").read_text()
    assert re.search(r"\| fourier blocks=0,1,3 \w+ \| 0,1,3 \|", text)
    assert re.search(
        r"\*\*fourier blocks=\S+ \w+, best in the search and as tuned here, reaches", text
    )


# -- the answer -------------------------------------------------------------------------------


def test_answer_is_about_the_arm_that_the_search_chose_with_n_interval_and_verdict(
    finished: Summary,
) -> None:
    text = answer(finished)
    assert re.match(
        r"fourier grid_size=3 blockwise, best in the search and as tuned here, reaches 97\.\d\d % on "
        r"the test split, 27\.\d\d points above softmax \(5 seeds, 95 % interval 26\.\d\d to "
        r"27\.\d\d\): better after 10 epochs, at which softmax \(training loss 0\.\d\d, [^)]*\) and "
        r"fourier grid_size=3 blockwise \(\S+ points in the middle [^)]*\) look unfinished\. "
        r"Against softmax, the other 3 confirmed arms are better too; .* look unfinished\. ",
        text,
    )
    assert re.search(
        r"The highest mean test accuracy, 97\.\d\d %, is that of fourier grid_size=5 universal; as the "
        r"highest of 4 it is probably too high\.$",
        text,
    )


def test_the_arm_of_the_answer_does_not_depend_on_the_test(finished: Summary) -> None:
    chosen = answer(finished).split(",")[0]
    for arm in finished.others:
        better = replace(arm, test=replace(arm.test, mean=0.999))
        arms = tuple(better if each is arm else each for each in finished.arms)
        assert answer(replace(finished, arms=arms)).split(",")[0] == chosen


def test_of_arms_equally_good_in_the_search_the_first_in_the_space_is_chosen(
    finished: Summary,
) -> None:
    tied = tuple(
        replace(arm, cells=tuple(replace(cell, searched=0.95) for cell in arm.cells))
        for arm in finished.arms
    )
    first = min(finished.others, key=lambda arm: arm.place)
    for best in finished.others:  # in the test, after which levels that are names are ordered
        arms = [
            replace(arm, test=replace(arm.test, mean=0.999 if arm.label == best.label else 0.9))
            for arm in tied
        ]
        arms.sort(key=lambda arm: (not arm.is_reference, -(arm.test.mean or 0)))
        text = answer(replace(finished, arms=tuple(arms)))
        assert text.startswith(
            f"{first.label}, the first in the space of 4 that were equally best in the search, as tuned here, "
        )


def test_verdicts_in_the_table_say_who_is_unfinished(finished: Summary) -> None:
    known = finished.progress
    assert known[finished.references[0].label].signs
    for arm in finished.others:
        both = bool(known[arm.label].signs)
        mark = "both unfinished" if both else "softmax unfinished"
        assert marked_verdict_text(arm, finished) == f"better; {mark}"


def test_an_arm_chosen_by_the_search_that_lost_all_its_runs_is_named(finished: Summary) -> None:
    label = answer(finished).split(",")[0]
    arms = tuple(
        replace(arm, completed=0, failed=(0, 1, 2, 3, 4), runs={}, test=describe([], 0.05))
        if arm.label == label
        else arm
        for arm in finished.arms
    )
    assert answer(replace(finished, arms=arms)).startswith(
        f"{label}, which did best in the search, has no result: none of its 5 confirmation runs was "
        "completed. fourier"
    )


def test_answer_claims_no_best_level_where_none_is_settled(finished: Summary) -> None:
    assert "Between the levels of grid_size no difference is settled." in answer(finished)


def test_answer_says_so_where_one_level_beats_all_others() -> None:
    text = answer(
        summary_of(
            Plan(finals=finals(reference=0.7, g1=0.8, g3=0.85, g5=0.95, g7=0.82), noise=0.004)
        )
    )
    assert "It is better than every other level of grid_size confirmed, too." in text


def test_an_arm_that_does_not_beat_the_reference_is_not_said_to_beat_every_level() -> None:
    text = answer(
        summary_of(
            Plan(finals=finals(reference=0.95, g1=0.8, g3=0.85, g5=0.95, g7=0.82), noise=0.004)
        )
    )
    assert "It is better than every other level of grid_size confirmed but softmax." in text


def test_answer_sorts_levels_into_beaten_equivalent_and_open() -> None:
    text = answer(
        summary_of(Plan(finals=finals(reference=0.7, g1=0.8, g3=0.9, g5=0.9, g7=0.9), noise=0.001))
    )
    assert re.search(r"Between the levels of grid_size, \d is better than 1; equivalent to", text)


def test_equal_arms_are_not_called_better() -> None:
    found = summary_of(Plan(finals=dict.fromkeys((None, 1, 3, 5, 7), 0.9), noise=0.02))
    assert "inconclusive" in answer(found)
    assert "better" not in answer(found)


def test_a_lower_loss_is_better_and_below() -> None:
    text = answer(summary_of(Plan(metric="val_loss")))
    assert re.search(r"a loss of 0\.\d{4} on the test split, 0\.\d{4} below softmax", text)
    assert "): better after 10 epochs, at which softmax (" in text
    assert "%" not in text.replace("95 %", "")


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (Plan(until="created"), "no answer yet: the search has ended 0 of 36 trials."),
        (Plan(until="searching"), "Best so far on the validation split: fourier"),
        (Plan(until="searching", fails=True), "all 18 trials that have ended failed"),
        (Plan(until="searched"), "no answer yet: no confirmation run has been completed"),
        (Plan(until="confirming"), "no answer yet: 15 of 25 confirmation runs have ended"),
        (Plan(fails=True), "There is no answer: no trial was completed."),
    ],
)
def test_a_study_without_an_end_gets_a_partial_report(
    tmp_path: Path, plan: Plan, expected: str
) -> None:
    state = journals.study(plan).state
    found = summarise(state)
    assert expected in answer(found)
    write_report(tmp_path, state)
    assert expected in (tmp_path / "report.md").read_text()
    assert 'class="better"' not in (tmp_path / "report.html").read_text()
    assert "better  " not in printed(found)
    assert all(verdict_text(arm, found) in ("pending", "reference") for arm in found.arms)


def test_a_reference_that_could_not_be_confirmed_leaves_the_others_without_a_verdict(
    tmp_path: Path,
) -> None:
    script = journals.study(Plan(until="searched"))
    planned = script.events.pop()
    cells = [cell for cell in planned.data["cells"] if cell["level"] is not None]
    skipped = [{"label": "softmax", "cause": "none_completed"}]
    script.add("confirmation_planned", cells=cells, skipped=skipped)
    journals.confirm(script, Plan(), cells, journals.np.random.default_rng(0))
    script.add("study_ended", status="completed")
    found = summarise(script.state)
    assert {arm.comparison.verdict for arm in found.arms if arm.comparison} == {"inconclusive"}
    assert "nothing to compare it with (0 seeds completed in both arms" in answer(found)
    write_report(tmp_path, script.state)
    assert "no trial of it finished the search" in (tmp_path / "report.md").read_text()


# -- views ------------------------------------------------------------------------------------


def test_report_is_written_from_the_journal_on_disk(tmp_path: Path) -> None:
    folder = journals.write(tmp_path / "fourier-grid", journals.study())
    write_report(folder, StudyState.of(read_events(folder / JOURNAL)))
    figures = {path.name for path in (folder / "report").glob("*.svg")}
    assert {"differences.svg", "test_accuracy.svg", "learning_curves.svg"} <= figures
    text = (folder / "report.md").read_text()
    for name in figures:
        assert f"](report/{name})" in text
        assert (folder / "report" / name).read_text().startswith("<svg ")
    assert f"karat ui {folder}" in text
    assert "rank 12 is above the 8 tokens" in text
    assert "loss is NaN at epoch 1" in text
    assert "| packages.torch | 2.14.1 |" in text
    assert not list(folder.rglob(".*"))


def test_page_asks_nothing_of_the_network(tmp_path: Path) -> None:
    write_report(tmp_path, journals.study().state)
    page = (tmp_path / "report.html").read_text()
    assert "default-src 'none'" in page
    assert not re.search(r"(src|href)=[\"'](?!data:|#)|url\(|@import|<link", page)
    for path in (tmp_path / "report").glob("*.svg"):
        assert path.read_text() in page


def test_writing_again_replaces_and_repeats(tmp_path: Path) -> None:
    state = journals.study().state
    write_report(tmp_path, state)
    first = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    write_report(tmp_path, state)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == first


def test_labels_are_shown_as_they_are_in_every_view(tmp_path: Path) -> None:
    plan = Plan(
        levels=(NASTY, "_hidden"),
        finals={None: 0.9, NASTY: 0.93, "_hidden": 0.91},
        question="<script>alert(1)</script> | `x` *y*",
    )
    state = journals.study(plan).state
    write_report(tmp_path, state)
    page = (tmp_path / "report.html").read_text()
    assert "<script>alert" not in page
    assert page.count("<script") == page.count("</script>") == 2  # the facts, and the page's own
    assert "a&lt;b&gt;|$x$ &amp; &#34;long&#34;" in page
    for line in (tmp_path / "report.md").read_text().splitlines():
        assert "<" not in line
        if line.startswith("| fourier a"):
            assert "a&lt;b&gt;\\|\\$x\\$ &amp;" in line
    assert NASTY in " ".join(printed(summarise(state), 170).split())


@pytest.mark.parametrize("width", [60, 80, 100, 130, 200])
def test_terminal_table_fits_and_keeps_the_verdict(finished: Summary, width: int) -> None:
    text = printed(finished, width)
    assert max(map(len, text.splitlines())) <= width
    assert text.count("better") >= 4
    assert "softmax" in text


def test_negative_zero_is_not_shown() -> None:
    units = Units(Metric(name="val_accuracy", mode="max"))
    assert units.number(-0.000001, "+") == "+0.00"
    assert units.number(-0.000001) == "0.00"
    assert units.number(-0.0123, "+") == "-1.23"


def test_importing_the_report_loads_nothing_heavy() -> None:
    code = "import sys, karat.report.writer; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"matplotlib", "scipy", "statsmodels", "jinja2", "pandas", "rich"} & set(loaded)


def test_figures_of_older_versions_are_removed_and_nothing_else(tmp_path: Path) -> None:
    folder = journals.write(tmp_path / "study", journals.study(Plan()))
    (folder / "report").mkdir()
    for name in ("accuracy_by_epoch.png", "accuracy_by_grid_size.png", "mine.png"):
        (folder / "report" / name).touch()
    write_report(folder, StudyState.of(read_events(folder / JOURNAL)))
    assert [path.name for path in (folder / "report").glob("*.png")] == ["mine.png"]
