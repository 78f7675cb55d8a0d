"""Messages: what a cell carries after the layers (docs/protocol, section Messages).

``type u8 ‖ stream u32 ‖ length u16 ‖ data``, several to a cell, zero-filled. Encode and decode stand side by side;
DATA has no class of its own, its bytes go straight from payload to stream. Called by ends.
"""

from __future__ import annotations

from enum import IntEnum

import attrs

from torpydo.crypto import NodeId
from torpydo.errors import BadKey
from torpydo.tpdp.address import Address
from torpydo.tpdp.constants import HANDSHAKE_SIZE, MESSAGE_HEADER, EndReason, ExtendStatus
from torpydo.wire import Malformed, NeedMore, Reader, Writer


class Type(IntEnum):
    """Message types. 0 is the fill."""

    EXTEND = 1
    EXTENDED = 2
    BEGIN = 3
    CONNECTED = 4
    DATA = 5
    CLOSE_WRITE = 6
    END = 7
    WINDOW = 8
    RESOLVE = 9
    RESOLVED = 10
    PING = 11
    PONG = 12
    DROP = 13
    ESTABLISH_INTRO = 14
    INTRO_ESTABLISHED = 15
    INTRODUCE1 = 16
    INTRODUCE_ACK = 17
    INTRODUCE2 = 18
    ESTABLISH_RENDEZVOUS = 19
    RENDEZVOUS_ESTABLISHED = 20
    RENDEZVOUS1 = 21
    RENDEZVOUS2 = 22
    INTRO_PUZZLE = 23


STREAM_TYPES = frozenset(
    {Type.BEGIN, Type.CONNECTED, Type.DATA, Type.CLOSE_WRITE, Type.END, Type.RESOLVE, Type.RESOLVED}
)
"""Messages that belong to a stream."""
CIRCUIT_TYPES = frozenset(Type) - STREAM_TYPES - {Type.WINDOW}
"""Messages about the circuit: their stream is 0. WINDOW goes with either."""

MAX_HOST = 255
"""Bytes of a host name."""
MAX_ANSWERS = 32
"""Addresses in one RESOLVED."""
PING_SIZE = 8

WINDOW_ACK = 1
WINDOW_SIZE = 2


def encode_message(kind: int, stream: int, data: bytes = b"") -> bytes:
    """One message with its header."""
    return Writer().u8(kind).u32(stream).u16(len(data)).put(data).getvalue()


def decode_payload(payload: bytes) -> list[tuple[Type, int, bytes]]:
    """All messages of a cell, in order: (type, stream, data).

    :raises Malformed: if a length runs over the end, a type is unknown, a stream does not fit the type, or a byte
        other than 0 comes after the last message
    """
    messages: list[tuple[Type, int, bytes]] = []
    position = 0
    end = len(payload)
    while position < end:
        kind = payload[position]
        if kind == 0:
            if payload.count(0, position) != end - position:
                raise Malformed("a byte other than 0 after the last message")
            break
        start = position + MESSAGE_HEADER
        if start > end:
            raise Malformed("a message header runs over the end of its cell")
        stream = int.from_bytes(payload[position + 1 : position + 5], "big")
        position = start + int.from_bytes(payload[position + 5 : start], "big")
        if position > end:
            raise Malformed("a message runs over the end of its cell")
        try:
            known = Type(kind)
        except ValueError:
            raise Malformed(f"message type {kind} is unknown") from None
        if known is not Type.WINDOW and (stream == 0) == (known in STREAM_TYPES):
            raise Malformed(f"{known.name} on stream {stream}")
        messages.append((known, stream, payload[start:position]))
    return messages


def _write_ip(writer: Writer, ip: bytes) -> None:
    writer.u8(4 if len(ip) == 4 else 6).put(ip)


def _read_ip(reader: Reader) -> bytes:
    kind = reader.u8()
    if kind not in (4, 6):
        raise Malformed(f"address kind {kind}")
    return reader.take(4 if kind == 4 else 16)


@attrs.frozen
class Extend:
    """EXTEND: node id ‖ address kind u8 ‖ 4 or 16 bytes ‖ port u16 ‖ client message."""

    node_id: NodeId
    address: Address
    message: bytes

    def encode(self) -> bytes:
        """The data of the message."""
        writer = Writer().put(self.node_id.raw)
        _write_ip(writer, self.address.ip)
        return writer.u16(self.address.port).put(self.message).getvalue()

    @classmethod
    def decode(cls, data: bytes) -> Extend:
        """Read the data of the message.

        :raises Malformed: if it is not an EXTEND
        """
        reader = Reader(data)
        try:
            node_id = NodeId(reader.take(32))
            address = Address(_read_ip(reader), reader.u16())
            message = reader.take(HANDSHAKE_SIZE)
        except NeedMore:
            raise Malformed("EXTEND is too short") from None
        except BadKey:
            raise Malformed("EXTEND names a node id that is no key") from None
        reader.finish()
        return cls(node_id, address, message)


@attrs.frozen
class Extended:
    """EXTENDED: status u8 ‖ relay message, or a status other than OK alone."""

    status: ExtendStatus
    message: bytes = b""

    def encode(self) -> bytes:
        """The data of the message."""
        return Writer().u8(self.status).put(self.message).getvalue()

    @classmethod
    def decode(cls, data: bytes) -> Extended:
        """Read the data of the message.

        :raises Malformed: if it is not an EXTENDED
        """
        if not data or data[0] not in ExtendStatus.__members__.values():
            raise Malformed("EXTENDED without a status that is known")
        status = ExtendStatus(data[0])
        if len(data) - 1 != (HANDSHAKE_SIZE if status is ExtendStatus.OK else 0):
            raise Malformed(f"EXTENDED of {len(data)} bytes")
        return cls(status, data[1:])


def check_host(host: str) -> bytes:
    """The bytes of a host name or IP literal as BEGIN and RESOLVE carry it.

    :raises ValueError: if it is empty, longer than 255 bytes, or has a character other than printable ASCII
    """
    if not host.isascii() or not host.isprintable() or " " in host:
        raise ValueError(f"a host name is printable ASCII without blanks, not {host!r}")
    if not 1 <= len(host) <= MAX_HOST:
        raise ValueError(f"a host name has 1 to {MAX_HOST} characters, not {len(host)}")
    return host.encode("ascii")


def _decode_host(data: bytes) -> str:
    try:
        host = data.decode("ascii")
        check_host(host)
    except ValueError:
        raise Malformed("a host name with bytes that it cannot have") from None
    return host


def encode_begin(host: str, port: int) -> bytes:
    """BEGIN: port u16 ‖ host.

    :raises ValueError: as :func:`check_host`, or for a port outside 1..65535
    """
    if not 1 <= port <= 65535:
        raise ValueError(f"a port is 1 to 65535, not {port}")
    return Writer().u16(port).put(check_host(host)).getvalue()


def decode_begin(data: bytes) -> tuple[str, int]:
    """Read a BEGIN: host and port.

    :raises Malformed: if it is not one
    """
    if len(data) < 3:
        raise Malformed("BEGIN is too short")
    port = int.from_bytes(data[:2], "big")
    if not port:
        raise Malformed("BEGIN to port 0")
    return _decode_host(data[2:]), port


def encode_resolve(host: str) -> bytes:
    """RESOLVE: the host name.

    :raises ValueError: as :func:`check_host`
    """
    return check_host(host)


def decode_resolve(data: bytes) -> str:
    """Read a RESOLVE.

    :raises Malformed: if it is not one
    """
    return _decode_host(data)


def encode_connected(address: Address, ttl: int) -> bytes:
    """CONNECTED: address kind u8 ‖ 4 or 16 bytes ‖ port u16 ‖ ttl u32 (seconds)."""
    writer = Writer()
    _write_ip(writer, address.ip)
    return writer.u16(address.port).u32(ttl).getvalue()


def decode_connected(data: bytes) -> tuple[Address, int]:
    """Read a CONNECTED.

    :raises Malformed: if it is not one
    """
    reader = Reader(data)
    try:
        result = Address(_read_ip(reader), reader.u16()), reader.u32()
    except NeedMore:
        raise Malformed("CONNECTED is too short") from None
    reader.finish()
    return result


def encode_resolved(answers: list[tuple[bytes, int]]) -> bytes:
    """RESOLVED: for each answer address kind u8 ‖ 4 or 16 bytes ‖ ttl u32 (seconds); at most 32 are sent."""
    writer = Writer()
    for ip, ttl in answers[:MAX_ANSWERS]:
        _write_ip(writer, ip)
        writer.u32(ttl)
    return writer.getvalue()


def decode_resolved(data: bytes) -> tuple[tuple[bytes, int], ...]:
    """Read a RESOLVED.

    :raises Malformed: if it is not one, is empty, or has more than 32 answers
    """
    reader = Reader(data)
    answers: list[tuple[bytes, int]] = []
    try:
        while reader.remaining:
            answers.append((_read_ip(reader), reader.u32()))
    except NeedMore:
        raise Malformed("RESOLVED ends within an answer") from None
    if not 1 <= len(answers) <= MAX_ANSWERS:
        raise Malformed(f"RESOLVED with {len(answers)} answers")
    return tuple(answers)


def encode_end(reason: EndReason) -> bytes:
    """END: reason u8."""
    return bytes((reason,))


def decode_end(data: bytes) -> EndReason:
    """Read an END; without a reason, or with one that is not known, it is MISC.

    :raises Malformed: if it is longer than a reason
    """
    if len(data) > 1:
        raise Malformed(f"END of {len(data)} bytes")
    if not data or data[0] not in EndReason.__members__.values():
        return EndReason.MISC
    return EndReason(data[0])


def encode_credit(amount: int) -> bytes:
    """WINDOW on a stream: more credit in bytes, u32."""
    return Writer().u32(amount).getvalue()


def decode_credit(data: bytes) -> int:
    """Read a WINDOW on a stream.

    :raises Malformed: if it is not one, or grants nothing
    """
    if len(data) != 4 or not any(data):
        raise Malformed("WINDOW on a stream that is no credit")
    return int.from_bytes(data, "big")


def encode_ack(tag: bytes) -> bytes:
    """WINDOW on stream 0, kind 1: the 16-byte MAC of the cell that closed an interval."""
    return bytes((WINDOW_ACK,)) + tag


def encode_wanted_size(command: int) -> bytes:
    """WINDOW on stream 0, kind 2: the command (CELL or BULK) of backward cells from now on."""
    return bytes((WINDOW_SIZE, command))
