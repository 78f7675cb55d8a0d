"""Tests for torpydo.testing.ways: latency, rate, cuts, loss."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from tests.testing.recorders import Recorder, pair
from torpydo.testing import Conditions, SimulatedReactor
from torpydo.testing.ways import GIVE_UP


class Timed(Recorder):
    """Also writes down when what came."""

    clock: SimulatedReactor

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        self.times = [*getattr(self, "times", []), (round(self.clock.seconds(), 6), len(data))]


class WaysTestCase(SynchronousTestCase):
    """A connected pair, made before the weather changes."""

    def setUp(self) -> None:
        self.reactor = SimulatedReactor(seed=1)
        self.near = self.reactor.host("10.0.0.1")
        self.far = self.reactor.host("10.0.0.2")
        self.ways = self.reactor.internet.ways

        class Clocked(Timed):
            clock = self.reactor

        self.kind = Clocked
        client, server = pair(self.near, self.far, Clocked)
        assert isinstance(server, Timed)
        self.client, self.server = client, server


class LatencyTests(WaysTestCase):
    """Bytes take time."""

    def test_latency(self) -> None:
        """Bytes arrive after the latency, not before."""
        self.ways.set(Conditions(latency=0.25))
        self.client.tcp.write(b"x")
        self.reactor.advance(0.2)
        self.assertEqual(self.server.data, b"")
        self.reactor.advance(0.05)
        self.assertEqual(self.server.data, b"x")

    def test_each_direction_has_its_own(self) -> None:
        """A rule for one direction leaves the other one alone."""
        self.ways.set(Conditions(latency=0.25), "10.0.0.1", "10.0.0.2")
        self.server.tcp.write(b"fast")
        self.client.tcp.write(b"slow")
        self.reactor.flush()
        self.assertEqual((self.client.data, self.server.data), (b"fast", b""))

    def test_the_most_special_rule_counts(self) -> None:
        """A rule for a pair goes before one for the source, that before one for the target."""
        self.ways.set(Conditions(latency=1))
        self.ways.set(Conditions(latency=2), None, "10.0.0.2")
        self.assertEqual(self.ways.rule_for("10.0.0.1", "10.0.0.2")[0].latency, 2)
        self.ways.set(Conditions(latency=3), "10.0.0.1")
        self.assertEqual(self.ways.rule_for("10.0.0.1", "10.0.0.2")[0].latency, 3)
        self.ways.set_between("10.0.0.1", "10.0.0.2", Conditions(latency=4))
        self.assertEqual(self.ways.rule_for("10.0.0.1", "10.0.0.2")[0].latency, 4)
        self.assertEqual(self.ways.rule_for("10.0.0.2", "10.0.0.1")[0].latency, 4)
        self.assertEqual(self.ways.rule_for("10.0.0.2", "10.0.0.3")[0].latency, 1)

    @given(st.lists(st.tuples(st.floats(0, 2), st.floats(0, 1)), min_size=1, max_size=10))
    def test_never_overtaken(self, weather: list[tuple[float, float]]) -> None:
        """However latency and jitter change, bytes arrive in the order in which they were sent."""
        client, server = pair(self.near, self.far)
        sent = bytearray()
        for number, (latency, jitter) in enumerate(weather):
            self.ways.set(Conditions(latency=latency, jitter=jitter))
            client.tcp.write(bytes([number]))
            sent.append(number)
            self.reactor.advance(0.1)
        self.ways.set(Conditions())
        self.reactor.advance(10)
        self.assertEqual(server.data, sent)

    def test_the_end_does_not_overtake(self) -> None:
        """Nor does the end of a connection overtake its bytes when the way becomes faster."""
        self.ways.set(Conditions(latency=5))
        self.client.tcp.write(b"x" * 1000)
        self.reactor.advance(1)
        self.ways.set(Conditions())
        self.client.tcp.loseConnection()
        self.reactor.advance(10)
        self.assertEqual(len(self.server.data), 1000)


class RateTests(WaysTestCase):
    """Lines have a capacity."""

    def test_rate(self) -> None:
        """A rate bounds how much arrives in a second."""
        self.ways.set(Conditions(rate=100_000))
        self.client.tcp.write(bytes(1_000_000))
        self.reactor.advance(5)
        self.assertApproximates(len(self.server.data), 500_000, 20_000)
        self.reactor.advance(5.2)
        self.assertEqual(len(self.server.data), 1_000_000)

    def test_shared(self) -> None:
        """The rate of a host is shared by its connections, about evenly."""
        other, other_server = pair(self.near, self.far)
        self.ways.set(Conditions(rate=100_000), "10.0.0.1")
        for each in (self.client, other):
            each.tcp.write(bytes(1_000_000))
        self.reactor.advance(10)
        self.assertApproximates(len(self.server.data), 500_000, 150_000)
        self.assertApproximates(len(self.server.data) + len(other_server.data), 1_000_000, 40_000)

    def test_default_is_not_shared(self) -> None:
        """The default rate belongs to each connection alone."""
        other, other_server = pair(self.near, self.far)
        self.ways.set(Conditions(rate=100_000))
        for each in (self.client, other):
            each.tcp.write(bytes(1_000_000))
        self.reactor.advance(10.2)
        self.assertEqual((len(self.server.data), len(other_server.data)), (1_000_000, 1_000_000))

    def test_rate_and_latency(self) -> None:
        """A small message takes the latency and its own time on the line."""
        self.ways.set(Conditions(latency=1, rate=1000))
        self.client.tcp.write(bytes(100))
        self.reactor.advance(5)
        self.assertEqual(self.server.times, [(1.1, 100)])


class CutTests(WaysTestCase):
    """Ways can be cut; TCP loses nothing."""

    def test_cut_and_healed(self) -> None:
        """What was sent into a cut arrives when it is healed, in order."""
        self.ways.partition(["10.0.0.1"], ["10.0.0.2"])
        self.client.tcp.write(b"one ")
        self.reactor.advance(30)
        self.client.tcp.write(b"two")
        self.assertEqual((self.server.data, self.client.lost, self.server.lost), (b"", [], []))
        self.ways.heal()
        self.reactor.advance(1)
        self.assertEqual(self.server.data, b"one two")

    def test_cut_while_under_way(self) -> None:
        """What was under way when the cut came waits as well."""
        self.ways.set(Conditions(latency=1))
        self.client.tcp.write(b"x")
        self.reactor.advance(0.5)
        self.ways.cut("10.0.0.1", None)
        self.reactor.advance(10)
        self.assertEqual(self.server.data, b"")
        self.ways.heal("10.0.0.1")
        self.reactor.advance(1)
        self.assertEqual(self.server.data, b"x")

    def test_others_are_not_cut(self) -> None:
        """A partition leaves third hosts alone."""
        third = self.reactor.host("10.0.0.3")
        self.ways.partition(["10.0.0.1"], ["10.0.0.2"])
        client, server = pair(third, self.far)
        client.tcp.write(b"hello")
        self.reactor.flush()
        self.assertEqual(server.data, b"hello")

    def test_heal_one(self) -> None:
        """Healing one address leaves the cuts of others."""
        self.ways.isolate("10.0.0.1", "10.0.0.3")
        self.ways.heal("10.0.0.1")
        self.assertFalse(self.ways.is_cut("10.0.0.1", "10.0.0.2"))
        self.assertTrue(self.ways.is_cut("10.0.0.3", "10.0.0.2"))

    def test_gives_up(self) -> None:
        """After a quarter of an hour the sender's connection fails; the silent side never learns it."""
        self.ways.isolate("10.0.0.2")
        self.client.tcp.write(b"x")
        self.reactor.advance(GIVE_UP - 1)
        self.assertEqual(self.client.lost, [])
        self.reactor.advance(2)
        self.assertEqual((self.client.lost, self.server.lost), ([ConnectionLost], []))

    def test_gives_up_only_when_still_cut(self) -> None:
        """A cut that was healed in between does not count."""
        self.ways.isolate("10.0.0.2")
        self.client.tcp.write(b"x")
        self.reactor.advance(GIVE_UP - 10)
        self.ways.heal()
        self.reactor.advance(5)
        self.ways.isolate("10.0.0.2")
        self.client.tcp.write(b"y")
        self.reactor.advance(100)
        self.assertEqual(self.client.lost, [])


class LossTests(WaysTestCase):
    """Loss means that a connection is reset."""

    def test_certain_loss(self) -> None:
        """With certain loss the first write tears the connection, at both ends, and delivers nothing."""
        self.ways.set(Conditions(loss=1.0))
        self.client.tcp.write(b"x")
        self.reactor.flush()
        self.assertEqual(self.server.data, b"")
        self.assertEqual((self.client.lost, self.server.lost), ([ConnectionLost], [ConnectionLost]))

    def test_repeats_with_the_seed(self) -> None:
        """The same seed loses at the same place."""

        def run(seed: int) -> int:
            reactor = SimulatedReactor(seed)
            client, server = pair(reactor, reactor)
            reactor.internet.ways.set(Conditions(loss=0.05))
            while not client.lost:
                client.tcp.write(b"x")
                reactor.flush()
            return len(server.data)

        self.assertEqual(run(3), run(3))
        self.assertGreater(len({run(seed) for seed in range(1, 6)}), 1)


class TapTests(WaysTestCase):
    """What is sent can be watched and changed."""

    def test_changed(self) -> None:
        """A tap sees who sends what to whom, and decides what arrives."""
        seen = []

        def tap(source: str, target: str, data: bytes) -> bytes:
            seen.append((source, target, data))
            return data.upper()

        self.reactor.internet.tap = tap
        self.client.tcp.write(b"flip")
        self.reactor.flush()
        self.assertEqual(seen, [("10.0.0.1", "10.0.0.2", b"flip")])
        self.assertEqual(self.server.data, b"FLIP")

    def test_swallowed(self) -> None:
        """A tap can swallow bytes without wedging the connection."""
        self.reactor.internet.tap = lambda source, target, data: b""
        self.client.tcp.write(bytes(1_000_000))
        self.reactor.flush()
        self.reactor.internet.tap = None
        self.client.tcp.write(b"x")
        self.reactor.flush()
        self.assertEqual(self.server.data, b"x")
