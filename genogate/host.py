"""The host's side of a board: sequences out over a serial port, labels back.

Frames are those of :mod:`~genogate.hdl.boards.protocol`.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .hdl.boards.protocol import (
    ERRORS,
    IDENTITY_LENGTH,
    LABEL_LENGTH,
    MAX_LENGTH,
    SYNC,
    SYNC_WEIGHTS,
    Status,
)
from .model.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from .model.aliases import Say

T = TypeVar("T")

#: How often a frame is sent again after the board answered an error, or nothing.
RETRIES = 2


class BoardError(InputError):
    """The board answered an error. `status` says which."""

    def __init__(self, status: Status) -> None:
        self.status = status
        super().__init__(f"the board answered: {ERRORS[status]}")


@dataclass(frozen=True)
class Answer:
    """label : the class; cycles : of the board's clock, from the last feature to the class;
    attempts : how often the sequence was sent"""

    label: int
    cycles: int
    attempts: int


@dataclass(frozen=True)
class Identity:
    """What runs on a board. model : first 16 hex digits of the model's hash; where weights are
    loaded, the hash of the hardware as ``report.json`` has it"""

    model: str
    features: int
    classes: int


def frame(payload: bytes, sync: int = SYNC) -> bytes:
    """`payload` with everything around it."""
    body = len(payload).to_bytes(2, "little") + payload
    return bytes([sync]) + body + binascii.crc_hqx(body, 0xFFFF).to_bytes(2, "big")


class Board:
    """A board on a serial port; a context manager.

    Parameters
    ----------
    port : the port's name, ``/dev/ttyUSB1`` or ``COM3``
    baud : bit/s, as the bitstream was built for
    timeout : seconds that an answer may take after a frame has left

    Raises :class:`InputError` where the port does not open.
    """

    def __init__(self, port: str, baud: int = 115200, timeout: float = 2.0) -> None:
        try:
            import serial
        except ImportError:
            raise InputError("pyserial is not installed: pip install 'genogate[fpga]'") from None
        self.name = port
        self._weights: list[bytes] | None = None
        self._failures: tuple[type[Exception], ...] = (serial.SerialException, OSError)
        try:
            self._port: Any = serial.Serial(port, baud, timeout=timeout, write_timeout=30)
        except (*self._failures, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(f"port {port}: it does not open ({_short(reason)})") from None

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the port back."""
        self._port.close()

    def identify(self) -> Identity:
        """Ask what runs on the board. Raises :class:`InputError` where nothing answers."""
        answer, _ = self._ask(b"", Status.IDENTITY, IDENTITY_LENGTH)
        features, classes = (int.from_bytes(answer[k : k + 2], "little") for k in (9, 11))
        return Identity(answer[1:9].hex(), features, classes)

    def classify(self, codes: np.ndarray) -> Answer:
        """The label of one sequence of codes, int8 [steps, features]."""
        payload = codes.astype("int8").tobytes()
        if not 0 < len(payload) <= MAX_LENGTH:
            raise InputError(f"a sequence of {len(payload)} codes: a board takes 1 to {MAX_LENGTH}")
        answer, attempts = self._ask(payload, Status.LABEL, LABEL_LENGTH)
        label, cycles = answer[1:3], answer[3:6]
        return Answer(int.from_bytes(label, "little"), int.from_bytes(cycles, "little"), attempts)

    def load(self, words: Sequence[int], width: int) -> None:
        """Load weights: words of `width` bits, as ``gru_weights.hex`` has them. After an error the
        board has lost them, and :meth:`classify` loads them again."""
        number = -(-width // 8)
        data = b"".join(word.to_bytes(number, "little") for word in words)
        size = MAX_LENGTH // number * number
        # Nothing at first: the next word is the first one, whatever came before.
        self._weights = [b"", *(data[k : k + size] for k in range(0, len(data), size))]
        self._persist(self._load)

    def _load(self) -> None:
        for payload in self._weights or ():
            self._once(frame(payload, SYNC_WEIGHTS), Status.LOADED, 1)

    def _ask(self, payload: bytes, expected: Status, length: int) -> tuple[bytes, int]:
        """Payload of the answer to a frame, and how often that was sent."""
        return self._persist(lambda: self._once(frame(payload), expected, length), again=self._load)

    def _persist(
        self, action: Callable[[], T], again: Callable[[], None] | None = None
    ) -> tuple[T, int]:
        """What `action` gives, and how often it was tried; `again` goes before a further try."""
        for attempt in range(1, RETRIES + 2):
            try:
                if again and attempt > 1:
                    again()
                return action(), attempt
            except self._failures as error:
                reason = _short(str(error))
                raise InputError(f"port {self.name}: the connection broke ({reason})") from None
            except InputError:
                if attempt > RETRIES:
                    raise
        raise AssertionError

    def _once(self, data: bytes, expected: Status, length: int) -> bytes:
        """Payload of the answer to a frame."""
        self._port.reset_input_buffer()
        self._port.write(data)
        answer = self._receive()
        if answer[0] == expected and len(answer) == length:
            return answer
        if answer[0] in ERRORS:
            raise BoardError(Status(answer[0]))
        raise InputError(f"port {self.name}: an answer that was not asked for")

    def _receive(self) -> bytes:
        """The next frame's payload. Raises :class:`InputError` for silence or a broken frame."""
        skipped = 0
        while (byte := self._read(1)) != bytes([SYNC]):
            skipped += len(byte)
            if skipped > 64:
                raise InputError(f"port {self.name}: noise; is the rate right?")
        head = self._read(2)
        length = int.from_bytes(head, "little")
        if not 1 <= length <= IDENTITY_LENGTH:
            raise InputError(f"port {self.name}: an answer of {length} bytes, which is none")
        body = self._read(length)
        checksum = self._read(2)
        if binascii.crc_hqx(head + body, 0xFFFF) != int.from_bytes(checksum, "big"):
            raise InputError(f"port {self.name}: the checksum of the answer is wrong")
        return body

    def _read(self, number: int) -> bytes:
        data = self._port.read(number)
        if len(data) < number:
            raise InputError(
                f"port {self.name}: no answer; is the board programmed, and the rate right?"
            )
        return data


def _short(text: str) -> str:
    return " ".join(text.split())[:100]


def session(
    port: str,
    folder: str,
    task: str | None,
    sequences: int,
    baud: int | None,
    timeout: float,
    say: Say,
    weights: str | None = None,
) -> dict[str, Any]:
    """Send the first `sequences` of the test part; labels, accuracy, latency, and mismatches with
    the golden model.

    folder : as :func:`~genogate.targets.write_bitstream` wrote it
    weights : folder of :func:`~genogate.outputs.write_gru` whose weights are loaded in place of
        those in `folder`, where the bitstream has weights that are loaded
    """
    from .model.data.tasks import load_task
    from .model.integer import IntModel
    from .sim import golden

    document = _document(Path(folder) / "board.json")
    image = _image(document, Path(folder), weights)
    model = IntModel.load(Path(weights or folder) / "model.safetensors")
    data = load_task(task or document["task"], document.get("split_seed", 0))
    data.only_plain("a board")
    x, y = data.x_test, data.y_test
    if not 1 <= sequences <= len(x):
        raise InputError(
            f"sequences: {sequences} is not within 1 to {len(x)}, the test part's size"
        )
    codes = model.quantize_input(x[:sequences])
    expected = golden.run(model, codes).classes
    with Board(port, baud or int(document["baud"]), timeout) as board:
        identity = board.identify()
        programmed = document["weights"]["hardware"] if image else model.hash[: len(identity.model)]
        if identity.model != programmed:
            raise InputError(
                f"port {port}: the board runs model {identity.model}, {folder} holds "
                f"{programmed}; program it with that bitstream"
            )
        if image:
            say(f"Loading {len(image)} words of weights")
            board.load(image, int(document["weights"]["width"]))
        answers = []
        for number, row in enumerate(codes, 1):
            say(f"Sequence {number} of {sequences}")
            answers.append(board.classify(row))
    labels = [answer.label for answer in answers]
    return {
        "port": port,
        "labels": labels,
        "expected": [int(label) for label in y[:sequences]],
        "accuracy": sum(int(a == b) for a, b in zip(labels, y, strict=False)) / sequences,
        "mismatches": sum(int(a != b) for a, b in zip(labels, expected, strict=True)),
        "cycles": max(answer.cycles for answer in answers),
        "clock_mhz": float(document["clock_mhz"]),
        "attempts": sum(answer.attempts for answer in answers),
    }


def _image(document: dict[str, Any], folder: Path, other: str | None) -> list[int]:
    """The words to load; none where the weights are part of the bitstream.

    Raises :class:`InputError` where those of the folder `other` do not fit the hardware.
    """
    if "weights" not in document:
        if other:
            raise InputError(
                f"load {other}: the bitstream in {folder} has constant weights: make it with "
                "genogate bitstream --weights load"
            )
        return []
    hardware, source = document["weights"]["hardware"], Path(other) if other else folder
    if other:
        report = source / "report.json"
        try:
            programmed = json.loads(report.read_text())["weights"]["hardware"]
        except OSError as error:
            raise InputError(f"cannot read {report}: {error.strerror or error}") from None
        except (ValueError, TypeError, KeyError):
            raise InputError(f"{report}: not what genogate gru --weights load writes") from None
        if programmed != hardware:
            raise InputError(
                f"load {other}: made for hardware {programmed}, the bitstream is {hardware}: give "
                "a network of the same genome, scales and options"
            )
    path = source / "gru_weights.hex"
    try:
        words = [int(line, 16) for line in path.read_text().split()]
        if not words or max(words) >> int(document["weights"]["width"]):
            raise ValueError
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError:
        raise InputError(f"{path}: not words of weights") from None
    return words


#: Of ``--model``.
_WRITTEN = "give the folder that genogate bitstream wrote to"


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text())
        if not {"baud", "clock_mhz", "task"} <= set(document):
            raise ValueError
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}", _WRITTEN) from None
    except (ValueError, TypeError):
        raise InputError(f"{path}: not what genogate bitstream writes", _WRITTEN) from None
    return dict(document)


def print_session(result: dict[str, Any]) -> None:
    """The outcome of ``genogate host``."""
    sent = len(result["labels"])
    print(f"{'labels':<14}  {' '.join(map(str, result['labels']))}")
    print(f"{'expected':<14}  {' '.join(map(str, result['expected']))}")
    print(f"{'accuracy':<14}  {100 * result['accuracy']:.1f} % of {sent} sequences")
    print(f"{'golden model':<14}  {result['mismatches']} labels differ")
    latency = result["cycles"] / result["clock_mhz"]
    print(f"{'latency':<14}  {result['cycles']} cycles, {latency:.1f} us after the last feature")
    if result["attempts"] > sent:
        print(f"{'sent again':<14}  {result['attempts'] - sent} times")
