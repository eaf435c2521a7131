"""The mechanisms that are computed by the operator (`karat.attention.operator`)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from karat.attention.mechanisms import Mechanism, Place
from karat.attention.operator_config import FULL, OperatorConfig
from karat.attention.work import Work

if TYPE_CHECKING:
    import torch

    from karat.attention.operator import Operator


class OperatorMechanism(Mechanism):
    """A mechanism whose module is an `Operator`, with the kernels of `attention.kernel`."""

    any_tokens: ClassVar[bool] = False

    def of_operator(self) -> OperatorConfig:
        """The settings of the operator that computes this mechanism."""
        return self.config

    def parameters(self, place: Place) -> int:
        """Tables of units, W and the output scale of each operator of a block."""
        config, tokens = self.of_operator(), place.num_tokens
        unit = sum(math.prod(shape) for shape in config.make_basis().coefficient_shapes().values())
        unit += 2 if config.unit_scales else 0
        table = config.outputs(tokens) * tokens
        found = table * unit
        if config.rank != FULL:  # plus a second table of units (phi_phi) or W
            found += table * unit if config.operator_order == "phi_phi" else table
        return config.operators(place.num_heads) * (found + (config.output_scale == "learned"))

    def activation_per_score(self, place: Place) -> int:
        """R units, twice as many in `phi_phi`."""
        config = self.of_operator()
        times = 2 if config.operator_order == "phi_phi" else 1
        return times * config.outputs(place.num_tokens) * config.make_basis().flops_per_unit()

    def operations_per_row(self, place: Place) -> int:
        """The scores, and the products with W and V, in the order in which they are computed."""
        config, tokens, width = self.of_operator(), place.num_tokens, place.head_dim
        rank, scores = config.outputs(tokens), tokens * width
        if config.rank == FULL or config.operator_order == "phi_phi":
            return scores + tokens * width
        if config.operator_order == "phi_w" or place.is_masked:
            return scores + rank * tokens + tokens * width
        return scores + 2 * rank * width

    def learned_work(self, place: Place) -> Work:
        """All units for a row of scores, of both tables in `phi_phi`."""
        config, tokens = self.of_operator(), place.num_tokens
        rank = config.outputs(tokens)
        # Where rows go on to something else than a product with values, autograd keeps them.
        again, kept = 4, 3
        last = again if config.projection == "none" else kept
        if config.operator_order == "phi_w":
            return _table_work(config, rank, tokens, last)
        if config.operator_order == "phi_phi":
            first = _table_work(config, tokens, rank, kept)
            return first + _table_work(config, rank, tokens, last)
        return _table_work(config, tokens, rank, last)

    def step_operations(self, place: Place) -> float:
        """As the kernels compute it; with a mask or a bias as autograd does.

        Scores are computed twice, and gradients of queries and keys. The product of rows and values is
        one of R x D numbers, or of N x D where rows are the weights, and has two gradients.
        """
        if place.is_masked or place.has_bias:
            return super().step_operations(place)
        config, tokens, width = self.of_operator(), place.num_tokens, place.head_dim
        scores, narrow = tokens * width, config.outputs(tokens) * width
        work = self.learned_work(place).total
        if config.operator_order == "phi_w":  # W K and its gradients, and R scores
            return 7 * narrow + 3 * scores + work
        if config.rank == FULL or config.operator_order == "phi_phi":
            return 7 * scores + work
        return 4 * scores + 7 * narrow + work

    def make(self, place: Place, generator: torch.Generator | None) -> Operator:
        """The operators at a place."""
        from karat.attention.operator import Operator  # loads torch

        config = self.of_operator()
        operators = config.operators(place.num_heads)
        return Operator(config, operators, place.num_tokens, generator)


def _table_work(config: OperatorConfig, inputs: int, outputs: int, sums: int) -> Work:
    from karat.attention.formulas.counting import unit_work  # it knows all bases

    work = unit_work(config.spec, config.unit_scales, outputs, sums)
    if work is None:  # no formula: as much as the basis says, and twice as much backward
        work = Work(functions=3.0 * outputs * config.make_basis().flops_per_unit())
    return work * inputs
