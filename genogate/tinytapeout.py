"""A network as a project for Tiny Tapeout."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .network import identity_of

if TYPE_CHECKING:
    from .model.aliases import Say
    from .network import Network
    from .synth.asic.mapping import Mapped
    from .synth.integration.tiny_tapeout import Project


#: The project's module while its area is measured: the area depends on no name.
_TOP = "top"


def mapped_project(
    network: Network, liberty: str | None, say: Say, *, latches: bool = False
) -> Mapped:
    """The whole project in standard cells, as the hardening flow would begin; with `latches` input
    and state are not in flip-flops (:mod:`.synth.cells.latches`)."""
    from .hdl.wrappers.tiny_tapeout import TinyTapeoutNetwork
    from .synth.asic.mapping import map_design
    from .synth.cells.liberty import find
    from .synth.constants import to_rtlil

    text = to_rtlil(TinyTapeoutNetwork(network.design), _TOP)
    return map_design(text, _TOP, find(liberty), latches=latches, progress=say)


def write_project(
    network: Network,
    project: Project,
    liberty: str | None,
    out: str | os.PathLike[str] | None,
    say: Say,
    memories: str = "flops",
) -> tuple[dict[str, Any], Path]:
    """The project's folder, all or none, with ``project.json`` about it; what that holds, and the
    folder. `memories` : what holds the state, ``flops`` or ``latches``. Raises :class:`InputError`
    for a network of more tiles than a project may have, and for latches that a library has not."""
    from .hdl.gru.loading import refuse_loaded
    from .model.files import staged, write_json, write_text
    from .synth.integration.tiny_tapeout import (
        DENSITY,
        project_files,
        shape_for,
        steps_within,
        tiles_for,
    )

    project.check()
    refuse_loaded(network.design, "a tile has no pins for them")
    folder = Path(out) if out else network.folder / "tinytapeout"
    latches = memories == "latches"
    mapped = mapped_project(network, liberty, say, latches=latches)
    shape = shape_for(mapped.area_um2)
    x = network.task.x_test
    steps = steps_within(network.design, x.shape[1])
    codes = network.model.quantize_input(x[:3, :steps])
    document = {
        **identity_of(network),
        "top_module": project.top,
        "um2": round(mapped.area_um2, 1),
        "cells": mapped.cells,
        "flip_flops": mapped.flip_flops,
        "latches": mapped.latches,
        "memories_as": memories,
        "density": DENSITY,
        "tiles": tiles_for(mapped.area_um2),
        "shape": shape,
        "cycles_per_step": network.design.cycles_per_step,
        "clock_ns": project.clock_ns,
        "library": mapped.library.name,
        "yosys": mapped.yosys_version,
    }
    with staged(folder) as stage:
        say("Writing the project")
        library = mapped.library if latches else None
        files = project_files(project, network.design, shape, codes, library)
        for name, text in files.items():
            write_text(stage / name, text)
        network.model.save(stage / "model.safetensors")
        write_json(stage / "project.json", document)
    return document, folder


def print_project(document: dict[str, Any], folder: Path) -> None:
    """The report of ``genogate tinytapeout``."""
    from .commands.tables import console, print_pairs
    from .pace import clock_text

    print_pairs(
        console(),
        [
            ("top module", document["top_module"]),
            (
                "cells",
                f"{document['um2']:,.0f} um2, {document['cells']:,} cells, of these "
                f"{document['flip_flops']:,} flip-flops"
                + (f", {document['latches']:,} latches" if document["latches"] else ""),
            ),
            (
                "tiles",
                f"{document['tiles']} by area at {document['density']:.0%} density, so "
                f"{document['shape']}; an estimate, no layout",
            ),
            ("clock", clock_text(document["clock_ns"])),
            (
                "step",
                f"{document['cycles_per_step']:,} cycles, "
                f"{document['cycles_per_step'] * document['clock_ns'] / 1e3:,.1f} us",
            ),
            ("measured by", f"{document['yosys']}, {document['library']}"),
            ("test it", f"make -C {folder / 'test'}"),
            ("written", str(folder / "{info.yaml,src,docs,test,...}")),
        ],
    )
