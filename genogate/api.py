"""The Python API: a network quantised, and all that can be done with it, without a command.

Every name raises :class:`~genogate.InputError`, with the line that the command would print, where
an input does not fit.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .model.errors import InputError, shown
from .model.knobs import Knobs, fields_of
from .network import Network as Quantised
from .network import build_network, check_recorded, recorded_with

if TYPE_CHECKING:
    import click
    import numpy as np

    from .model.aliases import Say
    from .model.checkpoints.floating import Checkpoint
    from .model.integer import IntModel
    from .model.tables.table import LutTable
    from .sim.golden import Result
    from .sim.rtl.network.regression import SimReport
    from .synth.report import AreaReport


def _silent(text: str) -> None:
    pass


#: Objectives of a search where none are given.
SEARCHED = ("accuracy", "size", "cells")


class Network:
    """A quantised network; :func:`quantize` makes it.

    model : the integers, what the hardware computes
    knobs : the choices beside the genome
    checkpoint : the float network that it was quantised from
    """

    def __init__(self, built: Quantised, say: Say = _silent) -> None:
        self._built, self._say = built, say
        self.model: IntModel = built.model
        self.knobs: Knobs = built.knobs
        self.checkpoint: Checkpoint = built.checkpoint

    def __repr__(self) -> str:
        genome, task = self.model.genome.id, self._built.task.name
        return f"<Network {genome} of {task}, {self.size_bits:,} bits>"

    @property
    def size_bits(self) -> int:
        """Bits of all weights and biases."""
        return self.model.size_bits

    def accuracy(self, part: str = "test") -> float:
        """Share of the sequences of `part` (train, val or test) that the integers class rightly."""
        if part not in ("train", "val", "test"):
            raise InputError(f"part: {shown(part)} is not train, val or test")
        return self._built.score(part).value

    def codes(self, x: np.ndarray) -> np.ndarray:
        """The integer codes of real inputs [batch, steps, features]."""
        return self.model.quantize_input(x)

    def golden(self, codes: np.ndarray) -> Result:
        """Hidden states, logits and classes for integer codes [batch, steps, features], exactly as
        the hardware computes them."""
        from .sim import golden

        return golden.run(self.model, codes)

    def emit(self, path: str | os.PathLike[str] | None = None) -> str:
        """The Verilog; written to the file `path` as well where that is given."""
        from .model.files import write_text
        from .synth.verilog import emit

        text = emit(self._built.design, self._built.task.steps)
        if path is not None:
            write_text(path, text)
        return text

    def simulate(
        self,
        sequences: int | None = 8,
        *,
        seed: int = 2026,
        simulator: str | None = None,
        out: str | os.PathLike[str] | None = None,
    ) -> SimReport:
        """Hold the Verilog to the golden model over test sequences.

        sequences : how many; None for the whole test part
        simulator : ``"icarus"`` or ``"verilator"``; by default the one that is done first
        out : folder for the simulation's files; a temporary one by default
        """
        from .model.leftovers import scratch
        from .simulation import run_sim

        with scratch() as folder:
            report, _ = run_sim(
                self._built,
                sequences=sequences,
                seed=seed,
                simulator=simulator,
                out=out or folder,
                say=self._say,
            )
        return report

    def on_target(self, target: str, memories: str = "flops") -> dict[str, Any]:
        """What the network takes of a real part, as ``genogate area --target`` writes it to
        ``target.json``: an FPGA by name, or ``sky130`` with `memories` as ``flops``, ``latches`` or
        ``sram``."""
        from .targets import check_target_options, target_document

        check_target_options(target, memories)
        if target == "generic":
            raise InputError("target generic: no part; area() counts its cells")
        return target_document(self._built, target, False, self._say, memories)

    def area(self) -> AreaReport:
        """Cells, transistors and memory bits of every operator, by Yosys."""
        from .synth.report import area_report

        return area_report(self._built.design, progress=self._say)

    def save(self, folder: str | os.PathLike[str]) -> dict[str, Any]:
        """Write ``gru.v`` with its test bench and core file, ``model.safetensors`` and
        ``report.json`` to `folder`, all or none; the report is returned too."""
        from .outputs import write_gru

        return write_gru(self._built, folder, self._say)


def quantize(
    source: str | os.PathLike[str] | Checkpoint | Mapping[str, Any] | Any = None,
    genome: str | os.PathLike[str] | Sequence[int] = "int8",
    *,
    task: str | None = None,
    say: Say | None = None,
    **knobs: Any,
) -> Network:
    """A float network as integers.

    source : a shipped checkpoint's name, a checkpoint's file, a ``Checkpoint``, a torch module with
        a ``torch.nn.GRU`` and linear layers, or a state dict; what a genome file was found
        with by default
    genome : ``"int2"`` to ``"int8"``, 17 integers for each layer, or a genome file
    task : the data, by name or a file NAME.npz; what the checkpoint was trained on by default, and
        digits-row for a module or a state dict
    knobs : fields of :class:`Knobs`, and ``lanes`` for both sides; the others are at their
        defaults, or as a genome file was found with
    """
    from .model.checkpoints.floating import Checkpoint
    from .model.leftovers import scratch

    say = say or _silent
    text = genome if isinstance(genome, str | os.PathLike) else ",".join(map(str, genome))
    recorded, usual = recorded_with(str(text)) or (None, Knobs())
    if source is None and recorded is not None:
        check_recorded(str(text), recorded)
    source = recorded if source is None else source
    if source is None:
        raise InputError(
            "source: give a checkpoint, a torch module or a state dict; only a genome file of a "
            "search names its own"
        )
    try:
        choices = replace(usual, **fields_of(knobs))
    except TypeError:
        unknown = min(set(fields_of(knobs)) - set(vars(Knobs())))
        raise InputError(
            f"knob {shown(unknown)}: unknown, there are {', '.join(vars(Knobs()))}"
        ) from None
    with scratch() as folder:
        name: str
        if isinstance(source, Checkpoint):
            source.save(folder / "checkpoint.safetensors")
            name = str(folder / "checkpoint.safetensors")
        elif isinstance(source, str | os.PathLike):
            name = os.fspath(source)
        else:
            name = str(_imported(source, task, folder))
        built = build_network(genome=str(text), task=task, checkpoint=name, knobs=choices, say=say)
    return Network(built, say)


def _imported(source: Any, task: str | None, folder: Path) -> Path:
    """The checkpoint's file of a torch module or a state dict."""
    import numpy as np
    from safetensors.numpy import save_file

    from .model.checkpoints.from_module import from_module
    from .model.checkpoints.importing import import_model, scored
    from .model.data.tasks import DEFAULT_TASK, load_task

    data = load_task(task or DEFAULT_TASK, 0)
    computed = from_module(source, data, folder)
    if computed is not None:
        scored(computed, data, type(source).__name__).save(folder / "checkpoint.safetensors")
        return folder / "checkpoint.safetensors"
    state = source if isinstance(source, Mapping) else getattr(source, "state_dict", lambda: None)()
    if not isinstance(state, Mapping):
        raise InputError(
            f"source: a {type(source).__name__} is neither a name, a file, a checkpoint, a torch "
            "module nor a state dict"
        )
    tensors = {}
    for name, tensor in state.items():
        if hasattr(tensor, "detach"):
            tensor = tensor.detach().cpu().double().numpy()
        try:
            tensors[str(name)] = np.ascontiguousarray(tensor, dtype=np.float32)
        except (TypeError, ValueError):
            raise InputError(f"source: {shown(name)} is not a tensor of numbers") from None
    save_file(tensors, folder / "state.safetensors")
    checkpoint = import_model(folder / "state.safetensors", data)
    checkpoint.save(folder / "checkpoint.safetensors")
    return folder / "checkpoint.safetensors"


def _path(name: str, value: Any) -> str:
    """A path as text. Raises :class:`InputError` for what is none."""
    try:
        return os.fspath(value)
    except TypeError:
        raise InputError(f"{name}: a {type(value).__name__} is no path, give a text") from None


def _converted(name: str, value: Any, param: click.Parameter) -> Any:
    """An option as the command would have it from its text. Raises :class:`InputError`."""
    import click

    if isinstance(param, click.Option) and param.multiple:
        return (value,) if isinstance(value, str) else tuple(value)
    if isinstance(value, list | tuple):
        text = param.type is click.STRING and param.nargs == 1
        return ",".join(map(str, value)) if text else value
    whole = isinstance(param.type, click.types.IntParamType)
    if whole and isinstance(value, float) and not value.is_integer():
        raise InputError(f"{name}: {shown(value)} is no whole number")
    try:
        return param.type.convert(value, param, None)
    except click.BadParameter as error:
        raise InputError(f"{name}: {error.message}") from None


def _command(name: str) -> click.Command:
    from .cli import app

    command = app.get_command(None, name)
    assert command is not None
    return command


def _given(command: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Options by the names that the command has for them; without those that are None. Raises
    :class:`InputError` for one that it does not have, or cannot have."""
    params = {param.name: param for param in _command(command).params}
    # --pop is called pop_size.
    names = {opt.lstrip("-").replace("-", "_"): p.name for p in params.values() for opt in p.opts}
    found = {}
    for text, value in given.items():
        name = text if text in params else names.get(text)
        if name is None:
            raise InputError(f"{command}: unknown option {shown(text)}")
        if value is not None:
            found[name] = _converted(text, value, params[name])
    return found


def _options_of(command: str, arguments: list[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """The command's options at their defaults, with what is given. Raises :class:`InputError`."""
    defaults = _command(command).make_context(command, arguments).params
    return dict(defaults) | _given(command, given)


def table(function: str, entries: int = 8, *, say: Say | None = None, **options: Any) -> LutTable:
    """A piecewise-linear table of `function` (a name such as ``"gelu"``, or an expression in x with
    ``bounds=(low, high)``); further options as those of ``genogate lut``."""
    from .lut import make_table

    options = _options_of("lut", ["--", function], {"entries": entries, **options})
    return make_table(options, say or _silent)


def search_genomes(
    source: str | os.PathLike[str] = "digits-row",
    *,
    objectives: Sequence[str] = SEARCHED,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    say: Say | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Search genomes of a checkpoint (a shipped one's name, or a file); the front is returned, and
    genome files are left in the folder `out`. Further options as those of ``genogate search``: with
    ``budget="60m"`` networks are trained too, and what is returned says which one to build."""
    from .commands.options import knobs_of
    from .genome_search import run_search

    place = None if out is None else _path("out", out)
    wanted = objectives.split(",") if isinstance(objectives, str) else objectives or SEARCHED
    changes = {"checkpoint": _path("source", source), "objectives": ",".join(wanted), **options}
    settings = _options_of("search", [], changes)
    if settings["budget"] is not None:
        from .ladder import run_ladder

        given = {
            *_given("search", options),
            *(["objectives"] if tuple(wanted) != tuple(SEARCHED) else []),
        }
        document, _ = run_ladder(settings, given, knobs_of(settings), place, resume, say or _silent)
        return document
    front, _ = run_search(
        settings,
        knobs_of(settings),
        place,
        resume,
        say or _silent,
        lambda progress: None,
    )
    return front
