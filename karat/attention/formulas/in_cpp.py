"""C++ of a program: a `karat::Basis` (see `kernels/native/basis.h`), as one source file."""

from collections.abc import Iterable, Mapping

from karat.attention.formulas.expressions import COMPARISONS, Value, in_order, needed
from karat.attention.formulas.programs import Program, Shared, Unit

FORMS = {
    "add": "{} + {}",
    "sub": "{} - {}",
    "mul": "{} * {}",
    "div": "{} / {}",
    "neg": "-{}",
    "less": "{} < {}",
    "less_equal": "{} <= {}",
    "both": "{} & {}",
    "negation": "~{}",
}
CALLS = {
    "abs": "absolute",
    "sign": "signum",
    "exp": "exponential",
    "sin": "sine",
    "cos": "cosine",
    "tanh": "hyperbolic_tangent",
    "sigmoid": "sigmoid",
    "erf": "error_function",
    "floor": "floor_of",
    "maximum": "maximum",
    "where": "select",
}


def source_of(program: Program) -> str:
    """The source of the library of a basis."""
    return "\n".join(
        [
            '#include "basis.h"',
            "",
            "using namespace karat;",
            "",
            *(_shared(program.shared) if program.shared else ()),
            *(_unit(program.unit) if program.unit else ()),
            *_table(program),
            "",
        ]
    )


def _table(program: Program) -> list[str]:
    shared, unit = program.shared, program.unit
    open_slopes = shared is not None and shared.closed is None
    entries = [
        "kBasisVersion",
        "kLanes",
        str(len(shared.terms) if shared else 0),
        str(len(unit.coefficients) if unit else 0),
        str(int(program.has_base)),
        "write_features" if shared else "nullptr",
        "write_slopes" if open_slopes else "nullptr",
        "closed_slopes" if shared and shared.closed else "nullptr",
        "add_units<Unit>" if unit else "nullptr",
        "pull_units<Unit>" if unit else "nullptr",
    ]
    return [f'extern "C" const Basis karat_basis = {{{", ".join(entries)}}};']


def _shared(shared: Shared) -> list[str]:
    count = len(shared.terms)
    lines = [_head("write_features")]
    stores = {_feature(f, count): value for f, value in enumerate(shared.terms)}
    lines += [*_loop({shared.x: "vector_at(scores + m * tile + i)"}, stores), "}", ""]
    if shared.closed is not None:
        numbers = ", ".join(_number(each) for row in shared.closed for each in row)
        return [*lines, f"static const float closed_slopes[] = {{{numbers}}};", ""]
    loads = {each: f"vector_at({_feature(f, count)})" for f, each in enumerate(shared.known)}
    stores = {_feature(f, count): value for f, value in enumerate(shared.slopes)}
    return [
        *lines,
        _head("write_slopes"),
        *_loop({shared.x: "vector_at(scores + m * tile + i)", **loads}, stores),
        "}",
        "",
    ]


def _head(name: str) -> str:
    return (
        f"static void {name}(const float* scores, float* features, int64_t keys, int64_t tile) {{"
    )


def _feature(number: int, count: int) -> str:
    return f"features + (m * {count} + {number}) * tile + i"


def _loop(loads: Mapping[Value, str], stores: Mapping[str, Value]) -> list[str]:
    used = {each.index for each in in_order(stores.values())}
    code = _Code()
    for value, load in loads.items():
        if value.index in used:
            code.define(value, load)
    code.evaluate(stores.values())
    return [
        "  for (int64_t m = 0; m < keys; ++m)",
        "    for (int64_t i = 0; i < tile; i += kLanes) {",
        *(f"      {line}" for line in code.lines),
        *(f"      vector_at({place}) = wide({code.name(each)});" for place, each in stores.items()),
        "    }",
    ]


def _unit(unit: Unit) -> list[str]:
    before = _Code(scalar=True)
    for i, each in enumerate(unit.coefficients):
        before.define(each, f"c[{i}]")
    before.evaluate(unit.prepared)
    kept = {each.index: f"kept{i}" for i, each in enumerate(unit.prepared)}
    return [
        "struct Unit {",
        f"  static constexpr int kCoefficients = {len(unit.coefficients)};",
        f"  static constexpr int kSums = {len(unit.parts)};",
        *(f"  {_type(each, scalar=True)} {kept[each.index]};" for each in unit.prepared),
        "",
        "  explicit Unit(const float* c) {",
        *(f"    {line}" for line in before.lines),
        *(f"    {kept[each.index]} = {before.name(each)};" for each in unit.prepared),
        "  }",
        "",
        "  Floats value(const Floats& x) const {",
        *_body(unit, kept, {"return": unit.value}, above=False),
        "  }",
        "",
        "  void pull(const Floats& x, const Floats& above, Floats& value, Floats& slope,",
        "            Floats* sums) const {",
        *_body(
            unit,
            kept,
            {
                "value =": unit.value,
                "slope =": unit.by_score,
                **{f"sums[{i}] +=": each for i, each in enumerate(unit.by_parts)},
            },
            above=True,
        ),
        "  }",
        "",
        "  void add_gradients(const float* c, const float* sums, float* into) const {",
        *_after(unit),
        "  }",
        "};",
        "",
    ]


def _body(unit: Unit, kept: Mapping[int, str], uses: Mapping[str, Value], above: bool) -> list[str]:
    code = _Code(scalars=kept)
    code.define(unit.x, "x")
    if above:
        code.define(unit.above, "above")
    code.evaluate(uses.values())
    return [
        *(f"    {line}" for line in code.lines),
        *(f"    {place} wide({code.name(each)});" for place, each in uses.items()),
    ]


def _after(unit: Unit) -> list[str]:
    code = _Code(scalar=True)
    used = {each.index for each in in_order(unit.by_coefficients)}
    for name, inputs in (("c", unit.coefficients), ("sums", unit.sums)):
        for i, each in enumerate(inputs):
            if each.index in used:
                code.define(each, f"{name}[{i}]")
    code.evaluate(unit.by_coefficients)
    return [
        *(f"    {line}" for line in code.lines),
        *(f"    into[{i}] += {code.name(each)};" for i, each in enumerate(unit.by_coefficients)),
    ]


class _Code:
    """Statements that compute expressions, each once.

    Args:
        scalar: everything is one float, not a vector.
        scalars: names of expressions that are one float among vectors.
    """

    def __init__(self, scalar: bool = False, scalars: Mapping[int, str] | None = None) -> None:
        self.lines: list[str] = []
        self._scalar, self._scalars = scalar, dict(scalars or {})
        self._names: dict[int, str] = dict(self._scalars)
        self._angles: dict[int, str] = {}

    def name(self, value: Value) -> str:
        return _number(value.constant) if value.constant is not None else self._names[value.index]

    def define(self, value: Value, expression: str) -> None:
        self._names[value.index] = f"v{value.index}"
        kind = _type(value, scalar=self._scalar)
        self.lines.append(f"const {kind} v{value.index} = {expression};")

    def evaluate(self, values: Iterable[Value]) -> None:
        todo = needed(values, self._names)
        both = _angles_of(todo, "sin") & _angles_of(todo, "cos")
        for value in todo:
            if value.constant is not None:
                continue
            if value.op in ("sin", "cos") and value.args[0].index in both:
                self._names[value.index] = self._of_both(value)
            elif value.op == "given":
                self._names[value.index] = self.name(value.args[0])
            else:
                self.define(value, self._expression(value))

    def _expression(self, value: Value) -> str:
        if value.op in FORMS:
            names = [self.name(each) for each in value.args]
            if value.op == "negation" and self._scalar:
                return f"!{names[0]}"
            return FORMS[value.op].format(*names)
        names = [self._argument(each) for each in value.args]
        return f"{CALLS[value.op]}({', '.join(names)})"

    def _argument(self, value: Value) -> str:
        name = self.name(value)
        return name if self._scalar or _is_truth(value) else f"wide({name})"

    def _of_both(self, value: Value) -> str:
        (arg,) = value.args
        if arg.index not in self._angles:
            own, kind = str(arg.index), "float" if self._scalar else "Floats"
            self._angles[arg.index] = own
            self.lines.append(f"{kind} s{own}, c{own};")
            self.lines.append(f"sine_and_cosine({self._argument(arg)}, s{own}, c{own});")
        return f"{value.op[0]}{self._angles[arg.index]}"


def _angles_of(values: Iterable[Value], op: str) -> set[int]:
    return {value.args[0].index for value in values if value.op == op}


def _is_truth(value: Value) -> bool:
    return value.op in COMPARISONS


def _type(value: Value, scalar: bool) -> str:
    if scalar:
        return "bool" if _is_truth(value) else "float"
    return "Integers" if _is_truth(value) else "Floats"


def _number(value: float) -> str:
    return f"({value!r}f)" if value < 0 else f"{value!r}f"
