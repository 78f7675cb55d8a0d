"""A circuit at its builder."""

from __future__ import annotations

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from tests.tpdp.chain import Chain, Node, message
from torpydo.crypto import CELL_BACKWARD_ORIGIN, CELL_BACKWARD_PASS, CELL_FORWARD, DHSecretKey
from torpydo.errors import CryptoError, DecryptionFailed, LocalProtocolError, RemoteProtocolError
from torpydo.tpdp import layers
from torpydo.tpdp.constants import CELL, EARLY, MAX_EARLY, EndReason, ExtendStatus
from torpydo.tpdp.events import HopAdded, PongReceived, StreamEnded
from torpydo.tpdp.handshake import Proto, encode_options, open_hello, respond
from torpydo.tpdp.messages import Type
from torpydo.tpdp.origin import OriginCircuit, OriginState
from torpydo.tpdp.transit import TransitCircuit


class Heard(Chain):
    """A chain that keeps the first message to each hop."""

    said: list[bytes]

    def accept(self, place: int, message: bytes) -> tuple[TransitCircuit, bytes]:
        """As every chain."""
        self.said = [*getattr(self, "said", []), message]
        return super().accept(place, message)


class BuildTests(SynchronousTestCase):
    """From CREATE to the last hop."""

    def test_lengths(self) -> None:
        """Any from 1 to 8 hops is built; none and nine are our own mistake."""
        for hops in range(1, 9):
            chain = Chain(hops, seed=hops)
            self.assertEqual(chain.origin_events, [HopAdded(hop) for hop in range(1, hops + 1)])
            self.assertEqual((chain.origin.state, chain.origin.hops), (OriginState.BUILT, hops))
        for hops in (0, 9):
            path = [Node(place).hop for place in range(hops)]
            self.assertRaises(LocalProtocolError, OriginCircuit, path, rng=bytes)

    def test_only_the_version_in_the_first_message(self) -> None:
        """It has no forward secrecy: neither where the circuit leads nor who builds it is in it (row H4)."""
        for hops in (1, 3, 8):
            for seed in (1, 2):
                chain = Heard(hops, seed=seed)
                self.assertEqual(len(chain.said), hops)
                for node, text in zip(chain.nodes, chain.said, strict=True):
                    options = open_hello(Proto.HOP, node.identity.node_id, node.onion_key, text)[2]
                    self.assertEqual(options, b"\x01\x00\x01\x01" + bytes(460))

    def test_version_of_the_answer(self) -> None:
        """The one that was offered, or none from a node that does not say it; any other ends the circuit."""
        for answer, taken in (({1: b"\x01"}, True), ({}, True), ({1: b"\x02"}, False), ({1: b"\x01\x02"}, False)):
            chain = Chain(1, build=False)
            node = chain.nodes[0]
            reply = respond(
                Proto.HOP,
                node.identity.node_id,
                node.onion_key,
                DHSecretKey(b"\x06" * 32),
                chain.origin.create_message,
                encode_options(answer),
            )[1]
            if taken:
                self.assertEqual(chain.origin.created(reply), [HopAdded(1)])
            else:
                self.assertRaises(RemoteProtocolError, chain.origin.created, reply)
                self.assertEqual(chain.origin.hops, 0)

    def test_no_stream_before_it_is_built(self) -> None:
        """No hop but the last may learn of a target."""
        chain = Chain(3, build=False)
        for _ in range(2):
            end = chain.origin.end
            self.assertRaises(LocalProtocolError, end.begin, "a", 80)
            self.assertRaises(LocalProtocolError, end.resolve, "a")
            self.assertRaises(LocalProtocolError, end.ping, 0.0)
            if not chain.transits:
                self.assertEqual(chain.origin.cells_to_send(0.0), [])
                chain.create()

    def test_targets_that_cannot_be(self) -> None:
        """They are refused before anything is sent."""
        end = Chain(1).origin.end
        self.assertRaises(ValueError, end.begin, "a b", 80)
        self.assertRaises(ValueError, end.begin, "a", 0)
        self.assertRaises(ValueError, end.resolve, "")
        self.assertEqual(end.streams, 0)

    def test_cells_before_created(self) -> None:
        """A violation."""
        chain = Chain(2, build=False)
        self.assertRaises(RemoteProtocolError, chain.origin.receive_cells, [(CELL, bytes(1024))], 0.0)

    def test_second_created(self) -> None:
        """A violation."""
        self.assertRaises(RemoteProtocolError, Chain(2).origin.created, bytes(512))

    def test_every_flipped_byte_of_created(self) -> None:
        """The builder takes none of the 512 (row H1)."""
        for place in range(512):
            chain = Chain(1, build=False)
            reply = bytearray(chain.accept(0, chain.origin.create_message)[1])
            reply[place] ^= 1
            self.assertRaises(CryptoError, chain.origin.created, bytes(reply))

    def test_extended_that_does_not_fit(self) -> None:
        """A hop cannot answer for the next one, nor say more after EXTENDED, nor send half of it."""
        good = b"\0" + bytes(512)
        for messages, error in (
            ([message(Type.EXTENDED, 0, good)], CryptoError),
            ([message(Type.EXTENDED, 0, b"\0")], RemoteProtocolError),
            ([message(Type.EXTENDED, 0, b"\x02"), message(Type.EXTENDED, 0, b"\x02")], RemoteProtocolError),
            ([message(Type.EXTENDED, 0, b"\x02"), message(Type.DROP)], RemoteProtocolError),
        ):
            chain = Chain(3, build=False)
            chain.create()
            chain.say_backward(*messages)
            self.assertRaises(error, chain.move_backward, 0)

    def test_refused(self) -> None:
        """After a refusal the circuit is of no more use; a second answer is a violation."""
        chain = Chain(2, build=False)
        chain.extend_answer = chain.refuse
        chain.build()
        self.assertIs(chain.origin.state, OriginState.REFUSED)
        chain.say_backward(message(Type.EXTENDED, 0, bytes([ExtendStatus.TIMEOUT])))
        self.assertRaises(RemoteProtocolError, chain.pump)


class ReasonTests(SynchronousTestCase):
    """What the exit learns of the end of a stream."""

    def test_only_done_and_misc(self) -> None:
        """Whatever the reason is at the client, the exit is told of a clean end or of none (row Z2)."""
        self.assertEqual(len(EndReason), 11)
        for reason in EndReason:
            chain = Chain(1)
            stream = chain.open_stream()
            chain.origin.end.finish(stream, reason)
            chain.origin_turn()
            chain.move_forward(0)
            told = EndReason.DONE if reason is EndReason.DONE else EndReason.MISC
            self.assertEqual(chain.take_exit(), [StreamEnded(stream, told)])


class BackwardTests(SynchronousTestCase):
    """Backward cells on their way to the builder."""

    def test_altered_replayed_reordered_dropped(self) -> None:
        """On any wire: the builder finds out with the next cell (row C4)."""
        for hops in (1, 3, 8):
            for wire in range(hops):
                for wrong in ("altered", "replayed", "reordered", "dropped"):
                    chain = Chain(hops)
                    stream = chain.open_stream()
                    for number in range(2):
                        chain.say_backward(message(Type.DATA, stream, bytes([number])))
                    for place in range(hops - 1, wire, -1):
                        chain.move_backward(place)
                    one, two = chain.backward[wire]
                    altered = (one[0], one[1][:-1] + bytes([one[1][-1] ^ 1]))
                    chain.backward[wire] = {
                        "altered": [altered],
                        "replayed": [one, one],
                        "reordered": [two, one],
                        "dropped": [two],
                    }[wrong]
                    with self.assertRaises(DecryptionFailed):
                        for place in range(wire, -1, -1):
                            chain.move_backward(place)

    def test_inserted_by_another_hop(self) -> None:
        """There is no leaky pipe: what any hop but the last originates does not open, in a circuit of any length; what
        the last one says does (row C8).
        """
        for hops in range(1, 9):
            for place in range(hops):
                chain = Chain(hops)
                chain.origin.end.ping(0.0)
                [token] = chain.origin.end._pings
                chain.say_backward(message(Type.PONG, 0, token), place=place)
                if place < hops - 1:
                    self.assertRaises(DecryptionFailed, chain.pump)
                else:
                    for wire in range(place, -1, -1):
                        chain.move_backward(wire)
                    self.assertEqual(chain.take_origin(), [PongReceived(0.0)])

    def test_another_command(self) -> None:
        """A guard cannot turn CELL into EARLY, whatever is in it."""
        chain = Chain(2)
        self.assertRaises(RemoteProtocolError, chain.origin.receive_cells, [(EARLY, bytes(1024))], 0.0)


class EarlyTests(SynchronousTestCase):
    """How many of the first cells are EARLY."""

    def test_distribution(self) -> None:
        """Every number from n - 1 to 7 comes about equally often (row C9)."""
        for hops in (1, 3, 8):
            seen = Counter(Chain(hops, seed=seed, build=False).origin.end._early for seed in range(400))
            self.assertEqual(set(seen), set(range(hops - 1, MAX_EARLY + 1)))
            fair = 400 / len(seen)
            self.assertTrue(all(fair / 2 < count < 2 * fair for count in seen.values()), seen)

    def test_first_cells(self) -> None:
        """The first E cells are EARLY whatever they carry, and no other is."""
        for early in range(2, 8):
            chain = Chain(3, early=early)
            stream = chain.open_stream()
            chain.origin.end.send_data(stream, bytes(60000))
            chain.origin_turn()
            sent = chain.forward[0]
            # Two EXTENDs and the BEGIN went before.
            self.assertEqual([command for command, _ in sent].count(EARLY), max(0, early - 3))
            self.assertEqual({command for command, _ in sent[: max(0, early - 3)]} - {EARLY}, set())


class RandomnessTests(SynchronousTestCase):
    """Nonces and fill."""

    def test_no_nonce_twice(self) -> None:
        """Over a long run no layer seals twice under one key and nonce, at any hop or end (row C2)."""
        seen: dict[str, set[tuple[bytes, bytes]]] = {"origin": set(), "nodes": set()}
        kinds: set[int] = set()
        count = 0

        def recording(message_: bytes, nonce: bytes, key: bytes) -> bytes:
            nonlocal count
            sealings.append((nonce, key))
            return original(message_, nonce, key)

        original = layers.seal
        sealings: list[tuple[bytes, bytes]] = []
        self.patch(layers, "seal", recording)
        chain = Chain(3, seed=3)
        stream = chain.open_stream()
        for _ in range(40):
            chain.origin.end.send_data(stream, bytes(30000))
            chain.exit.end.send_data(stream, bytes(30000))
            for who, turn in (("origin", chain.origin_turn), ("nodes", lambda: chain.node_turn(2))):
                sealings.clear()
                turn()
                # A forward layer asks for its keystream and then seals, with one nonce: what it seals has zeros
                # where the keystream was shown.
                made = set(sealings)
                count += len(made)
                self.assertEqual(made & seen[who], set())
                seen[who] |= made
                kinds |= {nonce[0] for nonce, _ in made}
            while any(chain.forward) or any(chain.backward):
                for place in range(3):
                    chain.move_forward(place)
                for place in (2, 1, 0):
                    before = len(chain.backward[place])
                    sealings.clear()
                    if place:
                        chain.backward[place - 1] += chain.transits[place - 1].receive_backward(chain.backward[place])
                        chain.backward[place] = []
                        self.assertEqual(len(set(sealings)), before)
                        self.assertEqual(set(sealings) & seen["nodes"], set())
                        seen["nodes"] |= set(sealings)
                        kinds |= {nonce[0] for nonce, _ in sealings}
                    else:
                        chain.origin_events += chain.origin.receive_cells(chain.backward[0], 0.0)
                        chain.backward[0] = []
            for event in chain.take_origin():
                chain.origin.end.consumed(stream, sum(map(len, getattr(event, "data", []))))
            for event in chain.take_exit():
                chain.exit.end.consumed(stream, sum(map(len, getattr(event, "data", []))))
        self.assertEqual(kinds, {CELL_FORWARD, CELL_BACKWARD_PASS, CELL_BACKWARD_ORIGIN})
        self.assertGreater(count, 500)

    def test_fill(self) -> None:
        """What the exit finds before its payload is fresh random bytes, for any number of hops; never zeros."""
        for hops in range(1, 8):
            chain = Chain(hops)
            found = []
            for _ in range(5):
                chain.say_forward(message(Type.DROP))
                command, body = chain.forward[0].pop()
                for transit in chain.transits:
                    body = transit._forward.open_forward(command, body)
                found.append(body[16 * hops : 128])
            pieces = [fill[start : start + 16] for fill in found for start in range(0, len(fill), 16)]
            self.assertEqual(len(set(pieces)), 5 * (8 - hops))
            self.assertNotIn(bytes(16), pieces)
