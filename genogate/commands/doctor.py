"""`genogate doctor`: what is installed, and what is missing for which command."""

from __future__ import annotations

import textwrap
from typing import Any

import click

from .help import Command
from .options import output_options
from .terminal import progress, show


def size(count: int) -> str:
    """Bytes as a reader takes them in: ``512 B``, ``1.4 MB``."""
    amount = float(count)
    for unit in ("B", "KB", "MB"):
        if amount < 1000:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.3g} GB"


def _rows(title: str, rows: list[tuple[str, str, str]]) -> None:
    click.echo(f"\n{title}")
    width = max(len(name) for name, _, _ in rows)
    for name, status, text in rows:
        click.echo(f"  {name:<{width}}  {status:<13}  {text}".rstrip())


def _print(record: dict[str, Any], todo: list[tuple[str, str]]) -> None:
    click.echo(
        f"genogate {record['genogate']}, Python {record['python']} ({record['executable']}), "
        f"{record['platform']}"
    )
    core = "works" if record["core_works"] else f"DOES NOT WORK: {record['core_error']}"
    click.echo(f"The core {core}.")
    packages = []
    for extra in record["extras"]:
        texts = [f"{p['name']} {p['version'] or p['status']}" for p in extra["packages"]]
        packages.append((extra["name"], extra["status"], ", ".join(texts)))
    _rows("Packages, by extra", packages)
    _rows(
        "Programs",
        [
            (row["name"], row["status"], row["version"] or row["reason"])
            for row in record["programs"]
        ],
    )
    if record["data"]:
        _rows("Data", [(row["name"], row["status"], row["for"]) for row in record["data"]])
    if record["checkpoints"]:
        click.echo("\nShipped checkpoints")
        names = textwrap.wrap(", ".join(record["checkpoints"]), 98, break_on_hyphens=False)
        click.echo(textwrap.indent("\n".join(names), "  "))
    if record["caches"]:
        _rows("Caches", [(c["name"], size(c["bytes"]), c["path"]) for c in record["caches"]])
    if record["leftovers"]:
        rows = [(left["path"], size(left["bytes"]), left["what"]) for left in record["leftovers"]]
        _rows("Leftovers", rows)
    if todo:
        click.echo("\nMissing, and what to type")
        for remedy, use in todo:
            click.echo(f"  for {use}:\n      {remedy}")


@click.command(cls=Command, examples=("genogate doctor", "genogate doctor --json"))
@output_options()
def doctor() -> None:
    """Say what is installed, what is missing, and what to type.

    Looks at Python, packages, programs, data sets and caches, emits a small network and runs Yosys
    once. Exits with 0 where the core works, and with 1 where it does not.
    """
    from ..doctor import examine, remedies

    with progress() as say:
        say("Looking around")
        record = examine()
    show(record, lambda: _print(record, remedies(record)))
    if not record["core_works"]:
        raise click.exceptions.Exit(1)
