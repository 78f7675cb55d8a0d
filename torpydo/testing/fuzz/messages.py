"""Entry points of the readers of single messages (docs/protocol, sections Handshake and Messages), and of the pace that
acknowledgements set. What a reader takes, its writer writes again, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from torpydo.testing.fuzz.cursor import Cursor
from torpydo.testing.fuzz.fixed import NODE
from torpydo.testing.fuzz.target import Target, require
from torpydo.tpdp import Address, EndReason, ExtendStatus
from torpydo.tpdp.constants import WINDOW_MAX, WINDOW_MIN
from torpydo.tpdp.frames import split_frames
from torpydo.tpdp.handshake import decode_options, encode_options
from torpydo.tpdp.messages import (
    Extend,
    Extended,
    decode_begin,
    decode_connected,
    decode_credit,
    decode_end,
    decode_payload,
    decode_resolve,
    decode_resolved,
    encode_begin,
    encode_connected,
    encode_credit,
    encode_end,
    encode_message,
    encode_resolve,
    encode_resolved,
)
from torpydo.tpdp.windows import SendWindow
from torpydo.wire import Malformed

__all__ = ["TARGETS"]

T = TypeVar("T")
HERE: Final = Address(b"\x08\x08\x08\x08", 443)
THERE: Final = Address(bytes(15) + b"\1", 443)


def _reader(
    name: str, decode: Callable[[bytes], T], encode: Callable[[T], bytes], *seeds: bytes, longest: int = 1024
) -> Target:
    """An entry point for a reader that raises :class:`Malformed`, and has a writer."""

    def run(data: bytes) -> None:
        try:
            value = decode(data)
        except Malformed:
            return
        require(encode(value) == data, f"{value!r} is written in another way than it was read")

    run.__doc__ = f"The data of {name.removeprefix('message-').upper()}."
    return Target(name, run, lambda: seeds, longest=longest)


def _run_payload(data: bytes) -> None:
    """All messages of a cell."""
    try:
        messages = decode_payload(data)
    except Malformed:
        return
    written = b"".join(encode_message(kind, stream, value) for kind, stream, value in messages)
    require(written.ljust(len(data), b"\0") == data, "the messages of a cell are not what it says")


def _run_frames(data: bytes) -> None:
    """The frames of a record."""
    taken = 0
    try:
        for _, _, body in split_frames(data):
            require(len(body) in (1024, 16384), "a frame with a body of another size")
            taken += 5 + len(body)
    except Malformed:
        return
    require(taken == len(data), "bytes of a record are in no frame")


def _run_options(data: bytes) -> None:
    """The options of a handshake message, which are filled to 464 bytes."""
    data = data[:464].ljust(464, b"\0")
    try:
        options = decode_options(data)
    except Malformed:
        return
    require(decode_options(encode_options(options)) == options, "options are not what was read")


def _run_end(data: bytes) -> None:
    """END, whose reader knows more than its writer writes: a reason that it does not know is MISC."""
    try:
        reason = decode_end(data)
    except Malformed:
        return
    require(reason is EndReason.MISC or encode_end(reason) == data, "a reason that was not given")


_PAUSES: Final = (0.0, 1e-9, 0.001, 0.02, 0.2, 5.0, 1e6, -1.0)


def _run_pace(data: bytes) -> None:
    """The congestion window, whose other end chooses when acknowledgements come (and a clock may be set back)."""
    window, script, now = SendWindow(), Cursor(data), 1.0
    tags: list[bytes] = []
    while not script.ended:
        op = script.byte()
        now = max(0.0, now + _PAUSES[op >> 5])
        body = 16384 if op & 1 else 1024
        if op & 2 and tags:
            window.acknowledged(tags.pop(0), now)
        elif window.may_send(body):
            tag = len(tags).to_bytes(16, "big")
            closes = window.closes(body)
            window.sent(body, tag, now)
            tags += [tag] if closes else []
        else:
            window.controller.limited()
        require(WINDOW_MIN <= window.size <= WINDOW_MAX, f"a window of {window.size} bytes")
        require(window.in_flight >= 0, "less than nothing is in flight")


def _pace_seeds() -> Iterable[bytes]:
    yield bytes((1, 1, 1, 1, 0x62, 0x62)) * 10
    yield bytes(range(256))
    yield bytes([1] * 40 + [0x82, 0, 0, 0xE2, 0x42]) * 3


_PAYLOAD: Final = encode_message(5, 1, b"data") + encode_message(7, 1, b"\1") + bytes(40)
_EXTEND: Final = Extend(NODE.node_id, HERE, bytes(512)).encode()

TARGETS: Final = (
    Target("message-payload", _run_payload, lambda: (_PAYLOAD, encode_message(8, 0, b"\2\4")), longest=1024),
    Target("message-frames", _run_frames, lambda: (bytes(1029), b"\0\0\0\1\3" + bytes(1024)), longest=2100),
    Target("message-options", _run_options, lambda: (encode_options({1: b"\1", 2: b"\2\1"}).rstrip(b"\0"),)),
    _reader("message-extend", Extend.decode, Extend.encode, _EXTEND, Extend(NODE.node_id, THERE, bytes(512)).encode()),
    _reader(
        "message-extended", Extended.decode, Extended.encode,
        Extended(ExtendStatus.OK, bytes(512)).encode(), Extended(ExtendStatus.TIMEOUT).encode(),
    ),
    _reader(
        "message-begin", decode_begin, lambda begin: encode_begin(*begin),
        encode_begin("example.org", 80), encode_begin("::1", 443), longest=300,
    ),
    _reader("message-resolve", decode_resolve, encode_resolve, encode_resolve("example.org"), longest=300),
    _reader(
        "message-connected", decode_connected, lambda connected: encode_connected(*connected),
        encode_connected(HERE, 60), encode_connected(THERE, 0), longest=64,
    ),
    _reader(
        "message-resolved", decode_resolved, lambda answers: encode_resolved(list(answers)),
        encode_resolved([(HERE.ip, 60), (THERE.ip, 60)]), encode_resolved([(HERE.ip, 1)] * 32), longest=800,
    ),
    Target("message-end", _run_end, lambda: (b"", b"\1", b"\2", b"\x63"), longest=16),
    _reader("message-credit", decode_credit, encode_credit, encode_credit(65536), longest=16),
    Target("window-pace", _run_pace, _pace_seeds, longest=1024),
)  # fmt: skip
