"""Case 40: programs of different versions meet: they agree on what both speak, or one of them says why it refuses.

There is one version of the protocol so far; the other ones here are made up. A weaker cipher is never chosen because
somebody in between wants it: every byte of both handshake messages is bound (tests/tpdp/test_link, test_greeting).
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import NOW, document, fields, key, listing, network, resign
from tests.faults.base import FaultTestCase
from tests.network.oracle import Oracle
from tests.tpdp.chain import Chain
from torpydo.crypto import DHSecretKey, Purpose, Secret
from torpydo.directory import parse_descriptor, parse_heartbeat, parse_listing, sign_heartbeat, sign_listing
from torpydo.errors import DescriptorError, ListingError, RemoteProtocolError, TooFewNodes
from torpydo.node import description
from torpydo.testing import LocalNetwork
from torpydo.tpdp import TransitCircuit, transit
from torpydo.tpdp.exitend import ExitEnd
from torpydo.tpdp.handshake import OPTION_VERSIONS, ClientHandshake, Proto, encode_options

OPTIONS = 464


class HopTests(SynchronousTestCase):
    """CREATE and CREATED."""

    def create(self, options: bytes) -> tuple[TransitCircuit, bytes, ClientHandshake]:
        """A client's CREATE with these options, and the node's answer."""
        chain = Chain(1, build=False)
        hop = chain.nodes[0].hop
        client = ClientHandshake.start(
            Proto.HOP, hop.node_id, hop.onion_key, DHSecretKey(Secret(bytes(range(32)))), options
        )
        transit, reply = chain.accept(0, client.message)
        return transit, reply, client

    def test_a_version_in_common(self) -> None:
        """A newer client that still speaks version 1 is answered in it, whatever else it says."""
        for versions in (b"\1", b"\1\2", b"\x07\1", b"\1" * 200):
            transit, reply, client = self.create(encode_options({OPTION_VERSIONS: versions, 99: b"later"}))
            self.assertIsInstance(transit.end, ExitEnd)
            self.assertEqual(client.finish(reply)[1], encode_options({OPTION_VERSIONS: b"\1"}))

    def test_none_in_common(self) -> None:
        """A client that does not is refused (the node answers DESTROY), not misunderstood."""
        for versions in (b"", b"\2", b"\0", b"\xff\xfe"):
            self.assertRaises(RemoteProtocolError, self.create, encode_options({OPTION_VERSIONS: versions}))
        self.assertRaises(RemoteProtocolError, self.create, bytes(OPTIONS))

    def answered(self, options: bytes) -> Chain:
        """A builder whose first hop answers with these options."""
        chain = Chain(1, build=False)
        self.patch(transit, "HOP_REPLY", options)
        chain.create()
        return chain

    def test_an_answer_in_another_version(self) -> None:
        """A node that chooses what was not offered is refused; one that says nothing is one of version 1."""
        for version in (b"\2", b"", b"\1\2", b"\0"):
            self.assertRaises(RemoteProtocolError, self.answered, encode_options({OPTION_VERSIONS: version}))
        for options in (bytes(OPTIONS), encode_options({OPTION_VERSIONS: b"\1", 99: b"later"})):
            self.assertEqual(self.answered(options).origin.hops, 1)


class DocumentTests(SynchronousTestCase):
    """What is signed."""

    def test_later_fields(self) -> None:
        """Fields that a later version has appended are no hindrance."""
        later = resign([*fields(document()), "a field of later", 7], key(0), Purpose.DESCRIPTOR)
        self.assertEqual(parse_descriptor(later), parse_descriptor(document()))
        made = sign_listing(listing(documents=[document()]), key("pool"))
        appended = resign([*fields(made), {}, b"later"], key("pool"), Purpose.LISTING)
        pool = key("pool").pool_id
        self.assertEqual(parse_listing(appended, pool, NOW), parse_listing(made, pool, NOW))

    def test_another_format(self) -> None:
        """One that cannot be understood is refused, and the error says that it may be of another version."""
        pool = key("pool").pool_id
        for number in (0, 2, 255):
            wrong = resign([number, *fields(document())[1:]], key(0), Purpose.DESCRIPTOR)
            with self.assertRaisesRegex(DescriptorError, "format this version does not know"):
                parse_descriptor(wrong)
            with self.assertRaisesRegex(DescriptorError, "format this version does not know"):
                parse_heartbeat(sign_heartbeat(wrong, pool, NOW * 1000, key(0)), pool, NOW)
            made = fields(sign_listing(listing(documents=[document()]), key("pool")))
            with self.assertRaisesRegex(ListingError, "format this version does not know"):
                parse_listing(resign([number, *made[1:]], key("pool"), Purpose.LISTING), pool, NOW)

    def test_an_old_form_among_new_ones(self) -> None:
        """It costs its own node."""
        odd = resign([2, *fields(document(1))[1:]], key(1), Purpose.DESCRIPTOR)
        self.assertEqual(len(network([odd, document(2), document(3)]).nodes), 2)


class NetworkTests(FaultTestCase):
    """Nodes of several versions in one network."""

    def begin(self, protocols: dict[int, tuple[int, ...]], **options: Any) -> LocalNetwork:
        """Nodes that say in their descriptors which versions they speak."""
        original = description.PROTOCOLS
        network = self.network = LocalNetwork(latency=0.01, **options)
        self.addCleanup(self.finish, network)
        self.oracle = Oracle(self, network)
        network.pool.start()
        for number, node in enumerate(network.nodes):
            self.patch(description, "PROTOCOLS", protocols.get(number, original))
            node.start()
            network.advance(1)
        self.patch(description, "PROTOCOLS", original)
        network.settle()
        return network

    def test_newer_nodes(self) -> None:
        """A node that speaks version 1 as well is used; one that does not is never asked for anything."""
        network = self.begin({0: (1, 2), 1: (2, 3), 2: (1, 2, 3)}, nodes=4)
        client = network.success(network.add_client())
        self.assertEqual(client.status().nodes, 3)
        for _ in range(5):
            circuit = network.success(client.build_circuit())
            self.assertNotIn("node2", [node.nickname for node in circuit.path])
            circuit.close()
        self.assertEqual(network.nodes[1].status().links, 0)
        self.oracle.check()

    def test_only_newer_nodes(self) -> None:
        """An old client in a new network does not try; it says that there is no node for it, and why."""
        network = self.begin({0: (2,), 1: (2,), 2: (2,)}, nodes=3)
        with self.assertRaises(TooFewNodes) as caught:
            network.success(network.add_client())
        self.assertEqual(caught.exception.known, 0)
        self.assertIn("3 more speak only other versions of the protocol; update torpydo", str(caught.exception))
        for node in network.nodes:
            node.kill()
            node.start()
        network.settle()
        network.success(network.add_client())
        self.oracle.check("the nodes speak version 1 again")


