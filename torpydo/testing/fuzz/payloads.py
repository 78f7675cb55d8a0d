"""Payloads of cells as a script wants them: messages in a few bytes each, or raw bytes. Called by cells."""

from __future__ import annotations

from collections import deque

import attrs

from torpydo.testing.fuzz.cursor import Cursor, scripted
from torpydo.tpdp.constants import BODY_SIZES
from torpydo.tpdp.messages import Type, decode_payload, encode_ack, encode_message
from torpydo.tpdp.windows import ReceiveWindow

__all__ = ["ACK", "ANSWER", "LONG_RAW", "Due", "make_payload", "script_message", "script_payload"]

LONG = 0x80
"""Set in a message's type: its data are zeros, as many as two bytes say."""
LONG_RAW = 0xFF
"""Instead of a number of messages: raw bytes with a length of two bytes."""
ACK = 0x3F
"""Instead of a type: the acknowledgement that is due."""
ANSWER = 0x3E
"""Instead of a type: the answer to the oldest PING."""


@attrs.define(eq=False)
class Due:
    """What an honest peer would still have to say.

    :ivar acks: the tags of the cells that it has to acknowledge
    :ivar tokens: of the PINGs that it has to answer
    :ivar extends: the EXTENDs that it has to answer
    """

    acks: deque[bytes] = attrs.field(factory=deque)
    tokens: deque[bytes] = attrs.field(factory=deque)
    extends: deque[bytes] = attrs.field(factory=deque)
    _window: ReceiveWindow = attrs.field(factory=ReceiveWindow)

    def heard(self, command: int, payload: bytes, tag: bytes) -> None:
        """Note a cell that the end under test has sent; that it can be read is checked here too.

        :raises Malformed: if it cannot
        """
        has_data = False
        for kind, _, data in decode_payload(payload):
            if kind is Type.DATA:
                has_data = True
            elif kind is Type.PING:
                self.tokens.append(data)
            elif kind is Type.EXTEND:
                self.extends.append(data)
        if has_data and self._window.received(BODY_SIZES[command]):
            self.acks.append(tag)


def make_payload(script: Cursor, size: int, due: Due) -> bytes:
    """The next payload of a script: a number of messages, and each of them; 0 of them, or many: raw bytes.

    :param size: of the payload
    """
    count = script.byte()
    if not count or count == LONG_RAW:
        raw = script.take(script.number(2)) if count else script.short()
        return raw[:size].ljust(size, b"\0")
    parts: list[bytes] = []
    for _ in range(count):
        if script.ended:
            break
        kind = script.byte()
        if kind == ACK and due.acks:
            parts.append(encode_message(Type.WINDOW, 0, encode_ack(due.acks.popleft())))
        elif kind == ANSWER and due.tokens:
            parts.append(encode_message(Type.PONG, 0, due.tokens.popleft()))
        else:
            stream = script.byte()
            data = bytes(script.number(2)) if kind & LONG else script.short()
            parts.append(encode_message(kind & ~LONG, stream, data[:size]))
    return b"".join(parts)[:size].ljust(size, b"\0")


def script_message(kind: int, stream: int = 0, data: bytes | int = b"") -> bytes:
    """One message as a script has it; *data* may be a number of zeros."""
    if isinstance(data, int):
        return bytes((kind | LONG, stream)) + data.to_bytes(2, "big")
    return bytes((kind, stream)) + scripted(data)


def script_payload(*messages: bytes) -> bytes:
    """A payload of such messages; ``bytes((ACK,))`` and ``bytes((ANSWER,))`` are messages too."""
    return bytes((len(messages),)) + b"".join(messages)
