"""Tests of torpydo.directory.listing."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import NOW, document, fields, key, listing, resign
from torpydo.crypto import Purpose, document_hash
from torpydo.directory import (
    LISTING_LIFE,
    MAX_LISTING,
    Listing,
    ListingEntry,
    listing_etag,
    parse_listing,
    peek_pool_id,
    sign_listing,
)
from torpydo.errors import ListingError, LocalProtocolError

POOL = key("pool")


def signed(**overrides: Any) -> bytes:
    return sign_listing(listing(**overrides), POOL)


def parse(data: bytes, now: float = NOW, newest: int = 0) -> Listing:
    return parse_listing(data, POOL.pool_id, now, newest)


def changed(place: int, value: object) -> bytes:
    """A listing with one field replaced, correctly signed."""
    values = fields(signed())
    values[place] = value
    return resign(values, POOL, Purpose.LISTING)


def refused(data: bytes) -> bool:
    try:
        parse(data)
    except ListingError:
        return True
    return False


class RoundTripTests(SynchronousTestCase):
    @given(
        st.dictionaries(
            st.text("abc-09", min_size=1, max_size=64),
            st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(codec="utf-8"), max_size=64),
            max_size=5,
        ),
        st.lists(st.tuples(st.binary(max_size=50), st.integers(0, 2**43), st.integers(0, 10**12)), max_size=5),
        st.integers(0, 86400),
    )
    def test_round_trip(
        self, parameters: dict[str, bool | int | str], entries: list[tuple[bytes, int, int]], life: int
    ) -> None:
        """What was signed is read again."""
        made = listing(
            parameters=parameters,
            entries=tuple(ListingEntry(*entry) for entry in entries),
            fresh_until=NOW + life // 2,
            valid_until=NOW + life,
        )
        read = parse(sign_listing(made, POOL))
        self.assertEqual(read, made)
        self.assertEqual([type(read.parameters[name]) for name in parameters], list(map(type, parameters.values())))

    def test_golden(self) -> None:
        """The body is the array of the protocol document, byte for byte, behind the signature."""
        data = signed(parameters={"test-network": True}, entries=(ListingEntry(b"doc", 5, 6),))
        times = "".join("ce" + time.to_bytes(4, "big").hex() for time in (NOW, NOW + 3600, NOW + 10800))
        expected = "9801c420" + POOL.public.hex() + "cf" + (NOW * 1000).to_bytes(8, "big").hex() + times
        expected += "9192ac" + b"test-network".hex() + "c3" + "9193c403646f630506"
        self.assertEqual(data[64:].hex(), expected)
        POOL.pool_id.verify(Purpose.LISTING, data[64:], data[:64])

    def test_entry_without_measure(self) -> None:
        """A pool that measures nothing may leave the field out; later versions may append others."""
        values = fields(signed())
        values[7] = [[b"a", 1], [b"b", 2, 3, "later"]]
        read = parse(resign([*values, "later"], POOL, Purpose.LISTING))
        self.assertEqual(read.entries, (ListingEntry(b"a", 1, 0), ListingEntry(b"b", 2, 3)))

    def test_etag(self) -> None:
        """The entity tag is the hash of the whole listing."""
        data = signed()
        self.assertEqual(listing_etag(data), document_hash(data).hex())


class SignTests(SynchronousTestCase):
    def test_foreign_key(self) -> None:
        """A pool signs its own listings only."""
        self.assertRaises(LocalProtocolError, sign_listing, listing(), key("other"))

    def test_nothing_is_signed_that_would_be_refused(self) -> None:
        """A listing that breaks a limit is not signed."""
        self.assertRaises(ListingError, signed, valid_until=NOW + 86401)
        self.assertRaises(ListingError, signed, entries=(ListingEntry(bytes(20_001), 0),))


class RefusalTests(SynchronousTestCase):
    def test_every_flipped_byte_and_prefix(self) -> None:
        """No byte can be changed or left out."""
        data = signed(parameters={"a": 1}, documents=[document()])
        for place in range(len(data)):
            bad = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
            self.assertRaises(ListingError, parse, bad)
            self.assertRaises(ListingError, parse, data[:place])
        self.assertRaises(ListingError, parse, data + b"\0")

    def test_another_pool(self) -> None:
        """A listing must be signed by the pool it is expected from, and name it."""
        error = self.assertRaises(ListingError, parse, sign_listing(listing("other"), key("other")))
        self.assertIn("STATE/pool.url", str(error))
        self.assertRaises(ListingError, parse, changed(1, key("other").public))
        self.assertRaises(ListingError, parse, resign(fields(signed()), POOL, Purpose.DESCRIPTOR))

    def test_bad_fields(self) -> None:
        """Each field has its form and its bounds, and a wrong one is refused although it is signed."""
        for place, value in (
            (0, 2), (1, bytes(31)), (2, 0), (2, 2**53 + 1), (2, "1"), (3, -1), (3, 2**43 + 1), (6, {}), (6, [["a"]]),
            (6, [["b", 1], ["a", 1]]), (6, [["a", 1], ["a", 1]]), (6, [["", 1]]), (6, [["A", 1]]), (6, [["a" * 65, 1]]),
            (6, [["a", 2**53 + 1]]), (6, [["a", "x" * 257]]), (6, [["a", None]]), (6, [["a", 1.5]]),
            (6, [[f"{i:03}", 1] for i in range(65)]), (7, [[b"", -1]]), (7, [["", 0]]), (7, [[bytes(20_001), 0]]),
            (7, [[b"", 0, -1]]), (7, [[b"", 2**43 + 1]]), (7, [[b"", 0, 10**12 + 1]]), (7, [[b""]]),
            (7, [[b"", 0]] * 32_769), (7, None),
        ):  # fmt: skip
            self.assertTrue(refused(changed(place, value)), (place, str(value)[:40]))

    def test_bodies_that_make_decoders_stumble(self) -> None:
        """Deep nesting, bad UTF-8 and huge lengths are malformed, nothing worse."""
        good = signed(parameters={"name": "text"})[64:]
        for body in (
            b"\xc0", b"\x91" * 100_000, b"\x99" + good[1:] + b"\x91" * 100_000, good.replace(b"text", b"te\xff\xfe"),
            good[:-1] + b"\xdd\xff\xff\xff\xff", good[:-1] + b"\xdd\x00\x00\x7f\xff",
        ):  # fmt: skip
            data = POOL.sign(Purpose.LISTING, body) + body
            self.assertRaises(ListingError, parse, data)

    def test_size(self) -> None:
        """16 MiB are read; one byte more is neither looked at nor signed, and nor is what has no body."""
        self.assertEqual((MAX_LISTING, LISTING_LIFE), (16_777_216, 10_800))
        values = fields(signed())
        room = MAX_LISTING - len(signed()) - 5
        largest = resign([*values, bytes(room)], POOL, Purpose.LISTING)
        self.assertEqual(len(largest), MAX_LISTING)
        self.assertEqual(parse(largest), listing())
        self.assertEqual(peek_pool_id(largest), POOL.pool_id)
        for data in (resign([*values, bytes(room + 1)], POOL, Purpose.LISTING), bytes(64)):
            for read in (parse, peek_pool_id):
                self.assertIn(f"not {len(data)}", str(self.assertRaises(ListingError, read, data)))
        entries = tuple(ListingEntry(bytes(20_000), 0) for _ in range(839))
        error = self.assertRaises(ListingError, signed, entries=entries)
        self.assertIn("16777216 bytes, not 16", str(error))

    @given(st.binary(max_size=200), st.integers(0, 200))
    def test_any_bytes_after_a_good_beginning(self, tail: bytes, keep: int) -> None:
        """Any body is a listing or a ListingError, even if it is signed."""
        body = signed()[64:][:keep] + tail
        data = POOL.sign(Purpose.LISTING, body) + body
        for read in (parse, peek_pool_id):
            try:
                read(data)
            except ListingError:
                pass


class TimesTests(SynchronousTestCase):
    def test_order(self) -> None:
        """The times stand in order and span a day at most."""
        for overrides in (
            {"fresh_until": NOW - 1},
            {"fresh_until": NOW + 20_000},
            {"valid_until": NOW + 86_401},
        ):
            self.assertRaises(ListingError, signed, **overrides)
        signed(fresh_until=NOW, valid_until=NOW)
        signed(valid_until=NOW + 86_400)

    def test_signed_when_it_begins(self) -> None:
        """A listing is signed when its validity begins, give or take five minutes."""
        for off in (-300, 300):
            signed(sequence=(NOW + off) * 1000)
            self.assertRaises(ListingError, signed, sequence=(NOW + off + off // 300) * 1000)

    def test_future(self) -> None:
        """More than five minutes ahead is refused, and the error names the skew."""
        data = signed()
        parse(data, NOW - 300)
        self.assertIn("5 min in the future", str(self.assertRaises(ListingError, parse, data, NOW - 301)))
        self.assertIn("26.0 h in the future", str(self.assertRaises(ListingError, parse, data, NOW - 26 * 3600)))
        self.assertIn("1.0 h in the future", str(self.assertRaises(ListingError, parse, data, NOW - 3600)))
        self.assertIn("60 min in the future", str(self.assertRaises(ListingError, parse, data, NOW - 3599)))

    def test_expired(self) -> None:
        """A day after valid-until a listing is refused, and the error says since when."""
        data, end = signed(), NOW + 3 * 3600
        parse(data, end + 24 * 3600)
        error = self.assertRaises(ListingError, parse, data, end + 25 * 3600)
        self.assertIn("expired 25.0 h ago", str(error))

    def test_rollback(self) -> None:
        """A listing older than one that was taken before is refused; the same one again is not."""
        data = signed()
        parse(data, newest=NOW * 1000)
        self.assertRaises(ListingError, parse, data, newest=NOW * 1000 + 1)
        error = self.assertRaises(ListingError, parse, data, newest=NOW * 1000 + 61_500)
        self.assertIn("is 61.500 s older", str(error))

    def test_digest(self) -> None:
        """The digest names the nodes and parameters, not when the listing was signed (SECURITY N9)."""
        nodes = [document(name) for name in range(3)]
        first = listing(documents=nodes)
        later = listing(documents=nodes, sequence=NOW * 1000 + 9, valid_after=NOW + 1, fresh_until=NOW + 2)
        self.assertEqual(first.digest, parse(sign_listing(first, key("pool"))).digest)
        self.assertEqual(first.digest, later.digest)
        entries = tuple(ListingEntry(raw, NOW - 5) for raw in reversed(nodes))
        self.assertEqual(first.digest, listing("other", entries=entries).digest)
        for other in (
            listing(documents=nodes[:2]),
            listing(documents=[*nodes[:2], document(2, nickname="other")]),
            listing(documents=nodes, parameters={"test-network": True}),
            listing(entries=(*first.entries[:2], ListingEntry(nodes[2], NOW, 5))),
        ):
            self.assertNotEqual(first.digest, other.digest)

    def test_freshness(self) -> None:
        """A listing is fresh, then valid, then expired but usable for a day, then not."""
        made = listing()
        end = made.valid_until
        for now, expected in (
            (NOW - 301, (True, False, False)),
            (NOW - 300, (True, False, True)),
            (NOW + 3599, (True, False, True)),
            (NOW + 3600, (False, False, True)),
            (end, (False, True, True)),
            (end + 86_400, (False, True, True)),
            (end + 86_401, (False, True, False)),
        ):
            self.assertEqual((made.is_fresh(now), made.is_expired(now), made.is_usable(now)), expected)


class PeekTests(SynchronousTestCase):
    def test_names_the_pool(self) -> None:
        """The pool that a listing names is read without a check, for pinning on loopback."""
        self.assertEqual(peek_pool_id(signed()), POOL.pool_id)

    def test_refuses(self) -> None:
        """No key, a bad key and nonsense are refused."""
        for data in (b"", bytes(64), bytes(64) + b"\xc0", changed(0, 2), changed(1, bytes(32)), changed(1, bytes(31))):
            self.assertRaises(ListingError, peek_pool_id, data)
        self.assertRaises(ListingError, peek_pool_id, bytes(64) + b"\x91" * 100_000)
        nested = bytes(64) + b"\x93\x01\xc4\x20" + POOL.public + b"\x91" * 100_000
        self.assertRaises(ListingError, peek_pool_id, nested)
