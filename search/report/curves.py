"""Curves of the hypervolume: of a run, and of the comparable runs beside it."""

from collections.abc import Sequence
from pathlib import Path

from ...model.errors import InputError
from .run_files import Document, read_config, read_history, words

#: Runs beside this one that are looked at, unasked.
MAX_SIBLINGS = 40


def next_to(folder: Path, name: str) -> Path:
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


def siblings(folder: Path, document: Document) -> list[tuple[Path, Document]]:
    """Folders beside `folder` with runs that differ from its run only in method and seed, and
    their configurations."""
    place = folder.resolve()
    alike: list[tuple[Path, Document]] = []
    try:
        others = sorted(path for path in place.parent.iterdir() if path != place)
    except OSError:
        return []
    for path in others:
        # Nobody asked for them, so what cannot be read is passed over.
        try:
            if not (path / "config.json").is_file():
                continue
            if _alike(document, other := read_config(path)):
                read_history(path)
                alike.append((next_to(folder, path.name), other))
        except (InputError, OSError):
            continue
    return alike[:MAX_SIBLINGS]


def _curve(folder: Path, document: Document, shown_run: Document | None) -> Document:
    """Hypervolume by evaluations of a run; `shown_run` is the run that it stands beside."""
    rows = read_history(folder)
    config = document["config"]
    differing = (
        []
        if shown_run is None
        else [
            f"{name.replace('_', ' ')} {words(config.get(name))}"
            for name in shown_run["config"]
            if name not in ("method", "seed")
            and config.get(name) != shown_run["config"][name]
            and config["method"] == shown_run["config"]["method"]
        ]
    )
    return {
        "run": str(folder),
        "method": config["method"],
        "seed": config["seed"],
        "own": shown_run is None,
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


def curves_of(folder: Path, document: Document, beside: Sequence[Path]) -> list[Document]:
    """Hypervolume against evaluations, of this run and of those beside it."""
    curves = [_curve(folder, document, None)]
    done = {folder.resolve()}
    for path in beside:
        other = read_config(path)
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
    for path, other in siblings(folder, document):
        if path.resolve() not in done:
            curves.append(_curve(path, other, document))
    return curves
