"""The description of a study, which is its first event: the question, fixed before any trial runs."""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from karat.datasets import DataInfo
from karat.journal.state import StudyState
from karat.planning.data_place import PLACE
from karat.planning.plans.adaptive import Search
from karat.planning.plans.confirmation import totals_after_search
from karat.prior import WarmStart
from karat.settings import fields_of
from karat.space.arms import trial_config
from karat.space.reader import space_of
from karat.space.space import Space
from karat.training.costs import costs_of_trial


def known_space(created: Mapping[str, Any], folder: Path) -> Space:
    """The space that a journal holds.

    Args:
        created: data of `study_created`, as it was or as extensions have changed it (`StudyState.created`).
        folder: of the study, for messages.
    """
    return space_of(created["space"], created["name"], str(folder), created["early_stopping"])


def original_space(known: StudyState, folder: Path) -> Space:
    """The space with which a study was created, before any extension.

    Args:
        known: the study's state.
        folder: of the study, for messages.
    """
    return known_space(known.original, folder)


def changed_recipes(known: StudyState, space: Space) -> list[str]:
    """Settings of recipes that have an effect in a space and are not what they were, as sentences.

    Recipes are files of karat, so another version may have others. Journals of versions that did not
    write them down have nothing to compare.

    Args:
        known: the study's state.
        space: of the study now.
    """
    now, found = space.recipes, []
    for name, was in known.created.get("recipes", {}).items():
        if name in now:
            for key in sorted(was.keys() & (space.left_to(name) | (was.keys() - now[name].keys()))):
                value = now[name].get(key, "gone")
                if value != was[key]:
                    found.append(
                        f"recipe {name}: {key} was {was[key]} when the study began, is {value} now"
                    )
    return found


def data_sets_of(space: Space) -> list[dict[str, Any]]:
    """What each data set of the arms holds, for the journal; empty where all have the same.

    Raises:
        DataError: one is missing.
    """
    found: dict[str, dict[str, Any]] = {}
    for arm in space.arms.values():
        settings = {
            key: value
            for key, value in arm.sections["data"].items()
            if key not in PLACE or f"data.{key}" in space.factors
        }
        key = json.dumps(settings, sort_keys=True)
        if key not in found:
            data = trial_config(space, arm).data
            contents = data.contents()
            found[key] = {
                "settings": settings,
                "fingerprint": contents.fingerprint,
                "classes": list(data.info().classes),
                "contents": contents.plain(),
            }
    return list(found.values()) if len(found) > 1 else []


def description(
    space: Space,
    fingerprint: str,
    weights: Sequence[Mapping[str, Any]] = (),
    *,
    contents: Mapping[str, Any] | None = None,
    info: DataInfo | None = None,
    warm_start: WarmStart | None = None,
    sets: Sequence[Mapping[str, Any]] = (),
) -> dict[str, object]:
    """The data of `study_created`, with parameters and forward FLOPs of every arm.

    Args:
        space: of the study.
        fingerprint: of its data set.
        weights: that arms start from, as `karat.study.initial.weights.Starts.plain` has them.
        contents: of its data set, of `karat.datasets.Contents.plain`; None if they are not known.
        info: of its data set, where that need not be here; None looks at it.
        warm_start: results of an older study with which its search begins.
        sets: of `data_sets_of`, where arms have several data sets; the other arguments are then of the first arm's.
    """
    arms: list[dict[str, object]] = []
    classes: tuple[str, ...] = ()
    for arm in space.arms.values():
        config = trial_config(space, arm)
        costs = costs_of_trial(config, info)
        classes = classes or (info or config.data.info()).classes
        arms.append(
            {
                "label": arm.label,
                "factors": dict(arm.factors),
                "tuned": list(arm.tuned),
                "parameters": costs.parameters,
                "flops": costs.forward_flops,
                **({} if arm.raw is None else {"raw": arm.raw}),
            }
        )
    confirm = {key: getattr(space.confirm, key) for key in fields_of(type(space.confirm))}
    top_up = confirm.pop("top_up")
    if top_up is not None:
        confirm["top_up"] = asdict(top_up)
    search = {key: getattr(space.search, key) for key in fields_of(type(space.search))}
    search["goals"] = [asdict(goal) for goal in space.search.goals]
    return {
        "name": space.name,
        "uid": uuid.uuid4().hex,
        "question": space.question,
        "space": space.source,
        "space_hash": space.hash_with({each["init_from"]: each["sha256"] for each in weights}),
        "recipes": space.recipes,
        "seed": space.seed,
        "metric": space.search.metric,
        "mode": space.search.mode,
        "references": [{"level": level, "arm": arm} for level, arm in space.references.items()],
        "arms": arms,
        "excluded": [{"label": each.label, "rule": each.rule} for each in space.excluded],
        "search": search,
        "early_stopping": dict(space.early_stopping),
        "confirm": confirm,
        **({"weights": list(weights)} if weights else {}),
        **({"warm_start": warm_start.plain()} if warm_start else {}),
        "data": {
            "fingerprint": fingerprint,
            "classes": list(classes),
            **({"contents": dict(contents)} if contents else {}),
            **({"sets": [dict(each) for each in sets]} if sets else {}),
        },
        "totals": {
            "search": Search(space).total,
            **totals_after_search(space),
        },
    }
