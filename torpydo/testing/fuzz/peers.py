"""Entry points of peers: presence records, what the table makes of them, messages, streams, documents."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from torpydo.crypto import Secret, SigningKey, with_hash
from torpydo.errors import BadSignature, BootstrapError, StateError
from torpydo.onion import OnionName
from torpydo.peers import (
    STRANGERS,
    Address,
    Claim,
    Document,
    Exchange,
    Hello,
    Kept,
    KeptPeer,
    Presence,
    Records,
    Role,
    Search,
    Table,
    Verdict,
    Want,
    decode_message,
    frame,
)
from torpydo.testing.fuzz.fixed import NOW, fixed_rng
from torpydo.testing.fuzz.target import Target, require
from torpydo.wire import Malformed

__all__ = ["TARGETS"]

PEER: Final = SigningKey(Secret(b"q" * 32))
OWN: Final = SigningKey(Secret(b"w" * 32))
TOPIC: Final = b"fuzz"
DIFFICULTY: Final = 4


def _record(key: SigningKey = PEER, note: bytes = b"note") -> Presence:
    claim = Claim(key.public, TOPIC, Role.PARTICIPANT, NOW, 3600, note=note)
    found = None
    search = Search(Presence.make(claim, key), DIFFICULTY, bytes(8))
    while found is None:
        found = search.go_on(100)
    return found


def _table() -> Table:
    table = Table(
        TOPIC, OWN.public, DIFFICULTY, clock=lambda: 0.0, wall_clock=lambda: float(NOW), randbelow=lambda number: 0
    )
    table.own_record = _OWN_RECORD
    return table


_OWN_RECORD: Final = _record(OWN)
_RECORD: Final = _record()


def _run_record(data: bytes) -> None:
    """A presence record, and what a table makes of it."""
    table = _table()
    verdict = table.offer(data, PEER.public)
    require((verdict is Verdict.STORED) == (len(table) == 1), f"{verdict} and {len(table)} entries")
    try:
        found = Presence.decode(data)
    except Malformed:
        require(verdict is Verdict.MALFORMED, f"what cannot be read is {verdict}")
        return
    require(found.encode() == data, "a record is read as another one")
    if verdict is Verdict.STORED:
        try:
            found.check()
        except BadSignature:
            require(False, "a record was taken that nobody has signed")
        require(found.has_work(DIFFICULTY), "a record was taken that cost nothing")


def _run_message(data: bytes) -> None:
    """A message of an exchange."""
    try:
        found = decode_message(data)
    except Malformed:
        return
    require(found.encode() == data, "a message is read as another one")


def _run_stream(data: bytes) -> None:
    """What comes on a stream, in two reads, at the end that the first byte names."""
    dialled, where, rest = data[:1] == b"\1", data[1] if len(data) > 1 else 0, data[2:]
    table = _table()
    exchange = Exchange(table, PEER.public if dialled else STRANGERS, fixed_rng(b"salt"))
    exchange.take_bytes()
    for part in (rest[:where], rest[where:]):
        try:
            exchange.receive_data(part)
        except Malformed:
            break
    require(len(exchange.take_bytes()) <= 2 + 0xFFFF, "more is sent than one frame")
    require(len(table) <= exchange.told.stored <= table.checks, "an entry without a check")


def _run_document(data: bytes) -> None:
    """The document that names the first peers."""
    try:
        found = Document.decode(data)
    except BootstrapError:
        return
    require(Document.decode(found.encode()) == found, "a document is read as another one")


def _run_file(data: bytes) -> None:
    """What a table has kept, and what the next one makes of it; also with the hash that it should have."""
    for content in (data, with_hash(data)):
        try:
            found = Kept.decode(content)
        except StateError:
            continue
        require(Kept.decode(found.encode()) == found, "kept peers are read as other ones")
        table = _table()
        table.restore(found.peers)
        require(len(table) <= min(len(found.peers), table.checks), "a kept peer without a check")
        require(not table.sample(50, bytes(8), b""), "a kept peer is handed on before it was met")


def _file_seeds() -> Iterable[bytes]:
    record, other = _RECORD.encode(), _record(SigningKey(Secret(b"r" * 32)), b"").encode()
    yield Kept(_OWN_RECORD, (KeptPeer(record), KeptPeer(other, 5))).encode()
    yield Kept(None, (KeptPeer(record, 0), KeptPeer(b"no record"))).encode()[32:]


def _stream_seeds() -> Iterable[bytes]:
    record, other = _RECORD.encode(), _record(SigningKey(Secret(b"r" * 32)), b"").encode()
    yield b"\1\x09" + frame(Hello(record)) + frame(Records((other, b"none")))
    yield b"\0\x09" + frame(Hello(record)) + frame(Want(3, bytes(8), bytes(16)))
    yield b"\0\x09" + frame(Hello()) + frame(Want(50, bytes(8)))


TARGETS: Final = (
    Target("peers-record", _run_record, lambda: [_RECORD.encode(), _OWN_RECORD.encode()], 400),
    Target(
        "peers-message",
        _run_message,
        lambda: [
            Hello(_RECORD.encode()).encode(),
            Want(9, bytes(8), bytes(24)).encode(),
            Records((b"one", _RECORD.encode())).encode(),
        ],
    ),
    Target("peers-stream", _run_stream, _stream_seeds),
    Target("peers-file", _run_file, _file_seeds),
    Target(
        "peers-document",
        _run_document,
        lambda: [Document((Address(OnionName.of(PEER), 81),), (_RECORD.encode(),)).encode(), b'{"format": 1}'],
    ),
)
