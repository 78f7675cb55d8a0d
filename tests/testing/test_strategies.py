"""Tests for torpydo.testing.strategies: what they make is what they say."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.testing.recorders import pair
from torpydo.crypto import SigningKey
from torpydo.directory import (
    Descriptor,
    ExitPolicy,
    Listing,
    NetDir,
    PoolURL,
    choose_path,
    is_private,
    parse_descriptor,
    parse_listing,
    sign_listing,
)
from torpydo.testing import Conditions, SimulatedReactor, strategies
from torpydo.tpdp import Address


class BytesTests(SynchronousTestCase):
    """Cutting and spoiling."""

    @given(st.data(), st.binary(max_size=100))
    def test_pieces(self, data: st.DataObject, whole: bytes) -> None:
        """Pieces make up the whole, and none but the only one is empty."""
        parts = data.draw(strategies.pieces(whole))
        self.assertEqual(b"".join(parts), whole)
        self.assertTrue(len(parts) == 1 or all(parts))

    @given(st.data(), st.binary(min_size=1, max_size=100))
    def test_flipped(self, data: st.DataObject, whole: bytes) -> None:
        """Exactly one byte is different."""
        other = data.draw(strategies.flipped(whole))
        self.assertEqual(len(other), len(whole))
        self.assertEqual(sum(left != right for left, right in zip(whole, other, strict=True)), 1)

    @given(st.data(), st.binary(min_size=1, max_size=100))
    def test_truncated(self, data: st.DataObject, whole: bytes) -> None:
        """A proper prefix."""
        other = data.draw(strategies.truncated(whole))
        self.assertLess(len(other), len(whole))
        self.assertTrue(whole.startswith(other))


    @given(st.data(), st.lists(st.binary(max_size=30), min_size=1, max_size=3))
    def test_altered(self, data: st.DataObject, inputs: list[bytes]) -> None:
        """What comes out is made of the inputs, and not much more than one of them."""
        other = data.draw(strategies.altered(inputs))
        self.assertLessEqual(len(other), max(map(len, inputs)) * 5 + 4 * 8)

    def test_altered_is_another_one(self) -> None:
        """Some of the many that can come are none of the inputs, some are longer, and some are shorter."""
        seen: set[bytes] = set()

        @settings(max_examples=50)
        @given(strategies.altered([b"abcdef"]))
        def draw(one: bytes) -> None:
            seen.add(one)

        draw()
        self.assertGreater(len(seen), 10)
        self.assertTrue(any(len(one) > 6 for one in seen) and any(len(one) < 6 for one in seen))


class DocumentTests(SynchronousTestCase):
    """Documents are valid, and say what they were made from."""

    @given(strategies.signed_descriptors())
    def test_descriptor(self, made: tuple[Descriptor, bytes]) -> None:
        """A signed descriptor can be read again."""
        descriptor, document = made
        self.assertEqual(parse_descriptor(document), descriptor)

    @given(strategies.signing_keys(), st.data())
    def test_listing(self, key: SigningKey, data: st.DataObject) -> None:
        """A listing can be signed and read again."""
        listing: Listing = data.draw(strategies.listings(key.pool_id))
        again = parse_listing(sign_listing(listing, key), key.pool_id, strategies.NOON)
        self.assertEqual(again, listing)

    @settings(suppress_health_check=[HealthCheck.too_slow])
    @given(strategies.net_dirs(nodes=4), st.randoms(use_true_random=False))
    def test_net_dir(self, netdir: NetDir, random: object) -> None:
        """A path can be chosen in a view of enough nodes."""
        assert hasattr(random, "randrange")
        path = choose_path(netdir, hops=3, port=80, randbelow=random.randrange)
        self.assertEqual(len({node.node_id for node in path}), 3)

    @given(strategies.exit_policies())
    def test_exit_policy(self, policy: ExitPolicy) -> None:
        """An exit policy can be read again."""
        self.assertEqual(ExitPolicy.parse(str(policy)), policy)

    @given(strategies.pool_urls())
    def test_pool_url(self, url: PoolURL) -> None:
        """A pool URL can be read again."""
        self.assertEqual(PoolURL.parse(str(url)), url)


class PlaceTests(SynchronousTestCase):
    """Addresses."""

    @given(strategies.addresses())
    def test_address(self, address: Address) -> None:
        """An address can be read again."""
        self.assertEqual(Address.parse_text(str(address)), address)

    @given(strategies.public_addresses())
    def test_public(self, address: Address) -> None:
        """A public address is in no private range."""
        self.assertFalse(is_private(address.ip))


class WeatherTests(SynchronousTestCase):
    """Weather for a simulated network."""

    @given(strategies.weather(), st.binary(min_size=1, max_size=200), st.integers(1, 5))
    def test_everything_arrives(self, conditions: Conditions, data: bytes, seed: int) -> None:
        """In any weather everything arrives, in order."""
        reactor = SimulatedReactor(seed, conditions=conditions)
        client, server = pair(reactor, reactor)
        client.tcp.write(data)
        client.tcp.loseConnection()
        reactor.advance(1000)
        self.assertEqual(server.data, data)
