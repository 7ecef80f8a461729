"""Weights that a port loads, in Icarus: before the first load, after it, and under traffic.

Bench and runner in one file: pytest starts it, and the simulator loads it as its test.
"""

import os
import random
from dataclasses import replace

import numpy as np
import pytest
from genogate.hdl.gru.design import Design
from genogate.hdl.gru.loading import bias_bound, image
from genogate.model.errors import InputError
from genogate.model.genome import GENES, Genome
from genogate.model.head import Head
from genogate.model.integer import acc_bounds, code_range
from genogate.model.knobs import Lanes
from genogate.sim import golden
from genogate.sim.random_model import random_model
from genogate.synth.verilog import emit

cocotb = pytest.importorskip("cocotb")

INPUTS, UNITS, CLASSES, STEPS, SEQUENCES = 3, 4, 3, 2, 6
#: What is shared, layers of the GRU, dense layers in front and behind, lanes.
NETWORKS = {
    "none": ("none", 2, (), (), 2),
    "gates": ("gates", 2, (), (), 2),
    "dense": ("none", 1, (("relu", 3), ("none", 2)), (("tanh", 3),), 2),
    "all": ("all", 1, (), (), 4),
    "dense all": ("all", 1, (("tanh", 2),), (("none", 3),), 8),
    "dense gates": ("gates", 1, (("sigmoid", 3),), (("relu", 2), ("none", 3)), 2),
}


def other_weights(model, rng, *, extreme=False):
    """`model` with other weights and biases; `extreme`: those that make the widest sums."""

    def changed(op):
        low, high = code_range(op.weight_bits)
        weight, bound = rng.integers(low, high + 1, op.weight.shape), bias_bound(op)
        bias = op.bias + rng.integers(-bound // 8, bound // 8, op.bias.shape)
        if extreme:
            rows = rng.integers(0, 2, len(op.bias))
            weight = np.where(rows, low, high)[:, None] + np.zeros_like(weight)
            bias = np.where(rng.integers(0, 2, len(op.bias)), bound, -bound)
        weight, bias = weight.astype(op.weight.dtype), bias.astype(op.bias.dtype)
        low, high = acc_bounds(weight, bias, op.in_bits)
        return replace(op, weight=weight, bias=bias, acc_min=low, acc_max=high)

    def started(layer):
        state = layer.initial_state
        if state is None:
            return None
        return rng.integers(*code_range(layer.bits("h")), state.shape, endpoint=True, dtype=np.int8)

    layers = [
        replace(
            layer,
            ops={n: changed(op) if n in GENES[:6] else op for n, op in layer.ops.items()},
            initial_state=started(layer),
        )
        for layer in model.layers
    ]
    front, back = (
        tuple(replace(layer, dense=changed(layer.dense)) for layer in dense)
        for dense in (model.front, model.back)
    )
    around = {"front": front, "back": back, "classifier": changed(model.classifier)}
    return replace(model, layers=tuple(layers), **around)


def networks(name):
    """A design, three models whose weights can be loaded into it, and sequences."""
    share, count, front, back, lanes = NETWORKS[name]
    rng = np.random.default_rng(2026)
    dense = ((4, 6),) * len(front + back)
    model = random_model(
        rng,
        replace(Genome.uniform(5, count), dense=dense),
        INPUTS,
        UNITS,
        CLASSES,
        channel=True,
        front=front,
        back=back,
        initial_state=bool(dense),
    )
    models = [model, other_weights(model, rng), other_weights(model, rng, extreme=True)]
    codes = rng.integers(-128, 128, (SEQUENCES, STEPS, INPUTS))
    return Design.of(model, Lanes(lanes, lanes), share, weights="load"), models, codes


class Watch:
    """Drives ``gru`` cycle by cycle, and keeps what is taken."""

    def __init__(self, dut, seed):
        self.dut, self.random = dut, random.Random(seed)
        self.features, self.weights = [], []
        self.outputs = {name: [] for name in ("o_h", "o_logits", "o_class")}
        self.loads, self.loaded_with, self.inside = 0, [], False
        self.taken_words = 0

    async def cycle(self, pause=0.3):
        from cocotb.triggers import FallingEdge, Timer

        dut = self.dut
        for name, words in (("i", self.features), ("i_weights", self.weights)):
            valid = getattr(dut, f"{name}__valid")
            # What was offered stays until it is taken.
            offered = bool(words) and (int(valid.value) == 1 or self.random.random() >= pause)
            valid.value = int(offered)
            getattr(dut, f"{name}__payload").value = words[0] if offered else 0
        for name in self.outputs:
            getattr(dut, f"{name}__ready").value = int(self.random.random() >= pause)
        await Timer(1, unit="ns")
        moved = {
            name: getattr(dut, f"{name}__valid").value == 1
            and getattr(dut, f"{name}__ready").value == 1
            for name in ("i", "i_weights", *self.outputs)
        }
        if moved["i_weights"]:
            self.weights.pop(0)
            self.taken_words += 1
            answered = len(self.outputs["o_class"])
            assert not self.inside, "a word is taken in the middle of a sequence"
            assert answered == len(self.loaded_with), "a word is taken before all answers"
        if moved["i"]:
            assert dut.loaded.value == 1, "a feature is taken before the weights are whole"
            word = self.features.pop(0)
            if not self.inside:
                self.loaded_with.append(self.loads - 1)
            self.inside = not word >> 8
        for name, words in self.outputs.items():
            if moved[name]:
                words.append(getattr(dut, f"{name}__payload").value.to_unsigned())
        before = int(dut.loaded.value)
        await FallingEdge(dut.clk)
        if moved["i_weights"] and not before and dut.loaded.value == 1:
            self.loads += 1
        return moved


def signed_codes(words, bits):
    codes = np.array(words, np.int64) & (1 << bits) - 1
    return codes - (codes >> bits - 1 << bits)


async def started(dut):
    from cocotb.clock import Clock
    from cocotb.triggers import FallingEdge

    for name in ("i__valid", "i_weights__valid", "o_h__ready", "o_logits__ready", "o_class__ready"):
        getattr(dut, name).value = 0
    dut.rst.value = 1
    Clock(dut.clk, 10, unit="ns").start()
    await FallingEdge(dut.clk)
    await FallingEdge(dut.clk)
    dut.rst.value = 0


def payloads(codes):
    words = (codes.reshape(len(codes), -1) & 255).astype(int)
    words[:, -1] |= 256
    return words.ravel().tolist()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def every_sequence_has_the_weights_of_one_load(dut):
    from cocotb.triggers import FallingEdge

    design, models, codes = networks(os.environ["NETWORK"])
    images = [list(image(replace(design, model=model)).words) for model in models]
    await started(dut)
    watch = Watch(dut, 1)
    watch.features = payloads(codes)
    for _ in range(60):
        moved = await watch.cycle()
        assert not any(moved.values()), "something moves before the weights are loaded"
    # A reset in the middle of a load: all words are needed again.
    watch.weights = images[1][: len(images[1]) - 1]
    while watch.weights:
        await watch.cycle(0)
    dut.rst.value = 1
    dut.i__valid.value = dut.i_weights__valid.value = 0
    await FallingEdge(dut.clk)
    dut.rst.value = 0
    for number, words in enumerate(images):
        # Under traffic: in the middle of a sequence, with others on the way.
        while number and (len(watch.loaded_with) < 2 * number or not watch.inside):
            await watch.cycle()
        watch.weights = list(words)
        while watch.weights:
            await watch.cycle()
        assert dut.loaded.value == 1
        assert watch.loads == number + 1
    while len(watch.outputs["o_class"]) < SEQUENCES:
        await watch.cycle()
    assert sorted(set(watch.loaded_with)) == [0, 1, 2]
    top, sums = models[0].layers[-1], design.planned.classifier
    hidden = signed_codes(watch.outputs["o_h"], top.bits("h")).reshape(SEQUENCES, STEPS, UNITS)
    logits = signed_codes(watch.outputs["o_logits"], sums.acc_width).reshape(SEQUENCES, CLASSES)
    for sequence, load in enumerate(watch.loaded_with):
        expected = golden.run(models[load], codes[sequence : sequence + 1])
        where = f"sequence {sequence}, weights {load}"
        assert hidden[sequence].tolist() == expected.hidden[0].tolist(), where
        assert logits[sequence].tolist() == expected.logits[0].tolist(), where
        assert watch.outputs["o_class"][sequence] == expected.classes[0], where


@pytest.mark.parametrize("name", NETWORKS)
def test_verilog(tmp_path, name):
    from cocotb_tools.runner import get_runner

    source = tmp_path / "gru.v"
    source.write_text(emit(networks(name)[0]))
    runner = get_runner("icarus")
    runner.build(sources=[source], hdl_toplevel="gru", build_dir=tmp_path, timescale=("1ns", "1ps"))
    runner.test(
        hdl_toplevel="gru", test_module=__name__, build_dir=tmp_path, extra_env={"NETWORK": name}
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_of_the_same_widths_have_the_same_hardware(name):
    """Also those that make the widest sums: the Verilog differs in its header alone."""
    design, models, _ = networks(name)
    texts = {
        text[text.index("/* Generated by Yosys") :]
        for text in (emit(replace(design, model=model)) for model in models)
    }
    images = [image(replace(design, model=model)) for model in models]
    assert len(texts) == len({one.hardware for one in images}) == 1
    assert len({one.words for one in images}) == 3
    assert all(0 <= word < 1 << one.width for one in images for word in one.words)


def test_the_image_has_a_line_for_each_word_of_each_memory():
    loaded = image(networks("none")[0])
    assert loaded.text.split() == [f"{word:0{-(-loaded.width // 4)}x}" for word in loaded.words]
    assert len(loaded.words) == sum(store.depth for store in loaded.stores)
    names = [store.name for store in loaded.stores]
    assert names[:2] == ["layer0.w_ir_weights", "layer0.w_ir_biases"]
    assert names[-2:] == ["classifier.weights", "classifier.biases"]


def test_memories_are_loaded_in_the_order_of_the_data():
    names = [store.name for store in image(networks("dense")[0]).stores]
    around = [name for name in names if not name.startswith("layer0.w_")]
    assert around == [
        *("front0.weights", "front0.biases", "front1.weights", "front1.biases"),
        *("layer0.initial", "back0.weights", "back0.biases"),
        *("classifier.weights", "classifier.biases"),
    ]


def test_a_shared_layer_and_its_classifier_have_one_memory():
    """Digits of all units, then of all classes, as many of one as of another."""
    design = networks("all")[0]
    loaded = image(design)
    (store,) = loaded.stores
    assert (store.name, store.width, loaded.width) == ("layer0.weights", 4, 4)
    plan = design.shared[0]
    assert plan.program.weights_of_step % UNITS == 0
    assert (store.depth - plan.program.weights_of_step) % CLASSES == 0
    assert list(loaded.words) == plan.program.weights


@pytest.mark.parametrize(("outputs", "front"), [(1, ()), (2, (("none", 1),))])
def test_a_layer_of_one_output_is_refused(outputs, front):
    rng = np.random.default_rng(1)
    genome = replace(Genome.uniform(4), dense=((4, 4),) * len(front))
    model = random_model(rng, genome, 3, 4, outputs, head=Head("last", "codes"), front=front)
    with pytest.raises(InputError, match=r"^weights load: for networks of 2 units or more in"):
        emit(Design.of(model, weights="load"))
