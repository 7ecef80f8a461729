# amaranth: UnusedElaboratable=no
"""The area of modules and whole networks: cells, transistors and memory bits, by Yosys.

What counts: after technology mapping by ABC, every gate with one or two inputs (``NOT``, ``AND``,
``NAND``, ``OR``, ``NOR``, ``XOR``, ``XNOR``, ``ANDNOT``, ``ORNOT``) is one cell, a 2:1 ``MUX`` is
one, and a flip-flop is one. Flip-flops are plain D flip-flops everywhere: what enables and resets
them is logic and counts as such, so that numbers compare. Transistors are what Yosys' ``stat -tech
cmos`` estimates for the same netlist. Memories stay memories: their bits are counted, their
contents never touch logic, and they are no cells.
"""

import gc
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from amaranth import Const, Module, Value, signed
from amaranth.back import rtlil
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .. import hdl
from ..hdl.arithmetic import interval, narrow, product_interval, saturate, times
from ..hdl.gru.design import Design
from ..hdl.gru.layer import component_part
from ..hdl.operator import Part
from ..hdl.piecewise_linear import PiecewisePlan
from ..model.errors import InputError
from ..model.genome import GENES
from ..model.integer import (
    Complement,
    Dense,
    Operator,
    PiecewiseLinear,
    Product,
    Sum,
    code_range,
    half,
    signed_width,
)
from . import cache as kept
from . import rtlil as texts
from .verilog import emit_rtlil
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
#: Modules that are elaborated before they go to Yosys together.
_BATCH = 192
#: Fewer modules than this are elaborated here, whatever the number of workers.
_FEW = 8


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
        return ModuleArea(
            self.cells + other.cells,
            self.flip_flops + other.flip_flops,
            self.transistors + other.transistors,
            self.memory_bits + other.memory_bits,
        )


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


#: A component, or one that is not built yet.
Measurable: TypeAlias = "wiring.Component | Part"


def _measure(
    units: Sequence[str],
    names: Sequence[str] | None = None,
    progress: Progress | None = None,
    known: Callable[[int, ModuleArea], None] = lambda number, area: None,
    workers: int | None = None,
) -> list[ModuleArea]:
    """Area of each comparable RTLIL text (see :mod:`.rtlil`), known ones from the cache.

    `names` are for messages. `known` is told each area as soon as it is known and kept. What fails
    is told after all others are kept.
    """
    tool = find()
    places: dict[str, list[int]] = {}
    for number, unit in enumerate(units):
        places.setdefault(_key(tool, unit), []).append(number)
    found: dict[int, ModuleArea] = {}

    def settle(key: str, area: ModuleArea) -> None:
        for number in places[key]:
            found[number] = area
            known(number, area)

    jobs: list[Job] = []
    owners: list[str] = []
    for key, (first, *_) in places.items():
        values = kept.load(key, _FIELDS)
        if values is not None:
            settle(key, ModuleArea(**values))
            continue
        about = names[first] if names else f"module {first + 1}"
        for recipe in _recipes(units[first]):
            jobs.append(
                Job(
                    about,
                    {"unit.il": units[first], "area.abc": _ABC},
                    _RECIPES[recipe],
                    ("memory.json", "logic.json"),
                )
            )
            owners.append(key)
    tried: dict[str, dict[int, ModuleArea]] = {key: {} for key in owners}
    recipes = Counter(owners)

    def done(number: int, outputs: dict[str, str]) -> None:
        key = owners[number]
        tried[key][number] = _parse(tool, outputs)
        if len(tried[key]) == recipes[key]:
            # In the order of the recipes, whichever ended first.
            areas = [area for _, area in sorted(tried[key].items())]
            area = min(areas, key=lambda a: (a.cells, a.transistors))
            kept.store(key, vars(area))
            settle(key, area)

    if jobs:
        run(tool, jobs, progress=progress, done=done, workers=workers)
    return [found[number] for number in range(len(units))]


@cache
def _hardware_hash() -> str:
    """Changes whenever the code that components are made by does."""
    folder = Path(hdl.__file__).parent
    texts = (path.read_bytes() for path in sorted(folder.rglob("*.py")))
    return hashlib.sha256(b"\0".join(texts)).hexdigest()


def _identity(part: Measurable) -> tuple[object, ...] | None:
    """What tells the area of a part without elaborating it; None for a component that does not
    say. A subclass has to say so itself."""
    if isinstance(part, Part):
        return part.identity
    return part.identity if "identity" in vars(type(part)) else None


def _identity_key(tool: Tool, identity: tuple[object, ...]) -> str:
    text = "\0".join((tool.version, script_hash(), _hardware_hash(), repr(identity)))
    return hashlib.sha256(text.encode()).hexdigest()


#: Areas that this process has met, by the version of Yosys and the identity.
_met: dict[tuple[str, tuple[object, ...]], ModuleArea] = {}


def forget() -> None:
    """Forget what this process has met, so that only what is on disk is known (for benchmarks)."""
    _met.clear()


def _text(part: Measurable) -> str:
    """Comparable RTLIL of a part with everything below it."""
    # Nothing of the many small objects outlives this: looking for cycles among them is a quarter
    # of the time.
    collects = gc.isenabled()
    gc.disable()
    try:
        component = part.build() if isinstance(part, Part) else part
        return texts.whole(rtlil.convert(component, name="top", emit_src=False))
    finally:
        if collects:
            gc.enable()


def _texts(parts: Sequence[Measurable], workers: int | None) -> list[str]:
    """The same of many; parts that are not built yet by as many processes as asked for."""
    if (workers or 1) < 2 or len(parts) < _FEW or not all(isinstance(p, Part) for p in parts):
        return [_text(part) for part in parts]
    from joblib import Parallel, delayed

    size = -(-len(parts) // (4 * workers)) if workers else 1
    shares = [parts[start : start + size] for start in range(0, len(parts), size)]
    made = Parallel(n_jobs=workers)(delayed(_texts)(share, 1) for share in shares)
    return [text for share in made for text in share]


def _recall(tool: Tool, identities: Iterable[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """Look for areas on disk that this process has not met; those that are not there either."""
    unknown = []
    for identity in dict.fromkeys(identities):
        if (tool.version, identity) in _met:
            continue
        values = kept.load(_identity_key(tool, identity), _FIELDS)
        if values is None:
            unknown.append(identity)
        else:
            _met[tool.version, identity] = ModuleArea(**values)
    return unknown


#: Applies a function to items somewhere else: index and result of each, in any order.
Remote = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[tuple[int, Any]]]
#: Parts that a remote worker measures in one task.
_SHARE = 4


def _elsewhere(parts: Sequence[Part]) -> tuple[str, list[ModuleArea]]:
    """Areas of a few parts, and the Yosys that measured them; runs in a remote worker."""
    return find().version, measure(parts, workers=1)


def _remotely(
    tool: Tool, parts: Sequence[Part], remote: Remote, progress: Progress | None
) -> Iterator[tuple[int, ModuleArea]]:
    """Index and area of each part, measured by remote workers, as they become known."""
    shares = [parts[start : start + _SHARE] for start in range(0, len(parts), _SHARE)]
    for done, (number, (version, areas)) in enumerate(remote(_elsewhere, shares), 1):
        if version != tool.version:
            raise InputError(
                f"a worker measures with {version}, this process with {tool.version}: install the "
                "same on both"
            )
        if progress:
            progress(f"Yosys: {min(done * _SHARE, len(parts))} of {len(parts)} modules")
        for at, area in enumerate(areas):
            yield number * _SHARE + at, area


def measure(
    components: Sequence[Measurable],
    progress: Progress | None = None,
    *,
    workers: int | None = None,
    remote: Remote | None = None,
) -> list[ModuleArea]:
    """Area of each component, with everything below it.

    Equal modules are synthesised once, all new ones together, and what was ever measured with the
    same Yosys and script is taken from the cache; known ones of the network's own components (see
    :class:`hdl.operator.Part`) are not even built. Each is kept as soon as it is measured.

    Parameters
    ----------
    components : components, or parts that are built when they are not known
    workers : int, optional
        Processes that elaborate parts and run Yosys; one and one a core (4 at most) if not given.
    remote : callable, optional
        Where parts are measured in place of this machine: the map of a cluster's workers.

    Raises :class:`InputError` when Yosys is missing, too old or fails; then all others are kept.
    """
    tool = find()
    identities = [_identity(part) for part in components]
    unknown = set(_recall(tool, (known for known in identities if known is not None)))
    new: dict[object, Measurable] = {}
    for number, (identity, part) in enumerate(zip(identities, components, strict=True)):
        if identity is None or identity in unknown:
            new.setdefault(number if identity is None else identity, part)
    todo = list(new.items())
    areas: dict[object, ModuleArea] = {}
    for start in range(0, len(todo), _BATCH):
        if progress:
            progress(f"Yosys: {len(todo) - start} new modules")
        batch = todo[start : start + _BATCH]
        names = [
            part.about if isinstance(part, Part) else f"module {number} ({type(part).__name__})"
            for number, (_, part) in enumerate(batch, start + 1)
        ]

        def known(
            at: int, area: ModuleArea, batch: Sequence[tuple[object, Measurable]] = batch
        ) -> None:
            name = batch[at][0]
            areas[name] = area
            if isinstance(name, tuple):
                _met[tool.version, name] = area
                kept.store(_identity_key(tool, name), vars(area))

        parts = [part for _, part in batch]
        if remote and all(isinstance(part, Part) for part in parts):
            for at, area in _remotely(tool, parts, remote, progress):
                known(at, area)
        else:
            _measure(_texts(parts, workers), names, progress, known, workers)
    return [
        areas[number] if identity is None else _met[tool.version, identity]
        for number, identity in enumerate(identities)
    ]


@dataclass(frozen=True)
class OperatorArea:
    """A row of the report: an operator with its parameter memories, or what stands beside them.

    name : ``layer0.w_ir`` ..., ``layer0.control``, ``layer0.state``, ``classifier`` ...
    bits : the gene, None for what has none
    serves : the operators that a shared unit works for
    """

    name: str
    bits: int | None
    area: ModuleArea
    serves: tuple[str, ...] = ()


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
        values = vars(self.total)
        flat = (
            {}
            if self.flat is None
            else {"cells_flat": self.flat.cells, "transistors_flat": self.flat.transistors}
        )
        return {
            **values,
            **flat,
            "yosys": self.yosys_version,
            "yosys_script": self.script,
            "operators": [
                {"name": row.name, "bits": row.bits, **vars(row.area)}
                | ({"serves": list(row.serves)} if row.serves else {})
                for row in self.rows
            ],
        }


def _parts(design: Design) -> list[tuple[str, int | None, list[Part]]]:
    """Rows of a network: name, gene, and the parts whose areas add up to it. Together they hold
    all of its logic and memories, each once; none of them is built."""
    rows: list[tuple[str, int | None, list[Part]]] = []
    genomes = design.model.genome.layers
    for number, (row, genes) in enumerate(zip(design.layers, genomes, strict=True)):
        parts = dict(row)
        for gene, bits in zip(GENES, genes, strict=True):
            # The operator, and its memories where it has some.
            own = [name for name in parts if name == gene or name.startswith(f"{gene}_")]
            if own:
                rows.append((f"layer{number}.{gene}", bits, [parts.pop(name) for name in own]))
        rows += [(f"layer{number}.{name}", None, [part]) for name, part in parts.items()]
    return [*rows, *((name, None, [part]) for name, part in design.rest.items())]


def area_report(
    design: Design,
    *,
    flat: bool = True,
    progress: Progress | None = None,
) -> AreaReport:
    """Measure `design`: a row for each operator of each layer, and for the rest.

    An operator's row holds its datapath and its parameter memories. ``control`` is a layer's
    sequencer, ``state`` its memory with the old state that waits for its unit. The sum is built
    from modules synthesised apart; with `flat` the whole is synthesised as one module too.
    Raises :class:`InputError` when Yosys is missing, too old or fails.
    """
    tool = find()
    parts = _parts(design)
    areas = iter(measure([part for _, _, own in parts for part in own], progress))
    rows = tuple(
        OperatorArea(
            name, bits, sum((next(areas) for _ in own), ModuleArea()), design.serves.get(name, ())
        )
        for name, bits, own in parts
    )
    whole = None
    if flat:
        unit = texts.whole(emit_rtlil(design))
        whole = _measure([unit], ["the whole network"], progress)[0]
    return AreaReport(rows, whole, tool.version, script_hash())


def totals(
    designs: Iterable[Design],
    progress: Progress | None = None,
    *,
    workers: int | None = None,
    remote: Remote | None = None,
) -> list[ModuleArea]:
    """``area_report(..., flat=False).total`` of many networks. All that is new in any of them is
    synthesised together (see :func:`measure`)."""
    lists = [design.parts for design in designs]
    wanted = [part for parts in lists for part in parts]
    areas = iter(measure(wanted, progress, workers=workers, remote=remote))
    return [sum((next(areas) for _ in parts), ModuleArea()) for parts in lists]


def known_areas(identities: Iterable[tuple[object, ...]]) -> dict[tuple[object, ...], ModuleArea]:
    """Of parts by their identity those that were measured before, and what they cost."""
    tool, wanted = find(), set(identities)
    wanted -= set(_recall(tool, wanted))
    return {identity: _met[tool.version, identity] for identity in wanted}


def prepare(
    designs: Iterable[Design],
    progress: Progress | None = None,
    *,
    workers: int | None = None,
) -> None:
    """Measure all new modules of many networks together.

    Afterwards :func:`area_report` with ``flat=False`` finds everything in the cache.
    """
    totals(designs, progress, workers=workers)


def as_built(op: Operator) -> Part:
    """The component of an element-wise operator; a piecewise-linear unit in the form that a network
    of few lanes gives it, serial where that is smaller
    (:class:`~genogate.hdl.gru.schedule.Schedule`)."""
    serial = PiecewisePlan.of(op).digits[-1] if isinstance(op, PiecewiseLinear) else 0
    return component_part(op, digit=serial)


def cheapest(
    groups: Sequence[Sequence[Operator]],
    progress: Progress | None = None,
    *,
    workers: int | None = None,
    remote: Remote | None = None,
) -> list[int]:
    """For each group of activation units, the index of the one with the fewest cells.

    They are measured :func:`as_built`. Fewer transistors decide between equals, then the order.
    All that is new in any group is synthesised together. A group of one needs no Yosys.
    """
    contested = [as_built(op) for group in groups if len(group) > 1 for op in group]
    where: dict[str, Any] = {"workers": workers, "remote": remote}
    areas = iter(measure(contested, progress, **where) if contested else [])
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
        _Scaling(
            values,
            None,
            constant=constant << more if more > 0 else constant >> -more,
            shift=max(0, op.shift + more),
            out_bits=op.out_bits,
        ),
    ]


def runtime_multiplier_cells(design: Design, progress: Progress | None = None) -> tuple[int, int]:
    """Cells of the network, and of the same with requantisers that take 16-bit factors at run time.

    The first is the sum of :func:`area_report`. For the second, each operator's requantiser is
    measured alone twice, with its constants and with ports of 16 bits in their place, and the
    difference is added; registers or memories that would hold the factors are not counted.
    """
    constant = area_report(design, flat=False, progress=progress).total.cells
    layers = design.model.layers
    pairs = [part for layer in layers for op in layer.ops.values() for part in _scalings(op)]
    areas = measure(pairs, progress)
    return constant, constant + sum(
        runtime.cells - fixed.cells for fixed, runtime in zip(areas[::2], areas[1::2], strict=True)
    )
