"""Whatever a genome or model file holds, it is loaded right or refused in one line."""

import copy
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from genogate.model.errors import InputError
from genogate.model.files import read_tensors, write_tensors
from genogate.model.genome import FORMAT, GENES, VERSION, Genome, parse_genome
from genogate.model.integer import KIND, IntModel
from genogate.sim import golden
from genogate.sim.random_model import random_model
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

FOLDER = Path(tempfile.mkdtemp(prefix="genogate-malformed-"))
MODEL = random_model(np.random.default_rng(5), Genome.uniform(4), 2, 3, 2, activation="mix")
MODEL.save(FOLDER / "model.safetensors")
RAW = (FOLDER / "model.safetensors").read_bytes()
TENSORS, DOCUMENT = read_tensors(FOLDER / "model.safetensors", KIND)
CODES = np.random.default_rng(6).integers(-128, 128, (2, 3, 2))
LOGITS = golden.run(MODEL, CODES).logits


def many(examples):
    # Derandomized: the same cases in every run, so that a failure is never a matter of luck.
    return settings(max_examples=examples, deadline=None, derandomize=True, database=None)


def refused(load):
    """Call `load`: its result, or None where it refused with one clear line."""
    try:
        return load()
    except InputError as error:
        text = str(error)
        assert len(text.splitlines()) == 1, text
        assert 10 <= len(text) <= 500, text
        return None


def load_model(data):
    """Load `data` as a model file; what is accepted must be the model that was saved."""
    path = FOLDER / "damaged.safetensors"
    path.write_bytes(data)
    model = refused(lambda: IntModel.load(path))
    if model is not None:
        assert model.hash == MODEL.hash
        assert isinstance(model.info, dict)
        np.testing.assert_array_equal(golden.run(model, CODES).logits, LOGITS)
    return model


def load_parts(tensors, document, kind=KIND):
    plain = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    return load_model(save(plain, metadata={"kind": kind, "genogate": json.dumps(document)}))


scalars = (
    st.none()
    | st.booleans()
    | st.floats()
    | st.text(max_size=20)
    | st.integers()
    | st.integers(-300, 300)
    | st.sampled_from([2**31, 2**63, -(2**63) - 1, 9**400])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


def paths(document, prefix=()):
    """Every place in a JSON document, as a tuple of keys."""
    items = (
        document.items()
        if isinstance(document, dict)
        else enumerate(document)
        if isinstance(document, list)
        else ()
    )
    for key, value in items:
        yield (*prefix, key)
        yield from paths(value, (*prefix, key))


def changed(document, path, value, *, delete=False):
    """A copy of `document` with another value at `path`, or none."""
    document = copy.deepcopy(document)
    place = document
    for key in path[:-1]:
        place = place[key]
    if delete:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return document


MODEL_PATHS = list(paths(DOCUMENT))
INTEGER_PATHS = [
    p
    for p in MODEL_PATHS
    if p[0] in ("layers", "classifier", "genome", "input") and p[-1] not in ("kind", "scale")
]


def test_the_file_itself_loads():
    assert load_model(RAW) is not None
    assert load_parts(TENSORS, DOCUMENT) is not None


@many(200)
@given(st.integers(0, len(RAW) - 1))
@example(0)
@example(7)
@example(8)
@example(len(RAW) - 1)
def test_truncated_models_are_refused(length):
    assert load_model(RAW[:length]) is None


@many(500)
@given(st.lists(st.integers(0, 8 * len(RAW) - 1), min_size=1, max_size=4))
def test_models_with_flipped_bits(bits):
    data = bytearray(RAW)
    for bit in bits:
        data[bit // 8] ^= 1 << bit % 8
    load_model(bytes(data))


@many(150)
@given(st.binary(max_size=400))
def test_random_bytes_are_no_model(data):
    assert load_model(data) is None
    assert load_model(RAW[:8] + data) is None


@many(150)
@given(
    st.dictionaries(
        st.text(max_size=10),
        st.sampled_from([np.int8, np.float32, np.int64, np.bool_]).map(lambda t: np.zeros(3, t)),
        max_size=4,
    ),
    values,
    st.sampled_from([KIND, "genogate-float-model", ""]),
)
def test_foreign_tensor_files_are_refused(tensors, document, kind):
    assert load_parts(tensors, document, kind) is None


@many(500)
@given(st.sampled_from(MODEL_PATHS), values, st.booleans())
def test_models_with_other_metadata(path, value, delete):
    load_parts(TENSORS, changed(DOCUMENT, path, value, delete=delete))


@many(300)
@given(st.sampled_from(INTEGER_PATHS), st.integers() | st.integers(-200, 200))
def test_models_with_other_integers_are_refused(path, value):
    if changed(DOCUMENT, path, value) != DOCUMENT:
        assert load_parts(TENSORS, changed(DOCUMENT, path, value)) is None


@many(300)
@given(
    st.sampled_from(sorted(TENSORS)),
    st.sampled_from(["drop", "flat", "wider", "empty", "value", "float32", "uint64", "int16"]),
    st.integers(-(2**63), 2**63 - 1) | st.integers(-130, 130),
)
def test_models_with_other_tensors(name, change, value):
    tensors, array = dict(TENSORS), TENSORS[name].astype(np.int64)
    if change == "drop":
        del tensors[name]
    elif change == "flat":
        tensors[name] = array.reshape(1, -1)
    elif change == "wider":
        tensors[name] = np.concatenate([array, array[:1]])
    elif change == "empty":
        tensors[name] = array[:0]
    elif change == "value":
        tensors[name] = array.copy()
        tensors[name].flat[0] = value
    else:
        tensors[name] = array.astype(change)
    model = load_parts(tensors, DOCUMENT)
    if change in ("drop", "flat", "wider", "empty", "float32"):
        same = name in tensors and np.array_equal(tensors[name], TENSORS[name])
        assert model is None or same


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("layers", 0, "p_zn", "multiplier"), 0, "multiplier: 0 is not within 1 to 1048576$"),
        (("layers", 0, "s_r", "shift"), 99, "shift: 99 is not within 0 to 40$"),
        (("layers", 0, "s_h", "out_bits"), 9, "out_bits: 9 is not within 2 to 8$"),
        (("genome", 0, 3), 5, "w_hr: 4 bits, its gene says 5$"),
        (("version",), 5, "version 5, this program reads 1 to 4$"),
        (("version",), True, "version True, this program reads 1 to 4$"),
        (("info",), [], "info"),
        (("input", "shifts"), [1], "input_shifts and features differ in number"),
        (("input", "shifts"), [1, 200], "200 is not within -120 to 120"),
        (("input", "shifts"), 5, "not a whole"),
        (("info", "random"), False, "info_hash does not fit info"),
        (("info_hash",), "0" * 16, "info_hash does not fit info"),
    ],
)
def test_the_line_names_the_fault(path, value, message):
    file = FOLDER / "named.safetensors"
    write_tensors(file, TENSORS, changed(DOCUMENT, path, value), KIND)
    with pytest.raises(InputError, match=message):
        IntModel.load(file)


def test_files_of_version_1_are_read_with_the_same_hash():
    file = FOLDER / "first.safetensors"
    document = {name: value for name, value in DOCUMENT.items() if name != "info_hash"}
    write_tensors(file, TENSORS, {**document, "version": 1}, KIND)
    model = IntModel.load(file)
    assert model.hash == MODEL.hash
    assert model.info == MODEL.info


# Genomes -------------------------------------------------------------------------------------


def load_genome(spec, layers=1):
    """Parse; what is accepted must be a genome of the asked size."""
    genome = refused(lambda: parse_genome(spec, layers))
    if genome is not None:
        assert len(genome.layers) == layers
        assert all(type(bits) is int and 2 <= bits <= 8 for bits in genome.genes)
    return genome


def load_genome_file(data):
    path = FOLDER / "genome.json"
    path.write_bytes(data)
    return load_genome(path)


GENOME_DOCUMENT = {"format": FORMAT, "version": VERSION, "order": list(GENES), "layers": [[4] * 17]}
GENOME_RAW = json.dumps(GENOME_DOCUMENT, indent=1).encode()


@many(400)
@given(st.text() | st.from_regex(r"\[?-?\d{1,6}([, ;]-?\d+){0,40}\]?") | st.from_regex(r"int\d*"))
@example("")
@example("\0")
@example("/")
@example(".")
@example("int" + "9" * 5000)
@example("9" * 5000)
@example(",".join(["8"] * 16 + ["9" * 5000]))
@example("x" * 5000)
@example("int\N{FULLWIDTH DIGIT FOUR}")
def test_genome_text(text):
    load_genome(text)


@many(200)
@given(st.lists(st.integers(2, 8), min_size=17, max_size=17), st.integers(0, 16), values)
def test_genes_of_any_type(genes, position, value):
    assert load_genome(genes) == Genome((tuple(genes),))
    load_genome([*genes[:position], value, *genes[position + 1 :]])


@many(150)
@given(st.lists(st.integers(2, 8), max_size=60), st.integers(1, 3))
def test_genomes_of_any_length(genes, layers):
    genome = load_genome(",".join(map(str, genes)), layers)
    assert (genome is not None) == (len(genes) == 17 * layers)


@many(300)
@given(st.sampled_from(list(paths(GENOME_DOCUMENT))), values, st.booleans())
def test_genome_files_with_other_content(path, value, delete):
    document = changed(GENOME_DOCUMENT, path, value, delete=delete)
    load_genome_file(json.dumps(document).encode())


@many(150)
@given(values)
@example([[[[]]]])
def test_foreign_json_is_no_genome(value):
    assert load_genome_file(json.dumps(value).encode()) is None


@many(300)
@given(st.integers(0, len(GENOME_RAW) - 1), st.binary(max_size=6), st.integers(0, 6))
def test_damaged_genome_files(start, data, removed):
    load_genome_file(GENOME_RAW[:start] + data + GENOME_RAW[start + removed :])
    if start < len(GENOME_RAW) - 1:
        assert load_genome_file(GENOME_RAW[:start]) is None


@pytest.mark.parametrize("depth", [10, 300, 900, 985, 100_000])
@pytest.mark.parametrize("key", ["version", "order", "layers", "format"])
def test_deeply_nested_genome_files_are_refused(key, depth):
    nested = "[" * depth + "]" * depth
    text = json.dumps(changed(GENOME_DOCUMENT, (key,), "HERE")).replace('"HERE"', nested)
    assert load_genome_file(text.encode()) is None
    gene = json.dumps(changed(GENOME_DOCUMENT, ("layers", 0, 3), "HERE")).replace('"HERE"', nested)
    assert load_genome_file(gene.encode()) is None


@pytest.mark.parametrize("depth", [300, 900, 985, 100_000])
@pytest.mark.parametrize("path", [("version",), ("genome",), ("layers", 0, "s_r", "shift")])
def test_deeply_nested_metadata_is_refused(path, depth):
    nested = "[" * depth + "]" * depth
    text = json.dumps(changed(DOCUMENT, path, "HERE")).replace('"HERE"', nested)
    data = save(TENSORS, metadata={"kind": KIND, "genogate": text})
    assert load_model(data) is None


def test_files_that_never_end_are_refused():
    assert load_genome("/dev/zero") is None
