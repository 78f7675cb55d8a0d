"""Onion layers: the vectors, and that a mark, a replay or a flipped bit dies at the next honest hop."""

from __future__ import annotations

from hashlib import sha256
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.tpdp.vectors import load, ratcheted, stream
from torpydo.errors import DecryptionFailed, LocalProtocolError
from torpydo.tpdp.constants import BODY_SIZES, BULK, CELL, EARLY, EPOCH, FORWARD_HEAD, MARK, MAX_COUNTER
from torpydo.tpdp.layers import Layer, OriginLayers

KEYS = [bytes([number]) * 32 for number in range(8)]


def origin(keys: list[bytes], counters: list[int] | None = None) -> OriginLayers:
    """The builder's layers; *keys* are those of counter 0."""
    layers = OriginLayers()
    for key, counter in zip(keys, counters or [0] * len(keys), strict=True):
        layers.add(layer(key, counter), layer(key, counter))
    return layers


def layer(key: bytes, counter: int = 0) -> Layer:
    """One layer, *key* being that of counter 0."""
    return Layer(ratcheted(key, counter // EPOCH), counter)


def fill(hops: int) -> bytes:
    """A fill of the right size."""
    return b"\xf1" * 16 * (8 - hops)


def payload(command: int = CELL) -> bytes:
    """A forward payload of the right size."""
    return b"\x05" * (BODY_SIZES[command] - 144)


class VectorTests(SynchronousTestCase):
    """The vectors of an independent program."""

    def check(self, case: dict[str, Any], forward: bytes, backward: bytes) -> tuple[list[bytes], list[bytes]]:
        """Send a cell each way; gives its images on the wires (forward, backward) after checking what is opened."""
        command, counters = case["command"], case["counters"]
        keys = [bytes.fromhex(key) for key in case["hop_keys"]]
        body, tag = origin(keys, counters).seal_forward(command, forward, bytes.fromhex(case["fill"]))
        wires = [body]
        for key, counter in zip(keys, counters, strict=True):
            wires.append(layer(key, counter).open_forward(command, wires[-1]))
        self.assertEqual(tag, wires[-2][-16:])
        self.assertEqual(wires[-1][FORWARD_HEAD:], forward + MARK)
        self.assertFalse(any(wire.endswith(MARK) for wire in wires[:-1]))
        back = [layer(keys[-1], counters[-1]).seal_backward(command, backward)]
        tag = back[0][:16]
        for key, counter in reversed(list(zip(keys[:-1], counters[:-1], strict=True))):
            back.append(layer(key, counter).pass_backward(command, back[-1]))
        self.assertEqual(origin(keys, counters).open_backward(command, back[-1]), (backward, tag))
        self.assertEqual({len(wire) for wire in wires + back}, {case["size"]})
        return wires, back

    def test_cells(self) -> None:
        """Cells of the common size, 1 to 8 hops, over ratchets, byte for byte at every hop and both ways."""
        cases = [case for case in load("onion") if "payload" in case]
        self.assertEqual({len(case["hop_keys"]) for case in cases}, set(range(1, 9)))
        for case in cases:
            wires, back = self.check(case, bytes.fromhex(case["payload"]), bytes.fromhex(case["backward_payload"]))
            self.assertEqual([wire.hex() for wire in wires], case["forward_on_wire"])
            self.assertEqual([wire.hex() for wire in back], case["backward_on_wire"])

    def test_bulk_cells(self) -> None:
        """The same with BULK cells, whose images are hashed."""
        cases = [case for case in load("onion") if "payload" not in case]
        self.assertEqual({len(case["hop_keys"]) for case in cases}, set(range(1, 9)))
        for case in cases:
            size = case["size"]
            there, back_again = stream(case["seed"] + "/f", size - 144), stream(case["seed"] + "/b", size - 16)
            wires, back = self.check(case, there, back_again)
            self.assertEqual([sha256(wire).hexdigest() for wire in wires], case["forward_on_wire_sha256"])
            self.assertEqual([sha256(wire).hexdigest() for wire in back], case["backward_on_wire_sha256"])

    def test_run(self) -> None:
        """1200 cells on one circuit, both ways and sizes: the digest over every image and every MAC."""
        case = load("run")
        forward = [bytes.fromhex(key) for key in case["forward_keys"]]
        backward = [bytes.fromhex(key) for key in case["backward_keys"]]
        client = OriginLayers()
        for ahead, back in zip(forward, backward, strict=True):
            client.add(Layer(ahead), Layer(back))
        hops = [(Layer(ahead), Layer(back)) for ahead, back in zip(forward, backward, strict=True)]
        wires, tags = sha256(), sha256()
        numbers = {"f": 0, "b": 0}
        for step in case["plan"]:
            command = BULK if step.isupper() else CELL
            way = step.lower()
            number, numbers[way] = numbers[way], numbers[way] + 1
            if way == "f":
                sent = stream(f"run/f/{number}", BODY_SIZES[command] - 144)
                body, tag = client.seal_forward(command, sent, stream(f"run/fill/{number}", 80))
                wires.update(body)
                for ahead, _ in hops:
                    body = ahead.open_forward(command, body)
                    wires.update(body)
                self.assertEqual(body[FORWARD_HEAD:-16], sent)
            else:
                sent = stream(f"run/b/{number}", BODY_SIZES[command] - 16)
                body = hops[-1][1].seal_backward(command, sent)
                tag = body[:16]
                wires.update(body)
                for _, back in reversed(hops[:-1]):
                    body = back.pass_backward(command, body)
                    wires.update(body)
                self.assertEqual(client.open_backward(command, body), (sent, tag))
            tags.update(tag)
        self.assertEqual((wires.hexdigest(), tags.hexdigest()), (case["wire_sha256"], case["tags_sha256"]))


class ForwardTests(SynchronousTestCase):
    """Forward cells."""

    @given(st.integers(1, 8), st.sampled_from([CELL, EARLY, BULK]), st.integers(0, 600))
    def test_round_trip(self, hops: int, command: int, counter: int) -> None:
        """The last hop, and only it, finds the payload; a cell keeps its size."""
        body, tag = origin(KEYS[:hops], [counter] * hops).seal_forward(command, payload(command), fill(hops))
        for place in range(hops):
            self.assertEqual(len(body), BODY_SIZES[command])
            self.assertFalse(body.endswith(MARK))
            seen, body = body[-16:], layer(KEYS[place], counter).open_forward(command, body)
        self.assertEqual((body[FORWARD_HEAD:], seen), (payload(command) + MARK, tag))

    def test_every_flipped_byte_is_refused_at_each_hop(self) -> None:
        """Whichever of its 1024 bytes is changed, on whichever wire: the next hop does not open it (row C3)."""
        body, _ = origin(KEYS[:3]).seal_forward(CELL, payload(), fill(3))
        for key in KEYS[:3]:
            for place in range(len(body)):
                changed = bytearray(body)
                changed[place] ^= 1 << place % 8
                self.assertRaises(DecryptionFailed, Layer(key).open_forward, CELL, bytes(changed))
            body = Layer(key).open_forward(CELL, body)

    def test_another_command_is_refused(self) -> None:
        """A hop cannot turn a CELL into an EARLY one."""
        body, _ = origin(KEYS[:1]).seal_forward(CELL, payload(), fill(1))
        self.assertRaises(DecryptionFailed, Layer(KEYS[0]).open_forward, EARLY, body)

    def test_replayed_or_reordered(self) -> None:
        """Each cell opens once, in its turn."""
        client, hop = origin(KEYS[:2]), Layer(KEYS[0])
        first, second = (client.seal_forward(CELL, payload(), fill(2))[0] for _ in range(2))
        self.assertRaises(DecryptionFailed, Layer(KEYS[0]).open_forward, CELL, second)
        hop.open_forward(CELL, first)
        self.assertRaises(DecryptionFailed, hop.open_forward, CELL, first)

    def test_at_most_eight_hops(self) -> None:
        """A ninth is our own mistake."""
        client = origin(KEYS)
        self.assertEqual(len(client), 8)
        self.assertRaises(LocalProtocolError, client.add, Layer(KEYS[0]), Layer(KEYS[0]))

    def test_bodies_look_random(self) -> None:
        """No hop sees a byte value more often than chance has it, for any number of hops (row C6)."""
        for hops in (1, 3, 8):
            client, layers = origin(KEYS[:hops]), [Layer(key) for key in KEYS[:hops]]
            counts = [[0] * 256 for _ in range(hops)]
            for number in range(200):
                body, _ = client.seal_forward(CELL, bytes(880), stream(f"fill/{number}", 16 * (8 - hops)))
                for place, hop in enumerate(layers):
                    for value in body:
                        counts[place][value] += 1
                    body = hop.open_forward(CELL, body)
            for count in counts:
                expected = 200 * 1024 / 256
                chi = sum((seen - expected) ** 2 / expected for seen in count)
                self.assertTrue(170 < chi < 350, chi)


class BackwardTests(SynchronousTestCase):
    """Backward cells."""

    def sent(self, hops: int, counter: int = 0) -> list[bytes]:
        """The images of a cell from the last hop to the builder."""
        images = [layer(KEYS[hops - 1], counter).seal_backward(CELL, b"\x06" * 1008)]
        for key in reversed(KEYS[: hops - 1]):
            images.append(layer(key, counter).pass_backward(CELL, images[-1]))
        return images

    @given(st.integers(1, 8), st.integers(0, 600))
    def test_round_trip(self, hops: int, counter: int) -> None:
        """The builder finds payload and MAC."""
        images = self.sent(hops, counter)
        opened = origin(KEYS[:hops], [counter] * hops).open_backward(CELL, images[-1])
        self.assertEqual(opened, (b"\x06" * 1008, images[0][:16]))

    def test_every_flipped_byte_is_refused_at_the_origin(self) -> None:
        """Whichever hop changes whichever byte: the builder does not open it (row C4)."""
        for images in (self.sent(1), self.sent(3)):
            hops = len(images)
            for wire in range(hops):
                for place in range(wire % 3, 1024, hops):
                    changed = bytearray(images[wire])
                    changed[place] ^= 1 << place % 8
                    body = bytes(changed)
                    for key in reversed(KEYS[: hops - 1 - wire]):
                        body = Layer(key).pass_backward(CELL, body)
                    self.assertRaises(DecryptionFailed, origin(KEYS[:hops]).open_backward, CELL, body)

    def test_only_the_last_hop_originates(self) -> None:
        """What any other hop seals by itself does not open at the builder (row C8)."""
        for hops in range(2, 9):
            for liar in range(hops - 1):
                body = Layer(KEYS[liar]).seal_backward(CELL, bytes(1008))
                for key in reversed(KEYS[:liar]):
                    body = Layer(key).pass_backward(CELL, body)
                self.assertRaises(DecryptionFailed, origin(KEYS[:hops]).open_backward, CELL, body)

    def test_replayed_or_reordered(self) -> None:
        """Each cell opens once, in its turn."""
        hop, client = Layer(KEYS[0]), origin(KEYS[:1])
        first, second = (hop.seal_backward(CELL, bytes(1008)) for _ in range(2))
        self.assertRaises(DecryptionFailed, origin(KEYS[:1]).open_backward, CELL, second)
        client.open_backward(CELL, first)
        self.assertRaises(DecryptionFailed, client.open_backward, CELL, first)


class LayerTests(SynchronousTestCase):
    """Counter and ratchet."""

    def test_the_key_of_an_epoch_is_gone_after_it(self) -> None:
        """After 256 cells the layer holds the next key, from which the first cannot be had (row C5)."""
        hop = Layer(KEYS[1])
        held = []
        for _ in range(3 * EPOCH):
            held.append(hop._key)
            hop.pass_backward(CELL, bytes(1024))
        self.assertEqual(held[0], KEYS[1])
        changes = [place for place, (one, other) in enumerate(pairwise(held), 1) if one != other]
        self.assertEqual(changes, [256, 512])
        self.assertEqual(hop.counter, 768)

    def test_a_failed_cell_uses_up_its_counter(self) -> None:
        """No nonce is used again because a cell did not open."""
        hop = Layer(KEYS[0])
        self.assertRaises(DecryptionFailed, hop.open_forward, CELL, bytes(1024))
        self.assertEqual(hop.counter, 1)

    def test_the_end_of_the_counter(self) -> None:
        """The last cell is number 2^48 - 1; after it the circuit is over."""
        hop = Layer(KEYS[0], MAX_COUNTER - 1)
        hop.pass_backward(CELL, bytes(1024))
        self.assertRaises(LocalProtocolError, hop.pass_backward, CELL, bytes(1024))
        self.assertEqual(MAX_COUNTER, 1 << 48)


class JoinedTests(SynchronousTestCase):
    """Cells between the two ends of a joined circuit."""

    def join(self, case: dict[str, Any]) -> tuple[OriginLayers, list[Layer], list[Layer], OriginLayers]:
        """The sender's layers, its hops', the receiver's hops' (the rendezvous node's first), and the receiver's."""
        ahead = [bytes.fromhex(key) for key in case["forward_hop_keys"]]
        back = [bytes.fromhex(key) for key in case["backward_hop_keys"]]
        there, here = case["forward_counters"], case["backward_counters"]
        passing = list(reversed(list(map(layer, back, here))))
        return origin(ahead, there), list(map(layer, ahead, there)), passing, origin(back, here)

    def test_vectors(self) -> None:
        """Every image of every cell, the tag, and what the other end opens, byte for byte."""
        for case in load("joined"):
            sender, hops, passing, receiver = self.join(case)
            key, counter = bytes.fromhex(case["end_to_end_key"]), case["end_to_end_counter"]
            payload, fill = bytes.fromhex(case["payload"]), bytes.fromhex(case["fill"])
            body, tag = sender.seal_joined(CELL, payload, fill, layer(key, counter))
            images = [body]
            images += [body := hop.open_forward(CELL, body) for hop in hops]
            self.assertFalse(body.endswith(MARK))
            images += [body := hop.pass_backward(CELL, body) for hop in passing]
            self.assertEqual([image.hex() for image in images], case["on_wire"])
            self.assertEqual(tag.hex(), case["acknowledgement_tag"])
            self.assertEqual(receiver.open_joined(CELL, body, layer(key, counter)), (payload, tag))
