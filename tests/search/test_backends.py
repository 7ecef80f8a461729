import contextlib
import functools
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from genogate.model.errors import InputError
from genogate.search.pool.backends import Pool
from genogate.search.pool.tasks import versions

SQUARES = [(k, k * k) for k in range(24)]


def square(x):
    time.sleep(0.02)
    return x * x


def fails_at(index, kind, x):
    if x == index:
        raise kind("no; take another")
    return x * x


def dies_once(folder, signs, x):
    """The worker kills itself at the first try of some items."""
    time.sleep(0.02)
    if x in signs:
        with contextlib.suppress(FileExistsError):
            os.close(os.open(f"{folder}/{x}", os.O_CREAT | os.O_EXCL))
            os.kill(os.getpid(), signal.SIGKILL)
    return x * x


def dies(x):
    os.kill(os.getpid(), signal.SIGKILL)


def hangs(folder, index, x):
    """Hangs for ever at an item; only once, if there is a folder to remember it in."""
    if x == index:
        if folder is None:
            time.sleep(1000)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(f"{folder}/{x}", os.O_CREAT | os.O_EXCL))
            time.sleep(1000)
    return x * x


def process(x):
    time.sleep(0.1)
    return os.getpid(), os.environ.get("OMP_NUM_THREADS")


def other_version(x):
    from genogate.search.pool import tasks

    tasks.__version__ = "0.0.1"
    return x


@pytest.fixture
def dask_pool():
    pytest.importorskip("distributed")
    with Pool("dask", 2, timeout=60) as pool:
        yield pool


def collect(results, got):
    for pair in results:
        got.append(pair)


def test_serial_and_processes_agree():
    with Pool("serial") as serial, Pool("processes", 2) as processes:
        assert list(serial.map(square, range(24))) == SQUARES
        assert sorted(processes.map(square, range(24))) == SQUARES
        assert list(processes.map(square, [])) == []
        # The same processes serve the next map, each with one thread.
        first, second = (
            {pid for _, (pid, _) in processes.map(process, range(6))} for _ in range(2)
        )
        assert first == second
        assert os.getpid() not in first
        assert dict(processes.map(process, [0]))[0][1] == "1"


def test_results_come_before_the_last_one_is_there():
    with Pool("processes", 2) as pool:
        results = pool.map(square, range(100))
        began = next(results)
        results.close()  # and nobody waits for the rest
        assert began in [(k, k * k) for k in range(4)]
        assert sorted(pool.map(square, range(24))) == SQUARES


@pytest.mark.parametrize("backend", ["serial", "processes"])
def test_a_fault_is_one_line_that_names_the_item(backend):
    with Pool(backend, 2) as pool:
        with pytest.raises(InputError, match=r"^no; take another$"):
            list(pool.map(functools.partial(fails_at, 3, InputError), range(6)))
        with pytest.raises(
            InputError, match=r"^evaluation 1 \(3\): failed with KeyError: 'no.*test_backends.py:"
        ) as caught:
            list(pool.map(functools.partial(fails_at, 3, KeyError), [2, 3]))
        assert "Traceback" in str(caught.value.__cause__)
        assert sorted(pool.map(square, range(24))) == SQUARES


def test_dead_processes_lose_nothing(tmp_path):
    with Pool("processes", 2) as pool:
        function = functools.partial(dies_once, str(tmp_path), (5, 13))
        assert sorted(pool.map(function, range(24))) == SQUARES
        os.kill(next(pid for _, (pid, _) in pool.map(process, [0])), signal.SIGKILL)
        time.sleep(0.5)  # an idle one
        assert sorted(pool.map(square, range(24))) == SQUARES


def test_processes_that_die_always_are_given_up(monkeypatch):
    monkeypatch.setattr("genogate.search.pool.backends.DEATHS", 1)
    with (
        Pool("processes", 2) as pool,
        pytest.raises(
            InputError, match=r"^workers died .* 7 of 7 evaluations are missing; .*--resume"
        ),
    ):
        list(pool.map(dies, range(7)))


def test_a_hanging_process_is_stopped(tmp_path):
    with Pool("processes", 2, timeout=3) as pool:
        function = functools.partial(hangs, str(tmp_path), 5)
        assert sorted(pool.map(function, range(24))) == SQUARES
        got = []
        results = pool.map(functools.partial(hangs, None, 5), range(24))
        with pytest.raises(InputError, match=r"^evaluation 5 \(5\): took longer than 3 s, twice"):
            collect(results, got)
        assert sorted(got) == [pair for pair in SQUARES if pair[0] != 5]


def test_a_worker_of_another_version_is_refused():
    with (
        Pool("processes", 1) as pool,
        pytest.raises(
            InputError, match=r"^worker on .*: genogate 0\.0\.1, not genogate .*; install the same"
        ),
    ):
        list(pool.map(other_version, range(2)))
    assert versions()[0] != "genogate 0.0.1"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"backend": "slurm"}, "^backend 'slurm': serial, processes, dask, ray are known"),
        ({"workers": 0}, "^workers: 0 is not within 1 to 1024"),
        ({"timeout": 0}, "^timeout: 0 is not"),
        ({"scheduler": "tcp://localhost:1"}, "only for --backend dask or ray"),
    ],
)
def test_bad_options_are_refused(arguments, text):
    with pytest.raises(InputError, match=text):
        Pool(**arguments)


@pytest.mark.parametrize("library", ["dask", "ray"])
def test_a_library_that_is_missing_is_named(library, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=rf"pip install 'genogate\[{library}\]'"):
        Pool(library)


def test_a_scheduler_that_does_not_answer_is_refused(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("genogate.search.pool.dask.ANSWER", 1.0)
    with socket.socket() as silent:  # accepts, and never says a word
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        for address in f"tcp://127.0.0.1:{port}", "nonsense://x", "tcp://127.0.0.1:99999":
            with pytest.raises(InputError, match=r"^scheduler .*: does not answer") as caught:
                Pool("dask", scheduler=address)
            assert address in str(caught.value)
            assert "\n" not in str(caught.value)


def test_dask_loses_nothing_with_a_worker(dask_pool, tmp_path):
    function = functools.partial(dies_once, str(tmp_path), (5,))
    assert sorted(dask_pool.map(function, range(24))) == SQUARES
    with pytest.raises(InputError, match=r"^no; take another$"):
        list(dask_pool.map(functools.partial(fails_at, 3, InputError), range(6)))
    dask_pool.timeout = 1
    hanging = functools.partial(hangs, str(tmp_path), 7)
    assert sorted(dask_pool.map(hanging, range(24))) == SQUARES


def test_a_dask_cluster_without_nannies_goes_on_with_the_rest(tmp_path):
    pytest.importorskip("distributed")
    file = ["--no-dashboard", "--scheduler-file", str(tmp_path / "scheduler.json")]
    command = [
        sys.executable,
        "-m",
        "distributed.cli.dask_scheduler",
        "--port",
        "0",
        *file,
        "--host",
        "127.0.0.1",
    ]
    worker = [
        sys.executable,
        "-m",
        "distributed.cli.dask_worker",
        "--nthreads",
        "1",
        *file,
        "--no-nanny",
    ]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    # They import the functions of this file.
    quiet["env"] = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    with contextlib.ExitStack() as stack:
        for line in command, worker, worker:
            running = stack.enter_context(subprocess.Popen(line, **quiet))
            stack.callback(running.kill)
        address = read_address(tmp_path / "scheduler.json")
        with Pool("dask", scheduler=address) as pool:
            while pool._engine.slots < 2:  # both are there
                time.sleep(0.1)
                pool._engine._look()
            function = functools.partial(dies_once, str(tmp_path), (5,))
            assert sorted(pool.map(function, range(24))) == SQUARES
            assert len({pid for _, (pid, _) in pool.map(process, range(4))}) == 1


def read_address(path: Path) -> str:
    import json

    for _ in range(300):
        with contextlib.suppress(OSError, ValueError):
            return json.loads(path.read_text())["address"]
        time.sleep(0.1)
    raise AssertionError("no scheduler")


INTERRUPTED = """
import os, time
from genogate.search.pool.backends import Pool
def slow(x):
    os.write(1, b"%d\\n" % os.getpid())  # at once: print() writes number and end apart
    time.sleep(1000)
if __name__ == "__main__":
    with Pool("processes", 2) as pool:
        list(pool.map(slow, range(4)))
"""


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_behind(kind, tmp_path):
    (tmp_path / "slow.py").write_text(INTERRUPTED)
    with subprocess.Popen(
        [sys.executable, "slow.py"],
        cwd=tmp_path,
        text=True,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        children = [int(running.stdout.readline()) for _ in range(2)]
        if kind == signal.SIGINT:
            os.killpg(running.pid, kind)  # as a terminal does
        else:
            running.kill()
        error = running.stderr.read()  # until nobody holds it open
        running.wait(30)
    if kind == signal.SIGINT:
        assert error.count("Traceback") == 1  # that of the script itself
    for child in children:
        state = Path(f"/proc/{child}/stat")
        # A zombie waits only for whoever adopted it.
        assert not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] in "ZX"


def test_ray_gives_the_same():
    pytest.importorskip("ray", reason="ray is not installed: pip install 'genogate[ray]'")
    with Pool("ray", 2) as pool:
        assert sorted(pool.map(square, range(24))) == SQUARES
