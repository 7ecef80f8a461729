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
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

from amaranth.lib import wiring

from ..hdl.operator import Part
from ..model.errors import InputError
from ..model.leftovers import end_with_parent
from . import cache as kept
from . import rtlil as texts
from .constants import to_rtlil
from .hardware_hash import hardware_hash
from .recipes import ABC_SCRIPT, DEEP_SCRIPT, RECIPES, recipes_for, script_hash
from .yosys import Job, Progress, Tool, find, run

#: Modules that are elaborated before they go to Yosys together.
_BATCH = 192
#: Fewer modules than this are elaborated here, whatever the number of workers.
_FEW = 8


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


def _key(tool: Tool, unit: str, script: str = ABC_SCRIPT) -> str:
    other = () if script == ABC_SCRIPT else (script,)
    text = "\0".join((tool.version, script_hash(), *other, unit))
    return hashlib.sha256(text.encode()).hexdigest()


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
    store: Callable[[int, ModuleArea], None] = lambda number, area: None,
    workers: int | None = None,
    script: str = ABC_SCRIPT,
) -> list[ModuleArea]:
    """Area of each comparable RTLIL text (see :mod:`.rtlil`), known ones from the cache, by a
    script of ABC.

    `names` are for messages. `store` gets the number and the area of each text as soon as it is
    measured. A failure is raised after all others are stored.
    """
    tool = find()
    places: dict[str, list[int]] = {}
    for number, unit in enumerate(units):
        places.setdefault(_key(tool, unit, script), []).append(number)
    by_unit: dict[int, ModuleArea] = {}

    def settle(key: str, area: ModuleArea) -> None:
        for number in places[key]:
            by_unit[number] = area
            store(number, area)

    jobs: list[Job] = []
    owners: list[str] = []
    for key, (first, *_) in places.items():
        values = kept.load(key, _FIELDS)
        if values is not None:
            settle(key, ModuleArea(**values))
            continue
        name = names[first] if names else f"module {first + 1}"
        for recipe in recipes_for(units[first]):
            jobs.append(
                Job(
                    name,
                    {"unit.il": units[first], "area.abc": script},
                    RECIPES[recipe],
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
    return [by_unit[number] for number in range(len(units))]


def _identity(part: Measurable) -> tuple[object, ...] | None:
    """What tells the area of a part without elaborating it; None for a component that does not
    say. A subclass has to say so itself."""
    if isinstance(part, Part):
        return part.identity
    return part.identity if "identity" in vars(type(part)) else None


def _identity_key(tool: Tool, identity: tuple[object, ...]) -> str:
    text = "\0".join((tool.version, script_hash(), hardware_hash(), repr(identity)))
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
        return texts.whole(to_rtlil(component, "top"))
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
    pool = Parallel(n_jobs=workers, initializer=end_with_parent, initargs=(os.getpid(),))
    texts_of = pool(delayed(_texts)(share, 1) for share in shares)
    return [text for share in texts_of for text in share]


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
    unknown = set(_recall(tool, (each for each in identities if each is not None)))
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

        def store(
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
                store(at, area)
        else:
            _measure(_texts(parts, workers), names, progress, store, workers)
    return [
        areas[number] if identity is None else _met[tool.version, identity]
        for number, identity in enumerate(identities)
    ]


def measure_deep(
    components: Sequence[wiring.Component], progress: Progress | None = None
) -> list[ModuleArea]:
    """Area of each small component where ABC also takes its time (``&deepsyn``): the smaller of
    that and :func:`measure`'s. Raises :class:`InputError` as that does."""
    plain = measure(components, progress)
    texts = [_text(component) for component in components]
    deep = _measure(texts, progress=progress, script=DEEP_SCRIPT)
    pairs = zip(plain, deep, strict=True)
    return [min(pair, key=lambda area: (area.cells, area.transistors)) for pair in pairs]


def known_areas(identities: Iterable[tuple[object, ...]]) -> dict[tuple[object, ...], ModuleArea]:
    """Of parts by their identity those that were measured before, and what they cost."""
    tool, requested = find(), set(identities)
    requested -= set(_recall(tool, requested))
    return {identity: _met[tool.version, identity] for identity in requested}
