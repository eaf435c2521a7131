"""A control: the operator's learned function of a score, without its mixing of positions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from karat.attention.bases import Basis
from karat.attention.mechanisms import Mechanism, Place
from karat.attention.mechanisms._rows import keys_of, without
from karat.attention.work import Work
from karat.errors import SettingError

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Pointwise(Mechanism):
    """`s φ(x) / sqrt(N)`, with one learned function φ for each head and all pairs, and a scale s.

    A control: a learned function of scores that knows no positions, so that it serves any number
    of tokens. Source: our control, docs/decisions/0027-mechanisms.md. φ is one unit of the basis,
    started as the units of the operator are: of variance 1 for scores drawn from N(0, 1), so that
    weights have variance 1/N. Initially s is 1.

    Parameters: `(2 * G + 1) * H * L`, 252 for ViT-Tiny with `basis: fourier` and G = 3.
    """

    operator_settings: ClassVar[frozenset[str]] = frozenset({"basis", "init"})

    def __post_init__(self) -> None:
        if self.config.basis_settings.get("window") == "inputs":
            rule = "is a window over positions, which a pointwise function does not know"
            raise SettingError("window", rule, "inputs")
        # Made once, since torch.compile cannot trace how settings are checked.
        basis = self.config.make_basis() if self.config.basis else None
        object.__setattr__(self, "_basis", basis)

    @property
    def basis(self) -> Basis:
        """The family of φ."""
        found: Basis = self._basis  # type: ignore[attr-defined]
        return found

    def shapes(self, place: Place) -> Mapping[str, tuple[int, ...]]:
        one = (place.num_heads, 1, 1)
        own = self.basis.coefficient_shapes()
        return {"scale": one, **{f"phi_{name}": (*one, *shape) for name, shape in own.items()}}

    def initialise(
        self, name: str, out: Tensor, place: Place, generator: torch.Generator | None
    ) -> None:
        if name == "scale":
            out.fill_(1.0)
        else:
            self.basis.initialise(name.removeprefix("phi_"), out, self.config.init, generator)

    def activation_per_score(self, place: Place) -> int:
        return self.basis.flops_per_unit()

    def learned_work(self, place: Place) -> Work:
        from karat.attention.formulas.counting import unit_work  # it knows all bases

        work = unit_work(replace(self.config, base_activation="zero").spec, False, 1)
        if work is None:
            work = Work(functions=3.0 * self.basis.flops_per_unit())
        return work * place.num_tokens

    def weights(
        self, scores_BHNM: Tensor, keep: Tensor | None, learned: Mapping[str, Tensor]
    ) -> Tensor:
        basis = self.basis
        coefficients = basis.scaled(
            {name: learned[f"phi_{name}"] for name in basis.coefficient_shapes()}, learned["scale"]
        )
        heads_first = scores_BHNM.transpose(0, 1)
        values = basis.row_sum(heads_first.flatten(1).unsqueeze(1), coefficients)
        values_BHNM = values.view(heads_first.shape).transpose(0, 1)
        return without(values_BHNM / keys_of(scores_BHNM, keep).sqrt(), keep)
