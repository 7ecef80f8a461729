"""The page about a search: what it holds, what it survives, and that a real browser draws it."""

import csv
import hashlib
import html
import json
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from genogate.model.errors import InputError
from genogate.model.genome import GENES, Genome
from genogate.model.knobs import Knobs
from genogate.search.genomes.config import Config
from genogate.search.genomes.evaluate import Setting
from genogate.search.genomes.run import Run
from genogate.search.genomes.store import Store
from genogate.search.report import cells as report_cells
from genogate.search.report.page import collect, page, write_report

SEED, POINTS = 11, 40
KNOBS = Knobs(granularity="channel", lanes_x=2, lanes_h=2).to_json()
PARTS = [f"layer0.{gene}" for gene in GENES] + ["layer0.state", "layer0.control", "classifier"]


def figures(genes, rng):
    size = int(np.dot(genes, range(100, 100 + len(genes))))
    cells = int(10 * sum(genes) + rng.integers(100))
    return {
        "accuracy": 0.98 - 0.4 / min(genes) ** 2 + 0.001 * float(rng.integers(10)),
        "size": size,
        "cycles": 1025,
        "cells": cells,
        "memory": 2 * size,
        "silicon": cells + 1.5 * size,
    }


@pytest.fixture
def make(tmp_path):
    """Writes a run folder as a search leaves it: 40 random genomes and the homogeneous ones."""

    def run(name="run", *, finished=True, method="nsga2", seed=0, extra=None, without=(), **config):
        folder, rng = tmp_path / name, np.random.default_rng(SEED)
        folder.mkdir()
        document = {
            "version": 2,
            "config": {
                "objectives": ["accuracy", "size", "cells"],
                "method": method,
                "pop_size": 16,
                "generations": 3,
                "seed": seed,
                **config,
            },
            "setting": {
                "checkpoint": "digits-row",
                "checkpoint_hash": "0123456789abcdef",
                "task": "digits-row",
                "split_hash": "0",
                "knobs": KNOBS,
                "key": "thekey",
                "yosys": "Yosys 0.70 (none)",
                "judged_on": 1701,
            },
        }
        (folder / "config.json").write_text(json.dumps(document))
        rows = [(bits,) * 17 for bits in range(2, 9)]
        rows += [tuple(int(g) for g in rng.integers(2, 9, 17)) for _ in range(POINTS)]
        results = {genes: figures(genes, rng) for genes in rows}
        # The least accurate were not measured.
        for genes in sorted(rows, key=lambda g: results[g]["accuracy"])[:2]:
            for name in ("cells", "memory", "silicon"):
                del results[genes][name]
        store = Store(folder / "evaluations.sqlite")
        for genes, result in results.items():
            text = ",".join(map(str, genes))
            store.keep(
                f"thekey {text}", text, {n: v for n, v in result.items() if n not in without}
            )
        # Open, as a search has it: what is new is in the log beside the file.
        whole = [genes for genes in rows if "cells" in results[genes]]
        front = sorted(whole, key=lambda g: -results[g]["accuracy"])[:6]
        points = [
            {
                "genome": list(genes),
                "name": f"front-{k}",
                **results[genes],
                **({"test_accuracy": 0.9} if finished else {}),
                **(extra or {}).get(k, {}),
            }
            for k, genes in enumerate(front)
        ]
        for k, genes in enumerate(front):
            Genome.from_genes(genes).save(folder / f"front-{k}")
        (folder / "front.json").write_text(
            json.dumps(
                {
                    "objectives": document["config"]["objectives"],
                    "points": points,
                    "named": {"knee": list(front[2]), "smallest": list(front[5])},
                }
            )
        )
        (folder / "history.json").write_text(
            json.dumps(
                [
                    {
                        "generation": k,
                        "evaluations": 15 * k,
                        "hypervolume": 0.1 * k + 0.01 * seed,
                        "front": 6,
                    }
                    for k in range(1, 4 if finished else 3)
                ]
            )
        )
        stores.append(store)
        return folder

    stores = []
    run.close = lambda: [store.close() for store in stores]
    yield run
    run.close()


@pytest.fixture(autouse=True)
def measured(monkeypatch):
    """In place of Yosys: a part has ten cells a bit; what has no gene, a hundred."""

    def cells(setting, cases, say):
        return PARTS, [[10 * bits for bits in genes] + [100] * 3 for (genes, _), _ in cases]

    monkeypatch.setattr(report_cells, "measured", cells)


def embedded(text):
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])


def test_page_loads_nothing(make):
    text = page(collect(make()))
    assert not re.search(r"https?:|<link|<img|<iframe|\bsrc=|@import|url\((?!#)", text)
    assert "default-src 'none'" in text


def test_page_holds_every_genome_and_its_command(make):
    folder = make()
    data = collect(folder)
    text = page(data)
    inside = embedded(text)
    assert inside["evaluations"] == len(inside["points"]) == POINTS + 7
    front = json.loads((folder / "front.json").read_text())["points"]
    known = {point["g"]: point for point in inside["points"]}
    for number, point in enumerate(front):
        made = known["".join(map(str, point["genome"]))]
        assert made["n"][0] == f"front-{number}"
        assert made["c"] == (
            f"genogate gru --genome {folder}/front-{number} --lanes 2 --granularity channel"
        )
        assert f'data-v="{made["g"]}"' in text
    assert "knee" in known["".join(map(str, front[2]["genome"]))]["n"]
    assert {n for p in inside["points"] for n in p.get("n", ())} >= {f"int{b}" for b in range(2, 9)}
    # What was not measured is there all the same.
    assert sum(None in point["v"] for point in inside["points"]) == 2
    assert inside["parts"] == [name.removeprefix("layer0.") for name in PARTS]
    assert "genogate search --checkpoint digits-row --objectives accuracy,size,cells" in text
    assert "on 1,701 sequences of the validation part" in text


def test_files_that_name_their_knobs_need_no_more(make):
    folder = make()
    path = folder / "front-1"
    path.write_text(json.dumps({**json.loads(path.read_text()), "found_with": {}}))
    commands = {p["n"][0]: p["c"] for p in embedded(page(collect(folder)))["points"] if "n" in p}
    assert commands["front-1"] == f"genogate gru --genome {folder}/front-1"
    assert commands["front-0"].endswith("/front-0 --lanes 2 --granularity channel")


def test_commands_are_those_of_make_where_make_is_used(make, monkeypatch):
    monkeypatch.setenv("GENOGATE_MAKE", "1")
    folder = make()
    path = folder / "front-1"
    path.write_text(json.dumps({**json.loads(path.read_text()), "found_with": {}}))
    inside = embedded(page(collect(folder)))
    commands = {p["n"][0]: p["c"] for p in inside["points"] if "n" in p}
    assert commands["front-1"] == f"make gru GENOME={folder}/front-1"
    rest = ' LANES=2 ARGS="--granularity channel"'
    assert commands["front-0"] == f"make gru GENOME={folder}/front-0{rest}"
    # What the script of the page puts together for a genome without a file.
    assert (inside["emit"], inside["suffixes"][0]) == ("make gru GENOME=", rest)


@pytest.mark.parametrize("by", ["make", "genogate"])
def test_names_from_outside_are_text(make, by, monkeypatch):
    if by == "make":
        monkeypatch.setenv("GENOGATE_MAKE", "1")
    name = "\"'<script>alert(1)<!-- & $HOME @@data@@"
    folder = make(name, note="</script><b>@@table@@")
    edited("config.json", lambda d: d["setting"]["knobs"].update(odd='$(touch x)";'))(folder)
    text = page(collect(folder))
    assert "<script>alert" not in text
    assert "</script><b>" not in text
    assert html.escape(name) in text
    assert embedded(text)["run"].endswith(name)
    assert text.count('id="data"') == 1
    commands = [p["c"] for p in embedded(text)["points"] if "n" in p and p["n"][0] == "front-0"]
    words = shlex.split(commands[0])
    if by == "make":
        # Two dollars are one to make; a shell leaves quoted ones alone.
        assert words[2] == f"GENOME={folder}/front-0".replace("$", "$$")
        assert words[4] == 'ARGS=--granularity channel --odd $$(touch x)";'
    else:
        assert words[:4] == ["genogate", "gru", "--genome", f"{folder}/front-0"]
        assert words[4:] == [*["--lanes", "2", "--granularity", "channel", "--odd"], '$(touch x)";']
    again = shlex.split(embedded(text)["command"])
    assert again[-2:] == ["--out", str(folder)]
    assert again[again.index("--odd") + 1] == '$(touch x)";'


def test_unfinished_run(make):
    folder = make(finished=False)
    data = collect(folder)
    assert any("not finished: generation 2 of 3" in note for note in data["notes"])
    front = [point for point in data["points"] if point.get("f")]
    assert len(front) == 6
    for point in embedded(page(data))["points"]:
        if point.get("f"):
            assert ",".join(point["g"]) in point["c"]
            assert "t" not in point


def test_points_with_knobs_of_their_own(make):
    data = collect(make(extra={1: {"knobs": {"granularity": "tensor", "lanes": 4}}}))
    points = [p for p in embedded(page(data))["points"] if p.get("k")]
    assert [p["k"] for p in points] == [{"granularity": "tensor", "lanes": "4"}]
    assert points[0]["c"].endswith("front-1 --lanes 4")


def test_random_search_is_found_or_its_command_told(make):
    folder = make("one")
    data = collect(folder)
    assert "--method random" in data["random"]
    assert str(folder.with_name("one-random")) in data["random"]
    make("two", method="random", seed=3)
    make("other", method="random", max_drop=1.0)
    data = collect(folder)
    assert data["random"] == ""
    assert [(c["method"], c["seed"], c["own"]) for c in data["history"]] == [
        ("nsga2", 0, True),
        ("random", 3, False),
    ]
    # Asked for, it is drawn although it differs, and said to.
    data = collect(folder, [make("third", pop_size=99)])
    assert [c["other"] for c in data["history"]] == ["", "pop size 99", ""]
    apart = make("apart", objectives=["accuracy", "size"])
    with pytest.raises(InputError, match=r"apart: its objectives or setting differ"):
        collect(folder, [apart])


def test_without_yosys_the_page_says_so(make, monkeypatch):
    def missing(*_):
        raise InputError("Yosys is missing")

    monkeypatch.setattr(report_cells, "measured", missing)
    data = collect(make())
    assert data["cells"] == {}
    assert "Cells by operator are left out: Yosys is missing." in page(data)


def test_a_real_run_without_silicon(tmp_path):
    setting = Setting("digits-row", Knobs(activation="table"), silicon=False)
    config = Config(objectives=("accuracy", "size"), method="random", pop_size=4, generations=2)
    Run(tmp_path / "run", setting, config).go()
    target, pictures, notes = write_report(tmp_path / "run", pictures=False)
    data = embedded(target.read_text())
    assert target == tmp_path / "run" / "report.html"
    assert not pictures
    assert any("without silicon" in note for note in notes)
    assert [figure["key"] for figure in data["figures"]] == [
        "accuracy",
        "size",
        "weights",
        "cycles",
    ]
    assert data["history"][0]["x"][-1] == len(data["points"])


def test_pictures(make):
    pytest.importorskip("matplotlib")
    _, pictures, _ = write_report(make())
    names = {path.name for path in pictures}
    assert {
        "accuracy-cells.png",
        "cells-size.png",
        "hypervolume.png",
        "genes.png",
        "cells.png",
    } <= names
    for path in pictures:
        raw = path.read_bytes()
        assert raw[:8] == b"\x89PNG\r\n\x1a\n"
        # Wide enough for a column of print at 300 dots an inch.
        assert int.from_bytes(raw[16:20], "big") >= 780, path.name


def edited(name, change):
    def edit(folder):
        document = json.loads((folder / name).read_text())
        change(document)
        (folder / name).write_text(json.dumps(document))

    return edit


def changed_store(statement):
    def edit(folder):
        with sqlite3.connect(folder / "evaluations.sqlite") as db:
            db.execute(statement)
        db.close()

    return edit


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / "config.json").unlink(), "no run of genogate search"),
        (lambda f: (f / "config.json").write_text("[]"), "config.json: not the file of a search"),
        (edited("config.json", lambda d: d.update(kind="ladder")), "page.html"),
        (edited("config.json", lambda d: d["config"].pop("objectives")), "another version"),
        (edited("config.json", lambda d: d.update(version=9)), "another version"),
        (edited("config.json", lambda d: d["config"].update(generations="x")), "another version"),
        (edited("config.json", lambda d: d["config"].update(limits=[3])), "another version"),
        (lambda f: (f / "front.json").unlink(), "no front yet"),
        (lambda f: (f / "front.json").write_text('{"points": ['), "front.json: not valid JSON"),
        (edited("front.json", lambda d: d.update(points=7)), "front.json: its points are no list"),
        (edited("front.json", lambda d: d["points"][1].update(genome=[9] * 17)), "point 1: gene 0"),
        (
            edited("front.json", lambda d: d["points"][0].update(accuracy=float("nan"))),
            "accuracy of front-0 is nan",
        ),
        (edited("front.json", lambda d: d["points"][0].update(knobs=3)), "knobs of a point are 3"),
        (lambda f: (f / "history.json").write_text("{}"), "history.json: not the history"),
        (
            edited("history.json", lambda d: d[-1].update(generation="x")),
            "history.json: not the history",
        ),
        (
            edited("config.json", lambda d: d["config"].update(pop_size=float("nan"))),
            "config.json: damaged",
        ),
        (
            edited("front.json", lambda d: d["points"][0].update(size=10**400)),
            "front.json: size of front-0 is 1000",
        ),
        (edited("front.json", lambda d: d["named"].update(knee="4")), "knee: '4' is no list"),
        (lambda f: (f / "evaluations.sqlite").write_bytes(b""), "(it holds nothing)"),
        (lambda f: (f / "evaluations.sqlite").unlink(), "evaluations.sqlite: missing"),
        (changed_store("PRAGMA user_version=99"), "version 99, this program reads"),
        (changed_store("DROP TABLE evaluations"), "not a store of evaluations"),
    ],
)
def test_damaged_runs_are_refused_in_one_line(make, damage, words):
    folder = make()
    damage(folder)
    with pytest.raises(InputError) as refused:
        write_report(folder)
    assert words in str(refused.value)
    # And what to do.
    remedies = (
        "--resume the search",
        "search again",
        "no run of",
        "wait for it",
        "this program",
        "own page",
    )
    assert any(remedy in str(refused.value) for remedy in remedies)
    assert "\n" not in str(refused.value)
    assert not (folder / "report.html").exists()
    assert not (folder / "pictures").exists()


def test_a_figure_in_the_store_that_is_none_does_not_cost_the_store(make):
    folder = make()
    with sqlite3.connect(folder / "evaluations.sqlite") as db:
        ((key, text),) = db.execute("SELECT key, result FROM evaluations LIMIT 1").fetchall()
        text = json.dumps(json.loads(text) | {"accuracy": float("nan")})
        checksum = hashlib.sha256(f"{key}\0{text}".encode()).hexdigest()[:16]
        db.execute("UPDATE evaluations SET result=?, checksum=? WHERE key=?", (text, checksum, key))
    db.close()
    with pytest.raises(InputError, match=r"accuracy of .* is nan; move it away") as refused:
        write_report(folder)
    assert "remove it" not in str(refused.value)


def test_reading_leaves_the_folder_as_it_was(make):
    folder = make()
    make.close()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert not any(name.endswith(("-wal", "-shm")) for name in before)
    collect(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_configuration_is_read_once(make, monkeypatch):
    from genogate.search.report import run_files

    read, parsed = [], run_files.parsed

    def counted(path, *remedy):
        read.append(f"{path.parent.name}/{path.name}")
        return parsed(path, *remedy)

    monkeypatch.setattr(run_files, "parsed", counted)
    folder = make()
    make("beside", seed=1)
    write_report(folder, pictures=False)
    assert [name for name in sorted(read) if name.endswith("config.json")] == [
        "beside/config.json",
        "run/config.json",
    ]


def test_results_changed_from_outside_do_not_count(make):
    folder = make()
    changed_store("UPDATE evaluations SET result='{\"accuracy\": 1.0}' WHERE genome LIKE '8,8,8%'")(
        folder
    )
    data = collect(folder)
    assert any("changed in the store from outside" in note for note in data["notes"])


def test_command(make, monkeypatch, capsys, tmp_path):
    from genogate.cli import main

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["genogate", "report", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code, capsys.readouterr()

    target = tmp_path / "page.html"
    code, said = call(make(), "--no-pictures", "--out", target)
    assert (code, target.exists()) == (0, True), said
    code, said = call(tmp_path, "--out", tmp_path / "no.html")
    assert code == 2
    assert said.err.startswith(f"genogate: {tmp_path}: no run of genogate search")
    assert said.err.count("\n") == 1
    assert not (tmp_path / "no.html").exists()


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("folder", "folder: it is a folder, a file is needed"),
        ("file/page.html", "a file stands where a folder is needed"),
        # Pictures go to a folder that is called after the page.
        ("page.html", "a file stands where a folder is needed"),
    ],
)
def test_a_place_that_cannot_be_written_is_known_before_the_work(make, tmp_path, out, words):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "page-pictures").write_text("")
    before = sorted(tmp_path.rglob("*"))
    steps = []
    with pytest.raises(InputError, match=words):
        write_report(make(), out=tmp_path / out, say=steps.append)
    assert steps == []
    assert sorted(path for path in tmp_path.rglob("*") if path in before) == before
    assert not (tmp_path / "page.html").exists()


class Elements(HTMLParser):
    """Tags with attributes, and the text of what has an id."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def count(self, tag, kind):
        return sum(t == tag and kind in (a.get("class") or "").split() for t, a in self.found)

    def one(self, **wanted):
        return next(a for _, a in self.found if all(a.get(k) == v for k, v in wanted.items()))

    @property
    def root(self):
        return next(a for t, a in self.found if t == "html")


@pytest.fixture
def browser(tmp_path):
    """Opens a file in a real browser and gives the document after its script has run."""
    names = "chromium", "chromium-browser", "google-chrome"
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        pytest.skip(f"no browser here ({', '.join(names)})")

    def open_page(path, fragment="", width=1400):
        done = subprocess.run(
            [
                program,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                f"--user-data-dir={tmp_path / 'profile'}",
                f"--window-size={width},2400",
                "--virtual-time-budget=5000",
                "--dump-dom",
                path.as_uri() + fragment,
            ],
            capture_output=True,
            text=True,
            timeout=120,
        )
        elements = Elements(done.stdout)
        assert "<html" in done.stdout, done.stderr[-2000:]
        return done.stdout, elements

    return open_page


def test_browser_draws_all_points_and_shows_the_one_asked_for(make, browser):
    folder = make("a <script> & \"b'")
    target, _, _ = write_report(folder, pictures=False)
    text, elements = browser(target, "#select=front-2")
    assert "data-error" not in elements.root, elements.root
    assert elements.root["data-ready"] == "yes"
    # Two have no cells, and cells are an axis.
    assert elements.count("circle", "p") == POINTS + 7 - 2
    assert elements.count("circle", "q") <= 6
    assert elements.count("circle", "ring") >= 1
    assert elements.one(id="details")["data-selected"].split()[:2] == ["front-2", "knee"]
    emit = re.search(r'id="emit">(.*?)</code>', text)[1]
    assert html.unescape(emit).startswith("genogate gru --genome ")
    assert "front-2" in emit
    # A bar for every part, and one for INT8 beside it.
    bars = re.findall(r'<td class="bar"[^>]*>(.*?)</td>', text)
    assert [bar.count("<div") for bar in bars if bar] == [2] * len(PARTS)
    heat = re.search(r'id="heat">(.*?)</table>', text, re.DOTALL)[1]
    assert len(re.findall(r'<td class="b[2-8]', heat)) == 6 * 17


DRIVE = """<script>
// The page is given up after a time that timers count in and frames do not: a busy machine may draw
// none of them by then.
window.requestAnimationFrame = (draw) => setTimeout(draw, 16);
const press = (id, key) => document.querySelector(id + " svg").dispatchEvent(
  new KeyboardEvent("keydown", {key, bubbles: true}));
const choose = (id, text) => { const s = document.getElementById(id);
  s.value = [...s.options].find(o => o.textContent === text).value;
  s.dispatchEvent(new Event("change")); };
choose("view", "all points"); choose("x2", "size"); choose("y2", "memory");
document.getElementById("logx").click();
const before = document.querySelector("#turn circle.q");
const at = before && before.getAttribute("cx");
document.getElementById("left").click(); press("#turn", "ArrowUp"); press("#turn", "n");
press("#flat", "u"); press("#flat", "ArrowRight");
choose("order", "cells");
document.querySelector("#table thead button").click();
document.querySelector("#table thead button").click();
document.querySelector('#table tbody tr').click();
const root = document.documentElement;
root.dataset.wide = root.scrollWidth > root.clientWidth ? "yes" : "no";
requestAnimationFrame(() => requestAnimationFrame(() => {
  const after = document.querySelector("#turn circle.q");
  root.dataset.turned = after && after.getAttribute("cx") !== at ? "yes" : "no";
}));
</script>"""


def test_browser_takes_keys_choices_and_clicks(make, browser, tmp_path):
    # A name that has nowhere to break must not make a phone scroll sideways.
    text = page(collect(make("a" * 200)))
    driven = tmp_path / "driven.html"
    driven.write_text(text.replace("</body>", DRIVE + "</body>"))
    text, elements = browser(driven, width=500)
    assert "data-error" not in elements.root, elements.root
    assert elements.root["data-wide"] == "no"
    assert elements.root["data-turned"] == "yes"
    # Sorted twice by its first column, the last point of the front is first.
    rows = re.search(r"<tbody>(.*?)</tbody>", text[text.index('id="table"') :], re.DOTALL)[1]
    assert re.findall(r'<th scope="row" data-v="(\d+)"', rows) == ["5", "4", "3", "2", "1", "0"]
    assert elements.one(id="details")["data-selected"].startswith("front-5")
    label = elements.one(role="application")["aria-label"]
    assert label.startswith("Memory against Model size: 45 evaluated genomes")


#: Shows the file that the button makes, which a browser without a screen would put elsewhere.
SAVED = """<script>
URL.createObjectURL = (blob) => { blob.text().then(text => {
  document.documentElement.dataset.csv = text; }); return "data:,"; };
document.getElementById("csv").click();
</script>"""


@pytest.mark.parametrize("asked", [False, True])
def test_page_and_its_file_have_the_test_part_where_it_was_looked_at(
    make, browser, tmp_path, asked
):
    folder = make(finished=asked)
    text = page(collect(folder))
    front = [point for point in embedded(text)["points"] if point.get("f")]
    assert len(front) == 6
    assert all(("t" in point) == asked for point in front)
    table = text[text.index('id="table"') :]
    heads = re.findall(r'<span class="h">(.*?)</span>', table[: table.index("</table>")])
    assert ("test" in heads) == asked
    saved = tmp_path / "saved.html"
    saved.write_text(text.replace("</body>", SAVED + "</body>"))
    _, elements = browser(saved)
    assert "data-error" not in elements.root, elements.root
    rows = list(csv.reader(elements.root["data-csv"].splitlines()))
    assert len(rows) == 1 + 6
    assert ("test_accuracy" in rows[0]) == asked
    assert {len(row) for row in rows} == {len(rows[0])}
    command = rows[0].index("command")
    assert all(row[command].startswith("genogate gru --genome ") for row in rows[1:])
    if asked:
        assert {row[rows[0].index("test_accuracy")] for row in rows[1:]} == {"0.9"}


def test_browser_draws_a_run_without_a_front(make, browser):
    folder = make()
    (folder / "front.json").write_text('{"objectives": [], "points": [], "named": {}}')
    target, _, _ = write_report(folder, pictures=False)
    text, elements = browser(target)
    assert "data-error" not in elements.root, elements.root
    assert elements.root["data-ready"] == "yes"
    assert "so there is no front" in text


def test_a_search_by_estimates_and_what_it_measured_in_the_end_are_one_setting(make):
    folder = make()
    document = json.loads((folder / "config.json").read_text())
    document["setting"]["estimate"] = True
    (folder / "config.json").write_text(json.dumps(document))
    measured = ",".join("8" * 17)
    with sqlite3.connect(folder / "evaluations.sqlite") as store:
        columns = "INSERT INTO evaluations (key, genome, result, checksum) VALUES (?, ?, ?, ?)"
        for genome in (measured, ",".join("8" * 16 + "7")):
            key, text = f"another {genome}", json.dumps({"accuracy": 0.9, "size": 1})
            checksum = hashlib.sha256(f"{key}\0{text}".encode()).hexdigest()[:16]
            store.execute(columns, (key, genome, text, checksum))
    notes = " ".join(collect(folder, cells=False)["notes"])
    # The genome that the search never met is one of another setting, the other was measured.
    assert "1 evaluations in the store are of another setting" in notes


def test_estimates_are_not_held_to_what_is_measured_for_the_page(make, monkeypatch):
    def one_cell_each(setting, cases, say):
        return PARTS, [[1] * len(PARTS) for _ in cases]

    monkeypatch.setattr(report_cells, "measured", one_cell_each)
    folder = make()
    assert "for 8 of 8 points" in collect(folder)["cells_note"]
    document = json.loads((folder / "config.json").read_text())
    document["setting"]["estimate"] = True
    (folder / "config.json").write_text(json.dumps(document))
    assert "for 6 of 6 points" in collect(folder)["cells_note"]


def test_sizes_are_shares_of_the_network_that_is_named(make):
    """Of the one reference of the task where the run says it, else of the run's own INT8."""
    folder = make()
    text = page(collect(folder, cells=False))
    assert "% of INT8 of digits-row" in html.unescape(text)
    document = json.loads((folder / "front.json").read_text())
    reference = {"name": "the-other", "size": 2 * document["points"][0]["size"]}
    (folder / "front.json").write_text(json.dumps(document | {"reference": reference}))
    text = html.unescape(page(collect(folder, cells=False)))
    assert "% of INT8 of the-other" in text
    assert ">50.0%<" in text


def test_a_score_that_is_no_accuracy_has_its_own_name_and_unit(make, monkeypatch):
    from types import SimpleNamespace

    from genogate.search.report import data as report_data

    for measure, name, unit in (
        ("explained variance", "Explained variance", "%"),
        ("SI-SDR gain", "SI-SDR gain", "dB"),
    ):
        loaded = SimpleNamespace(info={"measure": measure}, functions=())
        monkeypatch.setattr(report_data.zoo, "load", lambda source, loaded=loaded: loaded)
        figure = collect(make(measure[:2]), cells=False)["figures"][0]
        assert (figure["short"], figure["unit"]) == (name, unit)
        assert figure["title"] == f"{name} on the validation part"
