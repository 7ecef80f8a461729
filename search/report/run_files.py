"""The files of a search's folder, read and checked."""

import hashlib
import json
import math
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ...model.errors import InputError, shown
from ...model.genome import Genome, split
from ..genomes.evaluate import OBJECTIVES
from ..genomes.folder import parsed
from ..genomes.remedies import AGAIN, Resume
from ..genomes.store import SCHEMA

#: Cells that a memory bit counted as in ``silicon``, which runs of before had as an objective, and
#: the default weight.
OLD_OBJECTIVES = {"silicon": ("cells + k memory bits", True)}
BIT_WEIGHT = 0.75
#: Of config.json; the first is that of files which name none.
VERSIONS = (1, 2, 3, 4, 5)
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


#: What brings a damaged store back.
ANEW = Resume("move it away", "which evaluates it again")


def is_finite(value: object) -> bool:
    """Whether `value` is a number that a double can hold."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def checked_mapping(path: Path, value: object, *parts: str) -> Document:
    """`value`, a mapping with mappings under `parts`, or an error that names the file."""
    good = isinstance(value, dict) and all(isinstance(value.get(part), dict) for part in parts)
    if not good:
        raise InputError(f"{path}: not the file of a search", AGAIN)
    return value  # type: ignore[return-value]


def read_config(folder: Path) -> Document:
    """The configuration of the run in `folder`."""
    path = folder / "config.json"
    if not path.exists():
        if (folder / "experiment.json").exists():
            page = folder / "page.html"
            has = f"its page is {page}" if page.exists() else f"see those in {folder / 'search'}"
            raise InputError(f"{folder}: an experiment, not a search; {has}")
        raise InputError(
            f"{folder}: no run of genogate search (it has no config.json)",
            "give the folder that the search wrote to",
        )
    document = parsed(path)
    if isinstance(document, dict) and document.get("kind") == "ladder":
        raise InputError(
            f"{folder}: a search with a budget, which draws its own page: {folder / 'page.html'}"
        )
    document = checked_mapping(path, document, "config", "setting")
    config, setting = document["config"], document["setting"]
    objectives = config.get("objectives")
    if document.get("version", VERSIONS[0]) not in VERSIONS:
        raise InputError(f"{path}: a run of another version; search again with this one")
    complete = (
        isinstance(objectives, list)
        and len(objectives) >= 2
        and all(isinstance(name, str) for name in objectives)
        and all(isinstance(setting.get(name), str) for name in ("checkpoint", "task", "key"))
        and isinstance(setting.get("knobs"), dict)
        and isinstance(config.get("method"), str)
        and type(config.get("seed")) is int
        and all(type(config.get(name, 0)) is int for name in ("generations", "exploit"))
        and all(isinstance(limit, list) and len(limit) == 2 for limit in config.get("limits") or ())
    )
    if not complete or not _all_finite(document):
        raise InputError(f"{path}: damaged, or of another version", AGAIN)
    return document


def _all_finite(document: Document) -> bool:
    """Whether no number in it is NaN or infinite, which a page cannot hold."""
    try:
        json.dumps(document, allow_nan=False)
    except ValueError:
        return False
    return True


def read_history(folder: Path) -> list[Document]:
    """Rows of history.json that say evaluations and hypervolume."""
    path = folder / "history.json"
    rows = parsed(path)
    if not isinstance(rows, list) or not all(
        isinstance(row, dict)
        and is_finite(row.get("evaluations"))
        and is_finite(row.get("hypervolume"))
        and isinstance(row.get("generation", 0), int)
        for row in rows
    ):
        raise InputError(f"{path}: not the history of a search", AGAIN)
    return rows


def extra_knobs(path: Path, knobs: object) -> tuple[tuple[str, str], ...]:
    """What a point sets itself, from its ``knobs``."""
    if knobs is None:
        return ()
    if not isinstance(knobs, dict):
        raise InputError(f"{path}: knobs of a point are {shown(knobs)}, a mapping is needed", AGAIN)
    return tuple(sorted((str(name), words(value)) for name, value in knobs.items()))


def words(value: object) -> str:
    """A value of a configuration, to be read."""
    if isinstance(value, list):
        return ", ".join(" ".join(map(str, v)) if isinstance(v, list) else str(v) for v in value)
    return "free" if value is None else str(value)


def figures_of(path: Path, where: str, result: object, remedy: object = AGAIN) -> Document:
    """The numbers of a result; refuses those that are none, with the remedy of the file at
    `path`."""
    if not isinstance(result, dict):
        raise InputError(f"{path}: the result of {where} is {shown(result)}", remedy)
    figures = {}
    for name, value in result.items():
        if name in OBJECTIVES or name in (*OLD_OBJECTIVES, "test_accuracy"):
            if value is None:
                continue
            if not is_finite(value):
                raise InputError(f"{path}: {name} of {where} is {shown(value)}", remedy)
        if is_finite(value):
            figures[str(name)] = value
    return figures


def read_front(folder: Path) -> tuple[list[FrontPoint], dict[str, Key]]:
    """Points of front.json, and which of them have names."""
    path = folder / "front.json"
    if not path.exists():
        raise InputError(f"{folder}: no front yet, its first generation is not over; wait for it")
    document = checked_mapping(path, parsed(path), "named")
    rows = document.get("points")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{path}: its points are no list", AGAIN)

    def genes(value: object, where: str) -> tuple[int, ...]:
        if not isinstance(value, list):
            raise InputError(f"{path}: {where}: {shown(value)} is no list of genes", AGAIN)
        try:
            return Genome.from_genes(value).genes
        except InputError as error:
            raise InputError(f"{path}: {where}: {error}", AGAIN) from None

    points = []
    for number, row in enumerate(rows):
        name, beacon = row.get("name", f"front-{number}"), row.get("beacon")
        if not isinstance(name, str) or not isinstance(beacon, str | None):
            raise InputError(f"{path}: point {number} has the name {shown(name)}", AGAIN)
        key = genes(row.get("genome"), f"point {number}"), extra_knobs(path, row.get("knobs"))
        points.append(FrontPoint(key, name, figures_of(path, name, row), beacon))
    if len({len(point.key[0]) for point in points}) > 1:
        raise InputError(f"{path}: genomes of different lengths", AGAIN)
    named = {}
    for name, value in document["named"].items():
        of = genes(value, str(name))
        same = [point for point in points if point.key[0] == of]
        # Of points with equal genes and other knobs, the one whose file says the same.
        if len(same) > 1 and (text := file_bytes(folder / name)):
            same = [point for point in same if file_bytes(folder / point.name) == text] or same
        if same:
            named[str(name)] = same[0].key
    return points, named


def file_bytes(path: Path) -> bytes:
    """Content of a small file; nothing where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def parse_key(text: str) -> Key | None:
    """A genome as the store writes it (``8,8,4 ... | granularity=channel``); None for another."""
    genes, *rest = text.split("|")
    words = re.findall(r"[^\s,;]+", genes)
    extra = [part.partition("=") for part in re.findall(r"[^\s,;|]+", " ".join(rest))]
    good = (
        words
        and split(len(words)) is not None
        and all(re.fullmatch(r"[2-8]", gene) for gene in words)
    )
    if not good or not all(sign for _, sign, _ in extra):
        return None
    return tuple(map(int, words)), tuple(sorted((name, unquote(value)) for name, _, value in extra))


@dataclass
class Evaluated:
    """What a store holds of a run.

    results : figures by key
    retrained : keys whose result is that of a beacon's weights
    unread : genomes of a form that this version does not know
    damaged : rows that were changed from outside
    foreign : rows of another setting, besides measurements at the end of a search by estimates
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
        raise InputError(
            f"{path}: missing, so what was evaluated is unknown",
            Resume(after="which evaluates it again"),
        )

    def read(mode: str) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)) as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if not version:
                raise sqlite3.DatabaseError("it holds nothing")
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
        raise InputError(f"{path}: not a store of evaluations ({error})", ANEW) from None
    if not all(isinstance(row.get(n), str) for row in rows for n in ("key", "genome", "result")):
        raise InputError(f"{path}: not a store of evaluations (values that are no text)", ANEW)
    return rows


def read_evaluated(path: Path, document: Document) -> Evaluated:
    """What the store at `path` holds of the run that `document` describes."""
    config, base = document["config"], document["setting"]["key"]
    weight = config.get("bit_weight", BIT_WEIGHT)
    evaluated, others = Evaluated({}, set()), []
    for row in _rows(path):
        key, text = row["key"], row["result"]
        checksum = hashlib.sha256(f"{key}\0{text}".encode()).hexdigest()[:16]
        if row.get("checksum", checksum) != checksum:
            evaluated.damaged += 1
            continue
        of_base = key.startswith(base)
        # Other knobs and other weights have keys of their own.
        if not of_base and "|" not in row["genome"] and not config.get("beacons"):
            others.append(row["genome"])
            continue
        try:
            result = json.loads(text)
        except (ValueError, RecursionError):
            raise InputError(
                f"{path}: the result of {shown(row['genome'])} is not JSON", ANEW
            ) from None
        figures = figures_of(path, shown(row["genome"]), result, ANEW)
        if "silicon" not in figures and {"cells", "memory"} <= figures.keys() and is_finite(weight):
            figures["silicon"] = figures["cells"] + weight * figures["memory"]
        if (of := parse_key(row["genome"])) is None:
            evaluated.unread += 1
        elif figures.get("accuracy", 0) > evaluated.results.get(of, {}).get("accuracy", -1):
            # As the search does: with whose weights it is best.
            evaluated.results[of] = figures
            (evaluated.retrained.discard if of_base or of[1] else evaluated.retrained.add)(of)
    if document["setting"].get("estimate"):
        # Measured in the end, under a key of their own.
        others = [genome for genome in others if parse_key(genome) not in evaluated.results]
    evaluated.foreign = len(others)
    return evaluated
