"""The frames that a host and a board exchange, the same numbers on both sides.

A frame is ``SYNC, length (2 bytes, low first), payload, CRC (2 bytes, high first)``; the CRC is
CRC-16/IBM-3740 (polynomial 0x1021, start 0xFFFF) of length and payload.

To the board: the codes of a whole sequence, a byte a feature, steps in order; or nothing, which
asks who is there. From the board: one frame for each, its first byte a :class:`Status`:

* ``LABEL``: class (2 bytes, low first), cycles from the last feature to the class (3 bytes);
* ``IDENTITY``: 8 bytes of the model's hash, features and classes (2 bytes each);
* ``LOADED``, alone: a frame of weights was taken;
* an error, alone. The board is then as after a reset. It answers once the line has been idle for
  its time-out, so that nothing of a broken frame is taken for the start of the next.

Where weights are loaded, a frame that begins with ``SYNC_WEIGHTS`` in place of ``SYNC`` holds words
of ``gru_weights.hex``, each in as many whole bytes as it needs, low first. One without payload goes
before the first: it resets the network, so that the next word is the first one. After an error the
network has no weights, and a sequence is answered by ``UNLOADED`` until all words have come.
"""

from enum import IntEnum

SYNC, SYNC_WEIGHTS = 0xA5, 0xA6
#: Bytes of the longest payload that a board takes.
MAX_LENGTH = 8192
#: Payload bytes of the answers that are no errors.
LABEL_LENGTH, IDENTITY_LENGTH = 6, 13


class Status(IntEnum):
    """First byte of an answer's payload."""

    LABEL = 0
    IDENTITY = 1
    BAD_CRC = 2
    BAD_LENGTH = 3
    TRUNCATED = 4
    OVERRUN = 5
    UNLOADED = 6
    LOADED = 7


#: What an error means, for people.
ERRORS = {
    Status.BAD_CRC: "the checksum of the frame was wrong",
    Status.BAD_LENGTH: f"the length was no whole number of steps of 1 to {MAX_LENGTH} bytes",
    Status.TRUNCATED: "the frame ended before its time",
    Status.OVERRUN: "features came faster than the network takes them",
    Status.UNLOADED: "its weights are not loaded",
}
