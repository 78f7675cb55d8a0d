"""What waits in a node is counted exactly: the circuits' bytes are the node's bytes, and none are left (row F9)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.network.base import NetworkTestCase, stream
from tests.testing.recorders import Recorder, Servers
from torpydo.testing.ways import Conditions

KILOBYTE = 1024
LATENCY = 0.003
RATE = 1_000_000
"""Bytes a second of what a node sends: slow enough for something to wait."""

IN_FLIGHT = 32 * 1024
"""Bytes of a connection that the kernels hold: little, so that the rest waits in the nodes."""

AMOUNTS = st.integers(1, 2048 * KILOBYTE)
PLACES = st.integers(0, 7)
MOVES = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["up", "down", "pause", "resume", "stop", "go", "abort", "close"]), PLACES, AMOUNTS),
        st.tuples(st.sampled_from(["up", "down"]), PLACES, AMOUNTS),
        st.tuples(st.just("wait"), PLACES, st.integers(1, 1000)),
    ),
    min_size=20,
    max_size=40,
)


class AccountingTests(NetworkTestCase):
    """Eight streams, each on a circuit of its own, through nodes with slow lines."""

    def setUp(self) -> None:
        """The lines are slow from the first byte of a stream on."""
        self.network = self.start(nodes=3, latency=LATENCY)
        self.most = 0

    def check(self) -> int:
        """What waits in all nodes."""
        total = self.waiting(self.network)
        self.most = max(self.most, total)
        return total

    def moments(self, seconds: float) -> Iterator[None]:
        """Short pieces of this time."""
        for _ in range(int(seconds / LATENCY) + 1):
            self.network.advance(LATENCY)
            yield

    def move(self, kind: str, amount: int, client: Recorder, server: Recorder) -> None:
        """One thing that an application or a destination does."""
        if kind == "up" and not client.lost:
            stream(client).write(bytes(amount))
        elif kind == "down" and not server.lost:
            server.tcp.write(bytes(amount))
        elif kind in ("pause", "resume") and not client.lost:
            (stream(client).pauseProducing if kind == "pause" else stream(client).resumeProducing)()
        elif kind in ("stop", "go") and not server.lost:
            transport: Any = server.tcp
            (transport.pauseProducing if kind == "stop" else transport.resumeProducing)()
        elif kind == "abort" and not client.lost:
            stream(client).abortConnection()
        elif kind == "close" and not client.lost:
            stream(client).loseConnection()

    def test_any_traffic(self) -> None:
        """Whatever applications and destinations do: at every moment both sums are the same, and 0 at the end."""

        @settings(max_examples=20, deadline=None, phases=[Phase.generate], derandomize=True)
        @given(MOVES)
        def play(moves: list[tuple[str, int, int]]) -> None:
            servers = Servers(Recorder)
            where = self.network.serve(servers)
            clients = [self.connect(where, isolation=(where, number)) for number in range(8)]
            for node in self.network.nodes:
                self.network.internet.ways.set(
                    Conditions(latency=LATENCY, rate=RATE, in_flight=IN_FLIGHT), source=node.ip
                )
            for kind, place, amount in moves:
                if kind == "wait":
                    for _ in self.moments(amount / 1000):
                        self.check()
                else:
                    self.move(kind, amount, clients[place], servers.built[place])
                    self.check()
            for node in self.network.nodes:
                self.network.internet.ways.set(Conditions(latency=LATENCY), source=node.ip)
            for client in clients:
                if not client.lost:
                    stream(client).abortConnection()
            for _ in self.moments(3):
                self.check()
            self.assertEqual(self.check(), 0)

        play()
        self.assertGreater(self.most, 256 * KILOBYTE)
