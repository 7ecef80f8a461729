"""Post-training quantisation, seen from outside: what it promises about the integer model."""

from functools import cache

import numpy as np
import pytest
from genogate.model.checkpoints.floating import forward
from genogate.model.data.tasks import load_task
from genogate.model.genome import GENES, Genome
from genogate.model.integer import Dense, IntModel, Product, Sum, code_range
from genogate.model.knobs import Knobs
from genogate.model.quantize.calibrate import calibrate
from genogate.model.quantize.quantize import quantize
from genogate.model.quantize.scales import signed_digits
from genogate.model.zoo import load
from genogate.sim import golden


@cache
def material():
    task = load_task("digits-row", 0)
    checkpoint = load("digits-row")
    return task, checkpoint, calibrate(checkpoint, task.x_train)


def accuracy(model: IntModel, x: np.ndarray, y: np.ndarray) -> float:
    return float((golden.run(model, model.quantize_input(x)).classes == y).mean())


@pytest.mark.parametrize("terms", [1, 2, 3, None])
@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_int8_keeps_the_float_accuracy(terms, granularity):
    task, checkpoint, calibration = material()
    knobs = Knobs(multiplier_terms=terms, granularity=granularity)
    x, y = np.concatenate([task.x_val, task.x_test]), np.concatenate([task.y_val, task.y_test])
    floating = (forward(checkpoint, x).classes == y).mean()
    assert accuracy(quantize(calibration, Genome.uniform(8), knobs), x, y) >= floating - 0.01


@pytest.mark.parametrize("terms", [1, 2, 3])
@pytest.mark.parametrize("bits", [2, 5, 8])
def test_multipliers_have_at_most_the_allowed_signed_digits(terms, bits):
    _, _, calibration = material()
    model = quantize(calibration, Genome.uniform(bits), Knobs(multiplier_terms=terms))
    for op in model.layers[0].ops.values():
        found = [v for k, v in vars(op).items() if k.startswith("multiplier")]
        assert all(signed_digits(m) <= terms for m in found), op


def test_dense_output_knob_sets_the_output_code_and_leaves_the_weights():
    _, _, calibration = material()
    genome = Genome.uniform(3)
    gene = quantize(calibration, genome, Knobs(dense_output="gene"))
    wide = quantize(calibration, genome, Knobs(dense_output="8"))
    for name in GENES[:6]:
        assert (gene.layers[0].dense(name).out_bits, wide.layers[0].dense(name).out_bits) == (3, 8)
        assert wide.layers[0].dense(name).weight_bits == 3


def held_out_error(weights, codes, row_scale) -> float:
    """Squared error of a dense output on validation states, its mean left out (the bias has it)."""
    task, checkpoint, _ = material()
    states = forward(checkpoint, task.x_val).hidden.reshape(-1, checkpoint.hidden_size())
    wrong = states @ (codes * np.reshape(row_scale, (-1, 1)) - weights.matrix).T
    return float(((wrong - wrong.mean(0)) ** 2).mean())


def test_channel_scales_lower_the_error_of_the_dense_output():
    """At the same matrix scale, on inputs that calibration has not seen."""
    _, _, calibration = material()
    error = {"tensor": 0.0, "channel": 0.0}
    for weights in calibration.layers[0].weights.values():
        if len(weights.matrix) != weights.matrix.shape[1]:
            continue
        for granularity in error:
            scale = weights.curve(3, "channel").best_scale
            codes, shift, _ = weights.quantize(3, scale, granularity)
            error[granularity] += held_out_error(weights, codes, scale / 2.0**shift)
    assert error["channel"] < 0.95 * error["tensor"]


def test_recorded_scales_explain_every_multiplier():
    """M = S1 S2 / S3, exactly: no scale may drift from the integers that replace it."""
    _, _, calibration = material()
    model = quantize(calibration, Genome.uniform(6), Knobs(multiplier_terms=2))
    scale = {k: v["scale"] for k, v in model.info["scales"][0].items()}
    ops = model.layers[0].ops
    for name, operand in (("w_ir", model.input_scale), ("w_hn", scale["s_h"])):
        op = ops[name]
        assert isinstance(op, Dense)
        expected = scale[f"{name}.weight"] * operand / scale[name]
        assert op.multiplier / 2**op.shift == pytest.approx(expected, rel=1e-9)
    for name, a, b in (("s_n", "w_in", "p_rn"), ("s_h", "p_zn", "p_zh")):
        op = ops[name]
        assert isinstance(op, Sum)
        assert op.multiplier_a / 2**op.shift == pytest.approx(scale[a] / scale[name], rel=1e-9)
        assert op.multiplier_b / 2**op.shift == pytest.approx(scale[b] / scale[name], rel=1e-9)
    op = ops["p_rn"]
    assert isinstance(op, Product)
    expected = scale["a_r"] * scale["w_hn"] / scale["p_rn"]
    assert op.multiplier / 2**op.shift == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_accumulator_bounds_are_reached_but_never_passed(seed):
    """The proof is tight: extreme inputs reach the bounds, random ones stay inside."""
    _, _, calibration = material()
    rng = np.random.default_rng(seed)
    genome = Genome.from_genes(rng.integers(2, 9, 17))
    model = quantize(calibration, genome)
    op = model.layers[0].dense(str(rng.choice(GENES[:6])))
    low, high = code_range(op.in_bits)
    wide = op.weight.astype(np.int64)
    extremes = np.concatenate([np.where(wide > 0, high, low), np.where(wide > 0, low, high)])
    acc = golden.dense_accumulate(op, extremes)
    assert (acc.min(), acc.max()) == (op.acc_min, op.acc_max), f"seed {seed}"
    acc = golden.dense_accumulate(op, rng.integers(low, high + 1, (200, wide.shape[1])))
    assert op.acc_min <= acc.min() <= acc.max() <= op.acc_max
    assert -(1 << (op.acc_width - 1)) <= op.acc_min <= op.acc_max < 1 << (op.acc_width - 1)


def test_every_code_of_a_trace_fits_its_gene():
    task, _, calibration = material()
    rng = np.random.default_rng(5)
    genome = Genome.from_genes(rng.integers(2, 9, 17))
    model = quantize(calibration, genome, Knobs(dense_output="gene"))
    result = golden.run(model, model.quantize_input(task.x_val[:50]), trace=True)
    for (_, name), codes in result.trace.items():
        low, high = code_range(genome.bits(name))
        assert low <= codes.min() <= codes.max() <= high, name


def test_quantisation_is_deterministic_and_separable():
    """The same integers from a shared calibration and from the checkpoint itself."""
    task, checkpoint, calibration = material()
    genome = Genome.from_genes([4, 5, 6, 4, 5, 6, 5, 5, 6, 6, 7, 6, 6, 6, 4, 5, 6])
    again = quantize(checkpoint, genome, Knobs(), task.x_train)
    assert quantize(calibration, genome).hash == again.hash


def test_calibrated_clipping_beats_the_covering_range_at_low_widths():
    _, _, calibration = material()
    for name in ("w_in", "p_rn", "s_n"):
        tensor = calibration.layers[0].tensors[name]
        covering = (tensor.high - tensor.low) / (2**4 - 1)
        assert tensor.curve(4)(np.array(tensor.curve(4).best_scale)) < tensor.curve(4)(
            np.array(covering)
        ), name


def test_two_layers_are_quantised_in_series():
    task = load_task("digits-row", 0)
    checkpoint = load("digits-row-2layer")
    model = quantize(checkpoint, Genome.uniform(8, 2), Knobs(), task.x_train)
    floating = (forward(checkpoint, task.x_test).classes == task.y_test).mean()
    assert accuracy(model, task.x_test, task.y_test) >= floating - 0.015
    assert model.layers[1].in_bits == model.layers[0].bits("s_h")


def test_activation_units_are_searched_once(monkeypatch):
    """Exact tables take longer than all the rest; a genome with known scales gets known units."""
    task, checkpoint, shared = material()
    calibration = calibrate(checkpoint, task.x_train)
    genome = Genome.uniform(6)
    first = quantize(calibration, genome)
    assert first.hash == quantize(shared, genome).hash
    monkeypatch.setattr("genogate.model.quantize.parts.Fitting", None)
    assert quantize(calibration, genome).hash == first.hash


def test_auto_asks_for_the_cheapest_of_units_that_hold_their_accuracy():
    _, _, calibration = material()
    asked = []

    def dearest(groups):
        asked.extend(groups)
        return [len(group) - 1 for group in groups]

    quantize(calibration, Genome.uniform(8), Knobs(activation="auto"), cheapest=dearest)
    assert len(asked) == 3
    for group in asked:
        codes = np.arange(-128, 128)
        exact = golden.activation(group[0], codes)
        for unit in group[1:]:
            assert np.abs(golden.activation(unit, codes) - exact).max() <= 1


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_weight_rounding_beats_the_nearest_codes_on_real_inputs(bits):
    """The error of the dense output on held-out states, at equal scale and after its mean went
    into the bias, is below that of rounding every weight to its nearest code."""
    _, _, calibration = material()
    weights = calibration.layers[0].weights["w_hn"]
    scale = weights.curve(bits, "tensor").best_scale
    chosen, _, narrow = weights.quantize(bits, scale, "tensor")
    nearest = held_out_error(weights, weights.codes(bits, scale, narrow), scale)
    assert held_out_error(weights, chosen, scale) < 0.9 * nearest
