"""The chapter of a report that looks inside the trained models, from what `karat analyze` has written."""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from karat.journal.layout import ANALYSES, CHAPTER
from karat.journal.state import StudyState
from karat.report.figures import Figure
from karat.report.formatting import listed
from karat.report.tables import Section, Table
from karat.system.files import open_regular

TITLE = "Why: inside the trained models"
_MOST_BYTES = 64 * 1024 * 1024  # of the chapter or of a picture
_KINDS = {".svg": "image/svg+xml", ".png": "image/png"}


def read_chapter(folder: Path) -> Mapping[str, Any] | None:
    """What `karat analyze` has written of a study; None where it has written nothing.

    Raises:
        ValueError: the file is not a chapter; says why.
    """
    path = folder / ANALYSES / CHAPTER
    try:
        found = json.loads(_content(path))
    except FileNotFoundError:
        return None
    except (OSError, RecursionError) as error:
        raise ValueError(str(error)) from error
    if not isinstance(found, dict) or not isinstance(found.get("parts"), list):
        raise ValueError("it is not a chapter")
    return found


def why_sections(folder: Path, state: StudyState) -> tuple[Section, ...]:
    """An introduction, and a section for each analysis; nothing where there is no chapter.

    Args:
        folder: of the study.
        state: of the study; a chapter about other trials than it has is not shown.
    """
    try:
        chapter = read_chapter(folder)
        if chapter is None:
            return ()
        if changed := _changed(chapter, state):
            again = "write the chapter again with karat analyze"
            return (_only(f"It is about other runs than this study has ({changed}): {again}."),)
        parts = [_part(folder / ANALYSES, each) for each in chapter["parts"]]
        return (_introduction(chapter), *parts)
    # A file that somebody has edited may lack anything.
    except (ValueError, KeyError, TypeError, OSError) as error:
        what = f"{ANALYSES}/{CHAPTER} or a picture that it names cannot be read"
        return (_only(f"{what} ({' '.join(str(error).split())}): run karat analyze again."),)


def _only(text: str) -> Section:
    return Section(title=TITLE, paragraphs=(text,))


def _introduction(chapter: Mapping[str, Any]) -> Section:
    arms = [_arm_text(arm) for arm in chapter["arms"]]
    images = f"At most {chapter['images']} images of the validation split are used, the same for every model."
    about = (
        "The numbers are of single trained models, not of arms: they describe these runs, on the images "
        "named, and no test of significance stands behind them."
    )
    left_out = [f"Left out: {line}." for line in chapter["left_out"]]
    if not arms:
        return Section(title=TITLE, paragraphs=("No analysis was possible.", *left_out))
    return Section(
        title=TITLE, paragraphs=(f"Looked at: {listed(arms)}. {images}", about, *left_out)
    )


def _arm_text(arm: Mapping[str, Any]) -> str:
    numbers = [str(trial["number"]) for trial in arm["trials"]]
    kind = "trial" if arm["is_confirmed"] else "search trial"
    return f"{arm['label']} ({kind}{'s' * (len(numbers) != 1)} {listed(numbers)})"


def _changed(chapter: Mapping[str, Any], state: StudyState) -> str:
    """The first trial that the study does not have like this; empty if it has all."""
    for arm in chapter["arms"]:
        for each in arm["trials"]:
            trial = state.trials.get(each["number"])
            if trial is None or trial.fingerprint != each["fingerprint"]:
                return f"trial {each['number']} of {arm['label']}"
    return ""


def _part(folder: Path, part: Mapping[str, Any]) -> Section:
    title = str(part["title"])
    return Section(
        title=f"Why: {title[:1].lower()}{title[1:]}",
        paragraphs=tuple(map(str, part["paragraphs"])),
        tables=tuple(_table(table) for table in part["tables"]),
        figures=tuple(_figures(folder, part["figures"])),
    )


def _table(table: Mapping[str, Any]) -> Table:
    return Table(
        columns=tuple(table["columns"]),
        kinds=tuple(table["kinds"]),
        rows=tuple(tuple(map(str, row)) for row in table["rows"]),
        title=table["title"],
        cards=table["cards"],
    )


def _figures(folder: Path, figures: Sequence[Mapping[str, Any]]) -> Iterator[Figure]:
    for each in figures:
        name = str(each["file"])
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()) or path.suffix not in _KINDS:
            raise ValueError(f"{name}: is no picture of the analyses")
        content = _content(path)
        address = f"data:{_KINDS[path.suffix]};base64,{base64.b64encode(content).decode()}"
        yield Figure(
            file=name,
            title=each["title"],
            caption=each["caption"],
            draw=content.decode if path.suffix == ".svg" else str,
            folder=ANALYSES,
            image=address,
        )


def _content(path: Path) -> bytes:
    with open_regular(path) as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError(f"{path.name} has more than {_MOST_BYTES >> 20} MiB")
    return content
