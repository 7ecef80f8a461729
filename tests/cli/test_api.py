"""The Python API gives what the commands give, and refuses with the same lines."""

import re
import subprocess
import sys
from pathlib import Path

import genogate as package
import numpy as np
import pytest
from genogate.model import zoo
from genogate.model.checkpoints.floating import Checkpoint
from genogate.model.genome import Genome
from threadpoolctl import threadpool_limits

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def network():
    return package.quantize("digits-row", "int4", lanes=2, activation="table")


def test_every_public_name_is_there_and_importing_loads_nothing():
    for name in package.__all__:
        assert getattr(package, name) is not None
        assert name in dir(package)
    with pytest.raises(AttributeError, match="nothing_of_ours"):
        _ = package.nothing_of_ours
    code = "import sys, genogate; assert not {'numpy', 'click', 'rich'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_name_a_checkpoint_and_a_state_dict_give_the_same_integers(network):
    checkpoint = zoo.load("digits-row")
    knobs = {"lanes_x": 2, "lanes_h": 2, "activation": "table"}
    for source in (checkpoint, _state(checkpoint)):
        again = package.quantize(source, [4] * 17, **knobs)
        for name, value in network.model.tensors().items() if _has_tensors(network) else ():
            np.testing.assert_array_equal(value, again.model.tensors()[name])
        assert again.size_bits == network.size_bits
        assert again.accuracy("val") == network.accuracy("val")
        assert again.knobs == network.knobs


def test_threads_of_the_process_change_no_code(tmp_path):
    """Weights of which calibration on two threads once made other codes than on one, as the
    commands have."""
    shipped, rng = zoo.load("digits-row"), np.random.default_rng(21)
    tensors = {
        name: (value + 0.02 * rng.standard_normal(value.shape)).astype(value.dtype)
        for name, value in shipped.tensors.items()
    }
    path = tmp_path / "moved.safetensors"
    Checkpoint(tensors, shipped.info).save(path)
    # Not by environment variables, of which a machine of one core makes one thread.
    code = (
        "import sys, genogate, numpy, threadpoolctl; threadpoolctl.threadpool_limits(2); "
        "print(*(pool['num_threads'] for pool in threadpoolctl.threadpool_info())); "
        "print(genogate.quantize(sys.argv[1], 'int3', activation='table').model.hash)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
    )
    threads, codes = done.stdout.splitlines()
    assert {*threads.split()} == {"2"}
    with threadpool_limits(1):
        assert package.quantize(path, "int3", activation="table").model.hash == codes


def _has_tensors(network):
    return callable(getattr(network.model, "tensors", None))


def _state(checkpoint):
    """As torch.nn has the names."""
    return {
        name if "." in name else f"gru.{name}": value for name, value in checkpoint.tensors.items()
    }


def test_a_torch_module_is_taken(network):
    torch = pytest.importorskip("torch")
    checkpoint = zoo.load("digits-row")
    module = torch.nn.Module()
    module.gru = torch.nn.GRU(checkpoint.input_size, checkpoint.hidden_size(), batch_first=True)
    module.classifier = torch.nn.Linear(checkpoint.hidden_size(), checkpoint.classes)
    weights = {name: torch.tensor(np.array(v)) for name, v in _state(checkpoint).items()}
    module.load_state_dict(weights)
    again = package.quantize(module, "int4", lanes=2, activation="table")
    assert again.accuracy("val") == network.accuracy("val")


def test_golden_and_emit(network, tmp_path):
    codes = network.codes(np.zeros((2, 8, 8), np.float32))
    result = network.golden(codes)
    assert result.hidden.shape == (2, 8, 32)
    assert result.classes.shape == (2,)
    text = network.emit(tmp_path / "gru.v")
    assert (tmp_path / "gru.v").read_text() == text
    assert "module gru" in text


def test_what_does_not_fit_is_refused_in_one_line(network):
    for call, words in (
        (lambda: package.quantize("nowhere"), "no such file"),
        (lambda: package.quantize("digits-row", "int9"), "int2 to int8"),
        (lambda: package.quantize("digits-row", lane=2), "'lane': unknown"),
        (lambda: package.quantize("digits-row", lanes=0), "lanes_x: 0"),
        (lambda: package.quantize(3), "a int is neither"),
        (lambda: package.quantize({"gru.weight_hh_l0": "text"}), "not a tensor"),
        (lambda: network.accuracy("all"), "not train, val or test"),
        (lambda: package.table("gelu", entries=1), "entries"),
        (lambda: package.table("gelu", colour=1), "unknown option 'colour'"),
        (lambda: package.search("nowhere"), "no such file"),
    ):
        with pytest.raises(package.InputError, match=re.escape(words)) as caught:
            call()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"budget": 60}, "budget '60': write a number and s, m or h"),
        ({"budget": "60m", "spare": "x"}, "spare: 'x' is not"),
        ({"budget": "60m", "seed": 1.5}, "seed: 1.5 is no whole number"),
        ({"budget": "60m", "keep_units": "perhaps"}, "keep_units: 'perhaps' is not"),
        ({"budget": "60m", "also": "nothere"}, "checkpoint 'nothere'"),
        ({"budget": "60m", "start": "int9"}, "genome int9"),
        ({"objectives": "accuracy,beauty"}, "beauty"),
        ({"objectives": None, "pop": 0}, "pop"),
        ({"out": 5}, "out: a int is no path"),
        ({"source": 5}, "source: a int is no path"),
        ({"popp": 4}, "unknown option 'popp'"),
    ],
)
def test_options_of_a_search_are_taken_as_the_command_takes_them(options, words, tmp_path):
    with pytest.raises(package.InputError, match=re.escape(words)):
        package.search(**{"source": "digits-row", "out": tmp_path / "run", **options})
    assert list(tmp_path.iterdir()) == []


def test_the_examples_of_the_docs_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", (DOCS / "api.md").read_text(), re.S):
        exec(block, names)
    assert (tmp_path / "gru.v").exists()
    assert names["result"].logits.shape == (1, 10)


def test_the_snippet_of_the_readme_runs(tmp_path, monkeypatch):
    """With a torch module and data of one's own, as the text below it says."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("cocotb")
    monkeypatch.chdir(tmp_path)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.gru = torch.nn.GRU(2, 2, batch_first=True)
            self.fc = torch.nn.Linear(2, 2)

        def forward(self, x):
            return self.fc(self.gru(x)[0][:, -1])

    torch.manual_seed(1)
    x = np.random.default_rng(1).normal(0, 1, (60, 4, 2))
    np.savez("mine.npz", x=x, y=np.arange(60) % 2)
    (snippet,) = re.findall(r"```python\n(.*?)```", (DOCS.parent / "README.md").read_text(), re.S)
    *lines, last = snippet.strip().splitlines()
    names = {"model": Net()}
    exec("\n".join(lines), names)
    assert eval(last, names) is True
    files = {path.name for path in (tmp_path / "build" / "mine").iterdir()}
    assert files >= {"gru.v", "gru_tb.v", "model.safetensors", "report.json"}


def test_a_genome_file_brings_the_checkpoint_and_knobs_that_it_was_found_with(tmp_path):
    path = tmp_path / "knee"
    found_with = {"activation": "table", "lanes_x": 4, "lanes_h": 4}
    Genome.uniform(3).save(path, checkpoint="digits-row-seed1", knobs=found_with)
    network = package.quantize(genome=path, lanes=2)
    assert network.checkpoint.hash == zoo.load("digits-row-seed1").hash
    assert network.knobs == package.Knobs(activation="table", lanes_x=2, lanes_h=2)
    assert package.quantize("digits-row", path).checkpoint.hash == zoo.load("digits-row").hash
    with pytest.raises(package.InputError, match=r"^source: give a checkpoint"):
        package.quantize(genome="int4")
