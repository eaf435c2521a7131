"""What nodes of a Slurm site say before anything is submitted, with an `srun` that asks this machine."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from jobs import Submission
from jobs.slurm.backend import check_nodes
from jobs.slurm.checks import checks_of
from jobs.slurm.script import runner
from jobs.slurm.settings import SlurmSettings
from karat.errors import InputError
from karat.space.reader import load_space
from karat.system.checks import examine
from tests.conftest import ROOT

SRUN = """\
#!/bin/bash
while [ "$1" != bash ]; do shift; done
export SLURMD_NODENAME=n7
exec "$@"
"""
BUSY = """\
#!/bin/bash
echo "srun: error: Unable to allocate resources: Requested nodes are busy" >&2
exit 1
"""
WriteSpace = Callable[..., Path]
MakeSubmission = Callable[..., Submission[SlurmSettings]]


@pytest.fixture
def submission(write_space: WriteSpace, tmp_path: Path) -> MakeSubmission:
    def make(
        data: dict[str, object], config: SlurmSettings | None = None
    ) -> Submission[SlurmSettings]:
        space_file = write_space()
        space = load_space(space_file)
        return Submission(
            space=dataclasses.replace(space, data={**space.data, **data}),
            space_file=space_file,
            program=("-m", "karat.cli.in_cluster"),
            arguments=(),
            storage=tmp_path / "studies",
            code=ROOT,
            settings=config or SlurmSettings(),
        )

    return make


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def make(srun: str) -> None:
        path = tmp_path / "bin" / "srun"
        path.parent.mkdir()
        path.write_text(srun)
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")

    return make


def said(submission: Submission[SlurmSettings], names: Sequence[str]) -> list[str]:
    found = examine([each for each in checks_of(submission) if each[0] in ("nodes", *names)])
    return [str(each) for each in found if each.name in names]


def test_data_that_a_node_does_not_have_is_refused_by_the_nodes_name(
    submission: MakeSubmission, site: Callable[[str], None], tmp_path: Path
) -> None:
    site(SRUN)
    given = submission({"root": str(tmp_path / "my images")})
    with pytest.raises(InputError, match=r"^data.root: n7 cannot read .*/my images; use a folder"):
        check_nodes(given)
    assert said(given, ["data"])[0].startswith("FAILS  data      data.root: n7 cannot read")
    (tmp_path / "my images").mkdir()
    check_nodes(given)
    assert said(given, ["data"]) == [
        f"ok     data      {tmp_path / 'my images'} is seen by 1 nodes"
    ]


def test_data_that_is_to_be_downloaded_need_not_be_there_but_for_a_container(
    submission: MakeSubmission, site: Callable[[str], None], tmp_path: Path
) -> None:
    site(SRUN)
    data = {"root": str(tmp_path / "downloads"), "download": True}
    check_nodes(submission(data))
    config = SlurmSettings(image="/shared/karat.sif")
    with pytest.raises(InputError, match=r"data.root: n7 cannot read"):
        check_nodes(submission(data, config))


def test_container_has_the_data(
    submission: MakeSubmission, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    given = submission({"root": "~/images"}, SlurmSettings(image="/shared/karat.sif"))
    assert f"--bind {tmp_path / 'images'} /shared/karat.sif python" in " ".join(runner(given))


def test_busy_site_is_said_of_everything_that_could_not_be_looked_at(
    submission: MakeSubmission, site: Callable[[str], None]
) -> None:
    site(BUSY)
    given = submission({})
    check_nodes(given)  # the job's own nodes will look
    nodes, *others = said(given, ["nodes", "shared", "data", "clocks"])
    assert "no nodes are free to be asked (srun: error: Unable" in nodes
    assert len(others) == 3
    for line in others:
        assert line.startswith("FAILS")
        assert line.endswith("the nodes could not be asked; see above")
