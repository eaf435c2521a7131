"""The road back: a space in which the simple function found for learned ones is an arm of its own."""

from __future__ import annotations

import copy
import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from karat.analyses.attention.learned.fitted import COMMON
from karat.analyses.attention.learned.simple import SIMPLE
from karat.attention.mechanisms import MECHANISMS
from karat.attention.names import BASIS, KARAT, MECHANISM, PLACES, SOFTMAX
from karat.errors import AnalysisError, InputError, nearest
from karat.parameters import EACH_ARM, plain
from karat.space.reader import space_of

if TYPE_CHECKING:
    from karat.analyses.attention.functions_found import FunctionsFound
    from karat.space.space import Arm, Space

WIDTH = 116  # of a line of the file
LEVELS = {"constant": "static", "linear": "linear"}  # family to mechanism; others are `closed_form`


@dataclass(frozen=True, kw_only=True)
class Form:
    """The simple function that stands for the learned ones of a model.

    Args:
        family: that to which most units are nearest, of `SIMPLE`.
        units: number of fitted units.
        share: of the units that are nearest to it.
        r2: median over all units of what a function of the family, fitted to each by itself, explains.
        slope, centre: with which one function of the family explains most of all units: `f(slope (x - centre))`.
        common: the mean share that this one explains, weighted by contribution; each unit with a factor and
            an offset of its own. 0 for `constant`.
        linear: median R² of a line.
    """

    family: str
    units: int
    share: float
    r2: float
    slope: float
    centre: float
    common: float
    linear: float

    @property
    def level(self) -> str:
        """The mechanism that has it."""
        return LEVELS.get(self.family, "closed_form")

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the mechanism."""
        if self.family in LEVELS:
            return {}
        found = {"function": self.family, "slope": _short(self.slope)}
        return found if self.family == "exponential" else {**found, "centre": _short(self.centre)}


def form_of(found: FunctionsFound) -> Form:
    """What was found of the learned functions of a model, as one simple function.

    Raises:
        AnalysisError: it has no learned functions of scores.
    """
    if found.best is None or found.r2 is None or found.common is None:
        raise AnalysisError(f"{found.reason}, for which a simple function could stand")
    counts = np.bincount(found.best, minlength=len(SIMPLE))
    number = int(counts.argmax())
    family = SIMPLE[number]
    slope, centre, common = 1.0, 0.0, 0.0
    if family in COMMON:
        slope, centre, common = map(float, found.common[COMMON.index(family)])
    return Form(
        family=family,
        units=len(found.best),
        share=float(counts[number] / counts.sum()),
        r2=float(np.median(found.r2[:, number])),
        slope=slope,
        centre=centre,
        common=common,
        linear=float(np.median(found.r2[:, SIMPLE.index("linear")])),
    )


def closed_form_space(space: Space, arm: str, found: FunctionsFound) -> str:
    """The YAML text of a space that has, beside the arms of this one, `arm` without learnable units.

    The new arm has the operator's tables, with one simple function of scores that is not learned between them: a
    level of `attention.mechanism`, which becomes a factor, and a part of all labels, where it was none. The search
    grows by as many trials as an arm has.

    Args:
        space: of the study.
        arm: label of the arm whose functions were looked at.
        found: of a trial of this arm.

    Raises:
        InputError: the space has no such arm.
        AnalysisError: the arm has no learned functions, or the space has the new arm or cannot take it.
    """
    if arm not in space.arms:
        raise InputError(f"{arm!r} is no arm of {space.name}. {nearest(arm, space.arms)}")
    form, own = form_of(found), space.arms[arm]
    if own.raw is not None:
        raise AnalysisError(f"{arm} is {own.raw} with its cost matched; name {own.raw}")
    source: dict[str, Any] = copy.deepcopy(dict(space.source))
    for chosen in ("arms", "costs"):  # the arms will be others, and are matched anew
        source.get("match", {}).pop(chosen, None)
    _add_level(source, space, own, form.level)
    source["attention"] = {**source.get("attention", {}), **form.settings}
    source["study"] = f"{space.name[:51]}-closed-form"
    source["question"] = (
        f"{space.question.rstrip()} And without learned functions, with {_formula(form)} in place of those of {arm}?"
    ).lstrip()
    source = _only_one(source, own, form.level)
    source, note = _confirmed(source)
    if isinstance(trials := source.get("search", {}).get("trials"), int):
        arms = len(_read(source).arms)
        source["search"]["trials"] = math.ceil(trials / len(space.arms)) * arms
    _read(source)
    return _comment(space, arm, form, note) + _dumped(source)


def _confirmed(source: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The source in which the new arm is confirmed by itself if it can be, and a sentence where this changes something."""
    by = source.get("confirm", {}).get("by")
    if by in (None, EACH_ARM, MECHANISM):
        return source, ""
    tried = {**source, "confirm": {**source["confirm"], "by": EACH_ARM}}
    try:
        _read(tried)
    except AnalysisError:
        return source, (
            f" confirm.by is {by}, as before: the new arm is confirmed only where it is the best of its level."
        )
    return (
        tried,
        f" confirm.by was {by}, and is {EACH_ARM} so that the new arm is confirmed by itself.",
    )


def _add_level(source: dict[str, Any], space: Space, arm: Arm, level: str) -> None:
    """Add a level to the factor of mechanisms, which is made if there is none."""
    if any(each.sections["attention"].get("mechanism") == level for each in space.arms.values()):
        raise AnalysisError(
            f"the form found is that of mechanism: {level}, which {space.name} has as an arm"
        )
    factors: dict[str, Any] = source["factors"]
    if MECHANISM not in factors:
        factors = _with_mechanisms(source, factors)
    values = factors[MECHANISM]
    listed = values["values"] if isinstance(values, dict) else values
    listed.append(level)
    own = arm.sections["attention"].get("mechanism", KARAT)
    has = MECHANISMS[level].operator_settings | PLACES
    for key, factor in factors.items():
        section, _, name = key.partition(".")
        if section != "attention" or name not in has or not isinstance(factor, dict):
            continue
        condition = factor.get("when", {})
        if BASIS in condition:
            del condition[BASIS]
            condition.setdefault(MECHANISM, own)
        if MECHANISM in condition:
            before = condition[MECHANISM]
            several = before if isinstance(before, list) else [before]
            condition[MECHANISM] = [*several, *([level] if own in several else [])]
    source["factors"] = factors


def _with_mechanisms(source: dict[str, Any], factors: dict[str, Any]) -> dict[str, Any]:
    """The factors with one of mechanisms, where mechanisms followed from the basis or were fixed."""
    fixed: dict[str, Any] = source.setdefault("attention", {})
    if BASIS not in factors:
        mechanism = fixed.pop("mechanism", KARAT)
        reference = source.get("reference")
        if reference is not None:
            source["reference"] = {MECHANISM: mechanism, **reference}
        return {MECHANISM: [mechanism], **factors}
    of_basis = factors[BASIS]
    bases = of_basis["values"] if isinstance(of_basis, dict) else of_basis
    has_softmax = SOFTMAX in bases
    others = [each for each in bases if each != SOFTMAX]
    found = {MECHANISM: [SOFTMAX, KARAT] if has_softmax else [KARAT], **factors}
    found[BASIS] = {"values": others, "when": {MECHANISM: KARAT}}
    for each in [source.get("reference") or {}, *source.get("exclude", [])]:
        _renamed(each)
    for each in source.get("paper", {}).get("results", []):
        _renamed(each)
    if source.get("confirm", {}).get("by") == BASIS:
        source["confirm"]["by"] = EACH_ARM  # the factor does not exist in the new arm
    return found


def _renamed(levels: dict[str, Any]) -> None:
    if levels.get(BASIS) == SOFTMAX:
        del levels[BASIS]
        levels[MECHANISM] = SOFTMAX


def _only_one(source: dict[str, Any], arm: Arm, level: str) -> dict[str, Any]:
    """Exclude arms with the level that differ from `arm` in another factor."""
    new = [each for each in _read(source).arms.values() if each.factors.get(MECHANISM) == level]
    excluded = []
    for each in new:
        shared = each.factors.keys() & arm.factors.keys() - {MECHANISM}
        if any(each.factors[key] != arm.factors[key] for key in shared):
            excluded.append({key: plain(value) for key, value in each.factors.items()})
    if excluded:
        source["exclude"] = [*source.get("exclude", []), *excluded]
    return source


def _read(source: Mapping[str, Any]) -> Space:
    try:
        return space_of(copy.deepcopy(dict(source)), str(source["study"]), "the new space")
    except InputError as error:
        raise AnalysisError(
            f"the arm cannot be added to this space as a level of {MECHANISM}: {error}"
        ) from error


def _formula(form: Form) -> str:
    if form.family == "constant":
        return "constants"
    if form.family == "linear":
        return "c x"
    settings = form.settings
    shift = settings.get("centre", 0.0)
    inner = "x" if shift == 0 else f"(x {'-' if shift > 0 else '+'} {abs(shift):g})"
    u = inner if settings["slope"] == 1 else f"{settings['slope']:g} {inner}"
    written = {
        "quadratic": f"({u})²",
        "exponential": f"exp({u})",
        "sigmoid": f"sigmoid({u})",
        "cosine": f"cos({u})",
    }
    return f"c {written[form.family]}"


def _comment(space: Space, arm: str, form: Form, note: str) -> str:
    own = ""
    if form.family in COMMON and form.family != "linear":
        own = (
            f" One function for all, {_formula(form)} with a factor c and an offset for each, explains "
            f"{100 * form.common:.0f} % in the mean, weighted by what each contributes; the new arm has the "
            "factors, and no offsets."
        )
    text = (
        f"{space.name} with one more arm, {form.level}: {arm} with one simple function in place of its learned "
        f"ones. Found in one trained model of {arm}: of {form.units:,} learned functions of scores "
        f"{100 * form.share:.0f} % are nearest to a {form.family} one, by BIC over the scores that occur. Fitted "
        f"to each by itself, such a function explains a median of {100 * form.r2:.0f} % of the variance, and a "
        f"line {100 * form.linear:.0f} %.{own} Whether the arm is as good as {arm}, only its training can "
        f"say.{note}"
    )
    return "".join(f"# {line}\n" for line in textwrap.wrap(text, WIDTH - 2))


def _dumped(source: Mapping[str, Any]) -> str:
    import yaml

    found: str = yaml.safe_dump(
        dict(source), sort_keys=False, default_flow_style=None, width=WIDTH, allow_unicode=True
    )
    return found


def _short(value: float) -> float:
    return float(f"{value:.4g}")
