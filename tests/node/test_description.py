"""Tests of torpydo.node.description."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import NOW, key, node_id
from torpydo.crypto import DHPublicKey
from torpydo.directory import REPUBLISH_AFTER, Descriptor, ExitPolicy, Services, parse_descriptor
from torpydo.node.description import Description
from torpydo.tpdp import Address

ADDRESS = Address.parse("203.0.113.5", 6000)
ONION = DHPublicKey(bytes([7]) * 32)
OTHER = DHPublicKey(bytes([8]) * 32)


class DescriptionTests(SynchronousTestCase):
    """When a node signs a new descriptor, and what is in it."""

    def setUp(self) -> None:
        self.now = float(NOW)
        self.description = Description(
            key("me"),
            lambda: self.now,
            ExitPolicy.parse("accept *:443"),
            frozenset([node_id("other"), node_id("me")]),
            "nick",
            1234,
            Services.ONION | Services.DHT,
        )

    def last(self) -> Descriptor:
        """The signed document as others read it."""
        assert self.description.document is not None
        return parse_descriptor(self.description.document)

    def test_content(self) -> None:
        """It holds what the operator chose; the node is not in its own family."""
        self.assertTrue(self.description.update(ADDRESS, [ONION, OTHER]))
        made = self.last()
        self.assertEqual(made, self.description.descriptor)
        self.assertEqual(made.node_id, node_id("me"))
        self.assertEqual((made.address, made.onion_keys), (ADDRESS, (ONION, OTHER)))
        self.assertEqual((str(made.exit_policy), made.nickname, made.bandwidth), ("accept *:443", "nick", 1234))
        self.assertEqual(made.family, {node_id("other")})
        self.assertEqual(made.services, Services.ONION | Services.DHT)
        self.assertEqual((made.sequence, made.published, made.protocols), (NOW * 1000, NOW, (1,)))

    def test_nothing_changed(self) -> None:
        """The same again needs no signature."""
        self.description.update(ADDRESS, [ONION])
        self.now += REPUBLISH_AFTER - 1
        self.assertFalse(self.description.update(ADDRESS, [ONION]))

    def test_getting_old(self) -> None:
        """Before others drop it for its age it is signed again."""
        self.description.update(ADDRESS, [ONION])
        self.now += REPUBLISH_AFTER
        self.assertTrue(self.description.update(ADDRESS, [ONION]))
        self.assertEqual(self.last().published, NOW + REPUBLISH_AFTER)

    def test_new_address(self) -> None:
        """Another address is said at once."""
        self.description.update(ADDRESS, [ONION])
        self.assertTrue(self.description.update(Address.parse("203.0.113.6", 6000), [ONION]))
        self.assertEqual(self.last().address.host, "203.0.113.6")

    def test_new_key(self) -> None:
        """So is another onion key."""
        self.description.update(ADDRESS, [ONION])
        self.assertTrue(self.description.update(ADDRESS, [OTHER, ONION]))
        self.assertEqual(self.last().onion_keys, (OTHER, ONION))

    def test_new_stamp(self) -> None:
        """And another stamp."""
        self.description.update(ADDRESS, [ONION])
        self.assertEqual(self.last().stamp, b"")
        self.assertTrue(self.description.update(ADDRESS, [ONION], b"s" * 24))
        self.assertEqual(self.last().stamp, b"s" * 24)
        self.assertFalse(self.description.update(ADDRESS, [ONION], b"s" * 24))

    def test_sequence_rises(self) -> None:
        """Two within a millisecond, or with a clock that went back, still have rising sequences."""
        self.description.update(ADDRESS, [ONION])
        self.description.update(ADDRESS, [OTHER])
        self.assertEqual(self.last().sequence, NOW * 1000 + 1)
        self.now -= 5000
        self.assertTrue(self.description.update(ADDRESS, [OTHER]))
        self.assertEqual(self.last().sequence, NOW * 1000 + 2)
