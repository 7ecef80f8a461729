"""What the commands do, as sequences of calls into the packages; parsing and printing are in cli.

Imports are inside the functions, so that ``genogate --help`` does not wait for NumPy.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__
from .model.errors import InputError

if TYPE_CHECKING:
    from .hdl.gru.design import Design
    from .model.checkpoints.floating import Checkpoint
    from .model.checkpoints.training import Recipe
    from .model.data.tasks import Task
    from .model.integer import IntModel
    from .model.knobs import Knobs
    from .search.genomes.candidate import Point
    from .search.genomes.config import Config
    from .search.genomes.run import Run
    from .sim.rtl.network.regression import SimReport

#: Told what is being done now, for a progress display.
Say = Callable[[str], None]


@dataclass(frozen=True)
class Network:
    """A quantised network with everything that it came from.

    folder : where its results go when the user names no other place
    int8_size_bits : size of the same network with every gene at 8
    """

    task: Task
    checkpoint: Checkpoint
    knobs: Knobs
    model: IntModel
    int8_size_bits: int
    folder: Path

    @cached_property
    def design(self) -> Design:
        """The hardware, planned once."""
        from .hdl.gru.design import Design

        return Design.of(self.model, self.knobs.lanes, self.knobs.share)


def _task_of(checkpoint: Checkpoint, name: str | None) -> Task:
    """The data that `checkpoint` was trained on, cut as it was cut for its training."""
    from .model.data.tasks import DEFAULT_TASK, is_own, load_task

    trained_on = checkpoint.info.get("task")
    name = name or trained_on or DEFAULT_TASK
    # A file may have been moved; its content is told by the hash of the split.
    moved = isinstance(trained_on, str) and is_own(trained_on) and is_own(name)
    if trained_on not in (None, name) and not moved:
        raise InputError(f"task {name!r:.60}: the checkpoint was trained on {trained_on!r:.60}")
    task = load_task(name, checkpoint.info.get("split_seed", 0))
    if checkpoint.info.get("split_hash", task.split_hash) != task.split_hash:
        raise InputError(
            f"checkpoint: it was trained on another split of {name}, so images of its training "
            "would count as test; train it again with this version"
        )
    task.check_head(checkpoint.head)
    have = checkpoint.input_size, checkpoint.classes
    need = task.features, task.classes
    if have != need:
        raise InputError(
            f"checkpoint: {have[0]} inputs and {have[1]} classes, "
            f"task {name} has {need[0]} and {need[1]}"
            + ("" if trained_on else ": say which data it is for, --task NAME or --task FILE.npz")
        )
    return task


def _source(checkpoint: str | None, task: str | None) -> str:
    """What :func:`.model.zoo.load` takes: the checkpoint given, or the one shipped for `task`."""
    from .model import zoo
    from .model.data.tasks import DEFAULT_TASK, check_name

    if task is not None:
        check_name(task)
    if checkpoint is None and task is not None and task not in zoo.names():
        raise InputError(
            f"task {task!r:.60}: no checkpoint is shipped for it: make one (genogate train --task "
            f"{task:.60} --out FILE, or genogate import) and give it with --checkpoint FILE"
        )
    if checkpoint is not None:
        return checkpoint
    return task or DEFAULT_TASK


def build_network(
    *, genome: str, task: str | None, checkpoint: str | None, knobs: Knobs, say: Say
) -> Network:
    """Calibrate and quantise. Raises :class:`InputError` for anything that does not fit."""
    from .model import zoo
    from .model.genome import Genome, parse_genome
    from .model.quantize.calibrate import calibrate
    from .model.quantize.quantize import quantize

    source = _source(checkpoint, task)
    floating = zoo.load(source)
    parsed = parse_genome(genome, floating.layers)
    data = _task_of(floating, task)
    from .synth.area import cheapest

    warn_of_features(data)
    say("Calibrating")
    calibration = calibrate(floating, data.x_calibration)
    say("Quantising")
    info = {
        "genogate": __version__,
        "task": data.name,
        "split_seed": data.split_seed,
        "split_hash": data.split_hash,
        "checkpoint": floating.hash,
    }
    chosen = partial(cheapest, progress=say)
    model = quantize(calibration, parsed, knobs, cheapest=chosen, info=info)
    int8 = quantize(calibration, Genome.uniform(8, floating.layers), knobs)
    # A shipped checkpoint is known by its name, any other by its content.
    place = source if source in zoo.names() else f"{data.label}-{floating.hash[:8]}"
    folder = Path("build") / place / f"{parsed.id}{knobs.suffix}"
    return Network(data, floating, knobs, model, int8.size_bits, folder)


def _test_score(network: Network) -> dict[str, Any]:
    """Score of the integer model on the test part, by the golden model; where it is no accuracy of
    classes, which measure it is, and the mean error of real answers."""
    from .sim import golden

    score = golden.score(network.model, network.task.x_test, network.task.y_test)
    document: dict[str, Any] = {"accuracy": round(score.value, 6)}
    if not network.task.plain:
        document["measure"] = network.task.measure
    if not network.model.head.plain:
        document["head"] = str(network.model.head)
    if network.task.real:
        document["mean_error"] = float(f"{score.mean_error:.6g}")
    return document


def _identity(network: Network) -> dict[str, Any]:
    """What a result must name so that it can be made again."""
    model = network.model
    return {
        "genogate": __version__,
        "task": network.task.name,
        "split_seed": network.task.split_seed,
        "split_hash": network.task.split_hash,
        "checkpoint": network.checkpoint.hash,
        "genome": {"id": model.genome.id, "layers": [list(genes) for genes in model.genome.layers]},
        "knobs": network.knobs.to_json(),
        "model_hash": model.hash,
    }


def area_document(network: Network, say: Say) -> dict[str, Any]:
    """Identity of the network, and what Yosys measures of it."""
    from .synth.area import area_report

    area = area_report(network.design, progress=say)
    return {**_identity(network), **area.to_json()}


def _float_network(network: Network) -> dict[str, Any]:
    """Test accuracy of the float network that quantisation began with, and which one that is.

    For weights that were trained on, the user's own network counts wherever it can still be read.
    """
    from .model.checkpoints import provenance
    from .model.checkpoints.floating import accuracy
    from .model.zoo import load

    x, y = network.task.x_test, network.task.y_test
    same = {"accuracy_float": round(accuracy(network.checkpoint, x, y), 6)}
    if not provenance.trained_further(network.checkpoint):
        return same | {"float_network": "the checkpoint"}
    about = provenance.original(network.checkpoint)
    document = same | {"float_network": "the trained weights, run as float", "original": about}
    try:
        before = load(about["source"])
    except (InputError, KeyError, TypeError):
        return document
    if before.hash == about.get("hash") and before.input_size == network.task.features:
        document["original"] = about | {"accuracy": round(accuracy(before, x, y), 6)}
    return document


def integration_files(network: Network, wrapper: str = "none") -> dict[str, str]:
    """Name -> text of what lies beside ``gru.v``: a self-checking bench in plain Verilog with
    vectors of the first test sequences, a `wrapper` where one is wanted, and a core file for
    FuseSoC."""
    from .synth.integration.fusesoc import NAME, core_file
    from .synth.integration.plain_bench import plain_bench, sequences_for
    from .synth.integration.wrapper import wrapper_verilog

    around = {}
    if wrapper != "none":
        around[f"gru_{wrapper}.v"] = wrapper_verilog(network.design, wrapper)

    x = network.task.x_test
    count = min(len(x), sequences_for(network.design, x.shape[1]))
    bench = plain_bench(network.design, network.model.quantize_input(x[:count]))
    return {**bench, **around, NAME: core_file(network.design, bench, around)}


def write_gru(
    network: Network, out: str | os.PathLike[str] | None, say: Say, wrapper: str = "none"
) -> dict[str, Any]:
    """Verilog with test bench and core file, integer model and report of `network`, all or none;
    returns the report."""
    from .model.checkpoints.provenance import unseen
    from .model.files import staged, write_json, write_text
    from .reference import reference_of
    from .synth.verilog import emit

    model, design = network.model, network.design
    with staged(out or network.folder) as stage:
        say("Emitting Verilog")
        write_text(stage / "gru.v", emit(design))
        for name, text in integration_files(network, wrapper).items():
            write_text(stage / name, text)
        model.save(stage / "model.safetensors")
        say("Evaluating the test part")
        score = _test_score(network)
        cycles, ideal = design.cycles_per_step, design.ideal_cycles_per_step
        steps = network.task.x_test.shape[1]
        area = area_document(network, say)
        identity = _identity(network)
        reference = reference_of(
            network.task, network.checkpoint, network.knobs, network.int8_size_bits
        )
        report = {
            **identity,
            **score,
            **_float_network(network),
            "test_sequences": len(network.task.x_test),
            # None: some network of the chain was trained on nobody knows what.
            "test_unseen": unseen(network.checkpoint)["test"],
            "size_bits": model.size_bits,
            **reference.document(model.size_bits),
            "cycles_per_step": cycles,
            "steps": steps,
            "cycles_per_sequence": design.cycles_per_sequence(steps),
            "utilisation": round(ideal / cycles, 4),
            **{key: value for key, value in area.items() if key not in identity},
        }
        write_json(stage / "report.json", report)
    return report


def write_area(network: Network, out: str | os.PathLike[str] | None, say: Say) -> dict[str, Any]:
    """``area.json`` of `network`; returns what it holds."""
    from .model.files import staged, write_json

    with staged(out or network.folder) as stage:
        document = area_document(network, say)
        write_json(stage / "area.json", document)
    return document


def run_sim(
    network: Network,
    *,
    sequences: int | None,
    seed: int,
    out: str | os.PathLike[str] | None,
    say: Say,
    simulator: str | None = None,
) -> tuple[SimReport, Path]:
    """Simulate the emitted Verilog over `sequences` test sequences (None: all of them).

    `simulator` as in :func:`~genogate.sim.rtl.simulators.choose`. Returns the report and its
    folder.
    """
    import numpy as np

    from .model.data.measures import lengths_of
    from .model.files import write_json
    from .sim.rtl.network.regression import simulate
    from .sim.rtl.simulators import choose
    from .synth.verilog import emit

    count = len(network.task.x_test)
    sequences = count if sequences is None else sequences
    if not 1 <= sequences <= count:
        raise InputError(f"sequences: {sequences} is not within 1 to {count}, the test part's size")
    chosen = np.sort(np.random.default_rng(seed).choice(count, sequences, replace=False))
    model = network.model
    folder = Path(out) if out else network.folder / "sim"
    simulator = choose(simulator, sequences, say)
    say("Emitting Verilog")
    text = emit(network.design)
    say(f"Simulating {sequences} test sequences in {simulator.capitalize()}")
    x = network.task.x_test[chosen]
    report = simulate(
        model,
        text,
        model.quantize_input(x),
        lengths=lengths_of(x),
        out_dir=folder,
        seed=seed,
        share=network.knobs.share,
        simulator=simulator,
        timeout_s=1800.0 + 5.0 * sequences,
    )
    document = {**_identity(network), "test_indices": chosen.tolist(), **report.to_json()}
    write_json(folder / "sim.json", document)
    return report, folder


def warn_of_features(task: Task) -> None:
    """Say on stderr, a line each, what is unfortunate about the features of `task`."""
    from .model.data.features import feature_warnings

    for line in feature_warnings(task.x_calibration):
        print(f"genogate: warning: {line}", file=sys.stderr, flush=True)


@contextmanager
def resumable(path: Path) -> Iterator[tuple[Path, Path]]:
    """Around a training whose result goes to the file `path`: where to write that, and the state
    that a training which was stopped goes on from, ``FILE.partial`` beside it.

    The result moves to its place, and the state goes, when the block ends well. Raises
    :class:`InputError` for a place that is a folder or cannot be written, before any work is done.
    """
    from .model.files import staged

    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a folder, a file is needed")
    state = path.with_name(f"{path.name}.partial")
    with staged(path.parent) as stage:
        yield stage / path.name, state
    state.unlink(missing_ok=True)


def sequences_of(task: str, seed: int) -> int | None:
    """Training sequences of one's own data, by which its recipe is chosen; None for others."""
    from .model.data.tasks import is_own, load_task

    return len(load_task(task, seed).x_train) if is_own(task) else None


def run_training(
    task: str,
    recipe: Recipe,
    out: str | os.PathLike[str] | None,
    progress: Callable[..., None],
    test: bool = False,
) -> tuple[Checkpoint, Path]:
    """Train, and save the checkpoint; also returns where it is. With `test` its accuracy on the
    test part is looked at too.

    A training that was stopped goes on from ``FILE.partial`` beside it.
    """
    from .model.checkpoints.floating import Checkpoint, accuracy
    from .model.checkpoints.training import train
    from .model.data.tasks import load_task

    data = load_task(task, recipe.seed)
    warn_of_features(data)
    path = Path(out or Path("build") / data.label / f"seed{recipe.seed}.safetensors")
    with resumable(path) as (made, state):
        checkpoint = train(data, recipe, progress, state=state)
        if test:
            score = round(accuracy(checkpoint, data.x_test, data.y_test), 6)
            scores = {**checkpoint.info["accuracy"], "test": score}
            checkpoint = Checkpoint(checkpoint.tensors, {**checkpoint.info, "accuracy": scores})
        checkpoint.save(made)
    return checkpoint, path


def run_import(
    model: str,
    task: str,
    seed: int,
    out: str | None,
    gru: str | None,
    classifier: str | None,
    test: bool = False,
) -> tuple[Checkpoint, Path]:
    """Read a model trained elsewhere, and save it as a checkpoint; also returns where it is. With
    `test` its accuracy on the test part is kept too."""
    from .model.checkpoints.floating import Checkpoint
    from .model.checkpoints.importing import import_model
    from .model.data.tasks import load_task

    data = load_task(task, seed)
    path = Path(out) if out else Path("build") / data.label / f"{Path(model).stem}.safetensors"
    if path.exists() and path.samefile(model):
        raise InputError(f"cannot write {path}: it is the model itself, give another --out")
    checkpoint = import_model(model, data, gru=gru, classifier=classifier)
    warn_of_features(data)
    scores = checkpoint.info["accuracy"]
    looked_at = {part: scores[part] for part in scores if test or part != "test"}
    checkpoint = Checkpoint(checkpoint.tensors, {**checkpoint.info, "accuracy": looked_at})
    checkpoint.save(path)
    return checkpoint, path


def run_golden(
    model_file: str | os.PathLike[str],
    inputs: str | os.PathLike[str],
    outputs: str | os.PathLike[str],
) -> dict[str, tuple[int, ...]]:
    """Evaluate integer codes and write the results; names and shapes of what was written.

    ``*.npz`` receives the arrays ``hidden``, ``logits`` and ``classes``; ``NAME.npy`` the hidden
    states, and ``NAME.logits.npy`` beside it the logits.
    """
    import numpy as np

    from .model.files import read_array, staged
    from .model.integer import IntModel
    from .sim import golden

    target = Path(outputs)
    if target.suffix not in (".npy", ".npz") or target.is_dir():
        raise InputError(f"{target}: the output must be a file named *.npz or *.npy")
    beside = target.with_suffix(".logits.npy")
    for path in [target] if target.suffix == ".npz" else [target, beside]:
        for source in (model_file, inputs):
            if path.exists() and Path(source).exists() and path.samefile(source):
                raise InputError(f"cannot write {path}: it is an input, name another output")
    result = golden.run(IntModel.load(model_file), read_array(inputs))
    with staged(target.parent) as stage:
        if target.suffix == ".npz":
            hidden, logits, classes = result.hidden, result.logits, result.classes
            np.savez(stage / target.name, hidden=hidden, logits=logits, classes=classes)
            return {
                f"{target}:hidden": hidden.shape,
                f"{target}:logits": logits.shape,
                f"{target}:classes": classes.shape,
            }
        np.save(stage / target.name, result.hidden)
        np.save(stage / beside.name, result.logits)
        return {str(target): result.hidden.shape, str(beside): result.logits.shape}


def _limits(options: dict[str, Any]) -> tuple[tuple[str, float], ...]:
    from .search.genomes.config import LIMITS

    named = ((name, options[f"max_{name}"]) for name in LIMITS)
    return tuple((name, value) for name, value in named if value is not None)


def parts(text: str) -> tuple[str, ...]:
    """Parts of a list with commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


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
        "bit_weight",
        "beacon_distance",
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
    from .model import zoo
    from .search.genomes.beacons import by_command
    from .search.genomes.evaluate import Setting
    from .search.genomes.run import Run

    config = _search_config(options)
    source = _source(options["checkpoint"], options["task"])
    _task_of(zoo.load(source), options["task"])
    setting = Setting(
        source, knobs, config.silicon, estimate=options["estimate"] and config.silicon
    )
    label = Path(source).stem
    folder = Path(out or Path("runs") / f"{label}-{config.method}-{config.seed}{knobs.suffix}")
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
    run = Run(folder, setting, config, resume=resume, retrain=retrain)
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
            own = point.candidate.setting(setting)
            checkpoint = point.beacon or own.checkpoint
            cases.append(Case(replace(own, checkpoint=checkpoint), point.genome))
        shares = on_test(cases)
        for result, share in zip([int8, *results], shares, strict=True):
            result["test_accuracy"] = share
        write_json(path, report)
    material, floating = load(setting), zoo.load(setting.checkpoint)
    reference = reference_of(material.task, floating, setting.knobs, int8["size"])
    named = {name: results[k] for k, names in names_of(run.ledger, front).items() for name in names}
    judged, images = len(material.y_shifted), len(material.task.y_val)
    shifted = setting.shifts and judged > images
    return report | {
        "conclusion": conclusion.table(results, named, int8, reference.bits),
        "reference": reference.name or Path(setting.checkpoint).stem,
        "judged": f"{images:,} validation sequences"
        + (f" and their {judged - images:,} shifted copies" if shifted else ""),
        "caution": caution(floating),
    }
