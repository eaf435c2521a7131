"""The settings of the attention operator, checked."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from karat.attention.bases import BASES, Basis
from karat.attention.kernels import AUTO, KERNELS
from karat.errors import CombinationError, SettingError, nearest
from karat.settings import at_least, build, convert, fields_of, hints_of

SOFTMAX = "softmax"
FULL = "full"
_NOT_SETTINGS = {"basis_settings", "per_block", "per_head"}
_PER = {"_per_block": "per_block", "_per_head": "per_head"}


@dataclass(frozen=True, kw_only=True)
class AttentionConfig:
    """The operator that turns attention scores into weights, and the blocks and heads that use it.

    Blocks and heads with the operator are called KArAt blocks and KArAt heads. Source: arXiv
    2503.10632, Section 3; hybrids and values per block or head were requested by its reviewers.

    Args:
        basis: `softmax` (the original attention) or a name in `karat.attention.bases.BASES`.
        rank: R, rows of the modular operator, at most the number of tokens; `full` for the
            operator without W, with one unit per pair of tokens.
        operator_order: `w_phi`, W Φ̂(A), as in the paper; `phi_w`, Φ̂(W A); `phi_phi`, Φ₂(Φ₁(A)).
        projection: projection of the result of Φ: `none`, `simplex` or `softmax`. With `w_phi` it
            is applied to the R-vector Φ̂(A), as in the paper; otherwise to the row of weights.
        output_scale: factor of the attention weights: 1, `1/N`, `1/sqrt(N)`, or `learned`, one
            number per operator, initially 1.
        block_sharing: `blockwise`, each block has its own operators; `universal`, all blocks
            share one set.
        head_sharing: `per_head`, `grouped` (see `head_groups`) or `shared` by all heads.
        head_groups: number of groups for `grouped`; it divides the number of KArAt heads.
        base_activation: b in `φ(x) = scale_b b(x) + scale (sum of basis functions)`.
        unit_scales: whether each unit learns its two scales, as in the paper's code.
        init: initialisation: `fan_in`, or `paper` as the paper states.
        kernel: implementation, without influence on the result: `auto`, or a name in
            `karat.attention.kernels.KERNELS`.
        blocks: the KArAt blocks: `all`, a third of them (`early`, `middle`, `late`), or an
            ascending list of block numbers from 0; the others keep softmax.
        heads: the KArAt heads: `all`, or an ascending list of head numbers from 0.
        gated_blocks: whether ConViT's gated positional layers are converted too.
        basis_settings: settings of the basis family (`grid_size`, ...), checked by its class.
        per_block: `rank` or a basis setting to a list with one value for each KArAt block.
        per_head: `rank` or a basis setting to a list with one value for each KArAt head.

    Raises:
        SettingError: a value is not allowed; with the rule.
    """

    basis: str = SOFTMAX
    rank: int | Literal["full"] = 12
    operator_order: Literal["w_phi", "phi_w", "phi_phi"] = "w_phi"
    projection: Literal["none", "simplex", "softmax"] = "none"
    output_scale: Literal[1, "1/N", "1/sqrt(N)", "learned"] = 1
    block_sharing: Literal["blockwise", "universal"] = "blockwise"
    head_sharing: Literal["per_head", "grouped", "shared"] = "per_head"
    head_groups: int | None = None
    base_activation: Literal["zero", "identity", "silu", "gelu"] = "zero"
    unit_scales: bool = True
    init: Literal["fan_in", "paper"] = "fan_in"
    kernel: str = "auto"
    blocks: Literal["all", "early", "middle", "late"] | tuple[int, ...] = "all"
    heads: Literal["all"] | tuple[int, ...] = "all"
    gated_blocks: bool = False
    basis_settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    per_block: Mapping[str, Sequence[Any]] = dataclasses.field(default_factory=dict)
    per_head: Mapping[str, Sequence[Any]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for key, hint in hints_of(type(self)).items():
            object.__setattr__(self, key, convert(hint, getattr(self, key), key))
        if self.basis == SOFTMAX:
            return
        build(BASES[self.basis], self.basis_settings, "basis_settings")
        if isinstance(self.rank, int):
            at_least("rank", self.rank, 1)
        elif self.operator_order != "w_phi":
            rule = f"must be a number for operator_order: {self.operator_order}"
            raise SettingError("rank", rule, self.rank)
        if self.kernel != AUTO and self.kernel not in KERNELS:
            raise SettingError(
                "kernel", f"unknown. {nearest(self.kernel, [AUTO, *KERNELS])}", self.kernel
            )
        if self.kernel not in (AUTO, "reference") and self.operator_order != "w_phi":
            rule = f"supports only operator_order: w_phi; use reference for {self.operator_order}"
            raise SettingError("kernel", rule, self.kernel)
        at_least("head_groups", self.head_groups, 1)
        if (self.head_sharing == "grouped") != (self.head_groups is not None):
            rule = "must be set for head_sharing: grouped, and only for it"
            raise SettingError("head_groups", rule)
        for key in ("blocks", "heads"):
            _check_numbers(key, getattr(self, key))
        self._check_lists()

    def _check_lists(self) -> None:
        """Check the values per block and per head, each as if it were the value for all."""
        if self.per_block and self.block_sharing == "universal":
            rule = "must be blockwise for values per block"
            raise SettingError("block_sharing", rule, self.block_sharing)
        if self.per_head and self.head_sharing != "per_head":
            rule = "must be per_head for values per head"
            raise SettingError("head_sharing", rule, self.head_sharing)
        for suffix, field in _PER.items():
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
        """From a flat mapping, in which settings of the basis (`grid_size`) are among the others.

        `rank` and the settings of the basis also exist with the suffixes `_per_block` and
        `_per_head`.

        Raises:
            SettingError: a key is unknown, or does not exist for this basis.
        """
        basis = values.get("basis", SOFTMAX)
        allowed = settings_of(basis, section)
        for key in values:
            if key not in allowed:
                rule = f"does not exist for {section}.basis: {basis}"
                if key not in settings_of_all():
                    rule = f"unknown key. {nearest_setting(key)}"
                raise SettingError(f"{section}.{key}", rule)
        if basis == SOFTMAX:
            return cls()
        sorted_out: dict[str, Any] = {"basis_settings": {}, "per_block": {}, "per_head": {}}
        for key, value in values.items():
            name, field = _place_of(key)
            if field is not None:
                others = [name, *(name + suffix for suffix in _PER if name + suffix != key)]
                if twice := [other for other in others if other in values]:
                    rule = f"sets the same as {twice[0]}; keep one of them"
                    raise SettingError(f"{section}.{key}", rule)
                sorted_out[field][name] = value
            elif key in fields_of(BASES[basis]):
                sorted_out["basis_settings"][key] = value
            else:
                sorted_out[key] = value
        build(BASES[basis], sorted_out["basis_settings"], section)
        return build(cls, sorted_out, section)

    @property
    def is_softmax(self) -> bool:
        return self.basis == SOFTMAX

    def make_basis(self) -> Basis:
        """The basis with its settings."""
        return build(BASES[self.basis], self.basis_settings, "attention")

    def outputs(self, num_tokens: int) -> int:
        """R, which is the number of tokens for the full-rank operator."""
        return self.rank if isinstance(self.rank, int) else num_tokens

    def operators(self, num_heads: int) -> int:
        """P, the number of operators for `num_heads` KArAt heads of one block.

        Raises:
            CombinationError: `head_groups` does not divide the number of heads.
        """
        if self.head_sharing == "per_head":
            return num_heads
        groups = self.head_groups or 1
        if num_heads % groups:
            raise CombinationError(
                ("attention.head_groups", "model.num_heads"),
                f"attention.head_groups = {groups} does not divide the {num_heads} heads",
            )
        return groups

    def check_tokens(self, num_tokens: int) -> None:
        """Refuse a rank above the number of tokens.

        Raises:
            CombinationError: rank > num_tokens.
        """
        if not self.is_softmax and isinstance(self.rank, int) and self.rank > num_tokens:
            raise CombinationError(
                ("attention.rank", "model.patch_size"),
                f"attention.rank = {self.rank} is above the {num_tokens} tokens of this model; "
                "rank: full is the operator of full rank",
            )

    def chosen_blocks(self, num_blocks: int) -> tuple[int, ...]:
        """Numbers of the KArAt blocks among `num_blocks`, ascending.

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
        """The settings of KArAt block `index` of `count`.

        Raises:
            CombinationError: the number of values per block is not that of KArAt blocks.
        """
        own = {}
        for key, values in self.per_block.items():
            _check_count(f"attention.{key}_per_block", values, count, "KArAt blocks")
            own[key] = values[index]
        return self._with(own, per_block={})

    def parts(self, num_heads: int) -> list[tuple[tuple[int, ...], Self | None]]:
        """The heads of one block grouped by settings; None for heads that keep softmax.

        Raises:
            CombinationError: a head does not exist, the number of values per head is not that of
                KArAt heads, or `head_groups` does not divide the number of heads.
        """
        chosen = tuple(range(num_heads))
        if self.heads != "all":
            chosen = _within("attention.heads", self.heads, num_heads, "heads")
        for key, values in self.per_head.items():
            _check_count(f"attention.{key}_per_head", values, len(chosen), "KArAt heads")
        found: list[tuple[tuple[int, ...], Self | None]] = []
        if not self.per_head:
            found.append((chosen, self._with({}, heads="all")))
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


def settings_of(basis: object, section: str = "attention") -> set[str]:
    """Names of the settings that exist for a basis.

    Raises:
        SettingError: the basis is unknown.
    """
    if basis == SOFTMAX:
        return {"basis"}
    if not isinstance(basis, str) or basis not in BASES:
        raise SettingError(
            f"{section}.basis", f"unknown. {nearest(basis, [SOFTMAX, *BASES])}", basis
        )
    own = set(fields_of(BASES[basis]))
    by_place = {name + suffix for name in {"rank", *own} for suffix in _PER}
    return set(fields_of(AttentionConfig)) - _NOT_SETTINGS | own | by_place


def settings_of_all() -> set[str]:
    """Names of the settings that exist for at least one basis."""
    return set().union(*(settings_of(basis) for basis in BASES))


def nearest_setting(key: str) -> str:
    """A phrase that lists the settings, without those per block and head, and the nearest one."""
    plain = [name for name in settings_of_all() if _place_of(name)[1] is None]
    return f"{nearest(key, plain)}; rank and settings of the basis also with _per_block, _per_head"


def _place_of(key: str) -> tuple[str, str | None]:
    """`rank_per_block` is `rank`, by block; `rank` is itself."""
    for suffix, field in _PER.items():
        if key.endswith(suffix):
            return key.removesuffix(suffix), field
    return key, None


def _check_numbers(key: str, numbers: object) -> None:
    if isinstance(numbers, tuple):
        if not numbers:
            raise SettingError(key, "must name at least one; for none use basis: softmax", numbers)
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
