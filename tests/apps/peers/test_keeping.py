"""A program that is started again finds its peers without the names it once began with."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from typing import Any

from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from torpydo.apps.peers import State, Verified
from torpydo.client import StateDirectory
from torpydo.errors import StateError
from torpydo.peers import Presence
from torpydo.testing.peersworld import PeersMember, PeersWorld

HOUR = 3600.0


class KeepingTests(SynchronousTestCase):
    """One member of a world keeps what it knows."""

    def setUp(self) -> None:
        scratch = os.path.realpath(tempfile.mkdtemp(prefix="torpydo-test-"))
        self.addCleanup(shutil.rmtree, scratch)
        self.path = os.path.join(scratch, "state")
        self.file = os.path.join(self.path, "peers")
        self.world = PeersWorld(6)
        self.member = self.world.add([str(self.world.members[0].name)], state_dir=self.path)
        self.others = self.world.members[:6]
        self.addCleanup(self.finish)

    def finish(self) -> None:
        self.world.stop()
        self.assertEqual(self.world.reactor.getDelayedCalls(), [])

    def names(self, members: list[PeersMember]) -> set[str]:
        return {member.name for member in members}

    def settle(self) -> None:
        """All know all."""
        self.world.start()
        self.world.advance(2 * HOUR)
        self.assertEqual(self.world.acquainted(), 1.0)

    def own(self) -> Presence:
        found = self.member.table.own_record
        assert found is not None
        return found

    def logged(self) -> list[str]:
        """What is warned of from now on."""
        found: list[str] = []

        def observe(event: dict[str, Any]) -> None:
            if event["log_level"].name == "warn":
                found.append(event["log_format"].format(**event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        return found

    def test_all_the_first_ones_are_dead(self) -> None:
        """It finds the others all the same; each is verified again before it is handed on."""
        self.settle()
        self.world.kill(self.others[0])
        self.world.restart(self.member)
        found = [peer for peer in self.member.table.known() if peer.name != self.others[0].name]
        self.assertEqual(len(found), 5)
        self.assertEqual({peer.verified for peer in found}, {Verified.BY_SIGNATURE})
        self.world.advance(HOUR)
        self.assertLessEqual(self.names(self.others[1:]), self.member.knows())
        found = [peer for peer in self.member.table.known() if peer.name != self.others[0].name]
        self.assertEqual({peer.verified for peer in found}, {Verified.DIRECTLY})

    def test_after_a_week(self) -> None:
        """All records have expired; the names are dialled, and everybody is there again within an hour."""
        self.settle()
        self.world.kill(self.member)
        for member in self.others[:3]:
            self.world.kill(member)
        self.world.advance(7 * 24 * HOUR)
        self.world.restart(self.member, names=())
        self.assertEqual({peer.state for peer in self.member.table.known()}, {State.OFFLINE})
        self.world.advance(HOUR)
        self.assertEqual(self.member.knows(), self.names(self.others[3:]))
        self.assertEqual(self.world.acquainted(), 1.0)

    def test_without_a_directory(self) -> None:
        """Nobody is known after a start."""
        self.settle()
        self.world.restart(self.others[1], names=())
        self.assertEqual(self.others[1].table.known(), [])

    def test_a_crash(self) -> None:
        """What was known for some minutes is on disk, for the user alone."""
        self.world.start()
        self.world.advance(200)
        known = len(self.member.table.known())
        self.assertGreater(known, 1)
        self.assertEqual(stat.S_IMODE(os.stat(self.file).st_mode), 0o600)
        crashed = self.file + ".crashed"
        shutil.copy2(self.file, crashed)
        self.member.table.stop()
        os.replace(crashed, self.file)
        self.world.restart(self.member, names=())
        self.assertGreater(len(self.member.table.known()), 1)

    def test_its_own_record(self) -> None:
        """While it is fresh no other is worked for; after a quarter of its life it is made anew, as always."""
        self.settle()
        self.member.table.announce()
        self.world.advance(1)
        before = self.own()
        self.world.restart(self.member)
        self.assertEqual(self.own(), before)
        self.world.advance(1800)
        self.assertEqual(self.own(), before)
        self.world.advance(1800 + 60)
        self.assertGreater(self.own().claim.timestamp, before.claim.timestamp)

    def test_its_own_record_is_old(self) -> None:
        """It is used until there is a new one, which is made at once; one that has expired is not."""
        self.settle()
        for hours, is_used in ((2, True), (5, False)):
            before = self.own()
            self.world.kill(self.member)
            self.world.advance(hours * HOUR)
            self.member.table = self.member.make_table()
            self.member.alive = True
            self.member.table.start()
            self.assertEqual(self.member.table.own_record, before if is_used else None)
            self.world.advance(1)
            self.assertGreater(self.own().claim.timestamp, before.claim.timestamp)

    def test_it_says_something_else_now(self) -> None:
        """The record that was kept is not used, and the new one is later although the clock was set back."""
        self.settle()
        before = self.own()
        self.member.skew = before.claim.timestamp - self.world.wall_clock() - 500
        self.world.restart(self.member, note=b"new")
        self.assertIsNone(self.member.table.own_record)
        self.world.advance(1)
        self.assertEqual(self.own().claim.timestamp, before.claim.timestamp + 1)

    def test_another_key(self) -> None:
        """What was kept for another name is no matter; the peers are."""
        self.settle()
        self.member.table.stop()
        self.others[0].table.stop()
        self.others[0].table = self.others[0].make_table(state_dir=self.path)
        self.others[0].table.start()
        self.assertIsNone(self.others[0].table.own_record)
        self.assertEqual(len(self.others[0].table.known()), 5)
        self.others[0].table.stop()

    def test_torn(self) -> None:
        """It is put aside and told, and the program starts."""
        self.settle()
        self.member.table.stop()
        with open(self.file, "r+b") as file:
            file.truncate(100)
        warned = self.logged()
        self.world.restart(self.member, names=())
        self.assertEqual(self.member.table.known(), [])
        self.assertTrue(os.path.exists(self.file + ".bad"))
        self.assertEqual(len(warned), 1)
        self.assertIn("found anew", warned[0])

    def test_not_private(self) -> None:
        """A file that others may read or a directory that is in use is refused, and nothing has begun."""
        self.settle()
        self.member.table.stop()
        os.chmod(self.file, 0o644)
        self.assertRaises(StateError, self.world.restart, self.member)
        os.chmod(self.file, 0o600)
        held = StateDirectory.open(self.path)
        before = self.world.dialled
        self.world.stop()
        self.assertRaises(StateError, self.world.restart, self.member)
        self.world.advance(100)
        self.assertEqual((self.world.dialled, self.world.reactor.getDelayedCalls()), (before, []))
        held.close()
        self.world.restart(self.member)
        self.assertEqual(len(self.member.table.known()), 6)

    def test_start_and_stop(self) -> None:
        """While it runs nobody else may have the directory; afterwards whoever wants it."""
        self.world.start()
        self.assertRaises(StateError, StateDirectory.open, self.path)
        for _ in range(2):
            self.member.table.stop()
            StateDirectory.open(self.path).close()
        self.member.table.start()
        self.world.advance(10)

    def test_a_disk_that_fails(self) -> None:
        """One line says so, and everything goes on."""
        self.world.start()
        self.world.advance(50)
        os.mkdir(self.path + "/.peers.new")
        warned = self.logged()
        self.world.advance(HOUR)
        self.assertEqual(len(warned), 1)
        self.assertIn("not kept on disk", warned[0])
        os.rmdir(self.path + "/.peers.new")
        self.assertEqual(self.world.acquainted(), 1.0)

    def test_only_when_something_is_new(self) -> None:
        """A file that says the same is not written again."""
        self.world.start([self.member], known=0)
        self.world.advance(70)
        before = self.written()
        self.world.advance(HOUR / 2)
        self.assertEqual(self.written(), before)
        self.world.start(self.others)
        self.world.advance(HOUR)
        self.assertNotEqual(self.written(), before)

    def written(self) -> tuple[int, bytes]:
        with open(self.file, "rb") as file:
            return os.fstat(file.fileno()).st_mtime_ns, file.read()
