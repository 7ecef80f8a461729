"""Commands that the README and the pages print: each is one that the program takes."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest
from genogate.cli import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: Targets of make that call the program.
TARGETS = re.findall(
    r"^([a-z]+):.*\n(?:\t.*\n)*?\t@?\$\(BIN\)/genogate",
    (ROOT / "Makefile").read_text(),
    re.MULTILINE,
)
LINES = sorted(
    {
        (page.name, line)
        for page in PAGES
        for line in re.findall(r"^    ((?:genogate|make) .*)$", page.read_text(), re.MULTILINE)
        if line.split()[0] == "genogate" or line.split()[1] in TARGETS
    }
)


def words_of(line):
    """Words of a command line before a pipe or a comment."""
    words = shlex.split(line, comments=True)
    return words[: words.index("|")] if "|" in words else words


def by_make(words, folder):
    """What make calls for `words`, with a program of that name that only says its arguments."""
    program = folder / "genogate"
    program.write_text('#!/bin/sh\nprintf "%s\\0" genogate "$@"\n')
    program.chmod(0o755)
    there = [name for stamp in ("core", "search", "sim", "train", "dev") for name in ("-o", stamp)]
    there = [name if name == "-o" else f".venv/{name}.stamp" for name in there]
    environment = {**os.environ, "BIN": str(folder)}
    call = ["make", "-s", "-e", *there, "-o", "icarus", *words]
    done = subprocess.run(call, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\0")[:-1]


def parse(words):
    """Let click take `words`, as the command would, but do nothing. Raises click's errors."""
    command, rest = app, words[1:]
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        name, *rest = rest
        command = command.get_command(click.Context(command), name)
        assert command is not None, f"no command {name}"
    command.make_context(words[1], rest)


def test_the_pages_print_commands():
    assert len(LINES) > 40
    assert {page for page, _ in LINES} >= {"README.md", "tasks.md", "tutorial.md", "targets.md"}
    assert {"gru", "search", "report", "host"} <= set(TARGETS)


@pytest.mark.parametrize(("page", "line"), LINES, ids=[f"{p}: {text}" for p, text in LINES])
def test_a_command_of_the_pages_is_taken(page, line, tmp_path, monkeypatch):
    words = words_of(line)
    if words[0] == "make":
        words = by_make(words[1:], tmp_path)
    monkeypatch.chdir(tmp_path)
    parse(words)
