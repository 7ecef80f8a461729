"""Networks of any float statistics: INT8 is near float, or the network is refused with a reason."""

import numpy as np
import pytest
from genogate.model.checkpoints.floating import Checkpoint, forward
from genogate.model.errors import InputError
from genogate.model.genome import GENES, Genome
from genogate.model.integer import code_range
from genogate.model.knobs import Knobs
from genogate.model.quantize.calibrate import calibrate
from genogate.model.quantize.quantize import quantize
from genogate.sim import golden

#: Error that networks with ordinary statistics, of the sizes below, stay within (largest of 200).
ORDINARY = 0.12
KNOBS = Knobs(activation="table")


def ordinary(rng, hidden=6, inputs=3, classes=4, layers=1):
    """Tensors, float64, of a random network."""
    tensors, below = {}, inputs
    for k in range(layers):
        tensors[f"weight_ih_l{k}"] = rng.normal(0, 1.2 / np.sqrt(below), (3 * hidden, below))
        tensors[f"weight_hh_l{k}"] = rng.normal(0, 1.2 / np.sqrt(hidden), (3 * hidden, hidden))
        for name in ("ih", "hh"):
            tensors[f"bias_{name}_l{k}"] = rng.normal(0, 0.3, 3 * hidden)
        below = hidden
    tensors["classifier.weight"] = rng.normal(0, 2 / np.sqrt(hidden), (classes, hidden))
    tensors["classifier.bias"] = rng.normal(0, 0.2, classes)
    return tensors


def quantized(tensors, x, bits=8, knobs=KNOBS):
    """Checkpoint and integer model."""
    checkpoint = Checkpoint({name: np.float32(value) for name, value in tensors.items()})
    genome = Genome.uniform(bits, checkpoint.layers)
    return checkpoint, quantize(checkpoint, genome, knobs, x)


def error(tensors, x, test):
    """RMS error of what INT8 logits differ by, as a share of what float logits differ by."""
    checkpoint, model = quantized(tensors, x)
    real = forward(checkpoint, test).logits
    codes = golden.run(model, model.quantize_input(test)).logits.astype(float)
    real, codes = (v - v.mean(1, keepdims=True) for v in (real, codes))
    scale = (codes * real).sum() / max((codes**2).sum(), 1e-300)
    return float(np.sqrt(((scale * codes - real) ** 2).mean() / (real**2).mean()))


def inputs(rng, steps=8, features=3):
    return rng.normal(0, 1, (100, steps, features)), rng.normal(0, 1, (60, steps, features))


def rows(tensors, gate, layer=0):
    """The four arrays' rows of a gate, as views: W_i, W_h, b_i, b_h."""
    hidden = len(tensors[f"bias_ih_l{layer}"]) // 3
    part = slice("rzn".index(gate) * hidden, ("rzn".index(gate) + 1) * hidden)
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return [tensors[f"{name}_l{layer}"][part] for name in names]


@pytest.mark.parametrize("gate", "rzn")
@pytest.mark.parametrize("bias", [0, 1.5, 6, -6, 20, -20, 1e6])
def test_a_constant_gate_costs_no_more_than_any_other(gate, bias):
    rng = np.random.default_rng(1)
    tensors = ordinary(rng)
    for array in rows(tensors, gate):
        array[...] = 0
    rows(tensors, gate)[2][...] = bias
    assert error(tensors, *inputs(rng)) < ORDINARY


@pytest.mark.parametrize("gate", "rzn")
@pytest.mark.parametrize("bias", [50, -1e3, 1e6])
def test_a_unit_with_a_huge_bias_spoils_no_other(gate, bias):
    rng = np.random.default_rng(2)
    tensors = ordinary(rng)
    rows(tensors, gate)[2][1] += bias
    assert error(tensors, *inputs(rng)) < ORDINARY


@pytest.mark.parametrize("gate", "rz")
def test_huge_biases_that_cancel_are_as_none(gate):
    rng = np.random.default_rng(3)
    tensors = ordinary(rng)
    _, _, ours, theirs = rows(tensors, gate)
    ours += 1e3
    theirs -= 1e3
    assert error(tensors, *inputs(rng)) < ORDINARY


@pytest.mark.parametrize("what", ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"])
def test_zeroed_tensors_are_quantised_as_any(what):
    rng = np.random.default_rng(4)
    tensors = ordinary(rng)
    tensors[what][...] = 0
    x, test = inputs(rng)
    if what == "weight_ih_l0":
        _, model = quantized(tensors, x)
        # All sequences are equal to such a network, so only the class can be compared.
        checkpoint, _ = quantized(tensors, x)
        assert (
            golden.run(model, model.quantize_input(test)).classes
            == forward(checkpoint, test).classes
        ).all()
    else:
        assert error(tensors, x, test) < ORDINARY


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("layers", [1, 2])
def test_sequences_of_one_step_are_quantised_as_any(steps, layers):
    rng = np.random.default_rng(5)
    assert error(ordinary(rng, layers=layers), *inputs(rng, steps)) < ORDINARY


def test_a_small_state_is_as_good_as_a_large_one():
    rng = np.random.default_rng(6)
    tensors = ordinary(rng)
    for array in rows(tensors, "n"):
        array *= 1e-5
    tensors["classifier.weight"] *= 1e5
    assert error(tensors, *inputs(rng)) < ORDINARY


def test_inputs_that_are_always_zero_give_the_float_class():
    rng = np.random.default_rng(7)
    tensors, zeros = ordinary(rng), np.zeros((20, 8, 3))
    checkpoint, model = quantized(tensors, zeros)
    classes = golden.run(model, model.quantize_input(zeros)).classes
    assert (classes == forward(checkpoint, zeros).classes).all()


def test_a_classifier_of_zeros_and_huge_biases_gives_the_float_class():
    rng = np.random.default_rng(8)
    x, test = inputs(rng)
    for weight, bias in ((0, [0, 1e6, 0, -1e6]), (1, [1e9, 0, 0, 0]), (0, [0, 0, 0, 0])):
        tensors = ordinary(rng)
        tensors["classifier.weight"] *= weight
        tensors["classifier.bias"] = np.array(bias, float)
        checkpoint, model = quantized(tensors, x)
        classes = golden.run(model, model.quantize_input(test)).classes
        assert (classes == forward(checkpoint, test).classes).all()


def test_a_row_far_larger_than_the_others_is_refused_by_name():
    rng = np.random.default_rng(9)
    tensors = ordinary(rng)
    rows(tensors, "n")[0][2] *= 1e4
    with pytest.raises(InputError, match=r"w_in of layer 0 .*row 2"):
        error(tensors, *inputs(rng))


def test_large_biases_of_the_candidate_that_cancel_are_refused_by_name():
    rng = np.random.default_rng(10)
    tensors = ordinary(rng)
    for array in rows(tensors, "r"):
        array[...] = 0
    _, _, ours, theirs = rows(tensors, "n")
    ours -= 1e4
    theirs += 2e4
    with pytest.raises(InputError, match="layer 0"):
        error(tensors, *inputs(rng))


#: Of a network with one dense layer.
GENOME = Genome.uniform(8, 1, 1)


def with_dense_behind(rng, bias):
    tensors = {name: np.float32(value) for name, value in ordinary(rng).items()}
    tensors["back0.weight"] = np.float32(rng.normal(0, 0.8, (5, 6)))
    tensors["back0.bias"] = np.float32(rng.normal(0, 0.3, 5))
    tensors["back0.bias"][1] += bias
    weight = np.float32(rng.normal(0, 1, (4, 5)))
    tensors["classifier.weight"] = weight
    # Whose mean the classifier's bias takes off again.
    tensors["classifier.bias"] -= np.float32(bias) * weight[:, 1]
    return Checkpoint(tensors, {"back": ["relu"]})


@pytest.mark.parametrize("bias", [0, 300])
def test_a_huge_bias_of_a_dense_layer_is_refused_by_name(bias):
    rng = np.random.default_rng(31)
    checkpoint, (x, _) = with_dense_behind(rng, bias), inputs(rng)
    if not bias:
        quantize(checkpoint, GENOME, KNOBS, x)
        return
    with pytest.raises(InputError, match="8 bits cannot hold the outputs of back0"):
        quantize(checkpoint, GENOME, KNOBS, x)


def test_a_network_that_hears_nothing_is_refused_as_such():
    """Its state stays 0, and the classifier takes off what is left but for rounding."""
    rng = np.random.default_rng(32)
    checkpoint = with_dense_behind(rng, 0)
    for array in rows(checkpoint.tensors, "n"):
        array[...] = 0
    left = np.maximum(checkpoint.tensors["back0.bias"], 0)
    checkpoint.tensors["classifier.bias"][...] = -checkpoint.tensors["classifier.weight"] @ left
    checkpoint.tensors["classifier.bias"] += np.float32([0, 3e-8, -3e-8, 0])
    with pytest.raises(InputError, match="nearly the same logits for every sequence"):
        quantize(checkpoint, GENOME, KNOBS, inputs(rng)[0])


@pytest.mark.parametrize("factor", [3, 10, 20])
def test_large_recurrent_weights_are_quantised_or_refused_with_the_cause(factor):
    """Such a recurrence amplifies any rounding error; no scale helps, so nothing is silent."""
    refusals, losses = [], []
    for seed in range(3):
        rng = np.random.default_rng([factor, seed])
        tensors = ordinary(rng)
        tensors["weight_hh_l0"] *= factor
        try:
            losses.append(error(tensors, *inputs(rng)))
        except InputError as reason:
            refusals.append(str(reason))
    assert all(loss < 0.4 for loss in losses)
    assert all("recurrence of layer 0 amplifies rounding errors" in text for text in refusals)
    assert len(refusals) == {3: 0, 10: 3, 20: 3}[factor]


def test_weights_trained_for_all_genomes_are_not_held_to_what_they_are_in_float():
    """What was trained is what quantising makes of them."""
    rng = np.random.default_rng([10, 0])
    tensors = ordinary(rng)
    tensors["weight_hh_l0"] *= 10
    x, _ = inputs(rng)
    tensors = {name: np.float32(value) for name, value in tensors.items()}
    genome = Genome.uniform(8)
    with pytest.raises(InputError, match="amplifies rounding errors"):
        quantize(Checkpoint(tensors), genome, KNOBS, x)
    for_all = Checkpoint(tensors, {"any_precision": {"knobs": KNOBS.to_json()}})
    assert quantize(for_all, genome, KNOBS, x).genome == genome


@pytest.mark.parametrize("factors", [(1e4, 1, 1), (1, 1e-5, 1), (1e-3, 1, 1e3), (2.0**40, 1, 0)])
def test_features_of_very_different_size_cost_nothing(factors):
    """Powers of two are folded into the columns of W_i; the codes of the usual features do not
    depend on the others."""
    rng = np.random.default_rng(14)
    tensors, factors = ordinary(rng), np.array(factors, float)
    tensors["weight_ih_l0"] /= np.where(factors, factors, 1)
    x, test = inputs(rng)
    _, model = quantized(tensors, x * factors)
    assert len(model.input_shifts) == 3
    assert error(tensors, x * factors, test * factors) < 0.04


def test_training_goes_on_from_the_features_as_they_are():
    rng = np.random.default_rng(15)
    checkpoint = Checkpoint({name: np.float32(v) for name, v in ordinary(rng).items()})
    x = inputs(rng)[0] * [1, 1e4, 1]
    assert calibrate(checkpoint, x, fold=False).input_shifts == ()
    assert calibrate(checkpoint, x).input_shifts == (0, 13, 0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(value):
    tensors = ordinary(np.random.default_rng(11))
    tensors["weight_hh_l0"][3, 2] = value
    with pytest.raises(InputError, match="weight_hh_l0 holds a value that is not finite"):
        quantized(tensors, np.zeros((4, 2, 3)))


def _damage(rng, tensors):
    """Change a random part of a network; what was changed, in words."""
    layer = int(rng.integers(sum(name.startswith("weight_ih") for name in tensors)))
    gate = str(rng.choice(list("rzn")))
    w_i, w_h, b_i, b_h = rows(tensors, gate, layer)
    unit = int(rng.integers(len(b_i)))
    kind = str(rng.choice(["gate", "bias", "row", "unit", "cancel", "column", "state", "classes"]))
    size = float(rng.choice([6, -20, 1e3, -1e6]))
    if kind == "gate":
        w_i[...], w_h[...], b_i[...], b_h[...] = 0, 0, size, 0
    elif kind == "bias":
        b_i += size
    elif kind == "row":
        w_i[unit], w_h[unit] = 0, 0
    elif kind == "unit":
        (b_i if rng.random() < 0.5 else b_h)[unit] += size
    elif kind == "cancel":
        b_i[unit] += size
        b_h[unit] -= size
    elif kind == "column":
        tensors[f"weight_ih_l{layer}"][:, 0] = 0
    elif kind == "state":
        w_h[...] = 0
    else:
        tensors["classifier.bias"][...] += size
    return f"{kind} {gate}{layer} {size:g}"


def _damage_features(rng, tensors, parts):
    """Change a random column of both `parts` of the inputs alike; what was changed, in words.

    The weights of a huge feature are those of a network that was trained on it. Others would make
    its gates switch within one code of the feature, which no scale can resolve.
    """
    column = int(rng.integers(parts[0].shape[-1]))
    kind = str(rng.choice(["none", "zero", "constant", "huge"]))
    size = float(rng.choice([1, -3, 300]))
    if kind == "huge":
        tensors["weight_ih_l0"][:, column] /= 1e4
    for x in parts:
        if kind == "zero":
            x[..., column] = 0
        elif kind == "constant":
            x[..., column] = size
        elif kind == "huge":
            x[..., column] *= 1e4
    return f"{kind} feature {column} {size:g}"


@pytest.mark.parametrize("seed", range(24))
def test_any_part_may_be_constant_zero_or_huge(seed):
    rng = np.random.default_rng(seed)
    size = {"hidden": int(rng.choice([1, 2, 6, 12])), "inputs": int(rng.choice([1, 3]))}
    size |= {"classes": int(rng.choice([2, 4])), "layers": int(rng.choice([1, 1, 2]))}
    steps = int(rng.choice([1, 2, 8, 20]))
    tensors = ordinary(rng, **size)
    damage = [_damage(rng, tensors) for _ in range(int(rng.integers(1, 4)))]
    parts = inputs(rng, steps, size["inputs"])
    damage.append(_damage_features(rng, tensors, parts))
    try:
        loss, refusal = error(tensors, *parts), ""
    except InputError as reason:
        loss, refusal = 0.0, str(reason)
    assert loss < ORDINARY, f"{size}, {steps} steps, {damage}"
    assert not refusal or "of layer" in refusal, f"{damage}: {refusal}"


@pytest.mark.parametrize("bits", [2, 3, 5])
def test_few_bits_stay_within_the_integer_model(bits):
    """No accuracy is promised, but every integer is in its bounds (the constructors check)."""
    refusals = []
    for seed in range(2):
        rng = np.random.default_rng(seed)
        tensors = ordinary(rng, layers=2)
        damage = [_damage(rng, tensors) for _ in range(3)]
        try:
            quantized(tensors, inputs(rng)[0], bits)
        except InputError as reason:
            refusals.append(f"{damage}: {reason}")
    assert all("of layer" in text for text in refusals), refusals


@pytest.mark.parametrize("terms", [1, 2, 3, None])
@pytest.mark.parametrize("bits", [(2, 2), (2, 8), (8, 2)])
def test_gates_of_two_bits_have_codes_for_zero_and_one(terms, bits):
    """Otherwise the state wears away step by step: exactly 1 is needed, not nearly."""
    rng = np.random.default_rng(12)
    genes = dict.fromkeys(GENES, 8) | dict(zip(("a_z", "c_z"), bits, strict=True))
    checkpoint = Checkpoint({name: np.float32(v) for name, v in ordinary(rng).items()})
    knobs = Knobs(activation="table", multiplier_terms=terms)
    model = quantize(checkpoint, Genome.from_genes(genes.values()), knobs, inputs(rng)[0])
    for name, width in zip(("a_z", "c_z"), bits, strict=True):
        if width == 2:
            recorded = model.info["scales"][0][name]
            low, high = code_range(width)
            values = (np.arange(low, high + 1) - recorded["zero_point"]) * recorded["scale"]
            assert values.tolist() == [0, 0.5, 1, 1.5]


def test_a_state_survives_twenty_steps_of_gates_of_two_bits():
    """Both bits of z: what was written at step 0 is told apart at the end."""
    rng = np.random.default_rng(13)
    tensors = ordinary(rng, inputs=2, classes=2)
    for array in rows(tensors, "z"):
        array[...] = 0
    # The second feature opens the gate; the first is then remembered.
    rows(tensors, "z")[0][:, 1], rows(tensors, "z")[2][...] = -12, 6
    rows(tensors, "n")[0][:] = [2, 0]
    x = np.zeros((100, 20, 2))
    x[:, 0, 0], x[:, 0, 1] = np.where(np.arange(100) % 2, 1, -1), 1
    genes = dict.fromkeys(GENES, 8) | {"a_z": 2, "c_z": 2}
    checkpoint = Checkpoint({name: np.float32(value) for name, value in tensors.items()})
    model = quantize(checkpoint, Genome.from_genes(genes.values()), KNOBS, x)
    classes = golden.run(model, model.quantize_input(x)).classes
    assert (classes == forward(checkpoint, x).classes).all()
    assert len(set(classes.tolist())) == 2


@pytest.mark.parametrize("weights", [1.0, 0.0])
def test_biases_of_the_classifier_are_kept_where_the_state_never_leaves_zero(weights):
    rng = np.random.default_rng(5)
    tensors = ordinary(rng)
    for array in rows(tensors, "z"):
        array[...] = 0
    rows(tensors, "z")[2][...] = 30  # z is 1, so the state keeps its first value
    tensors["classifier.weight"] *= weights
    tensors["classifier.bias"][...] = -5, 0.1, 0.4, 0.3
    x, test = inputs(rng, steps=1)
    checkpoint, model = quantized(tensors, x)
    logits = golden.run(model, model.quantize_input(test)).logits
    assert (np.argmax(logits, 1) == np.argmax(forward(checkpoint, test).logits, 1)).all()
    assert error(tensors, x, test) < ORDINARY
