"""Tests of torpydo.pool.stamps, through the admission that asks for them (SECURITY K1)."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import NOW
from tests.pool.build import Node, Pool, stamp_of
from tests.pool.test_admission import AdmissionTestCase, address
from torpydo.errors import StateError
from torpydo.net import StateDirectory
from torpydo.pool.limits import PoolLimits
from torpydo.pool.refusal import PoolRefusal
from torpydo.pool.stamps import FILE, Asking

BITS = 6
DAY = 86400


class StampTests(AdmissionTestCase):
    """A pool that asks for a stamp."""

    def setUp(self) -> None:
        self.pool = Pool(asking=Asking(BITS, NOW))

    def node(self, name: object = 0, bits: int | None = BITS, **overrides: Any) -> Node:
        """A node with a stamp."""
        return self.pool.node(name, stamp=b"" if bits is None else stamp_of(name, bits), **overrides)

    def test_without(self) -> None:
        """A node without a stamp, or with too few bits, is told how many; no work and no link is spent on it."""
        few = stamp_of(0, 0, 1)
        for stamp in (b"", few):
            refused = self.refuse(self.pool.node(stamp=stamp), 428, "6 bits")
            self.assertIs(refused.cause, PoolRefusal.STAMP)
            self.assertIsNone(refused.retry_after)
        self.assertEqual((self.pool.checks.asked, self.pool.probes.asked, self.pool.listed()), ([], [], []))
        self.assertEqual(self.pool.admission.pending, 0)

    def test_with(self) -> None:
        """One with enough bits is listed, and neither looked at nor probed again with the next heartbeat."""
        node = self.node()
        self.accept(node)
        self.accept(node)
        self.assertEqual(self.pool.listed(), [node.node_id])
        self.assertEqual((len(self.pool.checks.asked), len(self.pool.probes.asked)), (1, 1))

    def test_forged(self) -> None:
        """One that claims bits is found out before a link is opened, and once for all."""
        node = self.pool.node(stamp=bytes(24))
        for _ in range(3):
            refused = self.refuse(node, 428, "forged")
            self.assertIs(refused.cause, PoolRefusal.STAMP)
        self.assertEqual((len(self.pool.checks.asked), self.pool.probes.asked), (1, []))
        self.assertEqual(self.pool.admission.pending, 0)

    def test_of_another(self) -> None:
        """The stamp of another node is of no use."""
        self.accept(self.node(1))
        self.refuse(self.pool.node(2, stamp=stamp_of(1, BITS)), 428, "another node's")

    def test_none_asked(self) -> None:
        """A pool that asks for none looks at those that nodes have nevertheless: their places follow from them."""
        self.pool = Pool()
        self.accept(self.pool.node(0))
        self.refuse(self.pool.node(1, stamp=bytes(24)), 428, "forged")
        self.accept(self.node(2))
        self.assertEqual(len(self.pool.listed()), 2)

    def test_unreachable(self) -> None:
        """What was seen to hold is remembered while the node cannot be reached."""
        self.pool.probes.succeed = False
        self.refuse(self.node(), 422, "nobody answers")
        self.pool.times.advance(20)
        self.pool.probes.succeed = True
        self.accept(self.node())
        self.assertEqual(len(self.pool.checks.asked), 1)

    def test_another_stamp(self) -> None:
        """A listed node with another stamp is looked at again; until that holds the old one is listed."""
        self.accept(self.node())
        before = self.pool.admission.listed()[0].record.document
        self.refuse(self.pool.node(stamp=bytes(24), sequence=NOW * 1000 + 1), 428, "forged")
        self.assertEqual(self.pool.admission.listed()[0].record.document, before)
        new = self.node(bits=BITS + 2, sequence=NOW * 1000 + 2)
        self.accept(new)
        self.assertEqual(self.pool.admission.listed()[0].record.document, new.document())

    def test_moved(self) -> None:
        """A node that moves takes its stamp along."""
        self.accept(self.node())
        self.accept(self.node(address=address("20.0.9.9"), sequence=NOW * 1000 + 1))
        self.assertEqual((len(self.pool.checks.asked), len(self.pool.probes.asked)), (1, 2))

    def test_impatient(self) -> None:
        """A heartbeat while the stamp is looked at is refused for now."""
        self.pool.checks.answer = False
        first = self.pool.send(self.node())
        self.refuse(self.node(), 503, "still checking")
        self.pool.checks.finish_all()
        self.successResultOf(first)

    def test_flood(self) -> None:
        """Of a flood of forged stamps a few are looked at or wait; listed nodes notice nothing, others come later."""
        self.pool = Pool(asking=Asking(BITS, NOW), limits=PoolLimits(stamps_running=2, stamps_waiting=3))
        listed = self.node("listed")
        self.accept(listed)
        self.pool.checks.answer = False
        waiting: list[Deferred[Any]] = [self.pool.send(self.pool.node(one, stamp=bytes(24))) for one in range(5)]
        self.assertEqual(len(self.pool.checks.waiting), 2)
        refused = self.refuse(self.pool.node(9, stamp=bytes(24)), 503, "many stamps")
        self.assertEqual((refused.cause, refused.retry_after), (PoolRefusal.STAMPS, 15.0))
        self.accept(listed)
        while self.pool.checks.waiting:
            self.pool.checks.finish_all(holds=False)
        for result in waiting:
            self.failureResultOf(result)
        self.assertEqual((self.pool.listed(), self.pool.probes.asked[1:]), ([listed.node_id], []))
        self.pool.checks.answer = True
        self.accept(self.node(9))

    def test_memory(self) -> None:
        """A pool without memory for it says that it is busy, its operator hears it once, and it goes on with some."""
        self.pool.checks.memory = False
        with capturedLogs() as logs:
            for _ in range(3):
                refused = self.refuse(self.node(), 503, "no memory")
        self.assertEqual(refused.cause, PoolRefusal.STAMPS)
        self.assertEqual([formatEvent(one) for one in logs if one["log_level"] is LogLevel.error], [
            "nodes with new stamps are not listed: there is not enough memory"
        ])  # fmt: skip
        self.pool.checks.memory = True
        self.accept(self.node())

    def test_remembered(self) -> None:
        """What is remembered is bounded."""
        self.pool = Pool(asking=Asking(BITS, NOW), limits=PoolLimits(strangers=3))
        for one in range(5):
            self.refuse(self.pool.node(one, stamp=bytes(24)), 428, "forged")
        self.assertEqual(len(self.pool.admission._stamps._known), 3)

    def test_stop(self) -> None:
        """Stopping ends what waits."""
        self.pool.checks.answer = False
        result = self.pool.send(self.node())
        self.pool.admission.stop()
        self.failureResultOf(result, CancelledError)


class GraceTests(AdmissionTestCase):
    """A pool that asks for more than before: its nodes have time to work, others have not."""

    def setUp(self) -> None:
        self.pool = Pool()
        self.accept(self.pool.node(0))
        self.accept(self.pool.node(1))
        self.pool.saved()
        self.pool.times.advance(60)
        self.pool.asking = Asking(BITS, int(self.pool.times.wall()))
        self.pool.restart()

    def stamped(self, name: object) -> Node:
        """The same node, when it has worked."""
        return self.pool.node(name, stamp=stamp_of(name, BITS), sequence=NOW * 1000 + 1)

    def test_those_of_before(self) -> None:
        """They stay listed; a new one is refused."""
        self.assertEqual(len(self.pool.listed()), 2)
        self.accept(self.pool.node(0))
        self.refuse(self.pool.node(2), 428, "6 bits")

    def test_not_for_newcomers(self) -> None:
        """Time is for those that were listed before: a node that came with a stamp cannot go on without."""
        self.pool.times.advance(1)
        self.accept(self.pool.node(2, stamp=stamp_of(2, BITS)))
        self.refuse(self.pool.node(2, sequence=NOW * 1000 + 1), 428, "6 bits")

    def test_time_is_up(self) -> None:
        """Who has worked stays, who has not is dropped then and refused."""
        self.accept(self.stamped(0))
        self.pool.keep_alive([self.stamped(0), self.pool.node(1)], 3590)
        self.assertEqual(len(self.pool.listed()), 2)
        self.pool.keep_alive([self.stamped(0), self.pool.node(1)], 60)
        self.assertEqual(self.pool.listed(), [self.pool.node(0).node_id])
        self.refuse(self.pool.node(1), 428, "6 bits")
        self.accept(self.stamped(1))

    def test_restart(self) -> None:
        """After another restart it is the same time that is up."""
        self.accept(self.stamped(0))
        self.pool.saved()
        self.pool.times.advance(3600 + 2**BITS)
        self.pool.restart()
        self.assertEqual(self.pool.listed(), [self.pool.node(0).node_id])

    def test_until(self) -> None:
        """The more work, the more time."""
        self.assertEqual([Asking(bits, NOW).until - NOW for bits in (1, 11, 21)], [3601, 3600 + 1024, 3600 + 2**20])


class AskingTests(SynchronousTestCase):
    """Since when a pool asks survives a restart."""

    def setUp(self) -> None:
        scratch = os.path.realpath(tempfile.mkdtemp(prefix="torpydo-test-"))
        self.addCleanup(shutil.rmtree, scratch, ignore_errors=True)
        self.state = StateDirectory.open(os.path.join(scratch, "state"))
        self.addCleanup(self.state.close)

    def begin(self, bits: int, now: float) -> Asking:
        return Asking.begin(bits, self.state, now)

    def test_never(self) -> None:
        """A pool that asks for none leaves no file."""
        self.assertEqual(self.begin(0, NOW), Asking(0, NOW))
        self.assertIsNone(self.state.read(FILE))

    def test_more_and_less(self) -> None:
        """Time begins again when more is asked for, and never with a restart, or with less."""
        since = [self.begin(bits, NOW + day).since - NOW for day, bits in enumerate((0, 4, 4, 6, 6, 5, 0, 0, 1))]
        self.assertEqual(since, [0, 1, 1, 3, 3, 3, 3, 3, 8])

    def test_a_clock_that_was_ahead(self) -> None:
        """Nobody has time for ever."""
        self.begin(4, NOW + 999 * DAY)
        self.assertEqual(self.begin(4, NOW).since, NOW)

    def test_torn(self) -> None:
        """A torn file is made anew."""
        for data in (b"", b"\4", b"\4" + bytes(9)):
            self.state.write(FILE, data)
            self.assertEqual(self.begin(4, NOW), Asking(4, NOW))
            self.assertEqual(self.begin(4, NOW + 1), Asking(4, NOW))

    def test_in_memory(self) -> None:
        """Without a state directory it is since the start."""
        self.assertEqual(Asking.begin(4, None, NOW), Asking(4, NOW))

    def test_unreadable(self) -> None:
        """What is not private is refused, as every file there."""
        self.begin(4, NOW)
        os.chmod(self.state.path(FILE), 0o644)
        self.assertRaises(StateError, self.begin, 4, NOW)
