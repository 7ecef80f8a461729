"""What a killed process leaves goes at the next start; what others still use stays."""

import contextlib
import os
import signal
import stat
import subprocess
import sys
import time

import numpy as np
import pytest
from genogate.model import leftovers
from genogate.model.errors import InputError, one_line, printable
from genogate.model.files import read_archive, read_array, regular_file, staged, write_text
from genogate.model.genome import Genome, found_with
from genogate.model.knobs import Knobs
from genogate.sim.random_model import random_model

STAGING = """
import sys, time
from genogate.model.files import staged
from genogate.model.leftovers import scratch
with staged(sys.argv[1]) as stage, scratch() as folder:
    (stage / "half").write_text("half")
    (folder / "half").write_text("half")
    print(folder, flush=True)
    time.sleep(100)
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    return folder


def test_folders_of_a_killed_process_go_at_the_next_start(tmp_path, temporary):
    out = tmp_path / "out"
    run = subprocess.Popen([sys.executable, "-c", STAGING, out], stdout=subprocess.PIPE, text=True)
    run.stdout.readline()
    (out / ".partial-of-nobody").mkdir()
    (temporary / "genogate-of-nobody").mkdir()
    with staged(out), leftovers.scratch():
        # It lives: its folders stay.
        assert len(list(out.iterdir())) == 3
        assert len(list(temporary.iterdir())) == 3
    run.kill()
    run.wait()
    with staged(out), leftovers.scratch():
        assert len(list(out.iterdir())) == 2
        assert len(list(temporary.iterdir())) == 2
    assert [path.name for path in out.iterdir()] == [".partial-of-nobody"]
    assert [path.name for path in temporary.iterdir()] == ["genogate-of-nobody"]


def test_a_number_of_a_process_that_was_given_again_is_not_taken_for_the_owner(temporary):
    machine, pid, start, _ = leftovers.owner().split("-")
    if start == "0":
        pytest.skip("the start of a process is not known here")
    ours = temporary / f"genogate-{machine}-{pid}-{start}-x"
    before = temporary / f"genogate-{machine}-{pid}-{int(start) - 1}-x"
    elsewhere = temporary / f"genogate-{'0' * 6}-{pid}-1-x"
    for path in (ours, before, elsewhere):
        path.mkdir()
    leftovers.sweep(temporary, "genogate-")
    assert set(temporary.iterdir()) == {ours, elsewhere}


def write_three(folder, *names):
    with staged(folder) as stage:
        for name in names:
            (stage / name).write_text("later")


def test_nothing_moves_where_one_of_the_names_is_a_folder(tmp_path):
    write_text(tmp_path / "a.v", "earlier")
    (tmp_path / "b.json").mkdir()
    with pytest.raises(InputError, match=r"b\.json: it is a folder"):
        write_three(tmp_path, "a.v", "b.json", "c")
    assert (tmp_path / "a.v").read_text() == "earlier"
    assert {path.name for path in tmp_path.iterdir()} == {"a.v", "b.json"}


def test_a_move_that_fails_in_the_middle_is_taken_back(tmp_path, monkeypatch):
    write_text(tmp_path / "a", "earlier")
    replace = os.replace

    def failing(source, target):
        if os.path.basename(target) == "c" and ".partial-" in str(source):
            raise OSError(5, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(InputError, match="Input/output error"):
        write_three(tmp_path, "a", "b", "c")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "earlier"}


def test_pipes_and_devices_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        for read in (regular_file, read_array, read_archive):
            with pytest.raises(InputError, match="pipe or device"):
                read(path)


def test_no_output_takes_the_place_of_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "b")
    with pytest.raises(InputError, match="it is a pipe or device"):
        write_text(tmp_path / "b", "data")
    with pytest.raises(InputError, match="it is a pipe or device"):
        write_three(tmp_path, "a", "b", "c")
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    assert stat.S_ISFIFO((tmp_path / "b").stat().st_mode)


HEADERS = [
    b"",
    b"PK\3\4",
    b"PK\3\4" + bytes(40),
    b"\x93NUMPY",
    b"\x93NUMPY\x09\x00v\x00{",
    b"\x93NUMPY\x01\x00\x10\x00{'descr': '<i1'",
    b"\x93NUMPY\x01\x00\x40\x00" + b"{'descr': [('x'," + b" " * 48,
    b"\x93NUMPY\x01\x00\x08\x00((((((((",
    b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}",
    b"\x93NUMPY\x01\x00\x02\x00\xff\xfe",
]


@pytest.mark.parametrize("raw", HEADERS)
def test_a_file_that_is_no_array_is_refused(tmp_path, raw):
    path = tmp_path / "x.npy"
    path.write_bytes(raw)
    for read in (read_array, read_archive):
        with pytest.raises(InputError, match=r"x\.npy"):
            read(path)


@pytest.mark.parametrize("seed", range(3))
def test_mutated_arrays_are_read_or_refused(tmp_path, seed):
    rng = np.random.default_rng(seed)
    np.save(tmp_path / "x.npy", np.arange(30, dtype=np.int8).reshape(5, 6))
    np.savez(tmp_path / "x.npz", x=np.arange(3), y=np.arange(2))
    for name, read in (("x.npy", read_array), ("x.npz", read_archive)):
        raw = np.frombuffer((tmp_path / name).read_bytes(), np.uint8)
        for _ in range(60):
            changed = raw.copy()
            places = rng.integers(len(raw), size=rng.integers(1, 4))
            changed[places] = rng.integers(256, size=len(places))
            (tmp_path / f"bad-{name}").write_bytes(changed.tobytes())
            # Whatever else it may raise is the fault.
            with contextlib.suppress(InputError):
                read(tmp_path / f"bad-{name}")


def test_a_member_that_is_no_array_is_named(tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", "no array")
    with pytest.raises(InputError, match=r"'x' is not an array|not a whole"):
        read_archive(tmp_path / "x.npz")


def test_what_a_terminal_would_obey_is_escaped():
    assert printable("a\x1b[31mb\u202ec\udcffd é 语") == "a\\x1b[31mb\\u202ec\\udcffd é 语"
    assert one_line("a\nb\tc") == "a b c"
    assert len(one_line("x" * 10_000)) <= 400


def test_the_golden_model_does_not_overwrite_its_inputs(genogate, tmp_path):
    np.save("in.npy", np.zeros((1, 2, 3), np.int8))
    write_text("m.npz", "not looked at")
    os.link("in.npy", "beside.logits.npy")
    before = (tmp_path / "in.npy").read_bytes()
    for call in (["m", "in.npy", "in.npy"], ["m.npz", "in.npy", "m.npz"]):
        genogate("golden", *call).refused("it is an input")
    genogate("golden", "m.npz", "in.npy", "beside.npy").refused("beside.logits.npy")
    assert (tmp_path / "in.npy").read_bytes() == before


def test_a_genome_file_finds_its_checkpoint_when_either_is_moved(tmp_path):
    (tmp_path / "a/run").mkdir(parents=True)
    (tmp_path / "a/mine.safetensors").write_text("")
    Genome.uniform(4).save(
        tmp_path / "a/run/knee", checkpoint=str(tmp_path / "a/mine.safetensors"), knobs={}
    )
    # Together,
    (tmp_path / "a").rename(tmp_path / "b")
    checkpoint, _ = found_with(str(tmp_path / "b/run/knee"))
    assert os.path.samefile(checkpoint, tmp_path / "b/mine.safetensors")
    # and the genome alone.
    (tmp_path / "b").rename(tmp_path / "a")
    (tmp_path / "a/run").rename(tmp_path / "elsewhere")
    checkpoint, _ = found_with(str(tmp_path / "elsewhere/knee"))
    assert checkpoint == str(tmp_path / "a/mine.safetensors")


def test_knobs_of_a_genome_file_are_shown_escaped(genogate):
    Genome.uniform(4).save("g", checkpoint="digits-row", knobs={"x\x1b[31m": 1})
    genogate("gru", "--genome", "g").refused("\\x1b[31m")
    assert Knobs().suffix == ""


def test_an_output_whose_name_is_no_text_is_written_and_printed(tmp_path):
    rng = np.random.default_rng(3)
    random_model(rng, Genome.uniform(3), 2, 2, 2).save(tmp_path / "m.safetensors")
    np.save(tmp_path / "in.npy", np.zeros((1, 2, 2), np.int8))
    code = "import sys; from genogate.cli import main; sys.argv[0] = 'genogate'; main()"
    call = [sys.executable, "-c", code, "golden", "m.safetensors", "in.npy"]
    done = subprocess.run([*call, b"\xfd.npz"], cwd=tmp_path, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.splitlines()[0] == b"\\udcfd.npz:hidden [1, 2, 2]"
    with np.load(tmp_path / os.fsdecode(b"\xfd.npz")) as arrays:
        assert sorted(arrays) == ["classes", "hidden", "logits"]
    (tmp_path / os.fsdecode(b"\xfc.npz")).mkdir()
    done = subprocess.run([*call, b"\xfc.npz"], cwd=tmp_path, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
    assert done.stderr.startswith(b"genogate: \\udcfc.npz"), done.stderr


def test_a_name_that_is_no_text_can_be_printed(tmp_path):
    code = "import sys; from genogate.cli import main; sys.argv[0] = 'genogate'; main()"
    call = [sys.executable, "-c", code, "golden", b"\xff", b"\xfe.npy", b"\xfd.npz"]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True)
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1
    assert b"\\xff" in done.stderr or b"\\udcff" in done.stderr, done.stderr


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_in_the_background_ends_on_a_signal(tmp_path, temporary, sign, code):
    program = "import sys; from genogate.cli import main; sys.argv[0] = 'genogate'; main()"
    call = [sys.executable, "-c", program, "area", "--genome", "8,7,6,5,4,3,2,8,3,4,5,6,7,8,7,6,5"]
    environment = os.environ | {"GENOGATE_CACHE": str(tmp_path / "cache")}
    run = subprocess.Popen(
        call,
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        # As a shell does that starts it with &.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    while not list(temporary.glob("genogate-*")):
        assert run.poll() is None
        time.sleep(0.05)
    run.send_signal(sign)
    assert run.communicate(timeout=60)[1].strip() == "genogate: stopped"
    assert run.returncode == code
    assert list(temporary.iterdir()) == []
    assert not list(tmp_path.rglob(".partial-*"))


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_waits_until_torch_is_imported(tmp_path, sign, code):
    """A stand-in for torch, whose C++ would abort where its import ends with an exception."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(
        "import pathlib, time\n"
        "pathlib.Path('begun').touch()\n"
        "for _ in range(20):\n    time.sleep(0.05)\n"
        "pathlib.Path('imported').touch()\n"
        "def set_num_threads(count):\n    time.sleep(60)\n"
    )
    program = "import sys; from genogate.cli import main; sys.argv[0] = 'genogate'; main()"
    run = subprocess.Popen(
        [sys.executable, "-c", program, "train", "--epochs", "1"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while not (tmp_path / "begun").exists():
            assert run.poll() is None
            time.sleep(0.02)
        run.send_signal(sign)
        err = run.communicate(timeout=60)[1]
    finally:
        run.kill()
    assert err.strip() == "genogate: stopped"
    assert run.returncode == code
    assert (tmp_path / "imported").exists()


def test_what_icarus_leaves_where_it_is_killed_goes_with_our_folder(tmp_path, temporary):
    """A stand-in that writes temporary files as iverilog does, and dies before it removes them."""
    from genogate.sim.rtl.units.bench import Case, simulate_units

    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("iverilog", "vvp"):
        (programs / name).write_text(
            '#!/bin/sh\n[ "$1" = -V ] && exit\necho x > "$TMPDIR/ivrlg1"\nkill -9 $$\n'
        )
        (programs / name).chmod(0o755)
    case = Case("unit", "module unit; endmodule", 8, 8, [1], np.array([0]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
        with pytest.raises(InputError, match="iverilog: "):
            simulate_units([case], tmp_path / "out")
    assert list(temporary.iterdir()) == []
    assert sorted(path.name for path in (tmp_path / "out").iterdir())[0] == "bench.v"


def test_folders_of_workers_that_were_killed_go_at_the_end(temporary):
    code = "import os\nfrom genogate.model.leftovers import scratch\nwith scratch(): os._exit(1)"
    with leftovers.swept():
        subprocess.run([sys.executable, "-c", code], check=False)
        assert len(list(temporary.iterdir())) == 1
    assert list(temporary.iterdir()) == []


def test_ctrl_c_while_libraries_load_is_no_traceback():
    code = "import sys; sys.argv[0] = 'bin/genogate'; import genogate.cli, os; os.kill(0, 2)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, start_new_session=True
    )
    assert run.returncode == -signal.SIGINT
    assert run.stderr == ""
