"""What lands in a folder, all or nothing: Verilog, integer model, reports, checkpoints."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .integration import integration_files
from .model.aliases import Say
from .model.errors import InputError
from .network import Network, identity_of, loaded_document
from .pace import Pace


def _score_document(network: Network) -> dict[str, Any]:
    """Score of the integer model on the test part; where it is no accuracy of classes, which
    measure it is, and the mean error of real answers."""
    score = network.score("test")
    document: dict[str, Any] = {"accuracy": round(score.value, 6)}
    if not network.task.plain:
        document["measure"] = network.task.measure
    if not network.model.head.plain:
        document["head"] = str(network.model.head)
    if network.task.real and score.mean_error is not None:
        document["mean_error"] = float(f"{score.mean_error:.6g}")
    return document


def area_document(network: Network, say: Say) -> dict[str, Any]:
    """Identity of the network, and what Yosys measures of it."""
    from .synth.report import area_report

    area = area_report(network.design, progress=say)
    return {**identity_of(network), **area.to_json()}


def _float_network(network: Network) -> dict[str, Any]:
    """Test accuracy of the float network that quantisation began with, and which one that is.

    For weights that were trained on, the user's own network counts wherever it can still be read.
    """
    from .model.checkpoints import provenance
    from .model.checkpoints.floating import accuracy
    from .model.zoo import load

    x, y = network.task.scored("test")
    same = {"accuracy_float": round(accuracy(network.checkpoint, x, y), 6)}
    if not provenance.trained_further(network.checkpoint):
        return same | {"float_network": "the checkpoint"}
    original = provenance.original(network.checkpoint)
    document = same | {"float_network": "the trained weights, run as float", "original": original}
    try:
        before = load(original["source"])
    except (InputError, KeyError, TypeError):
        return document
    if before.hash == original.get("hash") and before.input_size == network.task.features:
        document["original"] = original | {"accuracy": round(accuracy(before, x, y), 6)}
    return document


def write_gru(
    network: Network,
    out: str | os.PathLike[str] | None,
    say: Say,
    wrapper: str = "none",
    target: str = "generic",
    memories: str = "flops",
    pace: Pace | None = None,
) -> dict[str, Any]:
    """Verilog with test bench and core file, integer model and report of `network`, all or none;
    returns the report. With a `target` also ``target.json``, which the report returned has as
    ``on_target``. Raises :class:`InputError` where it is too slow for `pace`."""
    from .model.checkpoints.provenance import unseen
    from .model.files import staged, write_json, write_text
    from .reference import reference_of
    from .synth.verilog import emit

    model, design = network.model, network.design
    demand = pace.document(network) if pace else {}
    with staged(out or network.folder) as stage:
        say("Emitting Verilog")
        write_text(stage / "gru.v", emit(design, network.task.steps))
        for name, text in integration_files(network, wrapper).items():
            write_text(stage / name, text)
        model.save(stage / "model.safetensors")
        say("Evaluating the test part")
        score = _score_document(network)
        cycles, ideal = design.cycles_per_step, design.ideal_cycles_per_step
        steps = network.task.steps
        area = area_document(network, say)
        identity = identity_of(network)
        reference = reference_of(
            network.task, network.checkpoint, network.knobs, network.int8_size_bits
        )
        report = {
            **identity,
            **score,
            **_float_network(network),
            "test_sequences": len(network.task.x_test),
            # None: what some network of the chain was trained on is unknown.
            "test_unseen": unseen(network.checkpoint)["test"],
            "size_bits": model.size_bits,
            **reference.document(model.size_bits),
            **loaded_document(network),
            "cycles_per_step": cycles,
            "steps": steps,
            "cycles_per_sequence": design.cycles_per_sequence(steps),
            "utilisation": round(ideal / cycles, 4),
            **demand,
            **{key: value for key, value in area.items() if key not in identity},
        }
        write_json(stage / "report.json", report)
        if target != "generic":
            from .targets import target_document

            document = target_document(network, target, False, say, memories)
            write_json(stage / "target.json", document)
            report = report | {"on_target": document}
    return report


def write_area(network: Network, out: str | os.PathLike[str] | None, say: Say) -> dict[str, Any]:
    """``area.json`` of `network`; returns what it holds."""
    from .model.files import staged, write_json

    with staged(out or network.folder) as stage:
        document = area_document(network, say)
        write_json(stage / "area.json", document)
    return document


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
