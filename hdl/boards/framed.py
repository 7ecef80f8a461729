"""A network behind frames of bytes (:mod:`.protocol`)."""

from collections.abc import Sequence
from typing import Any

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.crc import Processor
from amaranth.lib.crc.catalog import CRC16_IBM_3740
from amaranth.lib.wiring import In, Out

from ...model.errors import InputError, index_within
from ..gru.design import Design
from ..gru.loading import image
from .answer import identity_of, send_answer
from .feeds import feed_features, feed_words
from .protocol import MAX_LENGTH, SYNC, SYNC_WEIGHTS, Status


class _Frame:
    """The frame that is worked on.

    feature : number of the byte that comes within its step
    status, label, cycles : its answer
    low : first byte of its length, then 0
    length : bytes of payload that are left
    last : whether the byte that comes is the last of them
    loading : whether it brings weights
    identify : whether it has no payload
    restart : the network starts anew
    expired : no byte came for the time-out
    """

    def __init__(self, features: int) -> None:
        self.feature = Signal(range(features))
        self.status = Signal(Status)
        self.label = Signal(16)
        self.cycles = Signal(24)
        self.low = Signal(8)
        self.length = Signal(16)
        self.last = Signal()
        self.loading = Signal()
        self.identify = Signal()
        self.restart = Signal()
        self.expired = Signal()

    def fail(self, m: Module, reason: Status, state: str = "drain") -> None:
        """Answer an error, from `state` on."""
        m.d.sync += self.status.eq(reason)
        m.next = state

    def or_truncated(self, m: Module) -> None:
        """Follows a state's ``m.If`` on a byte: none may come for too long."""
        with m.Elif(self.expired):
            self.fail(m, Status.TRUNCATED, "error")


class FramedNetwork(wiring.Component):
    """Sequences in, labels out, as frames; a frame that is broken answers an error.

    Features go on to the network as they come, before the CRC is known; a bad frame resets the
    network, so it needs no memory for the frame, but for a step's features where the network takes
    them only once it has ended the step before, which may be too late. So do weights, where they
    are loaded. Only one frame is worked on: what comes before its answer has left is ignored.

    Parameters
    ----------
    design : the network's hardware
    timeout : int, cycles without a byte after which a frame is given up, 16 to 2**28
    pace : int, cycles from one byte to the next at least; a step's bytes must take longer than the
        network takes for a step

    Members
    -------
    data, valid : In(8), In(1), a byte that came; it cannot be held back
    o : Out(stream.Signature(8)), bytes to send
    busy : Out(1), a frame is worked on
    """

    def __init__(self, design: Design, *, timeout: int, pace: int) -> None:
        self.model = design.model
        self.loads = design.weights == "load"
        #: What the board says it is: the model, or what any model can be loaded into.
        self.who = image(design).hardware if self.loads else design.model.hash[:16]
        if not self.model.head.plain:
            raise InputError(
                f"board: its frames answer a class a sequence, this network {self.model.head}: "
                "take the Verilog (genogate gru) into a design of your own"
            )
        # A register does where the step has ended before the second feature of the next comes.
        one = design.takes_ahead or 2 * pace > 1.05 * design.cycles_per_step
        #: Features that may wait for the network.
        self.room = 1 if one else design.model.input_size
        self.timeout = index_within("timeout", timeout, 16, 1 << 28)
        self.network = design.component()
        super().__init__(
            {
                "data": In(8),
                "valid": In(1),
                "o": Out(stream.Signature(8)),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        frame, network = _Frame(self.model.input_size), self.network
        m.submodules.network = ResetInserter(frame.restart)(network)
        m.submodules.crc = crc = CRC16_IBM_3740(8).create()
        # A time without bytes.
        quiet = Signal(range(self.timeout))
        m.d.comb += frame.expired.eq(quiet == self.timeout - 1)
        m.d.sync += quiet.eq(Mux(self.valid | frame.expired, 0, quiet + 1))

        # Features, and words of weights where they are loaded.
        came = {"data": self.data, "restart": frame.restart}
        feed = Signal()
        feed_word = Signal()
        overrun, counting = feed_features(
            m, network, feed=feed, last=frame.last, room=self.room, **came
        )
        if self.loads:
            word_overrun, word_ends = feed_words(m, network, feed=feed_word, **came)
        m.d.comb += [network.o_h.ready.eq(1), network.o_logits.ready.eq(1)]
        step_ends = frame.feature == self.model.input_size - 1
        m.d.comb += frame.last.eq(frame.length == 1)

        with m.FSM() as fsm:
            self._length(m, frame, crc)
            if self.loads:
                self._payload(m, frame, "words", feed_word, word_overrun, word_ends)
            count = frame.feature.eq(Mux(step_ends, 0, frame.feature + 1))
            counted = [count, frame.status.eq(Status.LABEL)]
            self._payload(m, frame, "features", feed, overrun, step_ends, counted)
            self._checksum(m, frame, crc)
            sent = self._reply(m, frame, crc, fsm)

        # A frame without payload goes from its length to its CRC.
        with m.If(fsm.ongoing("length high") & self.valid):
            m.d.sync += frame.identify.eq(Cat(frame.low, self.data) == 0)
        receives = ["length low", "length high", "features", "crc high", "crc low"]
        receives += ["words"] * self.loads
        receiving = Signal()
        m.d.comb += receiving.eq(Cat(fsm.ongoing(name) for name in receives).any())
        with m.If(receiving):
            m.d.comb += [crc.valid.eq(self.valid), crc.data.eq(self.data)]
        with m.Elif(fsm.ongoing("answer")):
            m.d.comb += [crc.valid.eq(sent), crc.data.eq(self.o.payload)]
        with m.If(fsm.ongoing("check") | fsm.ongoing("error") | fsm.ongoing("wait")):
            m.d.comb += crc.start.eq(1)
        m.d.comb += self.busy.eq(~fsm.ongoing("idle"))
        # From the last feature on until its class is there.
        with m.If(counting & ~network.o_class.valid & ~frame.cycles.all()):
            m.d.sync += frame.cycles.eq(frame.cycles + 1)
        return m

    def _length(self, m: Module, frame: _Frame, crc: Processor) -> None:
        """States up to the length, which tells whether a payload follows."""
        with m.State("idle"):
            m.d.comb += crc.start.eq(1)
            m.d.sync += [frame.feature.eq(0), frame.cycles.eq(0)]
            with m.If(self.valid & (self.data == SYNC)):
                m.next = "length low"
            if self.loads:
                with m.If(self.valid & (self.data == SYNC_WEIGHTS)):
                    m.next = "length low"
                m.d.sync += frame.loading.eq(self.data == SYNC_WEIGHTS)
        with m.State("length low"):
            with m.If(self.valid):
                m.d.sync += frame.low.eq(self.data)
                m.next = "length high"
            frame.or_truncated(m)
        with m.State("length high"):
            length = Cat(frame.low, self.data)
            with m.If(self.valid):
                m.d.sync += frame.length.eq(length)
                m.next = "features"
                with m.If(length == 0):
                    m.next = "crc high"
                with m.Elif(length > MAX_LENGTH):
                    frame.fail(m, Status.BAD_LENGTH)
                if self.loads:
                    with m.Elif(frame.loading):
                        m.next = "words"
                    with m.Elif(~self.network.loaded):
                        frame.fail(m, Status.UNLOADED)
            frame.or_truncated(m)

    def _payload(
        self,
        m: Module,
        frame: _Frame,
        state: str,
        feed: Signal,
        overrun: Value,
        whole: Value,
        each: Sequence[Any] = (),
    ) -> None:
        """The state in which bytes go on to the network.

        feed, overrun : of :mod:`.feeds`
        whole : whether the payload may end with the byte that comes
        each : done with every byte
        """
        with m.State(state):
            m.d.comb += feed.eq(self.valid)
            with m.If(self.valid):
                m.d.sync += [frame.length.eq(frame.length - 1), *each]
                with m.If(overrun):
                    frame.fail(m, Status.OVERRUN)
                with m.Elif(frame.last):
                    m.next = "crc high"
                    with m.If(~whole):
                        frame.fail(m, Status.BAD_LENGTH)
            frame.or_truncated(m)

    def _checksum(self, m: Module, frame: _Frame, crc: Processor) -> None:
        """States in which the frame's CRC comes and is looked at."""
        for state, following in (("crc high", "crc low"), ("crc low", "check")):
            with m.State(state):
                with m.If(self.valid):
                    m.next = following
                frame.or_truncated(m)
        with m.State("check"):
            m.d.sync += frame.low.eq(0)
            m.next = "wait"
            with m.If(~crc.match_detected):
                frame.fail(m, Status.BAD_CRC)
            with m.Elif(frame.identify):
                m.d.sync += frame.status.eq(Status.IDENTITY)
                m.next = "answer"
            if self.loads:
                with m.If(crc.match_detected & frame.loading):
                    m.d.comb += frame.restart.eq(frame.identify)
                    m.d.sync += frame.status.eq(Status.LOADED)
                    m.next = "answer"

    def _reply(self, m: Module, frame: _Frame, crc: Processor, fsm: Any) -> Value:
        """States from the wait for the class on, or for the end of a bad frame; whether a byte is
        sent that counts for the CRC."""
        classes = self.network.o_class
        with m.State("wait"):
            m.d.comb += classes.ready.eq(1)
            with m.If(classes.valid):
                m.d.sync += frame.label.eq(classes.payload)
                m.next = "answer"
        with m.State("drain"):
            m.d.comb += frame.restart.eq(1)
            with m.If(frame.expired & ~self.valid):
                m.next = "error"
        with m.State("error"):
            m.d.comb += frame.restart.eq(1)
            m.next = "answer"
        with m.State("answer"):
            done, sent = send_answer(
                m,
                self.o,
                crc,
                active=fsm.ongoing("answer"),
                status=frame.status,
                label=frame.label,
                cycles=frame.cycles,
                identity=identity_of(self.model, self.who),
            )
            with m.If(done):
                m.next = "idle"
        return sent
