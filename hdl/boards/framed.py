"""A network behind frames of bytes (:mod:`.protocol`)."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.crc.catalog import CRC16_IBM_3740
from amaranth.lib.wiring import In, Out

from ...model.errors import InputError, index_within
from ..gru.design import Design
from ..gru.loading import image
from .protocol import IDENTITY_LENGTH, LABEL_LENGTH, MAX_LENGTH, SYNC, SYNC_WEIGHTS, Status


class FramedNetwork(wiring.Component):
    """Sequences in, labels out, as frames; a frame that is broken answers an error.

    Features go on to the network as they come, before the CRC is known; a bad frame resets the
    network, so it needs no memory for the frame. So do weights, where they are loaded. Only one
    frame is worked on: what comes before its answer has left is ignored.

    Parameters
    ----------
    design : the network's hardware
    timeout : int, cycles without a byte after which a frame is given up, 16 to 2**28

    Members
    -------
    data, valid : In(8), In(1), a byte that came; it cannot be held back
    o : Out(stream.Signature(8)), bytes to send
    busy : Out(1), a frame is worked on
    """

    def __init__(self, design: Design, *, timeout: int) -> None:
        self.model = design.model
        self.loads = design.weights == "load"
        #: What the board says it is: the model, or what any model can be loaded into.
        self.who = image(design).hardware if self.loads else design.model.hash[:16]
        if not self.model.head.plain:
            raise InputError(
                f"board: its frames answer a class a sequence, this network {self.model.head}: "
                "take the Verilog (genogate gru) into a design of your own"
            )
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
        restart = Signal()
        m.submodules.network = ResetInserter(restart)(self.network)
        m.submodules.crc = self.crc = CRC16_IBM_3740(8).create()
        network, crc = self.network, self.crc

        status = Signal(Status)
        label = Signal(16)
        cycles = Signal(24)
        # A time without bytes.
        quiet = Signal(range(self.timeout))
        expired = Signal()
        m.d.comb += expired.eq(quiet == self.timeout - 1)
        m.d.sync += quiet.eq(Mux(self.valid | expired, 0, quiet + 1))

        feed = Signal()
        overrun = self._features(m, feed, restart)
        if self.loads:
            feed_word, loading = Signal(), Signal()
            word_overrun, word_whole = self._words(m, feed_word, restart)
        m.d.comb += [network.o_h.ready.eq(1), network.o_logits.ready.eq(1)]

        length = Signal(16)
        feature = Signal(range(self.model.input_size))
        last_feature = feature == self.model.input_size - 1
        low = Signal(8)
        m.d.comb += self.last.eq(length == 1)

        def fail(reason: Status, state: str = "drain") -> None:
            m.d.sync += status.eq(reason)
            m.next = state

        with m.FSM() as fsm:
            with m.State("idle"):
                m.d.comb += crc.start.eq(1)
                m.d.sync += [feature.eq(0), cycles.eq(0)]
                with m.If(self.valid & (self.data == SYNC)):
                    m.next = "length low"
                if self.loads:
                    with m.If(self.valid & (self.data == SYNC_WEIGHTS)):
                        m.next = "length low"
                    m.d.sync += loading.eq(self.data == SYNC_WEIGHTS)
            with m.State("length low"):
                with m.If(self.valid):
                    m.d.sync += low.eq(self.data)
                    m.next = "length high"
                with m.Elif(expired):
                    fail(Status.TRUNCATED, "error")
            with m.State("length high"):
                whole = Cat(low, self.data)
                with m.If(self.valid):
                    m.d.sync += length.eq(whole)
                    m.next = "features"
                    with m.If(whole == 0):
                        m.next = "crc high"
                    with m.Elif(whole > MAX_LENGTH):
                        fail(Status.BAD_LENGTH)
                    if self.loads:
                        with m.Elif(loading):
                            m.next = "words"
                        with m.Elif(~network.loaded):
                            fail(Status.UNLOADED)
                with m.Elif(expired):
                    fail(Status.TRUNCATED, "error")
            if self.loads:
                with m.State("words"):
                    m.d.comb += feed_word.eq(self.valid)
                    with m.If(self.valid):
                        m.d.sync += length.eq(length - 1)
                        with m.If(word_overrun):
                            fail(Status.OVERRUN)
                        with m.Elif(self.last):
                            m.next = "crc high"
                            with m.If(~word_whole):
                                fail(Status.BAD_LENGTH)
                    with m.Elif(expired):
                        fail(Status.TRUNCATED, "error")
            with m.State("features"):
                m.d.comb += feed.eq(self.valid)
                with m.If(self.valid):
                    m.d.sync += [
                        length.eq(length - 1),
                        feature.eq(Mux(last_feature, 0, feature + 1)),
                        status.eq(Status.LABEL),
                    ]
                    with m.If(overrun):
                        fail(Status.OVERRUN)
                    with m.Elif(self.last):
                        m.next = "crc high"
                        with m.If(~last_feature):
                            fail(Status.BAD_LENGTH)
                with m.Elif(expired):
                    fail(Status.TRUNCATED, "error")
            with m.State("crc high"):
                with m.If(self.valid):
                    m.next = "crc low"
                with m.Elif(expired):
                    fail(Status.TRUNCATED, "error")
            with m.State("crc low"):
                with m.If(self.valid):
                    m.next = "check"
                with m.Elif(expired):
                    fail(Status.TRUNCATED, "error")
            with m.State("check"):
                m.d.sync += low.eq(0)
                m.next = "wait"
                with m.If(~crc.match_detected):
                    fail(Status.BAD_CRC)
                with m.Elif(self.identify):
                    m.d.sync += status.eq(Status.IDENTITY)
                    m.next = "answer"
                if self.loads:
                    with m.If(crc.match_detected & loading):
                        m.d.comb += restart.eq(self.identify)
                        m.d.sync += status.eq(Status.LOADED)
                        m.next = "answer"
            with m.State("wait"):
                m.d.comb += network.o_class.ready.eq(1)
                with m.If(network.o_class.valid):
                    m.d.sync += label.eq(network.o_class.payload)
                    m.next = "answer"
            with m.State("drain"):
                m.d.comb += restart.eq(1)
                with m.If(expired & ~self.valid):
                    m.next = "error"
            with m.State("error"):
                m.d.comb += restart.eq(1)
                m.next = "answer"
            with m.State("answer"):
                with m.If(self._answer(m, fsm.ongoing("answer"), status, label, cycles)):
                    m.next = "idle"

        # A frame without payload goes from its length to its CRC.
        with m.If(fsm.ongoing("length high") & self.valid):
            m.d.sync += self.identify.eq(Cat(low, self.data) == 0)
        receives = ["length low", "length high", "features", "crc high", "crc low"]
        receives += ["words"] * self.loads
        receiving = Signal()
        m.d.comb += receiving.eq(Cat(fsm.ongoing(name) for name in receives).any())
        sending = fsm.ongoing("answer")
        with m.If(receiving):
            m.d.comb += [crc.valid.eq(self.valid), crc.data.eq(self.data)]
        with m.Elif(sending):
            m.d.comb += [crc.valid.eq(self.sent), crc.data.eq(self.o.payload)]
        with m.If(fsm.ongoing("check") | fsm.ongoing("error") | fsm.ongoing("wait")):
            m.d.comb += crc.start.eq(1)
        m.d.comb += self.busy.eq(~fsm.ongoing("idle"))
        # From the last feature on until its class is there.
        with m.If(self.counting & ~network.o_class.valid & ~cycles.all()):
            m.d.sync += cycles.eq(cycles + 1)
        return m

    def _features(self, m: Module, feed: Signal, restart: Signal) -> Value:
        """Hand bytes on to the network; whether one comes while the one before still waits."""
        network = self.network
        code, pending, last = Signal(8), Signal(), Signal()
        self.last, self.counting = Signal(name="last"), Signal(name="counting")
        self.identify = Signal(name="identify")
        taken = pending & network.i.ready
        with m.If(taken):
            m.d.sync += pending.eq(0)
            with m.If(last):
                m.d.sync += self.counting.eq(1)
        with m.If(feed):
            m.d.sync += [code.eq(self.data), last.eq(self.last), pending.eq(1)]
        with m.If(network.o_class.valid & network.o_class.ready):
            m.d.sync += self.counting.eq(0)
        with m.If(restart):
            m.d.sync += [pending.eq(0), self.counting.eq(0)]
        m.d.comb += [
            network.i.payload.code.eq(code.as_signed()),
            network.i.payload.last.eq(last),
            network.i.valid.eq(pending),
        ]
        return pending & ~taken

    def _words(self, m: Module, feed: Signal, restart: Signal) -> tuple[Value, Value]:
        """Hand words of weights on to the network; whether a byte comes while the word before still
        waits, and whether a byte that comes is a word's last."""
        words = self.network.i_weights
        width = len(words.payload)
        number = -(-width // 8)
        place, pending = Signal(range(max(2, number))), Signal(name="word_pending")
        word = Signal(8 * number, name="weight_word")
        ends = Signal(name="word_ends")
        m.d.comb += [
            ends.eq(place == number - 1),
            words.payload.eq(word),
            words.valid.eq(pending),
        ]
        with m.If(words.ready):
            m.d.sync += pending.eq(0)
        with m.If(feed):
            m.d.sync += [
                word.eq(Cat(word, self.data)[8:]),
                place.eq(Mux(ends, 0, place + 1)),
                pending.eq(ends),
            ]
        with m.If(restart):
            m.d.sync += [pending.eq(0), place.eq(0)]
        return pending & ~words.ready, ends

    def _answer(
        self, m: Module, active: Value, status: Value, label: Value, cycles: Value
    ) -> Value:
        """Send a frame while `active`; whether its last byte leaves in this cycle."""
        place = Signal(range(IDENTITY_LENGTH + 5))
        length = Signal(4)
        with m.Switch(status):
            with m.Case(Status.LABEL):
                m.d.comb += length.eq(LABEL_LENGTH)
            with m.Case(Status.IDENTITY):
                m.d.comb += length.eq(IDENTITY_LENGTH)
            with m.Default():
                m.d.comb += length.eq(1)
        model = self.model
        who = bytes.fromhex(self.who)
        for number in (model.input_size, model.classes):
            who += number.to_bytes(2, "little")
        values = [label[:8], label[8:], *(cycles.word_select(k, 8) for k in range(3))]

        byte = Signal(8)
        with m.Switch(place):
            with m.Case(0):
                m.d.comb += byte.eq(SYNC)
            with m.Case(1):
                m.d.comb += byte.eq(length)
            with m.Case(2):
                m.d.comb += byte.eq(0)
            with m.Case(3):
                m.d.comb += byte.eq(status)
            for k, number in enumerate(who):
                with m.Case(4 + k):
                    m.d.comb += byte.eq(number)
                    if k < len(values):
                        with m.If(status == Status.LABEL):
                            m.d.comb += byte.eq(values[k])
        after = Signal(range(IDENTITY_LENGTH + 5))
        m.d.comb += after.eq(length + 3)
        checksum = Signal(16)
        in_crc, ends = Signal(), Signal()
        m.d.comb += [in_crc.eq(place >= after), ends.eq(place == after + 1)]
        m.d.comb += [
            self.o.valid.eq(active),
            self.o.payload.eq(Mux(in_crc, Mux(ends, checksum[:8], self.crc.crc[8:]), byte)),
        ]
        self.sent = Signal(name="sent")
        moved = self.o.valid & self.o.ready
        m.d.comb += self.sent.eq(moved & (place != 0) & ~in_crc)
        with m.If(moved):
            m.d.sync += place.eq(place + 1)
            with m.If(in_crc & ~ends):
                m.d.sync += checksum.eq(self.crc.crc)
            with m.If(ends):
                m.d.sync += place.eq(0)
        return moved & ends
