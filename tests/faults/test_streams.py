"""Case 33: many streams that are opened and torn at once, again and again."""

from __future__ import annotations

from twisted.internet.endpoints import connectProtocol

from tests.faults.base import FaultTestCase
from tests.testing.recorders import Recorder, Servers
from torpydo.testing.connections import StreamSocket

STREAMS = 120
ROUNDS = 4


class Aborting(Recorder):
    """An application that gives up as soon as it is connected."""

    def connectionMade(self) -> None:
        self.tcp.write(b"never mind")
        self.tcp.abortConnection()


class Resetting(Recorder):
    """A destination that does."""

    def connectionMade(self) -> None:
        self.tcp.abortConnection()


class ManyTests(FaultTestCase):
    """On four circuits, so that no limit of a circuit is met."""

    def storm(self, kind: type[Recorder], server: type[Recorder], cancelled: bool = False) -> None:
        """Open all at once; each hears of one end; the next round finds everything as it was."""
        network = self.start(nodes=4)
        where = network.serve(Servers(server))
        for number in range(ROUNDS):
            outcomes: list[object] = []
            recorders = []
            for index in range(STREAMS):
                recorder = kind()
                opening = connectProtocol(network.client.endpoint(*where, isolation=index % 4), recorder)
                opening.addBoth(outcomes.append)
                recorders.append((recorder, opening))
            if cancelled:
                network.advance(0.01 * number)
                for _, opening in recorders:
                    opening.cancel()
            network.advance(10)
            self.assertEqual(len(outcomes), STREAMS, number)
            for recorder, _ in recorders:
                self.assertEqual(len(recorder.lost), int(recorder in outcomes), number)
            sockets = [one for one in network.internet.sockets.values() if isinstance(one, StreamSocket)]
            self.assertFalse([one for one in sockets if one.remote is not None and one.remote[0].startswith("10.0.3.")])
        self.oracle.check()

    def test_torn_by_the_application(self) -> None:
        """As soon as each is open."""
        self.storm(Aborting, Recorder)

    def test_torn_by_the_destination(self) -> None:
        """As soon as each is accepted."""
        self.storm(Recorder, Resetting)

    def test_torn_by_both(self) -> None:
        """At once."""
        self.storm(Aborting, Resetting)

    def test_given_up(self) -> None:
        """Before they are open."""
        self.storm(Recorder, Recorder, cancelled=True)


