"""Case 20: clocks that are wrong, or are set while the program runs."""

from __future__ import annotations

from typing import Any

from tests.faults.base import DATA, FaultTestCase, stream
from torpydo.errors import ListingError
from torpydo.testing.members import NODE_PORT, ClientMember, Member

MINUTE = 60.0
HOUR = 60 * MINUTE
DAY = 24 * HOUR


class ClientClockTests(FaultTestCase):
    """A client whose computer has another time."""

    def begin(self, skew: float) -> Any:
        """A client that starts with this clock; gives what became of it."""
        network = self.network
        number = len(network.clients) + 1
        member = ClientMember(f"client{number}", f"10.0.2.{number}", network._world, skew=skew)
        network.clients.append(member)
        outcome: list[Any] = []
        member.connect((network.pool.url,), hops=3).addBoth(outcome.append)
        network.advance(60)
        return getattr(outcome[0], "value", outcome[0])

    def test_far_off(self) -> None:
        """It does not begin, says which way the clock is wrong and by how much, and talks to no node (row N8)."""
        network = self.start()
        nodes = {node.ip for node in network.nodes}
        for skew, words in (
            (-DAY - HOUR, "25.0 h in the future"),
            (DAY + HOUR, "25 h"),
            (DAY + 6 * HOUR, "expired"),
            (2 * HOUR, "2 h 0 min ahead"),
            (-2 * HOUR, "2.0 h in the future"),
        ):
            error = self.begin(skew)
            self.assertIsInstance(error, ListingError, skew)
            self.assertIn(words, str(error))
            self.assertIn("clock", str(error))
            member = network.clients.pop()
            talked = {one.ends[1][0] for one in network.internet.connections_of(member.ip)}
            self.assertFalse(talked & nodes, skew)
            network.kill(member)
        self.oracle.check()

    def test_a_little_off(self) -> None:
        """Some minutes are nobody's fault, and most of an hour ahead is said; it works."""
        network = self.start()
        for skew in (-200.0, 200.0, 50 * MINUTE):
            client = self.begin(skew)
            self.assertTrue(client.status().ready, client)
            self.oracle.transfer(network.clients[-1])
        self.assertApproximates(client.status().skew, 50 * MINUTE, 60)
        self.oracle.check()


class StepTests(FaultTestCase):
    """Clocks that are set while a stream is open. Timers do not go by them, so nothing that is open is late or ends.

    A process of the simulation begins with a reactor that goes by its wall clock, as Twisted's do, and then does what
    the main programs do about that.
    """

    def links(self, member: Member) -> set[Any]:
        """The open links of a process."""
        connections = self.network.internet.connections_of(member.ip)
        return {one for one in connections if one.ends[1][1] == NODE_PORT}

    def set_clock(self, member: Member, skew: float) -> None:
        """While nothing is sent for some time, so that the next thing that happens to a link may be a timer."""
        self.network.advance(5)
        before = self.links(member)
        member.skew = skew
        self.network.advance(35)
        self.assertEqual(before - self.links(member), set(), (member.name, skew))

    def step(self, member: Member, skew: float, *, works: bool = True) -> None:
        """Set the clock of one process, and some heartbeats later set it right again.

        :param works: whether new circuits can be built in between
        """
        network = self.network
        client, server = self.fresh_pair(isolation=(member.name, skew))
        stream(client).write(DATA[:50_000])
        self.set_clock(member, skew)
        for _ in range(2):
            before = len(server.data)
            stream(client).write(DATA[:50_000])
            network.advance(20)
            self.assertEqual(len(server.data) - before, 50_000, (member.name, skew))
        if works:
            self.oracle.transfer(network.clients[0], (member.name, skew))
        else:
            self.assertIn("set the clock", str(network.client.status().reason))
        self.set_clock(member, 0.0)
        network.advance(20)
        self.oracle.transfer(network.clients[0], (member.name, skew))
        self.assertEqual((client.lost, server.lost), ([], []), (member.name, skew))
        stream(client).loseConnection()
        network.advance(1)

    def test_leap(self) -> None:
        """A second, either way, anywhere."""
        network = self.start(nodes=3)
        for member, skew in ((network.clients[0], 1.0), (network.nodes[0], -1.0), (network.pool, 1.0)):
            self.step(member, skew)
        self.oracle.check()

    def test_client(self) -> None:
        """Ahead it goes on; behind, its listing would be from the future: it builds nothing and says what to do."""
        network = self.start()
        self.step(network.clients[0], 50 * MINUTE)
        for skew in (-50 * MINUTE, HOUR + MINUTE, -DAY - HOUR):
            self.step(network.clients[0], skew, works=False)
        self.oracle.check()

    def test_node(self) -> None:
        """It is not listed while its clock is wrong, and is again as soon as that is right; its streams go on."""
        network = self.start()
        for skew in (50 * MINUTE, -50 * MINUTE, -DAY - HOUR):
            self.step(network.nodes[0], skew)
            self.assertEqual(len(network.listed()), 5, skew)
        self.oracle.check()

    def test_pool_ahead(self) -> None:
        """What it lists is from the future and is not taken: everybody goes on with what is known."""
        network = self.start()
        self.step(network.pool, 50 * MINUTE)
        self.assertIn("future", str(network.client.status().pools[0].error))
        self.oracle.check()
