"""Command lines that a report shows: the search itself, and networks of its points."""

import json
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...model.data.tasks import DEFAULT_TASK
from ...model.errors import InputError
from ...model.files import read_json
from ...model.knobs import Knobs, fields_of
from ..genomes.candidate import CHECKPOINT
from ..genomes.config import Config
from .curves import next_to
from .run_files import Document, words


def changed_knobs(knobs: Mapping[str, Any], extra: Mapping[str, Any]) -> Document:
    """Knobs of a setting with those that a point sets itself."""
    changed = {name: value for name, value in extra.items() if name != CHECKPOINT}
    return {**knobs, **fields_of(changed)}


def _options(knobs: Mapping[str, Any]) -> list[str]:
    """Command line options of knobs that are not the default; lanes are not among them."""
    default = asdict(Knobs())
    return [
        word
        for name, value in knobs.items()
        if not name.startswith("lanes_") and words(value) != words(default.get(name, object()))
        for word in (f"--{name.replace('_', '-')}", words(value))
    ]


def _lanes(knobs: Mapping[str, Any]) -> str:
    """What ``--lanes`` takes; empty for the default."""
    x, h = (str(knobs.get(f"lanes_{side}", 1)) for side in "xh")
    return "" if (x, h) == ("1", "1") else x if x == h else f"{x},{h}"


def by_make() -> bool:
    """Whether the command was started by the Makefile, whose users are told what to make."""
    return bool(os.environ.get("GENOGATE_MAKE"))


def emit_command() -> str:
    """The command that emits the hardware of the genome that is written behind it."""
    return "make gru GENOME=" if by_make() else "genogate gru --genome "


def _for_make(text: str) -> str:
    """`text` as a word of a shell that runs make, which takes a dollar for a variable."""
    return shlex.quote(text.replace("$", "$$"))


def as_word(text: str) -> str:
    """`text` as a word of the command of :func:`emit_command`."""
    return _for_make(text) if by_make() else shlex.quote(text)


def command_suffix(knobs: Mapping[str, Any], checkpoint: str) -> str:
    """What belongs behind the genome of :func:`emit_command`, so that it is the network that was
    evaluated."""
    if by_make():
        return _suffix_of_make(knobs, checkpoint)
    lanes = _lanes(knobs)
    parts = [
        *(["--lanes", lanes] if lanes else []),
        *(["--checkpoint", checkpoint] if checkpoint != DEFAULT_TASK else []),
        *_options(knobs),
    ]
    return "".join(f" {shlex.quote(part)}" for part in parts)


def _suffix_of_make(knobs: Mapping[str, Any], checkpoint: str) -> str:
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


def genome_file(folder: Path, name: str) -> tuple[str, bool]:
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


def search_command(document: Document, folder: Path, **other: Any) -> str:
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
    parts += _options(setting["knobs"])
    if lanes := _lanes(setting["knobs"]):
        parts += ["--lanes", lanes]
    return shlex.join([*parts, "--out", str(folder)])


def random_twin(document: Document, folder: Path) -> str:
    """The command of a random search at as many evaluations as the run in `folder`."""
    config = document["config"]
    total = config.get("generations", 0) + config.get("exploit", 0)
    changes: Document = {"method": "random", "generations": total}
    changes |= {
        name: value for name, value in (("exploit", 0), ("initial", None)) if name in config
    }
    return search_command(document, next_to(folder, f"{folder.resolve().name}-random"), **changes)
