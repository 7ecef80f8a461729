"""What a run of the search holds, gathered into one JSON-able document for its report.

The folder is only read, the store too, so that a search may go on writing to it.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...model import zoo
from ...model.aliases import Say
from ...model.data.measures import unit_of
from ...model.errors import InputError
from ...model.files import read_json
from ...model.genome import MAX_BITS, MIN_BITS, gene_names, split
from ..genomes.candidate import CHECKPOINT, USEFUL_DROP
from ..genomes.evaluate import OBJECTIVES
from ..genomes.remedies import Resume
from ..genomes.sensitivity import spread
from .cells import add_cells
from .commands import (
    as_word,
    changed_knobs,
    command_suffix,
    emit_command,
    genome_file,
    random_twin,
    search_command,
)
from .curves import curves_of
from .run_files import (
    BIT_WEIGHT,
    OLD_OBJECTIVES,
    Document,
    Evaluated,
    FrontPoint,
    Key,
    is_finite,
    read_config,
    read_evaluated,
    read_front,
    read_history,
)

#: Evaluated points that the page draws at most; of more, every n-th beside the front.
MAX_POINTS = 8000
#: Name, unit and axis title of what results hold; the others speak for themselves.
LABELS = {
    "accuracy": ("%", "Accuracy on the validation part"),
    "size": ("bits", "Model size"),
    "weights": ("bits", "Weight matrices of the GRU"),
    "cells": ("cells", "Yosys cells"),
    "memory": ("bits", "Memory"),
    "cycles": ("cycles", "Cycles per time step"),
    "silicon": ("cells", "Cells and weighted memory bits"),
    "um2": ("um2", "Area on sky130"),
    "energy": ("nJ", "Energy of a time step on sky130"),
    "lut": ("LUTs", "4-input LUTs"),
    "ff": ("flip-flops", "Flip-flops"),
    "ebr": ("block RAMs", "Block RAMs"),
    "dsp": ("DSP blocks", "DSP blocks"),
}
NAMED = {
    "within-0.5-smallest": "smallest within 0.5 points",
    "within-0.5-fewest-cells": "fewest cells within 0.5 points",
    "within-1.0-smallest": "smallest within 1 point",
    "within-1.0-fewest-cells": "fewest cells within 1 point",
    "knee": "knee",
    "most-accurate": "most accurate",
    "smallest": "smallest",
    "fewest-weights": "fewest weight bits",
    "fewest-cells": "fewest cells",
    "within-0.5-least-area": "least area within 0.5 points",
    "within-1.0-least-area": "least area within 1 point",
    "least-area": "least area",
    "within-0.5-fewest-luts": "fewest LUTs within 0.5 points",
    "within-1.0-fewest-luts": "fewest LUTs within 1 point",
    "fewest-luts": "fewest LUTs",
    "within-0.5-fewest-block-rams": "fewest block RAMs within 0.5 points",
    "within-1.0-fewest-block-rams": "fewest block RAMs within 1 point",
    "fewest-block-rams": "fewest block RAMs",
}


def _generations(document: Document) -> int:
    """Generations of a run from its start to its end, with the one that measures what others
    estimated."""
    config = document["config"]
    last = bool(document["setting"].get("estimate") or config.get("proxy_only"))
    return sum(config.get(name) or 0 for name in ("generations", "exploit")) + last


def _points(
    keys: Sequence[Any],
    labels: Mapping[Any, list[str]],
    on_front: Mapping[Any, Any],
    stored: Any,
    used: Sequence[str],
    *,
    finished: bool,
    folder: Path,
    setting: dict[str, Any],
) -> tuple[list[dict[str, Any]], list[tuple[Any, str]], dict[str, int]]:
    """The points `keys` as the page has them, with the figures `used`; key and checkpoint of each;
    and numbers of the suffixes of their commands, that of the setting first."""
    results = stored.results
    base_suffix = command_suffix(setting["knobs"], setting["checkpoint"])
    suffixes: dict[str, int] = {base_suffix: 0}
    points, cases = [], []
    for key in keys:
        entry, checkpoint, suffix = _point(
            key,
            labels.get(key, []),
            on_front.get(key),
            retrained=key in stored.retrained,
            finished=finished,
            folder=folder,
            setting=setting,
        )
        entry["v"] = [results[key].get(name) for name in used]
        if key in on_front and "test_accuracy" in results[key]:
            entry["t"] = results[key]["test_accuracy"]
        if number := suffixes.setdefault(suffix, len(suffixes)):
            entry["s"] = number
        points.append(entry)
        cases.append((key, checkpoint))
    return points, cases, suffixes


def _about_run(folder: Path, document: Mapping[str, Any]) -> Document:
    """What was searched, of which network, by which tool."""
    config, setting = document["config"], document["setting"]
    return {
        "run": str(folder),
        "task": setting["task"],
        "checkpoint": setting["checkpoint"],
        "checkpoint_hash": setting.get("checkpoint_hash"),
        "yosys": setting.get("yosys"),
        "knobs": setting["knobs"],
        "judged_on": setting.get("judged_on"),
        "config": config,
    }


def collect(
    folder: str | Path,
    beside: Sequence[str | Path] = (),
    *,
    cells: bool = True,
    say: Say = lambda text: None,
    document: Document | None = None,
) -> Document:
    """Everything the page and the pictures show of the run in `folder`, JSON-able.

    beside : folders of runs whose hypervolume is drawn too, beside those that are found next to
        `folder` and differ from it only in method and seed
    cells : whether cells are measured operator by operator, which needs Yosys, or what it said once
    document : of `folder`, where the caller has read its ``config.json`` already

    Raises :class:`InputError` for a folder that holds no run, one of another version, or files of
    it that are damaged. What is merely absent becomes a sentence under ``notes``.
    """
    folder = Path(folder)
    say("Reading the run")
    document = document or read_config(folder)
    config, setting = document["config"], document["setting"]
    front, named = read_front(folder)
    curves = curves_of(folder, document, [Path(path) for path in beside])
    stored = read_evaluated(folder / "evaluations.sqlite", document)
    results, genes, odd = _results(folder, stored, front)
    labels = _labels(front, named, genes, results)
    on_front = {point.key: point for point in front}
    faint = [key for key in results if key not in labels]
    drawn = spread(faint, MAX_POINTS)
    # The front comes last, so that it is drawn above the others.
    keys = [*drawn, *(key for key in labels if key not in on_front), *on_front]

    generation = read_history(folder)[-1].get("generation") if curves[0]["x"] else None
    total = _generations(document)
    finished = generation is not None and generation >= total
    objectives = OBJECTIVES | OLD_OBJECTIVES
    used = [name for name in objectives if any(name in results[key] for key in keys)]
    points, cases, suffixes = _points(
        keys, labels, on_front, stored, used, finished=finished, folder=folder, setting=setting
    )
    notes = _notes(stored, front, odd, len(faint), len(drawn))
    notes += _state_notes(setting, finished, generation, total)
    int8 = results.get(((MAX_BITS,) * genes, ()), {})
    weight = config.get("bit_weight", BIT_WEIGHT)
    reference = read_json(folder / "front.json")
    measure = _measure(setting)
    figures = [
        _figure(name, int8.get(name), weight, measure)
        | {"against": _against(name, int8.get(name), reference, setting["checkpoint"])}
        for name in used
    ]
    twin = any(curve["method"] == "random" for curve in curves)
    data: Document = {
        **_about_run(folder, document),
        "finished": finished,
        "generation": generation,
        "generations": total,
        "evaluations": len(results),
        "command": search_command(document, folder),
        "objectives": config["objectives"],
        "figures": figures,
        "useful_drop": USEFUL_DROP,
        "operators": operators_of(setting, genes),
        "points": points,
        "emit": emit_command(),
        "suffixes": list(suffixes),
        "history": curves,
        "parts": [],
        "cells": {},
        "cells_note": "",
        "notes": notes,
        "random": "" if twin else random_twin(document, folder),
    }
    add_cells(data, setting, cases, cells, say)
    return data


def _results(
    folder: Path, stored: Evaluated, front: Sequence[FrontPoint]
) -> tuple[dict[Key, dict[str, float]], int, list[Key]]:
    """Figures of every network of the run, the front's among them; genes of one; and the keys of
    networks with another number of genes, which are left out."""
    results = stored.results
    for point in front:
        results[point.key] = results.get(point.key, {}) | point.figures
    if not results:
        raise InputError(f"{folder}: no evaluation of its setting", Resume())
    genes = len((front[0].key if front else min(results))[0])
    odd = [key for key in results if len(key[0]) != genes]
    for key in odd:
        del results[key]
    return results, genes, odd


def _measure(setting: Document) -> str:
    """What the checkpoint's task is judged by."""
    with suppress(InputError):
        return str(zoo.load(setting["checkpoint"]).info.get("measure", "accuracy"))
    return "accuracy"


def operators_of(setting: Document, genes: int) -> list[str]:
    """Names of the operators of a genome of `genes` genes."""
    layers, dense = split(genes) or (0, 0)
    names = [f"dense{k}" for k in range(dense)]
    if dense:
        # The checkpoint says which stand in front and which behind, where it still is there.
        with suppress(InputError):
            functions = zoo.load(setting["checkpoint"]).functions
            names = list(functions) if len(functions) == dense else names
    return gene_names(layers, names)


def _labels(
    front: Sequence[FrontPoint], named: Mapping[str, Key], genes: int, results: Mapping[Key, Any]
) -> dict[Key, list[str]]:
    """What points are called: front-N first, then names, then the homogeneous."""
    labels: dict[Key, list[str]] = {}
    for point in front:
        labels.setdefault(point.key, []).append(point.name)
    for name, key in named.items():
        labels.setdefault(key, []).append(name)
    for bits in range(MIN_BITS, MAX_BITS + 1):
        if (key := ((bits,) * genes, ())) in results:
            labels.setdefault(key, []).append(f"int{bits}")
    return labels


def _point(
    key: Key,
    names: list[str],
    on_front: FrontPoint | None,
    *,
    retrained: bool,
    finished: bool,
    folder: Path,
    setting: Document,
) -> tuple[Document, str, str]:
    """A point as the page has it, without its figures; its checkpoint; what its command adds to
    the run's own.

    retrained : whether it is best with a beacon's weights
    finished : while a search goes on, another genome may take the name of a genome file
    """
    genes, changes = key[0], dict(key[1])
    entry: Document = {"g": "".join(map(str, genes))}
    if changes:
        entry["k"] = changes
    if names:
        entry["n"] = names
    checkpoint = str(changes.get(CHECKPOINT, setting["checkpoint"]))
    in_file = False
    if on_front is not None:
        entry["f"] = 1
        if on_front.beacon:
            checkpoint = str(folder / Path(on_front.beacon).name)
            entry["w"] = 1
        if finished:
            file, in_file = genome_file(folder, names[0])
            entry["c"] = as_word(file) if file else ""
    elif names:
        entry["c"] = names[-1]
    elif retrained:
        entry["w"] = 1
    if in_file:
        return entry, checkpoint, ""
    knobs = changed_knobs(setting["knobs"], changes)
    return entry, checkpoint, command_suffix(knobs, checkpoint)


def _state_notes(
    setting: Document, finished: bool, generation: int | None, total: int
) -> list[str]:
    """What a reader should know of estimates, and of a run that has not ended."""
    notes = []
    if setting.get("estimate"):
        notes.append(
            f"{_estimated_things(setting)} were estimated while the search ran: those of points "
            "off the front are estimates, those of the front were measured in the end."
        )
    if not finished:
        notes.append(
            f"The run is not finished: generation {generation or '?'} of {total or '?'}. Files of "
            "its front may still change, so commands name genomes instead of files."
        )
    return notes


def _estimated_things(setting: Document) -> str:
    """What a search by estimates estimated, with the error of its models where that is recorded."""
    target = setting.get("target", "generic")
    if target == "generic":
        return "Cells"
    errors = setting.get("prices")
    words = [
        f"{name} {row.get('median_percent')} % in the median"
        for name, row in (errors.items() if isinstance(errors, dict) else ())
        if isinstance(row, dict)
    ]
    off = f" (off by {', '.join(words)} on parts that were not in the fit)" if words else ""
    return f"Figures of {target}{off}"


def _against(name: str, int8: float | None, document: Document, checkpoint: str) -> Document | None:
    """What a figure is told as a share of: a size, of the one INT8 network that all commands take,
    anything else of INT8 of the run's own network."""
    reference = document.get("reference")
    if name == "size" and isinstance(reference, dict) and is_finite(reference.get("size")):
        return {"value": reference["size"], "name": str(reference.get("name", ""))}
    return None if not int8 else {"value": int8, "name": Path(checkpoint).stem}


def _figure(name: str, int8: float | None, weight: object, measure: str = "accuracy") -> Document:
    """What the page has to know of a figure besides its values."""
    if name == "accuracy":
        word = measure if measure[:2].isupper() else measure.capitalize()
        unit = "dB" if unit_of(measure) == "dB" else "%"
        title = f"{word} on the validation part"
        return {
            "key": name,
            "unit": unit,
            "title": title,
            "short": word,
            "high": True,
            "int8": int8,
        }
    unit, title = LABELS.get(name, ((OBJECTIVES | OLD_OBJECTIVES)[name][0], name))
    if name == "silicon":
        title = f"Cells and {weight:g} x memory bits" if is_finite(weight) else title
    return {"key": name, "unit": unit, "title": title, "high": name == "accuracy", "int8": int8}


def _notes(
    stored: Evaluated, front: Sequence[FrontPoint], odd: Sequence[Key], faint: int, drawn: int
) -> list[str]:
    """What a reader should know of what is shown, and what is not."""
    notes = []
    if not front:
        notes.append("No genome within the limits was found, so there is no front.")
    if stored.unread:
        notes.append(
            f"{stored.unread} evaluated genomes are of a form that this version does not "
            "read; they are left out."
        )
    if stored.damaged:
        notes.append(
            f"{stored.damaged} evaluations were changed in the store from outside; they "
            "are left out."
        )
    if stored.foreign:
        notes.append(
            f"{stored.foreign} evaluations in the store are of another setting; they are left out."
        )
    if odd:
        notes.append(f"{len(odd)} evaluated genomes are not of this network; they are left out.")
    if drawn < faint:
        notes.append(f"{drawn:,} of {faint:,} genomes off the front, evenly chosen, are drawn.")
    return notes
