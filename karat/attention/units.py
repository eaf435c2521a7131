"""Units: tables of learnable functions of one variable, summed over their inputs."""

import math

import torch
from torch import Tensor, nn

from karat.attention.base_activations import BASE_ACTIVATIONS
from karat.attention.bases import LinearBasis
from karat.attention.initialization import fan_in
from karat.attention.kernels import Task
from karat.attention.kernels._features import feature_weights
from karat.attention.operator_config import OperatorConfig


class Units(nn.Module):
    """Φ: for each of P operators a table of R x M functions of one variable, summed over M.

    `Φ(x)_r = sum_m scale_rm φ_rm(x_m) + base_scale_rm b(x_m)`. Source: arXiv 2503.10632,
    Section 3. With `base_activation: zero` the base scale is frozen and has no effect; it exists
    so that the number of parameters agrees with the paper. With `unit_scales: false` the base is
    added without a scale, so that `fan_in` cannot limit its size.

    Args:
        config: settings of the operator.
        shape: P, R, M.
        generator: random generator for the initial weights.
        gain: factor of the initial functions, for `init: fan_in`.
    """

    def __init__(
        self,
        config: OperatorConfig,
        shape: tuple[int, int, int],
        generator: torch.Generator | None,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.basis_name, self.basis = str(config.basis), config.make_basis()
        self.base_activation: str = config.base_activation
        self.num_operators, self.num_outputs, _ = shape
        self.spec = config.spec
        self.coefficients = nn.ParameterDict(
            {
                name: nn.Parameter(torch.empty(*shape, *own))
                for name, own in self.basis.coefficient_shapes().items()
            }
        )
        has_base = config.base_activation != "zero"
        self.scale = nn.Parameter(torch.ones(shape)) if config.unit_scales else None
        self.base_scale = (
            nn.Parameter(torch.ones(shape), requires_grad=has_base) if config.unit_scales else None
        )
        self._start(config, generator, gain)

    @torch.no_grad()
    def _start(
        self, config: OperatorConfig, generator: torch.Generator | None, gain: float
    ) -> None:
        if next(iter(self.coefficients.values())).is_meta:
            return  # nothing to fill; random numbers on meta would make torch load its compiler
        for name, coefficient in self.coefficients.items():
            self.basis.initialise(name, coefficient, config.init, generator)
        if config.init == "paper":
            return
        base = BASE_ACTIVATIONS[config.base_activation]
        if base is not None and self.base_scale is not None:
            gain /= math.sqrt(2.0)  # half of the variance for the basis, half for the base
            std = gain * fan_in(self.base_scale.shape[2], base)
            self.base_scale.normal_(0.0, std, generator=generator)
        some = next(iter(self.coefficients.values()))
        scaled = self.basis.scaled(
            dict(self.coefficients.items()), some.new_full(some.shape[:3], gain)
        )
        for name, coefficient in self.coefficients.items():
            coefficient.copy_(scaled[name])

    def forward(self, scores_PML: Tensor, keep_PML: Tensor | None = None) -> Tensor:
        """Φ of every row of scores, shape (P, R, L); masked inputs (keep 0) are left out."""
        dtype = scores_PML.dtype
        coefficients = {name: value.to(dtype) for name, value in self.coefficients.items()}
        if self.scale is not None:
            coefficients = self.basis.scaled(coefficients, self.scale.to(dtype))
        total = self.basis.row_sum(scores_PML, coefficients, keep_PML)
        base = BASE_ACTIVATIONS[self.base_activation]
        if base is None:
            return total
        base_PML: Tensor = base(scores_PML)
        if keep_PML is not None:
            base_PML = base_PML * keep_PML
        if self.base_scale is None:
            return total + base_PML.sum(1, keepdim=True)
        return total + self.base_scale.to(dtype) @ base_PML

    def feature_weights(self, dtype: torch.dtype) -> Tensor:
        """The weight of each feature in each unit, the base activation last, shape (P, R, F, M).

        Only for a `LinearBasis`.
        """
        coefficients = [self.coefficients[name] for name in self.basis.coefficient_shapes()]
        weights = feature_weights(coefficients, self.scale, self.base_scale, self.spec)
        return weights.to(dtype)

    def task(self, q_BHND: Tensor) -> Task:
        """The description of the computation for a kernel, with these queries."""
        features = 0
        if isinstance(self.basis, LinearBasis):
            features = sum(value.shape[3] for value in self.coefficients.values())
        return Task(
            basis=self.basis_name,
            features=features,
            base_activation=self.base_activation,
            outputs=self.num_outputs,
            head_dim=q_BHND.shape[-1],
            dtype=str(q_BHND.dtype),
            device=q_BHND.device.type,
            has_formula=self.basis.has_formula,
            spec=self.spec,
        )
