"""A site: prices are checked, and settings of backends are kept as they are."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from karat.errors import InputError
from karat.space.reader import load_space
from karat.space.site import SITE_VARIABLE, Site, read_site, site_from_environment

WriteSpace = Callable[..., Path]


def test_every_key_but_prices_belongs_to_a_backend() -> None:
    site = read_site({"usd_per_gpu_hour": 2, "slurm": {"nodes": 2}, "x": None}, Path("a.yaml"))
    assert site == Site(usd_per_gpu_hour=2.0, backends={"slurm": {"nodes": 2}, "x": None})
    assert site.prices == {"usd_per_gpu_hour": 2.0}
    assert site.place == "a.yaml: cluster"
    assert read_site(None, Path("a.yaml")) == Site()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"usd_per_cpu_hour": -1}, "cluster.usd_per_cpu_hour = -1.0: must be at least 0"),
        ({"usd_per_gpu_hour": "2 $"}, "cluster.usd_per_gpu_hour = '2 $': must be a number"),
    ],
)
def test_wrong_price_is_refused_with_its_place(given: Mapping[str, object], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"a.yaml: cluster: {message}")):
        read_site(given, Path("a.yaml"))


@pytest.mark.parametrize("given", [3, ["slurm"], True])
def test_site_is_a_name_or_a_mapping(given: object) -> None:
    with pytest.raises(InputError, match=r"^a\.yaml: cluster = .*: must be a name or a mapping"):
        read_site(given, Path("a.yaml"))


def test_file_without_keys_is_refused(tmp_path: Path) -> None:
    (tmp_path / "clusters").mkdir()
    file = tmp_path / "clusters" / "lab.yaml"
    file.write_text("- slurm\n")
    with pytest.raises(InputError, match=f"^{file}: must contain `key: value` lines"):
        read_site("lab", tmp_path / "space.yaml")


@pytest.mark.parametrize(
    ("given", "message"),
    [("{", "must be JSON"), ("[]", "must be a mapping"), ('{"usd": 1}', "usd: unknown key")],
)
def test_wrong_site_in_the_environment_is_refused(given: str, message: str) -> None:
    with pytest.raises(InputError, match=f"{SITE_VARIABLE}.*{message}"):
        site_from_environment({SITE_VARIABLE: given})


def test_site_file_is_found_from_inside_the_folder_of_spaces(
    write_space: WriteSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clusters").mkdir()
    (tmp_path / "clusters" / "lab.yaml").write_text("ray: {}\nusd_per_cpu_hour: 0.25\n")
    folder = tmp_path / "spaces"
    folder.mkdir()
    (folder / "x.yaml").write_text(
        write_space(("study: small\n", "study: small\ncluster: lab\n")).read_text()
    )
    monkeypatch.chdir(folder)
    assert load_space(Path("x.yaml")).cluster.prices == {"usd_per_cpu_hour": 0.25}
