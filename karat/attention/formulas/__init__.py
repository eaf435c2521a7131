"""What a basis computes for one score, as expressions; their derivatives, and the code made of them.

A basis states its function once, in `LinearBasis.terms` or `UnitBasis.unit`. torch runs that
statement as it is. Everything else comes from the expressions that it leaves in a trace: the
derivatives of blocks without autograd (`in_torch`), the C++ of the compiled kernel (`in_cpp`) and the
functions of the Triton kernels (`in_triton`).
"""

from karat.attention.formulas.programs import Program, Shared, Unit, program_of

__all__ = ["Program", "Shared", "Unit", "program_of"]
