"""The table: what comes in, what goes out, what a flood costs."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from tests.peers.build import NOW, TOPIC, World, owner, presence, record, text, work
from torpydo.onion import OnionName
from torpydo.peers import STRANGERS, Change, KeptPeer, Peer, Presence, Role, State, Table, Verdict, Verified

SOURCE = owner(800).public
SALT = bytes(8)


class Tables(SynchronousTestCase):
    """One table."""

    options: dict[str, Any] = {}

    def setUp(self) -> None:
        self.world = World()
        self.table: Table = self.world.table(**self.options)

    def offer(self, number: int = 1, source: bytes = SOURCE, **options: Any) -> Verdict:
        """A record of that peer's."""
        return self.table.offer(record(number, **options), source)

    def peer(self, number: int = 1) -> Peer:
        """What is known of it."""
        found = self.table.get(owner(number).public)
        assert found is not None
        return found

    def states(self) -> list[tuple[OnionName, State, State]]:
        """What has changed: whose, from what, to what."""
        return [(one.peer.name, one.before, one.peer.state) for one in self.table.take_changes()]


class OfferTests(Tables):
    """What is brought."""

    def test_stored(self) -> None:
        """What it says is known, by its signature."""
        self.assertIs(self.offer(note=b"hi", port=80, roles=Role.ROUTER), Verdict.STORED)
        expected = Peer(text(), Role.ROUTER, 80, b"hi", State.ONLINE, Verified.BY_SIGNATURE, NOW + 3600)
        self.assertEqual(list(self.table), [expected])
        self.assertEqual(self.table.take_changes(), [Change(expected, State.GONE)])

    def test_names_in_logs(self) -> None:
        """Whom somebody knows is his to tell: what is shown of a peer has the beginning of its name (SECURITY I1)."""
        self.offer()
        (peer,) = self.table
        self.assertNotIn(peer.name, repr(peer))
        self.assertIn(peer.name[:8], repr(peer))

    def test_known(self) -> None:
        """The same again costs no look at its signature."""
        self.offer()
        self.assertIs(self.offer(), Verdict.KNOWN)
        self.assertEqual(self.table.checks, 1)

    def test_the_newest_counts(self) -> None:
        """A later one takes the place of an earlier one, never the other way; of two of one time the first stays."""
        self.offer(timestamp=NOW, note=b"first")
        self.assertIs(self.offer(timestamp=NOW + 1, note=b"second"), Verdict.STORED)
        self.assertIs(self.offer(timestamp=NOW, note=b"first"), Verdict.OLDER)
        self.assertIs(self.offer(timestamp=NOW + 1, note=b"other"), Verdict.OLDER)
        self.assertEqual((self.peer().note, self.table.checks), (b"second", 2))

    def test_an_older_one_of_somebody_who_is_offline(self) -> None:
        """A replay brings nobody back."""
        self.offer(timestamp=NOW + 1)
        self.table.failed(owner().public)
        self.table.failed(owner().public)
        self.assertIs(self.offer(timestamp=NOW), Verdict.OLDER)
        self.assertIs(self.offer(timestamp=NOW + 1), Verdict.KNOWN)
        self.assertIs(self.peer().state, State.OFFLINE)

    def test_bad_ones(self) -> None:
        """None of them comes in, and the signature of the last one alone is looked at."""
        for data, verdict in (
            (b"", Verdict.MALFORMED), (record() + b"x", Verdict.MALFORMED),
            (record(topic=b"other"), Verdict.FOREIGN), (record(worked=False), Verdict.NO_WORK),
            (record(by=2), Verdict.FORGED),
        ):  # fmt: skip
            self.assertIs(self.table.offer(data, SOURCE), verdict)
            self.assertTrue(verdict.is_bad)
        self.assertEqual((len(self.table), self.table.checks, self.table.take_changes()), (0, 1, []))
        counted = {Verdict.MALFORMED: 2, Verdict.FOREIGN: 1, Verdict.NO_WORK: 1, Verdict.FORGED: 1}
        self.assertEqual(self.table.verdicts, counted)

    def test_times(self) -> None:
        """Expired or of the future: not taken, and nobody is blamed for his clock."""
        for options, verdict in (
            ({"timestamp": NOW - 3600}, Verdict.UNTIMELY), ({"timestamp": NOW - 3599}, Verdict.STORED),
            ({"timestamp": NOW + 601}, Verdict.UNTIMELY), ({"timestamp": NOW + 600}, Verdict.STORED),
        ):  # fmt: skip
            self.assertIs(self.offer(**options), verdict)
        for _ in range(50):
            self.offer(2, timestamp=NOW + 700)
        self.assertFalse(self.table.sources.is_ignored(SOURCE))

    def test_its_own(self) -> None:
        """One's own record is no peer's."""
        self.assertIs(self.offer(900), Verdict.OWN)
        self.assertEqual(len(self.table), 0)

    def test_a_key_that_is_none(self) -> None:
        """A name that nobody can have is as good as forged."""
        one = presence()
        other = attrs.evolve(one, claim=attrs.evolve(one.claim, key=b"\x01" + bytes(31)))
        self.assertIn(self.table.offer(other.encode(), SOURCE), (Verdict.FORGED, Verdict.NO_WORK))


class StateTests(Tables):
    """Who is there."""

    def test_talked(self) -> None:
        """Who was met is known directly."""
        self.offer()
        self.table.take_changes()
        self.table.talked(owner().public)
        self.assertIs(self.peer().verified, Verified.DIRECTLY)
        self.assertEqual(self.states(), [(text(), State.ONLINE, State.ONLINE)])
        self.table.talked(owner().public)
        self.assertEqual(self.states(), [])

    def test_failed(self) -> None:
        """After two failures in a row it is offline; when it was met again it is online."""
        self.offer()
        self.table.failed(owner().public)
        self.table.talked(owner().public)
        self.table.failed(owner().public)
        self.assertIs(self.peer().state, State.ONLINE)
        self.table.take_changes()
        self.table.failed(owner().public)
        self.assertEqual(self.states(), [(text(), State.ONLINE, State.OFFLINE)])
        self.table.talked(owner().public)
        self.assertEqual(self.states(), [(text(), State.OFFLINE, State.ONLINE)])
        self.assertIs(self.peer().verified, Verified.DIRECTLY)

    def test_strangers_are_no_matter(self) -> None:
        """Of names that are not known nothing is kept."""
        self.table.failed(owner().public)
        self.table.talked(owner().public)
        self.assertEqual(len(self.table), 0)

    def test_expired(self) -> None:
        """Offline when its record has expired, forgotten a day later."""
        self.offer()
        self.world.now = 3599
        self.table.expire()
        self.assertIs(self.peer().state, State.ONLINE)
        self.world.now = 3600
        self.table.expire()
        self.assertIs(self.peer().state, State.OFFLINE)
        # To have talked with it is not enough: nobody else would take its record.
        self.table.talked(owner().public)
        self.assertIs(self.peer().state, State.OFFLINE)
        self.world.now = 3600 + 86_400
        self.table.take_changes()
        self.table.expire()
        self.assertEqual((len(self.table), self.states()), (0, [(text(), State.OFFLINE, State.GONE)]))

    def test_back_again(self) -> None:
        """With a newer record, which its owner alone can make."""
        self.offer()
        self.world.now = 3600
        self.table.expire()
        self.table.take_changes()
        self.assertIs(self.offer(timestamp=NOW + 3600), Verdict.STORED)
        self.assertEqual(self.states(), [(text(), State.OFFLINE, State.ONLINE)])

    def test_the_same_again_is_no_change(self) -> None:
        """A record that was made anew and says the same is not told; another note is."""
        self.offer()
        self.table.take_changes()
        self.offer(timestamp=NOW + 1)
        self.assertEqual(self.states(), [])
        self.offer(timestamp=NOW + 2, note=b"new")
        self.assertEqual(self.states(), [(text(), State.ONLINE, State.ONLINE)])


class BoundTests(Tables):
    """How much is kept."""

    options = {"online": 12, "offline": 5}

    def test_the_most_brought_gives_way(self) -> None:
        """When the table is full, whoever has brought most loses some, until all have brought as many."""
        for number in range(1, 13):
            self.offer(number)
        other = owner(801).public
        verdicts = [self.offer(number, other) for number in range(21, 41)]
        # Twelve in all: the other one gets no more than six, and then has had its share.
        self.assertEqual([verdict is Verdict.STORED for verdict in verdicts], [True] * 6 + [False] * 14)
        self.assertEqual((verdicts[-1], len(self.table)), (Verdict.FULL, 12))

    def test_those_that_were_met_stay(self) -> None:
        """Whatever is brought."""
        for number in range(1, 13):
            self.offer(number)
            self.table.talked(owner(number).public)
        for source in (SOURCE, STRANGERS, owner(801).public):
            self.assertIs(self.offer(50, source), Verdict.FULL)
        self.assertEqual({peer.name for peer in self.table}, {text(number) for number in range(1, 13)})

    def test_strangers_displace_each_other(self) -> None:
        """Or those who came first would shut the door behind them."""
        for number in range(1, 31):
            self.assertIs(self.offer(number, STRANGERS), Verdict.STORED)
        self.assertEqual(len(self.table), 12)

    def test_offline(self) -> None:
        """Those that were only brought go before those that were met; of these the first."""
        self.offer(1)
        self.table.talked(owner(1).public)
        for number in range(1, 9):
            self.offer(number)
            self.table.failed(owner(number).public)
            self.table.failed(owner(number).public)
        self.assertEqual({peer.name for peer in self.table}, {text(number) for number in (1, 5, 6, 7, 8)})

    def test_full_costs_no_signature(self) -> None:
        """It is seen before."""
        self.offer(1)
        for number in range(1, 13):
            self.offer(number)
        before = self.table.checks
        self.offer(40)
        self.assertEqual(self.table.checks, before)


class ShareTests(Tables):
    """What one source may bring into a table that has room."""

    def test_a_share(self) -> None:
        """A hundred; one that was met is nobody's, and makes room for another."""
        for number in range(1, 101):
            self.assertIs(self.offer(number), Verdict.STORED)
        self.assertIs(self.offer(101), Verdict.FULL)
        self.assertIs(self.offer(101, owner(801).public), Verdict.STORED)
        self.table.talked(owner(7).public)
        self.assertIs(self.offer(102), Verdict.STORED)
        self.assertIs(self.offer(103), Verdict.FULL)
        self.assertFalse(self.table.sources.is_ignored(SOURCE))

    def test_strangers(self) -> None:
        """Three hundred; another one takes the place of one of them."""
        for number in range(1, 303):
            self.assertIs(self.offer(number, STRANGERS), Verdict.STORED)
            self.world.now += 0.2
        self.assertEqual(len(self.table), 300)

    def test_who_brings_it_back(self) -> None:
        """One that was offline counts for whoever has brought its new record."""
        self.offer(1)
        for _ in range(2):
            self.table.failed(owner(1).public)
        self.assertIs(self.offer(1, owner(801).public, timestamp=NOW + 1), Verdict.STORED)
        for number in range(2, 102):
            self.assertIs(self.offer(number), Verdict.STORED)

    def test_newer_ones_need_no_room(self) -> None:
        """Of those that are there already."""
        for number in range(1, 101):
            self.offer(number)
        self.assertIs(self.offer(50, timestamp=NOW + 1), Verdict.STORED)


class KeepTests(Tables):
    """From one life to the next."""

    options = {"online": 12, "offline": 5}

    def met(self, *numbers: int, **options: Any) -> None:
        """Peers that were brought, and then met."""
        for number in numbers:
            self.offer(number, **options)
            self.table.talked(owner(number).public)

    def lost(self, number: int) -> None:
        """One that does not answer."""
        for _ in range(2):
            self.table.failed(owner(number).public)

    def restart(self) -> Table:
        """Another table that has what the last one kept."""
        kept = self.table.keep()
        self.table = self.world.table(**self.options)
        self.table.restore(kept)
        return self.table

    def test_those_that_were_met(self) -> None:
        """They are known again, by signature, and are handed to nobody; the others will be named again."""
        self.met(1, 2)
        self.offer(3)
        self.lost(2)
        self.restart()
        found = {peer.name: (peer.state, peer.verified) for peer in self.table}
        self.assertEqual(found, {
            text(1): (State.ONLINE, Verified.BY_SIGNATURE), text(2): (State.OFFLINE, Verified.BY_SIGNATURE),
        })  # fmt: skip
        self.assertEqual(self.states(), [(text(1), State.GONE, State.ONLINE), (text(2), State.GONE, State.OFFLINE)])
        self.assertEqual(self.table.sample(50, SALT, b""), [])
        self.table.talked(owner(1).public)
        self.assertEqual(self.table.sample(50, SALT, b""), [record(1)])

    def test_another_life(self) -> None:
        """Who was not met again is kept all the same: a program may be started often."""
        self.met(1)
        self.restart()
        self.assertEqual(len(self.restart()), 1)

    def test_expired_meanwhile(self) -> None:
        """It is offline, and not forgotten, however long nothing ran: it is a name to dial."""
        self.met(1)
        self.lost(1)
        self.met(2)
        kept = self.table.keep()
        self.world.now += 30 * 86_400
        self.table = self.world.table()
        self.table.restore(kept)
        self.assertEqual({peer.state for peer in self.table}, {State.OFFLINE})
        self.assertEqual(len(self.table), 2)
        self.assertIs(self.offer(1, timestamp=NOW + 30 * 86_400), Verdict.STORED)

    def test_a_day_in_two_lives(self) -> None:
        """Whoever is not there is forgotten after a day of running, not a day after each start."""
        self.met(1)
        self.lost(1)
        for _ in range(2):
            self.world.now += 11 * 3600
            self.table.expire()
            self.restart()
        self.world.now += 2 * 3600 - 1
        self.table.expire()
        self.assertEqual(len(self.table), 1)
        self.world.now += 1
        self.table.expire()
        self.assertEqual(len(self.table), 0)

    def test_what_does_not_hold(self) -> None:
        """Nothing of a file is believed: forged, without work, of another topic, of the future, its own, twice."""
        records = [
            b"no record", record(1, by=2), record(1, worked=False), record(1, topic=b"other"),
            record(1, timestamp=NOW + 601), record(900), record(3), record(3, timestamp=NOW + 1),
        ]  # fmt: skip
        self.table.restore([KeptPeer(one) for one in records])
        self.assertEqual([(peer.name, peer.expires) for peer in self.table], [(text(3), NOW + 3600)])

    def test_no_more_than_there_is_room_for(self) -> None:
        """Of both kinds."""
        self.table.restore([KeptPeer(record(number), 1 if number % 2 else None) for number in range(1, 41)])
        states = [peer.state for peer in self.table]
        self.assertEqual((states.count(State.ONLINE), states.count(State.OFFLINE)), (12, 5))

    def test_nobody_displaces_them(self) -> None:
        """They count for nobody, as those that were met: whoever waits for a restart gains nothing."""
        self.met(*range(1, 13))
        self.restart()
        for source in (SOURCE, STRANGERS, owner(801).public):
            self.assertIs(self.offer(50, source), Verdict.FULL)
        self.assertEqual({peer.name for peer in self.table}, {text(number) for number in range(1, 13)})

    def test_a_newer_record(self) -> None:
        """It takes the place of what was kept, and the one that was kept cannot come back."""
        self.met(1)
        self.restart()
        self.assertIs(self.offer(1, STRANGERS, timestamp=NOW + 1), Verdict.STORED)
        self.assertIs(self.offer(1), Verdict.OLDER)


class FloodTests(Tables):
    """What invalid records cost, and whom."""

    def bad(self, count: int) -> list[bytes]:
        """Forged ones with work: the dearest there are."""
        one = presence(1)
        return [
            work(attrs.evolve(one, signature=self.world.random.randbytes(64))).encode() for _ in range(count)
        ]

    def test_one_that_was_dialled(self) -> None:
        """Of 10^4 nine signatures are looked at; then it is not listened to for an hour, and the others are."""
        verdicts = [self.table.offer(data, SOURCE) for data in self.bad(10_000)]
        self.assertEqual(verdicts[:9] + verdicts[9:10], [Verdict.FORGED] * 9 + [Verdict.IGNORED])
        self.assertEqual((len(self.table), self.table.checks, len(self.table.sources)), (0, 9, 1))
        self.assertIs(self.offer(), Verdict.IGNORED)
        self.assertIs(self.offer(source=owner(801).public), Verdict.STORED)
        self.world.now = 3600
        self.assertIs(self.offer(2, timestamp=NOW + 1), Verdict.STORED)

    def test_strangers(self) -> None:
        """Of 10^4 forged ones fifty, and five a second; without work none at all. Known ones are heard meanwhile."""
        verdicts = [self.table.offer(data, STRANGERS) for data in self.bad(10_000)]
        self.assertEqual((verdicts.count(Verdict.FORGED), self.table.checks), (50, 50))
        self.assertIs(self.offer(2, STRANGERS), Verdict.BUSY)
        self.assertIs(self.offer(2), Verdict.STORED)
        self.world.now = 1.0
        self.assertIs(self.offer(3, STRANGERS), Verdict.STORED)

    def test_without_work(self) -> None:
        """No signature of them is looked at."""
        data = record(worked=False)
        for _ in range(10_000):
            self.table.offer(data, STRANGERS)
        self.assertEqual(self.table.checks, 0)

    def test_work_that_was_done_once(self) -> None:
        """It pays for one look at one signature: other signatures with the same nonce are refused before that."""
        one = presence(1)
        for _ in range(400):
            other = attrs.evolve(one, signature=self.world.random.randbytes(64))
            self.table.offer(other.encode(), STRANGERS)
        # One in sixteen has four bits by luck.
        self.assertLess(self.table.checks, 50)
        self.assertIs(self.offer(2, STRANGERS), Verdict.STORED)

    def test_many_sources(self) -> None:
        """Of a thousand that are blamed a thousand are remembered, not more."""
        for number in range(1500):
            self.table.offer(b"", number.to_bytes(32, "big"))
        self.assertEqual(len(self.table.sources), 1000)

    def test_mistakes_are_forgiven(self) -> None:
        """One in ten minutes does no harm."""
        for _ in range(100):
            self.table.offer(b"", SOURCE)
            self.world.now += 600
        self.assertFalse(self.table.sources.is_ignored(SOURCE))

    def test_nothing_of_it_is_handed_on(self) -> None:
        """What was brought in vain goes nowhere."""
        for data in self.bad(20):
            self.table.offer(data, STRANGERS)
        self.assertEqual(self.table.sample(50, SALT, b""), [])


class SampleTests(Tables):
    """What is handed on."""

    def fill(self, count: int) -> None:
        """That many peers that were met."""
        for number in range(1, count + 1):
            self.offer(number)
            self.table.talked(owner(number).public)

    def test_some_at_random(self) -> None:
        """As many as are wanted, no two the same, and all in the end."""
        self.fill(20)
        seen: set[bytes] = set()
        for _ in range(30):
            found = self.table.sample(5, SALT, b"")
            self.assertEqual(len(set(found)), 5)
            seen |= set(found)
        self.assertEqual(seen, {record(number) for number in range(1, 21)})

    def test_what_is_known_already(self) -> None:
        """The digest of one who has them leaves nothing, but for those that are newer here."""
        self.fill(20)
        other = self.world.table()
        for number in range(1, 20):
            other.offer(record(number), SOURCE)
            other.talked(owner(number).public)
        self.assertEqual(self.table.sample(50, SALT, other.digest(SALT)), [record(20)])
        self.assertEqual(len(self.table.sample(50, b"other" + bytes(3), other.digest(SALT))), 20)
        self.offer(7, timestamp=NOW + 1)
        self.assertEqual(
            set(self.table.sample(50, SALT, other.digest(SALT))), {record(20), record(7, timestamp=NOW + 1)}
        )
        # The one who has the older one of it hands it to nobody who has the newer one.
        self.assertEqual(other.sample(50, SALT, self.table.digest(SALT)), [])

    def test_its_own_is_not_sent_back(self) -> None:
        """The digest names it."""
        self.fill(1)
        other = World(own=1).table()
        other.own_record = presence(1)
        self.assertEqual(self.table.sample(50, SALT, other.digest(SALT)), [])

    def test_those_who_were_not_met(self) -> None:
        """Their records hold, and are not handed on: nobody knows whether they are there."""
        self.offer(1)
        self.assertEqual(self.table.sample(50, SALT, b""), [])
        self.table.talked(owner(1).public)
        self.offer(1, timestamp=NOW + 1)
        self.assertEqual(self.table.sample(50, SALT, b""), [record(1, timestamp=NOW + 1)])

    def test_those_who_are_not_there(self) -> None:
        """Nobody is told of who is offline, or expires within a minute."""
        self.fill(3)
        for _ in range(2):
            self.table.failed(owner(1).public)
        self.assertEqual(len(self.table.sample(50, SALT, b"")), 2)
        self.world.now = 3539
        self.assertEqual(len(self.table.sample(50, SALT, b"")), 2)
        self.world.now = 3540
        self.assertEqual(self.table.sample(50, SALT, b""), [])

    def test_no_more_than_fits(self) -> None:
        """A digest names 2001 at the most, and nobody whose record has expired."""
        table = self.world.table(online=3000)
        for number in range(1000, 3002):
            table.offer(record(number), number.to_bytes(32, "big"))
        self.assertEqual((len(table), len(table.digest(SALT))), (2002, 8 * 2001))
        self.world.now = 3600
        self.assertEqual(table.digest(SALT), b"")

    def test_digests_are_of_one_salt(self) -> None:
        """Eight bytes each; with another salt nobody can tell whom they name."""
        self.fill(3)
        one, other = self.table.digest(SALT), self.table.digest(b"1" * 8)
        self.assertEqual((len(one), one[4:8]), (24, NOW.to_bytes(4, "big")))
        self.assertNotEqual(one[:4], other[:4])

    def test_every_record_that_goes_out_holds(self) -> None:
        """The signature of each is its owner's."""
        self.fill(9)
        for data in self.table.sample(50, SALT, b""):
            found = Presence.decode(data)
            self.assertEqual((found.check().key.raw, found.claim.topic), (found.claim.key, TOPIC))
