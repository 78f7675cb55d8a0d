"""Tests of torpydo.node.workers.messages."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import document, listing, url
from torpydo.errors import LocalProtocolError, RemoteProtocolError
from torpydo.node.workers.messages import (
    MAX_MESSAGE,
    AcceptedKeys,
    Connection,
    Drain,
    Drained,
    Leaving,
    LogLine,
    MessageReader,
    NetworkChanged,
    OwnAddresses,
    PoolListing,
    Setup,
    Status,
    Stop,
    ToSupervisor,
    ToWorker,
    encode,
)
from torpydo.testing import strategies

SETUP = Setup(
    identity=bytes(range(32)),
    exit_policy="accept *:80",
    allow_single_hop=False,
    aegis=True,
    pools=(str(url()),),
    limits=("memory=1048576", "links-per-host=7"),
)
TO_WORKER: tuple[ToWorker, ...] = (
    SETUP,
    AcceptedKeys((bytes(32), bytes([1]) * 32)),
    OwnAddresses(((bytes([20, 1, 1, 1]), 6000), (bytes(16), 1))),
    PoolListing.of(url(), listing(documents=[document(1), document(2)], parameters={"test-network": True, "n": 3})),
    NetworkChanged(1_800_000_000.5),
    Connection(2),
    Stop(),
    Drain(2.5),
)
TO_SUPERVISOR: tuple[ToSupervisor, ...] = (
    Status(9, 8, 7, 6, 5, 4, 3, 2, 1, 10, 11, 12, 13, {"files": 1}),
    LogLine("warn", "torpydo.node", "hällo"),
    Leaving(),
    Drained(),
)


def frame(body: bytes) -> bytes:
    """A message with that content, whatever it is."""
    return len(body).to_bytes(4, "big") + body


class MessageTests(SynchronousTestCase):
    """The bytes of the channel between supervisor and worker."""

    def both(self) -> list[tuple[Any, tuple[Any, ...]]]:
        """Each direction and its messages."""
        return [(ToWorker, TO_WORKER), (ToSupervisor, TO_SUPERVISOR)]

    def test_round_trip(self) -> None:
        """What is said is heard, in order."""
        for kind, messages in self.both():
            reader: MessageReader[Any] = MessageReader(kind)
            self.assertEqual(reader.receive(b"".join(map(encode, messages))), list(messages))

    def test_golden(self) -> None:
        """The bytes are u32 length, then msgpack of the tag and the fields."""
        self.assertEqual(encode(Connection(2)).hex(), "00000003920602")
        self.assertEqual(encode(Stop()).hex(), "000000029107")
        self.assertEqual(encode(Leaving()).hex(), "000000029103")

    def test_byte_by_byte(self) -> None:
        """A message is heard with its last byte, and not before."""
        for kind, messages in self.both():
            for message in messages:
                reader: MessageReader[Any] = MessageReader(kind)
                data = encode(message)
                heard = [reader.receive(data[at : at + 1]) for at in range(len(data))]
                self.assertEqual(heard, [[]] * (len(data) - 1) + [[message]])

    @given(st.data())
    def test_any_pieces(self, data: st.DataObject) -> None:
        """However the bytes are cut, the same messages come out."""
        for kind, messages in self.both():
            reader: MessageReader[Any] = MessageReader(kind)
            pieces = data.draw(strategies.pieces(b"".join(map(encode, messages))))
            heard = [message for piece in pieces for message in reader.receive(piece)]
            self.assertEqual(heard, list(messages))

    @given(st.binary(max_size=200))
    def test_anything(self, body: bytes) -> None:
        """Any bytes at all are a message, an error of ours, or not enough yet."""
        for kind, _ in self.both():
            for data in (body, frame(body)):
                try:
                    MessageReader[Any](kind).receive(data)
                except RemoteProtocolError:
                    continue

    @given(strategies.listings())
    def test_listings(self, made: Any) -> None:
        """A listing arrives as what it was."""
        reader: MessageReader[Any] = MessageReader(ToWorker)
        (message,) = reader.receive(encode(PoolListing.of(url(), made)))
        self.assertEqual((message.url, message.listing), (str(url()), made))

    def test_refused(self) -> None:
        """What no message can be is refused."""
        bad = [
            b"",
            b"\xc1",
            b"\x91\x07\x00",
            msgspec.msgpack.encode([99]),
            msgspec.msgpack.encode({"identity": 1}),
            msgspec.msgpack.encode([2, [bytes(31)]]),
            msgspec.msgpack.encode([2, []]),
            msgspec.msgpack.encode([3, bytes(3), 1]),
            msgspec.msgpack.encode([3, bytes(4), 65536]),
            msgspec.msgpack.encode([6, "tcp"]),
        ]
        for body in bad:
            reader: MessageReader[Any] = MessageReader(ToWorker)
            self.assertRaises(RemoteProtocolError, reader.receive, frame(body))
        loud = msgspec.msgpack.encode([2, "loud", "torpydo", "text"])
        self.assertRaises(RemoteProtocolError, MessageReader[Any](ToSupervisor).receive, frame(loud))

    def test_directions(self) -> None:
        """A worker does not take a report for an order, and the other way round."""
        self.assertRaises(RemoteProtocolError, MessageReader[Any](ToSupervisor).receive, encode(SETUP))
        self.assertRaises(RemoteProtocolError, MessageReader[Any](ToWorker).receive, encode(TO_SUPERVISOR[0]))

    def test_too_large(self) -> None:
        """A message that is too large is refused at its length, before anything of it is kept."""
        reader: MessageReader[Any] = MessageReader(ToWorker)
        self.assertRaises(RemoteProtocolError, reader.receive, (MAX_MESSAGE + 1).to_bytes(4, "big"))

    def test_too_large_to_send(self) -> None:
        """It is not sent either."""
        text = "a" * (MAX_MESSAGE + 1)
        self.assertRaises(LocalProtocolError, encode, LogLine("info", "", text))

    def test_secrets(self) -> None:
        """No key is in what would be seen in a traceback or a log."""
        for message in TO_WORKER[:2]:
            for text in (repr(message), str(message), f"{message}"):
                self.assertNotIn("\\x01", text)
                self.assertLess(len(text), 60)
