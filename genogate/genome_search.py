"""Searches of genomes: from a command's options to a run, and what is said at its end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .model.aliases import Say
from .model.errors import InputError
from .network import source_of_search

if TYPE_CHECKING:
    from .model.knobs import Knobs
    from .search.genomes.candidate import Point
    from .search.genomes.config import Config
    from .search.genomes.run import Run


def _limits(options: dict[str, Any]) -> tuple[tuple[str, float], ...]:
    from .search.genomes.config import LIMITS

    named = ((name, options[f"max_{name}"]) for name in LIMITS)
    return tuple((name, value) for name, value in named if value is not None)


def parts(text: str) -> tuple[str, ...]:
    """Parts of a list with commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def named_by(text: str | None, option: str) -> tuple[str, ...] | None:
    """What an option with a list names; None where it is not given. Raises :class:`InputError` for
    one that names nothing, which is not the same."""
    if text is None:
        return None
    names = parts(text)
    if not names:
        raise InputError(f"{option}: {text[:40]!r} names none; give one or more, or leave it out")
    return names


def _search_config(options: dict[str, Any]) -> Config:
    from .search.genomes.config import Config

    drop = options["max_drop"]
    try:
        max_drop = None if drop == "none" else float(drop)
    except ValueError:
        raise InputError(f"max-drop: {drop[:40]!r} is neither a number nor none") from None
    exploit = options["exploit"]
    if exploit is None:
        exploit = 15 if options["method"] == "nsga2" else 0
    names = (
        "method",
        "pop_size",
        "generations",
        "seed",
        "initial",
        "beacon_distance",
        "target",
        "memories",
        "fit",
        "clock",
        "prescreen",
        "prescreen_factor",
        "proxy_only",
        "seed_patterns",
    )
    return Config(
        objectives=parts(options["objectives"]),
        exploit=exploit,
        max_drop=max_drop,
        knob_genes=parts(options["knob_genes"].replace("-", "_")),
        limits=_limits(options),
        beacons=options["beacons"] if options["beacon"] else 0,
        checkpoints=options["also"],
        **{name: options[name] for name in names},
    )


def _estimates(folder: Path, resume: bool) -> bool:
    """Whether cells are estimated where no option says it: as the run began that is resumed."""
    from .search.genomes.folder import parsed

    path = folder / "config.json"
    before = parsed(path) if resume and path.exists() else None
    setting = before.get("setting") if isinstance(before, dict) else None
    return bool(setting.get("estimate", False)) if isinstance(setting, dict) else True


def run_search(
    options: dict[str, Any],
    knobs: Knobs,
    out: str | None,
    resume: bool,
    say: Say,
    tell: Callable[[Any], None],
) -> tuple[dict[str, Any], Path]:
    """Search genomes on the validation part.

    Returns the front (``front.json``; with the option `test` its accuracies on the test part too),
    what is said at the end (``conclusion``, ``judged``, ``caution``), and the run's folder.
    """
    from .commands.terminal import tell_if_new
    from .search.genomes.beacons import by_command
    from .search.genomes.evaluate import Setting
    from .search.genomes.run import Run

    for name in ("start", "folds", "spare", "confirm", "keep_units"):
        # 0 was given too.
        if options[name] not in (None, (), []) and options[name] is not False:
            option = name.replace("_", "-")
            raise InputError(
                f"{option}: for a search within a budget; add --budget, or leave it out"
            )
    config = _search_config(options)
    source = source_of_search(options)
    label = Path(source).stem
    folder = Path(out or Path("runs") / f"{label}-{config.method}-{config.seed}{knobs.suffix}")
    estimate = options["estimate"]
    if estimate is None:
        estimate = _estimates(folder, resume)
    setting = Setting(
        source,
        knobs,
        config.silicon,
        estimate=config.target != "generic" or (estimate and config.silicon),
        target=config.target,
        memories=config.memories,
    )
    # By the further checkpoint that it begins with.
    sources: dict[str | None, str] = {None: source} | {name: name for name in config.checkpoints}
    retrain = (
        {
            name: by_command(options["beacon"], begun, knobs.changes)
            for name, begun in sources.items()
        }
        if options["beacon"]
        else None
    )
    begun = tell_if_new(folder, resume)
    run = Run(folder, setting, config, resume=resume, retrain=retrain)
    begun()
    front = run.go(
        workers=options["workers"],
        backend=options["backend"],
        scheduler=options["scheduler"],
        say=say,
        tell=tell,
    )
    report = _searched(run, front, options["test"], say)
    if run.evaluator.store.damaged:
        report["damaged"] = run.evaluator.store.damaged
    return report, folder


def _searched(run: Run, front: list[Point], test: bool, say: Say) -> dict[str, Any]:
    """The document of a run's front, and the table that a search ends with."""
    from dataclasses import replace

    from .model import zoo
    from .model.checkpoints.provenance import caution
    from .model.files import read_json, write_json
    from .reference import reference_of
    from .search.genomes import conclusion
    from .search.genomes.evaluate import Case, load, on_test
    from .search.genomes.folder import names_of

    path, setting = run.folder / "front.json", run.setting
    report = read_json(path)
    int8 = dict(run.points[run.int8].result)
    results: list[dict[str, Any]] = report["points"]
    if test:
        say("Test part")
        cases = [Case(setting, run.int8.genome)]
        for point in front:
            point_setting = point.candidate.setting(setting)
            checkpoint = point.beacon or point_setting.checkpoint
            cases.append(Case(replace(point_setting, checkpoint=checkpoint), point.genome))
        shares = on_test(cases)
        for result, share in zip([int8, *results], shares, strict=True):
            result["test_accuracy"] = share
    material, floating = load(setting), zoo.load(setting.checkpoint)
    reference = reference_of(material.task, floating, setting.knobs, int8["size"])
    name = reference.name or Path(setting.checkpoint).stem
    write_json(path, report | {"reference": {"name": name, "size": reference.bits}})
    named = {word: results[k] for k, names in names_of(run.ledger, front).items() for word in names}
    judged, images = len(material.y_shifted), len(material.task.y_val)
    shifted = setting.shifts and judged > images
    return report | {
        "conclusion": conclusion.table(results, named, int8, reference.bits),
        "reference": name,
        "judged": f"{images:,} validation sequences"
        + (f" and their {judged - images:,} shifted copies" if shifted else ""),
        "unit": material.task.unit,
        "caution": caution(floating),
    }
