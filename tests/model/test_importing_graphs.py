"""ONNX graphs as exporters write them: which step they take, dynamic batches, weights beside them,
and what the exporters' own faults are answered with."""

import numpy as np
import pytest
from genogate.model.checkpoints.floating import forward
from genogate.model.checkpoints.importing import from_onnx, from_state
from genogate.model.errors import InputError

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")
from gru_graphs import (  # noqa: E402
    CLASSES,
    EXAMPLE,
    FEATURES,
    UNITS,
    graph,
    net,
    same,
    state,
)
from onnx.helper import make_node  # noqa: E402

STEPS = EXAMPLE.shape[1]


def constants(**values):
    return {name: np.array(value) for name, value in values.items()}


# --- which step, and how large


def test_large_logits_are_compared_relative_to_their_size(tmp_path):
    weights = {name: 3000 * state()[f"fc.{name}"] for name in ("weight", "bias")}
    given = {"C": weights["weight"], "b": weights["bias"]}
    checkpoint = from_onnx(graph(tmp_path / "m.onnx", given=given), EXAMPLE)
    np.testing.assert_array_equal(checkpoint.tensors["classifier.weight"], weights["weight"])
    logits = forward(checkpoint, EXAMPLE).logits
    small = forward(from_state(state(), classes=CLASSES), EXAMPLE).logits
    np.testing.assert_allclose(logits, 3000 * small, rtol=1e-4, atol=0.01)
    assert np.abs(logits).max() > 1000


def test_twelve_of_sixteen_steps_are_another_network(tmp_path):
    example = np.random.default_rng(7).standard_normal((3, 16, FEATURES)).astype(np.float32)
    cut = [make_node("Slice", ["x", "first", "twelve", "axis"], ["x1"])]
    given = constants(first=[0], twelve=[12])
    with pytest.raises(InputError, match=r"takes 12 of 16 steps, 1 to 12, so its last state is"):
        from_onnx(graph(tmp_path / "m.onnx", front=cut, given=given), example)
    # Of all states the twelfth is the same network, by another operator.
    cut = [make_node("Gather", ["s1", "eleven"], ["h2"], axis=0)]
    with pytest.raises(InputError, match="its output takes step 12 of 16"):
        from_onnx(graph(tmp_path / "m.onnx", middle=cut, given=constants(eleven=11)), example)
    # A Slice that goes as far as the sequences do changes nothing.
    cut = [make_node("Slice", ["x", "first", "twelve", "axis"], ["x1"])]
    whole = from_onnx(graph(tmp_path / "m.onnx", front=cut, given=given), EXAMPLE)
    same(whole, net())


def last_of_an_even_count():
    """Nodes that take state ``T // 2 * 2 - 1``: the last one of an even number of steps."""
    nodes = [
        make_node("Shape", ["x"], ["shape"]),
        make_node("Gather", ["shape", "one"], ["steps"]),
        make_node("Div", ["steps", "two"], ["half"]),
        make_node("Mul", ["half", "two"], ["even"]),
        make_node("Sub", ["even", "one"], ["place"]),
        make_node("Gather", ["s1", "place"], ["h2"], axis=0),
    ]
    return nodes, constants(one=1, two=2)


def test_a_graph_that_is_right_at_the_tasks_length_only_is_refused(tmp_path):
    """The hardware takes sequences of every length, and its users may give it others."""
    nodes, given = last_of_an_even_count()
    path = graph(tmp_path / "m.onnx", middle=nodes, given=given)
    with pytest.raises(InputError, match=r"right at 6 steps only: at 3 .* takes step 2 of 3"):
        from_onnx(path, EXAMPLE)
    # A graph that is declared for that length alone has no others.
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = STEPS
    onnx.save(model, path)
    same_at_six = forward(from_onnx(path, EXAMPLE), EXAMPLE).logits
    expected = forward(from_state(state(), classes=CLASSES), EXAMPLE).logits
    np.testing.assert_allclose(same_at_six, expected, atol=1e-5)


def test_a_graph_for_another_length_than_the_tasks_is_named_as_that(tmp_path):
    """As exporters write it: the number of steps stands in a Reshape."""
    fixed = [make_node("Reshape", ["x", "sizes"], ["x1"])]
    given = constants(sizes=[-1, 9, FEATURES])
    path = graph(tmp_path / "m.onnx", front=fixed, given=given)
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 9
    onnx.save(model, path)
    with pytest.raises(InputError, match="fixed at 9 steps, the task's sequences have 6: export"):
        from_onnx(path, EXAMPLE)
    nine = np.random.default_rng(8).standard_normal((3, 9, FEATURES)).astype(np.float32)
    same(from_onnx(path, nine), net())


# --- exporters


def dynamic_batch():
    """Nodes as torch's exporter of today writes them for a batch of any size: the first state is
    expanded to the batch, and the states are reshaped by arithmetic on their shape."""
    front = [
        make_node("Shape", ["x"], ["batch"], start=0, end=1),
        make_node("Concat", ["v1", "batch", "units"], ["sizes"], axis=0),
        make_node("Expand", ["zero", "sizes"], ["zeros"]),
        make_node("Slice", ["zeros", "v0", "v1", "v0"], ["first"]),
        make_node("Identity", ["x"], ["x1"]),
    ]
    middle = [
        make_node("Transpose", ["Y0"], ["t"], perm=[0, 2, 1, 3]),
        make_node("Shape", ["t"], ["shape"]),
        make_node("Slice", ["shape", "v0", "v2"], ["outer"]),
        make_node("Slice", ["shape", "v2", "v3"], ["directions"]),
        make_node("Slice", ["shape", "v3", "v4"], ["width"]),
        make_node("Mul", ["directions", "width"], ["product"]),
        make_node("Concat", ["outer", "product"], ["flat"], axis=0),
        make_node("Reshape", ["t", "flat"], ["all"]),
        make_node("Transpose", ["all"], ["states"], perm=[1, 0, 2]),
        make_node("Gather", ["states", "last"], ["h2"], axis=1),
    ]
    given = {f"v{k}": np.array([k]) for k in range(5)}
    given |= {"units": np.array([UNITS]), "zero": np.zeros((1, 1, 1), np.float32)}
    return front, middle, given


def test_shape_arithmetic_of_a_dynamic_batch_is_computed(tmp_path):
    front, middle, given = dynamic_batch()
    arguments = {"front": front, "middle": middle, "extra": ["", "first"]}
    path = graph(tmp_path / "m.onnx", given=given, **arguments)
    checkpoint = from_onnx(path, EXAMPLE)
    assert checkpoint.hash == from_state(state(), classes=CLASSES).hash
    # The first state that is expanded is what the network begins with.
    half = given | {"zero": np.full((1, 1, 1), 0.5, np.float32)}
    begun = from_onnx(graph(tmp_path / "m.onnx", given=half, **arguments), EXAMPLE)
    assert np.all(begun.tensors["initial_state_l0"] == 0.5)


def beside(path, change=lambda entry: None):
    """The net as a graph whose weights lie in ``FILE.data``; `change` edits where they are said to
    be."""
    model = onnx.load(graph(path))
    data = f"{path.name}.data"
    onnx.save(model, path, save_as_external_data=True, location=data, size_threshold=0)
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            change(entry)
    path.write_bytes(model.SerializeToString())
    return path


def test_weights_beside_the_graph_are_read(tmp_path):
    path = beside(tmp_path / "m.onnx")
    assert len(path.read_bytes()) < 2000 < len((tmp_path / "m.onnx.data").read_bytes())
    assert from_onnx(path, EXAMPLE).hash == from_state(state(), classes=CLASSES).hash


@pytest.mark.parametrize("place", ["../weights.data", "/etc/hostname", "link.data", ""])
def test_weights_outside_of_the_folder_are_refused(tmp_path, place):
    folder = tmp_path / "model"
    folder.mkdir()

    def moved(entry):
        if entry.key == "location":
            entry.value = place

    path = beside(folder / "m.onnx", moved)
    (folder / "m.onnx.data").rename(tmp_path / "weights.data")
    (folder / "link.data").symlink_to(tmp_path / "weights.data")
    with pytest.raises(InputError, match=f"its weights are in .*{place}.*, outside the folder"):
        from_onnx(path, EXAMPLE)


@pytest.mark.parametrize("cut", [-4, 0, 4])
def test_weights_of_another_size_are_refused(tmp_path, cut):
    path = beside(tmp_path / "m.onnx")
    data = path.with_name("m.onnx.data")
    data.write_bytes(data.read_bytes()[:cut] if cut <= 0 else b"1234")
    with pytest.raises(InputError, match=r"not within 'm.onnx.data', which has \d+ bytes: the two"):
        from_onnx(path, EXAMPLE)


def test_a_tensor_whose_bytes_are_too_few_is_refused(tmp_path):
    def shortened(entry):
        if entry.key == "length":
            entry.value = str(int(entry.value) - 4)

    with pytest.raises(InputError, match="a weight cannot be read"):
        from_onnx(beside(tmp_path / "m.onnx", shortened), EXAMPLE)


def produced_by(path, name, version):
    model = onnx.load(path)
    model.producer_name, model.producer_version = name, version
    onnx.save(model, path)
    return path


def test_the_fault_of_torchs_exporter_is_explained_with_the_ways_out(tmp_path):
    path = graph(tmp_path / "m.onnx", linear_before_reset=0)
    with pytest.raises(InputError) as caught:
        from_onnx(produced_by(path, "pytorch", "2.13.0"), EXAMPLE)
    for words in ("onnxscript 0.6.2", "dynamo=False", "newer onnxscript", "import the state dict"):
        assert words in str(caught.value)
    assert "train with" not in str(caught.value)
    # What others write so is meant so.
    with pytest.raises(InputError, match="train with linear_before_reset=1") as caught:
        from_onnx(produced_by(path, "keras2onnx", "1.0"), EXAMPLE)
    assert "onnxscript" not in str(caught.value)


def loop_of_keras():
    """Keras' GRU with reset_after=True as tf2onnx writes it: a Loop over the steps, whose condition
    is computed by Less before it."""
    inside = [
        make_node("Gather", ["sequence", "step"], ["now"]),
        make_node("MatMul", ["now", "W"], ["of_input"]),
        make_node("MatMul", ["state", "R"], ["of_state"]),
        make_node("Split", ["of_input"], ["z_x", "r_x", "n_x"], axis=1),
        make_node("Split", ["of_state"], ["z_h", "r_h", "n_h"], axis=1),
        make_node("Add", ["r_x", "r_h"], ["r_sum"]),
        make_node("Sigmoid", ["r_sum"], ["r"]),
        make_node("Mul", ["r", "n_h"], ["reset"]),
        make_node("Add", ["n_x", "reset"], ["n_sum"]),
        make_node("Tanh", ["n_sum"], ["candidate"]),
        make_node("Less", ["step", "count"], ["again"]),
    ]
    names = [onnx.ValueInfoProto(name=name) for name in ("step", "more", "state")]
    ends = [onnx.ValueInfoProto(name=name) for name in ("again", "candidate")]
    nodes = [
        make_node("Shape", ["x"], ["sizes"]),
        make_node("Gather", ["sizes", "one"], ["count"]),
        make_node("Less", ["zero", "count"], ["begin"]),
        make_node("Transpose", ["x"], ["sequence"], perm=[1, 0, 2]),
        make_node(
            "Loop",
            ["count", "begin", "start"],
            ["h2"],
            body=onnx.helper.make_graph(inside, "body", names, ends),
        ),
    ]
    given = constants(zero=0, one=1)
    given |= {"start": np.zeros((1, UNITS), np.float32)}
    given |= {"W": np.zeros((FEATURES, 3 * UNITS), np.float32)}
    return nodes, given | {"R": np.zeros((UNITS, 3 * UNITS), np.float32)}


@pytest.mark.parametrize("producer", ["tf2onnx", "elsewhere"])
def test_a_gru_as_a_loop_is_refused_by_its_true_reason(tmp_path, producer):
    nodes, given = loop_of_keras()
    path = graph(tmp_path / "m.onnx", middle=nodes, given=given)
    with pytest.raises(InputError) as caught:
        from_onnx(produced_by(path, producer, "1.17.0"), EXAMPLE)
    text = str(caught.value)
    assert "Less" not in text
    if producer == "tf2onnx":
        assert "its GRU is a Loop, the form in which tf2onnx writes Keras' layers" in text
        assert "as .keras instead" in text
    else:
        assert "its steps are a Loop, a GRU operator is needed" in text
