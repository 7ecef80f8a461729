"""Dense layers around the GRU layers and given initial states: genome, file, golden, fast twin."""

import json
from dataclasses import replace

import numpy as np
import pytest
from genogate.model.errors import InputError
from genogate.model.files import read_tensors, write_tensors
from genogate.model.genome import Genome, parse_genome
from genogate.model.head import ACTIVATIONS, Head
from genogate.model.integer import KIND, DenseLayer, IntModel
from genogate.sim import fast, golden
from genogate.sim.random_model import random_model

#: Structures: dense layers in front and behind, GRU layers, and whether states are given.
STRUCTURES = [
    ((("relu", 5),), (), 1, False),
    ((), (("relu", 6), ("tanh", 3)), 1, True),
    ((("tanh", 7), ("none", 2)), (("sigmoid", 5),), 2, True),
    ((), (), 2, True),
]


def network(structure, head=None, seed=3, **more):
    front, back, layers, states = structure
    rng = np.random.default_rng(seed)
    genome = Genome.from_genes(rng.integers(3, 9, 17 * layers + 2 * (len(front) + len(back))))
    model = random_model(
        rng, genome, 4, 6, 3, front=front, back=back, initial_state=states, head=head, **more
    )
    return model, rng.integers(-128, 128, (5, 8, 4))


def by_hand(layer, x):
    """A dense layer without golden's functions, one number at a time in Python's integers."""
    op, unit = layer.dense, layer.activation
    low, high = -(2 ** (op.out_bits - 1)), 2 ** (op.out_bits - 1) - 1
    rows = []
    for values in x:
        row = []
        for weights, bias, k in zip(op.weight, op.bias, op.channel_shift, strict=True):
            total = int(bias) + sum(int(w) * int(v) for w, v in zip(weights, values, strict=True))
            shift = op.shift + int(k)
            code = ((total * op.multiplier + ((1 << shift) >> 1)) >> shift) + op.zero_point
            code = min(max(code, low), high)
            row.append(code if unit is None else int(golden.activation(unit, np.array(code))))
        rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize("function", ACTIVATIONS)
def test_a_dense_layer_requantises_its_sums_and_looks_its_function_up(function):
    model, _ = network((((function, 5),), (), 1, False), channel=True)
    (layer,) = model.front
    x = np.random.default_rng(1).integers(-128, 128, (40, 4))
    np.testing.assert_array_equal(golden.dense_layer(layer, x), by_hand(layer, x))
    assert len(np.unique(golden.dense_layer(layer, x))) > 3


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("at", ["last", "every"])
def test_dense_layers_stand_before_the_first_gru_layer_and_behind_the_last(structure, at):
    model, codes = network(structure, Head(at, "logits"))
    result = golden.run(model, codes, trace=True)
    x = codes
    for layer in model.front:
        x = np.stack([by_hand(layer, row) for row in x])
    for number, layer in enumerate(model.layers):
        x = golden.run_layer(layer, x)
        np.testing.assert_array_equal(result.trace[number, "s_h"], x)
    np.testing.assert_array_equal(result.hidden, x)
    x = x if at == "every" else x[:, -1:]
    for number, layer in enumerate(model.back):
        x = np.stack([by_hand(layer, row) for row in x])
        np.testing.assert_array_equal(result.trace[f"back{number}", "o"], x)
    logits = x @ model.classifier.weight.T.astype(np.int64) + model.classifier.bias
    np.testing.assert_array_equal(result.logits, logits if at == "every" else logits[:, 0])
    for number, layer in enumerate(model.front):
        assert result.trace[f"front{number}", "o"].shape == (5, 8, layer.output_size)


def test_a_sequence_starts_with_the_state_that_a_layer_gives():
    model, codes = network(((), (), 1, True))
    layer = model.layers[0]
    assert len(np.unique(layer.initial_state)) > 2
    # The first step of a network without a given state, run on from that state, is the same.
    first = golden.run(model, codes[:, :1], trace=True).trace
    old = layer.initial_state.astype(np.int64)
    product = layer.ops["p_zh"]
    expected = golden.product(product, first[0, "a_z"][:, 0], np.repeat(old[None], 5, 0))
    np.testing.assert_array_equal(first[0, "p_zh"][:, 0], expected)
    from_zero = replace(model, layers=(replace(layer, initial_state=None),))
    assert (golden.run(from_zero, codes).hidden[:, 0] != first[0, "s_h"][:, 0]).any()


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("head", [None, Head("every", "codes", "sigmoid")], ids=str)
def test_the_compiled_twin_gives_the_same_bits(structure, head):
    model, codes = network(structure, head, seed=8)
    expected = golden.run(model, codes)
    for every in (True, False):
        result = fast.run(model, codes, every=every)
        np.testing.assert_array_equal(result.logits, expected.logits)
        np.testing.assert_array_equal(result.hidden[:, -1], expected.hidden[:, -1])


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("run", [golden.run, fast.run])
def test_sequences_of_different_lengths_answer_as_if_each_were_alone(structure, run):
    model, codes = network(structure)
    lengths = np.array([8, 3, 1, 5, 8])
    together = run(model, codes, lengths=lengths).logits
    for row, length in enumerate(lengths):
        alone = golden.run(model, codes[row : row + 1, :length]).logits
        np.testing.assert_array_equal(together[row], alone[0])


@pytest.mark.parametrize("structure", STRUCTURES)
def test_a_file_keeps_dense_layers_and_states(structure, tmp_path):
    model, codes = network(structure, Head("every", "logits"))
    path = tmp_path / "model.safetensors"
    model.save(path)
    again = IntModel.load(path)
    assert (again.hash, again.genome) == (model.hash, model.genome)
    np.testing.assert_array_equal(golden.run(again, codes).logits, golden.run(model, codes).logits)
    assert read_tensors(path, KIND)[1]["version"] == 4


def test_the_hash_sees_every_integer_of_dense_layers_and_states():
    model, _ = network(STRUCTURES[2])
    layer = model.front[0]
    state = model.layers[1].initial_state.copy()
    state[0] ^= 1
    changed = [
        replace(model, front=(replace(layer, zero_point=3), *model.front[1:])),
        replace(model, layers=(model.layers[0], replace(model.layers[1], initial_state=state))),
    ]
    moved = replace(layer.dense, zero_point=layer.dense.zero_point + 1)
    changed.append(replace(model, front=(replace(layer, dense=moved), *model.front[1:])))
    assert len({model.hash, *(each.hash for each in changed)}) == 4


def test_networks_without_them_keep_file_and_hash(tmp_path):
    model, _ = network(((), (), 1, False))
    model.save(tmp_path / "model.safetensors")
    tensors, document = read_tensors(tmp_path / "model.safetensors", KIND)
    assert document["version"] == 3
    assert not {"front", "back", "dense_genome"} & set(document)
    assert not [name for name in tensors if "initial" in name]
    # Written by the version before dense layers, for this seed.
    assert model.hash == "605c17a7fc930310"


def test_a_damaged_dense_layer_is_refused_in_one_line(tmp_path):
    model, _ = network(STRUCTURES[2])
    path = tmp_path / "model.safetensors"
    model.save(path)
    tensors, document = read_tensors(path, KIND)
    first = document["front"][0]
    for change in (
        {"front": []},
        {"front": 3},
        {"front": [first]},
        {"front": [{**first, "function": "relu"}, document["front"][1]]},
        {"front": [{**first, "scale": 0}, document["front"][1]]},
        {"front": [{**first, "activation": first["dense"]}, document["front"][1]]},
        {"back": [{}]},
        {"dense_genome": [[8, 8]]},
        {"dense_genome": [[8], [8], [8]]},
        {"dense_genome": 7},
    ):
        write_tensors(path, tensors, json.loads(json.dumps({**document, **change})), KIND)
        with pytest.raises(InputError, match=r"^[^\n]+$"):
            IntModel.load(path)
    for name in ("layers.0.initial_state", "back.0.dense.weight"):
        write_tensors(path, {**tensors, name: tensors[name][:-1]}, document, KIND)
        with pytest.raises(InputError, match=r"^[^\n]+$"):
            IntModel.load(path)


def test_layers_that_do_not_fit_are_named():
    model, _ = network(STRUCTURES[0])
    with pytest.raises(InputError, match="front1 takes 4 values of 8 bits, front0 gives 5"):
        replace(model, front=(*model.front, model.front[0]), genome=model.genome)
    layer = model.front[0]
    with pytest.raises(InputError, match="relu needs the zero point"):
        DenseLayer(replace(layer.dense, zero_point=5), None, "relu")
    with pytest.raises(InputError, match="sigmoid and its activation"):
        DenseLayer(layer.dense, None, "sigmoid")
    wrong = Genome(model.genome.layers, ((2, 2),))
    with pytest.raises(InputError, match=r"front0: weights of \d and output of \d bits, its genes"):
        replace(model, genome=wrong)


@pytest.mark.parametrize("dense", [0, 1, 3, 8])
def test_a_genome_says_by_its_length_how_many_dense_layers_there_are(dense, tmp_path):
    rng = np.random.default_rng(dense)
    genome = Genome.from_genes(rng.integers(2, 9, 34 + 2 * dense))
    assert (len(genome.layers), len(genome.dense)) == (2, dense)
    assert Genome.from_genes(genome.genes) == genome
    assert parse_genome(str(genome), 2, dense) == genome
    genome.save(tmp_path / "genome.json")
    assert parse_genome(tmp_path / "genome.json", 2, dense) == genome
    assert parse_genome("int5", 2, dense) == Genome.uniform(5, 2, dense)
    assert Genome.uniform(5, 2, dense).id == "int5"
    with pytest.raises(InputError, match=f"the network has 2 layers and {dense + 1} dense layers"):
        parse_genome(str(genome), 2, dense + 1)


def test_genes_of_dense_layers_are_part_of_the_name():
    layers = Genome.uniform(8).layers
    names = {Genome(layers, pairs).id for pairs in (((8, 7),), ((7, 8),), ((7, 8), (8, 8)))}
    assert len(names) == 3


@pytest.mark.parametrize(
    ("dense", "text"),
    [(((8, 9),), "gene o of dense layer 0"), (((8,),), "1 genes"), (((8, 8),) * 9, "at most 8")],
)
def test_genes_of_dense_layers_that_cannot_be_are_refused(dense, text):
    with pytest.raises(InputError, match=text):
        Genome(Genome.uniform(8).layers, dense)
