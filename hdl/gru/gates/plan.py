"""What a layer with shared gates does for a unit, step by step, and the constants of each step.

One multiply-accumulate makes the sums of all dense operators, one serial multiplier the products
and the slopes of linear pieces, one requantiser everything else::

    code = sat(((m_a A + m_b B + constant) >> shift) >> channel)

with A the accumulator, the product or a code. Which operator it is decides where A and B come from,
and the constants. :mod:`genogate.sim.golden` is the law.
"""

from dataclasses import dataclass
from typing import Any

from ....model.integer import (
    Complement,
    Dense,
    Layer,
    Operator,
    PiecewiseLinear,
    Product,
    Sum,
    Table,
    code_range,
    half,
    signed_width,
)
from ...arithmetic import interval, product_interval, trailing_zeros
from ...dense import Accumulation, Folded
from ...piecewise_linear import PiecewisePlan
from ...product import ProductPlan
from ...sum import SumPlan
from ..shared.order import ORDER


@dataclass(frozen=True)
class Step:
    """One operator's turn at a unit.

    kind : ``sum`` (accumulate a word a cycle), ``multiply`` (a bit a cycle), ``code`` (requantise),
        ``look`` (a table), ``read`` (the old state of the unit), ``emit``
    name : of the operator
    a, b : where the operands come from, ``acc product t0 t1 t2``, or ""
    factor_a, factor_b, constant, shift : of a ``code``
    rests : what a dense operator adds besides, by channel
    zeros : of a ``multiply``: zero points of its operands
    bits, target : width of a result and the register that gets it
    low, high : of what is shifted
    """

    kind: str
    name: str = ""
    a: str = ""
    b: str = ""
    factor_a: int = 0
    factor_b: int = 0
    constant: int = 0
    shift: int = 0
    rests: tuple[tuple[int, int], ...] = ()
    zeros: tuple[int, int] = (0, 0)
    bits: int = 0
    target: str = ""
    low: int = 0
    high: int = 0


def look_up(op: Operator) -> tuple[int, ...] | None:
    """The codes of an activation that is logic alone; None for one that is made of pieces."""
    if isinstance(op, Table):
        return tuple(op.table.tolist())
    assert isinstance(op, PiecewiseLinear)
    diagram = PiecewisePlan.of(op).diagram()
    return diagram[0] if diagram else None


def steps_of(layer: Layer) -> list[Step]:
    """The steps of a unit, in order."""
    steps: list[Step] = []
    for name, sources, target in ORDER:
        if name == "p_zh":
            steps.append(Step("read", bits=layer.bits("h"), target="t1"))
        steps += _operator(name, layer.ops[name], sources, target or "t0")
    return [*steps, Step("emit")]


def _dense(op: Dense, source: str, common: dict[str, Any]) -> list[Step]:
    """The sum of products, and its requantisation."""
    folded = Folded.of(op)
    need = Accumulation.of(op.weight, folded.biases, op.in_bits, op.weight_bits, 1)
    low, high = interval(folded.factor, need.low, need.high)
    return [
        Step("sum", common["name"], source),
        Step(
            "code",
            a="acc",
            factor_a=folded.factor,
            shift=folded.shift,
            rests=tuple(folded.rest.items()),
            low=low,
            high=high + max(folded.rest.values()),
            **common,
        ),
    ]


def _product(op: Product, sources: tuple[str, ...], common: dict[str, Any]) -> list[Step]:
    """The product of two codes, and its requantisation."""
    plan = ProductPlan.of(op)
    ends = product_interval(plan.bounds["a"], plan.bounds["b"])
    low, high = (end * plan.factor + plan.constant for end in ends)
    zeros = (op.a_zero_point, op.b_zero_point)
    return [
        Step("multiply", common["name"], sources[0], sources[1], zeros=zeros),
        Step(
            "code",
            a="product",
            factor_a=plan.factor,
            constant=plan.constant,
            shift=plan.shift,
            low=low,
            high=high,
            **common,
        ),
    ]


def _operator(name: str, op: Any, sources: tuple[str, ...], target: str) -> list[Step]:
    common: dict[str, Any] = {"name": name, "bits": op.out_bits, "target": target}
    if isinstance(op, Dense):
        return _dense(op, sources[0], common)
    if isinstance(op, Sum):
        plan = SumPlan.of(op)
        low_a, high_a = interval(plan.m_a, *code_range(plan.a_bits))
        low_b, high_b = interval(plan.m_b, *code_range(plan.b_bits))
        c = plan.constant
        bounds: dict[str, Any] = {"low": low_a + low_b + c, "high": high_a + high_b + c}
        given: dict[str, Any] = {
            "factor_a": plan.m_a,
            "factor_b": plan.m_b,
            "constant": c,
            "shift": plan.shift,
        }
        return [Step("code", a=sources[0], b=sources[1], **given, **bounds, **common)]
    if isinstance(op, Complement):
        lost = min(trailing_zeros(op.multiplier), op.shift)
        c = op.one + op.multiplier * op.a_zero_point + half(op.shift) + (op.zero_point << op.shift)
        factor, c = -(op.multiplier >> lost), c >> lost
        low, high = interval(factor, *code_range(op.a_bits))
        given = {"factor_a": factor, "constant": c, "shift": op.shift - lost}
        return [Step("code", a=sources[0], low=low + c, high=high + c, **given, **common)]
    if isinstance(op, Product):
        return _product(op, sources, common)
    if look_up(op) is not None:
        return [Step("look", a=sources[0], **common)]
    pieces = PiecewisePlan.of(op)
    totals = pieces.totals()
    bounds = {"low": int(totals.min()), "high": int(totals.max())}
    # The intercept of the piece is added to the constant.
    return [
        Step("multiply", name, sources[0]),
        Step("code", a="product", factor_a=1, shift=pieces.shift, **bounds, **common),
    ]


@dataclass(frozen=True)
class Shape:
    """All that shapes the machine of a layer: widths, steps, and what activations are.

    inputs, hidden, lanes : sizes; words_x, words_h : words of a vector
    in_bits, state_bits, zero : of the codes, and of the state's zero
    weight_words : words of weights of a unit
    weight_bits, bias_bits, channel_bits, acc_bits : of the widest of the dense operators
    multiplicand, multiplier, product_bits : widths of the serial multiplier
    total_bits, value_bits : of the requantiser, before and after the shift
    given : whether the state before a sequence is in a memory of its own
    looks : name -> codes; pieces : name -> :class:`PiecewisePlan`
    """

    inputs: int
    hidden: int
    lanes: int
    in_bits: int
    state_bits: int
    zero: int
    weight_words: int
    weight_bits: int
    bias_bits: int
    channel_bits: int
    acc_bits: int
    multiplicand: int
    multiplier: int
    total_bits: int
    value_bits: int
    looks: tuple[tuple[str, tuple[int, ...]], ...]
    pieces: tuple[tuple[str, PiecewisePlan], ...]
    steps: tuple[Step, ...]
    classified: bool
    given: bool = False

    @classmethod
    def of(cls, layer: Layer, lanes: int, classified: bool) -> "Shape":
        """The least that does what the layer's operators need."""
        steps = steps_of(layer)
        codes = [step for step in steps if step.kind == "code"]
        dense = {n: layer.dense(n) for n, *_ in ORDER if isinstance(layer.ops[n], Dense)}
        folded = {name: Folded.of(op) for name, op in dense.items()}
        acc = [
            Accumulation.of(op.weight, folded[n].biases, op.in_bits, op.weight_bits, 1).width
            for n, op in dense.items()
        ]
        looks, pieces = {}, {}
        for name, op in layer.ops.items():
            if isinstance(op, Table | PiecewiseLinear):
                table = look_up(op)
                if table is not None:
                    looks[name] = table
                else:
                    assert isinstance(op, PiecewiseLinear)
                    pieces[name] = PiecewisePlan.of(op)
        first, second = [2], [2]  # operands of the multiplier
        for op in layer.ops.values():
            if isinstance(op, Product):
                bounds = ProductPlan.of(op).bounds
                first.append(signed_width(*bounds["a"]))
                second.append(signed_width(*bounds["b"]))
        for plan in pieces.values():
            first.append(plan.in_bits)
            second.append(plan.width + (not plan.negative))
        return cls(
            layer.input_size,
            layer.hidden_size,
            lanes,
            layer.in_bits,
            layer.bits("h"),
            layer.state_zero_point,
            sum(-(-op.weight.shape[1] // lanes) for op in dense.values()),
            max(op.weight_bits for op in dense.values()),
            max(signed_width(min(f.biases), max(f.biases)) for f in folded.values()),
            max(max(f.channels).bit_length() for f in folded.values()),
            max(acc),
            max(first),
            max(second),
            max(signed_width(step.low, step.high) for step in codes),
            max(signed_width(step.low >> step.shift, step.high >> step.shift) for step in codes),
            tuple(looks.items()),
            tuple(pieces.items()),
            tuple(steps),
            classified,
            layer.initial_state is not None,
        )

    def words(self, side: str) -> int:
        """Words of a vector, ``x`` or ``h``."""
        return -(-(self.inputs if side == "x" else self.hidden) // self.lanes)

    def cycles(self, step: Step) -> int:
        """Cycles of a step, no output stalling."""
        if step.kind == "sum":
            return self.words(step.a) + 1
        return {"multiply": self.multiplier + 1, "read": 2}.get(step.kind, 1)

    @property
    def unit_cycles(self) -> int:
        """Cycles of a unit, the one in which it leaves included."""
        return sum(self.cycles(step) for step in self.steps)
