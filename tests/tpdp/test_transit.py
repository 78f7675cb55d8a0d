"""A circuit at a node: what it passes on, what is its own, and what destroys it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.tpdp.chain import Chain, message
from tests.tpdp.vectors import load
from torpydo.crypto import DHSecretKey
from torpydo.errors import BadKey, CryptoError, DecryptionFailed, LocalProtocolError, RemoteProtocolError
from torpydo.tpdp.constants import BULK, CELL, EARLY, ExtendStatus
from torpydo.tpdp.events import ExtendRefused, ExtendRequested, HopAdded, Mine, PassOn
from torpydo.tpdp.handshake import ClientHandshake, Proto
from torpydo.tpdp.messages import Extend, Type, encode_begin
from torpydo.tpdp.origin import HOP_OPTIONS
from torpydo.tpdp.transit import TransitCircuit, TransitState


def extend_message(chain: Chain, place: int = 0) -> bytes:
    """An EXTEND to node *place*."""
    hop = chain.nodes[place].hop
    return message(Type.EXTEND, 0, Extend(hop.node_id, hop.address, b"h" * 512).encode())


class AcceptTests(SynchronousTestCase):
    """CREATE."""

    def test_current_and_previous_key(self) -> None:
        """Both are tried; what neither opens is refused."""
        chain = Chain(1, build=False)
        node = chain.nodes[0]
        other = DHSecretKey(b"\x63" * 32)
        for keys in ([node.onion_key, other], [other, node.onion_key]):
            circuit, reply = TransitCircuit.accept(
                chain.origin.create_message, node_id=node.identity.node_id, onion_keys=keys, rng=chain.random.randbytes
            )
            self.assertEqual((circuit.state, len(reply)), (TransitState.LAST, 512))
        for keys in ([other], []):
            with self.assertRaises(CryptoError):
                TransitCircuit.accept(
                    chain.origin.create_message, node_id=node.identity.node_id, onion_keys=keys, rng=bytes
                )

    def test_low_order_points(self) -> None:
        """Each is refused, no circuit is made (row H2)."""
        for point in load("refused")["low_order_points"]:
            self.assertRaises(BadKey, Chain(1, build=False).accept, 0, bytes.fromhex(point) + bytes(480))

    def test_options_that_are_malformed(self) -> None:
        """They are the client's fault."""
        chain = Chain(1, build=False)
        hop = chain.nodes[0].hop
        hello = ClientHandshake.start(
            Proto.HOP, hop.node_id, hop.onion_key, DHSecretKey(b"\x05" * 32), b"\0\x01" + HOP_OPTIONS[2:]
        )
        self.assertRaises(RemoteProtocolError, chain.accept, 0, hello.message)

    def test_every_flipped_byte(self) -> None:
        """None of the 512 may change."""
        chain = Chain(1, build=False)
        for place in range(512):
            changed = bytearray(chain.origin.create_message)
            changed[place] ^= 4
            self.assertRaises(CryptoError, chain.accept, 0, bytes(changed))


class ForwardTests(SynchronousTestCase):
    """Forward cells."""

    def refused(self, chain: Chain, *messages: bytes, command: int = CELL) -> None:
        """Some hop refuses a cell with these messages."""
        chain.say_forward(*messages, command=command)
        with self.assertRaises(RemoteProtocolError):
            chain.pump()

    def test_pass_on_or_mine(self) -> None:
        """A batch is for the next hop or for this one, in order, and cells keep command and size."""
        chain = Chain(3)
        for command in (CELL, BULK, CELL):
            chain.say_forward(message(Type.PING, 0, bytes(8)), command=command)
        cells = chain.forward[0]
        for transit in chain.transits[:2]:
            outcome = transit.receive_forward(cells, 0.0)
            assert isinstance(outcome, PassOn)
            self.assertEqual([(c, len(b)) for c, b in outcome.cells], [(c, len(b)) for c, b in cells])
            cells = outcome.cells
        self.assertEqual(chain.exit.receive_forward(cells, 0.0), Mine([]))
        self.assertEqual(len(chain.exit.end._control), 3)

    def test_altered_replayed_reordered_dropped(self) -> None:
        """On any wire: the next honest hop refuses the cell, or the one after what is missing (row C3)."""
        for hops in (1, 3, 8):
            for wire in range(hops):
                for wrong in ("altered", "replayed", "reordered", "dropped"):
                    chain = Chain(hops)
                    for number in range(2):
                        chain.say_forward(message(Type.DROP, 0, bytes([number])))
                    for place in range(wire):
                        chain.move_forward(place)
                    one, two = chain.forward[wire]
                    altered = (one[0], one[1][:7] + bytes([one[1][7] ^ 1]) + one[1][8:])
                    chain.forward[wire] = {
                        "altered": [altered],
                        "replayed": [one, one],
                        "reordered": [two, one],
                        "dropped": [two],
                    }[wrong]
                    self.assertRaises(DecryptionFailed, chain.move_forward, wire)
                    self.assertFalse(any(chain.forward[wire + 1 :]))

    def test_leaky_pipe(self) -> None:
        """A hop in the middle that finds a cell its own destroys the circuit, as does a last one that does not."""
        chain = Chain(2)
        chain.origin._layers._forward = chain.origin._layers._forward[:1]
        self.refused(chain, message(Type.DROP))
        chain = Chain(2)
        chain.transits[0].state, chain.transits[0].end = TransitState.LAST, chain.exit.end
        self.refused(chain, message(Type.DROP))

    def test_eighth_early(self) -> None:
        """Seven pass, at every hop."""
        for hops in (1, 3):
            chain = Chain(hops, early=hops - 1)
            for _ in range(7 - chain.transits[0]._early):
                chain.say_forward(message(Type.DROP), command=EARLY)
            chain.pump()
            self.refused(chain, message(Type.DROP), command=EARLY)

    def test_extend_outside_early(self) -> None:
        """In a CELL or in BULK."""
        for command in (CELL, BULK):
            chain = Chain(1)
            self.refused(chain, extend_message(chain), command=command)

    def test_extend_after_a_stream(self) -> None:
        """Even after one that is gone."""
        chain = Chain(1)
        chain.origin.end.resolve("a")
        chain.pump()
        self.refused(chain, extend_message(chain), command=EARLY)

    def test_second_extend(self) -> None:
        """While the first is pending."""
        chain = Chain(1)
        chain.extend_answer = lambda place, request: None
        chain.say_forward(extend_message(chain), command=EARLY)
        chain.pump()
        self.assertIs(chain.exit.state, TransitState.EXTENDING)
        self.refused(chain, extend_message(chain), command=EARLY)

    def test_stream_while_the_circuit_grows(self) -> None:
        """In the same cell as the EXTEND, or in the next."""
        begin = message(Type.BEGIN, 1, encode_begin("a", 80))
        chain = Chain(1)
        self.refused(chain, extend_message(chain), begin, command=EARLY)
        chain = Chain(1)
        chain.extend_answer = lambda place, request: None
        chain.say_forward(extend_message(chain), command=EARLY)
        chain.pump()
        self.refused(chain, begin)

    def test_extend_that_is_malformed(self) -> None:
        """It is the client's fault."""
        self.refused(Chain(1), message(Type.EXTEND, 0, b"short"), command=EARLY)

    def test_another_extend_after_a_failed_one(self) -> None:
        """The node is the last one again."""
        chain = Chain(1)
        requests: list[ExtendRequested] = []
        chain.extend_answer = lambda place, request: requests.append(request)
        for count in (1, 2):
            chain.say_forward(extend_message(chain), command=EARLY)
            chain.move_forward(0)
            self.assertEqual(len(requests), count)
            chain.exit.extend_failed(ExtendStatus.TIMEOUT)
            self.assertIs(chain.exit.state, TransitState.LAST)


class ExtendAnswerTests(SynchronousTestCase):
    """What came of an EXTEND."""

    def test_refused(self) -> None:
        """The client is told which hop was not reached, and why."""
        chain = Chain(3, build=False)
        chain.extend_answer = chain.refuse
        chain.build()
        self.assertEqual(chain.origin_events, [HopAdded(1), ExtendRefused(2, ExtendStatus.UNREACHABLE)])

    def test_answers_to_nothing(self) -> None:
        """CREATED without EXTEND is the next hop's fault, extend_failed is ours; so is either a second time."""
        chain = Chain(2)
        for transit in chain.transits:
            self.assertRaises(RemoteProtocolError, transit.extended, bytes(512))
            self.assertRaises(LocalProtocolError, transit.extend_failed, ExtendStatus.TIMEOUT)


class BackwardTests(SynchronousTestCase):
    """Backward cells."""

    def test_before_created(self) -> None:
        """A hop that has no next one takes none."""
        self.assertRaises(RemoteProtocolError, Chain(2).exit.receive_backward, [(CELL, bytes(1024))])
        chain = Chain(1)
        chain.extend_answer = lambda place, request: None
        chain.say_forward(extend_message(chain), command=EARLY)
        chain.pump()
        self.assertRaises(RemoteProtocolError, chain.exit.receive_backward, [(CELL, bytes(1024))])

    def test_early(self) -> None:
        """None goes backward."""
        self.assertRaises(RemoteProtocolError, Chain(2).transits[0].receive_backward, [(EARLY, bytes(1024))])
