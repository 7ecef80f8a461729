"""What ``genogate qat`` does: training for a genome, or for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .model.aliases import Say
from .network import (
    genome_name,
    result_folder,
    source_of,
    task_of,
    warn_of_features,
    with_remedy,
)
from .outputs import resumable

if TYPE_CHECKING:
    from .model.checkpoints.floating import Checkpoint
    from .model.data.tasks import Task
    from .model.knobs import Knobs
    from .model.qat.tune import Tuned
    from .model.quantize.quantize import Cheapest
    from .reference import Reference

#: Told after every epoch: epochs done, epochs in all, mean loss, validation accuracy.
Tell = Callable[[int, int, float, float], None]
#: Homogeneous genomes that training for all of them is reported by.
REPORTED = (8, 4, 3, 2)
#: What to do where training made a network worse.
ONE_REMEDY = (
    "give more --epochs, or use the untrained network: genogate gru without this checkpoint"
)
ALL_REMEDY = "give more --epochs, or use the checkpoint from before for these"


def _loaded(checkpoint: str | None, task: str | None) -> tuple[Checkpoint, Task]:
    from .model import zoo

    floating = zoo.load(source_of(checkpoint, task))
    data = task_of(floating, task)
    warn_of_features(data)
    return floating, data


def _source_name(checkpoint: str | None, task: str | None) -> str:
    """The name of a shipped checkpoint, or the full path of a file."""
    from .model import zoo

    name = source_of(checkpoint, task)
    return name if name in zoo.names() else str(Path(name).resolve())


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Options of a recipe that were given."""
    settings = {name: value for name, value in options.items() if value is not None}
    if settings.get("distil") is True:
        del settings["distil"]
    elif "distil" in settings:
        settings["distil"] = 0.0
    return settings


def _scores(model: Any, data: Task, test: bool) -> dict[str, float]:
    """Accuracy of an integer model, or of a float checkpoint, on the validation part and, where
    `test` asks for it, on the test part."""
    from .model.checkpoints import floating
    from .sim import fast

    of = floating.accuracy if isinstance(model, floating.Checkpoint) else fast.accuracy
    return {
        part: round(of(model, *data.scored(part)), 6)
        for part in (("val", "test") if test else ("val",))
    }


def worsened(genomes: Mapping[str, Mapping[str, Any]], after: str, remedy: str) -> dict[str, str]:
    """The sentence of a report on networks that are less accurate on validation after training
    than quantisation alone makes them; nothing where there is none.

    genomes : accuracies before (``ptq``) and `after` by genome
    """
    rows = [
        f"{name} {both[after]['val']:.4f} where quantisation alone has {both['ptq']['val']:.4f}"
        for name, both in genomes.items()
        if both[after]["val"] < both["ptq"]["val"]
    ]
    if not rows:
        return {}
    return {"worse": f"less accurate on validation than untrained: {', '.join(rows)}; {remedy}"}


def _cheapest(knobs: Knobs, say: Say) -> Cheapest | None:
    """What chooses activation units by synthesis, where `knobs` ask for it."""
    if knobs.activation != "auto":
        return None
    from .synth.report import cheapest

    say("Choosing activation units")
    return partial(cheapest, progress=say)


def _report(
    data: Task, tuned: Tuned, scores: dict[str, Any], reference: Reference
) -> dict[str, Any]:
    """What a training says of its network."""
    return {
        "task": data.name,
        "genome": tuned.model.genome.id,
        "accuracy": scores,
        "size_bits": tuned.model.size_bits,
        **reference.document(tuned.model.size_bits),
        "epochs_done": tuned.epochs,
        "best_epoch": tuned.best_epoch,
        "model_hash": tuned.model.hash,
    }


def run_tuning(
    *,
    genome: str,
    task: str | None,
    checkpoint: str | None,
    knobs: Knobs,
    out: str | None,
    options: dict[str, Any],
    say: Say,
    tell: Tell,
    test: bool = False,
) -> tuple[dict[str, Any], Path]:
    """Train for one genome and save the checkpoint; accuracies on the validation part (with `test`
    on the test part too) beside those of quantisation alone, and where it is. A training that was
    stopped goes on from ``FILE.partial`` beside it."""
    from .model.checkpoints.descent import import_torch
    from .model.checkpoints.floating import Checkpoint
    from .model.checkpoints.provenance import ORIGINAL, caution
    from .model.genome import Genome, parse_genome
    from .model.qat.recipe import Tuning
    from .model.qat.structure import import_kernels
    from .model.qat.tune import tune
    from .model.quantize.calibrate import calibrate
    from .model.quantize.quantize import quantize
    from .model.quantize.trained import without_record
    from .reference import reference_of

    recipe = Tuning(**_given(options))
    import_torch()
    import_kernels()
    floating, data = _loaded(checkpoint, task)
    folder = result_folder(source_of(checkpoint, task), floating)
    floating = without_record(floating)
    with with_remedy(genome):
        parsed = parse_genome(genome, *floating.counts)
    path = Path(out or folder / f"{genome_name(genome, parsed)}{knobs.suffix}-qat.safetensors")
    with resumable(path) as (place, state):
        say("Calibrating")
        calibration = calibrate(floating, data.x_calibration, fold=False)
        cheapest = _cheapest(knobs, say)
        before = quantize(calibration, parsed, knobs, cheapest=cheapest)
        say("Training")
        tuned = tune(
            data,
            floating,
            parsed,
            knobs,
            recipe,
            cheapest=cheapest,
            calibration=calibration,
            progress=tell,
            state=state,
        )
        models = {"float": floating, "ptq": before, "qat": tuned.model}
        scores = {name: _scores(model, data, test) for name, model in models.items()}
        int8 = quantize(calibration, Genome.uniform(8, *floating.counts), knobs)
        reference = reference_of(data, floating, knobs, int8.size_bits)
        report = {
            **_report(data, tuned, scores, reference),
            **worsened({tuned.model.genome.id: scores}, "qat", ONE_REMEDY),
            "caution": caution(floating),
        }
        worse = {name: report[name] for name in ("worse",) if name in report}
        info = {**tuned.checkpoint.info, "accuracy": scores["qat"], "before": scores, **worse}
        info[ORIGINAL] = {"source": _source_name(checkpoint, task), **info[ORIGINAL]}
        Checkpoint(tuned.checkpoint.tensors, info).save(place)
    return report, path


def run_any(
    *,
    task: str | None,
    checkpoint: str | None,
    knobs: Knobs,
    out: str | None,
    options: dict[str, Any],
    say: Say,
    tell: Tell,
    test: bool = False,
) -> tuple[dict[str, Any], Path]:
    """Train for all genomes and save the checkpoint; accuracies of homogeneous genomes by
    quantisation, before and after, on the parts that :func:`run_tuning` names."""
    from .model.checkpoints.descent import import_torch
    from .model.checkpoints.floating import Checkpoint
    from .model.checkpoints.provenance import ORIGINAL, caution
    from .model.genome import Genome
    from .model.qat.any_precision import AnyTuning, tune_any
    from .model.qat.structure import import_kernels
    from .model.quantize.calibrate import calibrate
    from .model.quantize.quantize import quantize

    recipe = AnyTuning(**_given(options))
    import_torch()
    import_kernels()
    floating, data = _loaded(checkpoint, task)
    folder = result_folder(source_of(checkpoint, task), floating)
    path = Path(out or folder / f"any{knobs.suffix}.safetensors")
    with resumable(path) as (place, state):
        say("Training")
        tuned = tune_any(data, floating, knobs, recipe, progress=tell, state=state)
        say("Evaluating")
        both = [calibrate(which, data.x_calibration, fold=False) for which in (floating, tuned)]
        scores = {}
        for bits in REPORTED:
            genome = Genome.uniform(bits, *floating.counts)
            before, after = (_scores(quantize(c, genome, knobs), data, test) for c in both)
            scores[genome.id] = {"ptq": before, "any": after}
        report = {
            "task": data.name,
            "accuracy": {"float": _scores(floating, data, test), **scores},
            **worsened(scores, "any", ALL_REMEDY),
            "caution": caution(floating),
        }
        source = {"source": _source_name(checkpoint, task), **tuned.info[ORIGINAL]}
        Checkpoint(tuned.tensors, {**tuned.info, ORIGINAL: source}).save(place)
    return report, path
