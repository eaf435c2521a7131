"""`--dry-run` predicts the costs of a launch on this machine and on the machines of a site."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from statsmodels.stats.power import TTestPower

from karat.cli.exit_status import OK, WRONG_INPUT
from karat.cli.launch import launch
from karat.execution.preload import PRELOAD
from karat.forecast.capacity import crowding
from karat.forecast.curves import ModelledCurves
from karat.forecast.probes import Known, Measured, process_of, write_probes
from karat.forecast.sight import spread_of
from karat.forecast.simulator import simulate
from karat.forecast.typical import typical_configs
from karat.journal.layout import JOURNAL, PROBES
from karat.space.reader import load_space
from tests.conftest import ROOT
from tests.spaces import ON_DIGITS

WriteSpace = Callable[..., Path]
NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


def at(site: str, resources: str = "") -> tuple[str, str]:
    """Return a replacement that adds a site and a trial's resources to the small space."""
    return ("study: small\n", f"study: small\ncluster: {site}\n{resources}\n")


def plan(capsys: pytest.CaptureFixture[str], space: Path, *words: str, status: int = OK) -> str:
    """Return what `--dry-run` prints, with wrapped lines joined."""
    assert launch(["--space", str(space), "--dry-run", *words]) == status
    said = capsys.readouterr()
    return " ".join((said.out + said.err).split())


def test_time_is_shown_for_the_site_and_for_this_machine(
    write_space: WriteSpace, capsys: pytest.CaptureFixture[str]
) -> None:
    site = "{slurm: {nodes: 4, cpus_per_node: 16}, kubernetes: {image: i, claim: c, cpus: 4}}"
    said = plan(capsys, write_space(at(site)))
    slurm = said.index("on slurm (4 x 16 CPUs, 0 GPUs), 64 trials at a time")
    kubernetes = said.index("on kubernetes (4 x 4 CPUs, 0 GPUs), 16 trials at a time")
    assert slurm < kubernetes < said.index("on this machine, ")


@NO_GPU
def test_gpus_of_a_site_are_priced_where_there_are_none(
    write_space: WriteSpace, capsys: pytest.CaptureFixture[str]
) -> None:
    site = "{slurm: {gpus_per_node: 4}, kubernetes: {image: i, claim: c}, usd_per_gpu_hour: 2}"
    said = plan(capsys, write_space(at(site, "resources: {gpus: 2}")))
    assert "on slurm (1 x 4 CPUs, 4 GPUs), 2 trials at a time" in said
    assert "none on kubernetes (4 x 4 CPUs, 0 GPUs): no machine there holds a trial" in said
    assert "US dollars" in said
    assert "multiply-adds a second of a GPU" in said


@NO_GPU
def test_plan_with_auto_notes_that_it_counts_whole_gpus(
    write_space: WriteSpace, capsys: pytest.CaptureFixture[str]
) -> None:
    site = "{slurm: {gpus_per_node: 2}}"
    said = plan(capsys, write_space(at(site, "resources: {gpus: auto}")))
    assert "2 trials at a time" in said
    assert "at most: with a whole GPU for each trial" in said
    whole = plan(capsys, write_space(at(site, "resources: {gpus: 1}")))
    assert "with a whole GPU" not in whole


@NO_GPU
def test_trial_that_fits_nowhere_is_refused(
    write_space: WriteSpace, capsys: pytest.CaptureFixture[str]
) -> None:
    space = write_space(at("{slurm: {gpus_per_node: 1}}", "resources: {gpus: 2}"))
    assert "this machine has 0 GPUs" in plan(capsys, space, status=WRONG_INPUT)


def test_site_can_be_named_for_the_price_alone(
    write_space: WriteSpace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "clusters").mkdir()
    (tmp_path / "clusters" / "lab.yaml").write_text("slurm: {nodes: 9}\nusd_per_cpu_hour: 3\n")
    said = plan(capsys, write_space(), "--cluster", "lab")
    assert "36 trials at a time" in said
    assert "at 3 an hour (usd_per_cpu_hour)" in said


def test_prices_are_those_of_the_named_site_for_a_budget_too(
    write_space: WriteSpace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "clusters").mkdir()
    for name, price in (("dear", 9), ("cheap", 3)):
        (tmp_path / "clusters" / f"{name}.yaml").write_text(f"usd_per_cpu_hour: {price}\n")
    money = ("--set", "budget.usd=5")
    assert "needs a price of an hour" in plan(capsys, write_space(), *money, status=WRONG_INPUT)
    assert "at 3 an hour" in plan(capsys, write_space(), *money, "--cluster", "cheap")
    space = write_space(at("dear"))
    assert "at 3 an hour" in plan(capsys, space, *money, "--cluster", "cheap")
    assert "at 9 an hour" in plan(capsys, space, *money)


def test_the_plan_says_what_the_seeds_can_see_and_that_their_number_is_a_maximum(
    write_space: WriteSpace, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    there = ("--storage", str(tmp_path))
    fixed = plan(capsys, write_space(("seeds: 2", "seeds: 8")), *there)
    assert "confirmation 24 trials: 3 cells" in fixed
    effect = TTestPower().solve_power(nobs=8, alpha=0.05 / 2, power=0.8)
    assert f"8 seeds call a true difference of {effect:.2f} standard deviations" in fixed
    assert "the first of 2 arms in Holm's correction" in fixed
    assert (
        f"if that deviation is 0.50 points, which no run has shown yet: {effect / 2:.2f} points"
        in fixed
    )
    assert "equal arms are then called equivalent in" in fixed
    added = plan(capsys, write_space(("seeds: 2", "seeds: 5, top_up: {most: 20}")), *there)
    assert "confirmation at most 60 trials: 3 cells" in added
    assert "x 5 to 20 fresh seeds (more only for arms without a verdict)" in added
    assert "what it takes, below, is with all seeds that there may be" in added
    assert "at most 20 seeds call a true difference of" in added


def test_the_plan_of_a_study_that_has_run_takes_the_spread_of_its_own_runs(
    write_space: WriteSpace, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = write_space(("seeds: 2", "seeds: 5"))
    space = load_space(path)
    curves = ModelledCurves(0, dict.fromkeys(space.arms, 1.0))
    done = simulate(space, tmp_path / "kept" / "small", 2, curves)
    known = spread_of(done.state)
    assert known is not None
    assert (known.pairs, known.arms) == (10, 2)
    said = plan(capsys, path, "--storage", str(tmp_path / "kept"))
    assert f"in this study that deviation is {100 * known.sd:.2f} points so far (10 pairs" in said
    (tmp_path / "kept" / "small" / JOURNAL).write_text("no journal\n" * 3)
    said = plan(capsys, path, "--storage", str(tmp_path / "kept"))
    assert "the study's own runs are left out: " in said
    assert "which no run has shown yet" in said


def test_the_plan_of_every_space_on_the_digits_loads_no_torch() -> None:
    code = (
        "import sys; from karat.cli.launch import launch; "
        f"[launch(['--space', path, '--dry-run']) for path in {[*map(str, ON_DIGITS)]}]; "
        "heavy = {'timm', 'ray', 'mlflow'} & sys.modules.keys(); "
        "print('LOADED', sorted(heavy), any(name.startswith('torch.nn') for name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "LOADED [] False"


def test_time_is_never_a_point_and_says_how_rough_it_is(
    write_space: WriteSpace, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = write_space(("seeds: 2", "seeds: 30"))
    said = plan(capsys, path, "--storage", str(tmp_path))
    shown = re.search(r"time (.+?) \(p10 (.+?), p90 (.+?)\) on this machine", said)
    assert shown is not None
    assert len(set(shown.groups())) == 3
    assert "rough, a factor of" in said
    assert "memory not known: --measure measures it" in said


def test_measured_epochs_are_marked_and_make_the_forecast_narrow(
    write_space: WriteSpace, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = write_space()
    space = load_space(path)
    process = process_of(space.resources, PRELOAD)
    measured = Measured(
        base_bytes=2**30,
        peak_bytes=2**31,
        step_s=0.5,
        evaluation_s=0.0,
        save_s=1.0,
        steps=6,
        validated=0,
    )
    known = Known(device="cpu", needed=2**30, expected_s=1.0, measured=measured)
    shapes = [
        process.shape_of(each)
        for arm in space.arms.values()
        for each in typical_configs(space, arm)
    ]
    assert len(set(shapes)) == 3
    write_probes(tmp_path / PROBES, dict.fromkeys(shapes[:2], known))
    half = plan(capsys, path, "--storage", str(tmp_path))
    assert "for 1 of 3 arms" in half
    write_probes(tmp_path / PROBES, dict.fromkeys(shapes, known))
    said = plan(capsys, path, "--storage", str(tmp_path))
    assert said.count("2.00 GiB") == 3
    assert "from steps measured on this machine: good to about" in said
    epoch = 4.0 * crowding(space.resources)
    assert said.count(f"{epoch:.2f}*") == 3


def test_measuring_goes_with_a_plan_alone(
    write_space: WriteSpace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch(["--space", str(write_space()), "--measure"]) == WRONG_INPUT
    assert "--measure: goes with --dry-run" in capsys.readouterr().err


@NO_GPU
def test_measuring_for_a_gpu_that_is_not_here_is_refused(
    write_space: WriteSpace, capsys: pytest.CaptureFixture[str]
) -> None:
    space = write_space(at("{slurm: {gpus_per_node: 2}}", "resources: {gpus: 1}"))
    said = plan(capsys, space, "--measure", status=WRONG_INPUT)
    assert "--measure: this machine has no GPU" in said


def test_plan_tells_when_trials_are_stopped_and_how_verdicts_are_reached(
    write_space: WriteSpace, capsys: pytest.CaptureFixture[str]
) -> None:
    said = plan(capsys, write_space())
    assert "stopping after epoch 1, 3 about 1 of 3 of the trials of its arm goes on" in said
    assert "the 95 % interval of its paired difference lies within 0.50 points of zero" in said
    assert "is below 0.05; otherwise inconclusive" in said


def test_a_study_whose_weights_are_awaited_can_be_planned(
    tmp_path: Path, write_space: WriteSpace, capsys: pytest.CaptureFixture[str]
) -> None:
    space = write_space(("model: {", "model: {init_from: before/same arm, "))
    said = plan(capsys, space, "--storage", str(tmp_path))
    assert (
        "weights not here yet, and a launch needs them: model.init_from = before/same arm" in said
    )
    assert launch(["--space", str(space), "--storage", str(tmp_path)]) == WRONG_INPUT
    assert "there is no study before" in capsys.readouterr().err
    assert not (tmp_path / "small").exists()


def test_the_plan_names_constraints_and_prices_the_weights_of_epochs(
    write_space: WriteSpace, capsys: pytest.CaptureFixture[str]
) -> None:
    watched = ("recipe: quick", "recipe: quick, health: true, keep_checkpoints: 4")
    search = ("trials: 6", "trials: 6, constraints: [health_entropy >= 0.05, val_loss <= 5]")
    said = plan(capsys, write_space(watched, search))
    assert "constraints health_entropy >= 0.05 and val_loss <= 5: a trial of the search" in said
    assert "MB of weights that confirmation runs keep of epochs" in said
    plain = plan(capsys, write_space())
    assert "constraints" not in plain
    assert "keep_checkpoints" not in plain
