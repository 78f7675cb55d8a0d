"""A circuit at a node: what it passes on, what is its own, and what destroys it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.tpdp.chain import Chain, message
from tests.tpdp.vectors import load
from torpydo.crypto import DHSecretKey, NodeId, keys
from torpydo.errors import BadKey, CryptoError, DecryptionFailed, LocalProtocolError, RemoteProtocolError
from torpydo.tpdp import handshake
from torpydo.tpdp.constants import BULK, CELL, EARLY, ExtendStatus
from torpydo.tpdp.events import ExtendRefused, ExtendRequested, HopAdded, Mine, PassOn
from torpydo.tpdp.handshake import ClientHandshake, Proto, encode_options
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
        text, node_id, rng = chain.origin.create_message, node.identity.node_id, chain.random.randbytes
        for onion_keys in ([node.onion_key, other], [other, node.onion_key]):
            circuit, reply = TransitCircuit.accept(text, node_id=node_id, onion_keys=onion_keys, rng=rng)
            self.assertEqual((circuit.state, len(reply)), (TransitState.LAST, 512))
        for onion_keys in ([other], []):
            with self.assertRaises(CryptoError):
                TransitCircuit.accept(text, node_id=node_id, onion_keys=onion_keys, rng=bytes)

    def test_replayed(self) -> None:
        """The same CREATE a hundred times: a hundred keys of the node's, and circuits that share nothing (row H5)."""
        chain = Chain(1, build=False)
        answers = [chain.accept(0, chain.origin.create_message) for _ in range(100)]
        self.assertEqual(len({reply[:32] for _, reply in answers}), 100)
        layers = [layer for circuit, _ in answers for layer in (circuit._forward, circuit._backward)]
        self.assertEqual(len({layer._key for layer in layers}), 200)

    def test_low_order_points(self) -> None:
        """Each is refused: no circuit is made, nor any key (row H2)."""
        points = load("refused")["low_order_points"]
        self.assertEqual(len(points), 7)
        node = Chain(1, build=False).nodes[0]
        node_id, onion_keys = node.identity.node_id, [node.onion_key, DHSecretKey(b"\x63" * 32)]
        for point in points:
            text = bytes.fromhex(point) + bytes(480)
            with self.assertRaises(BadKey):
                TransitCircuit.accept(text, node_id=node_id, onion_keys=onion_keys, rng=self.fail)

    def test_versions(self) -> None:
        """One that both speak is enough, and is named in the answer; a client that speaks others only, or says nothing,
        gets none, and no key is made for it.
        """
        chain = Chain(1, build=False)
        hop = chain.nodes[0].hop
        for versions, taken in ((b"\x01", True), (b"\x03\x01\x02", True), (b"\x02", False), (b"", False)):
            hello = ClientHandshake.start(
                Proto.HOP, hop.node_id, hop.onion_key, DHSecretKey(b"\x05" * 32), encode_options({1: versions})
            )
            if taken:
                options = hello.finish(chain.accept(0, hello.message)[1])[1]
                self.assertEqual(options, b"\x01\x00\x01\x01" + bytes(460))
            else:
                with self.assertRaises(RemoteProtocolError):
                    TransitCircuit.accept(
                        hello.message, node_id=hop.node_id, onion_keys=[chain.nodes[0].onion_key], rng=self.fail
                    )

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


class RefusalTests(SynchronousTestCase):
    """A CREATE that is refused tells nothing of the reason, neither by what is answered nor by the time (row H6).

    The time is not measured here: it is what the same operations on as many bytes take.
    """

    def setUp(self) -> None:
        self.done: list[tuple[str, tuple[int, ...]]] = []
        for module, name in (
            (keys, "crypto_box_beforenm"),
            (keys, "crypto_scalarmult_base"),
            (handshake, "blake"),
            (handshake, "open_sealed"),
            (handshake, "seal"),
        ):
            self.patch(module, name, self.recording(name, getattr(module, name)))

    def recording(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Note the operation and how many bytes it is given."""

        def recorded(*args: Any, **options: Any) -> Any:
            self.done.append((name, tuple(len(one) for one in args if isinstance(one, bytes))))
            return function(*args, **options)

        return recorded

    def refused(self, message: bytes, onion_keys: list[DHSecretKey]) -> tuple[str, list[tuple[str, tuple[int, ...]]]]:
        """What node 0 answers, and what it does for that."""
        node_id = Chain(1, build=False).nodes[0].identity.node_id
        self.done.clear()
        with self.assertRaises(CryptoError) as caught:
            TransitCircuit.accept(message, node_id=node_id, onion_keys=onion_keys, rng=self.fail)
        return str(caught.exception), list(self.done)

    def test_same_work_for_each_reason(self) -> None:
        """Another node's identity, an onion key that is another's, one that has expired, or a changed byte."""
        chain = Chain(2, build=False)
        mine, other = chain.nodes
        current, previous, expired = mine.onion_key, DHSecretKey(b"\x61" * 32), DHSecretKey(b"\x62" * 32)

        def hello(node_id: NodeId, onion_key: DHSecretKey) -> bytes:
            ephemeral = DHSecretKey(b"\x05" * 32)
            return ClientHandshake.start(Proto.HOP, node_id, onion_key.public, ephemeral, HOP_OPTIONS).message

        good = hello(mine.identity.node_id, current)
        for onion_keys in ([current], [current, previous]):
            reasons = [
                self.refused(message, onion_keys)
                for message in (
                    hello(other.identity.node_id, current),
                    hello(mine.identity.node_id, other.onion_key),
                    hello(mine.identity.node_id, expired),
                    good[:100] + bytes([good[100] ^ 1]) + good[101:],
                )
            ]
            self.assertEqual(reasons, reasons[:1] * len(reasons))
            names = [name for name, _ in reasons[0][1]]
            self.assertEqual(names, ["crypto_box_beforenm", "blake", "open_sealed"] * len(onion_keys))

    def test_the_work_is_seen(self) -> None:
        """One that is accepted is more work: a key, another agreement, a seal."""
        chain = Chain(1, build=False)
        self.done.clear()
        chain.create()
        names = {name for name, _ in self.done}
        self.assertEqual(names, {"crypto_box_beforenm", "crypto_scalarmult_base", "blake", "open_sealed", "seal"})


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

    def test_extend_to_nobody(self) -> None:
        """A node id of zeros, or another that is no key (row L7)."""
        for node_id in (bytes(32), b"\x01" + bytes(31), b"\xff" * 32):
            chain = Chain(1)
            hop = chain.nodes[0].hop
            data = node_id + Extend(hop.node_id, hop.address, b"h" * 512).encode()[32:]
            self.refused(chain, message(Type.EXTEND, 0, data), command=EARLY)
            self.assertIs(chain.exit.state, TransitState.LAST)

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
