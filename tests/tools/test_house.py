"""``python -m tools.house``: what it counts, on small trees and on this one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools import house
from tools.counts import measure

ROOT = Path(__file__).resolve().parents[2]


def tree(folder, **files):
    """A repository with these files; `hdl__dense` is hdl/dense.py."""
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_files_and_lines_are_counted_by_room(tmp_path):
    counts = measure(
        tree(tmp_path, model__a="x = 1\n" * 3, model__data__b="x = 1\n" * 5, studies__c="x = 1\n")
    )
    assert counts["rooms"]["model"] == {"files": 2, "lines": 8}
    assert counts["rooms"]["studies"] == {"files": 1, "lines": 1}
    assert (counts["files"], counts["lines"], counts["median"]) == (2, 8, 4)


def test_what_is_over_a_bound_is_named_and_what_is_at_it_is_not(tmp_path):
    body = "    x = 1\n"
    text = "def at():\n" + 59 * body + "def over():\n" + 60 * body + "class Long:\n" + 250 * body
    counts = measure(tree(tmp_path, sim__long=text, sim__short="x = 1\n" * 300))
    assert counts["over_300"] == ["genogate.sim.long: 372"]
    assert counts["over_500"] == []
    assert counts["functions_over_60"] == ["genogate.sim.long.over: 61"]
    assert counts["classes_over_250"] == ["genogate.sim.long.Long: 251"]


def test_a_circle_inside_functions_is_found_and_one_of_annotations_is_none(tmp_path):
    annotation = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from . import d\n"
    counts = measure(
        tree(
            tmp_path,
            hdl__a="from .b import x\n",
            hdl__b="def x():\n    from . import c\n",
            hdl__c="from .a import x\n",
            hdl__d="from . import e\n",
            hdl__e=annotation,
        )
    )
    assert counts["circles"] == ["genogate.hdl.a, genogate.hdl.b, genogate.hdl.c"]


def test_an_import_against_the_order_is_named(tmp_path):
    counts = measure(
        tree(
            tmp_path,
            model__a="def f():\n    from ..hdl import b\n",
            hdl__b="from ..model import a\n",
            sim__rtl__bench="from ...synth import yosys\n",
            synth__yosys="x = 1\n",
        )
    )
    assert counts["arrows_against"] == ["genogate.model.a -> genogate.hdl.b"]


def test_names_that_say_nothing_are_counted_once_a_binding(tmp_path):
    text = "def f(known, cells):\n    found = known\n    for own in found:\n        cells = own\n"
    counts = measure(tree(tmp_path, search__a=text))
    assert sorted(counts["vague_names"]) == [
        f"genogate.search.a: {name}" for name in ("found", "known", "own")
    ]


def test_a_module_that_only_the_results_import_is_for_the_docs(tmp_path):
    root = tree(
        tmp_path,
        genogate__cli='COMMANDS = ["genogate.sim.bench"]\nfrom .results import write\n',
        genogate__results="from ..search import study, front\n",
        search__front="x = 1\n",
        search__study="x = 1\n",
        search__named="x = 1\n",
        sim__bench="from ..search import front\n",
    )
    (root / "README.md").write_text("See `genogate.search.named`.")
    counts = measure(root)
    assert counts["only_for_docs"] == ["genogate.results: 1", "genogate.search.study: 1"]
    assert counts["only_for_docs_lines"] == 2


def test_this_repository_has_no_circle_no_arrow_against_the_order_and_no_opt_out():
    counts = measure(ROOT)
    assert counts["circles"] == []
    assert counts["arrows_against"] == []
    assert counts["fmt_skip"] == 0


def test_the_command_prints_a_table_or_json(tmp_path, capsys):
    tree(tmp_path, model__a="x = 1\n" * 301)
    assert house.main(["--root", str(tmp_path), "--list"]) == 0
    text = capsys.readouterr().out
    assert "model/                                1 files, 301 lines" in text
    assert "over_300\n  genogate.model.a: 301" in text
    assert house.main(["--root", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["lines"] == 301


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--root", "nowhere"], "house: nowhere: there is none of the rooms model, sim"),
        (["--revision", "no-such-commit"], "house: revision no-such-commit: "),
    ],
)
def test_a_tree_that_cannot_be_counted_is_one_line(options, said):
    done = subprocess.run(
        [sys.executable, "-m", "tools.house", *options], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1
