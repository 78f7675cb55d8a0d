"""Tests of torpydo.node.heartbeat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import NOW, document, key, url
from tests.node.pools import Pools
from torpydo.crypto import PoolId
from torpydo.directory import PoolURL, parse_heartbeat
from torpydo.node.heartbeat import LAST_RETRY, Heartbeats

PORT = 8080


def unkeyed(port: int = PORT) -> PoolURL:
    """A loopback pool whose key is not known yet."""
    return PoolURL("127.0.0.1", port, None)


def at(port: int, pool: object = "pool") -> PoolURL:
    """A pool on another port."""
    return PoolURL("127.0.0.1", port, key(pool).pool_id)


class HeartbeatsTestCase(SynchronousTestCase):
    """Heartbeats with everything around them under control."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.pools = Pools()
        self.document: bytes | None = document("me")
        self.pinned: dict[PoolURL, PoolId] = {}
        self.heartbeats: Heartbeats | None = None

    def start(self, *urls: PoolURL) -> Heartbeats:
        """Begin, with one pool unless *urls* are given."""
        self.heartbeats = Heartbeats(
            self.clock,
            urls or (url(),),
            key("me"),
            document=lambda: self.document,
            pool_id=self.pinned.get,
            wall_clock=self.pools.node_clock,
            randbelow=lambda below: below - 1,
            fetch=self.pools.fetch,
        )
        self.heartbeats.start()
        self.addCleanup(self.heartbeats.stop)
        return self.heartbeats

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self.pools.now += seconds
        self.clock.advance(seconds)

    def lines(self, logged: Sequence[Any]) -> list[str]:
        """What was written to the log, as people read it."""
        return [f"{event['log_level'].name} {formatEvent(event)}" for event in logged]


class PaceTests(HeartbeatsTestCase):
    """When heartbeats go out."""

    def test_first_at_once(self) -> None:
        """The first one goes out at the start, signed for that pool."""
        self.start()
        beat = self.pools.last()
        self.assertEqual((beat.document, beat.time_ms), (self.document, NOW * 1000))

    def test_paced_by_the_pool(self) -> None:
        """The next goes out when the pool wants it."""
        self.pools.delay = 40.0
        self.start()
        self.advance(39.9)
        self.assertEqual(len(self.pools.beats), 1)
        self.advance(0.1)
        self.assertEqual(len(self.pools.beats), 2)

    def test_delay_is_clamped(self) -> None:
        """A pool can neither silence a node for a day nor make it send without end."""
        self.pools.body = (10**9).to_bytes(4, "big") + (NOW * 1000).to_bytes(8, "big")
        self.start()
        self.advance(300)
        self.assertEqual(len(self.pools.beats), 2)
        self.pools.body = bytes(4) + (NOW * 1000).to_bytes(8, "big")
        self.advance(300)
        self.advance(0.9)
        self.assertEqual(len(self.pools.beats), 3)

    def test_times_rise(self) -> None:
        """A clock that goes back does not make a heartbeat look replayed."""
        heartbeats = self.start()
        self.pools.skew = -100.0
        heartbeats.changed()
        self.assertEqual(self.pools.last().time_ms, NOW * 1000 + 1)

    def test_change_is_told_at_once(self) -> None:
        """A new descriptor does not wait for the next heartbeat, and the pace begins anew."""
        heartbeats = self.start()
        self.advance(5)
        self.document = document("me", nickname="other")
        heartbeats.changed()
        self.assertEqual(self.pools.last().document, self.document)
        self.advance(14)
        self.assertEqual(len(self.pools.beats), 2)

    def test_change_while_asking(self) -> None:
        """A change while a heartbeat is on its way is told as soon as that is answered, not before."""
        self.pools.silent = True
        heartbeats = self.start()
        self.document = document("me", nickname="other")
        heartbeats.changed()
        self.assertEqual(len(self.pools.beats), 1)
        self.pools.silent = False
        answer = self.successResultOf(self.pools.fetch(None, "127.0.0.1", 1, "/v1/heartbeat", method=b"POST", body=b""))
        self.pools.waiting[0].callback(answer)
        self.advance(0)
        self.assertEqual(self.pools.last().document, self.document)

    def test_without_descriptor(self) -> None:
        """Nothing goes out before the node knows its address."""
        self.document, document_later = None, self.document
        heartbeats = self.start()
        self.advance(100)
        self.assertEqual(self.pools.beats, [])
        self.document = document_later
        heartbeats.changed()
        self.assertEqual(len(self.pools.beats), 1)

    def test_every_pool(self) -> None:
        """Each pool gets its own, signed for its key; the same pool named twice gets one."""
        self.start(at(1), at(2, "second"), at(1))
        self.assertEqual([port for port, _ in self.pools.beats], [1, 2])
        parse_heartbeat(self.pools.beats[1][1], key("second").pool_id, self.pools.now)

    def test_key_that_comes_later(self) -> None:
        """A pool without key in its URL gets heartbeats as soon as the key is known."""
        self.start(unkeyed(), at(2))
        self.advance(5)
        self.assertEqual([port for port, _ in self.pools.beats], [2])
        self.pinned[unkeyed()] = key("pool").pool_id
        self.advance(1)
        self.assertEqual([port for port, _ in self.pools.beats], [2, PORT])

    def test_stop(self) -> None:
        """After a stop nothing goes out and nothing waits, not even a request."""
        self.pools.silent = True
        heartbeats = self.start(at(1), at(2))
        self.pools.silent = False
        heartbeats.stop()
        self.assertEqual(self.pools.cancelled, 2)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        heartbeats.changed()
        self.assertEqual(len(self.pools.beats), 2)


class TroubleTests(HeartbeatsTestCase):
    """Pools that are down, refuse, or talk nonsense."""

    def test_backs_off(self) -> None:
        """The pauses double, up to the longest."""
        self.pools.down.add(PORT)
        self.start()
        pauses = []
        for _ in range(10):
            (call,) = self.clock.getDelayedCalls()
            pauses.append(call.getTime() - self.clock.seconds())
            self.advance(pauses[-1])
        self.assertEqual(pauses[:4], [1.0, 2.0, 4.0, 8.0])
        self.assertEqual(pauses[-1], LAST_RETRY)

    def test_said_once(self) -> None:
        """That a pool is down is one line, and that it is back another."""
        self.pools.down.add(PORT)
        with capturedLogs() as logged:
            self.start()
            for _ in range(5):
                self.advance(LAST_RETRY)
            self.pools.down.clear()
            self.advance(LAST_RETRY)
            self.advance(LAST_RETRY)
        self.assertEqual(
            self.lines(logged),
            [
                "warn pool 127.0.0.1:8080 does not list this node: the pool at 127.0.0.1:8080 cannot be asked",
                "info pool 127.0.0.1:8080 lists this node",
            ],
        )

    def test_recovers_the_pace(self) -> None:
        """After a failure that is over, the next failure begins with short pauses again."""
        self.pools.down.add(PORT)
        self.start()
        for _ in range(5):
            self.advance(LAST_RETRY)
        self.pools.down.clear()
        self.advance(LAST_RETRY)
        self.pools.down.add(PORT)
        self.advance(15)
        (call,) = self.clock.getDelayedCalls()
        self.assertEqual(call.getTime() - self.clock.seconds(), 1.0)

    def test_one_pool_down(self) -> None:
        """It costs the others nothing."""
        self.pools.down.add(1)
        self.start(at(1), at(2))
        self.advance(15)
        self.assertEqual([port for port, _ in self.pools.beats], [2, 2])

    def test_refusals(self) -> None:
        """Each refusal is said in our own words; what the pool writes is never repeated."""
        said = {403: "private", 409: "same key", 422: "--advertise", 428: "work", 429: "often", 500: "500"}
        for status, words in said.items():
            self.pools.status, self.pools.body = status, b"call 555-1234 \x1b[31m"
            with capturedLogs() as logged:
                self.start().stop()
            (line,) = self.lines(logged)
            self.assertIn(words, line)
            self.assertNotIn("555", line)

    def test_another_refusal_is_said(self) -> None:
        """When the reason changes, that is news."""
        self.pools.status = 422
        with capturedLogs() as logged:
            self.start()
            self.pools.status = 409
            self.advance(LAST_RETRY)
            self.advance(LAST_RETRY)
        self.assertEqual(len(logged), 2)

    def test_no_pool_at_all(self) -> None:
        """A web server that answers 200 with a page is not taken for a pool."""
        self.pools.body = b"<html>hello</html>"
        with capturedLogs() as logged:
            self.start()
        self.assertIn("may not be a torpydo pool", self.lines(logged)[0])

    def test_skew_is_named(self) -> None:
        """A pool that still accepts shows that the clock is off: said once."""
        self.pools.skew = 200.0
        with capturedLogs() as logged:
            self.start()
            self.advance(100)
        warnings = [line for line in self.lines(logged) if line.startswith("warn")]
        self.assertEqual(len(warnings), 1)
        self.assertIn("200 s ahead of", warnings[0])

    def test_skew_of_a_refusal_is_named(self) -> None:
        """When the clock is so wrong that the pool refuses, the line says by how much."""
        self.pools.skew, self.pools.status = -86400.0, 400
        with capturedLogs() as logged:
            self.start()
        self.assertIn("86400 s behind", self.lines(logged)[0])

    def test_clock_that_is_set_right(self) -> None:
        """Times of heartbeats that were refused do not hold up those of the right time."""
        heartbeats = self.start()
        self.pools.skew, self.pools.status = 3000.0, 400
        heartbeats.changed()
        heartbeats.changed()
        self.pools.skew, self.pools.status = 0.0, 200
        heartbeats.changed()
        self.assertEqual(self.pools.last().time_ms, NOW * 1000 + 1)

    def test_a_pool_that_has_no_time_to_compare(self) -> None:
        """What is no time, or far from all times, is no skew and no error."""
        self.pools.status = 400
        for time in (b"9" * 400, b"", b"noon", b"1_8", b"-5", b" 5"):
            self.pools.time = time
            with capturedLogs() as logged:
                self.start().stop()
            self.assertEqual([line for line in self.lines(logged) if "clock is" in line], [])

    def test_unexpected_error(self) -> None:
        """An error that nobody thought of is logged, and heartbeats go on."""
        self.pools.broken = ZeroDivisionError("a bug")
        self.start()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.pools.broken = None
        self.advance(LAST_RETRY)
        self.assertEqual(len(self.pools.beats), 1)


class StandingTests(HeartbeatsTestCase):
    """What the operator is told of each pool."""

    def standing(self) -> tuple[bool | None, str | None, str | None]:
        """Whether the pool lists the node, why not, and its own words."""
        assert self.heartbeats is not None
        (one,) = self.heartbeats.standings()
        return one.lists_this_node, one.error, one.says

    def test_before_anything_was_asked(self) -> None:
        """Nothing is known of it."""
        self.document = None
        self.start()
        self.assertEqual(self.standing(), (None, None, None))

    def test_listed(self) -> None:
        """Since the last heartbeat so many seconds have passed."""
        self.start()
        self.advance(4)
        assert self.heartbeats is not None
        (one,) = self.heartbeats.standings()
        self.assertEqual((one.pool, one.lists_this_node, one.heard, one.error, one.says),
                         ("127.0.0.1:8080", True, 4.0, None, None))  # fmt: skip

    def test_refused(self) -> None:
        """Our reason, and the pool's own words as one line that no terminal obeys."""
        self.pools.status, self.pools.body = 422, b"no link:\n\x1b[31m \xff" + b"x" * 500
        self.start()
        lists, error, says = self.standing()
        self.assertIs(lists, False)
        self.assertIn("--advertise", str(error))
        assert says is not None
        self.assertTrue(says.startswith("no link: ?[31m ?xxx") and len(says) == 200, says)
        self.pools.status, self.pools.body = 200, None
        self.advance(LAST_RETRY)
        self.assertEqual(self.standing(), (True, None, None))

    def test_a_pool_that_has_no_time(self) -> None:
        """It may list the node all the same."""
        self.start()
        for status in (429, 503):
            self.pools.status, self.pools.body = status, b"later"
            self.advance(LAST_RETRY)
            lists, _, says = self.standing()
            self.assertEqual((lists, says), (None, "later"))

    def test_a_pool_that_is_down(self) -> None:
        """What it lists now is not known; what is wrong is."""
        self.start()
        self.pools.down.add(PORT)
        self.advance(15)
        self.assertEqual(self.standing(), (None, "the pool at 127.0.0.1:8080 cannot be asked", None))

    def test_each_pool(self) -> None:
        """In the order of the options, each on its own."""
        self.pools.down.add(2)
        heartbeats = self.start(at(3), at(2), at(1))
        self.assertEqual([(one.pool, one.lists_this_node) for one in heartbeats.standings()],
                         [("127.0.0.1:3", True), ("127.0.0.1:2", None), ("127.0.0.1:1", True)])  # fmt: skip
