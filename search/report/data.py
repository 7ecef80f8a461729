"""What a run of the search holds, gathered into one JSON-able document for its report.

The folder is only read, the store too, so that a search may go on writing to it.
"""

import hashlib
import json
import math
import re
import shlex
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ...hdl.gru.design import Design
from ...model.data.tasks import DEFAULT_TASK
from ...model.errors import InputError, shown
from ...model.files import read_json
from ...model.genome import GENES, MAX_BITS, MIN_BITS, Genome
from ...model.knobs import Knobs, declared, fields_of
from ...model.knobs import options as options_of_knobs
from ...model.quantize.quantize import draft
from ...synth.report import area_report, cheapest, prepare
from ..genomes.candidate import CHECKPOINT, USEFUL_DROP
from ..genomes.config import Config
from ..genomes.evaluate import OBJECTIVES, Say, Setting, load
from ..genomes.sensitivity import spread
from ..genomes.store import SCHEMA

#: Of config.json; the first is that of files which name none.
VERSIONS = (1, 2, 3, 4, 5)
#: Cells that a memory bit counted as in ``silicon``, which runs of before had as an objective, and
#: the default weight.
OLD_OBJECTIVES = {"silicon": ("cells + k memory bits", True)}
BIT_WEIGHT = 0.75
#: Evaluated points that the page draws at most; of more, every n-th beside the front.
MAX_POINTS = 8000
#: Points of the front whose cells are measured operator by operator, beside the named ones.
MAX_MEASURED = 30
#: Runs beside this one that are looked at, unasked.
MAX_SIBLINGS = 40
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
Document = dict[str, Any]
#: The genes, and what else a point sets itself, as sorted (name, value) pairs.
Key = tuple[tuple[int, ...], tuple[tuple[str, str], ...]]


@dataclass(frozen=True)
class FrontPoint:
    """A point of front.json.

    beacon : file name of the retrained checkpoint with which it was evaluated
    """

    key: Key
    name: str
    figures: Document
    beacon: str | None = None


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _mapping(path: Path, value: object, *parts: str) -> Document:
    """`value`, a mapping with mappings under `parts`, or an error that names the file."""
    good = isinstance(value, dict) and all(isinstance(value.get(part), dict) for part in parts)
    if not good:
        raise InputError(f"{path}: not the file of a search; give the folder of a run")
    return value  # type: ignore[return-value]


def _config(folder: Path) -> Document:
    """The configuration of the run in `folder`."""
    path = folder / "config.json"
    if not path.is_file():
        raise InputError(f"{folder}: no run of genogate search (it has no config.json)")
    document = _mapping(path, read_json(path), "config", "setting")
    config, setting = document["config"], document["setting"]
    objectives = config.get("objectives")
    known = (
        document.get("version", VERSIONS[0]) in VERSIONS
        and isinstance(objectives, list)
        and len(objectives) >= 2
        and all(isinstance(name, str) for name in objectives)
        and all(isinstance(setting.get(name), str) for name in ("checkpoint", "task", "key"))
        and isinstance(setting.get("knobs"), dict)
        and isinstance(config.get("method"), str)
        and type(config.get("seed")) is int
        and all(type(config.get(name, 0)) is int for name in ("generations", "exploit"))
        and all(isinstance(limit, list) and len(limit) == 2 for limit in config.get("limits") or ())
    )
    if not known:
        raise InputError(f"{path}: a run of another version; search again with this one")
    return document


def _history(folder: Path) -> list[Document]:
    """Rows of history.json that say evaluations and hypervolume."""
    path = folder / "history.json"
    rows = read_json(path)
    if not isinstance(rows, list) or not all(
        isinstance(row, dict)
        and _finite(row.get("evaluations"))
        and _finite(row.get("hypervolume"))
        for row in rows
    ):
        raise InputError(f"{path}: not the history of a search; --resume the run to write it again")
    return rows


def _extra(path: Path, knobs: object) -> tuple[tuple[str, str], ...]:
    """What a point sets itself, from its ``knobs``."""
    if knobs is None:
        return ()
    if not isinstance(knobs, dict):
        raise InputError(f"{path}: knobs of a point are {shown(knobs)}, a mapping is needed")
    return tuple(sorted((str(name), words(value)) for name, value in knobs.items()))


def words(value: object) -> str:
    """A value of a configuration, to be read."""
    if isinstance(value, list):
        return ", ".join(" ".join(map(str, v)) if isinstance(v, list) else str(v) for v in value)
    return "free" if value is None else str(value)


def _figures(path: Path, where: str, result: object) -> Document:
    """The numbers of a result; refuses those that are none."""
    if not isinstance(result, dict):
        raise InputError(f"{path}: the result of {where} is {shown(result)}")
    kept = {}
    for name, value in result.items():
        if name in OBJECTIVES or name in (*OLD_OBJECTIVES, "test_accuracy"):
            if value is None:
                continue
            if not _finite(value):
                raise InputError(f"{path}: {name} of {where} is {shown(value)}")
        if _finite(value):
            kept[str(name)] = value
    return kept


def _front(folder: Path) -> tuple[list[FrontPoint], dict[str, Key]]:
    """Points of front.json, and which of them have names."""
    path = folder / "front.json"
    if not path.exists():
        raise InputError(f"{folder}: no front yet, its first generation is not over; wait for it")
    document = _mapping(path, read_json(path), "named")
    rows = document.get("points")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{path}: its points are no list; --resume the run to write it again")

    def genes(value: object, where: str) -> tuple[int, ...]:
        try:
            return Genome.from_genes(value if isinstance(value, list) else []).genes
        except InputError as error:
            raise InputError(f"{path}: {where}: {error}") from None

    points = []
    for number, row in enumerate(rows):
        name, beacon = row.get("name", f"front-{number}"), row.get("beacon")
        if not isinstance(name, str) or not isinstance(beacon, str | None):
            raise InputError(f"{path}: point {number} has the name {shown(name)}")
        key = genes(row.get("genome"), f"point {number}"), _extra(path, row.get("knobs"))
        points.append(FrontPoint(key, name, _figures(path, name, row), beacon))
    if len({len(point.key[0]) for point in points}) > 1:
        raise InputError(
            f"{path}: genomes of different lengths; --resume the run to write it again"
        )
    named = {}
    for name, value in document["named"].items():
        of = genes(value, str(name))
        same = [point for point in points if point.key[0] == of]
        # Of points with equal genes and other knobs, the one whose file says the same.
        if len(same) > 1 and (text := _text(folder / name)):
            same = [point for point in same if _text(folder / point.name) == text] or same
        if same:
            named[str(name)] = same[0].key
    return points, named


def _text(path: Path) -> bytes:
    """Content of a small file; nothing where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _parse(text: str) -> Key | None:
    """A genome as the store writes it (``8,8,4 ... | granularity=channel``); None for another."""
    genes, *rest = text.split("|")
    found = re.findall(r"[^\s,;]+", genes)
    extra = [part.partition("=") for part in re.findall(r"[^\s,;|]+", " ".join(rest))]
    good = (
        found
        and len(found) % len(GENES) == 0
        and all(re.fullmatch(r"[2-8]", gene) for gene in found)
    )
    if not good or not all(sign for _, sign, _ in extra):
        return None
    return tuple(map(int, found)), tuple(sorted((name, unquote(value)) for name, _, value in extra))


@dataclass
class Evaluated:
    """What a store holds of a run.

    results : figures by key
    retrained : keys whose result is that of a beacon's weights
    unread : genomes of a form that this version does not know
    damaged : rows that were changed from outside
    foreign : rows of another setting
    """

    results: dict[Key, Document]
    retrained: set[Key]
    unread: int = 0
    damaged: int = 0
    foreign: int = 0


def _rows(path: Path) -> list[dict[str, Any]]:
    """All evaluations in the store at `path`, in their order. Nothing is written, and a writer is
    not disturbed."""
    if not path.is_file():
        raise InputError(f"{path}: missing, so what was evaluated is unknown; --resume the run")

    def read(mode: str) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)) as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version != SCHEMA:
                raise InputError(f"{path}: version {version}, this program reads {SCHEMA}")
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute("SELECT * FROM evaluations ORDER BY rowid")]

    # While a search has it open there is a log beside it. Without one the file alone is all, and
    # is read without the files that SQLite else makes, for which there may be no right.
    modes = ["mode=ro"] if Path(f"{path}-wal").exists() else ["immutable=1", "mode=ro"]
    try:
        try:
            rows = read(modes[0])
        except sqlite3.DatabaseError:
            # A search may have begun just now.
            rows = read(modes[-1])
    except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a store of evaluations ({error})") from None
    if not all(isinstance(row.get(n), str) for row in rows for n in ("key", "genome", "result")):
        raise InputError(f"{path}: not a store of evaluations (values that are no text)")
    return rows


def _evaluated(path: Path, document: Document) -> Evaluated:
    """What the store at `path` holds of the run that `document` describes."""
    config, base = document["config"], document["setting"]["key"]
    weight = config.get("bit_weight", BIT_WEIGHT)
    found = Evaluated({}, set())
    for row in _rows(path):
        key, text = row["key"], row["result"]
        checksum = hashlib.sha256(f"{key}\0{text}".encode()).hexdigest()[:16]
        if row.get("checksum", checksum) != checksum:
            found.damaged += 1
            continue
        own = key.startswith(base)
        # Other knobs and other weights have keys of their own.
        if not own and "|" not in row["genome"] and not config.get("beacons"):
            found.foreign += 1
            continue
        try:
            result = json.loads(text)
        except (ValueError, RecursionError):
            raise InputError(f"{path}: the result of {row['genome'][:60]} is not JSON") from None
        figures = _figures(path, row["genome"][:60], result)
        if "silicon" not in figures and {"cells", "memory"} <= figures.keys() and _finite(weight):
            figures["silicon"] = figures["cells"] + weight * figures["memory"]
        if (of := _parse(row["genome"])) is None:
            found.unread += 1
        elif figures.get("accuracy", 0) > found.results.get(of, {}).get("accuracy", -1):
            # As the search does: with whose weights it is best.
            found.results[of] = figures
            (found.retrained.discard if own or of[1] else found.retrained.add)(of)
    return found


def _with(knobs: Mapping[str, Any], extra: Mapping[str, Any]) -> Document:
    """Knobs of a setting with those that a point sets itself."""
    changed = {name: value for name, value in extra.items() if name != CHECKPOINT}
    return {**knobs, **fields_of(changed)}


def _options(knobs: Mapping[str, Any]) -> list[str]:
    """Command line options of knobs that are not the default; lanes are not among them."""
    default = asdict(Knobs())
    return [
        f"--{name.replace('_', '-')} {words(value)}"
        for name, value in knobs.items()
        if not name.startswith("lanes_") and words(value) != words(default.get(name, object()))
    ]


def _lanes(knobs: Mapping[str, Any]) -> str:
    """What ``--lanes`` takes; empty for the default."""
    x, h = (str(knobs.get(f"lanes_{side}", 1)) for side in "xh")
    return "" if (x, h) == ("1", "1") else x if x == h else f"{x},{h}"


def _for_make(text: str) -> str:
    """`text` as a word of a shell that runs make, which takes a dollar for a variable."""
    return shlex.quote(text.replace("$", "$$"))


def _suffix(knobs: Mapping[str, Any], checkpoint: str) -> str:
    """What belongs to ``make gru GENOME=...`` so that it is the network that was evaluated."""
    parts = []
    if lanes := _lanes(knobs):
        parts.append(f" LANES={_for_make(lanes)}")
    if checkpoint != DEFAULT_TASK:
        parts.append(f" CHECKPOINT={_for_make(checkpoint)}")
    if options := _options(knobs):
        text = " ".join(options)
        # What the knobs of this version are needs no more than quotation marks.
        plain = re.fullmatch(r"[\w .=-]*", text)
        parts.append(f' ARGS="{text}"' if plain else f" ARGS={_for_make(text)}")
    return "".join(parts)


def _file(folder: Path, name: str) -> tuple[str, bool]:
    """The genome file `name` as a command names it (nothing where it is not there), and whether it
    says itself with what checkpoint and knobs it was found."""
    path = folder / name
    text = str(path)
    # A list of integers in brackets looks like this.
    text = f"./{text}" if text[:1] in ("[", "(", "-") or text[:1].isdigit() else text
    try:
        document = read_json(path)
    except InputError:
        return "", False
    return text, isinstance(document, dict) and "found_with" in document


def _command(document: Document, folder: Path, **other: Any) -> str:
    """The command of a run; `other` replaces parts of its configuration."""
    config, setting = document["config"] | other, document["setting"]
    default = asdict(Config())
    always = ("objectives", "method", "pop_size", "generations", "exploit", "seed", "initial")
    parts = ["genogate", "search", "--checkpoint", setting["checkpoint"]]

    def add(name: str, value: object) -> None:
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        parts.extend([f"--{name.replace('_', '-')}", text])

    for name, value in config.items():
        usual = json.loads(json.dumps(default[name])) if name in default else None
        if (name not in always and value == usual) or name == "bit_weight":
            continue
        if name == "pop_size":
            add("pop", value)
        elif name == "max_drop" and value is None:
            add(name, "none")
        elif name == "limits" and isinstance(value, list):
            for limit in value:
                add(f"max_{limit[0]}", limit[1])
        elif name == "checkpoints" and isinstance(value, list):
            for checkpoint in value:
                add("also", checkpoint)
        elif name == "beacons" and value:
            parts.extend(["--beacon", "COMMAND"])
            add(name, value)
        elif name == "seeded":
            parts.extend([] if value else ["--unseeded"])
        elif value is True:
            parts.append(f"--{name.replace('_', '-')}")
        elif value is not None and value is not False and value != []:
            add(name, value)
    # With a target figures are always estimated first.
    estimated = setting.get("estimate") and setting.get("target", "generic") == "generic"
    parts += ["--estimate"] * bool(estimated)
    parts += [word for option in _options(setting["knobs"]) for word in option.split(" ", 1)]
    if lanes := _lanes(setting["knobs"]):
        parts += ["--lanes", lanes]
    return shlex.join([*parts, "--out", str(folder)])


def _random_twin(document: Document, folder: Path) -> str:
    """The command of a random search at as many evaluations as the run in `folder`."""
    config = document["config"]
    total = config.get("generations", 0) + config.get("exploit", 0)
    changes: Document = {"method": "random", "generations": total}
    changes |= {
        name: value for name, value in (("exploit", 0), ("initial", None)) if name in config
    }
    return _command(document, _next_to(folder, f"{folder.resolve().name}-random"), **changes)


def _next_to(folder: Path, name: str) -> Path:
    """The folder `name` beside `folder`, as its user would write it."""
    return folder.with_name(name) if folder.name not in ("", "..") else folder / ".." / name


def _alike(a: Document, b: Document) -> bool:
    """Whether two runs differ only in method and seed, and in what is another method's usual.
    Equal ones are one run and its copy."""
    if a["config"] == b["config"]:
        return False
    free = dict.fromkeys(("method", "seed"))
    if a["config"]["method"] != b["config"]["method"]:
        free |= dict.fromkeys(("generations", "exploit", "initial"))
    return a["config"] | free == b["config"] | free and a["setting"] == b["setting"]


def _siblings(folder: Path, document: Document) -> list[Path]:
    """Folders beside `folder` with runs that differ from its run only in method and seed."""
    own = folder.resolve()
    found = []
    try:
        others = sorted(path for path in own.parent.iterdir() if path != own)
    except OSError:
        return []
    for path in others:
        # Nobody asked for them, so what cannot be read is passed over.
        try:
            if (path / "config.json").is_file() and _alike(document, _config(path)):
                _history(path)
                found.append(_next_to(folder, path.name))
        except (InputError, OSError):
            continue
    return found[:MAX_SIBLINGS]


def _curve(folder: Path, document: Document, own: Document | None) -> Document:
    """Hypervolume by evaluations of a run; `own` is the run that it stands beside."""
    rows = _history(folder)
    config = document["config"]
    differing = (
        []
        if own is None
        else [
            f"{name.replace('_', ' ')} {words(config.get(name))}"
            for name in own["config"]
            if name not in ("method", "seed")
            and config.get(name) != own["config"][name]
            and config["method"] == own["config"]["method"]
        ]
    )
    return {
        "run": str(folder),
        "method": config["method"],
        "seed": config["seed"],
        "own": own is None,
        "other": ", ".join(differing),
        "x": [row["evaluations"] for row in rows],
        "y": [row["hypervolume"] for row in rows],
        "exploit": next(
            (
                rows[k - 1]["evaluations"]
                for k, row in enumerate(rows)
                if k and row.get("phase") == "exploit"
            ),
            None,
        ),
    }


def _curves(folder: Path, document: Document, beside: Sequence[Path]) -> list[Document]:
    """Hypervolume against evaluations, of this run and of those beside it."""
    curves = [_curve(folder, document, None)]
    done = {folder.resolve()}
    for path in beside:
        other = _config(path)
        if (
            other["config"]["objectives"] != document["config"]["objectives"]
            or other["config"].get("bit_weight") != document["config"].get("bit_weight")
            or other["setting"]["key"] != document["setting"]["key"]
        ):
            raise InputError(
                f"{path}: its objectives or setting differ from those of {folder}, so that their "
                "hypervolumes do not compare"
            )
        curves.append(_curve(path, other, document))
        done.add(path.resolve())
    for path in _siblings(folder, document):
        if path.resolve() not in done:
            curves.append(_curve(path, _config(path), document))
    return curves


def _measured(
    setting: Document, cases: Sequence[tuple[Key, str]], say: Say
) -> tuple[list[str], list[list[int]]]:
    """Names of the parts of the network, and for each case, a key and the checkpoint it goes with,
    the cells of each part."""
    known = {field.name for field in fields(Knobs)}
    base = {name: value for name, value in setting["knobs"].items() if name in known}
    if unknown := set(setting["knobs"]) - known:
        raise InputError(f"this version knows no knob {shown(min(unknown))}")
    drafts, hardware = [], []
    for number, ((genes, extra), checkpoint) in enumerate(cases):
        say(f"Quantising {number + 1} of {len(cases)} points")
        values: Document = {}
        for name, text in extra:
            if name == CHECKPOINT:
                continue
            field, *_ = options_of_knobs().get(name, (name,))
            values[name] = declared()[field].parse(text) if field in known else text
        values = _with(base, values)
        if unknown := values.keys() - known:
            raise InputError(f"this version knows no knob {shown(min(unknown))}")
        knobs = Knobs(**values)
        calibration = load(Setting(checkpoint, knobs)).calibration
        drafts.append(draft(calibration, Genome.from_genes(genes), knobs))
        hardware.append(knobs.hardware)
    chosen = iter(cheapest([group for made in drafts for group in made.groups], say))
    models = [made.choose([next(chosen) for _ in made.groups]) for made in drafts]
    designs = [Design.of(model, **of) for model, of in zip(models, hardware, strict=True)]
    prepare(designs, say)
    reports = [area_report(design, flat=False) for design in designs]
    # Networks that share hardware have other rows.
    names = list(dict.fromkeys(row.name for report in reports for row in report.rows))
    cells = [{row.name: row.area.cells for row in report.rows} for report in reports]
    names = [name for name in names if any(of.get(name) for of in cells)]
    return names, [[of.get(name, 0) for name in names] for of in cells]


def _generations(document: Document) -> int:
    """Generations of a run from its start to its end, with the one that measures what others
    estimated."""
    config = document["config"]
    last = bool(document["setting"].get("estimate") or config.get("proxy_only"))
    return sum(config.get(name) or 0 for name in ("generations", "exploit")) + last


def collect(
    folder: str | Path,
    beside: Sequence[str | Path] = (),
    *,
    cells: bool = True,
    say: Say = lambda text: None,
) -> Document:
    """Everything the page and the pictures show of the run in `folder`, JSON-able.

    beside : folders of runs whose hypervolume is drawn too, beside those that are found next to
        `folder` and differ from it only in method and seed
    cells : whether cells are measured operator by operator, which needs Yosys, or what it said once

    Raises :class:`InputError` for a folder that holds no run, one of another version, or files of
    it that are damaged. What is merely absent becomes a sentence under ``notes``.
    """
    folder = Path(folder)
    say("Reading the run")
    document = _config(folder)
    config, setting = document["config"], document["setting"]
    front, named = _front(folder)
    curves = _curves(folder, document, [Path(path) for path in beside])
    stored = _evaluated(folder / "evaluations.sqlite", document)
    results = stored.results
    for point in front:
        results[point.key] = results.get(point.key, {}) | point.figures
    if not results:
        raise InputError(f"{folder}: no evaluation of its setting; --resume the run")
    genes = len((front[0].key if front else min(results))[0])
    odd = [key for key in results if len(key[0]) != genes]
    for key in odd:
        del results[key]
    layers = genes // len(GENES)

    # What a point is called: front-N first, then named ones, then the homogeneous.
    labels: dict[Key, list[str]] = {}
    for point in front:
        labels.setdefault(point.key, []).append(point.name)
    for name, key in named.items():
        labels.setdefault(key, []).append(name)
    for bits in range(MIN_BITS, MAX_BITS + 1):
        if (key := ((bits,) * genes, ())) in results:
            labels.setdefault(key, []).append(f"int{bits}")
    on_front = {point.key: point for point in front}
    faint = [key for key in results if key not in labels]
    drawn = spread(faint, MAX_POINTS)
    # The front comes last, so that it is drawn above the others.
    keys = [*drawn, *(key for key in labels if key not in on_front), *on_front]

    generation = _history(folder)[-1].get("generation") if curves[0]["x"] else None
    total = _generations(document)
    finished = generation is not None and generation >= total
    objectives = OBJECTIVES | OLD_OBJECTIVES
    used = [name for name in objectives if any(name in results[key] for key in keys)]
    base_suffix = _suffix(setting["knobs"], setting["checkpoint"])
    suffixes: dict[str, int] = {base_suffix: 0}
    points, cases = [], []
    for key in keys:
        figures = results[key]
        made: Document = {"g": "".join(map(str, key[0])), "v": [figures.get(name) for name in used]}
        if key[1]:
            made["k"] = dict(key[1])
        if names := labels.get(key, []):
            made["n"] = names
        checkpoint, told = dict(key[1]).get(CHECKPOINT, setting["checkpoint"]), False
        if key in on_front:
            made["f"] = 1
            if beacon := on_front[key].beacon:
                checkpoint, made["w"] = str(folder / Path(beacon).name), 1
            if "test_accuracy" in figures:
                made["t"] = figures["test_accuracy"]
            if finished:
                # While a search goes on, another genome may take the file's name.
                file, told = _file(folder, names[0])
                made["c"] = _for_make(file) if file else ""
        elif names:
            made["c"] = names[-1]
        elif key in stored.retrained:
            made["w"] = 1
        suffix = "" if told else _suffix(_with(setting["knobs"], dict(key[1])), checkpoint)
        if number := suffixes.setdefault(suffix, len(suffixes)):
            made["s"] = number
        points.append(made)
        cases.append((key, checkpoint))

    notes = _notes(stored, front, odd, len(faint), len(drawn))
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
    int8 = results.get(((MAX_BITS,) * genes, ()), {})
    weight = config.get("bit_weight", BIT_WEIGHT)
    data: Document = {
        "run": str(folder),
        "task": setting["task"],
        "checkpoint": setting["checkpoint"],
        "checkpoint_hash": setting.get("checkpoint_hash"),
        "yosys": setting.get("yosys"),
        "knobs": setting["knobs"],
        "judged_on": setting.get("judged_on"),
        "config": config,
        "finished": finished,
        "generation": generation,
        "generations": total,
        "evaluations": len(results),
        "command": _command(document, folder),
        "objectives": config["objectives"],
        "figures": [_figure(name, int8.get(name), weight) for name in used],
        "useful_drop": USEFUL_DROP,
        "operators": [
            f"layer{layer}.{gene}" if layers > 1 else gene
            for layer in range(layers)
            for gene in GENES
        ],
        "points": points,
        "suffixes": list(suffixes),
        "history": curves,
        "parts": [],
        "cells": {},
        "cells_note": "",
        "notes": notes,
        "random": ""
        if any(curve["method"] == "random" for curve in curves)
        else _random_twin(document, folder),
    }
    _add_cells(data, setting, cases, cells, say)
    return data


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
    off = f" (on networks left out of the models' fit off by {', '.join(words)})" if words else ""
    return f"Figures of {target}{off}"


def _figure(name: str, int8: float | None, weight: object) -> Document:
    """What the page has to know of a figure besides its values."""
    unit, title = LABELS.get(name, ((OBJECTIVES | OLD_OBJECTIVES)[name][0], name))
    if name == "silicon":
        title = f"Cells and {weight:g} x memory bits" if _finite(weight) else title
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


def _add_cells(
    data: Document, setting: Document, cases: Sequence[tuple[Key, str]], wanted: bool, say: Say
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
    if not wanted:
        data["cells_note"] = "Cells by operator were not asked for."
        return
    front = [k for k, point in enumerate(points) if point.get("f")]
    chosen = set(spread(front, MAX_MEASURED))
    chosen |= {
        k
        for k, point in enumerate(points)
        if any(not name.startswith("front-") for name in point.get("n", ()))
    }
    order = sorted(chosen)
    try:
        parts, cells = _measured(setting, [cases[k] for k in order], say)
    except InputError as error:
        data["cells_note"] = f"Cells by operator are left out: {error}."
        return
    one_layer = len(data["operators"]) == len(GENES)
    data["parts"] = [name.removeprefix("layer0.") if one_layer else name for name in parts]
    data["cells"] = dict(zip(map(str, order), cells, strict=True))
    column = [figure["key"] for figure in data["figures"]]
    if "cells" in column:
        at = column.index("cells")
        differing = sum(
            points[k]["v"][at] not in (None, sum(row)) for k, row in zip(order, cells, strict=True)
        )
        if differing:
            data["cells_note"] = (
                "Cells by operator are those of this version, and do not add up to what the run "
                f"stored for {differing} of {len(order)} points."
            )
