"""Whatever is wrong: one clear line, exit code 2, nothing half-written, earlier results intact."""

import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from genogate.model import zoo
from genogate.model.genome import GENES, Genome
from genogate.sim.random_model import random_model

COMMAND = [sys.executable, "-c", "from genogate.cli import main; main()"]


def everything_below(folder):
    """Relative path -> content of every file below `folder`."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def files(tmp_path):
    """One good file of each kind and the bad ones, in the current folder."""
    folder = tmp_path / "given"
    folder.mkdir()
    model = random_model(np.random.default_rng(2026), Genome.uniform(4), 3, 4, 2)
    model.save(folder / "model.safetensors")
    Genome.uniform(4).save(folder / "genome.json")
    zoo.load("digits-row").save(folder / "checkpoint.safetensors")
    np.save(folder / "codes.npy", np.zeros((2, 3, 3), np.int8))
    for name in ("model.safetensors", "genome.json", "checkpoint.safetensors", "codes.npy"):
        raw = (folder / name).read_bytes()
        (folder / f"short-{name}").write_bytes(raw[: len(raw) // 2])
    (folder / "empty").write_bytes(b"")
    (folder / "noise").write_bytes(np.random.default_rng(1).bytes(1000))
    (folder / "foreign.json").write_text(json.dumps({"name": "left-pad", "version": "1.3.0"}))
    gene = json.loads((folder / "genome.json").read_text())
    gene["layers"][0][3] = "4"
    (folder / "text-gene.json").write_text(json.dumps(gene))
    gene["layers"][0][3] = 4.0
    (folder / "float-gene.json").write_text(json.dumps(gene))
    gene.update(version=99)
    (folder / "next-version.json").write_text(json.dumps(gene))
    return folder


BAD_GENOMES = [
    ("int9", "int2 to int8"),
    ("int1", "int2 to int8"),
    ("8,8,8", "17"),
    (",".join(["8"] * 16 + ["9"]), "gene 16 (a_n): 9"),
    (",".join(["1"] + ["8"] * 16), "gene 0 (w_ir): 1"),
    (",".join(["-3"] + ["8"] * 16), "gene 0 (w_ir): -3"),
    (",".join(["8"] * 34), "layers"),
    (",".join(["8"] * 16 + ["4.5"]), "4.5"),
    ("", "genome"),
    ("nowhere.json", "no such file"),
    ("given", "folder"),
    ("given/empty", "not valid JSON"),
    ("given/noise", "not valid JSON"),
    ("given/short-genome.json", "not valid JSON"),
    ("given/foreign.json", "not a genome file"),
    ("given/text-gene.json", "gene 3 (w_hr): '4' is not an integer"),
    ("given/float-gene.json", "gene 3 (w_hr): 4.0 is not an integer"),
    ("given/next-version.json", "version 99"),
    ("given/model.safetensors", "not valid JSON"),
    ("\0", "genome"),
    ("x" * 5000, "genome"),
    ("int8\nint8", "genome"),
]


@pytest.mark.parametrize(("genome", "word"), BAD_GENOMES)
@pytest.mark.parametrize("command", ["gru", "sim"])
def test_a_bad_genome_is_refused(genogate, files, tmp_path, command, genome, word):
    before = everything_below(tmp_path)
    genogate(command, "--genome", genome, "--out", "result").refused(word)
    assert everything_below(tmp_path) == before
    assert not (tmp_path / "result").exists()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--task", "mnist-rows"], "digits-row"),
        (["--task", ""], "digits-row"),
        (["--checkpoint", "nowhere"], "digits-row-seed1"),
        (["--checkpoint", ""], "digits-row-seed1"),
        (["--checkpoint", "given"], "folder"),
        (["--checkpoint", "given/empty"], "given/empty"),
        (["--checkpoint", "given/noise"], "given/noise"),
        (["--checkpoint", "given/genome.json"], "given/genome.json"),
        (["--checkpoint", "given/model.safetensors"], "not a genogate-float-checkpoint"),
        (["--checkpoint", "given/short-checkpoint.safetensors"], "short-checkpoint"),
        (["--lanes", "0"], "lanes_x: 0"),
        (["--lanes", "-2"], "lanes_x: -2"),
        (["--lanes", "1,0"], "lanes_h: 0"),
        (["--lanes", "100000"], "lanes_x: 100000"),
        (["--lanes", "two"], "lanes: 'two'"),
        (["--lanes", "1,2,3"], "lanes: '1,2,3'"),
        (["--lanes", ""], "lanes: ''"),
        (["--target", ""], "'--target': empty"),
        (["--entries", ""], "--entries"),
        (["--lanes", "2.5"], "lanes: '2.5'"),
        (["--entries", "1"], "entries: 1"),
        (["--entries", "many"], "--entries"),
        (["--activation", "relu"], "'pwl'"),
        (["--granularity", "row"], "'channel'"),
        (["--multiplier-terms", "4"], "'free'"),
        (["--dense-output", "7"], "'gene'"),
        (["--speed", "11"], "--speed"),
        (["surplus"], "surplus"),
    ],
)
def test_a_bad_option_is_refused(genogate, files, tmp_path, options, word):
    before = everything_below(tmp_path)
    genogate("gru", *options, "--out", "result").refused(word)
    assert everything_below(tmp_path) == before


@pytest.mark.parametrize(
    "call",
    [
        ["gru", "--genome", "int4", "--out", ""],
        ["train", "--epochs", "1", "--start", ""],
        ["lut", "sigmoid", "--weights="],
        ["asic", "--liberty", ""],
        ["search", "--budget", "1m", "--start", ""],
        ["proxy", "search", "--table", ""],
    ],
    ids=lambda call: call[0],
)
def test_an_empty_option_is_not_one_that_was_left_out(genogate, tmp_path, call):
    genogate(*call).refused("empty: give a value, or leave the option out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["listen", "sim", "search"])
def test_nothing_behind_two_dashes_is_not_a_value_that_was_left_out(genogate, tmp_path, command):
    genogate(command, "--").refused("nothing stands behind --")
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_another_shape_or_split_is_refused(genogate, tmp_path):
    from genogate.model.checkpoints.floating import Checkpoint

    good = zoo.load("digits-row")
    tensors = dict(good.tensors)
    narrow = {**tensors, "weight_ih_l0": tensors["weight_ih_l0"][:, :5]}
    Checkpoint(narrow, good.info).save("narrow.safetensors")
    genogate("gru", "--checkpoint", "narrow.safetensors").refused("5 inputs", "8")
    Checkpoint(tensors, {**good.info, "split_hash": "0" * 16}).save("moved.safetensors")
    genogate("gru", "--checkpoint", "moved.safetensors").refused("another split")
    Checkpoint(tensors, {**good.info, "split_seed": -1}).save("seed.safetensors")
    genogate("gru", "--checkpoint", "seed.safetensors").refused("seed: -1")
    Checkpoint(tensors, {**good.info, "task": "kws"}).save("task.safetensors")
    genogate("gru", "--checkpoint", "task.safetensors").refused("task 'kws': unknown")
    genogate("gru", "--checkpoint", "task.safetensors", "--task", "digits-row").refused("kws")
    assert not (tmp_path / "build").exists()


@pytest.mark.parametrize(
    ("command", "word"),
    [
        (["nothing"], "nothing"),
        (["golden"], "MODEL"),
        (["golden", "a", "b", "c", "d"], "d"),
        (["train", "--task", "kws"], "digits-row"),
        (["train", "--epochs", "0"], "epochs: 0"),
        (["train", "--hidden", "-1"], "hidden: -1"),
        (["train", "--lr", "nan"], "lr: nan"),
        (["train", "--seed", "-1"], "--seed"),
        (["train", "--seed", str(2**40)], "seed: "),
        (["train", "--out", "."], "folder"),
        (["sim", "--sequences", "0"], "sequences: 0"),
        (["sim", "--sequences", "1000000"], "sequences: 1000000"),
        (["sim", "--seed", "-1"], "--seed"),
        (["campaign", "--n", "0"], "n must be"),
        (["campaign", "--workers", "0"], "--workers"),
        (["campaign", "--seed", "-1"], "--seed"),
    ],
)
def test_a_bad_call_is_refused(genogate, tmp_path, command, word):
    genogate(*command).refused(word)
    assert everything_below(tmp_path) == {}


@pytest.mark.parametrize(
    ("array", "word"),
    [
        (np.zeros((2, 3, 3)), "float64"),
        (np.zeros((2, 3, 3), bool), "bool"),
        (np.zeros((2, 3, 4), np.int8), "[batch, steps, 3]"),
        (np.zeros((2, 3), np.int8), "[batch, steps, 3]"),
        (np.zeros((0, 3, 3), np.int8), "[batch, steps, 3]"),
        (np.full((2, 3, 3), 128), "-128 to 127"),
        (np.full((2, 3, 3), -(2**40)), "-128 to 127"),
        (np.zeros((2, 3, 3), "S3"), "S3"),
    ],
)
def test_codes_that_are_no_codes_are_refused(genogate, files, tmp_path, array, word):
    np.save("bad.npy", array)
    genogate("golden", "given/model.safetensors", "bad.npy", "out.npz").refused(word)
    assert not (tmp_path / "out.npz").exists()


def lying_header():
    header = b"{'descr': '|i1', 'fortran_order': False, 'shape': (9999999, 9999999, 3), }"
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


def test_files_that_are_no_codes_or_no_model_are_refused(genogate, files, tmp_path):
    np.savez("several.npz", a=np.zeros(3))
    (tmp_path / "lying.npy").write_bytes(lying_header())
    (tmp_path / "pickle.npy").write_bytes(pickle.dumps([1, 2]))
    np.save("objects.npy", np.array([{}, {}]), allow_pickle=True)
    names = ["several.npz", "lying.npy", "pickle.npy", "objects.npy", "given/noise", "given/empty"]
    for name in [*names, "given/short-codes.npy", "nowhere.npy", "given"]:
        genogate("golden", "given/model.safetensors", name, "out.npz").refused(name)
    names = ["given/checkpoint.safetensors", "given/short-model.safetensors", "given/noise"]
    for name in [*names, "given/empty", "given/codes.npy", "nowhere", "given"]:
        genogate("golden", name, "given/codes.npy", "out.npz").refused(name)
    for name in ["out.csv", "out", "given/model.safetensors", ""]:
        genogate("golden", "given/model.safetensors", "given/codes.npy", name).refused("*.npz")
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("out", ["given/codes.npy/deeper", "/proc/genogate", "/dev/null"])
def test_a_folder_that_cannot_be_written_is_refused(genogate, files, tmp_path, out):
    before = everything_below(tmp_path)
    for command in (
        ["gru"],
        ["area"],
        ["train", "--epochs", "1"],
        ["sim", "--sequences", "1"],
        ["campaign", "--n", "1"],
    ):
        target = f"{out}/x.safetensors" if command[0] == "train" else out
        genogate(*command, "--out", target).refused("cannot write", out)
    call = ["golden", "given/model.safetensors", "given/codes.npy", f"{out}/y.npz"]
    genogate(*call).refused("cannot write", out)
    assert everything_below(tmp_path) == before


def limited(blocks):
    """For a subprocess: no file may grow beyond `blocks` of 1024 bytes, as on a full device."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (blocks * 1024, blocks * 1024))

    return limit


def test_a_full_device_leaves_the_earlier_results_as_they_were(files, tmp_path):
    result = tmp_path / "result"
    result.mkdir()
    (result / "gru.v").write_text("earlier Verilog")
    (result / "report.json").write_text("{}")
    (result / "y.npz").write_text("earlier arrays")
    np.save(tmp_path / "many.npy", np.zeros((99, 30, 3), np.int8))
    before = everything_below(tmp_path)
    for call in (
        ["gru", "--out", "result"],
        ["train", "--epochs", "1", "--out", "result/c.safetensors"],
        ["golden", "given/model.safetensors", "many.npy", "result/y.npz"],
    ):
        done = subprocess.run(
            [*COMMAND, *call],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            preexec_fn=limited(4),
            stdin=subprocess.DEVNULL,
        )
        assert (done.returncode, done.stdout) == (2, ""), done
        assert done.stderr.startswith("genogate: "), done
        assert done.stderr.count("\n") == 1, done
        assert everything_below(tmp_path) == before


def as_program(folder, name, text):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("program", "word"),
    [
        (None, "nowhere-yosys"),
        ("exit 1", "osys"),
        ("echo Yosys 0.23 '(git sha1 7ce5011c24b)'", "0.23"),
        ('echo Yosys 0.70; case "$1" in -V|--version) ;; *) exit 1;; esac', "osys"),
        ("echo left-pad 1.3.0", "osys"),
    ],
)
def test_a_yosys_that_does_not_work_is_refused(tmp_path, program, word):
    (tmp_path / "result").mkdir()
    (tmp_path / "result/report.json").write_text("{}")
    yosys = as_program(tmp_path, "yosys", program) if program else "nowhere-yosys"
    before = everything_below(tmp_path)
    environment = {**os.environ, "YOSYS": yosys, "GENOGATE_CACHE": str(tmp_path.parent / "cache")}
    done = subprocess.run(
        [*COMMAND, "gru", "--out", "result"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, ""), done
    assert done.stderr.startswith("genogate: "), done
    assert done.stderr.count("\n") == 1, done
    assert word in done.stderr
    assert everything_below(tmp_path) == before


def test_a_missing_simulator_is_refused(genogate, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    for command in (["sim", "--sequences", "1"], ["campaign", "--n", "1"]):
        genogate(*command, "--out", "result").refused("Icarus Verilog", "apt-get install iverilog")
        assert not (tmp_path / "result").exists()


def test_output_that_nobody_can_take_ends_without_a_traceback(files, tmp_path):
    call = [*COMMAND, "golden", "given/model.safetensors", "given/codes.npy", "out.npz"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(call, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr == "genogate: No space left on device\n"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(call, cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize(
    ("sign", "code", "said"),
    [(signal.SIGINT, 130, "genogate: stopped\n"), (signal.SIGTERM, 143, "genogate: stopped\n")],
)
def test_a_stopped_run_leaves_nothing(tmp_path, sign, code, said):
    pytest.importorskip("torch")
    call = [*COMMAND, "train", "--epochs", "100000", "--out", "new/folder/c.safetensors"]
    run = subprocess.Popen(
        call, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        limit = time.monotonic() + 240
        while not list(tmp_path.rglob(".partial-*")):
            assert run.poll() is None, run.stderr.read()
            assert time.monotonic() < limit
            time.sleep(0.05)
        time.sleep(0.3)
        run.send_signal(sign)
        out, err = run.communicate(timeout=60)
    finally:
        run.kill()
    # An empty line first, so that the message does not follow the terminal's ^C.
    assert (run.returncode, out, err.lstrip()) == (code, "", said)
    assert list(tmp_path.iterdir()) == []


def test_every_gene_is_checked(genogate):
    for position, name in enumerate(GENES):
        genes = [8] * 17
        genes[position] = 0
        genogate("gru", "--genome", str(genes)).refused(f"gene {position} ({name}): 0")
