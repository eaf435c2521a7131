"""What is handed to Slurm, and what is refused before; no Slurm is needed."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

import jobs.slurm.commands
from jobs import Submission
from jobs.site import check_site as check_ways
from jobs.site import settings_for
from jobs.slurm.commands import Node, nodes_of_site
from jobs.slurm.script import script
from jobs.slurm.settings import SlurmSettings
from jobs.slurm.validation import check_settings, check_site
from karat.cli.exit_status import INTERRUPTED, OK, WRONG_INPUT
from karat.cli.launch import launch
from karat.errors import InputError
from karat.forecast.speed.yardsticks import Speed
from karat.space.reader import load_space
from karat.space.site import read_site
from tests.conftest import ROOT

WriteSpace = Callable[..., Path]
EXPECTED = Path(__file__).parent
SITE = [
    Node("n1", "short", True, 8, 0),
    Node("n2", "short", True, 8, 0),
    Node("g1", "gpu", False, 16, 2),
    Node("g2", "gpu", False, 16, 4),
]
LARGE = SlurmSettings(
    partition="gpu",
    account="vision",
    nodes=2,
    cpus_per_node=16,
    gpus_per_node=4,
    memory_gb=64,
    time_limit="1-00:00:00",
    modules=("cuda/12.4",),
    setup=("source '/opt/site env/activate'",),
    image="/shared/karat.sif",
)


@pytest.fixture
def submission(write_space: WriteSpace) -> Callable[..., Submission[SlurmSettings]]:
    def make(
        config: SlurmSettings, *exchanges: tuple[str, str], **more: object
    ) -> Submission[SlurmSettings]:
        space_file = write_space(*exchanges)
        given = Submission(
            space=load_space(space_file),
            space_file=Path("/home/me/spaces/small.yaml"),
            program=("-m", "karat.cli.in_cluster"),
            arguments=("--space", "/home/me/spaces/small.yaml", "--storage", "/shared/my studies"),
            storage=Path("/shared/my studies"),
            code=Path("/shared/karat"),
            settings=config,
            environment={"MLFLOW_TRACKING_URI": "https://mlflow.example.org"},
        )
        return dataclasses.replace(given, **more)  # type: ignore[arg-type]

    return make


@pytest.mark.parametrize(
    ("name", "config"),
    [("small", SlurmSettings()), ("large", LARGE), ("array", SlurmSettings(array=8, nodes=2))],
)
def test_script_is_this_text(
    submission: Callable[..., Submission[SlurmSettings]], name: str, config: SlurmSettings
) -> None:
    expected = (EXPECTED / f"{name}.sh").read_text()
    assert script(submission(config), python="/shared/karat/.venv/bin/python") == expected


def test_dry_run_shows_the_whole_script_and_submits_nothing(
    write_space: WriteSpace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:hidden-word@mlflow.example.org")
    given = ["--space", str(write_space().relative_to(tmp_path)), "--storage", "here"]
    assert launch([*given, "--set", "seed=3", "--submit", "slurm", "--dry-run"]) == OK
    shown = capsys.readouterr().out
    assert shown.startswith("#!/bin/bash -l\n")
    assert (
        f"-m karat.cli.in_cluster --space {tmp_path}/space.yaml --storage {tmp_path}/here --set seed=3"
        in shown
    )
    assert "--submit" not in shown
    assert "--dry-run" not in shown
    assert "hidden-word" not in shown
    assert not (tmp_path / "here").exists()


def test_without_slurm_submission_says_where_to_go(
    write_space: WriteSpace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert launch(["--space", str(write_space()), "--submit", "slurm"]) == WRONG_INPUT
    assert "there is no sinfo here; submit from a login node" in capsys.readouterr().err


def test_unknown_cluster_file_lists_known_ones(
    write_space: WriteSpace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "clusters").mkdir()
    (tmp_path / "clusters" / "our-lab.yaml").write_text("slurm: {nodes: 2}\n")
    words = ["--space", str(write_space()), "--submit", "slurm", "--dry-run"]
    assert launch([*words, "--cluster", "our-lap"]) == WRONG_INPUT
    assert "there is no clusters/our-lap.yaml. did you mean 'our-lab'?" in capsys.readouterr().err
    assert launch([*words, "--cluster", "our-lab"]) == OK
    assert "#SBATCH --nodes=2\n" in capsys.readouterr().out


def test_cluster_without_submission_is_refused(
    write_space: WriteSpace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch(["--space", str(write_space()), "--cluster", "our-lab"]) == WRONG_INPUT
    assert "--cluster: goes with --submit or --dry-run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"time_limit": "4 hours"}, "time_limit = '4 hours': must be HH:MM:SS or D-HH:MM:SS"),
        ({"time_limit": "00:05:00"}, "must be more than notice_s, 300 seconds"),
        ({"partition": "gpu --wrap=x"}, "partition = 'gpu --wrap=x': must be one word"),
        ({"account": "a\n#SBATCH -N 99"}, "account = 'a\\n#SBATCH -N 99': must be one word"),
        ({"nodes": 0}, "nodes = 0: must be at least 1"),
        ({"partitoin": "gpu"}, "partitoin"),
    ],
)
def test_wrong_site_settings_are_refused_with_their_place(
    values: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError) as refused:
        check_ways(read_site({"slurm": values}, Path("space.yaml")))
    assert "space.yaml: cluster" in str(refused.value)
    assert message in str(refused.value)


def test_trial_larger_than_a_node_of_the_job_is_refused(
    submission: Callable[..., Submission[SlurmSettings]],
) -> None:
    wants = ("confirm:", "resources: {gpus: 4}\nconfirm:")
    with pytest.raises(InputError, match=r"resources.gpus = 4: a node of the job has 2 "):
        check_settings(submission(SlurmSettings(gpus_per_node=2), wants))


@pytest.mark.parametrize(
    ("wants", "settings", "message"),
    [
        ("gpus: 4", {"gpus_per_node": 2}, r"gpus = 4: .* has 2 .* \(1\) hold 2 of the 4 processes"),
        ("processes: 16", {}, r"cpus = 1: .* has 4 .* \(1\) hold 4 of the 16 processes"),
        ("processes: 2, cpus: 5", {"nodes": 8}, r"cpus = 5: .* hold 0 of the 2 processes"),
        ("processes: 2, cpus: 3", {"nodes": 1}, r"cpus = 3: .* hold 1 of the 2 processes"),
    ],
)
def test_trial_with_more_processes_than_the_job_holds_is_refused(
    submission: Callable[..., Submission[SlurmSettings]],
    wants: str,
    settings: dict[str, int],
    message: str,
) -> None:
    config = SlurmSettings(cpus_per_node=4, **settings)  # type: ignore[arg-type]
    given = submission(config, ("confirm:", f"resources: {{{wants}}}\nconfirm:"))
    with pytest.raises(InputError, match=message):
        check_settings(given)


@pytest.mark.parametrize(
    ("wants", "settings"),
    [
        ("gpus: 4", {"gpus_per_node": 2, "nodes": 2}),
        ("gpus: 0.5", {"gpus_per_node": 1}),
        ("processes: 16", {"nodes": 4}),
    ],
)
def test_trial_may_be_spread_over_the_nodes_of_the_job(
    submission: Callable[..., Submission[SlurmSettings]], wants: str, settings: dict[str, int]
) -> None:
    config = SlurmSettings(cpus_per_node=4, **settings)  # type: ignore[arg-type]
    check_settings(submission(config, ("confirm:", f"resources: {{{wants}}}\nconfirm:")))


def test_trial_on_several_nodes_needs_no_node_with_all_its_gpus(
    submission: Callable[..., Submission[SlurmSettings]],
) -> None:
    config = SlurmSettings(partition="gpu", gpus_per_node=2, nodes=2)
    wants = ("confirm:", "resources: {gpus: 4}\nconfirm:")
    check_site(submission(config, wants), [SITE[2], Node("g3", "gpu", False, 16, 2)])
    config = SlurmSettings(partition="gpu", gpus_per_node=2)
    with pytest.raises(InputError, match=r"gpus = 8: no node .* more than 4 \(slurm.nodes = 1"):
        check_site(submission(config, ("confirm:", "resources: {gpus: 8}\nconfirm:")), SITE)


def test_time_limit_below_an_epoch_is_refused(
    submission: Callable[..., Submission[SlurmSettings]], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SlurmSettings(time_limit="00:10:00")
    check_settings(submission(config))
    slow = Speed(multiply_adds_per_s=1e5, rounds_per_s=1e9)
    monkeypatch.setattr("karat.forecast.speed.times.measured_speed", lambda: slow)
    with pytest.raises(InputError, match=r"slurm.time_limit = 00:10:00: about 240 s .* an epoch"):
        check_settings(submission(config))


@pytest.mark.parametrize(
    ("config", "wants", "message"),
    [
        (
            {"partition": "gpus"},
            0,
            "slurm.partition = 'gpus': there is no such partition. did you mean 'gpu'",
        ),
        (
            {"partition": "gpu", "gpus_per_node": 8},
            8,
            "resources.gpus = 8: no node of partition gpu has more than 4",
        ),
        ({"gpus_per_node": 1}, 1, "resources.gpus = 1: no node of partition short has more than 0"),
        (
            {"partition": "gpu", "gpus_per_node": 4, "nodes": 2},
            1,
            "slurm.nodes = 2: partition gpu has 1 nodes",
        ),
        (
            {"cpus_per_node": 9},
            0,
            "slurm.nodes = 1: partition short has 0 nodes with 9 CPUs and 0 GPUs (at most 8",
        ),
    ],
)
def test_what_no_node_of_the_site_can_run_is_refused(
    submission: Callable[..., Submission[SlurmSettings]],
    config: dict[str, object],
    wants: int,
    message: str,
) -> None:
    given = SlurmSettings(**config)  # type: ignore[arg-type]
    resources = ("confirm:", f"resources: {{gpus: {wants}}}\nconfirm:")
    with pytest.raises(InputError) as refused:
        check_site(submission(given, resources), SITE)
    assert message in str(refused.value)


def test_nodes_are_read_from_sinfo(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = "n1|short*|8|(null)\ng1|gpu|16+|gpu:a100:4(S:0-1),gpu:t4:2\ng2|gpu|16|gpu:2\n"
    monkeypatch.setattr(jobs.slurm.commands, "run", lambda *_, **__: answer)
    assert nodes_of_site() == [
        Node("n1", "short", True, 8, 0),
        Node("g1", "gpu", False, 16, 6),
        Node("g2", "gpu", False, 16, 2),
    ]


def test_array_does_not_extend_again_and_again(
    submission: Callable[..., Submission[SlurmSettings]],
) -> None:
    config = SlurmSettings(array=3)
    given = submission(config, arguments=("--extend", "trials=+5"))
    with pytest.raises(InputError, match=r"--extend: does not go with slurm.array"):
        check_settings(given)


def test_short_job_of_an_array_leaves_a_study_that_runs_to_its_runner(
    write_space: WriteSpace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from karat.journal.journal import Journal

    words = ["--space", str(write_space()), "--storage", str(tmp_path / "studies")]
    with Journal.open(tmp_path / "studies" / "small"):
        assert launch(words) not in (OK, INTERRUPTED)
        monkeypatch.setenv("KARAT_IF_LOCKED", "leave")
        assert launch(words) == OK
    assert capsys.readouterr().err.count("this study is already running") == 2


def test_example_of_a_site_is_right() -> None:
    site = read_site("example", ROOT / "search_spaces" / "basis.yaml")
    assert settings_for(site, "slurm").nodes == 2
