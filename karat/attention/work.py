"""An amount of arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

IN_REGISTERS = 0.45
"""Time of a multiply-add of numbers in registers, where one in a product of matrices takes 1."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """Multiply-adds of learned functions in a training step, forward and backward.

    Args:
        products: of sums over features, which read a weight for each.
        functions: of features and units, in registers.
    """

    products: float = 0.0
    functions: float = 0.0

    @property
    def total(self) -> float:
        return self.products + self.functions

    @property
    def as_products(self) -> float:
        """The multiply-adds of products that take as long."""
        return self.products + IN_REGISTERS * self.functions

    def __add__(self, other: Work) -> Work:
        return Work(
            products=self.products + other.products, functions=self.functions + other.functions
        )

    def __mul__(self, times: float) -> Work:
        return Work(products=times * self.products, functions=times * self.functions)
