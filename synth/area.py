# amaranth: UnusedElaboratable=no
"""The area of modules and whole networks: cells, transistors and memory bits, by Yosys.

What counts: after technology mapping by ABC, every gate with one or two inputs (``NOT``, ``AND``,
``NAND``, ``OR``, ``NOR``, ``XOR``, ``XNOR``, ``ANDNOT``, ``ORNOT``) is one cell, a 2:1 ``MUX`` is
one, and a flip-flop is one. Flip-flops are plain D flip-flops everywhere: what enables and resets
them is logic and counts as such, so that numbers compare. Transistors are what Yosys' ``stat -tech
cmos`` estimates for the same netlist. Memories stay memories: their bits are counted, their
contents never touch logic, and they are no cells.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from functools import cache
from pathlib import Path

from amaranth import Const, Module, Value, signed
from amaranth.back import rtlil
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .. import hdl
from ..hdl.arithmetic import interval, narrow, product_interval, saturate, times
from ..hdl.emit import emit_rtlil
from ..hdl.gru_layer import component
from ..hdl.network import Network
from ..hdl.piecewise_linear import PiecewisePlan
from ..hdl.schedule import check_lanes
from ..model.errors import InputError
from ..model.genome import GENES
from ..model.integer import (
    Complement,
    Dense,
    IntModel,
    Operator,
    PiecewiseLinear,
    Product,
    Sum,
    code_range,
    half,
    signed_width,
)
from . import cache as kept
from .rtlil import Design
from .yosys import Job, Progress, Tool, find, run

# No SAT sweep without a limit: on multipliers by run-time factors it does not end.
_ABC = """strash
&get -n
&fraig -x -C 100
&put
dc2
balance -l
resub -K 6 -l
rewrite -l
resub -K 6 -N 2 -l
refactor -l
resub -K 8 -l
balance -l
resub -K 8 -N 2 -l
rewrite -l
resub -K 10 -l
rewrite -z -l
resub -K 10 -N 2 -l
balance -l
resub -K 12 -l
refactor -z -l
resub -K 12 -N 2 -l
rewrite -z -l
balance -l
strash
&get -n
&dch -f
&nf
&put
"""

# Tables are case statements and shall not become memories; memories get no optimisation, since
# that would look at their contents. Enables and resets are not given to flip-flops on the way,
# because these have none in the end. What is deleted last are memories and black boxes.
_SCRIPT = """read_rtlil unit.il
hierarchy -check -top top
proc -norom
flatten
tee -q -o memory.json stat -json
memory_collect
opt_expr
opt_clean
opt -nodffe -nosdff
wreduce
peepopt
opt_clean
{multipliers}
opt -full -nodffe -nosdff
techmap
opt -nodffe -nosdff
dfflegalize -cell $_DFF_P_ 01
abc -script area.abc
opt -noff
opt_clean -purge
delete t:$mem_v2 t:n*
tee -q -o logic.json stat -json -tech cmos
"""

# Booth's encoding makes a multiplier of two variable operands smaller from about this size on,
# and one by a few slopes larger: where it applies both are tried, and the smaller counts.
_BOOTH_BITS = 6
_WIDE = f"t:$mul r:A_WIDTH>={_BOOTH_BITS} %i r:B_WIDTH>={_BOOTH_BITS} %i"
_RECIPES = {
    "array": _SCRIPT.format(multipliers=""),
    # The smaller architecture is for signed multipliers only.
    "booth": _SCRIPT.format(multipliers=f"booth -lowpower {_WIDE} r:A_SIGNED=1 %i\nbooth {_WIDE}"),
}
_MULTIPLIER = re.compile(r"cell \$mul .*?\n  end", re.DOTALL)
_WIDTHS = re.compile(r"\\[AB]_WIDTH (\d+)")
#: Modules that are synthesised before their results are kept.
_BATCH = 48


@cache
def script_hash() -> str:
    """Ten hex digits that change whenever the way of measuring does."""
    return hashlib.sha256(json.dumps([_RECIPES, _ABC]).encode()).hexdigest()[:10]


@dataclass(frozen=True)
class ModuleArea:
    """What one module costs, everything below it included.

    cells : gates and flip-flops (see the head of this file), memories excluded
    flip_flops : those of the cells that are flip-flops
    transistors : estimate for CMOS of the same cells
    memory_bits : bits of all memories
    """

    cells: int = 0
    flip_flops: int = 0
    transistors: int = 0
    memory_bits: int = 0

    def __add__(self, other: "ModuleArea") -> "ModuleArea":
        return ModuleArea(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


_FIELDS = tuple(f.name for f in fields(ModuleArea))


def _key(tool: Tool, unit: str) -> str:
    text = "\0".join((tool.version, script_hash(), unit))
    return hashlib.sha256(text.encode()).hexdigest()


def _recipes(unit: str) -> list[str]:
    """Names of the recipes that may differ on `unit`."""
    wide = any(
        min(map(int, _WIDTHS.findall(cell)), default=0) >= _BOOTH_BITS
        for cell in _MULTIPLIER.findall(unit)
    )
    return ["array", "booth"] if wide else ["array"]


def _parse(tool: Tool, outputs: dict[str, str]) -> ModuleArea:
    """From the JSON that Yosys wrote."""
    try:
        memory = json.loads(outputs["memory.json"])["design"]
        logic = json.loads(outputs["logic.json"])["design"]
        types = logic["num_cells_by_type"]
        area = ModuleArea(
            cells=int(logic["num_cells"]),
            flip_flops=int(types.get("$_DFF_P_", 0)),
            # A figure that ends in "+" left cells out, and is refused here.
            transistors=int(logic["estimated_num_transistors"]),
            memory_bits=int(memory["num_memory_bits"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{tool.version} wrote no statistic that can be read ({error})") from None
    odd = [name for name in types if not re.fullmatch(r"\$_[A-Z]+_|\$_DFF_P_", name)]
    if odd:
        raise InputError(f"{tool.version} left cells that are no gates: {' '.join(odd)[:100]}")
    return area


def _measure(units: Iterable[str], progress: Progress | None = None) -> list[ModuleArea]:
    """Area of each comparable RTLIL text (see :mod:`.rtlil`), known ones from the cache."""
    tool = find()
    keys, known, new = [], {}, {}
    for unit in units:
        key = _key(tool, unit)
        keys.append(key)
        if key in known or key in new:
            continue
        values = kept.load(key, _FIELDS)
        if values is None:
            new[key] = unit
        else:
            known[key] = ModuleArea(**values)
    todo = list(new.items())
    for start in range(0, len(todo), _BATCH):
        batch = todo[start : start + _BATCH]
        jobs, owners = [], []
        for number, (key, unit) in enumerate(batch, start + 1):
            for recipe in _recipes(unit):
                jobs.append(
                    Job(f"module {number}", {"unit.il": unit, "area.abc": _ABC}, _RECIPES[recipe],
                        ("memory.json", "logic.json"))
                )  # fmt: skip
                owners.append(key)
        if progress:
            progress(f"Yosys: {len(todo) - start} new modules of {len(known) + len(todo) - start}")
        for key, outputs in zip(owners, run(tool, jobs, progress=progress), strict=True):
            area = _parse(tool, outputs)
            best = known.get(key, area)
            known[key] = min(best, area, key=lambda a: (a.cells, a.transistors))
        for key, _ in batch:
            kept.store(key, dict(zip(_FIELDS, astuple(known[key]), strict=True)))
    return [known[key] for key in keys]


@cache
def _hardware_hash() -> str:
    """Changes whenever the code that components are made by does."""
    texts = (path.read_bytes() for path in sorted(Path(hdl.__file__).parent.glob("*.py")))
    return hashlib.sha256(b"\0".join(texts)).hexdigest()


def _identity_key(tool: Tool, part: wiring.Component) -> str | None:
    """Of the area of a component, without elaborating it; None for one that does not say what
    shapes it. A subclass has to say so itself."""
    if "identity" not in vars(type(part)):
        return None
    what = type(part).__qualname__, part.identity
    text = "\0".join((tool.version, script_hash(), _hardware_hash(), repr(what)))
    return hashlib.sha256(text.encode()).hexdigest()


#: Areas that this process has met, by identity key.
_met: dict[str, ModuleArea] = {}


def forget() -> None:
    """Forget what this process has met, so that only what is on disk is known (for benchmarks)."""
    _met.clear()


def _text(part: wiring.Component) -> str:
    """Comparable RTLIL of a component with everything below it."""
    design = Design(rtlil.convert(part, name="top", emit_src=False))
    return design.unit(design.top)


def measure(
    components: Sequence[wiring.Component], progress: Progress | None = None
) -> list[ModuleArea]:
    """Area of each component, with everything below it.

    Equal modules are synthesised once, all new ones together, and what was ever measured with the
    same Yosys and script is taken from the cache; known ones of the network's own components (see
    :func:`hdl.operator.integers_of`) are not even elaborated.
    Raises :class:`InputError` when Yosys is missing, too old or fails.
    """
    tool = find()
    keys = [_identity_key(tool, component) for component in components]
    for known in dict.fromkeys(key for key in keys if key and key not in _met):
        if (values := kept.load(known, _FIELDS)) is not None:
            _met[known] = ModuleArea(**values)
    new: dict[object, wiring.Component] = {}
    for number, (key, part) in enumerate(zip(keys, components, strict=True)):
        if key not in _met:
            new.setdefault(number if key is None else key, part)
    areas = dict(zip(new, _measure(map(_text, new.values()), progress), strict=True))
    for name, area in areas.items():
        if isinstance(name, str):
            kept.store(name, dict(zip(_FIELDS, astuple(area), strict=True)))
            _met[name] = area
    return [areas[number] if key is None else _met[key] for number, key in enumerate(keys)]


@dataclass(frozen=True)
class OperatorArea:
    """A row of the report: an operator with its parameter memories, or what stands beside them.

    name : ``layer0.w_ir`` ..., ``layer0.control``, ``layer0.state``, ``classifier`` ...
    bits : the gene, None for what has none
    """

    name: str
    bits: int | None
    area: ModuleArea


@dataclass(frozen=True)
class AreaReport:
    """The area of a network.

    rows : all operators of all layers, then what else is there; disjoint and complete
    flat : the network as one module with the borders between operators dissolved, or None
    yosys_version, script : what measured it
    """

    rows: tuple[OperatorArea, ...]
    flat: ModuleArea | None
    yosys_version: str
    script: str

    @property
    def total(self) -> ModuleArea:
        """Sum of the rows."""
        return sum((row.area for row in self.rows), ModuleArea())

    def to_json(self) -> dict[str, object]:
        """A JSON-able record: totals, and one entry per row under ``operators``."""
        values = dict(zip(_FIELDS, astuple(self.total), strict=True))
        flat = {} if self.flat is None else {
            "cells_flat": self.flat.cells, "transistors_flat": self.flat.transistors
        }  # fmt: skip
        return {
            **values,
            **flat,
            "yosys": self.yosys_version,
            "yosys_script": self.script,
            "operators": [
                {"name": row.name, "bits": row.bits,
                 **dict(zip(_FIELDS, astuple(row.area), strict=True))}
                for row in self.rows
            ],
        }  # fmt: skip


def _parts(
    model: IntModel, lanes_x: int, lanes_h: int
) -> list[tuple[str, int | None, list[wiring.Component]]]:
    """Rows of a network: name, gene, and the components whose areas add up to it. Together they
    hold all of its logic and memories, each once."""
    network = Network(model, lanes_x, lanes_h)
    rows: list[tuple[str, int | None, list[wiring.Component]]] = []
    for number, (layer, genes) in enumerate(zip(network.layers, model.genome.layers, strict=True)):
        parts = layer.parts()
        for gene, bits in zip(GENES, genes, strict=True):
            # The operator, and its memories where it has some.
            own = [name for name in parts if name == gene or name.startswith(f"{gene}_")]
            rows.append((f"layer{number}.{gene}", bits, [parts.pop(name) for name in own]))
        rows += [(f"layer{number}.{name}", None, [part]) for name, part in parts.items()]
    return [*rows, ("classifier", None, [network.classifier]), ("fork", None, [network.fork])]


def area_report(
    model: IntModel,
    lanes_x: int = 1,
    lanes_h: int = 1,
    *,
    flat: bool = True,
    progress: Progress | None = None,
) -> AreaReport:
    """Measure the network of `model`: a row for each operator of each layer, and for the rest.

    An operator's row holds its datapath and its parameter memories. ``control`` is a layer's
    sequencer, ``state`` its memory with the old state that waits for its unit. The sum is built
    from modules synthesised apart; with `flat` the whole is synthesised as one module too.
    Raises :class:`InputError` for impossible lanes, or when Yosys is missing, too old or fails.
    """
    tool = find()
    lanes_x, lanes_h = check_lanes(lanes_x, "lanes_x"), check_lanes(lanes_h, "lanes_h")
    parts = _parts(model, lanes_x, lanes_h)
    areas = iter(measure([part for _, _, own in parts for part in own], progress))
    rows = tuple(
        OperatorArea(name, bits, sum((next(areas) for _ in own), ModuleArea()))
        for name, bits, own in parts
    )
    whole = None
    if flat:
        design = Design(emit_rtlil(model, lanes_x, lanes_h))
        whole = _measure([design.unit(design.top)], progress)[0]
    return AreaReport(rows, whole, tool.version, script_hash())


def prepare(cases: Iterable[tuple[IntModel, int, int]], progress: Progress | None = None) -> None:
    """Measure all new modules of many networks, (model, lanes_x, lanes_h) each, together.

    Afterwards :func:`area_report` with ``flat=False`` finds everything in the cache.
    """
    measure([part for case in cases for _, _, own in _parts(*case) for part in own], progress)


def as_built(op: Operator) -> wiring.Component:
    """The component of an element-wise operator; a piecewise-linear unit in the form that a network
    of few lanes gives it, serial where that is smaller
    (:class:`~genogate.hdl.schedule.Schedule`)."""
    serial = PiecewisePlan.of(op).digits[-1] if isinstance(op, PiecewiseLinear) else 0
    return component(op, digit=serial)


def cheapest(groups: Sequence[Sequence[Operator]], progress: Progress | None = None) -> list[int]:
    """For each group of activation units, the index of the one with the fewest cells.

    They are measured :func:`as_built`. Fewer transistors decide between equals, then the order.
    All that is new in any group is synthesised together. A group of one needs no Yosys.
    """
    contested = [op for group in groups if len(group) > 1 for op in group]
    areas = iter(measure([as_built(op) for op in contested], progress) if contested else [])
    costs = [[next(areas) for _ in group] if len(group) > 1 else [ModuleArea()] for group in groups]
    return [min(range(len(row)), key=lambda k: (row[k].cells, row[k].transistors)) for row in costs]


class _Scaling(wiring.Component):
    """``o = sat((sum_k m_k v_k + constant) >> shift)``: the requantiser of an operator alone.

    Parameters
    ----------
    values : bounds of each operand v_k
    multipliers : constants m_k >= 0, or None for ports of 16 bits, unsigned
    """

    def __init__(
        self,
        values: Sequence[tuple[int, int]],
        multipliers: Sequence[int] | None,
        *,
        constant: int,
        shift: int,
        out_bits: int,
    ) -> None:
        self.values, self.multipliers = values, multipliers
        self.constant, self.shift, self.out_bits = constant, shift, out_bits
        members = {f"v{k}": In(signed(signed_width(*v))) for k, v in enumerate(values)}
        if multipliers is None:
            members |= {f"m{k}": In(16) for k in range(len(values))}
        super().__init__({**members, "o": Out(signed(out_bits))})

    def elaborate(self, platform) -> Module:
        m = Module()
        total: Value = Const(self.constant)
        low = high = self.constant
        for k, bounds in enumerate(self.values):
            value = getattr(self, f"v{k}")
            if self.multipliers is None:
                total = total + value * getattr(self, f"m{k}")
                least, greatest = product_interval(bounds, (0, (1 << 16) - 1))
            else:
                total = total + times(value, self.multipliers[k])
                least, greatest = interval(self.multipliers[k], *bounds)
            low, high = low + least, high + greatest
        whole = narrow(m, "whole", total, low, high)
        low, high = low >> self.shift, high >> self.shift
        code = narrow(m, "code", whole >> self.shift, low, high)
        m.d.comb += self.o.eq(saturate(code, low, high, self.out_bits))
        return m


def _scalings(op: Operator) -> list[_Scaling]:
    """The requantiser of `op` with its constants, and with factors of 16 bits at run time."""
    if isinstance(op, Dense):
        values, factors, offset = [(op.acc_min, op.acc_max)], [op.multiplier], 0
    elif isinstance(op, Product):
        a, b = (
            (code_range(bits)[0] - zero, code_range(bits)[1] - zero)
            for bits, zero in ((op.a_bits, op.a_zero_point), (op.b_bits, op.b_zero_point))
        )
        values, factors, offset = [product_interval(a, b)], [op.multiplier], 0
    elif isinstance(op, Sum):
        # Zero points go into the constant; at run time they would need another port.
        values, factors = [code_range(op.a_bits), code_range(op.b_bits)], []
        factors = [op.multiplier_a, op.multiplier_b]
        offset = -op.multiplier_a * op.a_zero_point - op.multiplier_b * op.b_zero_point
    elif isinstance(op, Complement):
        low, high = code_range(op.a_bits)
        # The sign of 1 - a costs an inversion on either side; what is compared is the factor.
        values, factors, offset = [(-high, -low)], [op.multiplier], op.one
        offset += op.multiplier * op.a_zero_point
    else:
        return []
    constant = offset + half(op.shift) + (op.zero_point << op.shift)
    # A factor that is a power of two lets the constant go into the bias of a dense operator.
    factor = max(factors)
    folded = 0 if isinstance(op, Dense) and factor & (factor - 1) == 0 else constant
    # At run time a factor uses all of its 16 bits.
    more = 16 - factor.bit_length()
    return [
        _Scaling(values, factors, constant=folded, shift=op.shift, out_bits=op.out_bits),
        _Scaling(values, None, constant=constant << more if more > 0 else constant >> -more,
                 shift=max(0, op.shift + more), out_bits=op.out_bits),
    ]  # fmt: skip


def runtime_multiplier_cells(
    model: IntModel, lanes_x: int = 1, lanes_h: int = 1, progress: Progress | None = None
) -> tuple[int, int]:
    """Cells of the network, and of the same with requantisers that take 16-bit factors at run time.

    The first is the sum of :func:`area_report`. For the second, each operator's requantiser is
    measured alone twice, with its constants and with ports of 16 bits in their place, and the
    difference is added; registers or memories that would hold the factors are not counted.
    """
    constant = area_report(model, lanes_x, lanes_h, flat=False, progress=progress).total.cells
    pairs = [part for layer in model.layers for op in layer.ops.values() for part in _scalings(op)]
    areas = measure(pairs, progress)
    return constant, constant + sum(
        runtime.cells - fixed.cells for fixed, runtime in zip(areas[::2], areas[1::2], strict=True)
    )
