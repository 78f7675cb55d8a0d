"""What a :class:`~torpydo.testing.FaultProxy` can do to one direction of a connection: values, nothing else.

Bytes are counted as the sender sent them, from the beginning of the connection: byte 0 is the first of that
direction, whatever other faults do to it. Records are those of a TPDP link (see records). How a fault is done is in
faultline.
"""

from __future__ import annotations

from typing import Final

import attrs
from attrs.validators import ge, gt, in_

from torpydo.errors import TorpydoError
from torpydo.testing.splits import Split as Sizes

BITS: Final = range(8)


class FaultError(TorpydoError):
    """A fault was asked for that cannot be done: the proxy does not know the records of that connection."""


# -- Time


@attrs.frozen
class Delay:
    """Every byte, and every end, comes out so many seconds after it came in."""

    seconds: float = attrs.field(validator=gt(0))


@attrs.frozen
class Rate:
    """No more than so many bytes come out in a second. They trickle: a hundred pieces a second, or single bytes."""

    bytes_per_second: float = attrs.field(validator=gt(0))


@attrs.frozen
class Split:
    """What comes out is cut into pieces, each written by itself in a turn of the reactor.

    Kernels join what a slow reader has not taken yet; a *pause* keeps pieces apart.
    """

    sizes: int | Sizes
    """Bytes of a piece at the most (1 is byte by byte), or a function from how many wait to how many go."""
    pause: float = attrs.field(default=0.0, validator=ge(0))
    """Seconds between two pieces."""


# -- Bytes


@attrs.frozen
class Flip:
    """One bit of one byte is changed."""

    offset: int = attrs.field(validator=ge(0))
    bit: int = attrs.field(default=0, validator=in_(BITS))


@attrs.frozen
class Insert:
    """Bytes that nobody sent come before the byte at *offset*."""

    offset: int = attrs.field(validator=ge(0))
    data: bytes


@attrs.frozen
class Drop:
    """*size* bytes from *offset* on are left out."""

    offset: int = attrs.field(validator=ge(0))
    size: int = attrs.field(default=1, validator=ge(1))


@attrs.frozen
class Duplicate:
    """*size* bytes from *offset* on come twice."""

    offset: int = attrs.field(validator=ge(0))
    size: int = attrs.field(default=1, validator=ge(1))


# -- Records of a link; number 0 is the first after the handshake


@attrs.frozen
class FlipInRecord:
    """One bit of one byte of a record is changed."""

    number: int = attrs.field(validator=ge(0))
    offset: int = attrs.field(default=0, validator=ge(0))
    bit: int = attrs.field(default=0, validator=in_(BITS))


@attrs.frozen
class DropRecord:
    """A record is left out."""

    number: int = attrs.field(validator=ge(0))


@attrs.frozen
class RepeatRecord:
    """A record comes again: at once, or when *after* more records have gone."""

    number: int = attrs.field(validator=ge(0))
    after: int = attrs.field(default=0, validator=ge(0))


@attrs.frozen
class SwapRecords:
    """A record comes after the next one instead of before it."""

    number: int = attrs.field(validator=ge(0))


# -- Ends; what came before byte *after* is delivered as it is


@attrs.frozen
class Truncate:
    """What follows is left out, and the whole connection is closed as if both had wanted it."""

    after: int = attrs.field(default=0, validator=ge(0))


@attrs.frozen
class HalfClose:
    """What follows is left out, and the receiver is told that nothing more comes; the other direction goes on."""

    after: int = attrs.field(default=0, validator=ge(0))


@attrs.frozen
class Reset:
    """The connection is reset at both ends."""

    after: int = attrs.field(default=0, validator=ge(0))


@attrs.frozen
class BlackHole:
    """What follows is taken and never delivered, an end or a reset included; the receiver's connection stays."""

    after: int = attrs.field(default=0, validator=ge(0))


@attrs.frozen
class Freeze:
    """What follows is not even taken: the sender's buffers fill up, as those of one whose peer has stopped."""

    after: int = attrs.field(default=0, validator=ge(0))


Pace = Delay | Rate | Split
Edit = Flip | Insert | Drop | Duplicate
RecordFault = FlipInRecord | DropRecord | RepeatRecord | SwapRecords
End = Truncate | HalfClose | Reset | BlackHole | Freeze
Fault = Pace | Edit | RecordFault | End
