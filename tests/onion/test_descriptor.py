"""Descriptors of services: who may read them, and what those learn who may not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.onion.build import NAME, document, rng, secret
from torpydo.crypto import Secret, SigningKey
from torpydo.errors import LocalProtocolError, ServiceNotFound
from torpydo.onion import OnionName, ServiceDescriptor, open_descriptor, seal_descriptor
from torpydo.wire import Malformed

DAY = 20_778
BLINDED = NAME.blinded(DAY)
OTHER = OnionName.of(SigningKey(Secret(b"o" * 32)))


def sealed(points: int = 3, clients: int = 0, sequence: int = 7, seed: int = 0) -> bytes:
    """A value of the service's, for so many clients of their own (keys 1001, …)."""
    keys = [secret(1001 + number).public for number in range(clients)]
    return seal_descriptor(document(points), NAME, BLINDED, sequence, clients=keys, rng=rng(seed).randbytes)


class DescriptorTests(SynchronousTestCase):
    """The two layers."""

    @given(st.integers(1, 10), st.integers(0, 2**63 - 1))
    def test_who_knows_the_name(self, points: int, sequence: int) -> None:
        """reads it; with a key that nobody asked for, too."""
        value = sealed(points, sequence=sequence)
        self.assertEqual(open_descriptor(value, NAME, BLINDED, sequence), document(points))

    def test_who_does_not(self) -> None:
        """With another name, another day's key or another number it is nothing."""
        value = sealed()
        for wrong in ((OTHER, BLINDED, 7), (NAME, NAME.blinded(DAY + 1), 7), (NAME, BLINDED, 8)):
            self.assertRaises(Malformed, open_descriptor, value, *wrong)

    @given(st.integers(0, 3000), st.integers(1, 255))
    def test_changed(self, place: int, mask: int) -> None:
        """Whatever byte is changed, it is refused."""
        value = bytearray(sealed())
        value[place % len(value)] ^= mask
        self.assertRaises(Malformed, open_descriptor, bytes(value), NAME, BLINDED, 7)

    def test_any_bytes(self) -> None:
        """What is no descriptor is refused, however short."""
        for size in (0, 1, 15, 16, 17, 100, 3000):
            self.assertRaises(Malformed, open_descriptor, rng().randbytes(size), NAME, BLINDED, 7)

    def test_its_size_says_next_to_nothing(self) -> None:
        """The same for 1 or 10 points, and for any 16 clients; below 3584 bytes for the most (SECURITY O1, O7)."""
        self.assertEqual(len({len(sealed(points)) for points in range(1, 11)}), 1)
        self.assertEqual(len({len(sealed(clients=clients)) for clients in range(17)}), 1)
        self.assertLessEqual(len(sealed(10, clients=32)), 3584)

    def test_it_looks_random(self) -> None:
        """Two of the same service have nothing in common, and none has anything of the service in it."""
        one, other = sealed(sequence=1, seed=1), sealed(sequence=2, seed=2)
        same = sum(left == right for left, right in zip(one, other, strict=True))
        self.assertTrue(same < len(one) / 256 * 3)
        for known in (NAME.key.raw, document().points[0].node_id.raw, document().points[0].key.raw):
            self.assertNotIn(known[:8], one)

    def test_too_much(self) -> None:
        """More points or clients than fit are our own mistake."""
        self.assertRaises(LocalProtocolError, sealed, 11)
        self.assertRaises(LocalProtocolError, sealed, 0)
        self.assertRaises(LocalProtocolError, sealed, clients=33)


class ClientKeyTests(SynchronousTestCase):
    """Services for those with a key (SECURITY O7)."""

    @given(st.integers(1, 32), st.integers(0, 31))
    def test_who_has_one(self, clients: int, which: int) -> None:
        """reads it, whichever it is."""
        value = sealed(clients=clients)
        key = secret(1001 + which % clients)
        self.assertEqual(open_descriptor(value, NAME, BLINDED, 7, key), document())

    def test_who_has_none_or_another(self) -> None:
        """hears the same as if there were no such service, word for word."""
        value = sealed(clients=3)
        texts = set()
        for key in (None, secret(5)):
            error = self.assertRaises(ServiceNotFound, open_descriptor, value, NAME, BLINDED, 7, key)
            texts.add(str(error))
        self.assertEqual(texts, {str(ServiceNotFound())})

    def test_a_key_for_nothing(self) -> None:
        """Who has a key for a service that needs none reads it all the same."""
        self.assertEqual(open_descriptor(sealed(), NAME, BLINDED, 7, secret(5)), document())


class BodyTests(SynchronousTestCase):
    """The body inside."""

    @given(st.binary(max_size=600))
    def test_any_bytes(self, data: bytes) -> None:
        """It is read or refused, and what is read is written as it was."""
        try:
            found = ServiceDescriptor.decode(data)
        except Malformed:
            return
        self.assertEqual(found.encode().ljust(len(data), b"\0"), data)

    @given(st.integers(0, 499), st.integers(1, 255))
    def test_one_byte_changed(self, place: int, mask: int) -> None:
        """The same around a good one."""
        data = bytearray(document().encode().ljust(500, b"\0"))
        data[place] ^= mask
        self.test_any_bytes.hypothesis.inner_test(self, bytes(data))

    def test_cut_off(self) -> None:
        """Wherever it ends too soon it is refused."""
        whole = document().encode()
        for size in range(len(whole)):
            self.assertRaises(Malformed, ServiceDescriptor.decode, whole[:size])
