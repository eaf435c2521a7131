"""`python -m karat.reference FILE`: docs/reference.md, every key of a search space, from the settings classes."""

import argparse
import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Union

from jobs import BACKENDS
from karat.attention.bases import BASES
from karat.attention.config import AttentionConfig
from karat.attention.kernels import AUTO, KERNELS
from karat.attention.mechanisms import MECHANISMS, own_settings
from karat.attention.names import PER
from karat.catalog import Catalog
from karat.datasets import DATASETS, Dataset
from karat.designs import DESIGNS
from karat.designs import settings_of as settings_of_design
from karat.goals import GOOD, Goal
from karat.models.config import SIZES, ModelConfig
from karat.parameters import Factor, Tuned
from karat.samplers import SAMPLERS, SearchConfig
from karat.schedulers import SCHEDULERS
from karat.schedulers import settings_of as settings_of_rule
from karat.settings import fields_of, hints_of
from karat.space.document import MEANINGS
from karat.space.matching.config import MatchConfig
from karat.space.settings import (
    BudgetConfig,
    ConfirmConfig,
    ResourceConfig,
    TopUpConfig,
    TrackingConfig,
)
from karat.space.site import PRICES, Site
from karat.training.augmentation.settings import AugmentationConfig
from karat.training.config import TrainingConfig
from karat.training.recipes import DEFAULT, load_recipe, recipe_names
from karat.training.steps.config import StepConfig
from karat.training.watching.config import WatchConfig

_HEAD = """\
# Reference: every key of a search space

Made from the settings classes by `python -m karat.reference docs/reference.md`; a test compares.

A search space is a YAML file. Unknown keys, wrong types and values that are not allowed are refused with file,
line and what would be right. Numbers are written as `0.001` or `1e-3`, truth values as `true` and `false`. The full
name of a setting is `section.key`; `--set section.key=value` replaces a value of the file. A setting of `data`,
`model`, `attention` or `training` is either a fixed value in its section, or a factor, or tuned.
"""
PUBLISHED = "Results that somebody has published for arms of the space. The report shows them beside its own; no verdict rests on them."
PAPER_KEYS = (
    ("source", "text", "required", "where the numbers stand"),
    ("setting", "text", "required", "of what they are: data, training, number of runs"),
    ("results", "list", "required", "each the levels of an arm, `factor: level`, and a `value`"),
    ("value", "number", "required", "of a result: the test metric; an accuracy is a share of 1"),
)
# Settings that are not in the file under this name.
_HIDDEN = {"basis_settings", "mechanism_settings", "per_block", "per_head"}
_TYPES = {int: "whole number", float: "number", bool: "`true`, `false`", str: "text"}


def reference() -> str:
    """The page as Markdown."""
    parts = [_HEAD, _table(("key", "meaning"), ((f"`{k}`", v) for k, v in MEANINGS.items()))]
    for section in (
        _data(),
        _model(),
        _attention(),
        _training(),
        _parameters(),
        _match(),
        _design(),
        _search(),
        _early_stopping(),
        _confirm(),
        _others(),
    ):
        parts += section
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _data() -> Iterator[str]:
    yield "## data"
    common = fields_of(Dataset)
    choices = {"name": _names(DATASETS)}
    yield _rows([_row("name", choices["name"], "required", "the data set"), *_of(Dataset, common)])
    for name, own in _own(DATASETS, lambda cls: [k for k in fields_of(cls) if k not in common]):
        yield _plugin(f"data.name: {name}", own, own.names)


def _model() -> Iterator[str]:
    yield "## model"
    sizes = (
        f"`{name}` ({_listed(f'{k} {v}' for k, v in shape.items())})"
        for name, shape in SIZES.items()
    )
    yield f"Sizes, with what follows from them: {_listed(sizes)}. Every other model has its own shape; which there are: [hosts.md](hosts.md)."
    yield _rows(_of(ModelConfig, fields_of(ModelConfig)))


def _attention() -> Iterator[str]:
    yield "## attention"
    yield (
        "Which of these exist follows from mechanism and basis; where a mechanism or a basis does not have a fixed "
        f"setting, it is left out. `rank` and the settings of the bases also exist with the suffixes "
        f"{' and '.join(f'`{suffix}`' for suffix in PER)}, as lists with one value for each converted block or head."
    )
    order = [*fields_of(AttentionConfig)]
    names = ["mechanism", "basis", *(k for k in order if k not in ("mechanism", "basis"))]
    choices = {
        "mechanism": _names(MECHANISMS),
        "basis": _names(["softmax", *BASES]),
        "kernel": _names([AUTO, *KERNELS]),
    }
    yield _rows(_of(AttentionConfig, [k for k in names if k not in _HIDDEN], choices))
    yield "### Bases"
    yield "Of the mechanisms `karat`, `frozen` and `pointwise`."
    for name, own in _own(BASES, fields_of):
        yield _plugin(f"attention.basis: {name}", own, own.names)
    yield "### Mechanisms"
    yield (
        "Each can also have `content`, `blocks`, `heads` and `gated_blocks`, except softmax. How they differ: "
        "[0027](decisions/0027-mechanisms.md)."
    )
    for name, own in _own(MECHANISMS, own_settings):
        shared = sorted(MECHANISMS[name].operator_settings)
        also = f" Also: {', '.join(f'`{key}`' for key in shared)}." if shared else ""
        yield _plugin(f"attention.mechanism: {name}", own, own.names, also)


def _training() -> Iterator[str]:
    yield "## training"
    yield "Defaults are those of the recipe; the section, the factors and the tuned parameters replace them."
    recipes = {name: load_recipe(name) for name in recipe_names()}
    apart = {*fields_of(AugmentationConfig), *fields_of(StepConfig), *fields_of(WatchConfig)}
    own = [key for key in fields_of(TrainingConfig) if key not in apart]
    values = {
        key: _of_recipes(field, {r: v[key] for r, v in recipes.items() if key in v})
        for key, field in fields_of(TrainingConfig).items()
    }
    yield _rows(
        [
            _row(
                "recipe", _names(recipe_names()), f"`{DEFAULT}`", "where all other values come from"
            ),
            *_of(TrainingConfig, own, defaults=values),
        ]
    )
    yield "### Steps"
    yield "Also in `training`: precision, optimiser, schedule and weights: [recipes.md](recipes.md)."
    yield _rows(_of(TrainingConfig, fields_of(StepConfig), defaults=values))
    yield "### Augmentation"
    yield "Also in `training`; each with its formula and a picture: [augmentation.md](augmentation.md)."
    yield _rows(_of(TrainingConfig, fields_of(AugmentationConfig), defaults=values))
    yield "### What is recorded"
    yield (
        "Also in `training`, for all arms alike; nothing of it changes a result, and a study goes on with other values: "
        "[recipes.md](recipes.md#health-of-attention)."
    )
    yield _rows(_of(TrainingConfig, fields_of(WatchConfig), defaults=values))


def _of_recipes(field: "dataclasses.Field[Any]", values: Mapping[str, Any]) -> str:
    """The default of a setting, if it has one, and the recipes' values that are others."""
    others = [f"`{r}`: {value}" for r, value in values.items() if value != field.default]
    own = [] if field.default is dataclasses.MISSING else [_default(field)]
    return _listed([*own, *others])


def _parameters() -> Iterator[str]:
    yield "## factors and tuned"
    yield (
        "A key is the full name of a setting of `data`, `model`, `attention` or `training`. A factor is a list of "
        "levels, or a mapping of `values` and `when`; a tuned parameter is a range or a list of values."
    )
    told = {
        ("factor", "values"): ("list", "required"),
        ("factor", "when"): ("full name: level, or a list of levels", "always"),
        ("tuned", "values"): ("list", "a range"),
        ("tuned", "low"): ("number", "required without `values`"),
        ("tuned", "high"): ("number", "required without `values`"),
        ("tuned", "log"): ("`true`, `false`", "`false`"),
        ("tuned", "when"): ("full name: level, or a list of levels", "always"),
    }
    words = {"factor": _words(Factor), "tuned": _words(Tuned)}
    yield _table(
        ("of a", "key", "values", "default", "meaning"),
        ((of, f"`{key}`", *each, words[of][key]) for (of, key), each in told.items()),
    )


def _match() -> Iterator[str]:
    yield "## match"
    yield (
        f"{_first(MatchConfig)} Both are tuned and confirmed alike, each for itself (`confirm.by: arm`), and the report "
        "shows both differences: [0052](decisions/0052-matched-cost.md)."
    )
    yield _rows(_of(MatchConfig, fields_of(MatchConfig)))


def _design() -> Iterator[str]:
    yield "## design"
    yield (
        "Which combinations of levels are run: `design: NAME`, or a mapping of `name` and what follows. All but "
        "`search` and `grid` confirm every arm. The reasons: [0051](decisions/0051-designs.md)."
    )
    for name in DESIGNS:
        own = _Own(DESIGNS[name], settings_of_design(name))
        yield _plugin(f"design.name: {name}", own, own.names)


def _search() -> Iterator[str]:
    yield "## search"
    yield _rows(_of(SearchConfig, fields_of(SearchConfig), {"sampler": _names(SAMPLERS)}))
    yield _table(("sampler", "what it does"), ((f"`{n}`", _first(SAMPLERS[n])) for n in SAMPLERS))
    yield "Each entry of `goals`:"
    metrics = _names(GOOD)
    yield _rows(_of(Goal, fields_of(Goal), {"metric": metrics}))


def _early_stopping() -> Iterator[str]:
    yield "## early_stopping"
    yield (
        "Rules compare the trials of one arm. Without the section, `none` for arms of fewer than 12 trials and else "
        "`asha` ([0030](decisions/0030-early-stopping.md)), with `search.goals` `nondominated`. `none` has no use for the other settings, "
        "and plan and launch say which are there."
    )
    share = "share of the stopped trials that is finished anyway, 0 to 1, so that the report can say how often a stop was false. The forecast counts it"
    yield _rows(
        [
            _row("scheduler", _names(SCHEDULERS), "see above", "the rule"),
            _row("audit_share", "number", "`0`", share),
        ]
    )
    for name in SCHEDULERS:
        own = _Own(SCHEDULERS[name], settings_of_rule(name))
        yield _plugin(f"early_stopping.scheduler: {name}", own, own.names)


def _confirm() -> Iterator[str]:
    yield "## confirm"
    yield _rows(_of(ConfirmConfig, fields_of(ConfirmConfig)))
    yield "### confirm.top_up"
    yield "The reasons: [0031](decisions/0031-top-up.md)."
    yield _rows(_of(TopUpConfig, fields_of(TopUpConfig)))


def _others() -> Iterator[str]:
    alias = _row("gpus_per_trial", "as `gpus`", "omitted", "another name of `gpus`")
    yield "## resources"
    yield _rows([*_of(ResourceConfig, fields_of(ResourceConfig)), alias])
    for name, cls in (("budget", BudgetConfig), ("tracking", TrackingConfig)):
        yield f"## {name}"
        yield _rows(_of(cls, fields_of(cls)))
    yield "## paper"
    yield PUBLISHED
    yield _rows(_row(*each) for each in PAPER_KEYS)
    yield "## cluster"
    yield "The name of a file in `clusters/`, or what such a file holds: prices, and the settings of its kinds of cluster."
    yield _rows(_of(Site, PRICES))
    for name in BACKENDS:
        cls = BACKENDS[name].settings
        yield f"### cluster.{name}\n\n{_first(cls)}"
        yield _rows(_of(cls, fields_of(cls)))


@dataclasses.dataclass(frozen=True)
class _Own:
    """A plug-in with the names of the settings that it alone has."""

    cls: Any
    names: tuple[str, ...]


def _own(catalog: Catalog[Any], names: Any) -> Iterator[tuple[str, _Own]]:
    for name in catalog:
        own = [key for key in fields_of(catalog[name]) if key in set(names(catalog[name]))]
        yield name, _Own(catalog[name], tuple(own))


def _plugin(title: str, own: _Own, names: Iterable[str], also: str = "") -> str:
    rows = _of(own.cls, names)
    table = f"\n\n{_rows(rows)}" if rows else ""
    return f"**`{title}`** {_first(own.cls)}{also}{table}"


def _of(
    cls: Any,
    names: Iterable[str],
    choices: Mapping[str, str] | None = None,
    defaults: Mapping[str, str] | None = None,
) -> list[tuple[str, ...]]:
    """A row for each of these settings of a class."""
    hints, words, fields = hints_of(cls), _words(cls), fields_of(cls)
    return [
        _row(
            name,
            (choices or {}).get(name) or _values(hints[name]),
            (defaults or {}).get(name) or _default(fields[name]),
            words[name],
        )
        for name in names
    ]


def _row(name: str, values: str, default: str, meaning: str) -> tuple[str, ...]:
    return (f"`{name}`", values, default, meaning)


def _rows(rows: Iterable[tuple[str, ...]]) -> str:
    return _table(("key", "values", "default", "meaning"), rows)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    )


def _values(hint: Any) -> str:
    """What a setting of this type may be."""
    origin, items = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return _names(items)
    if origin in (Union, types.UnionType):
        return _listed(_values(item) for item in items if item is not type(None))
    if origin is tuple:
        return f"list: {_values(items[0])}"
    if dataclasses.is_dataclass(hint):
        return "mapping, below"
    return _TYPES.get(hint, "mapping")


def _default(field: "dataclasses.Field[Any]") -> str:
    if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
        return "required"
    value = field.default
    if value is None:
        return "omitted"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _words(cls: Any) -> dict[str, str]:
    """The description of each setting, from the section `Args` of the class and of those that it extends."""
    found: dict[str, str] = {}
    for each in reversed(cls.__mro__):
        _, _, listed = (inspect.cleandoc(each.__doc__ or "")).partition("Args:\n")
        listed = listed.partition("\n\n")[0]
        for names, text in re.findall(
            r"^    (\w[\w, ]*): (.*(?:\n {5,}.*)*)", listed, re.MULTILINE
        ):
            for name in names.split(", "):
                found[name] = _as_in_yaml(" ".join(text.split()).rstrip("."))
    return found


def _as_in_yaml(text: str) -> str:
    """Python's values as a file has them: what is None there is omitted."""
    for python, yaml in (("False", "`false`"), ("True", "`true`")):
        text = re.sub(rf"\b{python}\b", yaml, text)
    return re.sub(r"(?<=\. )None\b", "Omitted, it", re.sub(r"(?<!\. )\bNone\b", "omitted", text))


def _first(cls: Any) -> str:
    """The first paragraph of the class's documentation."""
    return " ".join(inspect.cleandoc(cls.__doc__ or "").partition("\n\n")[0].split())


def _names(names: Iterable[object]) -> str:
    return _listed(f"`{name}`" for name in names)


def _listed(items: Iterable[str]) -> str:
    return ", ".join(items)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the page of all keys of a search space.")
    parser.add_argument("page", type=Path, help="docs/reference.md, for example")
    parser.parse_args().page.write_text(reference(), encoding="utf-8")
