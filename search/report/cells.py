"""Cells of operators, for the points of the front."""

from collections.abc import Sequence
from dataclasses import fields

from ...hdl.gru.design import Design
from ...model.aliases import Say
from ...model.errors import InputError, shown
from ...model.genome import GENES, Genome
from ...model.knobs import Knobs, declared
from ...model.knobs import options as options_of_knobs
from ...model.quantize.drafts import draft
from ...synth.report import area_report, cheapest, prepare
from ..genomes.candidate import CHECKPOINT
from ..genomes.evaluate import Setting, load
from ..genomes.sensitivity import spread
from .commands import changed_knobs
from .run_files import Document, Key

#: Points of the front whose cells are measured operator by operator, beside the named ones.
MAX_MEASURED = 30


def measured(
    setting: Document, cases: Sequence[tuple[Key, str]], say: Say
) -> tuple[list[str], list[list[int]]]:
    """Names of the parts of the network, and for each case, a key and the checkpoint it goes with,
    the cells of each part."""
    knob_names = {field.name for field in fields(Knobs)}
    base = {name: value for name, value in setting["knobs"].items() if name in knob_names}
    if unknown := set(setting["knobs"]) - knob_names:
        raise InputError(f"this version knows no knob {shown(min(unknown))}")
    drafts, hardware = [], []
    for number, ((genes, extra), checkpoint) in enumerate(cases):
        say(f"Quantising {number + 1} of {len(cases)} points")
        values: Document = {}
        for name, text in extra:
            if name == CHECKPOINT:
                continue
            field, *_ = options_of_knobs().get(name, (name,))
            values[name] = declared()[field].parse(text) if field in knob_names else text
        values = changed_knobs(base, values)
        if unknown := values.keys() - knob_names:
            raise InputError(f"this version knows no knob {shown(min(unknown))}")
        knobs = Knobs(**values)
        calibration = load(Setting(checkpoint, knobs)).calibration
        drafts.append(draft(calibration, Genome.from_genes(genes), knobs))
        hardware.append(knobs.hardware)
    choices = iter(cheapest([group for drafted in drafts for group in drafted.groups], say))
    models = [drafted.choose([next(choices) for _ in drafted.groups]) for drafted in drafts]
    designs = [Design.of(model, **of) for model, of in zip(models, hardware, strict=True)]
    prepare(designs, say)
    reports = [area_report(design, flat=False) for design in designs]
    # Networks that share hardware have other rows.
    names = list(dict.fromkeys(row.name for report in reports for row in report.rows))
    cells = [{row.name: row.area.cells for row in report.rows} for report in reports]
    names = [name for name in names if any(of.get(name) for of in cells)]
    return names, [[of.get(name, 0) for name in names] for of in cells]


def add_cells(
    data: Document, setting: Document, cases: Sequence[tuple[Key, str]], synthesise: bool, say: Say
) -> None:
    """Measure cells operator by operator, or say why not."""
    points = data["points"]
    if setting.get("target", "generic") != "generic":
        data["cells_note"] = (
            f"The run minimised figures of {setting['target']}: `genogate area --target "
            f"{setting['target']} --genome FILE` has them by operator."
        )
        return
    if not setting.get("yosys"):
        data["cells_note"] = (
            "The run was made without silicon among its objectives, so there are no cells by "
            "operator."
        )
        return
    if not synthesise:
        data["cells_note"] = "Cells by operator were not asked for."
        return
    front = [k for k, point in enumerate(points) if point.get("f")]
    indices = set(spread(front, MAX_MEASURED))
    indices |= {
        k
        for k, point in enumerate(points)
        if any(not name.startswith("front-") for name in point.get("n", ()))
    }
    order = sorted(indices)
    try:
        parts, cells = measured(setting, [cases[k] for k in order], say)
    except InputError as error:
        data["cells_note"] = f"Cells by operator are left out: {error}."
        return
    one_layer = len(data["operators"]) < 2 * len(GENES)
    data["parts"] = [name.removeprefix("layer0.") if one_layer else name for name in parts]
    data["cells"] = dict(zip(map(str, order), cells, strict=True))
    column = [figure["key"] for figure in data["figures"]]
    if "cells" in column:
        at = column.index("cells")
        # A search by estimates measures its front alone.
        compared = [k for k in order if points[k].get("f") or not setting.get("estimate")]
        differing = sum(
            points[k]["v"][at] not in (None, sum(data["cells"][str(k)])) for k in compared
        )
        if differing:
            data["cells_note"] = (
                "Cells by operator are those of this version, and do not add up to what the run "
                f"stored for {differing} of {len(compared)} points."
            )
