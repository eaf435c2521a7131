"""Which settings exist under `attention:` for which mechanism and basis."""

import functools
from collections.abc import Mapping
from typing import Any, NoReturn

from karat.attention.bases import BASES
from karat.attention.mechanisms import MECHANISMS, own_settings
from karat.errors import SettingError, nearest
from karat.settings import fields_of

SOFTMAX, KARAT = "softmax", "karat"
BASIS, MECHANISM = "attention.basis", "attention.mechanism"
PLACES = frozenset({"blocks", "heads", "gated_blocks", "content"})
"""Settings of every mechanism but softmax: where it is used, and whether it sees contents."""
FOR_ALL = {"content": "keeps queries and keys"}
"""Of these, the ones that change an arm beside its mechanism, and what an arm does that lacks them.

`blocks`, `heads` and `gated_blocks` are none: elsewhere there is the host's softmax, as everywhere in an arm of
softmax, so that such arms differ in the mechanism alone. Nor is a setting of a mechanism or basis (`rank`): it is
a part of the mechanism.
"""
PER = {"_per_block": "per_block", "_per_head": "per_head"}


def mechanism_of(values: Mapping[str, Any]) -> object:
    """The mechanism of these settings. Without `mechanism`, softmax or `karat`, by the basis."""
    if "mechanism" in values:
        return values["mechanism"]
    return SOFTMAX if values.get("basis", SOFTMAX) == SOFTMAX else KARAT


def settings_of(values: Mapping[str, Any], section: str = "attention") -> frozenset[str]:
    """Names of the settings that exist beside these values of `mechanism` and `basis`.

    Raises:
        SettingError: the mechanism or the basis is unknown, or the basis is missing.
    """
    named = "mechanism" in values
    mechanism = mechanism_of(values)
    if not named and mechanism == SOFTMAX:
        return frozenset({"mechanism", "basis"})
    if not isinstance(mechanism, str) or mechanism not in MECHANISMS:
        rule = f"unknown. {nearest(mechanism, MECHANISMS)}"
        raise SettingError(f"{section}.mechanism", rule, mechanism)
    if not has_basis(mechanism):
        return _settings_of(mechanism, None)
    basis = values.get("basis")
    if not isinstance(basis, str) or basis not in BASES:
        if basis is None:
            rule = f"is missing; mechanism: {mechanism} needs one of these: {', '.join(BASES)}"
            raise SettingError(f"{section}.basis", rule)
        known = [*BASES] if named else [SOFTMAX, *BASES]
        raise SettingError(f"{section}.basis", f"unknown. {nearest(basis, known)}", basis)
    return _settings_of(mechanism, basis)


@functools.cache
def _settings_of(mechanism: str, basis: str | None) -> frozenset[str]:
    if mechanism == SOFTMAX:
        return frozenset({"mechanism"})
    own = own_settings(MECHANISMS[mechanism])
    of_operator = MECHANISMS[mechanism].operator_settings
    of_basis = frozenset() if basis is None else frozenset(fields_of(BASES[basis]))
    varied = of_basis | ({"rank"} & of_operator)
    by_place = {name + suffix for name in varied for suffix in PER}
    return frozenset({"mechanism"}) | PLACES | of_operator | own | of_basis | by_place


def has_basis(mechanism: object) -> bool:
    """Whether a mechanism needs a basis; False for a name that is unknown."""
    if not isinstance(mechanism, str) or mechanism not in MECHANISMS:
        return False
    return "basis" in MECHANISMS[mechanism].operator_settings


def settings_of_all() -> frozenset[str]:
    """Names of the settings that exist for at least one mechanism and basis."""
    found = [_settings_of(KARAT, basis) for basis in BASES]
    return frozenset().union(*found, *(_settings_of(each, None) for each in MECHANISMS))


def refuse_unknown(key: str, values: Mapping[str, Any], section: str = "attention") -> NoReturn:
    """Raise an error about a setting that does not exist beside these values.

    Raises:
        SettingError: always.
    """
    raise SettingError(f"{section}.{key}", rule_of_unknown(key, values, section))


def rule_of_unknown(key: str, values: Mapping[str, Any], section: str = "attention") -> str:
    """The rule that a setting breaks if it does not exist beside these values."""
    if key not in settings_of_all():
        return f"unknown key. {nearest_setting(key)}"
    mechanism = mechanism_of(values)
    of_a_basis = any(place_of(key)[0] in fields_of(BASES[basis]) for basis in BASES)
    if "mechanism" in values and not (of_a_basis and has_basis(mechanism)):
        return f"does not exist for {section}.mechanism: {mechanism}"
    return f"does not exist for {section}.basis: {values.get('basis', SOFTMAX)}"


def nearest_setting(key: str) -> str:
    """A phrase that lists the settings, without those per block and head, and the nearest one."""
    plain = [name for name in settings_of_all() if place_of(name)[1] is None]
    return f"{nearest(key, plain)}; rank and settings of the basis also with _per_block, _per_head"


def place_of(key: str) -> tuple[str, str | None]:
    """`rank_per_block` is `rank`, by block; `rank` is itself."""
    for suffix, field in PER.items():
        if key.endswith(suffix):
            return key.removesuffix(suffix), field
    return key, None
