"""``python -m genogate.synth.targets.energy_fit``: networks that :mod:`.energy` is fitted to.

Needs a Liberty file, OpenSTA and a C compiler; what ``energy.json`` holds is not measured again.
"""

from collections.abc import Callable, Iterator

from . import prices
from .energy import FILE, Row, rows

#: Test sequences through each netlist, side by side.
SEQUENCES = 64
Say = Callable[[str], None]


def _networks() -> Iterator[Row]:
    """The networks that are measured."""
    from .samples import FITTED, genomes

    drawn = [",".join(map(str, genome.layers[0])) for genome in genomes(FITTED[0])]
    some = [{"task": "digits-row", "genome": genes, "knobs": {}} for genes in drawn[:24]]
    yield from some[:3]
    yield some[3]
    yield {"task": "kws4", "genome": "int4", "knobs": {}}
    for share, genome in (("all", "int4"), ("gates", "int8")):
        yield {"task": "digits-row", "genome": genome, "knobs": {"share": share}}
    yield from some[5::2]


def measure(row: Row, say: Say) -> Row:
    """`row` with its energy and area. Raises :class:`InputError` without a Liberty file, OpenSTA
    or a C compiler."""
    from ...model import zoo
    from ...model.data.tasks import load_task
    from ...model.genome import parse_genome
    from ...model.knobs import Knobs
    from ..asic.gate_level import gate_level, steps_for
    from ..asic.mapping import map_design
    from ..asic.timing import energy
    from ..cells import liberty
    from ..cells.silicon import find_sta
    from ..verilog import TOP, emit_rtlil
    from .samples import designs

    sta, library = find_sta(), liberty.find()
    checkpoint = zoo.load(row["task"])
    task = load_task(checkpoint.info["task"], checkpoint.info.get("split_seed", 0))
    genome = parse_genome(row["genome"], checkpoint.layers)
    (design,) = designs(row["task"], Knobs(**row["knobs"]), [genome])
    steps = steps_for(design, task.x_test.shape[1])
    codes = design.model.quantize_input(task.x_test[:SEQUENCES, :steps])
    mapped = map_design(emit_rtlil(design), TOP, library, gated=False, progress=say)
    outcome = gate_level(mapped, design, codes, say)
    spent = energy(mapped, sta, outcome.activity, 20.0).to_json()
    figures = prices.figures("sky130", design)
    return {**row, "pj_per_cycle": spent["pj_per_cycle"], "um2": figures["um2"]}


def remake(say: Say = print) -> None:
    """Measure what :data:`FILE` does not hold yet, and write it after each network."""
    from ...model.files import write_json
    from ..cells import liberty
    from ..cells.silicon import find_sta
    from ..yosys import find

    measurements = list(rows())
    for row in _networks():
        if any(row.items() <= old.items() for old in measurements):
            continue
        measurements.append(measure(row, say))
        say(f"{measurements[-1]}")
        document = {"library": liberty.find().name, "opensta": find_sta().version}
        write_json(FILE, {**document, "yosys": find().version, "rows": measurements})


if __name__ == "__main__":
    remake()
