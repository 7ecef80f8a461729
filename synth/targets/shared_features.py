"""Machines that several operators share, for the models of :mod:`.prices` on sky130: the machine of
``--share gates``. That of ``--share all`` has its features in :mod:`..estimate`.

Their coefficients are fitted by :mod:`.fit_shared`.
"""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from ...hdl.diagram import Diagram
from ...hdl.gru.gates.plan import Shape
from ...model.quantize.scales import signed_digits

Identity = tuple[Any, ...]
#: What an identity of a machine of shared gates lists.
_SHAPE = tuple(field.name for field in fields(Shape))


def _gates(i: Identity) -> list[float]:
    facts = dict(zip(_SHAPE, i[1:], strict=True))
    codes = [step for step in facts["steps"] if step.kind == "code"]
    factors = [f for step in codes for f in (step.factor_a, step.factor_b) if f]
    lanes, operand = facts["lanes"], max(facts["in_bits"], facts["state_bits"])
    return [
        1,
        lanes * facts["weight_bits"] * operand,
        lanes * (facts["in_bits"] + facts["state_bits"]),
        facts["weight_bits"],
        facts["acc_bits"],
        facts["channel_bits"] * facts["value_bits"],
        facts["multiplicand"],
        facts["multiplier"],
        facts["total_bits"],
        facts["value_bits"],
        sum(Diagram(table, 8).size for _, table in facts["looks"]),
        sum(len(plan.slopes) for _, plan in facts["pieces"]),
        sum(signed_digits(abs(factor)) for factor in factors),
        sum(step.bits for step in codes),
        len({step.shift for step in codes}),
        sum((n - 1).bit_length() for n in (facts["inputs"], facts["hidden"])),
    ]


#: Features of each kind.
FEATURES: dict[str, Callable[[Identity], list[float]]] = {"GatesMachine": _gates}
#: Kinds of machines, whose models are fitted apart from those of other parts.
MACHINES = ("GatesMachine", "Machine")
