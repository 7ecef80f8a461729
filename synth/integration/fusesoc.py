"""A description of the core for FuseSoC (CAPI2)."""

import json
from collections.abc import Iterable

from ... import __version__
from ...hdl.gru.design import Design

#: Name of the file.
NAME = "gru.core"


def core_file(design: Design, bench_files: Iterable[str], wrappers: Iterable[str] = ()) -> str:
    """The text of ``gru.core``: file sets ``rtl`` and ``bench``, targets ``default`` and ``sim``,
    and one for each wrapper.

    bench_files : names of the test bench and of the vectors that it reads at run time
    wrappers : names of the wrappers' files; ``gru_axi.v`` has the target ``axi``
    """
    wrappers = list(wrappers)
    model = design.model
    description = (
        f"GRU network of genome {model.genome.id}: {model.input_size} inputs, "
        f"{model.layers[-1].hidden_size} units, {model.classes} classes"
    )
    lines = [
        "CAPI=2:",
        f"name: genogate:gru:{model.genome.id}-{model.hash[:8]}:{__version__.split('.dev')[0]}",
        # A JSON string is a YAML string.
        f"description: {json.dumps(description)}",
        "filesets:",
        "  rtl:",
        f"    files: [{', '.join(['gru.v', *wrappers])}]",
        "    file_type: verilogSource-2005",
        "  bench:",
        "    files:",
    ]
    for name in bench_files:
        kind = "verilogSource-2005" if name.endswith(".v") else "user"
        # Vectors are read from the folder in which the simulator runs.
        copied = "" if name.endswith(".v") else f", copyto: {name}"
        lines.append(f"      - {name}: {{file_type: {kind}{copied}}}")
    lines += [
        "targets:",
        "  default: &default",
        "    filesets: [rtl]",
        "    toplevel: gru",
        "  sim:",
        "    <<: *default",
        "    description: The self-checking test bench",
        "    default_tool: icarus",
        "    filesets: [rtl, bench]",
        "    toplevel: gru_tb",
        "    tools:",
        "      verilator: {mode: binary, verilator_options: [-CFLAGS, -std=c++20]}",
    ]
    for name in wrappers:
        top = name.removesuffix(".v")
        lines += [f"  {top.removeprefix('gru_')}:", "    <<: *default", f"    toplevel: {top}"]
    lines.append("")
    return "\n".join(lines)
