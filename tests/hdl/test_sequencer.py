# amaranth: UnusedElaboratable=no
"""The sequencer on its own, seen from its ports: which words are asked for, when, and whose."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from amaranth.sim import Simulator
from genogate.hdl.gru.schedule import Schedule
from genogate.hdl.gru.sequencer import Sequencer
from genogate.model.genome import Genome
from genogate.model.knobs import Lanes
from genogate.sim.random_model import random_model

SEED = 2026


@dataclass
class Seen:
    """What the ports did: rows of (cycle, ...)."""

    inputs: list = field(default_factory=list)  # cycle, address, lanes
    advances: list = field(default_factory=list)  # cycle, unit, x address, h address
    sums: list = field(default_factory=list)  # cycle, whether the state counts as zero, first
    taken: list = field(default_factory=list)  # cycle
    states: list = field(default_factory=list)  # cycle, address, lanes, o_last


def planned(inputs, hidden, lanes):
    rng = np.random.default_rng([SEED, inputs, hidden])
    layer = random_model(rng, Genome.uniform(4), inputs, hidden, 2).layers[0]
    return Schedule.of(layer, Lanes(*lanes))


def drive(plan, lanes, sequences, pause=0.0):
    """Run sequences of so many steps through the sequencer; the rest of a layer is played here."""
    dut = Sequencer(plan, *lanes, classified=False)
    rng = np.random.default_rng([SEED, 3])
    seen, steps = Seen(), sum(sequences)
    inputs, hidden = plan.input_size, plan.hidden_size

    async def source(ctx):
        for length in sequences:
            for step in range(length):
                for feature in range(inputs):
                    while rng.random() < pause:
                        await ctx.tick()
                    ctx.set(dut.i_valid, 1)
                    ctx.set(dut.i_last, step == length - 1 and feature == inputs - 1)
                    await ctx.tick().until(dut.i_ready)
                    ctx.set(dut.i_valid, 0)

    async def operators(ctx):
        """The element-wise operators: take a sum, work on it for a while, give a state."""
        left = None
        for cycle in range(steps * hidden * (plan.pass_cycles + 40) + 500):
            busy = left is not None
            ctx.set(dut.busy, busy)
            ctx.set(dut.o_valid, busy and left == 0)
            ctx.set(dut.o_ready, rng.random() >= pause)
            ctx.set(dut.taken, 0)
            # A new sum may be taken in the cycle in which the old one's state goes.
            free = not busy or (left == 0 and ctx.get(dut.o_ready))
            take = bool(ctx.get(dut.done)) and free and rng.random() >= pause
            ctx.set(dut.taken, take)
            look(ctx, cycle)
            fired = ctx.get(dut.o_valid) and ctx.get(dut.o_ready)
            await ctx.tick()
            if take:
                left = int(rng.integers(0, 3)) if pause else 0
            elif fired:
                left = None
            elif busy and left:
                left -= 1
            if len(seen.states) == steps * hidden:
                return
        raise TimeoutError(f"{len(seen.states)} of {steps * hidden} states came out")

    def look(ctx, cycle):
        if lanes_written := ctx.get(dut.x_write_enable):
            seen.inputs.append((cycle, ctx.get(dut.x_write_address), lanes_written))
        if ctx.get(dut.advance):
            reads = [
                ctx.get(getattr(dut, f"{side}_read_address"))
                if ctx.get(getattr(dut, f"{side}_read_enable"))
                else None
                for side in "xh"
            ]
            seen.advances.append((cycle, ctx.get(dut.unit), *reads))
        if ctx.get(dut.enable):
            seen.sums.append((cycle, ctx.get(dut.zero_state), ctx.get(dut.first)))
        if ctx.get(dut.taken):
            seen.taken.append(cycle)
        if ctx.get(dut.o_valid) and ctx.get(dut.o_ready):
            row = ctx.get(dut.h_write_address), ctx.get(dut.h_write_enable)
            seen.states.append((cycle, *row, ctx.get(dut.o_last)))

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(source, background=True)
    sim.add_testbench(operators)
    sim.run()
    return seen


SHAPES = [((3, 4), (1, 1)), ((2, 6), (1, 1)), ((5, 4), (2, 2)), ((4, 7), (1, 3)), ((7, 3), (1, 1))]
SEQUENCES = (3, 1, 2)


@pytest.fixture(params=[(shape, pause) for shape in SHAPES for pause in (0, 0.3)], ids=str)
def run(request):
    ((inputs, hidden), lanes), pause = request.param
    plan = planned(inputs, hidden, lanes)
    return plan, lanes, drive(plan, lanes, SEQUENCES, pause)


def test_every_unit_of_every_step_asks_for_all_words_once_a_digit(run):
    plan, _, seen = run
    cycles, hidden = plan.pass_cycles, plan.hidden_size
    # What follows the last step may have begun; no vector is there for it.
    assert len(seen.advances) == sum(SEQUENCES) * hidden * cycles
    passes = {side: max(plan.chunks[f"w_{side}{gate}"] for gate in "rzn") for side in "ih"}
    for index in range(sum(SEQUENCES) * hidden):
        step, unit = divmod(index, hidden)
        rows = seen.advances[index * cycles : (index + 1) * cycles]
        assert {row[1] for row in rows} == {unit}
        for at, words, side in ((2, plan.x_words, "i"), (3, plan.h_words, "h")):
            asked = [row[at] for row in rows]
            # The low bit is the bank, which changes with every step, where there are two.
            banks = plan.vectors if side == "i" else 2
            expected = [word * banks + step % banks for word in range(words)] * passes[side]
            assert asked[: len(expected)] == expected


def test_no_word_of_the_state_is_read_before_it_is_written(run):
    plan, (_, lanes), seen = run
    hidden, cycles = plan.hidden_size, plan.pass_cycles
    for index, (cycle, _, _, address) in enumerate(seen.advances):
        step, beat = index // (hidden * cycles), index % cycles
        if step and address is not None and beat < plan.h_words:
            word = address >> 1
            last = min((word + 1) * lanes, hidden) - 1
            written = seen.states[(step - 1) * hidden + last]
            assert written[0] < cycle, (step, word)
            assert written[1] == address


def test_states_go_to_the_other_bank_in_their_lane(run):
    plan, (_, lanes), seen = run
    for index, (_, address, enables, _) in enumerate(seen.states):
        step, unit = divmod(index, plan.hidden_size)
        assert address == (unit // lanes << 1) | (step + 1) % 2
        assert enables == 1 << unit % lanes


def test_features_are_stored_word_by_word_ahead_of_their_step(run):
    plan, (lanes, _), seen = run
    assert len(seen.inputs) == sum(SEQUENCES) * plan.input_size
    for index, (cycle, address, enables) in enumerate(seen.inputs):
        step, feature = divmod(index, plan.input_size)
        assert address == feature // lanes * plan.vectors + step % plan.vectors
        assert enables == 1 << feature % lanes
        assert cycle < seen.advances[step * plan.hidden_size * plan.pass_cycles][0]


def test_a_sequence_begins_with_the_zero_state_and_ends_with_its_last_unit(run):
    plan, _, seen = run
    per_step = plan.hidden_size * plan.pass_cycles
    starts = {sum(SEQUENCES[:k]) for k in range(len(SEQUENCES))}
    ends = {start + length - 1 for start, length in zip(sorted(starts), SEQUENCES, strict=True)}
    for index, (_, zero, first) in enumerate(seen.sums):
        assert zero == (index // per_step in starts)
        assert first == (index % plan.pass_cycles == 0)
    for index, (*_, o_last) in enumerate(seen.states):
        step, unit = divmod(index, plan.hidden_size)
        assert o_last == (step in ends and unit == plan.hidden_size - 1)


def test_without_stalls_a_unit_takes_its_pass_and_no_cycle_more():
    plan = planned(3, 16, (1, 1))
    seen = drive(plan, (1, 1), (2,))
    gaps = np.diff([row[0] for row in seen.advances[: 16 * plan.pass_cycles]])
    assert set(gaps.tolist()) == {1}
    assert np.diff(seen.taken[:16]).tolist() == [plan.pass_cycles] * 15


def test_equal_identities_are_of_equal_sizes_alone():
    def sequencer(hidden, classified=False):
        return Sequencer(planned(3, hidden, (1, 1)), 1, 1, classified)

    part = Sequencer.part(planned(3, 4, (1, 1)), 1, 1, classified=False)
    assert part.identity == sequencer(4).identity
    assert sequencer(4).identity != sequencer(5).identity
    assert sequencer(4).identity != sequencer(4, classified=True).identity
