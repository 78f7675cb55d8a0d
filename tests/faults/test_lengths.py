"""Case 11: every length that somebody else writes down, at its largest, one more than there is, and as if it were
negative: refused with an error of the right kind, and nothing is allocated for it.

Lengths in requests to the proxies are in tests/apps (test_smuggling, tests of socks), lengths of HTTP bodies in
tests/net/test_fetch and tests/pool/test_web.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator

from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import NOW, document, key, listing
from tests.tpdp.chain import Chain
from tests.tpdp.pairs import Pair
from torpydo.crypto import Purpose, record_nonce, seal
from torpydo.directory import parse_descriptor, parse_heartbeat, parse_listing, sign_heartbeat, sign_listing
from torpydo.errors import DescriptorError, DirectoryError, ListingError, RemoteProtocolError
from torpydo.tpdp import LinkClosed
from torpydo.tpdp.handshake import decode_options, encode_options
from torpydo.tpdp.messages import Type, decode_payload, encode_message

MOST_MEMORY = 2 << 20
"""Bytes that refusing one of these may take: much less than any of the lengths says."""
CELL, BODY, FORWARD_OVERHEAD = 3, 1024, 144
MIN_FRAMES, MAX_FRAMES, OVERHEAD = 5 + 1024, 4 * (5 + 16384), 32
MSGPACK = {"bin": b"\xc6", "str": b"\xdb", "array": b"\xdd", "map": b"\xdf"}
"""What begins a value whose length has 32 bits."""


def lengths(width: int, there: int) -> list[int]:
    """What a field of so many bytes may say when *there* are so many."""
    most = (1 << 8 * width) - 1
    return sorted(length for length in {there + 1, most, most - 1, most // 2, most // 2 + 1} if there < length <= most)


class LengthTests(SynchronousTestCase):
    """Each kind of message."""

    def refused(self, kind: type[BaseException], what: Callable[[bytes], object], data: bytes, about: object) -> None:
        """With this error, and little memory."""
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        try:
            what(data)
        except kind:
            pass
        else:
            self.fail(f"{about}: not refused")
        _, peak = tracemalloc.get_traced_memory()
        self.assertLess(peak - before, MOST_MEMORY, about)

    def setUp(self) -> None:
        """Watch the memory."""
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)

    def test_options(self) -> None:
        """Of a handshake: u16, in each of three options."""
        good = encode_options({1: b"\1", 2: b"\1\2", 3: bytes(8)})
        for position, there in ((1, 461), (5, 457), (10, 452)):
            for length in lengths(2, there):
                data = good[:position] + length.to_bytes(2, "big") + good[position + 2 :]
                self.refused(RemoteProtocolError, decode_options, data, (position, length))

    def test_records(self) -> None:
        """Of a link: u24, from nothing to everything. None of the record is kept."""
        too_short = [0, 1, OVERHEAD, MIN_FRAMES + OVERHEAD - 1]
        for length in [*too_short, *lengths(3, MAX_FRAMES + OVERHEAD)]:
            pair = Pair()
            link, sealer = pair.responder, pair.initiator._sealer
            assert sealer is not None
            head = seal(length.to_bytes(3, "big"), record_nonce(sealer.counter), sealer._key)
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            events = link.receive_data(head + bytes(1000), pair.now)
            _, peak = tracemalloc.get_traced_memory()
            self.assertEqual([type(event) for event in events], [LinkClosed], length)
            self.assertLess(peak - before, MOST_MEMORY)

    def test_messages(self) -> None:
        """Of a cell: u16, for every type."""
        for kind in Type:
            stream = 0 if kind in (Type.EXTEND, Type.EXTENDED, Type.PING, Type.PONG, Type.DROP) else 1
            good = encode_message(kind, stream, bytes(8)).ljust(880, b"\0")
            for length in lengths(2, 873):
                data = good[:5] + length.to_bytes(2, "big") + good[7:]
                self.refused(RemoteProtocolError, decode_payload, data, (kind, length))

    def test_messages_at_the_exit(self) -> None:
        """The same, rightly sealed, through a circuit: it is destroyed."""
        for kind in Type:
            for length in lengths(2, 873):
                chain = Chain(2)
                stream = chain.open_stream()
                header = bytes((kind,)) + stream.to_bytes(4, "big") + length.to_bytes(2, "big")
                chain.say_forward(header + bytes(873))
                chain.move_forward(0)
                self.assertRaises(RemoteProtocolError, chain.move_forward, 1)

    def test_hosts(self) -> None:
        """Of a destination: what is left of its message is its name, which has 255 bytes at the most."""
        for kind, before in ((Type.BEGIN, b"\0\x50"), (Type.RESOLVE, b"")):
            for size in (256, 400, 700):
                chain = Chain(1)
                chain.say_forward(encode_message(kind, 1, before + b"a" * size))
                self.assertRaises(RemoteProtocolError, chain.move_forward, 0)

    def test_answers(self) -> None:
        """Of a RESOLVED: one address more than there may be, and one byte more than there are addresses."""
        answer = b"\x04\x01\x02\x03\x04" + bytes(4)
        for data in (answer * 33, answer + b"\x04", answer[:-1], answer * 100):
            chain = Chain(1)
            chain.origin.end.resolve("example.org")
            chain.pump()
            chain.say_backward(encode_message(Type.RESOLVED, 1, data))
            self.assertRaises(RemoteProtocolError, chain.move_backward, 0)

    def variants(self, body: bytes) -> Iterator[tuple[bytes, object]]:
        """A body in MessagePack with a length of 32 bits in the place of each byte."""
        for position in range(len(body)):
            for name, start in MSGPACK.items():
                for length in (0xFFFFFFFF, 0x80000000, 0x7FFFFFFF, len(body)):
                    yield body[:position] + start + length.to_bytes(4, "big") + body[position + 1 :], (position, name)

    def bounded(self, kind: type[DirectoryError], parse: Callable[[bytes], object], data: bytes, about: object) -> bool:
        """Whether it was refused; if it was not, the place was within a text, and it is a document as well."""
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        try:
            parse(data)
            refused = False
        except kind:
            refused = True
        _, peak = tracemalloc.get_traced_memory()
        self.assertLess(peak - before, MOST_MEMORY, about)
        return refused

    def test_descriptors(self) -> None:
        """Of a node that signs what it likes."""
        signer, good = key(0), document()[64:]
        refused = 0
        for body, about in self.variants(good):
            signed = signer.sign(Purpose.DESCRIPTOR, body) + body
            refused += self.bounded(DescriptorError, parse_descriptor, signed, about)
        self.assertEqual(refused, 16 * len(good))

    def test_heartbeats(self) -> None:
        """The same, as a pool gets it; and one byte more than a heartbeat may have."""
        pool, signer = key("pool").pool_id, key(0)
        good = sign_heartbeat(document(), pool, NOW * 1000, signer)
        parse_heartbeat(good, pool, NOW)
        too_long = sign_heartbeat(document() + bytes(20_001), pool, NOW * 1000, signer)
        self.refused(DescriptorError, lambda data: parse_heartbeat(data, pool, NOW), too_long, "one byte more")

    def test_listings(self) -> None:
        """Of a pool that signs what it likes."""
        signer = key("pool")
        made = listing(documents=[document(nickname="n")], parameters={"test-network": True})
        good = sign_listing(made, signer)[64:]
        refused = 0
        for body, about in self.variants(good[:120]):
            signed = signer.sign(Purpose.LISTING, body + good[120:]) + body + good[120:]
            refused += self.bounded(
                ListingError, lambda data: parse_listing(data, signer.pool_id, NOW), signed, about
            )
        # From byte 60 or so on there is the node's own document, which is only looked at later.
        self.assertGreater(refused, 16 * 60)
