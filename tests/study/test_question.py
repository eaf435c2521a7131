"""What a journal states about its question is found wrong where it does not follow from its space."""

import importlib.metadata
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from karat.cli.main import main
from karat.journal.journal import Event, read_events
from karat.journal.layout import JOURNAL
from karat.space.reader import load_space
from karat.study.audit import audit
from karat.study.description import description
from karat.study.question import Stated, compare_question
from tests.conftest import SMALL
from tests.driven import go, without_ray
from tests.studies import tolerate_more

__all__ = ["without_ray"]  # a fixture
Data = dict[str, Any]
Change = Callable[[Data], object]
WriteSpace = Callable[..., Path]
SWIN = (
    (
        "vit_micro, patch_size: 4, embed_dim: 12, depth: 1, num_heads: 2",
        "swin_tiny_patch4_window7_224",
    ),
    ("{name: digits}", "{name: fake, image_size: 224}"),
    ("rank: 4", "rank: 4, block_sharing: blockwise"),
)


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> list[Event]:
    """A study of synthetic numbers that was extended twice: by two trials, then by one epoch."""
    folder = tmp_path_factory.mktemp("question")
    (folder / "space.yaml").write_text(SMALL)
    with pytest.MonkeyPatch.context() as patch:
        without_ray.__wrapped__(patch)  # type: ignore[attr-defined]
        go(folder / "space.yaml", folder)
        go(folder / "space.yaml", folder, "trials=+3")
        go(folder / "space.yaml", folder, "epochs=+1")
    return list(read_events(folder / "small" / JOURNAL))


def changed(events: list[Event], change: Change, kind: str = "study_created") -> Stated:
    """What is found after a change of the data of the first event of a kind."""
    place = next(place for place, event in enumerate(events) if event.kind == kind)
    event = events[place]
    data = json.loads(json.dumps(event.data))
    change(data)
    others = [*events[:place], Event(event.seq, event.time, event.kind, data), *events[place + 1 :]]
    return compare_question(others, Path("small"))


def test_question_of_an_extended_study_follows_from_its_spaces(extended: list[Event]) -> None:
    assert sum(event.kind == "study_extended" for event in extended) == 2
    assert compare_question(extended, Path("small")) == Stated()


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (
            lambda d: d["confirm"].update(smallest_difference=0.01),
            "confirm.smallest_difference recorded 0.01, but its space says 0.005",
        ),
        (
            lambda d: d["confirm"].update(alpha=0.4),
            "confirm.alpha recorded 0.4, but its space says 0.05",
        ),
        (
            lambda d: d["confirm"].update(top_up={"step": 1, "max": 9}),
            "confirm.top_up recorded {step: 1, max: 9}, but its space says null",
        ),
        (
            lambda d: d["confirm"].update(budgets=[1, 2]),
            "confirm.budgets recorded [1, 2], but its space says [1]",
        ),
        (
            lambda d: d["confirm"].pop("by"),
            "confirm.by recorded null, but its space says 'attention.grid_size'",
        ),
        (
            lambda d: d["references"][1].update(arm="fourier grid_size=1"),
            "reference of level 2 recorded 'fourier grid_size=1', but its space says 'softmax'",
        ),
        (
            lambda d: d["references"].pop(),
            "levels with a reference recorded ['1'], but its space says ['1', '2']",
        ),
        (
            lambda d: d.update(space_hash="0" * 64),
            f"space_hash recorded '{'0' * 64}', but its space says '",
        ),
        (
            lambda d: d["recipes"]["quick"].update(weight_decay=0.5),  # which is part of the hash
            "space_hash recorded '",
        ),
        (
            lambda d: d["arms"][0].update(parameters=1),
            "parameters of arm softmax recorded 1, but its space says ",
        ),
        (
            lambda d: d["arms"][2].update(flops=1),
            "flops of arm fourier grid_size=2 recorded 1, but ",
        ),
        (lambda d: d["arms"][1].update(label="other"), "arms recorded ['softmax', 'other', "),
        (
            lambda d: d["arms"][1].update(tuned=[]),
            "tuned of arm fourier grid_size=1 recorded [], but ",
        ),
        (lambda d: d["search"].update(trials=5), "search.trials recorded 5, but its space says 6"),
        (
            lambda d: d["early_stopping"].update(grace_epochs=2),
            "early_stopping.grace_epochs recorded 2, but its space says 1",
        ),
        (
            lambda d: d["totals"].update(confirm=7),
            "totals.confirm recorded 7, but its space says 6",
        ),
        (lambda d: d["totals"].update(search=7), "totals.search recorded 7, but its space says 6"),
        (lambda d: d.update(seed=3), "seed recorded 3, but its space says 0"),
        (
            lambda d: d.update(metric="val_loss"),
            "metric recorded 'val_loss', but its space says 'val_accuracy'",
        ),
        (lambda d: d.update(mode="min"), "mode recorded 'min', but its space says 'max'"),
        (
            lambda d: d.update(question="Else?"),
            "question recorded 'Else?', but its space says 'Is it better?'",
        ),
        (lambda d: d.pop("seed"), "seed recorded nothing, but its space says 0"),
        (
            lambda d: d["excluded"].append({"label": "relu", "rule": "slow"}),
            "excluded combinations recorded ['relu'], but its space says []",
        ),
        (
            lambda d: d["space"].pop("factors"),
            "this version of karat does not accept the space in it",
        ),
        (lambda d: d["arms"].append({"factors": {}}), "has wrong data (KeyError('label'))"),
    ],
)
def test_changed_statement_is_found(extended: list[Event], change: Change, finding: str) -> None:
    of_first = [
        line.removeprefix("event 0 (study_created): ")
        for line in changed(extended[:1], change).findings
    ]
    assert len(of_first) == 1
    assert of_first[0].startswith(finding)


def test_changed_space_is_found_by_the_hash_and_the_rule(extended: list[Event]) -> None:
    found = changed(extended[:1], lambda d: d["space"]["confirm"].update(smallest_difference=0.02))
    assert len(found.findings) == 2
    assert any("space_hash recorded" in line for line in found.findings)
    assert any(
        "smallest_difference recorded 0.005, but its space says 0.02" in line
        for line in found.findings
    )


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (
            lambda d: d["description"]["confirm"].update(alpha=0.4),
            "confirm.alpha recorded 0.4, but",
        ),
        (
            lambda d: d["description"]["totals"].update(search=12),
            "totals.search recorded 12, but its space says 9",
        ),
        (
            lambda d: d.update(changes=["search.trials from 6 to 60"]),
            "changes recorded ['search.trials from 6 to 60'], ",
        ),
        (lambda d: d.update(set_aside=[0]), "trials set aside recorded [0], but its space says []"),
    ],
)
def test_changed_statement_of_an_extension_is_found(
    extended: list[Event], change: Change, finding: str
) -> None:
    found = changed(extended, change, "study_extended").findings
    assert f"(study_extended): {finding}" in found[0]


def test_extension_by_another_rule_is_found(extended: list[Event]) -> None:
    def other_rule(data: Data) -> None:
        data["description"]["space"]["confirm"]["alpha"] = 0.4
        data["description"]["confirm"]["alpha"] = 0.4

    found = changed(extended, other_rule, "study_extended").findings
    assert any(
        "changes what no extension may change: confirm.alpha from 0.05 to 0.4" in line
        for line in found
    )


def test_second_beginning_is_found(extended: list[Event]) -> None:
    again = Event(len(extended), 2e9, "study_created", extended[0].data)
    [line] = compare_question([*extended, again], Path("small")).findings
    assert line.endswith("(study_created): the study was created before")


def test_what_an_older_version_did_not_write_is_no_finding(extended: list[Event]) -> None:
    def older(data: Data) -> None:
        for key in ("tunings", "budgets", "weights", "shortlist", "shortlist_seeds"):
            del data["confirm"][key]
        del data["references"]
        data["reference"] = "softmax"
        for arm in data["arms"]:
            del arm["flops"]

    assert changed(extended[:1], older) == Stated()


def test_recipe_that_has_changed_since_is_no_finding(
    extended: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    from karat.space import space as spaces

    now = spaces.load_recipe("quick")
    monkeypatch.setattr(spaces, "load_recipe", lambda _: {**now, "weight_decay": 0.3, "newer": 1})
    assert compare_question(extended, Path("small")) == Stated()


def test_models_counted_with_other_versions_are_named_and_not_compared(
    write_space: WriteSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = json.loads(json.dumps(description(load_space(write_space(*SWIN)), "f")))
    launched = {
        "environment": {"packages": {n: importlib.metadata.version(n) for n in ("torch", "timm")}}
    }
    events = [
        Event(0, 1.0, "study_created", data),
        Event(1, 2.0, "launched", {"slots": 1, **launched}),
    ]
    assert compare_question(events, Path("small")) == Stated()
    found = changed(events, lambda d: d["arms"][0].update(parameters=1))
    assert "parameters of arm softmax recorded 1" in found.findings[0]
    launched["environment"]["packages"]["timm"] = "0.9"
    found = changed(events, lambda d: d["arms"][0].update(parameters=1))
    assert found.findings == []
    assert "counted with other versions of torch or timm: softmax, fourier" in found.notes[0]


def test_audit_names_a_changed_rule_and_ends_with_status_1(
    write_space: WriteSpace, tmp_path: Path, without_ray: None, capsys: pytest.CaptureFixture[str]
) -> None:
    go(write_space(), tmp_path, steps=2)
    folder = tmp_path / "small"

    finding = tolerate_more(folder)
    assert finding in audit(folder, tracking=False)
    assert main(["audit", str(folder), "--no-tracking"]) == 1
    assert finding.partition(": ")[2] in capsys.readouterr().out


def test_data_in_files_need_not_be_here(
    write_space: WriteSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from karat.datasets import DataInfo
    from karat.datasets.image_folder import ImageFolder

    gone = ("{name: digits}", f"{{name: image_folder, root: {tmp_path / 'gone'}, image_size: 32}}")
    here = DataInfo(image_size=32, channels=3, classes=("a", "b"), train_size=9, test_size=2)
    with monkeypatch.context() as patch:
        patch.setattr(ImageFolder, "info", lambda _: here)
        data = json.loads(json.dumps(description(load_space(write_space(gone)), "f")))
    assert compare_question([Event(0, 1.0, "study_created", data)], Path("small")) == Stated()
