"""Hundreds of peers on virtual time: they come to know each other, whatever happens to some of them."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from torpydo.peers import State
from torpydo.testing.peersworld import PeersMember, PeersWorld

HOUR = 3600.0


class Worlds(SynchronousTestCase):
    """One world a test."""

    def world(self, size: int, **options: Any) -> PeersWorld:
        """One that is stopped at the end and has left nothing."""
        made = PeersWorld(size, **options)
        self.addCleanup(self.finish, made)
        return made

    def finish(self, world: PeersWorld) -> None:
        """No timer and no stream stays."""
        world.stop()
        world.advance(20)
        self.assertEqual(world.reactor.getDelayedCalls(), [])
        self.assertEqual({len(member.table.factory) for member in world.members}, {0})

    def settled(self, size: int, **options: Any) -> PeersWorld:
        """One in which everybody knows everybody."""
        world = self.world(size, **options)
        world.start()
        world.advance(2 * HOUR)
        self.assertEqual(world.acquainted(), 1.0)
        return world


class AcquaintanceTests(Worlds):
    """Everybody comes to know everybody."""

    def test_sixty(self) -> None:
        """Each knows one to begin with. Whole tables exchange for most of an hour."""
        world = self.world(60)
        world.start()
        world.advance(HOUR * 2 / 3)
        self.assertGreater(world.acquainted(), 0.99)
        # A round has two visits at the most: eight quick ones, and then one in 40 seconds.
        self.assertLess(world.dialled, 60 * 2 * (8 + HOUR * 2 / 3 / 40))

    def test_new_ones_are_met_soon(self) -> None:
        """While somebody is known who was not met, rounds are five times as frequent."""
        world = self.world(40, interval=HOUR)
        world.start()
        world.advance(1.5 * HOUR)
        self.assertGreater(world.dialled, 40 * 2 * (8 + 3))

    def test_a_chain(self) -> None:
        """Each knows its neighbour alone."""
        world = self.world(20)
        for one, other in zip(world.members, world.members[1:], strict=False):
            one.table.meet(other.name)
        world.start(known=0)
        world.advance(HOUR)
        self.assertEqual(world.acquainted(), 1.0)

    def test_records_are_made_anew(self) -> None:
        """Half a day later all are still there, and nobody was taken for offline meanwhile."""
        world = self.settled(12)
        changes: list[State] = []
        world.members[0].table.watch(lambda change: changes.append(change.peer.state))
        world.advance(12 * HOUR)
        self.assertEqual((world.acquainted(), changes), (1.0, []))

    def test_what_a_digest_saves(self) -> None:
        """Once all know each other an exchange carries what they have to name them, and not their records."""
        world = self.settled(40)
        before = world.carried, world.dialled
        world.advance(HOUR / 4)
        carried, dialled = world.carried - before[0], world.dialled - before[1]
        whole = 40 * len(world.record(1000))
        self.assertLess(carried / dialled, whole / 5)


class ChurnTests(Worlds):
    """Some come and go."""

    def test_those_who_go(self) -> None:
        """They are offline for everybody when their records have expired, at the latest, and then forgotten."""
        world = self.settled(16)
        dead = world.members[10:]
        for member in dead:
            world.kill(member)
        names = {member.name for member in dead}
        world.advance(4.1 * HOUR)
        alive = [member for member in world.members if member.alive]
        self.assertEqual([len(names & member.knows()) for member in alive], [0] * 10)
        self.assertEqual(world.acquainted(), 1.0)
        offline = {peer.name for peer in alive[0].table.known() if peer.state is State.OFFLINE}
        self.assertEqual(offline, names)
        world.advance(25 * HOUR)
        self.assertEqual(len(alive[0].table.known()), 9)
        # Nothing else is remembered of them either.
        self.assertLessEqual(len(alive[0].table._visits._pauses), 9 + 1)

    def test_one_of_three(self) -> None:
        """It is forgotten after a day: where few are there to succeed with, failures do not look like one's own."""
        world = self.settled(3)
        world.kill(world.members[2])
        world.advance(30 * HOUR)
        for member in world.members[:2]:
            self.assertEqual(len(member.table.known()), 1)

    def test_one_who_comes_back(self) -> None:
        """Soon everybody knows."""
        world = self.settled(20)
        member = world.members[7]
        world.kill(member)
        world.advance(5 * HOUR)
        world.revive(member)
        world.advance(HOUR)
        self.assertEqual(world.acquainted(), 1.0)

    def test_all_the_time(self) -> None:
        """Every ten minutes one leaves and another one comes: who is there knows nearly all who are there."""
        world = self.settled(30)
        for number in range(9):
            world.kill(world.members[5 + number])
            newcomer = world.add([str(world.members[0].name)])
            newcomer.table.start()
            world.advance(600)
        self.assertGreater(world.acquainted(), 0.9)


class PartitionTests(Worlds):
    """The network is in two parts for a time."""

    def test_healing(self) -> None:
        """Six hours later each side takes the other for offline; after it is healed all know all again."""
        world = self.settled(20)
        for member in world.members[::2]:
            member.side = 1
        world.advance(6 * HOUR)
        sides = [world.members[::2], world.members[1::2]]
        for one, other in (sides, sides[::-1]):
            names = {member.name for member in other}
            self.assertEqual([len(names & member.knows()) for member in one], [0] * 10)
            self.assertEqual(world.acquainted(one), 1.0)
        for member in world.members:
            member.side = 0
        world.advance(3 * HOUR)
        self.assertEqual(world.acquainted(), 1.0)


class FloodTests(Worlds):
    """Some send what is not true."""

    def checks(self, member: PeersMember) -> int:
        return member.table._table.checks

    def test_invalid_records(self) -> None:
        """A fifth answers with forged ones: honest peers hold none of them, hand none on, and look at few."""
        world = self.world(25)
        # Signed by nobody, but with work, as the dearest that an attacker may send.
        forged = [world.record(1000, signed=False) for _ in range(200)]
        liars, honest = world.members[20:], world.members[:20]
        for liar in liars:
            world.flood(liar, lambda: world.random.sample(forged, 50))
        world.start()
        world.advance(2 * HOUR)
        self.assertEqual(world.acquainted(honest), 1.0)
        members = {member.name for member in world.members}
        for member in honest:
            self.assertLessEqual({peer.name for peer in member.table.known()}, members)
            # Nine of each liar, and the records of all members, which are made anew within the hour.
            self.assertLess(self.checks(member), 5 * 9 * 3 + 25 * 6)

    def test_names_that_nobody_runs(self) -> None:
        """Records that hold, but nobody is there: their source has its share, and nobody hands them on."""
        world = self.world(12, difficulty=0)
        made = [world.record(1000 + number, life=6 * 3600) for number in range(2000)]
        false = set(made)
        world.flood(world.members[-1], lambda: world.random.sample(made, 50))
        world.start()
        for _ in range(6):
            world.advance(HOUR / 2)
            for member in world.members[:-1]:
                self.assertLessEqual(len(member.table.online()), 100 + 11)
                self.assertEqual(set(member.table._table.sample(50, bytes(8), b"")) & false, set())
        self.assertEqual(world.acquainted(world.members[:-1]), 1.0)
