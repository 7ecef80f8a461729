"""The wheel in empty environments: what it installs, and the tutorial as printed."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from genogate.model.errors import InputError
from genogate.model.files import read_json

from tools.wheels import main

from .search import table

#: Where the environments are recorded, one after the other.
RECORD = Path("build/wheels.json")


def measure(say: Callable[[str], None]) -> dict[str, Any]:
    """Build the wheel and try it in every Python of :data:`tools.wheels.PYTHONS`: about 20 minutes
    for each where torch has to be fetched. Raises :class:`InputError` where a check failed."""
    say("wheel: its output follows")
    RECORD.parent.mkdir(parents=True, exist_ok=True)
    if main(["--record", str(RECORD)]):
        raise InputError("wheels: a check failed, see above")
    return dict(read_json(RECORD))


def render(data: Mapping[str, Any]) -> list[str]:
    """The page: a row for each Python, and what the tutorial takes."""
    environments = data["environments"]
    head = ("Python", "core, MB", "seconds", "with extras, MB", "seconds", "torch", "NumPy")
    rows = [
        (
            of["python"],
            of["core_mb"],
            of["core_install_s"],
            f"{of['mb']:,}",
            of["install_s"],
            of["torch"],
            of["numpy"],
        )
        for of in environments.values()
    ]
    steps = {minor: _tutorial(of) for minor, of in environments.items()}
    commands = [step["command"] for step in next(iter(steps.values()))]
    return [
        "## The wheel in empty environments",
        "",
        f"`python -m tools.wheels` builds {data['wheel']} from the files that git tracks and "
        "installs it into an empty environment of each Python, without the repository. First the "
        "core alone: it emits and measures networks, and commands that need an extra say so in "
        "one line (exit code 2). Then, with its extras, the [tutorial](../tutorial.md): its "
        "program and its commands run as printed. Everything passed; an environment in which a "
        "check fails is not recorded. Seconds are on a busy machine, and those of an installation "
        "include downloads.",
        "",
        *table(head, rows),
        "Seconds of the tutorial's steps:",
        "",
        *table(
            ("step", *steps),
            [
                (f"`{command}`", *(of[k]["seconds"] for of in steps.values()))
                for k, command in enumerate(commands)
            ],
        ),
    ]


def _tutorial(environment: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The steps of the tutorial; those before it are of the core alone."""
    return list(environment["steps"][environment["tutorial_from"] :])
