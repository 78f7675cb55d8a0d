"""The table: old contacts stay, no network fills it, and it finds who is closest."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.dht.build import contact
from torpydo.dht import WIDTH, Contact, Contacts, distance, place_of


def table(count: int = 0, *, network: bytes = b"") -> Contacts:
    """That of node 1, with the next ones in it."""
    made = Contacts(place_of((1).to_bytes(32, "big")))
    for number in range(2, 2 + count):
        made.answered(contact(number, network))
    return made


def in_row(made: Contacts, row: int, count: int, first: int = 2, network: bytes = b"") -> list[Contact]:
    """So many nodes that belong into one row."""
    found: list[Contact] = []
    number = first
    while len(found) < count:
        one = contact(number, network)
        if 256 - distance(made.place, one.place).bit_length() == row:
            found.append(one)
        number += 1
    return found


class TableTests(SynchronousTestCase):
    """Who is in it."""

    @given(st.integers(0, 60), st.binary(min_size=32, max_size=32), st.integers(1, 30))
    def test_closest(self, count: int, target: bytes, wanted: int) -> None:
        """As if all were sorted."""
        made = table(count)
        everyone = sorted(made, key=lambda one: distance(one.place, target))
        self.assertEqual(made.closest(target, wanted), everyone[:wanted])

    def test_a_row_is_full(self) -> None:
        """It keeps those that it had; newcomers wait (SECURITY K3)."""
        made = table()
        many = in_row(made, 0, WIDTH + 5)
        for one in many:
            made.answered(one)
        self.assertEqual(set(made), set(many[:WIDTH]))
        # Those that answer stay, however often a newcomer does.
        for _ in range(10):
            made.answered(many[-1])
        self.assertNotIn(many[-1], made)

    def test_one_that_has_moved(self) -> None:
        """It is counted for the network in which it was when it entered, until it leaves."""
        made = table()
        here, *others = in_row(made, 0, 4, network=b"net")
        made.answered(here)
        made.answered(others[0])
        moved = Contact(here.node_id, here.place, b"another")
        made.answered(moved)
        made.failed(moved)
        made.failed(moved)
        self.assertNotIn(here, made)
        # Its place in the first network is free, and nobody's in the other one.
        made.answered(others[1])
        made.answered(others[2])
        self.assertEqual(set(made), set(others[:2]))
        self.assertEqual(made._networks[b"another"], 0)

    def test_one_that_fails(self) -> None:
        """After two questions in a row without an answer the newcomer that was heard of last has its place."""
        made = table()
        many = in_row(made, 0, WIDTH + 2)
        for one in many:
            made.answered(one)
        made.failed(many[0])
        made.answered(many[0])
        made.failed(many[0])
        self.assertIn(many[0], made)
        made.failed(many[0])
        self.assertNotIn(many[0], made)
        self.assertIn(many[WIDTH + 1], made)
        self.assertNotIn(many[WIDTH], made)

    def test_a_newcomer_that_fails(self) -> None:
        """It waits no longer; one that was never heard of changes nothing."""
        made = table()
        many = in_row(made, 0, WIDTH + 2)
        for one in many:
            made.answered(one)
        made.failed(many[WIDTH + 1])
        made.failed(contact(9_999_999))
        for _ in range(2):
            made.failed(many[0])
        self.assertIn(many[WIDTH], made)

    def test_one_network(self) -> None:
        """Two in a row, ten in all (SECURITY K3)."""
        made = table(3000, network=b"\x0a\x01\x02")
        rows: dict[int, int] = {}
        for one in made:
            row = 256 - distance(made.place, one.place).bit_length()
            rows[row] = rows.get(row, 0) + 1
        self.assertEqual(max(rows.values()), 2)
        self.assertEqual(len(made), 10)
        made.answered(contact(5000, b"\x0a\x01\x03"))
        self.assertEqual(len(made), 11)

    def test_a_network_that_leaves_makes_room(self) -> None:
        """Its count goes down with its contacts."""
        made = table()
        many = in_row(made, 0, 3, network=b"n")
        for one in many:
            made.answered(one)
        self.assertEqual(len(made), 2)
        for _ in range(2):
            made.failed(many[0])
        self.assertEqual(set(made), {many[1], many[2]})

    def test_stand(self) -> None:
        """Who stands elsewhere has those that he had, as if he had met them there."""
        made, place = table(60, network=b"n"), place_of(b"elsewhere")
        before = list(made)
        made.failed(before[0])
        made.stand(place)
        fresh = Contacts(place)
        for one in before:
            fresh.answered(one)
        self.assertEqual(list(made), list(fresh))
        self.assertEqual((made.place, made._networks), (place, fresh._networks))
        self.assertTrue(all(one in made for one in made))

    def test_itself(self) -> None:
        """Nobody is its own contact."""
        made = table()
        made.answered(contact(1))
        self.assertEqual(len(made), 0)
        self.assertEqual(made.deepest, -1)

    @given(st.integers(0, 255), st.binary(min_size=32, max_size=32))
    def test_places_in_rows(self, row: int, random: bytes) -> None:
        """What is looked for to fill a row falls into it."""
        made = table()
        place = made.place_in(row, random)
        self.assertEqual(256 - distance(made.place, place).bit_length(), row)

    def test_rows_that_were_not_looked_through(self) -> None:
        """Those with contacts, after their time; a lookup in one of them counts."""
        made = table(50)
        rows = made.stale(3600.0, 3600.0)
        self.assertEqual(set(rows), {256 - distance(made.place, one.place).bit_length() for one in made})
        made.looked_for(made.place_in(rows[0], bytes(32)), 3600.0)
        self.assertEqual(made.stale(3600.0, 3600.0), rows[1:])

    def test_one_that_is_forgotten(self) -> None:
        """It leaves at once, nobody takes its place by that, and it does not wait either."""
        made = table()
        many = in_row(made, 0, WIDTH + 1)
        for one in many:
            made.answered(one)
        made.failed(many[1])
        made.forget(many[1])
        made.forget(many[WIDTH])
        made.forget(contact(9_999_999))
        self.assertEqual(set(made), {many[0], *many[2:WIDTH]})
        for _ in range(2):
            made.failed(many[0])
        self.assertEqual(set(made), set(many[2:WIDTH]))

    def test_nothing_is_left_of_those_who_left(self) -> None:
        """In years a node meets many networks."""
        made = table()
        for number in range(2, 200):
            one = contact(number, b"%d" % number)
            made.answered(one)
            for _ in range(2):
                made.failed(one)
        self.assertEqual((len(made), len(made._networks)), (0, 0))
