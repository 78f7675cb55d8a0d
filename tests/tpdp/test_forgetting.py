"""What was used is gone: ephemeral keys with their handshake, keys of the past with their epoch (SECURITY H3, L4, C5).

CPython cannot promise that the memory is overwritten; what is tested is that nothing refers to it any more.
"""

from __future__ import annotations

import gc
import random
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from tests.tpdp.chain import Chain, Node, message
from tests.tpdp.pairs import NODE, PEER, Pair
from tests.tpdp.reachable import held_bytes
from torpydo.crypto import DHSecretKey, Person, blake
from torpydo.errors import CryptoError, DecryptionFailed
from torpydo.tpdp.constants import CELL, EPOCH, RECORD_RATCHET, ExtendStatus
from torpydo.tpdp.handshake import ClientHandshake
from torpydo.tpdp.layers import Layer
from torpydo.tpdp.link import Link
from torpydo.tpdp.messages import Type
from torpydo.tpdp.origin import OriginCircuit
from torpydo.tpdp.transit import TransitCircuit


def secret_keys() -> list[object]:
    """The X25519 secret keys, and the handshakes that wait for an answer, that exist now."""
    return [one for one in gc.get_objects() if type(one) in (DHSecretKey, ClientHandshake)]


class EphemeralTests(SynchronousTestCase):
    """No ephemeral key outlives its handshake, however that ends, and nobody has to wait for a collection (row H3)."""

    def setUp(self) -> None:
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        self.known = {id(one): one for one in secret_keys()}

    def assert_gone(self, *allowed: object) -> None:
        """No secret key is left but those that were there before, and *allowed*."""
        mine = {id(one) for one in allowed}
        self.assertEqual([one for one in secret_keys() if id(one) not in self.known and id(one) not in mine], [])

    def refused(self, function: Callable[..., object], *args: object) -> None:
        """It is; what ``assertRaises`` gives holds the frames of the call."""
        try:
            function(*args)
        except CryptoError:
            return
        self.fail("it was not refused")

    def test_the_check_sees_one(self) -> None:
        """One that is kept is found."""
        kept = DHSecretKey(bytes(31) + b"\x40")
        self.assertRaises(self.failureException, self.assert_gone)
        self.assert_gone(kept)

    def test_circuit(self) -> None:
        """At the builder and at every hop."""
        chain = Chain(4)
        self.assert_gone(*[node.onion_key for node in chain.nodes])

    def test_circuit_that_is_being_built(self) -> None:
        """The builder waits with one key, for the next hop; the hops that have answered have none."""
        chain = Chain(3, build=False)
        chain.extend_answer = chain.refuse
        chain.create()
        waiting = chain.origin._handshake
        assert waiting is not None
        onion_keys = [node.onion_key for node in chain.nodes]
        self.assert_gone(waiting, waiting.ephemeral, *onion_keys)
        del waiting
        chain.pump()
        chain.origin._handshake = None
        self.assert_gone(*onion_keys)

    def test_create_that_is_refused(self) -> None:
        """For another node, for another onion key, or changed on the way."""
        chain = Chain(2, build=False)
        for place, text in ((1, chain.origin.create_message), (0, chain.origin.create_message[:-1] + b"\0")):
            self.refused(chain.accept, place, text)
        waiting = chain.origin._handshake
        assert waiting is not None
        self.assert_gone(waiting, waiting.ephemeral, *[node.onion_key for node in chain.nodes])

    def test_answer_that_is_refused(self) -> None:
        """The builder forgets its key with the first answer, good or not."""
        onion_keys: list[object] = []
        for point in (bytes(32), b"\x09" + bytes(31)):
            chain = Chain(1, build=False)
            onion_keys.append(chain.nodes[0].onion_key)
            self.refused(chain.origin.created, point + bytes(480))
            self.assertIsNone(chain.origin._handshake)
            self.assert_gone(*onion_keys)

    def test_link(self) -> None:
        """At both sides, whether or not the initiator is a node."""
        for identity in (None, PEER):
            pair = Pair(identity=identity)
            self.assertEqual(pair.responder.open_circuits, 0)
            self.assert_gone()

    def test_link_that_fails(self) -> None:
        """The reply was changed, the hello was for another node, or the connection ends."""
        pair = Pair(ready=False)
        pair.move(0)
        pair.initiator.receive_data(bytes(512), 1.0)
        self.assert_gone()
        pair = Pair(expected=PEER, ready=False)
        pair.pump()
        pair.initiator.receive_eof(2.0)
        self.assert_gone()


class HandshakeSecretTests(SynchronousTestCase):
    """What keys were made from is not kept beside them."""

    def test_circuit(self) -> None:
        """Neither end holds an agreement, a seed, the reply key or the keys of the first epoch in a second place.

        What a service binds its proof to (O8) is kept while the hop is the last one.
        """
        node = Node(0)
        circuit = OriginCircuit([node.hop], rng=random.Random(9).randbytes)
        handshake = circuit._handshake
        assert handshake is not None
        x = bytes(handshake.ephemeral.raw)
        first = bytes(handshake.first)
        y = random.Random(10).randbytes(32)
        rng = random.Random(10).randbytes
        transit, reply = TransitCircuit.accept(
            circuit.create_message, node_id=node.hop.node_id, onion_keys=[node.onion_key], rng=rng
        )
        second = bytes(DHSecretKey(y).agree(handshake.ephemeral.public))
        self.assertIn(first, held_bytes(circuit))
        del handshake
        circuit.created(reply)
        for end in (circuit, transit):
            held = held_bytes(end)
            self.assertEqual(held & {x, y, first, second}, set())
            keys = [one for one in held if len(one) in (32, 64)]
            # Forward, backward and bind; at the builder besides its path: node id and onion key.
            self.assertEqual(len(keys), 5 if end is circuit else 3)
            self.assertIn(bytes(end._bind or b""), held)

    def test_a_circuit_that_goes_on(self) -> None:
        """A hop that is not the last one any more has two keys left."""
        chain = Chain(2)
        passing, last = [{one for one in held_bytes(end) if len(one) in (32, 64)} for end in chain.transits]
        self.assertEqual((len(passing), len(last)), (2, 3))

    def test_link(self) -> None:
        """A link that is ready holds its two keys, what AUTH is bound to, and no more of the handshake."""
        pair = Pair(aegis=(False, False))
        identity = {bytes(NODE.seed), bytes(NODE._expanded)}
        for link, lasting in ((pair.initiator, set()), (pair.responder, identity)):
            assert link._sealer is not None and link._opener is not None
            held = {one for one in held_bytes(link) if len(one) in (32, 64)}
            keys = {link._sealer._key, link._opener._key, bytes(link._bind)}
            self.assertEqual(held, keys | lasting | {NODE.public})


class RecordRatchetTests(SynchronousTestCase):
    """After 2^16 records the key they were sealed with is gone from both ends (row L4)."""

    def keys(self, link: Link) -> set[bytes]:
        """The record keys of both directions, with those of the cipher."""
        assert link._sealer is not None and link._opener is not None
        return {bytes(key) for one in (link._sealer, link._opener) for key in (one._key, one._aegis) if key}

    def test_old_keys(self) -> None:
        """With either cipher, and both directions."""
        for aegis in (False, True):
            pair = Pair(aegis=(aegis, aegis))
            circ_id = pair.initiator.new_circuit_id()
            pair.initiator.send_create(circ_id, bytes(512))
            pair.pump()
            links = (pair.initiator, pair.responder)
            old = self.keys(links[0])
            self.assertEqual(len(old), 4 if aegis else 2)
            for link in links:
                self.assertLessEqual(old, held_bytes(link))
                for side in (link._sealer, link._opener):
                    assert side is not None
                    side.counter = RECORD_RATCHET - 2
            for link in links:
                link.send_cells(circ_id, [(CELL, bytes(1024))])
            pair.pump()
            for link in links:
                self.assertEqual(held_bytes(link) & old, set())
            self.assertEqual(self.keys(links[0]), self.keys(links[1]))
            for link in links:
                link.send_cells(circ_id, [(CELL, bytes(1024))])
            pair.told[0].clear()
            pair.pump()
            self.assertEqual(len(pair.told[0]), 1)

    def test_closed_link(self) -> None:
        """A link that is closed has no key at all."""
        pair = Pair()
        old = self.keys(pair.initiator) | {bytes(pair.initiator._bind)}
        pair.initiator.close()
        pair.responder.receive_eof(2.0)
        for link in (pair.initiator, pair.responder):
            self.assertEqual(held_bytes(link) & old, set())


class LayerRatchetTests(SynchronousTestCase):
    """What a hop holds after cell 300 opens none of the cells before 256 (row C5)."""

    def recorded(self, hops: int, count: int) -> tuple[Chain, list[bytes], list[bytes]]:
        """A circuit and the cells on its first wire, forward and backward."""
        chain = Chain(hops, early=hops - 1)
        forward, backward = [], []
        for number in range(count):
            body = chain.say_forward(message(Type.DROP, 0, bytes([number % 256])))[1]
            chain.forward[0].clear()
            forward.append(body)
            chain.transits[0]._forward.open_forward(CELL, body)
            body = chain.transits[0]._backward.pass_backward(CELL, bytes(1024))
            backward.append(body)
        return chain, forward, backward

    def test_dumped_hop(self) -> None:
        """With the key that it holds, those that come after it, and any key that can be found in it."""
        chain, forward, _ = self.recorded(2, 300)
        transit = chain.transits[0]
        begun = transit._forward.counter - 300
        keys = [one for one in held_bytes(transit) if len(one) == 32]
        self.assertEqual(len(keys), 2)
        for key in list(keys):
            keys += [later := blake(b"", Person.RATCHET, key=key), blake(b"", Person.RATCHET, key=later)]
        opened = set()
        for number, body in enumerate(forward):
            for key in keys:
                layer = Layer(key)
                layer._counter = begun + number
                try:
                    layer.open_forward(CELL, body)
                except DecryptionFailed:
                    continue
                opened.add(begun + number)
        self.assertEqual(opened, set(range(EPOCH, begun + 300)))

    def test_both_directions_and_both_ends(self) -> None:
        """The first keys are nowhere in the builder or the node any more, while those of hops that saw less are."""
        chain = Chain(2, early=1)
        transit = chain.transits[0]
        first = {transit._forward._key, transit._backward._key}
        self.assertLessEqual(first, held_bytes(transit) & held_bytes(chain.origin))
        for _ in range(EPOCH):
            chain.origin.end.ping(0.0)
            chain.pump()
        self.assertEqual((held_bytes(transit) | held_bytes(chain.origin)) & first, set())

    def test_failed_extend(self) -> None:
        """A hop that could not be reached leaves nothing of its handshake at the node that was asked."""
        chain = Chain(2, build=False)
        chain.extend_answer = lambda place, request: chain.transits[place].extend_failed(ExtendStatus.TIMEOUT)
        chain.create()
        waiting = chain.origin._handshake
        assert waiting is not None
        chain.pump()
        self.assertFalse(any(waiting.message in one for one in held_bytes(chain.transits[0])))
