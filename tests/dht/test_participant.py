"""A participant among those who wish it ill, and over a long time."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from tests.dht.build import DAY, NOW, contact, contacts, item
from torpydo.dht import (
    HOLDERS,
    MAX_FRAME,
    REPUBLISH,
    Asked,
    Contact,
    Find,
    Found,
    Item,
    Participant,
    Put,
    PutAnswer,
    Verdict,
    distance,
    place_of,
)

ITSELF = contact(9_000_000)


def random(size: int) -> bytes:
    """Always the same."""
    return bytes(size)


class Base(SynchronousTestCase):
    """One participant, and all that it asks in the hands of the test."""

    def setUp(self) -> None:
        self.now = 10_000.0
        self.wall = float(NOW)
        self.listed = {one.node_id: one for one in [ITSELF, *contacts(100)]}
        self.one = Participant(ITSELF.place, self.listed.get, lambda: self.now, lambda: self.wall)

    def know(self, some: list[Contact]) -> None:
        """They have answered before."""
        for each in some:
            self.one.contacts.answered(each)

    def answer_all(self, answer: Callable[[Asked], bytes | None]) -> list[Asked]:
        """Answer everything until nothing is asked any more."""
        everything: list[Asked] = []
        while questions := self.one.take_questions():
            everything += questions
            self.now += 0.1
            for asked in questions:
                data = answer(asked)
                if data is None:
                    self.one.silent(asked)
                else:
                    self.one.heard(asked, data)
        return everything


def nothing(asked: Asked) -> bytes:
    """They keep what they are given, and know nobody."""
    return PutAnswer(Verdict.STORED).encode() if isinstance(asked.question, Put) else Found(()).encode()


class ReadingTests(Base):
    """Looking for an item."""

    def setUp(self) -> None:
        super().setUp()
        self.know(contacts(20))
        self.found: list[Item | None] = []

    def find(self, answer: Callable[[Asked], bytes | None], target: bytes) -> list[Asked]:
        """Look for it."""
        self.one.find(target, self.found.append)
        return self.answer_all(answer)

    def test_a_rollback(self) -> None:
        """Who has seen a newer one does not take an older one, also not as the first (SECURITY K5)."""
        old, new, first = item(sequence=1), item(sequence=2), []
        self.find(
            lambda asked: Found((), new).encode() if isinstance(asked.question, Find) else nothing(asked), new.target
        )
        self.one.find(new.target, self.found.append, first=first.append)
        asked = self.answer_all(lambda asked: Found((), old).encode())
        self.assertEqual((self.found, first, self.one.high_water(new.target)), ([new, None], [], 2))
        self.assertFalse([one for one in asked if isinstance(one.question, Put)])

    def test_clocks_that_are_off(self) -> None:
        """An item that has expired here is none, but who gives it names nodes as anybody, and stays in the table."""
        one, known = item(expires=NOW), set(self.one.contacts)
        named = [contact(50), contact(51)]
        for _ in range(3):
            asked = self.find(lambda asked: Found(tuple(each.node_id for each in named), one).encode(), one.target)
            self.assertTrue(set(named) <= {each.contact for each in asked})
        self.assertEqual(self.found, [None] * 3)
        self.assertTrue(known <= set(self.one.contacts))

    def test_nodes_that_are_not_listed(self) -> None:
        """Twenty of them in each answer: they are not asked, and nothing is kept of them."""
        strangers = Found(tuple(number.to_bytes(32, "big") for number in range(5000, 5020))).encode()
        asked = self.find(lambda asked: strangers, bytes(32))
        self.assertEqual(len(asked), 20)
        self.assertEqual(self.found, [None])

    def test_itself(self) -> None:
        """Others name it as well, and it may stand in what it begins with: it does not ask itself."""
        itself = Found((ITSELF.node_id,)).encode()
        asked = self.find(lambda asked: itself, ITSELF.place)
        self.one.nodes(ITSELF.place, lambda found: None, [ITSELF, contact(1)])
        asked += self.answer_all(lambda asked: itself)
        self.assertEqual(len(asked), 21)
        self.assertNotIn(ITSELF, [one.contact for one in asked])

    def test_an_error_of_the_one_who_waits(self) -> None:
        """It is not taken for a wrong answer."""
        one = item()

        def first(found: Item) -> None:
            raise ZeroDivisionError

        self.one.find(one.target, self.found.append, first=first)
        asked = self.one.take_questions()[0]
        self.assertRaises(ZeroDivisionError, self.one.heard, asked, Found((), one).encode())
        self.assertIn(asked.contact, self.one.contacts)

    def test_few_questions(self) -> None:
        """Who knows from the listing who is closest asks no more than those, whoever they name."""
        start, named = contacts(20), Found(tuple(one.node_id for one in contacts(20, first=40))).encode()
        stored: list[int] = []
        self.one.find(bytes(32), self.found.append, start=start, most=20)
        self.one.store(item(), stored.append, start, most=20)
        asked = self.answer_all(lambda asked: nothing(asked) if isinstance(asked.question, Put) else named)
        self.assertEqual(sum(isinstance(one.question, Find) for one in asked), 40)
        self.assertEqual((self.found, stored), ([None], [HOLDERS]))

    def test_slow_ones(self) -> None:
        """Others are asked meanwhile; what they say in the end still counts."""
        one = item()
        self.one.find(one.target, self.found.append)
        late = self.one.take_questions()
        for asked in late:
            self.one.slow(asked)
        while questions := self.one.take_questions():
            for asked in questions:
                self.one.heard(asked, Found(()).encode())
        self.assertEqual(self.found, [])
        for asked in late:
            self.one.heard(asked, Found((), one).encode())
        for asked in self.one.take_questions():
            self.one.slow(asked)
            self.one.heard(asked, PutAnswer(Verdict.STORED).encode())
        self.assertEqual(self.found, [one])


class TableTests(Base):
    """Who is in the table."""

    def test_cut_off(self) -> None:
        """Who hears from nobody keeps his table; who hears from somebody drops those who do not answer."""
        self.know(contacts(20))
        for _ in range(3):
            self.one.nodes(bytes(32), lambda found: None)
            self.answer_all(lambda asked: None)
        self.assertEqual(len(self.one.contacts), 20)
        for _ in range(2):
            self.one.nodes(bytes(32), lambda found: None)
            first, *others = self.one.take_questions()
            self.one.heard(first, nothing(first))
            for asked in others:
                self.one.silent(asked)
            self.answer_all(nothing)
        self.assertEqual(len(self.one.contacts), 20 - len(others))
        self.assertTrue({asked.contact for asked in others}.isdisjoint(self.one.contacts))

    def test_the_listing_changes(self) -> None:
        """Who is listed no more is no contact, however well it answers; who has moved counts where it is now."""
        self.know(contacts(3))
        del self.listed[contact(1).node_id]
        moved = self.listed[contact(2).node_id] = Contact(contact(2).node_id, place_of(b"elsewhere"), b"network")
        self.one.upkeep(random)
        places = {one.place for one in self.one.contacts}
        self.assertEqual(places, {moved.place, contact(3).place})


class UpkeepTests(Base):
    """What it does for others, for years."""

    def keep(self, count: int) -> list[Item]:
        """It has so many items."""
        made = [item(1, salt=b"%d" % number, expires=NOW + DAY) for number in range(count)]
        for one in made:
            self.now += 0.1
            self.one.answer(Put(one).encode(), b"source")
        return made

    def test_a_thousand_items(self) -> None:
        """A few walks are under way at one time, not thousands; all of them are said in the end."""
        self.know(contacts(20))
        made = self.keep(300)
        self.one.upkeep(random, rejoined=True)
        told: list[bytes] = []
        while questions := self.one.take_questions():
            walks = {id(asked.walk) for asked in questions}
            self.assertLessEqual(len(walks), 4)
            for asked in questions:
                if isinstance(asked.question, Put):
                    told.append(asked.question.item.target)
                self.one.heard(asked, nothing(asked))
        self.assertEqual({target: told.count(target) for target in told}, {one.target: HOLDERS for one in made})

    def test_a_thousand_items_and_nobody_to_tell(self) -> None:
        """Each of them is over at once; that is no reason to go deeper and deeper."""
        self.keep(1500)
        self.one.upkeep(random, rejoined=True)
        self.assertEqual(self.one.take_questions(), [])
        self.assertEqual((len(self.one._tasks), self.one._under_way), (0, 0))

    def test_once_at_a_time(self) -> None:
        """What waits to be said does not wait twice, and not any more if somebody else says it or it is gone."""
        self.know(contacts(20))
        made = self.keep(10)
        for _ in range(5):
            self.one.upkeep(random, rejoined=True)
        for one in made[:8]:
            self.one.answer(Put(one).encode(), b"source")
        self.assertIsNone(self.one.storage.get(made[8].target, self.now, self.wall + DAY))
        asked = self.answer_all(nothing)
        said = [one.question.item for one in asked if isinstance(one.question, Put)]
        self.assertEqual(said, [made[9]] * HOLDERS)

    def test_what_it_says_is_not_what_it_has_seen(self) -> None:
        """Thousands of items of others do not make it forget the sequences that it has looked for itself."""
        self.know(contacts(20))
        own = item(2, 7)
        self.one.store(own, lambda stored: None)
        self.answer_all(nothing)
        self.keep(1200)
        self.one.upkeep(random, rejoined=True)
        self.answer_all(nothing)
        self.assertEqual(self.one.high_water(own.target), 7)

    def test_weeks(self) -> None:
        """What it has in memory does not grow with the items and the nodes that it has met."""
        for week in range(5):
            self.listed |= {one.node_id: one for one in contacts(20, first=1 + 20 * week)}
            self.one.nodes(bytes(32), lambda found: None, contacts(20, first=1 + 20 * week))
            self.answer_all(nothing)
            self.assertEqual(len(self.one.contacts), 20)
            for number in range(30):
                self.now += 1
                one = item(week, salt=b"%d" % number, expires=int(self.wall) + DAY)
                self.one.answer(Put(one).encode(), b"%d" % number)
                self.one.find(one.target, lambda found: None)
            self.answer_all(nothing)
            self.now += 7 * DAY
            self.wall += 7 * DAY
            self.listed.clear()
            self.one.upkeep(random)
            self.answer_all(nothing)
            storage = self.one.storage
            self.assertEqual((len(storage), storage.size, len(storage._shares)), (0, 0, 0))
            self.assertEqual((len(self.one._tasks), self.one._under_way), (0, 0))
            contacts_left = self.one.contacts
            self.assertEqual((len(contacts_left), len(contacts_left._networks)), (0, 0))


class AnswerTests(Base):
    """What a question costs whoever answers it."""

    def test_answers_fit(self) -> None:
        """Into a frame, with a full table and the largest item."""
        self.know(contacts(60))
        one = item(value=bytes(4096), salt=bytes(64))
        self.one.answer(Put(one).encode(), b"source")
        answer = self.one.answer(Find(one.target, True).encode(), b"source")
        self.assertEqual((len(Found.decode(answer).nodes), Found.decode(answer).item), (20, one))
        self.assertLessEqual(len(answer), MAX_FRAME)

    def test_what_is_far_from_it(self) -> None:
        """When it has much, it takes only what is nearer to it than to its contacts."""
        self.know(contacts(100))
        self.one.storage._total = 3 * item().size
        closer: dict[int, Item] = {}
        for number in range(200):
            one = item(1, salt=b"%d" % number)
            own = distance(ITSELF.place, one.target)
            closer[sum(distance(each.place, one.target) < own for each in self.one.contacts)] = one
        farthest = max(closer)
        self.assertIs(self.put(closer.pop(farthest)), Verdict.STORED)
        self.assertIs(self.put(closer[min(count for count in closer if count >= 20)]), Verdict.FULL)
        self.assertIs(self.put(closer[max(count for count in closer if count < 20)]), Verdict.STORED)

    def put(self, one: Item) -> Verdict:
        """Bring it."""
        self.now += 1
        return PutAnswer.decode(self.one.answer(Put(one).encode(), b"source")).verdict

    def test_republish(self) -> None:
        """It says an item after an hour in which nobody has."""
        self.know(contacts(20))
        self.put(item())
        self.one.contacts.looked_for(bytes(32), self.now)
        self.one.upkeep(random)
        self.answer_all(nothing)
        self.now += REPUBLISH
        self.one.upkeep(random)
        asked = self.answer_all(nothing)
        self.assertEqual(sum(isinstance(one.question, Put) for one in asked), HOLDERS)
