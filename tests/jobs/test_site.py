"""The site of a launch: its backends are checked here, and its prices are told where the launch runs."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from jobs.site import check_site, machines_at, settings_for
from karat.cli import driver, in_cluster
from karat.cli.exit_status import OK, WRONG_INPUT
from karat.cli.launch import launch
from karat.cli.main import main
from karat.errors import InputError
from karat.space.site import SITE_VARIABLE, Site, read_site
from karat.space.space import Space

WriteSpace = Callable[..., Path]
KUBERNETES = "kubernetes: {image: karat, claim: c}\nusd_per_cpu_hour: 0.5\n"
RAY = "ray: {address: 'http://head:8265', storage: /studies}\nusd_per_cpu_hour: 0.25\n"
SLURM = "slurm: {nodes: 2}\nusd_per_cpu_hour: 0.125\n"


@pytest.fixture
def sites(tmp_path: Path) -> None:
    """A site for each kind of cluster, beside the space."""
    (tmp_path / "clusters").mkdir()
    for name, text in (("pods", KUBERNETES), ("lab", RAY), ("site", SLURM)):
        (tmp_path / "clusters" / f"{name}.yaml").write_text(text)


def shown(space: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What would be submitted."""
    given = ["--space", str(space), "--set", "budget.usd=5", "--dry-run"]
    assert launch([*given, *words]) == OK
    return capsys.readouterr().out


def told(way: str, text: str) -> str:
    """What the launch is told of its site."""
    if way == "ray":
        return str(json.loads(text)["runtime_env"]["env_vars"][SITE_VARIABLE])
    if way == "kubernetes":
        job = list(yaml.safe_load_all(text))[1]
        return str(yaml.safe_load(job["spec"]["runtimeEnvYAML"])["env_vars"][SITE_VARIABLE])
    found = re.search(f"^export {SITE_VARIABLE}=(.*)$", text, re.M)
    assert found is not None
    return shlex.split(found[1])[0]


@pytest.mark.usefixtures("sites")
@pytest.mark.parametrize("is_named_by_space", [True, False])
@pytest.mark.parametrize(
    ("way", "site", "price"),
    [("kubernetes", "pods", 0.5), ("ray", "lab", 0.25), ("slurm", "site", 0.125)],
)
def test_launch_elsewhere_knows_the_prices_without_the_file_that_has_them(
    write_space: WriteSpace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    way: str,
    site: str,
    price: float,
    is_named_by_space: bool,
) -> None:
    named = site if is_named_by_space else "missing"
    space = write_space(("study: small\n", f"study: small\ncluster: {named}\n"))
    words = [] if is_named_by_space else ["--cluster", site]
    given = told(way, shown(space, capsys, "--submit", way, *words))
    assert json.loads(given) == {"usd_per_cpu_hour": price}

    ran: list[Space] = []
    monkeypatch.setattr(driver, "drive", lambda space, *_, **__: ran.append(space) or OK)
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    monkeypatch.setenv(SITE_VARIABLE, given)
    elsewhere = tmp_path / "question" / "x.yaml"
    elsewhere.parent.mkdir()
    elsewhere.write_text(space.read_text())
    assert in_cluster.main(["--space", str(elsewhere), "--set", "budget.usd=5"]) == OK
    assert ran[0].terms.usd_per_cpu_hour == price


@pytest.mark.usefixtures("sites")
def test_name_that_no_file_describes_is_refused_where_nothing_was_told(
    write_space: WriteSpace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(SITE_VARIABLE, raising=False)
    space = write_space(("study: small\n", "study: small\ncluster: missing\n"))
    assert launch(["--space", str(space)]) == WRONG_INPUT
    assert "there is no clusters/missing.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"slrum": {}},
            r"cluster\.slrum: unknown key. did you mean 'slurm'\? Known: .*usd_per_cpu",
        ),
        ({"slrum": None}, r"cluster\.slrum: unknown key"),
        ({"slurm": 3}, r"slurm = 3: must contain `key: value` lines"),
        ({"slurm": {"nodse": 2}}, r"slurm\.nodse: unknown key. did you mean 'nodes'\?"),
        ({"kubernetes": {"image": "i"}}, r"kubernetes\.claim: is missing"),
        ({"ray": {"storage": 3}}, r"ray\.storage = 3: must be text"),
        (
            {"usd_per_gpu_hours": 3},
            r"cluster\.usd_per_gpu_hours: unknown key. did you mean 'usd_per_gpu_hour'",
        ),
        ({"usd_per_gpu_hour": -1}, r"cluster\.usd_per_gpu_hour = -1.*: must be at least 0"),
    ],
)
def test_wrong_site_is_refused_with_its_file_before_anything_runs(
    write_space: WriteSpace,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    given: dict[str, object],
    message: str,
) -> None:
    (tmp_path / "clusters").mkdir()
    file = tmp_path / "clusters" / "lab.yaml"
    file.write_text(yaml.safe_dump(given))
    with pytest.raises(InputError, match=rf"^{file}: {message}"):
        check_site(read_site("lab", tmp_path / "space.yaml"))
    space = str(write_space(("study: small\n", "study: small\ncluster: lab\n")))
    for words in ([], ["--dry-run"], ["--submit", "ray", "--dry-run"]):
        assert launch(["--space", space, "--storage", str(tmp_path / "studies"), *words]) == 2
        assert capsys.readouterr().err.startswith(f"error: {file}: ")
    for command in (["doctor", "--space", space], ["simulate", "--space", space]):
        assert main(command) == 2
        assert capsys.readouterr().err.startswith(f"error: {file}: ")


def test_cluster_that_is_named_and_left_empty_has_the_defaults() -> None:
    site = Site(backends={"slurm": None, "kubernetes": None, "ray": {}})
    assert list(check_site(site)) == ["ray"]
    assert settings_for(site, "slurm").nodes == 1
    assert machines_at(site) == {}
