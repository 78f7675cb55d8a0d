"""What is over is gone: nothing of a stream or a circuit waits for the cycle collector.

In a process that has little to do the collector comes every ten minutes. Until then keys stay in memory, and so do
the bytes that waited: whoever fills a node's memory and goes away could fill it again.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory

from tests.network.base import NetworkTestCase
from tests.soak.destination import Served
from tests.soak.dialing import Door, HTTPDial, SOCKSDial
from tests.soak.outcomes import Ending, Outcome
from tests.soak.pacing import Pacer
from tests.soak.sending import Echo, Upload
from tests.soak.transfers import Download, Transfer
from torpydo.apps.httpproxy import HTTPProxyFactory
from torpydo.apps.socks import SocksFactory

SOCKS, HTTP = 1080, 8080
ROOMS = ("torpydo.client.", "torpydo.apps.", "torpydo.node.", "torpydo.tpdp.")
HARMLESS = {"torpydo.node.exitstream.OneStream"}
"""Twisted's own cycle of an outgoing connection has it, and it knows nothing."""


class GarbageTests(NetworkTestCase):
    """Transfers through both proxies; then the circuits come to their end."""

    def setUp(self) -> None:
        super().setUp()
        # Something may let go of the last test's network in the middle of this one. What is kept here is no garbage.
        self.earlier = [one for one in gc.get_objects() if f"{type(one).__module__}.".startswith(ROOMS)]
        self.network = self.start()
        factory = Factory.forProtocol(Served)
        factory.noisy = False
        self.where = self.network.serve(factory)
        member = self.network.clients[0]
        self.host, self.reactor = member.ip, member.reactor
        for port, kind in ((SOCKS, SocksFactory), (HTTP, HTTPProxyFactory)):
            self.reactor.listenTCP(port, kind(self.network.client, self.reactor))

    def begin(self, kind: Callable[..., Transfer], user: str, *, http: bool, **options: object) -> Transfer:
        """A transfer on a circuit of its own."""
        dial = (HTTPDial if http else SOCKSDial)(*self.where, user)
        door = Door(HTTP if http else SOCKS, dial)
        transfer = kind(door, Pacer(1e12, self.reactor.seconds), self.reactor, seed=1, **options)
        endpoint = TCP4ClientEndpoint(self.reactor, self.host, door.port)
        connected: Deferred[Transfer] = connectProtocol(endpoint, transfer)
        return self.network.success(connected)

    def run_one(self, kind: Callable[..., Transfer], user: str, *, http: bool, **options: object) -> None:
        """The same, to its end."""
        transfer = self.begin(kind, user, http=http, **options)
        outcome: Outcome = self.network.success(transfer.done)
        self.assertIs(outcome.ending, Ending.OK, outcome.why)

    def garbage(self, rooms: tuple[str, ...] = ROOMS) -> dict[str, int]:
        """The kinds of objects of *rooms* that only the collector can free, and how many there are."""
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            gc.collect()
            kinds = Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.garbage)
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
        return {kind: count for kind, count in kinds.items() if kind.startswith(rooms) and kind not in HARMLESS}

    def without_collector(self) -> None:
        """From now on nothing is collected."""
        self.addCleanup(gc.enable)
        gc.collect()
        gc.disable()

    def test_nothing_waits_for_the_collector(self) -> None:
        """However a stream ends: in order, reset by either side, half-closed."""
        ways: list[tuple[Callable[..., Transfer], dict[str, object]]] = [
            (Download, {"size": 1000}),
            (Download, {"size": 100_000, "abort_at": 10}),
            (Download, {"size": 1000, "cut": True}),
            (Download, {"size": 1000, "half_close": True}),
            (Upload, {"size": 100_000}),
            (Echo, {"size": 100_000}),
        ]
        self.without_collector()
        for number, (kind, options) in enumerate(ways):
            for http in (False, True):
                self.run_one(kind, f"user{number}", http=http, **options)
        self.network.advance(700)
        self.assertEqual(self.garbage(), {})

    def test_a_client_that_goes_away(self) -> None:
        """The nodes keep nothing of what it has not read."""
        self.without_collector()
        transfer = self.begin(Download, "user", http=False, size=10_000_000, slow=1)
        self.network.advance(5)
        self.assertGreater(sum(node.status().streams for node in self.network.nodes), 0)
        self.network.kill(self.network.clients[0])
        self.network.advance(5)
        self.assertEqual(sum(node.status().streams for node in self.network.nodes), 0)
        del transfer
        self.assertEqual(self.garbage(("torpydo.node.", "torpydo.tpdp.transit.")), {})
