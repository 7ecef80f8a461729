# amaranth: UnusedElaboratable=no
"""The host's code against the simulated board, over a pseudo-terminal."""

import os
import pty
import select
import threading
import tty
from dataclasses import replace

import numpy as np
import pytest
from amaranth.sim import Simulator
from genogate import host
from genogate.hdl.boards.protocol import SYNC, Status
from genogate.hdl.boards.top import SerialNetwork
from genogate.hdl.gru.design import Design
from genogate.hdl.gru.loading import image
from genogate.model.errors import InputError
from genogate.model.genome import Genome
from genogate.model.integer import acc_bounds
from genogate.sim import golden
from genogate.sim.random_model import random_model

SEED = 2026
DIVISOR = 8
#: Cycles without a byte after which the simulated board gives a frame up.
TIMEOUT = 1500

pytest.importorskip("serial")


class SimulatedBoard:
    """A :class:`SerialNetwork` in Amaranth's simulator behind a pseudo-terminal, in a thread.

    damage : given each frame as it comes from the host, returns what reaches the board
    """

    def __init__(self, design, divisor=DIVISOR):
        self.divisor = divisor
        self.dut = SerialNetwork(design, divisor=divisor, timeout=TIMEOUT)
        self.master, self.slave = pty.openpty()
        tty.setraw(self.slave)
        os.set_blocking(self.master, False)
        self.port = os.ttyname(self.slave)
        self.damage = lambda data: data
        self.stop = False
        self.thread = threading.Thread(target=self._run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop = True
        self.thread.join()
        os.close(self.master)
        os.close(self.slave)

    async def _bit(self, ctx, level):
        ctx.set(self.dut.rx, level)
        await ctx.tick().repeat(self.divisor)

    async def _to_board(self, ctx):
        # The thread must end by itself: nothing else may touch the simulator.
        idle = 0
        while not self.stop:
            # A board that nobody has talked to for so long computes nothing and gives nothing up.
            if idle > 4 * TIMEOUT and not select.select([self.master], [], [], 0.05)[0]:
                continue
            try:
                data = os.read(self.master, 4096)
            except BlockingIOError:
                await ctx.tick().repeat(200)
                idle += 200
                continue
            idle = 0
            for byte in self.damage(data):
                for level in (0, *(byte >> k & 1 for k in range(8)), 1):
                    await self._bit(ctx, level)

    async def _from_board(self, ctx):
        while not self.stop:
            async for _, _, level in ctx.tick().sample(self.dut.tx):
                if not level or self.stop:
                    break
            if self.stop:
                return
            await ctx.tick().repeat(self.divisor + self.divisor // 2 - 2)
            byte = 0
            for k in range(8):
                byte |= ctx.get(self.dut.tx) << k
                await ctx.tick().repeat(self.divisor)
            assert ctx.get(self.dut.tx) == 1, "no stop bit"
            os.write(self.master, bytes([byte]))

    def _run(self):
        simulator = Simulator(self.dut)
        simulator.add_clock(1e-6)
        simulator.add_testbench(self._to_board)
        simulator.add_testbench(self._from_board)
        simulator.run()


@pytest.fixture(scope="module")
def model():
    return random_model(np.random.default_rng(SEED), Genome.uniform(4), 3, 3, 2)


@pytest.fixture(scope="module")
def sequences():
    return np.random.default_rng(SEED).integers(-128, 128, (4, 5, 3)).astype(np.int8)


@pytest.fixture(scope="module")
def simulated(model):
    with SimulatedBoard(Design.of(model)) as board:
        yield board


@pytest.fixture
def board(simulated):
    simulated.damage = lambda data: data
    with host.Board(simulated.port, timeout=20) as link:
        yield link


def test_labels_are_those_of_the_golden_model(board, model, sequences):
    expected = golden.run(model, sequences).classes
    answers = [board.classify(codes) for codes in sequences]
    assert [answer.label for answer in answers] == expected.tolist()
    assert {answer.attempts for answer in answers} == {1}
    assert all(0 < answer.cycles < 1000 for answer in answers)


def test_the_board_says_what_it_runs(board, model):
    assert board.identify() == host.Identity(model.hash[:16], 3, 2)


@pytest.mark.parametrize(
    ("name", "damage", "status"),
    [
        ("a bit is wrong", lambda f: f[:5] + bytes([f[5] ^ 16]) + f[6:], Status.BAD_CRC),
        ("the checksum is wrong", lambda f: f[:-1] + bytes([f[-1] ^ 1]), Status.BAD_CRC),
        ("the end is missing", lambda f: f[:-4], Status.TRUNCATED),
        ("the length is absurd", lambda f: f[:1] + b"\xff\xff" + f[3:], Status.BAD_LENGTH),
        ("a step is not whole", lambda f: host.frame(f[3:-3]), Status.BAD_LENGTH),
    ],
)
def test_a_frame_that_is_damaged_answers_an_error_and_the_next_a_label(
    simulated, board, model, sequences, name, damage, status, monkeypatch
):
    monkeypatch.setattr(host, "RETRIES", 0)
    simulated.damage = damage
    with pytest.raises(host.BoardError) as caught:
        board.classify(sequences[0])
    assert caught.value.status == status, name
    simulated.damage = lambda data: data
    assert board.classify(sequences[1]).label == golden.run(model, sequences).classes[1]


def test_a_frame_that_was_damaged_once_is_sent_again(simulated, board, model, sequences):
    frames = []

    def damage(data):
        frames.append(data)
        return data[:-1] + b"\0" if len(frames) == 1 else data

    simulated.damage = damage
    answer = board.classify(sequences[2])
    assert (answer.label, answer.attempts) == (golden.run(model, sequences).classes[2], 2)


def test_noise_before_a_frame_is_ignored(simulated, board, model, sequences):
    simulated.damage = lambda data: b"\x00\x11\xff" + data
    answer = board.classify(sequences[3])
    assert (answer.label, answer.attempts) == (golden.run(model, sequences).classes[3], 1)


def opposite(op):
    """A dense operator with all bits of its weights inverted."""
    weight = -1 - op.weight
    low, high = acc_bounds(weight, op.bias, op.in_bits)
    return replace(op, weight=weight, acc_min=low, acc_max=high)


@pytest.fixture(scope="module")
def loadable():
    """Designs of two models of one hardware, and a board with it."""
    model = random_model(np.random.default_rng(SEED), Genome.uniform(4), 3, 2, 2)
    first = Design.of(model, weights="load")
    ops = dict(model.layers[0].ops)
    ops["w_ir"] = opposite(ops["w_ir"])
    other = replace(model, layers=(replace(model.layers[0], ops=ops),))
    with SimulatedBoard(first, divisor=4) as board:
        yield [first, replace(first, model=other)], board


@pytest.fixture
def loadable_link(loadable):
    designs, simulated = loadable
    simulated.damage = lambda data: data
    with host.Board(simulated.port, timeout=100) as link:
        yield designs, simulated, link


def test_weights_are_loaded_over_the_line_and_others_after_them(loadable_link, sequences):
    designs, _, link = loadable_link
    with pytest.raises(host.BoardError) as caught:
        link.classify(sequences[0])
    assert caught.value.status == Status.UNLOADED
    seen = []
    for design in designs:
        loaded = image(design)
        assert link.identify().model == loaded.hardware
        link.load(loaded.words, loaded.width)
        labels = [link.classify(codes).label for codes in sequences]
        assert labels == golden.run(design.model, sequences).classes.tolist()
        seen.append(golden.run(design.model, sequences).logits.tolist())
    assert seen[0] != seen[1]


def test_weights_that_an_error_took_away_are_loaded_again(loadable_link, sequences):
    designs, simulated, link = loadable_link
    loaded = image(designs[0])
    link.load(loaded.words, loaded.width)
    frames = []

    def damage(data):
        frames.append(data)
        # The sequence, and then the first frame of words that comes again.
        return data[:-1] + bytes([data[-1] ^ 1]) if len(frames) in (1, 3) else data

    simulated.damage = damage
    answer = link.classify(sequences[1])
    expected = golden.run(designs[0].model, sequences).classes[1]
    assert (answer.label, answer.attempts) == (expected, 3)
    assert len(frames) > 5


def test_a_load_that_was_broken_off_begins_with_the_first_word(loadable_link, sequences):
    designs, _, link = loadable_link
    loaded = image(designs[0])
    whole = loaded.words
    link.load(whole[: len(whole) // 2], loaded.width)
    link.load(whole, loaded.width)
    labels = [link.classify(codes).label for codes in sequences]
    assert labels == golden.run(designs[0].model, sequences).classes.tolist()


@pytest.fixture
def deaf():
    """The two ends of a port at whose other side nobody is: a file descriptor, and the name."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    yield master, os.ttyname(slave)
    os.close(slave)


def test_a_board_that_does_not_answer_is_one_clear_line(deaf):
    with host.Board(deaf[1], timeout=0.05) as link:
        with pytest.raises(InputError, match="no answer; is the board programmed"):
            link.identify()


def test_a_port_that_goes_away_is_one_clear_line(deaf):
    master, name = deaf
    with host.Board(name, timeout=5) as link:
        threading.Timer(0.2, os.close, [master]).start()
        with pytest.raises(InputError, match=f"port {name}: the connection broke"):
            link.identify()


def test_a_port_that_is_none_is_refused():
    with pytest.raises(InputError, match=r"port /dev/none: it does not open"):
        host.Board("/dev/none")


def test_an_answer_with_a_wrong_checksum_is_refused(deaf, monkeypatch):
    monkeypatch.setattr(host, "RETRIES", 0)
    master, name = deaf
    with host.Board(name, timeout=5) as link:
        reply = bytes([SYNC, 1, 0, Status.BAD_CRC, 0, 0])
        threading.Timer(0.2, os.write, [master, reply]).start()
        with pytest.raises(InputError, match="the checksum of the answer is wrong"):
            link.identify()


def test_a_sequence_that_is_too_long_is_refused(deaf):
    with host.Board(deaf[1]) as link:
        with pytest.raises(InputError, match="a sequence of 9000 codes: a board takes 1 to 8192"):
            link.classify(np.zeros((3000, 3), np.int8))
