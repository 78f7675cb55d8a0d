"""Cases 24 and 25 on the way to a pool: it cannot be reached, or what comes from it is not what it sent.

Pools that are down or lie, one of three or all of them, and a pool that tells two clients different things (case 26)
are in tests/network/test_pools, tests/net/test_lies and tests/net/test_listings.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from tests.faults.base import DATA, FaultTestCase, stream
from torpydo.errors import PoolUnreachable
from torpydo.testing import (
    BlackHole,
    Delay,
    Drop,
    Duplicate,
    FaultProxy,
    Flip,
    Freeze,
    HalfClose,
    Insert,
    Rate,
    Reset,
    Split,
    Truncate,
)
from torpydo.testing.faults import Fault

LISTING = 2000
"""About how many bytes an answer with a listing has here."""


class PoolWayTests(FaultTestCase):
    """Everybody's way to the only pool goes through a proxy."""

    def begin(self) -> FaultProxy:
        """A network that works, with a stream that is open."""
        proxy = self.start_behind_proxies()["pool"]
        self.stream = self.pair()
        return proxy

    def disturbed(self, proxy: FaultProxy, faults: Sequence[Fault], seconds: float = 60.0) -> None:
        """For a while every answer of the pool has these faults: nobody minds."""
        before = proxy.done.total()
        proxy.set(to_source=faults)
        self.network.advance(seconds)
        self.assertGreater(proxy.done.total(), before, faults)
        self.oracle.transfer(self.network.clients[0], faults)
        self.assertEqual(len(self.network.client.status().circuits) > 0, True)

    def assert_unharmed(self, proxy: FaultProxy) -> None:
        """The stream has lived through it, and the pool is asked again; afterwards nothing is left."""
        proxy.heal()
        client, server = self.stream
        stream(client).write(DATA)
        self.network.advance(60)
        self.assertEqual(bytes(server.data), DATA)
        self.assertIsNone(self.network.client.status().pools[0].error)
        self.assertEqual(self.network.listed(), {node.node_id for node in self.network.nodes})
        stream(client).loseConnection()
        self.oracle.check()

    def test_changed(self) -> None:
        """Bytes that are flipped, left out, invented or doubled, in the head and in the body."""
        proxy, random = self.begin(), Random(3)
        for _ in range(6):
            offset = random.randrange(LISTING)
            for fault in (Flip(offset, random.randrange(8)), Drop(offset), Insert(offset, b"\0"), Duplicate(offset)):
                proxy.set(to_source=[fault], first=proxy.accepted + 1)
                self.network.advance(3)
        self.assertGreater(proxy.done[Flip] + proxy.done[Drop] + proxy.done[Insert] + proxy.done[Duplicate], 20)
        self.assert_unharmed(proxy)

    def test_cut(self) -> None:
        """Answers that end too early, in each way that there is."""
        proxy = self.begin()
        for fault in (Truncate(300), HalfClose(300), Reset(300), Reset()):
            self.disturbed(proxy, [fault], 20.0)
        self.assert_unharmed(proxy)

    def test_silent(self) -> None:
        """Answers that never come, or never end."""
        proxy = self.begin()
        for faults in ([BlackHole()], [BlackHole(300)], [Freeze(10)]):
            self.disturbed(proxy, faults, 70.0)
        self.assert_unharmed(proxy)

    def test_slow(self) -> None:
        """Answers that take their time are answers; those that take too long are none."""
        proxy = self.begin()
        self.disturbed(proxy, [Delay(3.0), Split(10)])
        self.assertIsNone(self.network.client.status().pools[0].error)
        self.disturbed(proxy, [Rate(5)], 120.0)
        self.assertIsNotNone(self.network.client.status().pools[0].error)
        self.assert_unharmed(proxy)

    def test_refused(self) -> None:
        """A pool that is down: at the start of a client it is said which, later nobody notices."""
        proxy = self.begin()
        network = self.network
        network.success(proxy.refuse())
        network.advance(30)
        self.oracle.transfer(network.clients[0])
        with self.assertRaises(PoolUnreachable) as caught:
            network.success(network.add_client())
        self.assertIn("10.0.0.1", str(caught.exception))
        network.clients.pop()
        network.success(proxy.start())
        self.assert_unharmed(proxy)
