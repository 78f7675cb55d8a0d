"""Participants together: lookups among liars, churn and partitions, on virtual time."""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from torpydo.dht import REPUBLISH, Contact, Found, Item, Put, PutAnswer, Verdict, distance, place_of
from torpydo.testing.dhtworld import DHTWorld, Member


class World(SynchronousTestCase):
    """Three hundred, who know each other."""

    size = 300

    def setUp(self) -> None:
        self.world = DHTWorld(self.size, seed=3)
        self.world.acquaint()

    def nearest(self, item: Item, count: int = 8) -> list[Member]:
        """Those who should keep it."""
        return sorted(self.world.members, key=lambda one: distance(one.contact.place, item.target))[:count]


class MovedTests(World):
    """Nodes that get another stamp, and stand elsewhere."""

    size = 60

    def move(self, member: Member) -> None:
        """Everybody hears of it with the next listing."""
        member.contact = Contact(member.node_id, place_of(member.node_id, b"s" * 24))

    def test_one(self) -> None:
        """It knows whom it knew, and keeps what it kept; others put it where it belongs with their next upkeep."""
        item = self.world.item(1)
        self.world.store(self.world.members[0], item)
        one = self.nearest(item)[0]
        known = set(one.core.contacts)
        self.move(one)
        one.core.contacts.stand(one.contact.place)
        self.assertLessEqual(set(one.core.contacts), known)
        self.assertGreater(len(one.core.contacts), len(known) // 2)
        self.assertEqual(list(one.core.storage), [item])
        self.world.upkeep()
        for member in self.world.members:
            places = {two.place for two in member.core.contacts if two.node_id == one.node_id}
            self.assertLessEqual(places, {one.contact.place})

    def test_all(self) -> None:
        """When all have moved, and said again what they keep, every item is where it belongs."""
        items = [self.world.item(number) for number in range(1, 6)]
        for item in items:
            self.world.store(self.world.members[0], item)
        for member in self.world.members:
            self.move(member)
        for member in self.world.members:
            member.core.contacts.stand(member.contact.place)
        self.world.upkeep()
        for member in self.world.members:
            member.core.join([self.world.members[1].contact], self.world.random.randbytes, lambda: None)
        self.world.run(*self.world.members)
        self.world.upkeep(rejoined=True)
        for item in items:
            self.assertLessEqual(set(self.nearest(item)), set(self.world.holders(item)))
            self.assertEqual(self.world.find(self.world.members[9], item.target), item)


class LookupTests(World):
    """Finding and storing."""

    def test_stored_at_the_closest(self) -> None:
        """By the eight whose places are closest, and found by anybody."""
        for number in range(1, 11):
            item = self.world.item(number)
            self.assertEqual(self.world.store(self.world.members[number], item), 8)
            # Nobody asks himself.
            others = [member for member in self.nearest(item, 9) if member is not self.world.members[number]]
            self.assertEqual(set(self.world.holders(item)), set(others[:8]))
            self.assertEqual(self.world.find(self.world.members[-number], item.target), item)

    def test_nothing_there(self) -> None:
        """A lookup of what nobody has ends, with nothing."""
        self.assertIsNone(self.world.find(self.world.members[0], bytes(32)))

    def test_a_newer_one(self) -> None:
        """It takes the older one's place everywhere."""
        old, new = self.world.item(1, 1), self.world.item(1, 2, b"new")
        self.world.store(self.world.members[0], old)
        self.world.store(self.world.members[1], new)
        self.assertEqual((self.world.holders(old), len(self.world.holders(new))), ([], 8))

    def test_seven_of_eight_are_behind(self) -> None:
        """The newest is found all the same, and the others have it afterwards (SECURITY K5)."""
        old, new = self.world.item(1, 1), self.world.item(1, 2, b"new")
        self.world.store(self.world.members[0], old)
        one = self.nearest(new)[5]
        one.core.answer(Put(new).encode(), b"source")
        self.assertEqual(self.world.find(self.world.members[0], new.target), new)
        self.assertEqual(len(self.world.holders(new)), 8)

    def test_the_high_water_mark(self) -> None:
        """A reader knows that what it is shown is older than what it has seen."""
        reader, new = self.world.members[7], self.world.item(1, 5)
        self.assertEqual(reader.core.high_water(new.target), -1)
        self.world.store(self.world.members[0], new)
        self.world.find(reader, new.target)
        self.assertEqual(reader.core.high_water(new.target), 5)

    def test_a_first_answer(self) -> None:
        """Who is in a hurry has the first that is found, long before the end."""
        item = self.world.item(1)
        self.world.store(self.world.members[0], item)
        member, first, done = self.world.members[200], [], []
        member.core.find(item.target, done.append, first=first.append)
        self.world.run(member, until=lambda: bool(first))
        self.assertEqual((first, done), ([item], []))
        self.world.run(member)
        self.assertEqual(done, [item])

    def test_nobody_known(self) -> None:
        """Without a contact everything is over at once."""
        alone = DHTWorld(1)
        self.assertIsNone(alone.find(alone.members[0], bytes(32)))
        self.assertEqual(alone.store(alone.members[0], alone.item(1)), 0)

    def test_some_are_dead(self) -> None:
        """Half of them: what is stored is found, and the dead leave the tables."""
        for member in self.world.members[::2]:
            member.alive = False
        item, alive = self.world.item(1), self.world.members[1::2]
        self.assertEqual(self.world.store(alive[0], item), 8)
        self.assertEqual(self.world.find(alive[70], item.target), item)

    def test_steps_grow_slowly(self) -> None:
        """Four times as many participants are not one step more, and little more work (SECURITY D7)."""
        hops, questions = [], []
        for size in (64, 256, 1024):
            world = DHTWorld(size, seed=5)
            world.acquaint()
            found = [world.search(world.members[number], world.item(number).target) for number in range(1, 41)]
            hops.append(sum(search.hops for search in found) / len(found))
            questions.append(sum(search.questions for search in found) / len(found))
        for few, many in ((0, 1), (1, 2)):
            self.assertLess(hops[many], hops[few] + 0.9)
            self.assertLess(questions[many], 2.5 * questions[few])


class LiarTests(World):
    """Those who do not do what they should."""

    def test_a_fifth_lies(self) -> None:
        """They name each other alone and have nothing: of honest lookups at least 99 of 100 succeed (SECURITY K2)."""
        liars = self.world.random.sample(self.world.members, self.size // 5)
        honest = [member for member in self.world.members if member not in liars]
        items = [self.world.item(number) for number in range(1, 51)]
        for item in items:
            self.world.store(self.world.random.choice(honest), item)
        self.world.lie_about_nodes(liars)
        found = [self.world.find(self.world.random.choice(honest), item.target) == item for item in items * 4]
        self.assertGreaterEqual(sum(found), 198)

    def near(self, count: int, target: bytes) -> DHTWorld:
        """A hundred honest nodes, and sybils that stand closer to the target than all of them from the beginning."""
        world = DHTWorld(100 + count, seed=6)
        sybils = world.members[100:]
        world.stand_near(sybils, target)
        world.acquaint()
        world.lie_about_nodes(sybils)
        return world

    def test_sybils_near_a_target(self) -> None:
        """Of eight holders one honest one is enough; where sybils are all eight, nobody finds the item. That is what
        the stamps of a network must make dear (SECURITY K1).
        """
        target = self.world.item(1).target
        for count, found in ((7, True), (8, False)):
            world = self.near(count, target)
            item = world.item(1)
            self.assertEqual(world.store(world.members[0], item), 8)
            for member in world.members[1:100:9]:
                self.assertEqual(world.find(member, target) == item, found)
            for _ in range(3):
                world.advance(REPUBLISH)
                world.upkeep(world.holders(item), look_around=False)
            self.assertEqual(world.find(world.members[50], target) == item, found)

    def test_sybils_that_come_later(self) -> None:
        """A reader goes on to those who kept it before, as long as some of the twenty closest are honest."""
        target = self.world.item(1).target
        world = self.near(12, target)
        honest, sybils = world.members[:100], world.members[100:]
        item = world.item(1)
        for sybil in sybils:
            sybil.alive = False
        self.assertEqual(world.store(honest[0], item), 8)
        for sybil in sybils:
            sybil.alive = True
        for member in honest[1::9]:
            self.assertEqual(world.find(member, target), item)

    def test_each_in_his_way(self) -> None:
        """A tenth of each kind at once, and every second one late: forgers, those who bring back what was, those who
        name anybody, those who name each other.
        """
        world = DHTWorld(100, seed=8)
        world.acquaint()
        liars = world.members[:40]
        old = [world.item(number) for number in range(1, 11)]
        for item in old:
            world.store(world.members[-1], item)
        before = {item.target: item for item in old}
        forged = {target: attrs.evolve(item, sequence=9, value=b"forged") for target, item in before.items()}
        world.lie_about_nodes(liars[:10], item=forged.get)
        world.lie_about_nodes(liars[10:20], item=before.get)
        world.lie_about_nodes(liars[20:30])
        world.lie_at_random(liars[30:])
        for liar in liars[::2]:
            liar.late = 1.5
        new = [world.item(number, 2, b"new") for number in range(1, 11)]
        for item in new:
            world.store(world.random.choice(world.members[40:]), item)
        for item in new:
            for _ in range(3):
                self.assertEqual(world.find(world.random.choice(world.members[40:]), item.target), item)

    def test_forged_items(self) -> None:
        """What a holder has changed is not believed, and the holder counts as one that did not answer."""
        item = self.world.item(1)
        self.world.store(self.world.members[0], item)
        forged = attrs.evolve(item, sequence=9, value=b"forged")
        for liar in self.nearest(item)[:4]:
            liar.lies = lambda data: Found((), forged).encode()
        self.assertEqual(self.world.find(self.world.members[-1], item.target), item)

    def test_nonsense(self) -> None:
        """Bytes that are no answer, an item that was not asked for and unknown nodes hold nobody up."""
        item, other = self.world.item(1), self.world.item(2)
        self.world.store(self.world.members[0], item)
        stranger, kept = Found((b"u" * 32,)), PutAnswer(Verdict.STORED)
        lies = [b"", b"\xff" * 50, Found((), other).encode(), stranger.encode(), kept.encode()]
        for liar, lie in zip(self.nearest(item), lies, strict=False):
            liar.lies = lambda data, lie=lie: lie
        self.assertEqual(self.world.find(self.world.members[-1], item.target), item)
        # Four of the five are found out by the lookup, the fifth when it is to keep something.
        self.assertEqual(self.world.store(self.world.members[-1], self.world.item(1, 2)), 7)


class UpkeepTests(World):
    """Over time."""

    def test_holders_that_leave(self) -> None:
        """Those that are left say it again within an hour, and others keep it."""
        item = self.world.item(1)
        self.world.store(self.world.members[0], item)
        for member in self.nearest(item)[:6]:
            member.alive = False
        self.world.advance(REPUBLISH)
        self.world.upkeep(self.nearest(item))
        alive = [member for member in self.world.holders(item) if member.alive]
        self.assertGreaterEqual(len(alive), 8)

    def test_one_tells_for_all(self) -> None:
        """Who has just been told does not say it as well: not every holder asks the whole way each hour."""
        item = self.world.item(1)
        self.world.store(self.world.members[0], item)
        self.world.advance(REPUBLISH / 2)
        before = self.world.questions
        self.world.upkeep(look_around=False)
        self.assertEqual(self.world.questions, before)

    def test_a_partition(self) -> None:
        """Each side has a version; after it is healed the newer one is everywhere within one republish."""
        old = self.world.item(1, 1)
        self.world.store(self.world.members[0], old)
        for member in self.world.members[::2]:
            member.side = 1
        new = self.world.item(1, 2, b"new")
        self.world.store(self.world.members[0], new)
        self.assertTrue(self.world.holders(old))
        for member in self.world.members:
            member.side = 0
        self.world.upkeep(rejoined=True)
        self.assertEqual(self.world.holders(old), [])
        self.assertTrue(set(self.nearest(new)) <= set(self.world.holders(new)))
        for member in self.world.members[::30]:
            self.assertEqual(self.world.find(member, new.target), new)

    def test_a_partition_that_nobody_noticed(self) -> None:
        """Nobody says anything at once: within one republish the newer one is everywhere all the same."""
        old, new = self.world.item(1, 1), self.world.item(1, 2, b"new")
        self.world.store(self.world.members[0], old)
        for member in self.world.members[::2]:
            member.side = 1
        self.world.store(self.world.members[0], new)
        for member in self.world.members:
            member.side = 0
        self.assertTrue(self.world.holders(old))
        self.world.advance(REPUBLISH)
        self.world.upkeep([*self.world.holders(old), *self.world.holders(new)])
        self.assertEqual(self.world.holders(old), [])
        self.assertTrue(set(self.nearest(new)) <= set(self.world.holders(new)))

    def test_halves_that_have_forgotten_each_other(self) -> None:
        """Cut off for long, neither has a contact in the other; they meet again by the listing."""
        world = DHTWorld(40, seed=4)
        world.acquaint()
        halves = world.members[::2], world.members[1::2]
        for member in halves[1]:
            member.side = 1
        for _ in range(3):
            world.advance(REPUBLISH)
            world.upkeep(look_around=False)
        for half in halves:
            for member in half:
                self.assertTrue(set(member.core.contacts) <= {one.contact for one in half})
                member.side = 0
        old, new = world.item(1, 1), world.item(1, 2)
        world.store(halves[0][3], old)
        world.store(halves[1][3], new)
        self.assertEqual(world.find(halves[0][7], new.target), old)
        world.upkeep()
        for member in world.members:
            self.assertEqual(world.find(member, new.target), new)

    def test_expired(self) -> None:
        """What its owner does not say again is gone in time, whatever its holders say to each other."""
        world = DHTWorld(10, seed=4)
        world.acquaint()
        item = world.item(1)
        world.store(world.members[0], item)
        for hours in range(26):
            self.assertEqual(bool(world.holders(item)), hours < 24)
            world.advance(REPUBLISH)
            world.upkeep()
        self.assertEqual(world.holders(item), [])

    def test_joining(self) -> None:
        """Who knows five others comes to know enough to find everything."""
        world = DHTWorld(60, seed=9)
        world.join()
        item = world.item(1)
        self.assertEqual(world.store(world.members[3], item), 8)
        for member in world.members:
            self.assertEqual(world.find(member, item.target), item)
