"""What could not be done, with each reason once."""

from karat.cli.analyses.left_out import LeftOut


def test_one_reason_is_one_line_however_many_trials_and_analyses_have_it() -> None:
    left_out = LeftOut(["static: keeps no weights"])
    assert left_out
    for analysis in ("weights", "spectra", "weights"):
        for trial in ("trial 4 (softmax)", "trial 5 (karat)"):
            left_out.add(analysis, trial, "damaged")
    left_out.add("spectra", "trial 7 (uniform)", "damaged")
    left_out.say("1 image: a.png")
    left_out.say("1 image: a.png")
    assert left_out.lines() == [
        "static: keeps no weights",
        "1 image: a.png",
        "spectra and weights of trial 4 (softmax) and trial 5 (karat): damaged",
        "spectra of trial 7 (uniform): damaged",
    ]


def test_without_anything_left_out_there_are_no_lines() -> None:
    assert not LeftOut()
    assert LeftOut().lines() == []
