"""Where to find what (docs/architecture.md, section 11): what the map names is where it says."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: What a newcomer asks first; the map has a row for each.
QUESTIONS = (
    "How is a product rounded?",
    "Who decides cycles?",
    "Where does a search keep results?",
    "How do I add a knob?",
    "What does `--max-drop` do?",
    "How do I add a task, or read my own data?",
    "How do I add a board, or a part?",
    "How do I add a command?",
    "When is a measured area used again?",
    "Table or piecewise-linear unit: who chooses?",
    "Where do exit codes and one-line errors come from?",
)


def places():
    """Place of the answer, by question."""
    page = (ROOT / "docs/architecture.md").read_text().partition("## 11. Where to find what")[2]
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")]
    return {row[0].removeprefix("| "): row[1] for row in rows}


def names_in(path):
    """Names that a file defines: classes, functions, constants, fields and methods."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_map_has_the_question_and_its_places_exist(question):
    files = re.findall(r"`(\w+/[\w/]*\w)(?:\.py|/)`", places()[question])
    assert files
    for file in files:
        assert (ROOT / file).is_dir() or (ROOT / f"{file}.py").is_file(), file


def test_names_that_the_map_gives_are_defined_where_it_says():
    pairs = []
    for place in places().values():
        for name, file in re.findall(r"`(\w+)` in `([\w/]+\.py)`", place):
            pairs.append((file, name))
        for file, inside in re.findall(r"`([\w/]+\.py)` \(([^)]*)\)", place):
            pairs += [(file, name) for name in re.findall(r"`([A-Za-z_]\w*)`", inside)]
    assert len(pairs) > 5
    for file, name in pairs:
        path = ROOT / file
        if path.exists():
            assert name in names_in(path), f"{file}: {name}"


def test_the_option_that_the_map_names_is_in_the_help():
    from click.testing import CliRunner
    from genogate.cli import app

    assert "--max-drop" in CliRunner().invoke(app, ["search", "--help"]).output
