"""A pool that lies, among three of which two must agree (SECURITY 1, malicious pool index; section 3, case 25).

Five hundred forged, old, future and malformed listings: none is adopted, the last good one stays, the pool is named.
What it signs in good order may still lie about nodes, and that changes nothing either.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from twisted.logger import capturedLogs, formatEvent

from tests.directory.build import NOW, OPEN, document, fields, forge, key, node_id, resign
from tests.net.pools import signed
from tests.net.test_listings import ThreePoolsTestCase
from torpydo.crypto import Purpose
from torpydo.directory import NetDir
from torpydo.errors import ListingError
from torpydo.net.listings import ListingRefresh

NODES = range(1, 9)
LIAR = ("127.0.0.1", 3)
DAY = 86400


def times(start: int, **more: int) -> dict[str, int]:
    """The times of a listing that is signed at *start*."""
    return {
        "sequence": start * 1000,
        "valid_after": start,
        "fresh_until": start + 10,
        "valid_until": start + 10800,
        **more,
    }


def by_liar(values: object) -> bytes:
    """A body of any content, signed by the liar."""
    return resign(values, key("c"), Purpose.LISTING)


def forgeries(good: bytes) -> Iterator[bytes]:
    """Listings that no client may take, made of one that it would: it is later than the last."""
    later = [document(name) for name in (50, 51, 52)]
    for place in range(0, len(good), max(len(good) // 240, 1)):
        yield good[:place] + bytes([good[place] ^ 0x41]) + good[place + 1 :]
    for place in range(0, len(good), max(len(good) // 50, 1)):
        yield good[:place]
    for tail in (b"\0", b"x" * 100, good, good[64:]):
        yield good + tail
    # Other signatures: of other pools, of a node, for another purpose, of none.
    for name in ("a", "b", "stranger", 1, 2):
        yield signed(name, later, **times(NOW + 2))
        yield resign(fields(good), key(name), Purpose.LISTING)
    for purpose in (Purpose.DESCRIPTOR, Purpose.HEARTBEAT):
        yield resign(fields(good), key("c"), purpose)
    yield forge(good)
    # Old ones, future ones, and one with the sequence of the last, all in good order.
    for age in range(1, 41):
        yield signed("c", later, **times(NOW - age * 7, fresh_until=NOW + 5, valid_until=NOW + 9))
        yield signed("c", later, **times(NOW + 302 + age**4))
    yield signed("c", later, **times(NOW))
    for life in (10, 0, 86_000):
        yield signed("c", later, **times(NOW - 3 * DAY, valid_until=NOW - 3 * DAY + max(life, 10)))
    # Every field with what it must not be.
    values = fields(good)
    bad: list[object] = [None, -1, 0, 2**53 + 1, 2**63, 1.5, "x", b"x", [], {}, True, [[["x"]]], b"x" * 33]
    for place, value in ((place, value) for place in range(8) for value in bad):
        changed = [*values[:place], value, *values[place + 1 :]]
        if changed != values and not (place == 6 and value == []) and not (place == 7 and value == []):
            yield by_liar(changed)
    for order in ((5, 4), (4, 3), (5, 3)):
        swapped = list(values)
        swapped[order[0]], swapped[order[1]] = swapped[order[1]], swapped[order[0]]
        yield by_liar(swapped)
    yield by_liar([*values[:5], NOW + 2 * DAY, *values[6:]])
    for parameters in ([["b", 1], ["a", 1]], [["a", 1], ["a", 1]], [["A", 1]], [["a" * 65, 1]], [["a", 2**60]]):
        yield by_liar([*values[:6], parameters, values[7]])
    for entry in ([], [b"x"], ["x", 1, 0], [b"x", -1, 0], [b"x", 1, -1], [bytes(20_001), 1, 0], [[b"x", 1, 0]]):
        yield by_liar([*values[:7], [entry]])
    for junk in (b"", b"\x98", b"\x91" * 5000, b"\xdd\xff\xff\xff\xff", msgspec.msgpack.encode(values) + b"\xc0"):
        yield key("c").sign(Purpose.LISTING, junk) + junk


class LyingPoolTestCase(ThreePoolsTestCase):
    """Two honest pools and a liar, of whom a client has a good listing."""

    def setUp(self) -> None:
        super().setUp()
        self.honest = [document(name, policy=OPEN) for name in NODES]
        good = {pool: signed(pool, self.honest, **times(NOW, fresh_until=NOW + 3600)) for pool in "abc"}
        self.pools.answers = {("127.0.0.1", port): good[pool] for port, pool in enumerate("abc", 1)}
        self.next = signed("c", [document(name) for name in (60, 61, 62)], **times(NOW + 2))
        self.made, first = self.started(*self.urls)
        self.view = self.successResultOf(first)

    def tell(self, lie: bytes) -> None:
        """The liar answers with this."""
        self.pools.answers[LIAR] = lie
        self.successResultOf(self.made.refresh_now())

    def now_known(self) -> NetDir:
        assert self.made.netdir is not None
        return self.made.netdir


class ForgeryTests(LyingPoolTestCase):
    """What is not in order."""

    def test_five_hundred(self) -> None:
        """None is adopted, and the log names the liar once and nobody else."""
        listing = self.made.listing(self.urls[2])
        count = 0
        with capturedLogs() as lines:
            for count, lie in enumerate(forgeries(self.next), 1):
                self.tell(lie)
                self.assertIsInstance(self.made.last_error(self.urls[2]), ListingError, count)
                self.assertIs(self.made.listing(self.urls[2]), listing, count)
                self.assertIs(self.now_known(), self.view, count)
        self.assertGreaterEqual(count, 500)
        said = [str(formatEvent(line)) for line in lines]
        self.assertEqual(len(said), 1)
        self.assertTrue(said[0].startswith("pool 127.0.0.1:3: the listing of 127.0.0.1:3 was refused: "))

    def test_after_a_restart(self) -> None:
        """Nor is one that was too old before the restart."""
        self.successResultOf(self.made.stop())
        self.made = self.refresh(*self.urls)
        self.made.start()
        for age in range(1, 11):
            self.tell(signed("c", [], **times(NOW - age * 60, fresh_until=NOW + 5, valid_until=NOW + 9)))
            self.assertIsInstance(self.made.last_error(self.urls[2]), ListingError)
            listing = self.made.listing(self.urls[2])
            assert listing is not None
            self.assertEqual(len(listing.entries), len(NODES))


class LieTests(LyingPoolTestCase):
    """What is in order and not true."""

    def lie(self, documents: list[bytes], **more: Any) -> ListingRefresh:
        """The liar signs this, a second after its last listing."""
        self.tell(signed("c", documents, **times(NOW + 1), **more))
        self.assertIsNone(self.made.last_error(self.urls[2]))
        return self.made

    def assert_unharmed(self) -> None:
        """The nodes are the honest ones, with their own descriptors."""
        netdir = self.now_known()
        self.assertEqual(set(netdir.nodes), {node_id(name) for name in NODES})
        for name in NODES:
            descriptor = netdir.get(node_id(name))
            assert descriptor is not None
            self.assertEqual(descriptor.nickname, f"node{name}")
        self.assertEqual(netdir.path_share(3), 1)
        self.assertFalse(netdir.test_network)

    def test_nothing(self) -> None:
        """It hides everything."""
        self.lie([])
        self.assert_unharmed()

    def test_part(self) -> None:
        """It hides most, and is named."""
        made = self.lie(self.honest[:2])
        self.assert_unharmed()
        self.assertTrue([text for text in made.remarks if "127.0.0.1:3 does not list 6 of the 8" in text])

    def test_invented(self) -> None:
        """It adds nodes of its own, as many as it likes, and is named."""
        made = self.lie([*self.honest, *(document(name, policy=OPEN) for name in range(100, 400))])
        self.assert_unharmed()
        self.assertTrue([text for text in made.remarks if "127.0.0.1:3 lists 300 nodes" in text])

    def test_replaced(self) -> None:
        """It gives honest nodes other addresses, with signatures that are none and sequences that are higher."""
        self.lie([forge(document(name, sequence=NOW * 1000 + 9, nickname="evil")) for name in NODES])
        self.assert_unharmed()

    def test_doubled(self) -> None:
        """It lists nodes many times: one pool has one vote."""
        self.lie([document(99)] * 100 + self.honest * 3)
        self.assert_unharmed()

    def test_junk(self) -> None:
        """It lists what is no descriptor."""
        self.lie([b"", b"\0" * 20_000, b"\x91" * 5000, self.honest[0][:-1], *self.honest])
        self.assert_unharmed()

    def test_parameters(self) -> None:
        """It says that this is a test network, and measures its own nodes."""
        self.lie(self.honest, parameters={"test-network": True})
        self.assert_unharmed()

    def test_later_fields(self) -> None:
        """Fields of a later version are no lie."""
        values = fields(signed("c", self.honest, **times(NOW + 1)))
        self.tell(by_liar([*values, {"new": [1, 2, 3]}]))
        self.assertIsNone(self.made.last_error(self.urls[2]))
        self.assert_unharmed()
