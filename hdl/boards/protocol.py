"""The frames that a host and a board exchange, the same numbers on both sides.

A frame is ``SYNC, length (2 bytes, low first), payload, CRC (2 bytes, high first)``; the CRC is
CRC-16/IBM-3740 (polynomial 0x1021, start 0xFFFF) of length and payload.

To the board: the codes of a whole sequence, a byte a feature, steps in order; or nothing, which
asks who is there. From the board: one frame for each, its first byte a :class:`Status`:

* ``LABEL``: class (2 bytes, low first), cycles from the last feature to the class (3 bytes);
* ``IDENTITY``: 8 bytes of the model's hash, features and classes (2 bytes each);
* an error, alone. The board is then as after a reset. It answers once the line has been idle for
  its time-out, so that nothing of a broken frame is taken for the start of the next.
"""

from enum import IntEnum

SYNC = 0xA5
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


#: What an error means, for people.
ERRORS = {
    Status.BAD_CRC: "the checksum of the frame was wrong",
    Status.BAD_LENGTH: f"the length was no whole number of steps of 1 to {MAX_LENGTH} bytes",
    Status.TRUNCATED: "the frame ended before its time",
    Status.OVERRUN: "features came faster than the network takes them",
}
