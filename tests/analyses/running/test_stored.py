"""A result that was kept is read as it was; anything else is refused."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from karat.analyses.kinds import Analysis, Arms, Chapter
from karat.analyses.pictures import Picture
from karat.analyses.running.stored import load, save
from karat.analyses.subject import Subject
from karat.errors import AnalysisError


@dataclass(frozen=True, kw_only=True)
class _Example(Analysis):
    count: int
    share: float
    name: str
    names: tuple[str, ...]
    missing: None
    values: Any
    by_name: Any

    @classmethod
    def measure(cls, subject: Subject) -> Self:
        raise NotImplementedError

    def numbers(self) -> Mapping[str, float]:
        return {}

    def rows(self) -> Iterator[Mapping[str, Any]]:
        yield from ()

    @classmethod
    def figures(cls, arms: Arms) -> Sequence[Picture]:
        return ()

    @classmethod
    def chapter(cls, arms: Arms) -> Chapter:
        return Chapter()


def _example(**more: Any) -> _Example:
    own: dict[str, Any] = {
        "count": 3,
        "share": float("nan"),
        "name": "a",
        "names": ("a", "b"),
        "missing": None,
        "values": np.array([[1.0, np.nan]]),
        "by_name": {"a": np.arange(3), "b/c": np.zeros((0, 2))},
    }
    return _Example(**own | more)


def test_a_kept_result_is_read_as_it_was(tmp_path: Path) -> None:
    own = _example()
    save(own, tmp_path / "below" / "a.npz")
    found = load(_Example, tmp_path / "below" / "a.npz")
    assert (found.count, found.name, found.names, found.missing) == (3, "a", ("a", "b"), None)
    assert np.isnan(found.share)
    np.testing.assert_array_equal(found.values, own.values)
    assert found.values.dtype == own.values.dtype
    assert set(found.by_name) == {"a", "b/c"}
    assert found.by_name["b/c"].shape == (0, 2)


@pytest.mark.parametrize(
    "value", [object(), {1, 2}, np.array([object()])], ids=["object", "set", "objects"]
)
def test_what_cannot_be_read_again_is_not_kept(tmp_path: Path, value: Any) -> None:
    with pytest.raises(TypeError, match="values: "):
        save(_example(values=value), tmp_path / "a.npz")
    assert not list(tmp_path.iterdir())


def test_a_damaged_or_foreign_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(AnalysisError, match="is not a result"):
        load(_Example, path)
    path.write_bytes(b"PK\3\4 no zip")
    with pytest.raises(AnalysisError, match="is not a result"):
        load(_Example, path)
    np.savez(path, other=np.zeros(3))
    with pytest.raises(AnalysisError, match="is not a result"):
        load(_Example, path)
    np.savez(path, fields=np.frombuffer(b'{"count": 3}', dtype=np.uint8))
    with pytest.raises(AnalysisError, match="is not a result"):
        load(_Example, path)
    np.savez(path, fields=np.array([object()]))
    with pytest.raises(AnalysisError, match="is not a result"):
        load(_Example, path)
