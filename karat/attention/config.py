"""The settings under `attention:`, checked."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from karat.attention.bases import BASES
from karat.attention.mechanisms import MECHANISMS, Mechanism, own_settings
from karat.attention.names import (
    KARAT,
    PER,
    PLACES,
    SOFTMAX,
    has_basis,
    mechanism_of,
    place_of,
    refuse_unknown,
    settings_of,
)
from karat.attention.operator_config import OPERATOR_SETTINGS, OperatorConfig
from karat.errors import CombinationError, SettingError
from karat.settings import build, convert, fields_of, hints_of


@dataclass(frozen=True, kw_only=True)
class AttentionConfig(OperatorConfig):
    """The mechanism that turns attention scores into weights, and the blocks and heads that use it.

    Blocks and heads with a mechanism other than softmax are called converted. Hybrids and values
    per block or head were requested by the reviewers of arXiv 2503.10632. The settings of the
    operator are those of `OperatorConfig`; a mechanism has those in its `operator_settings`.

    Args:
        mechanism: what makes weights of scores. None stands for `softmax`, or `karat` if a basis is
            given.
        content: false holds queries and keys at zero, so that only positions have an effect. A fixed or
            tuned value must exist in every arm (softmax has none); a factor must not reach a mechanism that computes
            no scores (`uniform`, `static`).
        blocks: the converted blocks: `all`, a third of them (`early`, `middle`, `late`), or an
            ascending list of block numbers from 0; the others keep softmax.
        heads: the converted heads: `all`, or an ascending list of head numbers from 0.
        gated_blocks: whether ConViT's gated positional layers are converted too.
        mechanism_settings: the mechanism's own settings, checked by its class.
        per_block: `rank` or a basis setting to a list with one value for each converted block.
        per_head: `rank` or a basis setting to a list with one value for each converted head.

    Raises:
        SettingError: a value is not allowed; with the rule.
    """

    mechanism: str | None = None
    content: bool = True
    blocks: Literal["all", "early", "middle", "late"] | tuple[int, ...] = "all"
    heads: Literal["all"] | tuple[int, ...] = "all"
    gated_blocks: bool = False
    mechanism_settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    per_block: Mapping[str, Sequence[Any]] = dataclasses.field(default_factory=dict)
    per_head: Mapping[str, Sequence[Any]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for key, hint in hints_of(type(self)).items():
            object.__setattr__(self, key, convert(hint, getattr(self, key), key))
        if self.mechanism is None:
            implied = SOFTMAX if self.basis in (None, SOFTMAX) else KARAT
            object.__setattr__(self, "mechanism", implied)
            if implied == SOFTMAX:
                object.__setattr__(self, "basis", None)
        self._check_existing()
        if self.is_softmax:
            return
        self.check_operator()
        try:
            self.make_mechanism()
        except SettingError as error:
            raise SettingError(error.key.rpartition(".")[2], error.rule, error.value) from None
        for key in ("blocks", "heads"):
            _check_numbers(key, getattr(self, key))
        self._check_lists()

    def _check_existing(self) -> None:
        """Refuse fields that the mechanism does not have, given in Python."""
        given = {"mechanism": self.mechanism}
        if self.basis is not None:
            given["basis"] = self.basis
        known = settings_of(given)
        for key in sorted(OPERATOR_SETTINGS | PLACES):
            if key not in known and getattr(self, key) != fields_of(type(self))[key].default:
                raise SettingError(key, f"does not exist for mechanism: {self.mechanism}")

    def _check_lists(self) -> None:
        """Check the values per block and per head, each as if it were the value for all."""
        if self.per_block and self.block_sharing == "universal":
            rule = "must be blockwise for values per block"
            raise SettingError("block_sharing", rule, self.block_sharing)
        if self.per_head and self.head_sharing != "per_head":
            rule = "must be per_head for values per head"
            raise SettingError("head_sharing", rule, self.head_sharing)
        for suffix, field in PER.items():
            for key, values in getattr(self, field).items():
                if not isinstance(values, list | tuple) or not values:
                    raise SettingError(key + suffix, "must be a list of values", values)
                for value in values:
                    try:
                        self._with({key: value}, per_block={}, per_head={})
                    except SettingError as error:
                        raise SettingError(key + suffix, error.rule, error.value) from None

    @classmethod
    def from_settings(cls, values: Mapping[str, Any], section: str = "attention") -> Self:
        """From a flat mapping, in which settings of mechanism and basis are among the others.

        `rank` and the settings of the basis also exist with the suffixes `_per_block` and
        `_per_head`.

        Raises:
            SettingError: a key is unknown, or does not exist for this mechanism or basis.
        """
        allowed = settings_of(values, section)
        for key in values:
            if key not in allowed:
                refuse_unknown(key, values, section)
        mechanism = mechanism_of(values)
        if mechanism == SOFTMAX:
            return cls()
        own = own_settings(MECHANISMS[str(mechanism)])
        of_basis = fields_of(BASES[values["basis"]]) if has_basis(mechanism) else {}
        sorted_out: dict[str, Any] = {
            name: {} for name in ("basis_settings", "mechanism_settings", *PER.values())
        }
        for key, value in values.items():
            name, field = place_of(key)
            if field is not None:
                others = [name, *(name + suffix for suffix in PER if name + suffix != key)]
                if twice := [other for other in others if other in values]:
                    rule = f"sets the same as {twice[0]}; keep one of them"
                    raise SettingError(f"{section}.{key}", rule)
                sorted_out[field][name] = value
            elif key in of_basis:
                sorted_out["basis_settings"][key] = value
            elif key in own:
                sorted_out["mechanism_settings"][key] = value
            else:
                sorted_out[key] = value
        if has_basis(mechanism):
            build(BASES[values["basis"]], sorted_out["basis_settings"], section)
        return build(cls, sorted_out, section)

    @property
    def is_softmax(self) -> bool:
        return self.mechanism == SOFTMAX

    def make_mechanism(self) -> Mechanism:
        """The mechanism with its settings."""
        own = {name: getattr(self, name) for name in fields_of(OperatorConfig)}
        settings = {**self.mechanism_settings, "config": OperatorConfig(**own)}
        return build(MECHANISMS[str(self.mechanism)], settings, "attention")

    def chosen_blocks(self, num_blocks: int) -> tuple[int, ...]:
        """Numbers of the converted blocks among `num_blocks`, ascending.

        Raises:
            CombinationError: a block does not exist, or the third is empty.
        """
        thirds = {"early": 0, "middle": 1, "late": 2}
        if self.blocks == "all":
            return tuple(range(num_blocks))
        if isinstance(self.blocks, str):
            third = thirds[self.blocks]
            chosen = tuple(i for i in range(num_blocks) if 3 * i // num_blocks == third)
            if not chosen:
                raise CombinationError(
                    ("attention.blocks", "model.depth"),
                    f"attention.blocks = {self.blocks}: contains none of the {num_blocks} blocks",
                )
            return chosen
        return _within("attention.blocks", self.blocks, num_blocks, "blocks")

    def of_block(self, index: int, count: int) -> Self:
        """The settings of converted block `index` of `count`.

        Raises:
            CombinationError: the number of values per block is not that of converted blocks.
        """
        if not self.per_block:
            return self  # a copy is checked again, which a search space of many arms notices
        own = {}
        for key, values in self.per_block.items():
            _check_count(f"attention.{key}_per_block", values, count, "converted blocks")
            own[key] = values[index]
        return self._with(own, per_block={})

    def parts(self, num_heads: int) -> list[tuple[tuple[int, ...], Self | None]]:
        """The heads of one block grouped by settings; None for heads that keep softmax.

        Raises:
            CombinationError: a head does not exist, the number of values per head is not that of
                converted heads, or `head_groups` does not divide the number of heads.
        """
        chosen = tuple(range(num_heads))
        if self.heads != "all":
            chosen = _within("attention.heads", self.heads, num_heads, "heads")
        for key, values in self.per_head.items():
            _check_count(f"attention.{key}_per_head", values, len(chosen), "converted heads")
        found: list[tuple[tuple[int, ...], Self | None]] = []
        if not self.per_head:
            found.append((chosen, self if self.heads == "all" else self._with({}, heads="all")))
        else:
            by_settings: dict[str, list[int]] = {}
            configs: dict[str, Self] = {}
            for place, head in enumerate(chosen):
                own = {key: values[place] for key, values in self.per_head.items()}
                config = self._with(own, per_head={}, heads="all")
                by_settings.setdefault(repr(config), []).append(head)
                configs[repr(config)] = config
            found += [(tuple(heads), configs[key]) for key, heads in by_settings.items()]
        for heads, part in found:
            if part is not None:
                part.operators(len(heads))  # raises if the groups do not divide the heads
        if rest := tuple(head for head in range(num_heads) if head not in chosen):
            found.append((rest, None))
        return found

    def _with(self, own: Mapping[str, Any], **fields: Any) -> Self:
        """A copy with other values of `rank`, of basis settings (`own`), and of other fields.

        Raises:
            SettingError: a value is not allowed.
        """
        settings = dict(self.basis_settings)
        for key, value in own.items():
            if key == "rank":
                fields["rank"] = value
            else:
                settings[key] = value
        return dataclasses.replace(self, basis_settings=settings, **fields)


def _check_numbers(key: str, numbers: object) -> None:
    if isinstance(numbers, tuple):
        if not numbers:
            raise SettingError(
                key, "must name at least one; for none use mechanism: softmax", numbers
            )
        if min(numbers) < 0 or any(a >= b for a, b in itertools.pairwise(numbers)):
            raise SettingError(key, "must be ascending numbers, from 0", numbers)


def _within(key: str, numbers: Sequence[Any], count: int, what: str) -> tuple[int, ...]:
    if max(numbers) >= count:
        raise CombinationError(
            (key, "model.name"),
            f"{key}: {max(numbers)} does not exist; the {count} {what} are numbered from 0",
        )
    return tuple(numbers)


def _check_count(key: str, values: Sequence[Any], count: int, what: str) -> None:
    if len(values) != count:
        raise CombinationError(
            (key, "model.name"), f"{key} has {len(values)} values for {count} {what}"
        )
